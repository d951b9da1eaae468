// One job: its runs, what is declared, what fires, and how to look further.

import * as address from "./address.js";
import { ask, instant, range } from "./api.js";
import { fullName, html, mark, name, time, write } from "./dom.js";
import { WINDOWS, history, runWords, runs } from "./history.js";
import { isBad, isOverdue, keyOf, stateOf } from "./jobs.js";
import * as queries from "./queries.js";
import { ago, dueText } from "./rows.js";
import { runbookOf } from "./runbooks.js";
import * as text from "./text.js";

const DAY = 86400;
const USUAL_WINDOW = "7";
const MAX_WORDS_LENGTH = 600;
// Prometheus describes all alerts in one answer.
const MAX_DESCRIBED = 1000;

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
    number: (fact) => (facts.has(fact) ? Number(facts.get(fact).value[1]) : undefined),
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
    this.#section("alerts", learned.alerts, () => alerts(job, learned.alerts, at));
    this.#describe(learned.descriptions, picture.now);
    const isUndeclared = learned.alerts.some(({ alertname }) => alertname === "BatchJobUndeclared");
    const facts = factsOf(job, learned, picture.now);
    this.#section("facts", facts.map(({ key: fact }) => fact), () => list(facts));
    const view = { days, fields, width: this.element.clientWidth };
    this.#section("runs", [learned.runs, view], () => history(learned, view));
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

  /** Show the words of alerts, which change with their values; what somebody opened stays open. */
  #describe(descriptions, now) {
    for (const element of this.element.querySelectorAll("[data-alert]")) {
      const { description, activeAt } = descriptions.get(element.dataset.alert) ?? {};
      if (element.description === description) continue;
      element.description = description;
      const since = activeAt && ["Since ", time(Date.parse(activeAt) / 1000, now), ". "];
      element.replaceChildren(...(since || []), fullName((description ?? "").replaceAll("\n", " "), MAX_WORDS_LENGTH));
    }
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
    ? [html("i", { class: "dot" }), html("b", {}, state.name), `: ${state.meaning}.`]
    : "Prometheus knows no such job now. It was renamed, retired or pruned.";
  const standing = html("p", { class: "standing", "--state": state?.color }, words);
  return html("header", {}, html("a", { class: "back", href: back }, "All jobs"), title, standing);
}

function alerts(job, firing, at) {
  if (!firing.length) return html("section", { hidden: true });
  const items = firing.map(({ alertname, severity }) => {
    const details = html("details", { class: "what-to-do" }, html("summary", {}, "What to do"));
    // Read when somebody wants it.
    const read = () => details.append(runbookOf(alertname, { level: 4, job, at }));
    details.addEventListener("toggle", read, { once: true });
    return html(
      "li",
      { "data-severity": severity },
      html("h4", {}, name(alertname), severity && html("small", {}, " ", name(severity))),
      html("div", { class: "words", "data-alert": alertname }),
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
    "Next success due":
      job.due === undefined ? "nothing declares when" : [...isAt(job.due), html("small", { "data-due": true })],
    "Running since": running && isAt(running),
    "Paused until": paused && paused > now && (Number.isFinite(paused) ? isAt(paused) : "switched off"),
    "Latest run": latest && runWords(latest),
    "Last output": label("batch_job_last_output", "output") && lines(label("batch_job_last_output", "output")),
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

/** Return what a program printed, as text. */
const lines = (output) => html("pre", {}, output.split("\n").map((line) => [name(line), "\n"]));

function list(facts) {
  const terms = facts.map(({ title, content }) => html("div", {}, html("dt", {}, title), html("dd", {}, content)));
  return html("section", { class: "facts" }, html("h3", { class: "unseen" }, "What is known"), html("dl", {}, terms));
}

/** Return the commands to look further. */
function further(job, unit) {
  const where = job.host ? ["On ", name(job.host), ":"] : ["Where it runs:"];
  const journal = unit && `journalctl --unit ${text.shellWord(unit)} -n 50`;
  const commands = [journal, job.host && "batch-job status"].filter(Boolean);
  const words = commands.length
    ? [html("p", {}, where), html("pre", {}, html("code", {}, commands.join("\n")))]
    : html("p", {}, "It has no host: read the log of the pipeline or the appliance that runs it.");
  return html("section", {}, html("h3", {}, "To look further"), words);
}

/** Return how to declare a job that nobody has declared. */
function declaration(job, isUndeclared, { runs: ended }) {
  if (!isUndeclared) return html("section", { hidden: true });
  const gaps = ended.slice(1).map((run, index) => ended[index].end - run.end).sort((a, b) => a - b);
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
    html(
      "p",
      {},
      "Without a schedule, a success is due within ",
      html("code", {}, "max_age"),
      " after the last one: here, half as long again as the usual time between two of its runs.",
    ),
  );
}
