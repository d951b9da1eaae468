"""A filter that routes alerts by their severity and owner."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any


def notification_routes(
    severities: Iterable[Mapping[str, str]], owners: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Return the routes below the root, as Alertmanager's `routes` wants them.

    Each of `severities` has a name, maybe times, and maybe a `receiver` that gets the alert in
    addition to the owner's. `owners` gives the receiver of each owner.
    """
    besides, timed = [], []
    for severity in severities:
        times = {key: value for key, value in severity.items() if key not in ("name", "receiver")}
        route = {"matchers": [_equals("severity", severity["name"])], **times}
        timed.append(route)
        if severity.get("receiver"):
            besides.append({"receiver": severity["receiver"], **route, "continue": True})
    owned = [
        {"receiver": receiver, "matchers": [_equals("owner", owner)], "routes": timed}
        for owner, receiver in owners.items()
    ]
    return [*besides, *owned, *timed]


def _equals(label: str, value: str) -> str:
    return f"{label} = {json.dumps(value, ensure_ascii=False)}"


class FilterModule:
    """Makes the filter known to Ansible."""

    def filters(self) -> dict[str, Any]:
        """Return the filter by name."""
        return {"notification_routes": notification_routes}
