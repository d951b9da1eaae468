"""Tables of variables for the roles' READMEs, out of argument_specs and defaults.

`make docs` writes them; a test compares. The rest of each README is written by hand.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROLES = Path(__file__).parent
BEGIN = "<!-- variables: `make docs` writes this table -->"
END = "<!-- end of variables -->"
# Entry points whose variables an operator sets; others are the playbooks' own.
OPERATORS = ("main", "external")


def render(role: str, readme: str) -> str:
    """Return a role's README with the current table in it.

    Raises ValueError when the README does not mark the table's place.
    """
    head, begin, rest = readme.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the README of {role} has no lines {BEGIN!r} and {END!r}")
    return f"{head}{BEGIN}\n{table(role)}{END}{tail}"


def table(role: str) -> str:
    """Return a role's variables as a Markdown table."""
    folder = ROLES / role
    specs = yaml.safe_load((folder / "meta/argument_specs.yml").read_text())["argument_specs"]
    defaults = yaml.safe_load((folder / "defaults/main.yml").read_text())
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    for entry in filter(specs.__contains__, OPERATORS):
        lines += rows(specs[entry]["options"], defaults)
    return "\n".join(lines) + "\n"


def rows(
    options: Mapping[str, Any], defaults: Mapping[str, Any], prefix: str = ""
) -> Iterator[str]:
    """Yield a line for each option and for those nested in it."""
    for name, option in options.items():
        value = option.get("default", defaults.get(name))
        shown = "" if prefix and value is None else f"`{default(value)}`"
        shown = "required" if option.get("required") else shown
        meaning = " ".join(option["description"].split()).replace("|", "\\|")
        if "choices" in option:
            meaning += f" One of {', '.join(map(str, option['choices']))}."
        yield f"| `{prefix}{name}` | {shown} | {meaning} |"
        yield from rows(option.get("options", {}), {}, prefix=f"{prefix}{name}.")


def default(value: Any) -> str:
    """Return a default on one line, as it would stand in an inventory."""
    text = value if isinstance(value, str) and value else json.dumps(value)
    return " ".join(text.split()).replace("|", "\\|")


def main() -> int:
    """Write the table of every role."""
    for readme in sorted(ROLES.glob("*/README.md")):
        readme.write_text(render(readme.parent.name, readme.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
