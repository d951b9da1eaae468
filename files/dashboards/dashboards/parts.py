"""What the panels have in common: frames, columns, colours, links and variables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common as kinds
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from batch_job.states import GREEN, GREY, ORANGE, SKY, STATES, VERMILION, State
from dashboards import queries

TAG = "batch-jobs"
DATASOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
# The least width of a table's columns, in pixels, so that they fit a page of 1280.
COLUMN = 85
# What a link to another dashboard keeps.
HERE = "${datasource:queryparam}&${__url_time_range}"

Model = TypeVar("Model")
Panel = TypeVar(
    "Panel", stat.Panel, table.Panel, timeseries.Panel, statetimeline.Panel, bargauge.Panel
)
Properties = dict[str, Any]


class PrometheusAnnotation(models.AnnotationQuery):
    """An annotation with two fields of the Prometheus data source that the SDK lacks."""

    def __init__(
        self, name: str, expr: str, color: str, *, title: str, uses_value: bool = False
    ) -> None:
        """Mark each point of a series, or with `uses_value` the times that are its values (ms)."""
        super().__init__(name, DATASOURCE, enable=True, hide=False, icon_color=color, expr=expr)
        self._extra = {"titleFormat": title, "useValueForTime": uses_value}

    def to_json(self) -> dict[str, object]:
        """Return it as Grafana reads it."""
        return {**super().to_json(), **self._extra}


class Column(NamedTuple):
    """A column of a table: a query or a label, and its look."""

    title: str
    expr: str = ""
    look: Properties = {}  # noqa: RUF012
    label: str = ""


def ask(expr: str, legend: str = "", ref: str = "A") -> prometheus.Dataquery:
    """Return a query of a series over time."""
    return _query(expr, legend, ref).range()


def ask_now(expr: str, legend: str = "", ref: str = "A") -> prometheus.Dataquery:
    """Return a query at the end of the time range."""
    return _query(expr, legend, ref).instant()


def _query(expr: str, legend: str, ref: str) -> prometheus.Dataquery:
    asked = prometheus.Dataquery().expr(expr).ref_id(identifier(ref)).datasource(DATASOURCE)
    return asked.legend_format(legend or "__auto")


def identifier(name: str) -> str:
    """Return a name without blanks and punctuation."""
    return "_".join(re.findall(r"\w+", name.lower()))


class Frame(NamedTuple):
    """What every panel has; `empty` is what it shows, and advises, without any data."""

    title: str
    description: str
    width: int
    height: int
    empty: str


def framed(panel: Panel, frame: Frame) -> Panel:
    """Give a panel its frame."""
    panel = panel.title(frame.title).description(frame.description).datasource(DATASOURCE)
    return panel.no_value(frame.empty).span(frame.width).height(frame.height)


# How ages and durations are shown.
SECONDS: Properties = {"unit": "s", "decimals": 1}


def properties(**given: Any) -> list[models.DynamicConfigValue]:
    """Return field options by their names; `__` stands for a dot."""
    return [
        models.DynamicConfigValue(id_val=name.replace("__", "."), value=value)
        for name, value in given.items()
    ]


def styled(panel: Panel, name: str, look: Properties) -> Panel:
    """Give the series or the column with a name its look, if it has one."""
    return panel.override_by_name(name, properties(**look)) if look else panel


def steps(*pairs: tuple[float | None, str]) -> models.ThresholdsConfig:
    """Return thresholds: from each value on, a colour."""
    return models.ThresholdsConfig(
        mode=models.ThresholdsMode.ABSOLUTE,
        steps=[models.Threshold(value=value, color=color) for value, color in pairs],
    )


# Grafana would show the words of an empty panel in each gap of a chart.
GAP = properties(noValue=None)


class Built(Builder[Model]):
    """A builder of a model that exists, for an SDK that accepts only builders."""

    def __init__(self, model: Model) -> None:
        """Hold the model."""
        self._model = model

    def build(self) -> Model:
        """Return it."""
        return self._model


def fixed(color: str) -> Properties:
    """Return a colour that does not depend on the value."""
    return {"mode": "fixed", "fixedColor": color}


def words(known: Mapping[str, tuple[str, str]]) -> models.ValueMap:
    """Return the texts and the colours of values."""
    options = {
        value: models.ValueMappingResult(text=text, color=color, index=index)
        for index, (value, (text, color)) in enumerate(known.items())
    }
    return models.ValueMap(options=options)


STATE_WORDS = words({str(n): (state.name, state.color) for n, state in enumerate(STATES)})
UP_WORDS = words({"1": ("up", GREEN), "0": ("down", VERMILION)})
# Colours of the theme, for what is neither good nor bad.
QUIET, TEXT = "rgba(128, 128, 128, 0.25)", "text"
# 0 is good, anything else is not.
NONE_IS_FINE = ((None, GREEN), (1, VERMILION))


def link(title: str, url: str) -> Properties:
    """Return a link of a field."""
    return {"title": title, "url": url}


def jobs_in(state: State) -> Properties:
    """Return a link to the jobs in a state."""
    number = STATES.index(state)
    shown = quote(state_filter(number), safe="")
    url = f"/d/batch-jobs?{HERE}&${{owner:queryparam}}&var-state={shown}"
    return link(f"{state.name}: {state.meaning}", url)


def state_filter(number: int) -> str:
    """Return the PromQL that selects a state by its number."""
    return f"== {number}"


def to_job(job: str = "Job") -> Properties:
    """Return a link from a row of a table to its job, with or without a host."""
    fields = (
        f"var-job=${{__data.fields.{job}:percentencode}}"
        "&var-instance=${__data.fields.Host:percentencode}"
    )
    return link("Its runs", f"/d/batch-job?{HERE}&{fields}")


RUNBOOK = link("Runbook", "${__data.fields.url:raw}/${__data.fields.Alert}.md")


# The text of a column has the colour of its value.
COLORED: Properties = {"custom__cellOptions": {"type": "color-text"}}


def colored(
    thresholds: models.ThresholdsConfig, unit: str, decimals: int | None = None
) -> Properties:
    """Return a column of numbers whose text has the colour of its thresholds."""
    rounded = {} if decimals is None else {"decimals": decimals}
    return {"unit": unit, **rounded, "thresholds": thresholds, **COLORED}


def filled(mapping: models.ValueMap, width: int) -> Properties:
    """Return a column of named states, in their colours."""
    return {
        "mappings": [mapping],
        "custom__width": width,
        "custom__cellOptions": {"type": "color-background", "mode": "basic"},
    }


def rows(frame: Frame, columns: Sequence[Column], sort: Iterable[tuple[str, bool]]) -> table.Panel:
    """Return a table: a row for each set of labels that the columns' queries share."""
    panel = framed(table.Panel(), frame)
    names, order, hidden = {}, {}, {"Time": True, "row": True}
    asked = [column for column in columns if column.expr]
    for position, column in enumerate(columns):
        ref = identifier(column.title)
        value = f"Value #{ref}" if len(asked) > 1 else "Value"
        if column.expr:
            query = ask_now(column.expr, ref=ref).format(PromQueryFormat.TABLE)
            panel = panel.with_target(query)
        if column.expr and column.label:
            hidden[value] = True
        names[column.label or value], order[column.label or value] = column.title, position
    # `empty` is for the whole table.
    panel = panel.override_by_regexp(".*", properties(noValue=""))
    for column in columns:
        panel = styled(panel, column.title, column.look)
    organize = {"excludeByName": hidden, "indexByName": order, "renameByName": names}
    if len(asked) > 1:
        panel = panel.with_transformation(models.DataTransformerConfig(id_val="merge", options={}))
    panel = panel.with_transformation(
        models.DataTransformerConfig(id_val="organize", options=organize)
    )
    by: list[Builder[kinds.TableSortByFieldState]] = [
        Built(kinds.TableSortByFieldState(display_name=name, desc=desc)) for name, desc in sort
    ]
    return panel.sort_by(by).align(kinds.FieldTextAlignment.AUTO).min_width(COLUMN)


