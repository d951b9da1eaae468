"""Pipelines: jobs that have no host, or say that they are of the kind `ci`."""

from grafana_foundation_sdk.builders import bargauge, common, dashboard, stat, table, timeseries
from grafana_foundation_sdk.models import common as kinds

from dashboards import parts, queries
from dashboards.parts import Column
from dashboards.states import BLUE, GREEN, ORANGE, VERMILION

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
    """Return numbers of all pipelines."""
    panel = parts.described(
        stat.Panel(),
        "All pipelines",
        "Runs that ended in the time that is shown, and how many succeeded.",
        width=24,
        height=4,
        empty=NO_PIPELINES,
    )
    panel = parts.numbers(panel).thresholds(parts.Built(parts.steps((None, parts.QUIET))))
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
    panel = parts.described(
        table.Panel(),
        "Pipelines, failing first",
        "Runs, successes and durations in the time that is shown; flips count how often a pipeline"
        " turned from good to bad or back.",
        width=24,
        height=7,
        empty=NO_PIPELINES,
    )
    rate = {"type": "gauge", "mode": "basic", "valueDisplayMode": "text"}
    columns = [
        Column("Pipeline", label="job", properties={"links": [parts.to_job("Pipeline")]}),
        Column("Host", label="instance"),
        Column(
            "State",
            queries.PIPELINE_STATE,
            properties=parts.filled(parts.STATE_WORDS, 110),
        ),
        Column(
            "Success rate",
            queries.PIPELINE_SUCCESS_RATE,
            properties={
                "unit": "percentunit",
                "decimals": 0,
                "min": 0,
                "max": 1,
                "thresholds": parts.steps(*GOOD),
                "custom__cellOptions": rate,
                "custom__minWidth": 180,
            },
        ),
        Column("Runs", queries.PIPELINE_RUNS, properties={"unit": "none", "decimals": 0}),
        Column("Usual duration", queries.PIPELINE_USUAL, properties={"unit": "s", "decimals": 1}),
        Column("Slowest", queries.PIPELINE_SLOWEST, properties={"unit": "s", "decimals": 1}),
        Column("Flips", queries.PIPELINE_FLIPS, properties={"unit": "none", "decimals": 0}),
        Column(
            "Last failure", queries.PIPELINE_LAST_FAILURE, properties={"unit": "s", "decimals": 1}
        ),
    ]
    return parts.tabulate(panel, columns, [("State", True), ("Success rate", False)])


def durations() -> timeseries.Panel:
    """Return each run as a point."""
    panel = parts.described(
        timeseries.Panel(),
        "Duration of each run",
        "Each run of each pipeline at its end.",
        width=12,
        height=9,
        empty=NO_PIPELINES,
    )
    panel = (
        parts.curves(panel)
        .unit("s")
        .with_target(parts.ask(queries.PIPELINE_DURATION, legend="{{job}} {{instance}}"))
    )
    return (
        panel.draw_style(kinds.GraphDrawStyle.POINTS)
        .point_size(5)
        .show_points(kinds.VisibilityMode.ALWAYS)
    )


def success_rates() -> timeseries.Panel:
    """Return how reliable pipelines became."""
    panel = parts.described(
        timeseries.Panel(),
        "Success rate of the day before",
        "The share of runs that succeeded in the 24 hours before each point.",
        width=12,
        height=9,
        empty=NO_PIPELINES,
    )
    panel = (
        parts.curves(panel)
        .unit("percentunit")
        .max(1)
        .with_target(parts.ask(queries.DAILY_SUCCESS_RATE, legend="{{job}} {{instance}}"))
    )
    return panel.span_nulls(True)


def bars(panel: bargauge.Panel, unit: str, expr: str) -> bargauge.Panel:
    """Compare pipelines by length."""
    latest = common.ReduceDataOptions().calcs(["lastNotNull"])
    panel = (
        panel.reduce_options(latest).orientation(kinds.VizOrientation.HORIZONTAL).unit(unit).min(0)
    )
    panel = panel.display_mode(kinds.BarGaugeDisplayMode.BASIC).thresholds(
        parts.Built(parts.steps((None, BLUE)))
    )
    return panel.with_target(parts.ask_now(expr, legend="{{job}} {{instance}}"))


def slowest() -> bargauge.Panel:
    """Return the pipelines with the longest run."""
    panel = parts.described(
        bargauge.Panel(),
        "Slowest",
        "The longest run of each, of the five that have the longest.",
        width=12,
        height=7,
        empty="none yet",
    )
    return bars(panel, "s", queries.SLOWEST).decimals(1)


def flakiest() -> bargauge.Panel:
    """Return the pipelines that change their mind most often."""
    panel = parts.described(
        bargauge.Panel(),
        "Flakiest",
        "How often each turned from good to bad or back, of the five that did most often.",
        width=12,
        height=7,
        empty="none yet",
    )
    return bars(panel, "none", queries.FLAKIEST)
