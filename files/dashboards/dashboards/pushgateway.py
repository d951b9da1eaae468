"""Gateways, and what is lost between jobs and Prometheus."""

from collections.abc import Sequence

from grafana_foundation_sdk.builders import dashboard, statetimeline, table, timeseries

from batch_job.states import ORANGE, VERMILION
from dashboards import parts, queries
from dashboards.parts import Column, Frame

NO_GATEWAY = "Prometheus scrapes no Pushgateway: see prometheus_pushgateway_targets."
NOTHING_PUSHED = "Nothing was pushed in this time."


def build() -> dashboard.Dashboard:
    """Return the dashboard."""
    made = parts.board(
        "pushgateway", "Pushgateway", "Health of the relay that keeps what jobs say.", "now-6h"
    )
    made = made.with_variable(
        parts.variable("gateway", "Pushgateway", queries.GATEWAYS, is_multi=True)
    )
    return parts.with_panels(
        made,
        gateways(),
        up(),
        pushes(),
        rejected(),
        groups(),
        oldest(),
        written(),
        errors(),
        memory(),
        scrape_duration(),
        scrape_size(),
        refused(),
    )


def gateways() -> table.Panel:
    """Return a row for each gateway."""
    about = "How each gateway is now; the state should have been written within minutes."
    frame = Frame("Gateways", about, 24, 5, NO_GATEWAY)
    unwritten = parts.steps((None, parts.TEXT), (300, ORANGE), (600, VERMILION))
    lost = parts.steps((None, parts.TEXT), (0.5, VERMILION))
    columns = [
        Column("Gateway", label="pushgateway"),
        Column("Up", queries.UP, parts.filled(parts.UP_WORDS, 80)),
        Column("Running for", queries.RUNNING, parts.SECONDS),
        Column("Groups", queries.GROUPS, {"unit": "none"}),
        Column("Oldest push", queries.OLDEST_PUSH, parts.SECONDS),
        Column(
            "State written",
            queries.UNWRITTEN,
            parts.colored(unwritten, "s", 1),
        ),
        Column(
            "Rejected pushes",
            queries.REJECTED_IN_RANGE,
            parts.colored(lost, "none", 0),
        ),
    ]
    return parts.rows(frame, columns, [("Up", False), ("Gateway", False)])


def up() -> statetimeline.Panel:
    """Return when each gateway could be scraped."""
    about = "When Prometheus could scrape each gateway."
    frame = Frame("Up", about, 24, 4, NO_GATEWAY)
    return parts.timeline(frame, queries.UP, "{{pushgateway}}", parts.UP_WORDS)


def curve(
    title: str,
    description: str,
    unit: str,
    expr: str,
    empty: str,
    legend: str = "{{pushgateway}}",
    limits: Sequence[tuple[float | None, str]] = (),
) -> timeseries.Panel:
    """Return a panel of half the width with a curve for each gateway."""
    panel = parts.curves(Frame(title, description, 12, 7, empty)).unit(unit)
    panel = panel.with_target(parts.ask(expr, legend))
    return parts.with_limits(panel, limits) if limits else panel


def pushes() -> timeseries.Panel:
    """Return the rate of accepted pushes."""
    about = "Pushes per second that each gateway took."
    return curve("Pushes", about, "reqps", queries.ACCEPTED_PUSHES, NOTHING_PUSHED)


def rejected() -> timeseries.Panel:
    """Return the rate of rejected pushes."""
    about = "Pushes per second that were malformed or contradicted others; batch-job loses none."
    empty = "No push was rejected since the gateway started."
    return curve("Rejected pushes", about, "reqps", queries.REJECTED_PUSHES, empty)


def groups() -> timeseries.Panel:
    """Return the number of groups."""
    about = "Groups of metrics that each gateway keeps; nothing but a deletion ends one."
    return curve("Groups", about, "none", queries.GROUPS, NOTHING_PUSHED)


def oldest() -> timeseries.Panel:
    """Return the age of the oldest group."""
    about = "Age of the group that was pushed to last of all: very old ones can be pruned."
    return curve("Oldest push", about, "s", queries.OLDEST_PUSH, NOTHING_PUSHED)


def written() -> timeseries.Panel:
    """Return the age of the state on disk."""
    about = "What came since then would not survive a crash; 10 minutes raise an alert."
    return curve(
        "Time since the state was written",
        about,
        "s",
        queries.UNWRITTEN,
        "No host reports it: see pushgateway-state.timer there.",
        limits=((None, parts.QUIET), (600, VERMILION)),
    )


def errors() -> timeseries.Panel:
    """Return the rate of failed requests."""
    about = "Requests per second that were answered with an error, by what they wanted."
    return curve(
        "HTTP errors",
        about,
        "reqps",
        queries.HTTP_ERRORS,
        "No request failed since the gateway started.",
        legend="{{pushgateway}} {{handler}} {{code}}",
    )


def memory() -> timeseries.Panel:
    """Return the memory of each gateway."""
    return curve(
        "Memory", "Resident memory of each gateway.", "bytes", queries.RESIDENT_MEMORY, NO_GATEWAY
    )


def scrape_duration() -> timeseries.Panel:
    """Return the duration of scrapes."""
    about = "How long Prometheus takes to read all groups."
    return curve("Scrape duration", about, "s", queries.SCRAPE_DURATION, NO_GATEWAY)


def scrape_size() -> timeseries.Panel:
    """Return the number of samples in each scrape."""
    return curve(
        "Scrape size", "Samples that each scrape reads.", "none", queries.SCRAPE_SAMPLES, NO_GATEWAY
    )


def refused() -> table.Panel:
    """Return the jobs whose latest push was rejected."""
    about = "What these meant to say is lost; the gateway's log says what was wrong."
    frame = Frame("Jobs whose latest push was rejected", about, 12, 7, "None.")
    columns = [
        Column("Job", label="job", look={"links": [parts.to_job()]}),
        Column("Host", label="instance"),
        Column("Since", queries.REFUSED_FOR, parts.SECONDS),
    ]
    return parts.rows(frame, columns, [("Since", True)])
