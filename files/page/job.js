// One job: its runs, what is declared, what fires, and how to look further.

import * as address from "./address.js";
import { ask, instant, range } from "./api.js";
import { chart } from "./chart.js";
import { fullName, html, mark, name, time, write } from "./dom.js";
import { isBad, isOverdue, keyOf, stateOf } from "./jobs.js";
import * as queries from "./queries.js";
import { ago, dueText } from "./rows.js";
import { runbookOf } from "./runbooks.js";
import { RESULTS } from "./states.js";
import * as text from "./text.js";

const DAY = 86400;
// Days, and the seconds between two looks at what was known: a run that was the latest for less is not seen.
const WINDOWS = { 1: 30, 7: 300, 30: 900 };
const USUAL_WINDOW = "7";
const MAX_LISTED = 50;
const MAX_WORDS_LENGTH = 600;
// Prometheus describes all alerts in one answer.
const MAX_DESCRIBED = 1000;
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
  const found = new Map();
  for (const [, step] of [...steps].sort(([a], [b]) => a - b)) {
    // Some report no other end than a success.
    const end = step.last_completion_timestamp_seconds ?? step.last_success_timestamp_seconds;
    if (end === undefined || end < start) continue;
    const isGood = (step.last_exit_code ?? 0) === 0;
    const result = step.result ?? (isGood ? "success" : "exit-code");
    // What a failure leaves at the gateway is the size of an earlier backup.
    found.set(end, {
      end,
      isGood,
      result,
      exitCode: step.last_exit_code,
      duration: step.last_duration_seconds,
      size: isGood ? step.size : undefined,
    });
  }
  return [...found.values()].sort((a, b) => b.end - a.end);
}

/** Ask for everything about a job that the first look lacks. */
async function learn(job, { at, now, days, isDescribing }) {
  const start = now - days * DAY;
  const [samples, series, [usual], alerts] = await Promise.all([
    instant(queries.facts(job), at),
    range(queries.reported(job), start, now, WINDOWS[days]),
    instant(queries.usual([job]), at),
    isDescribing ? ask("alerts").catch(() => null) : null,
  ]);
  const facts = new Map(samples.map((sample) => [sample.metric.__name__.replace("batch_job:", ""), sample]));
  const descriptions = new Map(
    (alerts?.alerts ?? [])
      .filter(({ labels }) => labels.job === job.name && (labels.instance ?? "") === job.host)
      .map(({ labels, annotations, activeAt }) => [labels.alertname, { ...annotations, activeAt }]),
  );
  return {
    runs: runs(series, start),
    start,
    end: now,
    usual: usual && Number(usual.value[1]),
    number: (fact) => facts.has(fact) && Number(facts.get(fact).value[1]),
    label: (fact, label) => facts.get(fact)?.metric[label],
    alerts: samples.filter(({ metric }) => metric.__name__ === "ALERTS").map(({ metric }) => metric),
    descriptions,
  };
}

export class JobView {
  #shown = new Map();

  constructor() {
    this.element = html("article", { class: "job-view" });
  }

  /** Show a job of a picture; returns when all is there. Throws Unreachable. */
  async show(picture, fields, back, now) {
    const { at, job: jobName, host = "" } = fields;
    const key = keyOf(jobName, host);
    const days = WINDOWS[fields.days] ? fields.days : USUAL_WINDOW;
    if (this.key !== key) {
      this.key = key;
      this.#shown.clear();
      this.element.replaceChildren();
    }
    const job = picture.jobs.find((each) => each.key === key);
    this.job = job;
    this.#section("head", [job, back], () => head(job, jobName, host, back));
    if (!job) return;
    this.now = now;
    // Asked again when the first look is.
    const isDescribing = at === undefined && isBad(job) && picture.jobs.filter(isBad).length <= MAX_DESCRIBED;
    const asked = { at, now: picture.now, days, isDescribing };
    const learned = await learn(job, asked);
    if (this.key !== key) return;
    const { label } = learned;
    this.#section("alerts", [learned.alerts, [...learned.descriptions]], () => alerts(job, learned, at));
    const isUndeclared = learned.alerts.some(({ alertname }) => alertname === "BatchJobUndeclared");
    const facts = factsOf(job, learned, picture.now);
    this.#section("facts", facts.map(({ key: fact }) => fact), () => list(facts));
    this.#section("runs", [learned.runs, days, fields], () => history(job, learned, days, fields, this.element.clientWidth));
    this.#section("look", [label("unit_info", "unit")], () => further(job, label("unit_info", "unit")));
    this.#section("declare", [isUndeclared, learned.runs], () => declaration(job, isUndeclared, learned));
    this.tick();
  }

