"""A filter that routes alerts by their severity and owner."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

TIMES = {"group_wait", "group_interval", "repeat_interval"}


def notification_routes(
    severities: Mapping[str, Mapping[str, str]], owners: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Return the routes below the root, as Alertmanager's `routes` wants them.

    `severities` gives each severity its times and, maybe, a `receiver` that hears of it besides;
    `owners` gives the receiver of each owner. Raises AnsibleFilterError for an unknown option.
    """
    besides, timed = [], []
    for severity, options in severities.items():
        unknown = sorted(set(options) - TIMES - {"receiver"})
        if unknown:
            raise AnsibleFilterError(
                f"alertmanager_severities, {severity}: there is no {unknown[0]}"
            )
        times = {name: value for name, value in options.items() if name in TIMES}
        route = {"matchers": [_equals("severity", severity)], **times}
        timed.append(route)
        if options.get("receiver"):
            besides.append({"receiver": options["receiver"], **route, "continue": True})
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
