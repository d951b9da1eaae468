"""Filter: a dict of flags as the arguments of a Go program of the Prometheus family."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def command_line(flags: Mapping[str, Any]) -> list[str]:
    """Return the arguments, sorted by flag.

    A true flag stands alone, a false or empty one is left out, a list repeats its flag.
    """
    arguments: list[str] = []
    for name, value in sorted(flags.items()):
        for each in value if isinstance(value, list) else [value]:
            if each is True:
                arguments.append(f"--{name}")
            elif each is not False and each is not None and each != "":
                arguments.append(f"--{name}={each}")
    return arguments


class FilterModule:
    """Makes the filter known to Ansible."""

    def filters(self) -> dict[str, Any]:
        """Return the filter by its name."""
        return {"command_line": command_line}