SEVERITY_WORDS = words(
    {
        ranked: (ranked[2:], color)
        for ranked, color in zip(queries.SEVERITIES, (SKY, ORANGE, VERMILION), strict=True)
    }
)


def alerts(firing: str, description: str, height: int) -> table.Panel:
    """Return a table of alerts that fire, with their runbooks."""
    columns = [
        Column("Alert", label="alertname", look={"links": [RUNBOOK], "custom__minWidth": 200}),
        Column("Job", label="job"),
        Column("Host", label="instance"),
        Column("Owner", label="owner"),
        Column("Severity", label="rank", look={"mappings": [SEVERITY_WORDS], **COLORED}),
        Column("For", firing, SECONDS),
        Column("url", label="url", look={"custom__hidden": True}),
    ]
    frame = Frame("Alerts", description, 24, height, "Nothing fires.")
    return rows(frame, columns, [("Severity", True), ("Alert", False)])


def latest() -> common.ReduceDataOptions:
    """Return the reduction of a series to its latest value."""
    return common.ReduceDataOptions().calcs(["lastNotNull"])


def numbers(frame: Frame) -> stat.Panel:
    """Return a panel for large values, next to each other, in their colours."""
    panel = framed(stat.Panel(), frame)
    panel = panel.reduce_options(latest()).graph_mode(kinds.BigValueGraphMode.NONE)
    panel = panel.color_mode(kinds.BigValueColorMode.BACKGROUND_SOLID)
    return panel.text_mode(kinds.BigValueTextMode.VALUE_AND_NAME).wide_layout(False)


