"""Pipelines: jobs without a host, and jobs of the kind `ci`."""

from grafana_foundation_sdk.builders import bargauge, dashboard, stat, table, timeseries
from grafana_foundation_sdk.models import common as kinds

from batch_job.states import BLUE, GREEN, ORANGE, VERMILION
from dashboards import parts, queries
from dashboards.parts import Column, Frame

NO_PIPELINES = (
    "No pipelines. A job that reports without an instance, or of the kind ci, appears here:"
    " BATCH_JOB_INSTANCE= batch-job run --job my-pipeline -- ..."
)
GOOD = ((None, VERMILION), (0.8, ORANGE), (0.95, GREEN))


def build() -> dashboard.Dashboard:
    """Return the dashboard."""
    made = parts.board(
        "ci-pipelines",
        "CI pipelines",
        "How long pipelines take, and how often they fail.",
        "now-7d",
    )
    return parts.with_panels(
        made, summary(), pipelines(), durations(), success_rates(), slowest(), flakiest()
    )


def summary() -> stat.Panel:
    """Return totals of all pipelines."""
    about = "Runs that ended in the time that is shown, and how many succeeded."
    frame = Frame("All pipelines", about, 24, 4, NO_PIPELINES)
    panel = parts.numbers(frame).thresholds(parts.Built(parts.steps((None, parts.QUIET))))
    failing = parts.steps((None, parts.QUIET), (1, VERMILION))
    return parts.with_values(
        panel,
        ("failing now", queries.FAILING_PIPELINES, {"unit": "none", "thresholds": failing}),
        ("pipelines", queries.ALL_PIPELINES, {"unit": "none"}),
        ("runs", queries.ALL_RUNS, {"unit": "none", "decimals": 0}),
        (
            "success rate",
            queries.OVERALL_SUCCESS_RATE,
            {"unit": "percentunit", "decimals": 1, "thresholds": parts.steps(*GOOD)},
        ),
    )


def pipelines() -> table.Panel:
    """Return a row for each pipeline."""
    about = (
        "Runs, successes and durations in the time that is shown; flips count how often a pipeline"
        " turned from good to bad or back."
    )
    frame = Frame("Pipelines, failing first", about, 24, 7, NO_PIPELINES)
    rate = {"type": "gauge", "mode": "basic", "valueDisplayMode": "text"}
    columns = [
        Column("Pipeline", label="job", look={"links": [parts.to_job("Pipeline")]}),
        Column("Host", label="instance"),
        Column("State", queries.PIPELINE_STATE, parts.filled(parts.STATE_WORDS, 110)),
        Column(
            "Success rate",
            queries.PIPELINE_SUCCESS_RATE,
            {
                "unit": "percentunit",
                "decimals": 0,
                "min": 0,
                "max": 1,
                "thresholds": parts.steps(*GOOD),
                "custom__cellOptions": rate,
                "custom__minWidth": 180,
            },
        ),
        Column("Runs", queries.PIPELINE_RUNS, {"unit": "none", "decimals": 0}),
        Column("Usual duration", queries.PIPELINE_USUAL, parts.SECONDS),
        Column("Slowest", queries.PIPELINE_SLOWEST, parts.SECONDS),
        Column("Flips", queries.PIPELINE_FLIPS, {"unit": "none", "decimals": 0}),
        Column("Last failure", queries.PIPELINE_LAST_FAILURE, parts.SECONDS),
    ]
    return parts.rows(frame, columns, [("State", True), ("Success rate", False)])


def durations() -> timeseries.Panel:
    """Return each run as a point."""
    about = "Each run of each pipeline at its end."
    frame = Frame("Duration of each run", about, 12, 9, NO_PIPELINES)
    target = parts.ask(queries.PIPELINE_DURATION, "{{job}} {{instance}}")
    panel = parts.curves(frame).unit("s").with_target(target)
    panel = panel.draw_style(kinds.GraphDrawStyle.POINTS).point_size(5)
    return panel.show_points(kinds.VisibilityMode.ALWAYS)


def success_rates() -> timeseries.Panel:
    """Return the success rate of each pipeline over time."""
    about = "The share of runs that succeeded in the 24 hours before each point."
    frame = Frame("Success rate of the day before", about, 12, 9, NO_PIPELINES)
    target = parts.ask(queries.DAILY_SUCCESS_RATE, "{{job}} {{instance}}")
    return parts.curves(frame).unit("percentunit").max(1).with_target(target).span_nulls(True)


def bars(frame: Frame, unit: str, expr: str) -> bargauge.Panel:
    """Return a panel that compares pipelines by length."""
    panel = parts.framed(bargauge.Panel(), frame).reduce_options(parts.latest()).unit(unit).min(0)
    panel = panel.orientation(kinds.VizOrientation.HORIZONTAL)
    panel = panel.display_mode(kinds.BarGaugeDisplayMode.BASIC)
    panel = panel.thresholds(parts.Built(parts.steps((None, BLUE))))
    return panel.with_target(parts.ask_now(expr, "{{job}} {{instance}}"))


def slowest() -> bargauge.Panel:
    """Return the pipelines with the longest run."""
    about = "The longest run of each, of the five that have the longest."
    frame = Frame("Slowest", about, 12, 7, "none yet")
    return bars(frame, "s", queries.SLOWEST).decimals(1)


def flakiest() -> bargauge.Panel:
    """Return the pipelines that turn from good to bad and back most often."""
    about = "How often each turned from good to bad or back, of the five that did most often."
    frame = Frame("Flakiest", about, 12, 7, "none yet")
    return bars(frame, "none", queries.FLAKIEST)
