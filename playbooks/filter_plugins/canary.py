"""Filters that follow the canaries of verify.yml from hop to hop, by what its tasks registered.

A hop is a list: its name, where it happens, and how many seconds it took (None if unknown) or what
is wrong, as a text.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

# The table of `batch-job status`.
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "files" / "batch_job"))
from batch_job.tables import aligned

# Pushed values travel as decimal text.
VALUE_TOLERANCE_SECONDS = 0.001
# Between the clocks of Prometheus and Alertmanager.
CLOCK_TOLERANCE_SECONDS = 1.0

# What a task registered, or a host's variables.
Values = Mapping[str, Any]
# By host, or by a canary's instance.
Table = Mapping[str, Values]


def pushed_canaries(
    senders: Iterable[str], hostvars: Table, targets: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Return the canaries that left their hosts, by instance.

    Each has its `stamp`, the pushed Unix seconds, and `gateways`, the values of Prometheus' label
    `pushgateway` under which it must arrive: those of `targets`, and "" for node_exporter.
    """
    labels = [re.sub(":[0-9]+$", "", target) for target in targets]
    canaries = {}
    for host in senders:
        if "__canary_stamp" not in hostvars[host] or isinstance(_push(hostvars[host]), str):
            continue
        # A gateway that sends is no reporter and names none.
        urls = hostvars[host].get("__canary_gateways")
        is_directory = [url.startswith("file:") for url in urls or ()]
        canaries[_instance(hostvars, host)] = {
            "stamp": float(hostvars[host]["__canary_stamp"]["stdout"]),
            "gateways": [""] * any(is_directory)
            + labels * (urls is not None and not (urls and all(is_directory))),
        }
    return canaries


def watched_canaries(response: Values, canaries: Table, host: str) -> dict[str, dict[str, Any]]:
    """Return the `hops` of each canary at a Prometheus, and when its alert was first `firing`.

    The response has the series of canaries and of their alerts.
    """
    error = _service_error(response)
    series = response.get("json", {}).get("data", {}).get("result", [])
    watched = {}
    for instance, canary in canaries.items():
        scraped: dict[str, float] = {}
        alerts = []
        for metric, values in ((each["metric"], each["values"]) for each in series):
            if metric.get("instance", "") != instance:
                continue
            if metric["__name__"] == "ALERTS":
                alerts += [time for time, _ in values]
            for time, value in values:
                if abs(float(value) - canary["stamp"]) <= VALUE_TOLERANCE_SECONDS:
                    scraped.setdefault(metric.get("pushgateway", ""), time)
        first = min(scraped.values(), default=None)
        firing = min((time for time in alerts if first and time >= first), default=None)
        missing = sorted(set(canary["gateways"]) - set(scraped))
        if missing or first is None:
            gateways = ", ".join(name or "node_exporter" for name in missing) or "any gateway"
            hops = [["scraped", host, error or f"it does not come from {gateways}"]]
        else:
            hops = [["scraped", host, max(scraped.values()) - canary["stamp"]]]
            silence = error or "BatchJobCanary does not fire: are the rules loaded?"
            hops.append(["evaluated", host, firing - first if firing else silence])
        watched[instance] = {"hops": hops, "firing": firing}
    return watched


def firing_canaries(hosts: Iterable[str], hostvars: Table) -> dict[str, float]:
    """Return when the alert of each canary first fired on any Prometheus, in Unix seconds."""
    times: dict[str, list[float]] = {}
    for host in hosts:
        for instance, canary in hostvars[host].get("__canaries_scraped", {}).items():
            if canary["firing"]:
                times.setdefault(instance, []).append(canary["firing"])
    return {instance: min(each) for instance, each in times.items()}


def accepted_canaries(
    response: Values, firing: Mapping[str, float], host: str
) -> dict[str, dict[str, Any]]:
    """Return the `hops` of each firing canary at an Alertmanager.

    A canary that was accepted also has `accepted`, in Unix seconds, and the alert's `receivers`.
    """
    error = _service_error(response) or "the alert did not arrive"
    canaries: dict[str, dict[str, Any]] = {
        instance: {"hops": [["accepted", host, error]]} for instance in firing
    }
    for alert in response.get("json", ()):
        instance = alert["labels"].get("instance", "")
        # Not startsAt: an alert that still stands from before keeps its own.
        accepted = datetime.fromisoformat(alert["updatedAt"]).timestamp()
        if instance not in firing or accepted < firing[instance] - CLOCK_TOLERANCE_SECONDS:
            continue
        if alert["status"]["state"] == "suppressed":
            canaries[instance]["hops"] = [["accepted", host, "the alert is silenced or inhibited"]]
        else:
            canaries[instance] = {
                "hops": [["accepted", host, accepted - firing[instance]]],
                "accepted": accepted,
                "receivers": [receiver["name"] for receiver in alert["receivers"]],
            }
    return canaries


