"""Make mutants of the rules: rule files with one mistake each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

# Comments, strings, matchers and ranges contain no operators.
OPAQUE = re.compile(r'#.*|"[^"]*"|\{[^}]*\}|\[[^]]*\]')

COMPARISON = re.compile(r"==|!=|>=|<=|>|<")
OPPOSITE = {"==": "!=", "!=": "==", ">": "<", "<": ">", ">=": "<", "<=": ">"}
# Not of `> bool 0`: that only makes a 1 of whatever is there.
BOUNDARY = re.compile(r"(?:>=|<=|>|<)(?! bool)")
NEIGHBOUR = {">": ">=", "<": "<=", ">=": ">", "<=": "<"}

LABELS = re.compile(r"\b(?:on|by|without|group_left) \(([^()]+)\)")

# Set operators, and what bounds their branches.
SEAM = re.compile(r"\b(or|and|unless)\b(?: on \([^()]*\))?\s*|[(),]")


@dataclass(frozen=True)
class Mutant:
    """A whole rule file, in which one rule has one mistake."""

    rule: str
    expression: str
    mistake: str
    rules: dict[str, Any]

    def __str__(self) -> str:
        """Name the mistake."""
        return f"{self.rule}, {self.mistake}"


def mutants(rules: dict[str, Any]) -> Iterator[Mutant]:
    """Yield a mutant for every comparison, label, branch and `for` in a rule file."""
    for group in rules["groups"]:
        for rule in group["rules"]:
            for mistake, mistaken in _mistaken(rule):
                changed = [mistaken if each is rule else each for each in group["rules"]]
                groups = [
                    {**each, "rules": changed} if each is group else each
                    for each in rules["groups"]
                ]
                name = rule.get("alert") or rule["record"]
                yield Mutant(name, rule["expr"], mistake, {**rules, "groups": groups})


def _mistaken(rule: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each mistake that a rule can have, and the rule with it."""
    if "for" in rule:
        yield "without for", {key: value for key, value in rule.items() if key != "for"}
    expression = rule["expr"]
    # As long as the expression, so that positions are the same.
    visible = OPAQUE.sub(lambda match: "_" * len(match[0]), expression)
    for start, end, text in (*_words(visible), *_branches(visible)):
        line = expression[:start].count("\n") + 1
        mistaken = expression[:start] + text + expression[end:]
        shown = mistaken.splitlines()[line - 1] if text else f"without {expression[start:end]}"
        yield f"line {line}: {' '.join(shown.split())}", {**rule, "expr": mistaken}


def _words(visible: str) -> Iterator[tuple[int, int, str]]:
    """Yield the position of each comparison and each list of labels, and a replacement."""
    for match in COMPARISON.finditer(visible):
        yield *match.span(), OPPOSITE[match[0]]
    for match in BOUNDARY.finditer(visible):
        yield *match.span(), NEIGHBOUR[match[0]]
    for match in LABELS.finditer(visible):
        labels = match[1].split(", ")
        for label in labels:
            yield *match.span(1), ", ".join(other for other in labels if other != label) or " "


def _branches(visible: str) -> Iterator[tuple[int, int, str]]:
    """Yield the position of each branch of a set operator, and nothing as its replacement."""
    start, seams = 0, list[re.Match[str]]()
    outer = []
    for match in SEAM.finditer(visible):
        if match[1]:
            seams.append(match)
        elif match[0] == "(":
            outer.append((start, seams))
            start, seams = match.end(), []
        else:
            yield from _cuts(start, match.start(), seams)
            start, seams = outer.pop() if match[0] == ")" else (match.end(), [])
    yield from _cuts(start, len(visible), seams)


def _cuts(start: int, end: int, seams: Sequence[re.Match[str]]) -> Iterator[tuple[int, int, str]]:
    alternatives = [seam for seam in seams if seam[1] == "or"]
    for number, seam in enumerate(seams, 1):
        # `or` binds least: its right branch ends at the next `or`.
        later = alternatives if seam[1] == "or" else seams[number:]
        after = (other.start() for other in later if other.start() > seam.start())
        yield seam.start(), next(after, end), ""
    if alternatives:
        yield start, alternatives[0].end(), ""
