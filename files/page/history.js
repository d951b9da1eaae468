// The runs of a job.

import * as address from "./address.js";
import { chart } from "./chart.js";
import { html, name, time } from "./dom.js";
import { RESULTS } from "./states.js";
import * as text from "./text.js";

// Days, and the seconds between two samples: a run that was the latest for less is not seen.
export const WINDOWS = { 1: 30, 7: 300, 30: 900 };
const MAX_LISTED = 50;
const UNKNOWN = "#999999";

/** Return the runs that ended in a window, the latest first. */
export function runs(series, start) {
  const steps = new Map();
  for (const { metric, values } of series) {
    const field = metric.__name__.replace("batch_job:", "");
    for (const [time, value] of values) {
      const step = steps.get(time) ?? {};
      if (field === "last_result") step.result = metric.result;
      else if (field === "backup_size_bytes") step.size = Math.max(step.size ?? 0, Number(value));
      else step[field] = Number(value);
      steps.set(time, step);
    }
  }
  const byEnd = new Map();
  for (const [, step] of [...steps].sort(([a], [b]) => a - b)) {
    // Some report no other end than a success.
    const end = step.last_completion_timestamp_seconds ?? step.last_success_timestamp_seconds;
    if (end === undefined || end < start) continue;
    const isGood = (step.last_exit_code ?? 0) === 0 || step.result === "warning";
    const result = step.result ?? (isGood ? "success" : "exit-code");
    // What a failure leaves at the gateway is the size of an earlier backup.
    byEnd.set(end, {
      end,
      isGood,
      result,
      exitCode: step.last_exit_code,
      duration: step.last_duration_seconds,
      size: isGood ? step.size : undefined,
    });
  }
  return [...byEnd.values()].sort((a, b) => b.end - a.end);
}

/** Return how a run ended, and how long it took. */
export const runWords = (run) =>
  run.duration === undefined ? resultWords(run) : `${resultWords(run)}, ${text.duration(run.duration)}`;

const resultWords = ({ result, exitCode }) => (exitCode ? `${result} (${exitCode})` : result);

/** Return the runs of a job, as charts and as a table. */
export function history({ runs: ended, start, end, usual, number }, { days, fields, width }) {
  const windows = Object.keys(WINDOWS).map((count) => {
    const words = count === "1" ? "1 day" : `${count} days`;
    const isCurrent = count === days;
    return html("a", { href: address.link({ ...fields, days: count }), "aria-current": isCurrent && "true" }, words);
  });
  const title = html("h3", {}, "Runs ", html("span", { class: "windows" }, windows));
  if (!ended.length) {
    return html("section", { class: "runs" }, title, html("p", {}, "No run ended in this time."));
  }
  const points = (field, write) =>
    ended
      .filter((run) => run[field] !== undefined)
      .map((run) => ({
        time: run.end,
        value: run[field],
        isBad: !run.isGood,
        color: RESULTS[run.result] ?? UNKNOWN,
        title: `${text.moment(run.end, end)}: ${resultWords(run)}, ${write(run[field])}`,
      }))
      .reverse();
  const common = { start, end, width: Math.max(width - 2, 300) };
  const durations = points("duration", text.duration);
  const sizes = points("size", text.bytes);
  const line = (value, words, write, look) =>
    Number.isFinite(value) ? [{ value, title: `${words} ${write(value)}`, look }] : [];
  const charts = [
    durations.length && chart({
      ...common,
      title: "Duration",
      points: durations,
      lines: [
        ...line(number("max_runtime_seconds"), "allowed", text.duration, "limit"),
        ...line(usual, "usual", text.duration, "usual"),
      ],
      unit: "seconds",
      write: text.duration,
    }),
    sizes.length && chart({
      ...common,
      title: "Size",
      points: sizes,
      lines: line(number("declared_min_size_bytes"), "at least", text.bytes, "limit"),
      unit: "bytes",
      write: text.bytes,
    }),
  ];
  const legend = Object.entries(RESULTS)
    .filter(([result]) => ended.some((run) => run.result === result))
    .map(([result, color]) => html("li", { "--state": color }, html("i", { class: "dot" }), result));
  return html(
    "section",
    { class: "runs" },
    title,
    html("ul", { class: "legend" }, legend),
    charts.filter(Boolean),
    runTable(ended, end, sizes.length > 0),
  );
}

function runTable(ended, now, hasSizes) {
  const rows = ended.slice(0, MAX_LISTED).map((run) =>
    html(
      "tr",
      { "--state": RESULTS[run.result] ?? UNKNOWN },
      html("td", {}, time(run.end, now)),
      html("td", {}, html("i", { class: "dot" }), name(resultWords(run))),
      html("td", { class: "number" }, run.duration === undefined ? "–" : text.duration(run.duration)),
      hasSizes && html("td", { class: "number" }, run.size === undefined ? "–" : text.bytes(run.size)),
    ),
  );
  const titles = ["Ended", "Result", "Duration", ...(hasSizes ? ["Size"] : [])];
  const head = titles.map((title, number) => html("th", { scope: "col", class: number > 1 && "number" }, title));
  const table = html("table", {}, html("thead", {}, html("tr", {}, head)), html("tbody", {}, rows));
  const all = ended.length > 1 ? `All ${ended.length} runs` : "One run";
  const words = ended.length > MAX_LISTED ? `The latest ${MAX_LISTED} of ${ended.length} runs` : all;
  return html("details", {}, html("summary", {}, words), table);
}
