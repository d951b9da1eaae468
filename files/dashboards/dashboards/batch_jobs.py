"""Home: all jobs, and what is wrong with them."""

from grafana_foundation_sdk.builders import dashboard, stat, statetimeline, table
from grafana_foundation_sdk.models import dashboard as models

from batch_job.states import ORANGE, STATES, VERMILION
from dashboards import parts, queries
from dashboards.parts import Column, Frame

NO_JOBS = (
    "No jobs here. Declare one in the inventory and roll it out, or push a report to a Pushgateway;"
    " it appears within a minute. If there are some, look at the filters above."
)


def build() -> dashboard.Dashboard:
    """Return the dashboard."""
    made = parts.board(
        "batch-jobs", "Batch jobs", "All jobs that end, and what is wrong with them.", "now-7d"
    )
    made = made.with_variable(parts.owners()).with_variable(state_variable())
    return parts.with_panels(made, counts(), trust(), jobs(), week(), alerts())


def state_variable() -> dashboard.CustomVariable:
    """Return the variable that selects jobs by their state."""
    choices = [("all", ">= 0")]
    worst_first = reversed(list(enumerate(STATES)))
    choices += [(state.name, parts.state_filter(number)) for number, state in worst_first]
    options = [
        models.VariableOption(selected=not number, text=text, value=value)
        for number, (text, value) in enumerate(choices)
    ]
    found = dashboard.CustomVariable("state").label("State").options(options).current(options[0])
    return found.values(", ".join(f"{text} : {value}" for text, value in choices))


def counts() -> stat.Panel:
    """Return how many jobs are in each state."""
    about = "How many declared or reporting jobs are in each state now; a click shows them below."
    frame = Frame("Jobs by state", about, 18, 5, NO_JOBS)
    panel = parts.numbers(frame).unit("none").decimals(0)
    for state in reversed(STATES):
        # Only `fine` keeps its colour at zero.
        thresholds = parts.steps((None, parts.QUIET), (1, state.color))
        look = {"thresholds": thresholds, "links": [parts.jobs_in(state)]}
        panel = parts.with_values(panel, (state.name, queries.jobs_in(state.name), look))
    return panel


def trust() -> stat.Panel:
    """Return what would make the other panels wrong."""
    about = (
        "Gateways that cannot be scraped, whether the declarations are missing, and alerts about"
        " monitoring itself: all should be 0."
    )
    frame = Frame("Can this be believed?", about, 6, 5, "Prometheus scrapes no Pushgateway.")
    panel = parts.numbers(frame).unit("none").decimals(0)
    panel = panel.thresholds(parts.Built(parts.steps(*parts.NONE_IS_FINE)))
    relay = parts.link("Pushgateway", f"/d/pushgateway?{parts.HERE}")
    return parts.with_values(
        panel,
        ("gateways down", queries.GATEWAYS_DOWN, {"links": [relay]}),
        ("declarations unread", queries.DECLARATIONS_UNREAD, {}),
        ("own alerts", queries.OWN_ALERTS, {}),
    )


def jobs() -> table.Panel:
    """Return a row for each job, worst first."""
    about = (
        "How each job stands, when its next success is due, and how its latest run compares with"
        " the median of its week."
    )
    frame = Frame("Jobs, worst first", about, 24, 14, NO_JOBS)
    overdue = parts.steps((None, VERMILION), (0, parts.TEXT))
    unusual = parts.steps((None, parts.TEXT), (1.5, ORANGE), (3, VERMILION))
    failed = parts.steps((None, parts.TEXT), (1, VERMILION))
    columns = [
        Column("State", queries.STATE, parts.filled(parts.STATE_WORDS, 120)),
        Column("Job", label="job", look={"links": [parts.to_job()], "custom__minWidth": 160}),
        Column("Host", label="instance", look={"custom__minWidth": 130}),
        Column("Owner", queries.OWNER, label="owner"),
        Column("Last success", queries.AGE, parts.SECONDS),
        Column("Next due", queries.DUE, parts.colored(overdue, "s", 1)),
        Column("Last duration", queries.DURATION, parts.SECONDS),
        Column(
            "Of usual",
            queries.AGAINST_USUAL,
            parts.colored(unusual, "percentunit", 0),
        ),
        Column("Exit code", queries.EXIT_CODE, parts.colored(failed, "none")),
        Column("Size", queries.SIZE, {"unit": "bytes", "decimals": 1}),
    ]
    return parts.rows(frame, columns, [("State", True), ("Next due", False)]).unit("short")


def week() -> statetimeline.Panel:
    """Return the states of all jobs over time."""
    about = "The state of each job over time: a bad night is a column."
    frame = Frame("The week", about, 24, 12, NO_JOBS)
    return parts.timeline(frame, queries.SHOWN, "{{job}} {{instance}}", parts.STATE_WORDS)


def alerts() -> table.Panel:
    """Return the alerts that fire."""
    return parts.alerts(
        queries.ALERTS,
        "What Prometheus alerts on now; each name leads to what to do about it.",
        height=9,
    )
