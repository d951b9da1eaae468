#!/usr/bin/python
"""Ansible module: wait until Alertmanager has accepted the alerts of canaries."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: canary_accepted
short_description: Wait until Alertmanager has accepted the alerts of canaries
description:
  - Asks Alertmanager's API until it holds C(BatchJobCanary) of each canary, or until time is up.
    It never fails because an alert did not come; it tells.
options:
  url:
    description: Base URL of Alertmanager.
    type: str
    required: true
  canaries:
    description: When the alert of each canary began to fire, in Unix seconds, by C(instance).
    type: dict
    required: true
  timeout_seconds:
    description: How long to wait.
    type: int
    required: true
extends_documentation_fragment: ansible.builtin.url
author: The maintainers of this repository
"""

EXAMPLES = r"""
- name: Wait for the alert of the canary of a host
  canary_accepted:
    url: http://localhost:9093
    canaries: {files.example.org: 1795400004.567}
    timeout_seconds: 60
"""

RETURN = r"""
canaries:
  description: >-
    By instance, C(accepted), Unix seconds of Alertmanager's clock, the C(receivers) to which it is
    routed, and C(state), which is C(suppressed) for an alert that is silenced or inhibited; empty
    when it did not come.
  type: dict
  returned: always
error:
  description: Why Alertmanager could not be asked; empty when it could.
  type: str
  returned: always
"""

import json
import time
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.urls import fetch_url, url_argument_spec

FILTER = urlencode({"filter": 'alertname="BatchJobCanary"'})
# Between the clocks of Prometheus and Alertmanager.
TOLERANCE_SECONDS = 1.0


def seconds(timestamp: str) -> float:
    """Return a time of Alertmanager's API in Unix seconds."""
    # Python 3.9 knows no Z and at most six digits.
    whole, _, fraction = timestamp.rstrip("Z").partition(".")
    return datetime.fromisoformat(whole + "+00:00").timestamp() + float(f"0.{fraction or 0}")


def accepted(alerts: list[dict[str, Any]], canaries: dict[str, float]) -> dict[str, Any]:
    """Return what Alertmanager says of each canary's alert; nothing of those it does not have."""
    found: dict[str, Any] = {instance: {} for instance in canaries}
    for alert in alerts:
        instance = alert["labels"].get("instance", "")
        # Not startsAt: an alert that still stands from before keeps its own.
        if (
            instance in found
            and seconds(alert["updatedAt"]) >= canaries[instance] - TOLERANCE_SECONDS
        ):
            found[instance] = {
                "accepted": seconds(alert["updatedAt"]),
                "receivers": [receiver["name"] for receiver in alert["receivers"]],
                "state": alert["status"]["state"],
            }
    return found


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=url_argument_spec()
        | {
            "url": {"type": "str", "required": True},
            "canaries": {"type": "dict", "required": True},
            "timeout_seconds": {"type": "int", "required": True},
        },
        supports_check_mode=True,
    )
    canaries = {instance: float(value) for instance, value in module.params["canaries"].items()}
    state: dict[str, Any] = {instance: {} for instance in canaries}
    limit = time.monotonic() + module.params["timeout_seconds"]
    while True:
        error = ""
        response, info = fetch_url(
            module, f"{module.params['url']}/api/v2/alerts?{FILTER}", timeout=10
        )
        if info["status"] == 200:
            state = accepted(json.loads(response.read()), canaries)
        else:
            error = f"{module.params['url']} does not answer: {info['msg']}"
        if all(state.values()) or time.monotonic() > limit:
            module.exit_json(canaries=state, error=error)
        time.sleep(0.5)


if __name__ == "__main__":
    main()