def are_fine(canaries: Table) -> bool:
    """Return whether no hop of the canaries is broken."""
    return not any(
        isinstance(hop[-1], str) for canary in canaries.values() for hop in canary["hops"]
    )


def canary_hops(
    senders: Iterable[str], groups: Mapping[str, Sequence[str]], hostvars: Table
) -> list[list[Any]]:
    """Return the hops of all canaries behind their instances, in order, as far as each came."""
    watchers, alertmanagers = groups.get("prometheus", ()), groups.get("alertmanager", ())
    firing = firing_canaries(watchers, hostvars)
    all_hops: list[list[Any]] = []
    for host in senders:
        if "__canary_stamp" not in hostvars[host]:
            continue
        instance = _instance(hostvars, host)
        hops = [["pushed", host, _push(hostvars[host])]]
        if not isinstance(hops[0][-1], str):
            hops += _hops("scraped", instance, watchers, hostvars) or [
                ["scraped", "-", "there is no Prometheus"]
            ]
            if instance in firing:
                hops += _hops("accepted", instance, alertmanagers, hostvars) or [
                    ["accepted", "-", "there is no Alertmanager"]
                ]
                hops += _delivery(instance, [hostvars[name] for name in alertmanagers])
        all_hops += [[instance, *hop] for hop in hops]
    return all_hops


def _hops(name: str, instance: str, hosts: Iterable[str], hostvars: Table) -> list[list[Any]]:
    """Return the hops of a canary on some hosts, from the first, `name`, as they remember them."""
    hops = []
    for host in hosts:
        canary = hostvars[host].get(f"__canaries_{name}", {}).get(instance, {})
        hops += canary.get("hops", [[name, host, "it was not asked"]])
    return hops


def hop_table(hops: Iterable[Sequence[Any]]) -> list[str]:
    """Return the lines of a table of hops."""
    rows = [("CANARY OF", "HOP", "WHERE", "LATENCY")]
    for *place, outcome in hops:
        is_broken = isinstance(outcome, str)
        seconds = "-" if outcome is None or is_broken else f"{outcome:.2f} s"
        rows.append((*place, "BROKEN" if is_broken else seconds))
    return aligned(rows)


def broken_hops(hops: Sequence[Sequence[Any]]) -> list[str]:
    """Return a sentence for each broken hop."""
    if not hops:
        return ["no host took part"]
    return [f"{', '.join(hop[:-1])}: {hop[-1]}" for hop in hops if isinstance(hop[-1], str)]


def _instance(hostvars: Table, host: str) -> str:
    return str(hostvars[host].get("batch_job_instance", host))


def _push(variables: Values) -> float | str | None:
    """Return how long the push of a host took, or why it failed."""
    if "stdout" not in variables["__canary_stamp"]:
        return str(variables["__canary_stamp"].get("msg") or "the host cannot be reached")
    command, request = (variables.get(f"__canary_{name}", {}) for name in ("push", "request"))
    # The program does not fail when it keeps a report for later.
    if command.get("stderr") or command.get("rc"):
        return str(command["stderr"] or f"exit status {command['rc']}")
    if "delta" in command:
        hours, minutes, seconds = command["delta"].split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    if request.get("status") == 200:
        return None
    return str(request.get("msg") or command.get("msg") or "it was not tried")


def _service_error(response: Values) -> str:
    """Return why a service did not answer; empty when it did."""
    if response.get("status") == 200:
        return ""
    message = re.sub("^Status code was .*?: ", "", str(response.get("msg", "")))
    service = response.get("url", "").partition("/api/")[0]
    return f"{service} does not answer: {message}" if service else message


def _delivery(instance: str, alertmanagers: Sequence[Values]) -> list[list[Any]]:
    """Return the hop of an accepted alert to its receiver, unless there is no such receiver."""
    canaries = [host.get("__canaries_accepted", {}).get(instance, {}) for host in alertmanagers]
    accepted = [canary for canary in canaries if "accepted" in canary]
    responses = [host.get("__canary_delivery", {"skipped": True}) for host in alertmanagers]
    responses = [response for response in responses if not response.get("skipped")]
    if not accepted or not responses:
        return []
    receivers = sorted({name for canary in accepted for name in canary["receivers"]})
    documents = [response["json"] for response in responses if "json" in response]
    times = [document[instance] for document in documents if instance in document]
    errors = {str(response.get("msg", "")) for response in responses if "json" not in response}
    outcome: float | str
    if times:
        outcome = min(times) - min(canary["accepted"] for canary in accepted)
    elif receivers == ["nobody"]:
        outcome = "it is routed to nobody: Alertmanager was rolled out without its address"
    else:
        outcome = "; ".join(sorted(errors)) or "nothing was delivered to the canary's receiver"
    return [["delivered", "receiver " + ", ".join(receivers), outcome]]


class FilterModule:
    """Makes the filters known to Ansible."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        public = (accepted_canaries, are_fine, broken_hops, canary_hops, firing_canaries)
        return {
            each.__name__: each for each in (*public, hop_table, pushed_canaries, watched_canaries)
        }
