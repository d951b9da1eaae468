"""Query Prometheus for a dashboard and evaluate the answers as Grafana does.

This covers what tests and previews need and follows Grafana's documentation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import inf, isfinite
from typing import Any

import requests

Labels = Mapping[str, str]
# The steps to which Grafana rounds the interval between two points, in seconds.
MINUTES = (1, 2, 5, 10, 15, 20, 30, 60, 120, 180, 360, 720, 1440)
INTERVALS = (1, 2, 5, 10, 15, 20, 30, *(60 * minutes for minutes in MINUTES))
# Grafana's macros and the variables of a dashboard.
VARIABLE = re.compile(r"\$(?:\{(\w+)(?::\w+)?\}|(\w+))")


@dataclass(frozen=True)
class Series:
    """A series of an answer: its labels, its name in the legend, and its points."""

    query: str
    labels: Labels
    name: str
    points: list[tuple[float, float]]

    @property
    def last(self) -> float:
        """The latest value."""
        return self.points[-1][1]


@dataclass(frozen=True)
class View:
    """A dashboard at a time range, in Unix seconds, on a Prometheus with a scrape interval."""

    url: str
    start: float
    end: float
    scrape_interval: float = 15
    variables: Mapping[str, str] = field(default_factory=dict)

    def interval(self, points: int) -> float:
        """Return the seconds between points, a round number of at least the scrape interval."""
        exact = (self.end - self.start) / points
        rounded = next((each for each in INTERVALS if each >= exact), INTERVALS[-1])
        return max(rounded, self.scrape_interval)

    def fill_in(self, text: str, interval: float = 15) -> str:
        """Return a text with its variables filled in. Raises KeyError for an unknown one."""
        window = max(interval + self.scrape_interval, 4 * self.scrape_interval)
        known = {
            "__interval": f"{interval:.0f}s",
            "__rate_interval": f"{window:.0f}s",
            "__range": f"{self.end - self.start:.0f}s",
            **self.variables,
        }
        return VARIABLE.sub(lambda match: known[match[1] or match[2]], text)

    def ask(self, target: Mapping[str, Any], points: int = 1000) -> list[Series]:
        """Return the answer to a query of a panel. Raises ValueError with its error."""
        interval = self.interval(points)
        asked = {"query": self.fill_in(target["expr"], interval)}
        if target.get("instant"):
            found = self.answer("query", asked | {"time": str(self.end)})["result"]
            samples = [(each["metric"], [each["value"]]) for each in found]
        else:
            end = self.end - self.end % interval
            start = self.start - self.start % interval
            asked |= {"start": str(start), "end": str(end), "step": str(interval)}
            found = self.answer("query_range", asked)["result"]
            samples = [(each["metric"], each["values"]) for each in found]
        return [
            Series(
                target["refId"],
                labels,
                legend(target["legendFormat"], labels),
                [(float(time), float(value)) for time, value in values],
            )
            for labels, values in samples
        ]

    def answer(self, what: str, asked: Mapping[str, str]) -> Any:
        """Return the data of an answer of Prometheus' API. Raises ValueError."""
        found = requests.post(f"{self.url}/api/v1/{what}", data=asked, timeout=60).json()
        if found["status"] != "success":
            raise ValueError(f"{found['error']}: {asked['query']}")
        return found["data"]

    def values(self, variable: Mapping[str, Any]) -> list[str]:
        """Return the choices of a query variable."""
        match = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
        if not match:
            raise ValueError(f"not a query for values: {variable['query']}")
        asked = {
            "query": f"group by ({match[2]}) ({self.fill_in(match[1])})",
            "time": str(self.end),
        }
        found = self.answer("query", asked)["result"]
        return sorted(each["metric"][match[2]] for each in found if each["metric"])


def legend(template: str, labels: Labels) -> str:
    """Return the name of a series in the legend."""
    if template == "__auto":
        return ", ".join(f"{key}={value}" for key, value in labels.items()) or "Value"
    return re.sub(r"\{\{(\w+)\}\}", lambda match: labels.get(match[1], ""), template).strip()


