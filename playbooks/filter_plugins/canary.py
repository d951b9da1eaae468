"""Filters that read how far the canaries of verify.yml came, from what its tasks registered."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

# The table of `batch-job status`.
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "files" / "batch_job"))
from batch_job.values import aligned

Hosts = Iterable[str]
# Variables of each host, `hostvars`.
Variables = Mapping[str, Mapping[str, Any]]


class Hop(NamedTuple):
    """One step of a canary: how many seconds it took, or why it did not happen."""

    instance: str
    name: str
    where: str
    seconds: float | None
    error: str = ""


def pushed_canaries(senders: Hosts, hostvars: Variables) -> dict[str, str]:
    """Return what each sender pushed, in Unix seconds as text, by `instance`."""
    return {
        _instance(hostvars[host], host): _stamp(hostvars[host])
        for host in senders
        if _asked(hostvars[host]) and not _push_error(hostvars[host])
    }


def canary_gateways(
    senders: Hosts, hostvars: Variables, targets: Sequence[str]
) -> dict[str, list[str]]:
    """Return by which gateways each canary comes: those of `targets`, by their label.

    A directory of node_exporter's has the empty label.
    """
    found = {}
    for host in senders:
        urls = hostvars[host].get("__canary_gateways", [])
        are_directories = [url.startswith("file:") for url in urls]
        labels = [""] if any(are_directories) else []
        if not urls or not all(are_directories):
            labels += [re.sub(":[0-9]+$", "", target) for target in targets]
        found[_instance(hostvars[host], host)] = labels
    return found


def firing_canaries(prometheus: Hosts, hostvars: Variables) -> dict[str, float]:
    """Return when the alert of each canary first fired anywhere, in Unix seconds."""
    firing: dict[str, float] = {}
    for host in prometheus:
        for instance, state in _evaluated(hostvars[host]).items():
            if "firing" in state:
                firing[instance] = min(state["firing"], firing.get(instance, state["firing"]))
    return firing


def canary_hops(
    senders: Hosts, prometheus: Sequence[str], alertmanagers: Sequence[str], hostvars: Variables
) -> list[list[Any]]:
    """Return the hops of all canaries as plain lists, in order, as far as each came."""
    firing = firing_canaries(prometheus, hostvars)
    hops: list[Hop] = []
    for host in senders:
        if not _asked(hostvars[host]):
            continue
        instance = _instance(hostvars[host], host)
        hops.append(_push(instance, host, hostvars[host]))
        if hops[-1].error:
            continue
        stamp = float(_stamp(hostvars[host]))
        for watcher in prometheus:
            hops += _watch(instance, watcher, hostvars[watcher], stamp)
        if not prometheus:
            hops.append(Hop(instance, "scraped", "-", None, "there is no Prometheus"))
        if instance in firing:
            hops += _notify(instance, alertmanagers, hostvars, firing[instance])
    return [list(hop) for hop in hops]


def hop_table(hops: Iterable[Sequence[Any]]) -> list[str]:
    """Return the lines of a table of hops."""
    rows = [("CANARY OF", "HOP", "WHERE", "LATENCY")]
    for hop in (Hop(*each) for each in hops):
        took = "BROKEN" if hop.error else "-" if hop.seconds is None else f"{hop.seconds:.2f} s"
        rows.append((hop.instance, hop.name, hop.where, took))
    return aligned(rows)


def broken_hops(hops: Iterable[Sequence[Any]]) -> list[str]:
    """Return a sentence for each broken hop."""
    found = [Hop(*each) for each in hops]
    broken = [f"{hop.instance}, {hop.name}, {hop.where}: {hop.error}" for hop in found if hop.error]
    return broken if found else ["no host took part"]


def _instance(variables: Mapping[str, Any], host: str) -> str:
    return str(variables.get("batch_job_instance", host))


def _asked(variables: Mapping[str, Any]) -> bool:
    """Tell whether this run was to push from a host; --limit may have left it out."""
    return "__verify_reached" in variables


def _stamp(variables: Mapping[str, Any]) -> str:
    """Return the canary's value."""
    return str(variables["__canary_stamp"]["stdout"])


