"""One job: each of its runs, and what it should have been like."""

from grafana_foundation_sdk.builders import dashboard, stat, statetimeline, table, timeseries

from dashboards import parts, queries
from dashboards.parts import PrometheusAnnotation
from dashboards.states import BLUE, GREEN, GREY, ORANGE, RESULTS, VERMILION

NO_RUNS = "No run ended in this time. Look at a longer one, or run batch-job status on its host."


def build() -> dashboard.Dashboard:
    """Return the dashboard."""
    made = parts.board(
        "batch-job", "Job detail", "The runs of a job, their cost and their results.", "now-7d"
    )
    made = made.with_variable(parts.variable("job", "Job", queries.JOBS))
    made = made.with_variable(parts.variable("instance", "Host", queries.INSTANCES))
    made = made.annotation(parts.Built(failures())).annotation(parts.Built(firing_alerts()))
    return parts.with_panels(
        made, summary(), runs(), age(), size(), cpu(), memory(), states(), alerts()
    )


def failures() -> PrometheusAnnotation:
    """Return a mark at the end of each failed run."""
    return PrometheusAnnotation(
        "Failures", queries.FAILURES, VERMILION, title="{{result}}", uses_value=True
    )


def firing_alerts() -> PrometheusAnnotation:
    """Return the times in which alerts on the job fired."""
    return PrometheusAnnotation("Alerts", queries.FIRING_ALERTS, ORANGE, title="{{alertname}}")


def summary() -> stat.Panel:
    """Return how the job stands."""
    panel = parts.described(
        stat.Panel(),
        "$job $instance",
        "How the job stands now, and how often it succeeded in the time that is shown.",
        width=24,
        height=4,
        empty="Nothing is known of this job: choose another one above.",
    )
    panel = parts.numbers(panel).thresholds(parts.Built(parts.steps((None, parts.QUIET))))
    overdue = parts.steps((None, VERMILION), (0, parts.QUIET))
    good = parts.steps((None, VERMILION), (0.9, ORANGE), (0.99, GREEN))
    return parts.with_values(
        panel,
        ("state", queries.JOB_STATE, {"unit": "none", "mappings": [parts.STATE_WORDS]}),
        ("since last success", queries.JOB_AGE, {"unit": "s", "decimals": 1}),
        ("next due in", queries.JOB_DUE, {"unit": "s", "decimals": 1, "thresholds": overdue}),
        ("last duration", queries.JOB_DURATION, {"unit": "s", "decimals": 1}),
        (
            "exit code",
            queries.JOB_EXIT_CODE,
            {"unit": "none", "thresholds": parts.steps((None, parts.QUIET), (1, VERMILION))},
        ),
        ("runs", queries.JOB_RUNS, {"unit": "none", "decimals": 0}),
        (
            "success rate",
            queries.JOB_SUCCESS_RATE,
            {"unit": "percentunit", "decimals": 0, "thresholds": good},
        ),
    )


def runs() -> timeseries.Panel:
    """Return each run as a point."""
    panel = parts.described(
        timeseries.Panel(),
        "Runs",
        "Each run at its end: how long it took, coloured by its result, below what is allowed.",
        width=24,
        height=9,
        empty=NO_RUNS,
    )
    panel = parts.curves(panel).unit("s")
    panel = panel.with_target(parts.ask(queries.RUNS, legend="{{result}}", ref="runs"))
    panel = panel.with_target(parts.ask(queries.MAX_RUNTIME, legend="allowed", ref="allowed"))
    panel = panel.with_target(parts.ask(queries.USUAL_DURATION, legend="usual", ref="usual"))
    for result, color in RESULTS.items():
        look = parts.POINTS | {"color": parts.fixed(color)}
        panel = panel.override_by_name(result, parts.properties(**look))
    panel = panel.override_by_name("allowed", parts.properties(**parts.limit()))
    return panel.override_by_name("usual", parts.properties(**parts.USUAL))


def age() -> timeseries.Panel:
    """Return the age of the latest success, and the age at which it is late."""
    panel = parts.described(
        timeseries.Panel(),
        "Deadline against success",
        "How old the latest success is; above the dashed line, the job is late.",
        width=12,
        height=8,
        empty="It never succeeded in this time: look at its log.",
    )
    panel = parts.curves(panel).unit("s").fill_opacity(10)
    panel = panel.with_target(
        parts.ask(queries.JOB_AGE, legend="age of the latest success", ref="age")
    )
    panel = panel.with_target(parts.ask(queries.DUE_AGE, legend="late from here", ref="late"))
    look = parts.limit() | {"custom__fillOpacity": 0}
    panel = panel.override_by_name("late from here", parts.properties(**look))
    return panel.override_by_name(
        "age of the latest success", parts.properties(color=parts.fixed(BLUE))
    )


def size() -> timeseries.Panel:
    """Return what the backups held."""
    panel = parts.described(
        timeseries.Panel(),
        "Backup size",
        "How much each run backed up, the band of most of the last 14 days, and the least that"
        " raises no alert.",
        width=12,
        height=8,
        empty="No sizes: a backup writes backup_size_bytes to the file $BATCH_JOB_METRICS.",
    )
    panel = parts.curves(panel).unit("bytes")
    high, low = queries.SIZE_BAND
    band = {"color": parts.fixed(GREY), "custom__lineWidth": 0}
    for name, expr, look in (
        ("size", queries.JOB_SIZE, parts.POINTS | {"color": parts.fixed(BLUE)}),
        (
            "usual, at most",
            high,
            band | {"custom__fillBelowTo": "usual, at least", "custom__fillOpacity": 25},
        ),
        ("usual, at least", low, band),
        ("half of the usual", queries.HALF_OF_USUAL, parts.limit(ORANGE)),
        ("least declared", queries.LEAST_SIZE, parts.limit()),
    ):
        panel = panel.with_target(parts.ask(expr, legend=name, ref=name))
        panel = panel.override_by_name(name, parts.properties(**look))
    return panel


def cost(title: str, description: str, unit: str, expr: str) -> timeseries.Panel:
    """Return what each run cost, as a point."""
    empty = "No costs: batch-job reports them where systemd or the kernel count them."
    panel = parts.described(timeseries.Panel(), title, description, width=12, height=7, empty=empty)
    look = parts.POINTS | {"color": parts.fixed(BLUE)}
    panel = parts.curves(panel).unit(unit).with_target(parts.ask(expr, legend=title))
    return panel.override_by_name(title, parts.properties(**look))


def cpu() -> timeseries.Panel:
    """Return the CPU time of each run."""
    return cost("CPU time", "How much CPU time each run took, user and system.", "s", queries.CPU)


def memory() -> timeseries.Panel:
    """Return the peak memory of each run."""
    return cost("Peak memory", "How much memory each run held at most.", "bytes", queries.MEMORY)


def states() -> statetimeline.Panel:
    """Return the states of the job over time."""
    panel = parts.described(
        statetimeline.Panel(),
        "State",
        "What was wrong with the job, and when.",
        width=24,
        height=4,
        empty="Nothing was known of this job in this time.",
    )
    panel = panel.with_target(parts.ask(queries.JOB_STATE, legend="state"))
    return parts.timeline(panel, parts.STATE_WORDS).unit("none")


def alerts() -> table.Panel:
    """Return what fires on this job."""
    return parts.alert_table(
        queries.JOB_ALERTS,
        "What Prometheus alerts on for this job now; each name leads to what to do about it.",
        width=24,
        height=5,
    )
