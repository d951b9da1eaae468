// All PromQL of the page. It reads what the rules record, as alerts and dashboards do.

import { WATCHERS } from "./states.js";

const perJob = (expression) => `max by (job, instance) (${expression})`;
const about = (name, expression) => `label_replace(${expression}, "about", "${name}", "", "")`;

/** One query for each column of the table, whatever the number of jobs. */
export const COLUMNS = {
  state: perJob("batch_job:state"),
  contact: "batch_job:contact",
  success: perJob("batch_job:last_success_timestamp_seconds"),
  due: perJob("batch_job:deadline_timestamp_seconds < Inf"),
  duration: perJob("batch_job:last_duration_seconds"),
  size: perJob("batch_job:backup_size_bytes"),
};

/** What is wrong with the watching itself, and what time it is for Prometheus. */
export const WATCHING = [
  about("now", "vector(time())"),
  about("rules", 'max by (alertname) (ALERTS{alertname="Watchdog"})'),
  about("age", "time() - max(timestamp(batch_job:state))"),
  about("gateway", 'up{job="pushgateway"} == 0'),
  about("declarations", '(up{job="declared_jobs"} == 0 or absent(up{job="declared_jobs"}))'),
  about("silences", 'max by (state) (alertmanager_silences{state="active"} > 0)'),
  about("alert", `ALERTS{alertstate="firing", ${WATCHERS}}`),
].join(" or ");

/** Return a text as PromQL writes it. */
const quoted = (text) => JSON.stringify(text);
// RE2 knows no \/ and no \-.
const exactly = (text) => text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");

const one = ({ name, host }) => `job=${quoted(name)}, instance=${quoted(host)}`;

/** Return selectors of jobs: one for each host, or for each name, whichever are fewer. */
function selectors(jobs) {
  const byHost = Map.groupBy(jobs, (job) => job.host);
  const byName = Map.groupBy(jobs, (job) => job.name);
  const some = (values) => quoted(values.map(exactly).join("|"));
  if (byHost.size <= byName.size) {
    return [...byHost].map(([host, jobs]) => `instance=${quoted(host)}, job=~${some(jobs.map((job) => job.name))}`);
  }
  return [...byName].map(([name, jobs]) => `job=${quoted(name)}, instance=~${some(jobs.map((job) => job.host))}`);
}

const perJobOf = (jobs, expression) => perJob(selectors(jobs).map(expression).join(" or "));

/** The worst state of each day. */
export const worst = (jobs) => perJobOf(jobs, (selector) => `max_over_time(batch_job:state{${selector}}[1d])`);

/** The median over a week, sampled once an hour, as on the dashboards. */
export const usual = (jobs) =>
  perJobOf(jobs, (selector) => `quantile_over_time(0.5, batch_job:last_duration_seconds{${selector}}[7d:1h])`);

const FACTS = [
  "declared",
  "declared_min_size_bytes",
  "last_completion_timestamp_seconds",
  "last_exit_code",
  "last_result",
  "max_runtime_seconds",
  "paused",
  "running_since_timestamp_seconds",
  "unit_info",
];

/** What is declared and known of a job, and which alerts fire. */
export const facts = (job) =>
  [
    `{__name__=~"batch_job:(${FACTS.join("|")})|batch_job_info", ${one(job)}}`,
    `(batch_job_last_output{output!="", ${one(job)}} and on (job, instance, pushgateway) batch_job:up_to_date)`,
    `ALERTS{alertstate="firing", alertname!~"BatchJob(Explained|Follows)", ${one(job)}}`,
  ].join(" or ");

const REPORTED = [
  "backup_size_bytes",
  "last_completion_timestamp_seconds",
  "last_duration_seconds",
  "last_exit_code",
  "last_result",
  "last_success_timestamp_seconds",
];

/** What was known of the latest run, over time. */
export const reported = (job) => `{__name__=~"batch_job:(${REPORTED.join("|")})", ${one(job)}}`;
