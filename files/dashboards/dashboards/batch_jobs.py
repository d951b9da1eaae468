"""The home, which answers: are my backups fine."""

from grafana_foundation_sdk.builders import dashboard, stat, statetimeline, table
from grafana_foundation_sdk.models import dashboard as models

from dashboards import parts, queries
from dashboards.parts import Column
from dashboards.states import ORANGE, STATES, VERMILION

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
    """Return the variable that reduces the jobs to those in one state."""
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
    panel = parts.described(
        stat.Panel(),
        "Jobs by state",
        "How many declared or reporting jobs are in each state now; a click shows them below.",
        width=18,
        height=5,
        empty=NO_JOBS,
    )
    panel = parts.numbers(panel).unit("none").decimals(0)
    for state in reversed(STATES):
        # A zero is no news, but of the fine ones.
        thresholds = parts.steps((None, parts.QUIET), (1, state.color))
        look = {"thresholds": thresholds, "links": [parts.jobs_in(state)]}
        panel = parts.with_values(panel, (state.name, queries.jobs_in(state.name), look))
    return panel


def trust() -> stat.Panel:
    """Return whether what is shown can be believed."""
    panel = parts.described(
        stat.Panel(),
        "Can this be believed?",
        "Gateways that cannot be scraped, whether the declarations are missing, and alerts about"
        " monitoring itself: all should be 0.",
        width=6,
        height=5,
        empty="Prometheus scrapes no Pushgateway.",
    )
    panel = parts.numbers(panel).unit("none").decimals(0)
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
    panel = parts.described(
        table.Panel(),
        "Jobs, worst first",
        "How each job stands, when its next success is due, and how its latest run compares with"
        " the median of its week.",
        width=24,
        height=14,
        empty=NO_JOBS,
    )
    panel = panel.unit("short")
    overdue = parts.steps((None, VERMILION), (0, parts.TEXT))
    unusual = parts.steps((None, parts.TEXT), (1.5, ORANGE), (3, VERMILION))
    failed = parts.steps((None, parts.TEXT), (1, VERMILION))
    columns = [
        Column(
            "State",
            queries.STATE,
            properties=parts.filled(parts.STATE_WORDS, 120),
        ),
        Column("Job", label="job", properties={"links": [parts.to_job()], "custom__minWidth": 160}),
        Column("Host", label="instance", properties={"custom__minWidth": 130}),
        Column("Owner", queries.OWNER, label="owner"),
        Column("Last success", queries.AGE, properties={"unit": "s", "decimals": 1}),
        Column(
            "Next due",
            queries.DUE,
            properties=parts.colored_text(unit="s", decimals=1, thresholds=overdue),
        ),
        Column("Last duration", queries.DURATION, properties={"unit": "s", "decimals": 1}),
        Column(
            "Of usual",
            queries.AGAINST_USUAL,
            properties=parts.colored_text(unit="percentunit", decimals=0, thresholds=unusual),
        ),
        Column(
            "Exit code",
            queries.EXIT_CODE,
            properties=parts.colored_text(unit="none", thresholds=failed),
        ),
        Column("Size", queries.SIZE, properties={"unit": "bytes", "decimals": 1}),
    ]
    return parts.tabulate(panel, columns, [("State", True), ("Next due", False)])


def week() -> statetimeline.Panel:
    """Return the states of all jobs over time."""
    panel = parts.described(
        statetimeline.Panel(),
        "The week",
        "The state of each job over time: a bad night is a column.",
        width=24,
        height=12,
        empty=NO_JOBS,
    )
    panel = panel.with_target(parts.ask(queries.SHOWN, legend="{{job}} {{instance}}"))
    return parts.timeline(panel, parts.STATE_WORDS).unit("none")


def alerts() -> table.Panel:
    """Return what fires."""
    return parts.alert_table(
        queries.ALERTS,
        "What Prometheus alerts on now; each name leads to what to do about it.",
        width=24,
        height=9,
    )