  /** Show what changes with time alone. */
  tick() {
    if (!this.job) return;
    const now = this.now();
    const { success } = this.job;
    const due = this.element.querySelector("[data-due]");
    if (due) {
      write(due, dueText(this.job, now));
      mark(due, "data-late", isOverdue(this.job, now) ? "" : null);
    }
    const age = this.element.querySelector("[data-age]");
    if (age && success !== undefined) write(age, ago(now - success));
  }

  /** Build a section unless it was built of the same. */
  #section(section, signature, build) {
    const signed = JSON.stringify(signature);
    const old = this.#shown.get(section);
    if (old?.signed === signed) return;
    const element = build();
    if (old) old.element.replaceWith(element);
    else this.element.append(element);
    this.#shown.set(section, { signed, element });
  }
}

function head(job, jobName, host, back) {
  const state = job && stateOf(job.state);
  const title = html("h2", { tabindex: "-1" }, fullName(jobName), host && [html("small", {}, " on "), fullName(host)]);
  const words = state
    ? html("p", { class: "standing", "--state": state.color }, html("i", { class: "dot" }), html("b", {}, state.name), `: ${state.meaning}.`)
    : html("p", { class: "standing" }, "Prometheus knows no such job now. It was renamed, retired or pruned, or this link is an old one.");
  return html("header", {}, html("a", { class: "back", href: back }, "All jobs"), title, words);
}

function alerts(job, { alerts: firing, descriptions }, at) {
  if (!firing.length) return html("section", { hidden: true });
  const items = firing.map(({ alertname, severity }) => {
    const known = descriptions.get(alertname);
    const details = html("details", { class: "what-to-do" }, html("summary", {}, "What to do"));
    // Read when somebody wants it.
    details.addEventListener("toggle", () => details.append(runbookOf(alertname, { level: 4, job, at })), { once: true });
    const since = known?.activeAt && Date.parse(known.activeAt) / 1000;
    return html(
      "li",
      { "data-severity": severity },
      html("h4", {}, name(alertname), severity && html("small", {}, " ", name(severity)), since && html("small", {}, " since ", time(since, since))),
      known?.description && html("div", { class: "words" }, fullName(known.description, MAX_WORDS_LENGTH)),
      details,
    );
  });
  return html("section", { class: "alerts" }, html("h3", {}, "What fires"), html("ul", {}, items));
}

/** Return what is known of a job, as `{ title, content, key }`; the key changes when the content does. */
function factsOf(job, { number, label, usual, runs: [latest] }, now) {
  const finite = (fact) => (Number.isFinite(number(fact)) ? number(fact) : undefined);
  const isAt = (seconds) => [time(seconds, now), " "];
  const paused = number("paused");
  const running = number("running_since_timestamp_seconds");
  const facts = {
    "Last success": job.success === undefined ? "never" : [...isAt(job.success), html("small", { "data-age": true })],
    "Next success due": job.due === undefined ? "never: nothing is declared that says when" : [...isAt(job.due), html("small", { "data-due": true })],
    "Running since": running && isAt(running),
    "Paused until": paused && paused > now && (Number.isFinite(paused) ? isAt(paused) : "switched off"),
    "Latest run": latest && `${resultWords(latest)}${latest.duration === undefined ? "" : `, ${text.duration(latest.duration)}`}`,
    "Usual duration": usual !== undefined && html("span", { title: "the median of a week" }, text.duration(usual)),
    "Allowed duration": finite("max_runtime_seconds") && text.duration(finite("max_runtime_seconds")),
    "Longest time between successes": finite("declared") && text.duration(finite("declared")),
    Size: job.size !== undefined && text.bytes(job.size),
    "Least size": finite("declared_min_size_bytes") && text.bytes(finite("declared_min_size_bytes")),
    Schedule: label("batch_job_info", "schedule"),
    Kind: label("batch_job_info", "kind"),
    Owner: job.owner || "nobody",
    Severity: job.severity,
  };
  const plain = (value) => (typeof value === "string" ? name(value, 200) : value);
  const signature = (value) => [value].flat().map((part) => part.textContent ?? part);
  return Object.entries(facts)
    .filter(([, value]) => value)
    .map(([title, value]) => ({ title, content: plain(value), key: [title, signature(value)] }));
}

