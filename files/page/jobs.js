// What Prometheus knows of all jobs at one time.

import { ask, instant, range } from "./api.js";
import * as queries from "./queries.js";
import { STATES } from "./states.js";
import { endOfDay } from "./text.js";

export const DAYS = 30;
const DAY = 86400;
// How long the worst states of days and usual durations may be kept, in seconds.
const MAX_AGE = 300;
// From this number on, a state needs attention.
const FIRST_BAD = STATES.findIndex((state) => state.name === "undeclared");
const SEVERITIES = ["critical", "warning"];

/** Return the key of a job's labels. */
export const keyOf = (name, host) => JSON.stringify([name, host]);
const labelsKey = (labels) => keyOf(labels.job ?? "", labels.instance ?? "");
const valueOf = (sample) => Number(sample.value[1]);

/** Return the state with a number of `batch_job:state`. */
export const stateOf = (number) => STATES[number] ?? { name: `state ${number}`, color: "#999999", meaning: "" };

export const isBad = (job) => job.state >= FIRST_BAD;

/** Return whether a job should have succeeded by now; one that is paused should not. */
export const isOverdue = (job, now) => job.due < now && stateOf(job.state).name !== "paused";

/** Return all jobs, worst first, and what is wrong with the watching, at a time or now. */
export async function look(at) {
  const columns = Object.entries(queries.COLUMNS);
  const [alertmanagers, watching, ...answers] = await Promise.all([
    // Prometheus knows only who is notified now.
    at === undefined ? ask("alertmanagers").catch(() => null) : null,
    instant(queries.WATCHING, at),
    ...columns.map(([, query]) => instant(query, at)),
  ]);
  const answered = Object.fromEntries(
    columns.map(([column], number) => [
      column,
      new Map(answers[number].map((sample) => [labelsKey(sample.metric), sample])),
    ]),
  );
  const jobs = [...answered.state].map(([key, sample]) => jobOf(key, sample, answered));
  const now = watching.find((sample) => sample.metric.about === "now");
  return {
    now: valueOf(now),
    jobs: jobs.sort(worstFirst),
    watching: watching.filter((sample) => sample !== now),
    isNotifying: alertmanagers === null || alertmanagers.activeAlertmanagers.length > 0,
  };
}

function jobOf(key, { metric, value }, answered) {
  const number = (column) => {
    const sample = answered[column].get(key);
    return sample && valueOf(sample);
  };
  const contact = answered.contact.get(key)?.metric ?? {};
  const job = {
    key,
    name: metric.job ?? "",
    host: metric.instance ?? "",
    owner: contact.owner ?? "",
    severity: contact.severity ?? "",
    state: Number(value[1]),
    success: number("success"),
    due: number("due"),
    duration: number("duration"),
    size: number("size"),
  };
  job.haystack = `${job.name}\n${job.host}\n${job.owner}`.toLowerCase();
  return job;
}

const collator = new Intl.Collator("en", { numeric: true });
const byText = (field) => (a, b) => collator.compare(a[field], b[field]);
// What is missing comes last, in whichever direction.
const missing = (a, b, field) => (a[field] === undefined) - (b[field] === undefined);
const severity = (job) => (SEVERITIES.indexOf(job.severity) + SEVERITIES.length + 1) % (SEVERITIES.length + 1);

function worstFirst(a, b) {
  return b.state - a.state || severity(a) - severity(b) || byText("name")(a, b) || byText("host")(a, b);
}

/** The columns by which the table can be sorted; numbers begin where people look for trouble. */
export const ORDERS = {
  state: { title: "State", compare: () => 0 },
  job: { title: "Job", compare: byText("name") },
  host: { title: "Host", compare: byText("host") },
  owner: { title: "Owner", compare: byText("owner") },
  success: { title: "Last success", compare: (a, b) => a.success - b.success, field: "success" },
  due: { title: "Due", compare: (a, b) => a.due - b.due, field: "due" },
  duration: { title: "Duration (usual)", compare: (a, b) => b.duration - a.duration, field: "duration" },
  size: { title: "Size", compare: (a, b) => b.size - a.size, field: "size" },
};

/** Return jobs, which are worst first, in an order such as `job`, or `-job` for the reverse. */
export function sorted(jobs, order) {
  const isReverse = order.startsWith("-");
  const { compare, field } = ORDERS[order.replace("-", "")] ?? ORDERS.state;
  if (compare === ORDERS.state.compare) return isReverse ? jobs.toReversed() : jobs;
  const sign = isReverse ? -1 : 1;
  return jobs.toSorted((a, b) => (field && missing(a, b, field)) || sign * compare(a, b) || 0);
}

/** Return a filter of jobs by all but their state. */
export function matcher({ text, owner, host }) {
  const words = (text ?? "").toLowerCase().split(/\s+/);
  return (job) =>
    (owner === undefined || job.owner === owner) &&
    (host === undefined || job.host === host) &&
    words.every((word) => job.haystack.includes(word));
}

/** What is asked only of jobs that can be seen: the worst state of each day, and the usual duration. */
export class Past {
  #known = new Map();
  #asked = new Set();

  /** Return what is known of a job. */
  of(job) {
    return this.#known.get(job.key) ?? { days: [], usual: undefined };
  }

  /** Ask for what is missing about jobs; return whether anything was missing. */
  async learn(jobs, now, at) {
    const isOld = (past) => !past || Math.abs(past.at - now) > MAX_AGE;
    const asked = jobs.filter((job) => isOld(this.#known.get(job.key)) && !this.#asked.has(job.key));
    if (!asked.length) return false;
    for (const job of asked) this.#asked.add(job.key);
    const end = endOfDay(now);
    try {
      const [days, usual] = await Promise.all([
        range(queries.worst(asked), end - (DAYS - 1) * DAY, end, DAY),
        instant(queries.usual(asked), at),
      ]);
      const worst = new Map(days.map(({ metric, values }) => [labelsKey(metric), values]));
      const medians = new Map(usual.map((sample) => [labelsKey(sample.metric), valueOf(sample)]));
      for (const { key } of asked) {
        const values = new Map(worst.get(key)?.map(([time, value]) => [Math.round((end - time) / DAY), Number(value)]));
        const bars = Array.from({ length: DAYS }, (_, day) => ({
          // In the middle of the day, wherever the clocks were changed.
          time: end - (DAYS - day - 0.5) * DAY,
          state: values.get(DAYS - 1 - day),
        }));
        this.#known.set(key, { at: now, days: bars, usual: medians.get(key) });
      }
    } finally {
      for (const job of asked) this.#asked.delete(job.key);
    }
    return true;
  }
}
