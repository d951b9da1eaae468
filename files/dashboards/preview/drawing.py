"""Draw panels as HTML and SVG, from the answers to their queries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from itertools import groupby
from math import ceil, floor, isfinite, log10
from typing import Any

from preview import evaluation
from preview.evaluation import Series, View, display, options, spoken

PALETTE = ("#73BF69", "#F2CC0C", "#8AB8FF", "#FF780A", "#F2495C", "#5794F2", "#B877D9", "#705DA0")
DARK, LIGHT = "#111217", "#CCCCDC"
LIMIT = 'stroke="#D55E00" stroke-dasharray="8 6"'
LEGEND, AXIS = 24.0, 20.0
# What an axis counts in.
LADDERS = {"s": (1, 60, 3600, 86400, 604800), "bytes": tuple(1024**n for n in range(6))}


@dataclass(frozen=True)
class Mark:
    """An annotation: begin and end in Unix seconds, equal for a moment, and its colour."""

    begin: float
    end: float
    color: str


@dataclass(frozen=True)
class Canvas:
    """Where a panel is drawn: its declaration, its time range, its size in pixels."""

    panel: Mapping[str, Any]
    view: View
    width: float
    height: float
    left: float = 0

    def x(self, time: float) -> float:
        """Return where a time is, from the left."""
        span = self.view.end - self.view.start
        share = (min(max(time, self.view.start), self.view.end) - self.view.start) / span
        return self.left + (self.width - self.left) * share

    def times(self) -> Iterator[tuple[float, str]]:
        """Yield as many round times as there is room for, with their texts."""
        step, form = 3600.0, "%H:%M"
        if self.view.end - self.view.start > 2 * 86400:
            step, form = 86400.0, "%a %d"
        first = self.view.start + step - self.view.start % step
        every = [first + n * step for n in range(int((self.view.end - first) / step) + 1)]
        for time in every[:: max(1, ceil(len(every) * 48 / (self.width - self.left)))]:
            yield time, datetime.fromtimestamp(time, UTC).strftime(form)


def colored(color: str | None) -> str:
    """Return a colour in the notation of browsers."""
    return LIGHT if color in (None, "text") else color


def on(color: str) -> str:
    """Return a colour of text that is readable on a colour."""
    if not color.startswith("#"):
        return LIGHT
    red, green, blue = (int(color[start : start + 2], 16) for start in (1, 3, 5))
    return DARK if 0.3 * red + 0.59 * green + 0.11 * blue > 150 else "#ffffff"


def stat(canvas: Canvas, answers: Sequence[Series], _: object) -> str:
    """Draw large values."""
    cells = []
    for series in answers:
        text, color = display(series.last, options(canvas.panel, series.name))
        look = f"background: {colored(color)}; color: {on(colored(color))}"
        content = f"<span>{escape(series.name)}</span><b>{text}</b>"
        cells.append(f'<div class="stat" style="{look}">{content}</div>')
    rows = max(1, int(canvas.height / 46)) if canvas.width < 95 * len(cells) else 1
    across = ceil(len(cells) / rows)
    grid = f"grid-template-columns: repeat({across}, 1fr)"
    return f'<div class="stats" style="{grid}">{"".join(cells)}</div>'


def table(canvas: Canvas, answers: Sequence[Series], _: object) -> str:
    """Draw a table."""
    titles = evaluation.columns(canvas.panel)
    found = evaluation.rows(canvas.panel, answers)
    looks = {title: options(canvas.panel, title) for title in titles}
    numeric = {
        title
        for title in titles
        if any(isinstance(row.get(title), float) for row in found) and not is_filled(looks[title])
    }
    head = "".join(
        f'<th class="{"number" if title in numeric else ""}">{escape(title)}</th>'
        for title in titles
    )
    body = "".join(
        f"<tr>{''.join(cell(row.get(title), looks[title]) for title in titles)}</tr>"
        for row in found
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def is_filled(look: Mapping[str, Any]) -> bool:
    """Return whether the value of a cell colours its background."""
    return bool(kind_of(look) == "color-background")


def kind_of(look: Mapping[str, Any]) -> Any:
    """Return how a cell is drawn."""
    return look.get("custom.cellOptions", {}).get("type", "auto")


def cell(value: object, look: Mapping[str, Any]) -> str:
    """Draw a cell of a table."""
    if not isinstance(value, float):
        text, color = display(str(value or ""), look)
        text = f"<a>{escape(text)}</a>" if look.get("links") else escape(text)
        return f'<td style="color: {color or "inherit"}">{text}</td>'
    text, color = display(value, look)
    if is_filled(look):
        style = f"background: {color}; color: {on(colored(color))}"
        return f'<td class="state" style="{style}">{text}</td>'
    if kind_of(look) == "gauge":
        share = (value - look["min"]) / (look["max"] - look["min"])
        bar = f'<i style="width: {share:.0%}; background: {color}"></i>'
        text = f'<span class="gauge">{bar}</span>{text}'
    style = "" if kind_of(look) == "auto" else f"color: {colored(color)}"
    return f'<td class="number" style="{style}">{text}</td>'


def bargauge(canvas: Canvas, answers: Sequence[Series], _: object) -> str:
    """Draw horizontal bars."""
    top = max(series.last for series in answers) or 1
    lines = []
    for series in sorted(answers, key=lambda each: -each.last):
        text, color = display(series.last, options(canvas.panel, series.name))
        look = f"linear-gradient(to right, {color} {series.last / top:.0%}, #22252b 0)"
        bar = f'<span>{escape(series.name)}</span><div style="background: {look}"></div>'
        lines.append(f'<div class="bar">{bar}<span>{text}</span></div>')
    return f'<div class="bars">{"".join(lines)}</div>'


def ticks(top: float, unit: str) -> list[float]:
    """Return round values from 0 to the top of an axis."""
    scale = max((each for each in LADDERS.get(unit, (1,)) if each <= top), default=1)
    rough = top / scale / 4
    magnitude = 10.0 ** floor(log10(rough))
    step = next(factor * magnitude for factor in (1, 2, 2.5, 5, 10) if factor * magnitude >= rough)
    return [number * step * scale for number in range(int(top / scale / step) + 1)]


def drawing(canvas: Canvas, shapes: Iterable[str], names: Mapping[str, str]) -> str:
    """Return shapes above a time axis, and a legend of names and their colours."""
    axis = "".join(
        f'<text x="{canvas.x(time):.1f}" y="{canvas.height - 5}" text-anchor="middle">{text}</text>'
        for time, text in canvas.times()
    )
    legend = "".join(
        f'<i style="background: {color}"></i>{escape(name)}' for name, color in names.items()
    )
    box = f"0 0 {canvas.width:.0f} {canvas.height:.0f}"
    return (
        f'<div class="chart"><svg viewBox="{box}" preserveAspectRatio="none">{axis}'
        f'{"".join(shapes)}</svg><div class="legend">{legend}</div></div>'
    )


def spells(
    points: Iterable[tuple[float, float]], step: float
) -> Iterator[tuple[float, float, float]]:
    """Yield begin, end and value of each period of equal points."""
    for value, same in groupby(points, key=lambda point: point[1]):
        times = [time for time, _ in same]
        yield times[0], times[-1] + step, value


def timeline(canvas: Canvas, answers: Sequence[Series], _: object) -> str:
    """Draw states over time."""
    left = min(170.0, canvas.width / 3)
    canvas = Canvas(canvas.panel, canvas.view, canvas.width, canvas.height - LEGEND, left)
    row = (canvas.height - AXIS) / len(answers)
    step = canvas.view.interval(int(canvas.width))
    shapes, names = [], {}
    for number, series in enumerate(answers):
        above = number * row
        middle = f'x="{left - 8}" y="{above + row / 2 + 4:.1f}" text-anchor="end"'
        shapes.append(f"<text {middle}>{escape(series.name)}</text>")
        for begin, end, value in spells(series.points, step):
            text, color = display(value, options(canvas.panel))
            names[text] = colored(color)
            place = f'x="{canvas.x(begin):.1f}" width="{canvas.x(end) - canvas.x(begin):.1f}"'
            size = f'y="{above + row * 0.08:.1f}" height="{row * 0.84:.1f}"'
            shapes.append(f'<rect {place} {size} fill="{color}"/>')
    return drawing(canvas, shapes, names)


def timeseries(canvas: Canvas, answers: Sequence[Series], marks: Sequence[Mark]) -> str:
    """Draw series over time."""
    canvas = Canvas(canvas.panel, canvas.view, canvas.width, canvas.height - LEGEND, left=72)
    common = options(canvas.panel)
    limits = []
    if "custom.thresholdsStyle" in common:
        limits = [step["value"] for step in common["thresholds"]["steps"][1:]]
    values = [value for series in answers for _, value in series.points if isfinite(value)]
    top = float(common.get("max") or max([*values, *limits, 1e-9]))
    bottom = canvas.height - AXIS

    def y(value: float) -> float:
        return 6 + (bottom - 6) * (1 - max(0.0, value) / top / 1.06)

    def across(value: float, look: str) -> str:
        ends = f'x1="{canvas.left}" x2="{canvas.width}" y1="{y(value):.1f}" y2="{y(value):.1f}"'
        return f"<line {ends} {look}/>"

    shapes = []
    for value in ticks(top, common.get("unit", "none")):
        place = f'x="{canvas.left - 6}" y="{y(value) + 4:.1f}" text-anchor="end"'
        text = spoken(value, common.get("unit", "none"), common.get("decimals"))
        shapes += [across(value, 'class="grid"'), f"<text {place}>{text}</text>"]
    for mark in marks:
        if mark.end >= canvas.view.start:
            begin, wide = canvas.x(mark.begin), max(1.5, canvas.x(mark.end) - canvas.x(mark.begin))
            fill = f'fill="{mark.color}" opacity="{0.12 if mark.end > mark.begin else 0.8}"'
            place = f'x="{begin:.1f}" y="6" width="{wide:.1f}" height="{bottom - 6}"'
            shapes.append(f"<rect {place} {fill}/>")
    shapes += [across(value, LIMIT) for value in limits]
    by_name = {series.name: series for series in answers}
    names: dict[str, str] = {}
    for number, series in enumerate(answers):
        look = options(canvas.panel, series.name)
        fixed = look.get("color", {}).get("fixedColor")
        color = names.setdefault(series.name, fixed or PALETTE[number % len(PALETTE)])
        points = [(canvas.x(time), y(value)) for time, value in series.points if isfinite(value)]
        below = by_name.get(look.get("custom.fillBelowTo", ""))
        if below:
            floor_points = [(canvas.x(time), y(value)) for time, value in below.points]
        elif points:
            floor_points = [(points[0][0], y(0)), (points[-1][0], y(0))]
        shapes += strokes(points, floor_points if points else [], color, look)
    return drawing(canvas, shapes, names)


def strokes(
    points: Sequence[tuple[float, float]],
    floor_points: Sequence[tuple[float, float]],
    color: str,
    look: Mapping[str, Any],
) -> Iterator[str]:
    """Yield the shapes of a series: points, or a line and what it fills down to its floor."""
    if look.get("custom.drawStyle") == "points":
        radius = look.get("custom.pointSize", 5) / 2
        for x, y in points:
            yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{color}"/>'
        return
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    if look.get("custom.fillOpacity"):
        back = " ".join(f"{x:.1f},{y:.1f}" for x, y in reversed(floor_points))
        opacity = look["custom.fillOpacity"] / 100
        yield f'<polygon points="{path} {back}" fill="{color}" opacity="{opacity}"/>'
    dash = look.get("custom.lineStyle", {}).get("dash", [])
    stroke = f'stroke="{color}" stroke-width="{look.get("custom.lineWidth", 1)}"'
    dashes = f'stroke-dasharray="{" ".join(map(str, dash))}"' if dash else ""
    yield f'<polyline points="{path}" fill="none" {stroke} {dashes}/>'


PANELS = {
    "stat": stat,
    "table": table,
    "timeseries": timeseries,
    "state-timeline": timeline,
    "bargauge": bargauge,
}
