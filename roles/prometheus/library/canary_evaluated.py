#!/usr/bin/python
"""Ansible module: wait until Prometheus has scraped canaries and raised their alerts."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: canary_evaluated
short_description: Wait until Prometheus has scraped canaries and raised their alerts
description:
  - Asks Prometheus' API until it has each canary from each of its gateways and C(BatchJobCanary)
    fires for it, or until time is up. It never fails because a canary did not come; it tells.
options:
  url:
    description: Base URL of Prometheus.
    type: str
    required: true
  canaries:
    description: The value that was pushed for each canary, in Unix seconds, by C(instance).
    type: dict
    required: true
  pushgateways:
    description: >-
      Values of the label C(pushgateway) under which each canary must arrive, by C(instance); an
      empty one for a directory of node_exporter's.
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
- name: Wait for the canary of a host
  canary_evaluated:
    url: http://localhost:9090
    canaries: {files.example.org: 1795400000.123}
    pushgateways: {files.example.org: [push.example.org]}
    timeout_seconds: 60
"""

RETURN = r"""
canaries:
  description: >-
    By instance, C(scraped), by gateway, and C(firing), both as Unix seconds of Prometheus' clock;
    missing when it did not happen.
  type: dict
  returned: always
pushgateways:
  description: Where each canary must come from, as given.
  type: dict
  returned: always
error:
  description: Why Prometheus could not be asked; empty when it could.
  type: str
  returned: always
"""

import json
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.urls import fetch_url, url_argument_spec

CANARY = 'canary_timestamp_seconds{job="batch_job_canary"}[15m]'
ALERT = 'ALERTS{alertname="BatchJobCanary",alertstate="firing"}[15m]'
# Pushed values travel as decimal text.
TOLERANCE_SECONDS = 0.001


# Returns the series of a range selector, as Prometheus' API does.
Query = Callable[[str], "list[dict[str, Any]]"]


def scraped(
    series: list[dict[str, Any]], canaries: dict[str, float]
) -> dict[str, dict[str, float]]:
    """Return when each canary was first scraped, by instance and gateway, in Unix seconds."""
    found: dict[str, dict[str, float]] = {instance: {} for instance in canaries}
    for each in series:
        instance, gateway = (
            each["metric"].get("instance", ""),
            each["metric"].get("pushgateway", ""),
        )
        for timestamp, value in each["values"]:
            if instance in found and abs(float(value) - canaries[instance]) <= TOLERANCE_SECONDS:
                found[instance].setdefault(gateway, timestamp)
    return found


def firing(series: list[dict[str, Any]], since: dict[str, float]) -> dict[str, float]:
    """Return when the alert of each instance first fired at or after a time, in Unix seconds."""
    found: dict[str, float] = {}
    for each in series:
        instance = each["metric"].get("instance", "")
        times = [t for t, _ in each["values"] if instance in since and t >= since[instance]]
        if times:
            found[instance] = min([*times, found.get(instance, times[0])])
    return found


def look(query: Query, canaries: dict[str, float]) -> dict[str, dict[str, Any]]:
    """Return how far each canary has come."""
    arrived = scraped(query(CANARY), canaries)
    first = {instance: min(times.values()) for instance, times in arrived.items() if times}
    fired = firing(query(ALERT), first)
    return {
        instance: {
            "scraped": arrived[instance],
            **({"firing": fired[instance]} if instance in fired else {}),
        }
        for instance in canaries
    }


def is_complete(state: dict[str, dict[str, Any]], pushgateways: dict[str, list[str]]) -> bool:
    """Tell whether every canary came from every gateway of its own and raised its alert."""
    return all(
        set(pushgateways.get(instance, ())) <= set(each["scraped"]) and "firing" in each
        for instance, each in state.items()
    )


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=url_argument_spec()
        | {
            "url": {"type": "str", "required": True},
            "canaries": {"type": "dict", "required": True},
            "pushgateways": {"type": "dict", "required": True},
            "timeout_seconds": {"type": "int", "required": True},
        },
        supports_check_mode=True,
    )

    def query(expression: str) -> list[dict[str, Any]]:
        address = f"{module.params['url']}/api/v1/query?{urlencode({'query': expression})}"
        response, info = fetch_url(module, address, timeout=10)
        if info["status"] != 200:
            raise OSError(f"{module.params['url']} does not answer: {info['msg']}")
        result: list[dict[str, Any]] = json.loads(response.read())["data"]["result"]
        return result

    canaries = {instance: float(value) for instance, value in module.params["canaries"].items()}
    state: dict[str, dict[str, Any]] = {instance: {"scraped": {}} for instance in canaries}
    error = ""
    limit = time.monotonic() + module.params["timeout_seconds"]
    while True:
        try:
            state, error = look(query, canaries), ""
        except OSError as failure:
            error = str(failure)
        gateways = module.params["pushgateways"]
        if is_complete(state, gateways) or time.monotonic() > limit:
            module.exit_json(canaries=state, pushgateways=gateways, error=error)
        time.sleep(0.5)


if __name__ == "__main__":
    main()
