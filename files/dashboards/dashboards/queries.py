"""All queries of all dashboards. No other module contains selectors.

Dashboards read what the rules record of jobs, as alerts do: each job once, whichever gateway said
it. `$state`, `$owner`, `$job`, `$instance` and `$gateway` are variables of dashboards,
`$__interval`, `$__rate_interval` and `$__range` are Grafana's own.
"""

from batch_job.states import NUMBERS

# Selectors that several queries share.
OWNED = 'batch_job:contact{owner=~"$owner"}'
JOB = 'job="$job", instance="$instance"'
ONE = f"{{{JOB}}}"
RELAY = '{job="pushgateway", pushgateway=~"$gateway"}'
ANY_RELAY = '{pushgateway=~"$gateway"}'
# A job without a host, or of the kind `ci`, is a pipeline.
PIPELINES = '(batch_job:state{instance=""} or on (job, instance) batch_job_info{kind="ci"})'

EACH = "on (job, instance)"
SHOWN = f"(batch_job:state $state and {EACH} {OWNED})"


def firing(*matchers: str) -> str:
    """Select firing alerts, except those that should always fire or only silence others."""
    others = "Watchdog|BatchJobCanary|BatchJobExplained|BatchJobFollows"
    known = ('alertstate="firing"', f'alertname!~"{others}"')
    return f"ALERTS{{{', '.join((*known, *matchers))}}}"


# Variables
OWNERS = "label_values(batch_job:contact, owner)"
JOBS = "label_values(batch_job:state, job)"
INSTANCES = 'label_values(batch_job:state{job="$job"}, instance)'
GATEWAYS = 'label_values(up{job="pushgateway"}, pushgateway)'


def row(expression: str) -> str:
    """Add a label that names the row of a table: rows are joined by it, with or without a host."""
    return f'label_join({expression}, "row", "/", "job", "instance")'


# All jobs
def jobs_in(state: str) -> str:
    """Count the selected owners' jobs in a state, 0 if there are none."""
    return f"count(batch_job:state == {NUMBERS[state]} and {EACH} {OWNED}) or vector(0)"


def of_shown(expression: str) -> str:
    """Reduce an expression to the selected jobs and drop its name: rows join by labels."""
    return row(f"max by (job, instance) ({expression} and {EACH} {SHOWN})")


STATE = of_shown("batch_job:state")
OWNER = row(f"group by (job, instance, owner) (batch_job:contact and {EACH} {SHOWN})")
AGE = of_shown("time() - batch_job:last_success_timestamp_seconds")
DUE = of_shown("(batch_job:deadline_timestamp_seconds < Inf) - time()")
DURATION = of_shown("batch_job:last_duration_seconds")
# The median over a week, sampled once an hour, which is cheap for many jobs.
USUAL_OF_ALL = "quantile_over_time(0.5, batch_job:last_duration_seconds[7d:1h])"
AGAINST_USUAL = of_shown(f"batch_job:last_duration_seconds / {USUAL_OF_ALL}")
EXIT_CODE = of_shown("batch_job:last_exit_code")
SIZE = of_shown("batch_job:backup_size_bytes")

GATEWAYS_DOWN = 'count(up{job="pushgateway"} == 0) or vector(0)'
DECLARATIONS = 'up{job="declared_jobs"}'
DECLARATIONS_UNREAD = f"max({DECLARATIONS} == bool 0 or absent({DECLARATIONS}))"
WATCHERS = (
    'alertname=~"Pushgateway.+|Prometheus.+|Alertmanager.+|BatchJobDeclarationsMissing'
    '|CertificateExpires"'
)
OWN_ALERTS = f"count({firing(WATCHERS)}) or vector(0)"


ALERT = "alertname, job, instance, owner"
# The numbers sort them.
SEVERITIES = ("1 info", "2 warning", "3 critical")


def alerts(*matchers: str) -> str:
    """Return for how many seconds each alert has fired, with severity and runbooks' address.

    One query: a table of several has no words for nothing at all.
    """

    def ranked(severity: str) -> str:
        matcher = f'severity="{severity[2:]}"'
        return f'label_replace({firing(matcher, *matchers)}, "rank", "{severity}", "", "")'

    told = f"group by ({ALERT}, rank) ({' or '.join(map(ranked, SEVERITIES))})"
    since = f"max by ({ALERT}) (time() - ALERTS_FOR_STATE)"
    runbooks = "(topk(1, batch_job_runbooks_info) or on () vector(1))"
    return f"{told} * on ({ALERT}) group_left () {since} * on () group_left (url) {runbooks}"