def _push_error(variables: Mapping[str, Any]) -> str:
    """Return why the canary of a host was not pushed; empty when it was."""
    reached = variables["__verify_reached"]
    if not reached.get("ping"):
        return str(reached.get("msg") or "the host cannot be reached")
    done = variables.get("__canary_push", {})
    if "rc" in done:
        # A report that is kept for later is no failure of the program.
        return str(done.get("stderr") or ("" if done["rc"] == 0 else f"exit status {done['rc']}"))
    request = variables.get("__canary_request", {})
    if request.get("status") == 200:
        return ""
    return str(request.get("msg") or done.get("msg") or "it was not tried")


def _push(instance: str, host: str, variables: Mapping[str, Any]) -> Hop:
    error = _push_error(variables)
    delta = variables.get("__canary_push", {}).get("delta")
    seconds = None if error or not delta else _delta(delta)
    return Hop(instance, "pushed", host, seconds, error)


def _delta(text: str) -> float:
    """Return H:MM:SS.ffffff in seconds."""
    hours, minutes, seconds = text.split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


def _evaluated(variables: Mapping[str, Any]) -> dict[str, Any]:
    found = variables.get("__canary_evaluation", {}).get("canaries", {})
    return dict(found)


def _watch(instance: str, host: str, variables: Mapping[str, Any], stamp: float) -> list[Hop]:
    """Return how a Prometheus scraped and evaluated a canary."""
    result = variables.get("__canary_evaluation", {})
    state = _evaluated(variables).get(instance, {})
    times = state.get("scraped", {})
    missing = sorted(set(result.get("pushgateways", {}).get(instance, [])) - set(times))
    if not times or missing:
        gateways = ", ".join(each or "node_exporter" for each in missing) or "any gateway"
        reason = result.get("error") or result.get("msg") or f"it does not come from {gateways}"
        return [Hop(instance, "scraped", host, None, reason)]
    scraped = Hop(instance, "scraped", host, max(times.values()) - stamp)
    if "firing" not in state:
        reason = result.get("error") or "BatchJobCanary does not fire: are the rules loaded?"
        return [scraped, Hop(instance, "evaluated", host, None, reason)]
    return [scraped, Hop(instance, "evaluated", host, state["firing"] - min(times.values()))]


def _notify(
    instance: str, alertmanagers: Sequence[str], hostvars: Variables, firing: float
) -> list[Hop]:
    """Return how the Alertmanagers took and delivered the alert of a canary."""
    if not alertmanagers:
        return [Hop(instance, "accepted", "-", None, "there is no Alertmanager")]
    hops = []
    accepted = []
    for host in alertmanagers:
        result = hostvars[host].get("__canary_acceptance", {})
        state = result.get("canaries", {}).get(instance)
        if not state:
            reason = result.get("error") or result.get("msg") or "the alert did not arrive"
            hops.append(Hop(instance, "accepted", host, None, reason))
            continue
        if state["state"] == "suppressed":
            hops.append(Hop(instance, "accepted", host, None, "the alert is silenced or inhibited"))
            continue
        hops.append(Hop(instance, "accepted", host, state["accepted"] - firing))
        accepted.append(state)
    if not accepted:
        return hops
    receivers = sorted({name for state in accepted for name in state["receivers"]})
    times = []
    reasons = []
    for host in alertmanagers:
        result = hostvars[host].get("__canary_delivery", {})
        if instance in result.get("canaries", {}):
            times.append(result["canaries"][instance])
        elif not result.get("skipped"):
            reasons.append(str(result.get("msg") or "nothing came"))
    where = "receiver " + ", ".join(receivers)
    results = [hostvars[host].get("__canary_delivery", {}) for host in alertmanagers]
    asked = [result for result in results if result and not result.get("skipped")]
    times = [result["json"][instance] for result in asked if instance in result.get("json", {})]
    if times:
        since = min(state["accepted"] for state in accepted)
        hops.append(Hop(instance, "delivered", where, min(times) - since))
    elif asked:
        unheard = {str(result.get("msg", "")) for result in asked if "json" not in result}
        reason = "; ".join(sorted(unheard)) or "nothing was delivered to the canary's receiver"
        if receivers == ["nobody"]:
            reason = "it is routed to nobody: Alertmanager was rolled out without its address"
        hops.append(Hop(instance, "delivered", where, None, reason))
    return hops


class FilterModule:
    """Makes the filters known to Ansible."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {
            "broken_hops": broken_hops,
            "canary_hops": canary_hops,
            "canary_gateways": canary_gateways,
            "firing_canaries": firing_canaries,
            "hop_table": hop_table,
            "pushed_canaries": pushed_canaries,
        }