def with_values(panel: stat.Panel, *values: tuple[str, str, Properties]) -> stat.Panel:
    """Add values to a panel: name, query and look of each."""
    for name, expr, look in values:
        panel = styled(panel.with_target(ask_now(expr, name, name)), name, look)
    return panel


def legend_below() -> common.VizLegendOptions:
    """Return a legend in a line below a chart."""
    legend = common.VizLegendOptions().display_mode(kinds.LegendDisplayMode.LIST)
    return legend.placement(kinds.LegendPlacement.BOTTOM).show_legend(True)


def curves(frame: Frame) -> timeseries.Panel:
    """Return a panel for series as thin lines, with a legend below and all values on hover."""
    panel = framed(timeseries.Panel(), frame)
    tooltip = common.VizTooltipOptions().mode(kinds.TooltipDisplayMode.MULTI)
    panel = panel.legend(legend_below()).tooltip(tooltip).line_width(2).min(0)
    panel = panel.override_by_regexp(".*", GAP)
    return panel.show_points(kinds.VisibilityMode.NEVER)


def with_curve(panel: timeseries.Panel, name: str, expr: str, look: Properties) -> timeseries.Panel:
    """Add a curve to a panel: its name, its query and its look."""
    return styled(panel.with_target(ask(expr, name, name)), name, look)


def points(color: str) -> Properties:
    """Return the look of a series of single points."""
    style = {"custom__drawStyle": "points", "custom__pointSize": 8, "custom__showPoints": "always"}
    return {**style, "color": fixed(color)}


def limit(color: str = VERMILION) -> Properties:
    """Return the look of a limit."""
    return {
        "color": fixed(color),
        "custom__lineStyle": {"fill": "dash", "dash": [8, 6]},
        "custom__lineWidth": 1,
    }


def with_limits(
    panel: timeseries.Panel, limits: Sequence[tuple[float | None, str]]
) -> timeseries.Panel:
    """Draw thresholds as dashed lines, and leave room for the last one."""
    style = kinds.GraphThresholdsStyleConfig(mode=kinds.GraphThresholdsStyleMode.DASHED)
    panel = panel.thresholds(Built(steps(*limits))).thresholds_style(Built(style))
    return panel.axis_soft_max(1.1 * (limits[-1][0] or 0))


USUAL: Properties = {"color": fixed(GREY), "custom__lineWidth": 1}


def timeline(frame: Frame, expr: str, legend: str, mapping: models.ValueMap) -> statetimeline.Panel:
    """Return a panel of named states over time."""
    panel = framed(statetimeline.Panel(), frame).with_target(ask(expr, legend)).unit("none")
    panel = panel.mappings([mapping]).legend(legend_below()).merge_values(True).row_height(0.85)
    # Without a colour of its own, Grafana has no legend for it.
    color = dashboard.FieldColor().mode(models.FieldColorModeId.FIXED).fixed_color(GREY)
    panel = panel.color_scheme(color).override_by_regexp(".*", GAP)
    return panel.show_value(kinds.VisibilityMode.NEVER).fill_opacity(90).line_width(0)


def variable(
    name: str, label: str, query: str, *, is_multi: bool = False
) -> dashboard.QueryVariable:
    """Return a variable with the values of a label, read when the dashboard is opened."""
    found = dashboard.QueryVariable(name).label(label).query({"query": query, "refId": name})
    found = found.datasource(DATASOURCE).refresh(models.VariableRefresh.ON_DASHBOARD_LOAD)
    found = found.sort(models.VariableSort.ALPHABETICAL_CASE_INSENSITIVE_ASC)
    if is_multi:
        everything = models.VariableOption(selected=True, text="All", value="$__all")
        found = found.multi(True).include_all(True).all_value(".*").current(everything)
    return found


def board(uid: str, title: str, description: str, since: str) -> dashboard.Dashboard:
    """Return a dashboard without panels, linked with the others."""
    others = dashboard.DashboardLink("Batch jobs").type(models.DashboardLinkType.DASHBOARDS)
    others = others.tags([TAG]).keep_time(True).include_vars(True).as_dropdown(False)
    made = dashboard.Dashboard(title).uid(uid).description(description).tags([TAG]).link(others)
    made = made.time(since, "now").refresh("1m").timezone("browser").readonly()
    made = made.tooltip(models.DashboardCursorSync.CROSSHAIR)
    default = models.VariableOption(selected=True, text="default", value="default")
    source = dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus")
    return made.with_variable(source.current(default))


def with_panels(made: dashboard.Dashboard, *panels: Builder[models.Panel]) -> dashboard.Dashboard:
    """Lay panels out from left to right and number them."""
    for number, panel in enumerate(panels, 1):
        built = panel.build()
        built.id_val = number
        made = made.with_panel(Built(built))
    return made


def owners() -> dashboard.QueryVariable:
    """Return the variable that selects jobs by their owners."""
    return variable("owner", "Owner", queries.OWNERS, is_multi=True)