ALERTS = alerts()


# One job
JOB_ALERTS = alerts(JOB)
JOB_STATE = f"batch_job:state{ONE}"
JOB_AGE = f"time() - batch_job:last_success_timestamp_seconds{ONE}"
JOB_DUE = f"(batch_job:deadline_timestamp_seconds{ONE} < Inf) - time()"
JOB_EXIT_CODE = f"batch_job:last_exit_code{ONE}"
JOB_DURATION = f"batch_job:last_duration_seconds{ONE}"
USUAL_DURATION = f"quantile_over_time(0.5, batch_job:last_duration_seconds{ONE}[7d:1h])"
MAX_RUNTIME = f"batch_job:max_runtime_seconds{ONE} < Inf"
# The age at which the latest success is too old.
DUE_AGE = (
    f"(batch_job:deadline_timestamp_seconds{ONE} < Inf)"
    f" - {EACH} batch_job:last_success_timestamp_seconds{ONE}"
)


def at_ends(expression: str, selector: str) -> str:
    """Keep one point of a series for each run, at its end."""
    ended = f"batch_job:last_completion_timestamp_seconds{selector}"
    return f"{expression} unless {EACH} ({ended} == {ended} offset $__interval)"


RUNS = f"({at_ends(JOB_DURATION, ONE)}) * {EACH} group_left (result) batch_job:last_result{ONE}"


def latest(metric: str) -> str:
    """Read a metric from the gateways that know the latest run."""
    known = f"{metric}{ONE} and on (job, instance, pushgateway) batch_job:up_to_date{ONE}"
    return at_ends(f"max by (job, instance) ({known})", ONE)


CPU = latest("batch_job_last_cpu_seconds")
MEMORY = latest("batch_job_last_max_rss_bytes")
JOB_SIZE = at_ends(f"max by (job, instance) (batch_job:backup_size_bytes{ONE})", ONE)
REPLACED = f"batch_job:backup_size_bytes:replaced{ONE}"
SIZE_BAND = tuple(
    f"max by (job, instance) (quantile_over_time({share}, {REPLACED}[14d]))" for share in (0.9, 0.1)
)
# Below these, BackupShrunk and BackupEmpty fire.
HALF_OF_USUAL = f"0.5 * max by (job, instance) (batch_job:backup_size_bytes:median14d{ONE})"
LEAST_SIZE = f"batch_job:declared_min_size_bytes{ONE}"
# In milliseconds. Each step has its last failure.
FAILURES = (
    f"last_over_time((1000 * (batch_job:last_completion_timestamp_seconds{ONE}"
    f" and {EACH} batch_job:last_exit_code{ONE} != 0)"
    f" * {EACH} group_left (result) batch_job:last_result{ONE})[$__interval:1m])"
)
FIRING_ALERTS = f"max by (alertname) ({firing(JOB)})"


# Runs and successes are counted by changes that Prometheus saw. Of two runs that end between two
# scrapes, only one counts.
def changed(metric: str, of: str, window: str) -> str:
    """Count the changes of a metric of jobs in a window, its first appearance included."""
    new = f"({metric} > bool 0 unless {EACH} {metric} offset {window} or 0 * {metric})"
    count = f"changes({metric}[{window}]) + {EACH} {new}"
    return row(f"max by (job, instance) ({count} and {EACH} {of})")


def runs(of: str, window: str) -> str:
    """Count the runs that ended in a window."""
    return changed("batch_job:last_completion_timestamp_seconds", of, window)


def successes(of: str, window: str) -> str:
    """Count the runs that succeeded in a window."""
    return changed("batch_job:last_success_timestamp_seconds", of, window)


def success_rate(of: str, window: str) -> str:
    """Return the share of runs that succeeded, 0 to 1; nothing without any run."""
    return f"clamp_max({successes(of, window)} / ({runs(of, window)} > 0), 1)"


