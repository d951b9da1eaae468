"""One job: its runs, beside what is usual and what is allowed."""

from grafana_foundation_sdk.builders import dashboard, stat, statetimeline, table, timeseries

from batch_job.states import BLUE, GREEN, GREY, ORANGE, RESULTS, VERMILION
from dashboards import parts, queries
from dashboards.parts import Frame, PrometheusAnnotation

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
    """Return the current state of the job."""
    about = "How the job stands now, and how often it succeeded in the time that is shown."
    frame = Frame(
        "$job $instance", about, 24, 4, "Nothing is known of this job: choose another one above."
    )
    panel = parts.numbers(frame).thresholds(parts.Built(parts.steps((None, parts.QUIET))))
    overdue = parts.steps((None, VERMILION), (0, parts.QUIET))
    good = parts.steps((None, VERMILION), (0.9, ORANGE), (0.99, GREEN))
    return parts.with_values(
        panel,
        ("state", queries.JOB_STATE, {"unit": "none", "mappings": [parts.STATE_WORDS]}),
        ("since last success", queries.JOB_AGE, parts.SECONDS),
        ("next due in", queries.JOB_DUE, {"unit": "s", "decimals": 1, "thresholds": overdue}),
        ("last duration", queries.JOB_DURATION, parts.SECONDS),
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
    about = "Each run at its end: how long it took, coloured by its result, below what is allowed."
    frame = Frame("Runs", about, 24, 9, NO_RUNS)
    panel = parts.curves(frame).unit("s")
    panel = panel.with_target(parts.ask(queries.RUNS, "{{result}}", "runs"))
    for result, color in RESULTS.items():
        panel = parts.styled(panel, result, parts.points(color))
    panel = parts.with_curve(panel, "allowed", queries.MAX_RUNTIME, parts.limit())
    return parts.with_curve(panel, "usual", queries.USUAL_DURATION, parts.USUAL)


def age() -> timeseries.Panel:
    """Return the age of the latest success, and the age at which it is late."""
    about = "How old the latest success is; above the dashed line, the job is late."
    frame = Frame(
        "Deadline against success",
        about,
        12,
        8,
        "It never succeeded in this time: look at its log.",
    )
    panel = parts.curves(frame).unit("s").fill_opacity(10)
    panel = panel.with_target(parts.ask(queries.JOB_AGE, "age of the latest success", "age"))
    panel = panel.with_target(parts.ask(queries.DUE_AGE, "late from here", "late"))
    panel = parts.styled(panel, "late from here", parts.limit() | {"custom__fillOpacity": 0})
    return parts.styled(panel, "age of the latest success", {"color": parts.fixed(BLUE)})


def size() -> timeseries.Panel:
    """Return the size of each backup and its limits."""
    about = (
        "How much each run backed up, the band of most of the last 14 days, and the least that"
        " raises no alert."
    )
    frame = Frame(
        "Backup size",
        about,
        12,
        8,
        "No sizes: a backup writes backup_size_bytes to the file $BATCH_JOB_METRICS.",
    )
    panel = parts.curves(frame).unit("bytes")
    high, low = queries.SIZE_BAND
    band = {"color": parts.fixed(GREY), "custom__lineWidth": 0}
    filled = band | {"custom__fillBelowTo": "usual, at least", "custom__fillOpacity": 25}
    panel = parts.with_curve(panel, "size", queries.JOB_SIZE, parts.points(BLUE))
    panel = parts.with_curve(panel, "usual, at most", high, filled)
    panel = parts.with_curve(panel, "usual, at least", low, band)
    panel = parts.with_curve(panel, "half of the usual", queries.HALF_OF_USUAL, parts.limit(ORANGE))
    return parts.with_curve(panel, "least declared", queries.LEAST_SIZE, parts.limit())


def cost(title: str, description: str, unit: str, expr: str) -> timeseries.Panel:
    """Return a cost of each run, as a point."""
    empty = "No costs: batch-job reports them where systemd or the kernel count them."
    panel = parts.curves(Frame(title, description, 12, 7, empty)).unit(unit)
    return parts.styled(panel.with_target(parts.ask(expr, title)), title, parts.points(BLUE))


def cpu() -> timeseries.Panel:
    """Return the CPU time of each run."""
    return cost("CPU time", "How much CPU time each run took, user and system.", "s", queries.CPU)


def memory() -> timeseries.Panel:
    """Return the peak memory of each run."""
    return cost("Peak memory", "How much memory each run held at most.", "bytes", queries.MEMORY)


def states() -> statetimeline.Panel:
    """Return the states of the job over time."""
    about = "What was wrong with the job, and when."
    frame = Frame("State", about, 24, 4, "Nothing was known of this job in this time.")
    return parts.timeline(frame, queries.JOB_STATE, "state", parts.STATE_WORDS)


def alerts() -> table.Panel:
    """Return the alerts that fire for this job."""
    return parts.alerts(
        queries.JOB_ALERTS,
        "What Prometheus alerts on for this job now; each name leads to what to do about it.",
        height=5,
    )
