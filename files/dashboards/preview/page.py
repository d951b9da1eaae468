"""Draw dashboards for documentation and reviews, from their JSON and the answers of Prometheus.

A preview, not Grafana: layout, titles, units, thresholds and colours are as declared. Chromium
makes a picture of each page.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

from lab import browser
from preview.drawing import PANELS, Canvas, Mark
from preview.evaluation import View

HERE = Path(__file__).parent
SPANS = {"now-6h": 6 * 3600, "now-7d": 7 * 86400}
# Grafana's grid: 24 columns; a unit of height is 30 pixels and a gap of 8. Phones have one column.
COLUMNS, CELL, GAP, PHONE = 24, 30, 8, 768
PADDING, HEADER, PHONE_HEADER, TITLE = 12, 46, 90, 44


def load(name: str) -> dict[str, Any]:
    """Return a committed dashboard."""
    return dict(json.loads((HERE.parent / name).read_text()))


def view_of(
    dashboard: Mapping[str, Any],
    url: str,
    end: float,
    scrape_interval: float,
    variables: Mapping[str, str],
) -> View:
    """Return the view in which a dashboard opens at a time, in Unix seconds."""
    start = end - SPANS[dashboard["time"]["from"]]
    return View(url, start, end, scrape_interval, variables)


def page(dashboard: Mapping[str, Any], view: View, width: int) -> str:
    """Return a dashboard as a page of HTML for a width in pixels."""
    chosen = "".join(
        f'<span class="variable">{escape(each["label"])}: {name_of(each, view)}</span>'
        for each in dashboard["templating"]["list"]
        if each["type"] != "datasource"
    )
    moment = datetime.fromtimestamp(view.end, UTC).strftime("%a %d %b %Y %H:%M UTC")
    marks = list(marks_of(dashboard, view))
    panels = "".join(drawn(panel, view, marks, width) for panel in dashboard["panels"])
    return (
        f'<!doctype html><meta charset="utf-8"><style>{(HERE / "page.css").read_text()}</style>'
        f"<header><h1>{escape(dashboard['title'])}</h1>{chosen}<span>until {moment}</span>"
        f'<span class="preview">preview, not Grafana</span></header><main>{panels}</main>'
    )


def name_of(variable: Mapping[str, Any], view: View) -> str:
    """Return the text of a variable's value."""
    value = view.variables[variable["name"]]
    texts = {option["value"]: option["text"] for option in variable.get("options") or []}
    return escape(texts.get(value, "All" if value == ".*" else value))


def marks_of(dashboard: Mapping[str, Any], view: View) -> Iterator[Mark]:
    """Yield the annotations of a dashboard."""
    step = view.interval(1000)
    for each in dashboard["annotations"].get("list", []):
        target = {"expr": each["expr"], "refId": "X", "legendFormat": each["titleFormat"]}
        for series in view.ask(target):
            if each["useValueForTime"]:
                moments = {value / 1000 for _, value in series.points}
                yield from (Mark(moment, moment, each["iconColor"]) for moment in moments)
                continue
            begin = last = series.points[0][0]
            for time, _ in series.points:
                if time - last > step * 1.5:
                    yield Mark(begin, last, each["iconColor"])
                    begin = time
                last = time
            yield Mark(begin, last, each["iconColor"])


def drawn(panel: Mapping[str, Any], view: View, marks: Sequence[Mark], width: int) -> str:
    """Return a panel as HTML, at its place in the grid."""
    place = panel["gridPos"]
    column = (width - 2 * PADDING + GAP) / COLUMNS
    wide = place["w"] * column - GAP if width > PHONE else width - 2 * PADDING
    high = height(place["h"])
    answers = [series for target in panel["targets"] for series in view.ask(target, int(wide))]
    if answers:
        canvas = Canvas(panel, view, wide - 20, high - TITLE)
        body = PANELS[panel["type"]](canvas, answers, marks)
    else:
        body = f'<div class="empty">{escape(panel["fieldConfig"]["defaults"]["noValue"])}</div>'
    row, start = f"{place['y'] + 1} / span {place['h']}", f"{place['x'] + 1} / span {place['w']}"
    style = f"grid-row: {row}; grid-column: {start}; height: {high}px"
    title = escape(view.fill_in(panel["title"]))
    return f'<section style="{style}"><h2>{title}</h2><div class="body">{body}</div></section>'


def height(rows: int) -> int:
    """Return the height of rows of the grid, in pixels."""
    return rows * (CELL + GAP) - GAP


def page_height(dashboard: Mapping[str, Any], width: int) -> int:
    """Return the height of a dashboard's page, in pixels."""
    places = [panel["gridPos"] for panel in dashboard["panels"]]
    if width > PHONE:
        rows = max(place["y"] + place["h"] for place in places)
        return 2 * PADDING + HEADER + height(rows)
    panels = sum(height(place["h"]) + GAP for place in places)
    return 2 * PADDING + PHONE_HEADER + panels


def picture(dashboard: Mapping[str, Any], view: View, width: int, target: Path) -> None:
    """Write a dashboard as PNG. Raises LabError without Chromium."""
    with tempfile.TemporaryDirectory() as directory:
        source = Path(directory, "page.html")
        source.write_text(page(dashboard, view, width))
        command = [str(browser.ensure()), "--headless", "--no-sandbox", "--hide-scrollbars"]
        size = f"--window-size={width},{page_height(dashboard, width)}"
        output = [f"--user-data-dir={directory}", f"--screenshot={target}"]
        subprocess.run([*command, size, *output, source.as_uri()], check=True, capture_output=True)