JOB_SUCCESS_RATE = success_rate(f"batch_job:state{ONE}", "$__range")
JOB_RUNS = runs(f"batch_job:state{ONE}", "$__range")


# Pipelines
def of_pipelines(expression: str) -> str:
    """Reduce an expression to pipelines and drop its name: rows join by labels."""
    return row(f"max by (job, instance) ({expression} and {EACH} {PIPELINES})")


PIPELINE_STATE = of_pipelines("batch_job:state")
PIPELINE_RUNS = runs(PIPELINES, "$__range")
PIPELINE_SUCCESS_RATE = success_rate(PIPELINES, "$__range")
DAILY_SUCCESS_RATE = success_rate(PIPELINES, "1d")
PIPELINE_USUAL = of_pipelines(
    "quantile_over_time(0.5, batch_job:last_duration_seconds[$__range:5m])"
)
PIPELINE_SLOWEST = of_pipelines("max_over_time(batch_job:last_duration_seconds[$__range])")
# Changes from good to bad or back.
PIPELINE_FLIPS = of_pipelines("changes(batch_job:last_exit_code[$__range])")
PIPELINE_LAST_FAILURE = of_pipelines(
    "time() - last_over_time((batch_job:last_completion_timestamp_seconds"
    f" and {EACH} batch_job:last_exit_code != 0)[$__range:1m])"
)
PIPELINE_DURATION = of_pipelines(at_ends("batch_job:last_duration_seconds", ""))
SLOWEST = f"topk(5, {PIPELINE_SLOWEST})"
FLAKIEST = f"topk(5, {PIPELINE_FLIPS} > 0)"
ALL_PIPELINES = f"count({PIPELINE_STATE}) or vector(0)"
ALL_RUNS = f"sum({PIPELINE_RUNS}) or vector(0)"
OVERALL_SUCCESS_RATE = f"sum({successes(PIPELINES, '$__range')}) / (sum({PIPELINE_RUNS}) > 0)"
FAILING_PIPELINES = f"count({PIPELINE_STATE} == {NUMBERS['failing']}) or vector(0)"


# Gateways
UP = f"max by (pushgateway) (up{RELAY})"
GROUPS = f"max by (pushgateway) (pushgateway:groups:count{ANY_RELAY})"
OLDEST_PUSH = f"time() - min by (pushgateway) (push_time_seconds{ANY_RELAY} > 0)"
RESIDENT_MEMORY = f"process_resident_memory_bytes{RELAY}"
SCRAPE_DURATION = f"scrape_duration_seconds{RELAY}"
SCRAPE_SAMPLES = f"scrape_samples_scraped{RELAY}"
UNWRITTEN = (
    f"time() - max by (pushgateway) (pushgateway_state_written_timestamp_seconds{ANY_RELAY})"
)
RUNNING = f"time() - max by (pushgateway) (process_start_time_seconds{RELAY})"


def requests(*matchers: str) -> str:
    """Select the counters of requests to gateways."""
    known = ('job="pushgateway"', 'pushgateway=~"$gateway"')
    return f"pushgateway_http_requests_total{{{', '.join((*known, *matchers))}}}"


TAKEN = requests('handler="push"', 'code=~"2.."')
FAULTY = requests('code=~"[45].."')
REFUSED = requests('handler="push"', 'code="400"')
ACCEPTED_PUSHES = f"sum by (pushgateway) (rate({TAKEN}[$__rate_interval]))"
REJECTED_PUSHES = f"sum by (pushgateway) (rate({REFUSED}[$__rate_interval]))"
# increase() misses the first rejection, which creates the series.
REJECTED_IN_RANGE = (
    f"sum by (pushgateway) (increase({REFUSED}[$__range]) + ("
    f"(min_over_time({REFUSED}[$__range]) unless {REFUSED} offset $__range) or {REFUSED} * 0))"
    f" or {UP} * 0"
)
HTTP_ERRORS = f"sum by (pushgateway, handler, code) (rate({FAULTY}[$__rate_interval]))"
REFUSED_FOR = (
    "time() - max by (job, instance)"
    f" (push_failure_time_seconds{ANY_RELAY} > push_time_seconds{ANY_RELAY})"
)