function list(facts) {
  const terms = facts.map(({ title, content }) => html("div", {}, html("dt", {}, title), html("dd", {}, content)));
  return html("section", { class: "facts" }, html("h3", { class: "unseen" }, "What is known"), html("dl", {}, terms));
}

const resultWords = ({ result, exitCode }) => (exitCode ? `${result} (${exitCode})` : result);

function history(job, { runs: found, start, end, usual, number }, days, fields, width) {
  const windows = Object.keys(WINDOWS).map((each) => {
    const words = each === "1" ? "1 day" : `${each} days`;
    const isCurrent = each === days;
    return html("a", { href: address.link({ ...fields, days: each }), "aria-current": isCurrent && "true" }, words);
  });
  const title = html("h3", {}, "Runs ", html("span", { class: "windows" }, windows));
  if (!found.length) {
    return html("section", { class: "runs" }, title, html("p", {}, "No run ended in this time."));
  }
  const points = (field, write) =>
    found
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
  const limit = (fact, words, write) =>
    Number.isFinite(number(fact)) && number(fact) !== false ? [{ value: number(fact), title: `${words} ${write(number(fact))}` }] : [];
  const charts = [
    durations.length && chart({
      ...common,
      title: "Duration",
      points: durations,
      limits: limit("max_runtime_seconds", "allowed", text.duration),
      unit: "seconds",
      write: text.duration,
    }),
    sizes.length && chart({
      ...common,
      title: "Size",
      points: sizes,
      limits: limit("declared_min_size_bytes", "at least", text.bytes),
      unit: "bytes",
      write: text.bytes,
    }),
  ];
  const legend = Object.entries(RESULTS)
    .filter(([result]) => found.some((run) => run.result === result))
    .map(([result, color]) => html("li", { "--state": color }, html("i", { class: "dot" }), result));
  return html(
    "section",
    { class: "runs" },
    title,
    html("ul", { class: "legend" }, legend),
    charts.filter(Boolean),
    runTable(found, end, sizes.length > 0),
  );
}

function runTable(found, now, hasSizes) {
  const rows = found.slice(0, MAX_LISTED).map((run) =>
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
  const head = html("tr", {}, titles.map((title, number) => html("th", { scope: "col", class: number > 1 && "number" }, title)));
  const words = found.length > MAX_LISTED ? `The latest ${MAX_LISTED} of ${found.length} runs` : found.length > 1 ? `All ${found.length} runs` : "One run";
  return html("details", {}, html("summary", {}, words), html("table", {}, html("thead", {}, head), html("tbody", {}, rows)));
}

/** Return the commands that tell more. */
function further(job, unit) {
  const where = job.host ? ["On ", name(job.host), ":"] : ["Where it runs:"];
  const commands = [unit && `journalctl --unit ${text.shellWord(unit)} -n 50`, job.host && "batch-job status"].filter(Boolean);
  const words = commands.length
    ? [html("p", {}, where), html("pre", {}, html("code", {}, commands.join("\n")))]
    : html("p", {}, "It has no host: read the log of the pipeline or the appliance that runs it.");
  return html("section", {}, html("h3", {}, "To look further"), words);
}

/** Return how to declare a job that nobody has declared. */
function declaration(job, isUndeclared, { runs: found }) {
  if (!isUndeclared) return html("section", { hidden: true });
  const gaps = found.slice(1).map((run, index) => found[index].end - run.end).sort((a, b) => a - b);
  const usual = gaps.length ? gaps[Math.floor(gaps.length / 2)] : DAY;
  const age = `${Math.max(1, Math.ceil((1.5 * usual) / 3600))}h`;
  const lines = [
    job.host ? "batch_job_jobs:" : "batch_job_external:",
    `  - name: ${text.yamlText(job.name)}`,
    `    owner: ${job.owner ? text.yamlText(job.owner) : "OWNER"}`,
    `    max_age: ${age}`,
  ];
  const file = job.host ? ["among the jobs of ", name(job.host)] : "for the hosts of Prometheus";
  return html(
    "section",
    { class: "declare" },
    html("h3", {}, "To declare it"),
    html("p", {}, "Nobody would be notified if it stopped. In the inventory, ", file, ":"),
    html("pre", {}, html("code", {}, lines.join("\n"))),
    html("p", {}, "Without a schedule, a success is due within ", html("code", {}, "max_age"), " after the last one: here, half as long again as the usual time between two of its runs."),
  );
}