def options(panel: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Return the options of a field, with the overrides of its names."""
    config = panel.get("fieldConfig", {})
    found = flat(config.get("defaults", {}))
    for override in config.get("overrides", []):
        matcher = override["matcher"]
        by_name = matcher["id"] == "byName" and matcher["options"] in names
        if by_name or matcher["id"] == "byRegexp":
            found |= {each["id"]: each.get("value") for each in override["properties"]}
    return found


def flat(defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return options, with custom ones under the names that overrides use."""
    own = {f"custom.{key}": value for key, value in defaults.get("custom", {}).items()}
    return {**{key: value for key, value in defaults.items() if key != "custom"}, **own}


def rows(panel: Mapping[str, Any], answers: Iterable[Series]) -> list[dict[str, Any]]:
    """Return the rows of a table after its transformations and its sorting.

    Answers of several queries share a row where all labels that both have are equal.
    """
    answers, refs = list(answers), [target["refId"] for target in panel["targets"]]
    merged: list[dict[str, Any]] = []
    for ref in refs:
        frame = [each for each in answers if each.query == ref]
        labels = {label for each in frame for label in each.labels}
        earlier = list(merged)
        for each in frame:
            known = {label: each.labels.get(label, "") for label in labels}
            fitting = (
                row
                for row in earlier
                if all(row.get(label, known[label]) == known[label] for label in labels)
            )
            row = next(fitting, None)
            if row is None:
                merged.append(row := {})
            row |= known | {f"Value #{ref}" if len(refs) > 1 else "Value": each.last}
    organize = organized(panel)
    names, hidden = organize["renameByName"], organize["excludeByName"]
    found = [
        {names.get(key, key): value for key, value in row.items() if key not in hidden}
        for row in merged
    ]
    for column in reversed(panel["options"]["sortBy"]):
        title, desc = column["displayName"], column.get("desc", False)
        found.sort(key=lambda row: sortable(row.get(title)), reverse=desc)
    return found


def organized(panel: Mapping[str, Any]) -> dict[str, Any]:
    """Return the names, the order and the exclusions of a table's columns."""
    found = {each["id"]: each["options"] for each in panel["transformations"]}
    return dict(found["organize"])


def sortable(value: object) -> tuple[float, str]:
    """Return a key that sorts missing values first, and numbers before texts."""
    if value is None:
        return -inf, ""
    return (value, "") if isinstance(value, float) else (0, str(value))


def columns(panel: Mapping[str, Any]) -> list[str]:
    """Return the titles of a table's visible columns."""
    organize = organized(panel)
    fields = sorted(organize["indexByName"], key=organize["indexByName"].get)
    titles = [organize["renameByName"].get(name, name) for name in fields]
    return [title for title in titles if not options(panel, title).get("custom.hidden")]


SECONDS: tuple[tuple[float, float, str], ...] = (
    (60, 1, "s"),
    (3600, 60, "mins"),
    (86400, 3600, "hours"),
    (604800, 86400, "days"),
    (31536000, 604800, "weeks"),
    (inf, 31536000, "years"),
)
BYTES = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def spoken(value: float, unit: str, decimals: int | None = None) -> str:
    """Return a value with its unit, in Grafana's words."""
    if not isfinite(value):
        return "∞" if value > 0 else "-∞"
    if unit == "percentunit":
        return f"{value * 100:.{decimals or 0}f}%"
    suffix = ""
    if unit == "s":
        factor, suffix = next((f, s) for limit, f, s in SECONDS if abs(value) < limit)
        if factor == 60 and abs(value / 60) == 1:
            suffix = "min"
        elif factor > 60 and abs(value / factor) == 1:
            suffix = suffix[:-1]
        if 0 < abs(value) < 1:
            factor, suffix = 0.001, "ms"
        value, suffix = value / factor, f" {suffix}"
    elif unit == "bytes":
        power = 0
        while abs(value) >= 1024 and power < len(BYTES) - 1:
            value, power = value / 1024, power + 1
        suffix = f" {BYTES[power]}"
    elif unit == "reqps":
        suffix = " req/s"
    if decimals is None:
        return f"{value:.3g}{suffix}" if abs(value) < 1000 else f"{value:.0f}{suffix}"
    return f"{value:.{decimals}f}{suffix}"


def display(value: float | str, field_options: Mapping[str, Any]) -> tuple[str, str | None]:
    """Return the text of a value and its colour, by mappings, then by thresholds."""
    raw = value if isinstance(value, str) else f"{value:g}"
    for mapping in field_options.get("mappings", []):
        result = mapping["options"].get(raw)
        if result:
            return result["text"], result.get("color")
    if isinstance(value, str):
        return value, None
    decimals = field_options.get("decimals")
    text = spoken(value, field_options.get("unit", "none"), decimals)
    color = None
    for step in field_options.get("thresholds", {}).get("steps", []):
        if step["value"] is None or value >= step["value"]:
            color = step["color"]
    return text, color
