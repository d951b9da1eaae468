"""Filters: silences of a host, a job or an owner, and what they change at an Alertmanager."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleFilterError

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "files/batch_job"))
from batch_job.durations import duration
from inventory import unknown_name

VARIABLES = {"host", "job", "owner", "for", "why", "end"}
# The variables that say what is silenced, and the labels of alerts that they are about.
LABELS = {"host": "instance", "job": "job", "owner": "owner"}
# Alerts on jobs. Those on the watching itself have other names, and cannot be silenced by this.
ALERTS = "(BatchJob|Backup).+"
# A repetition of the same silence within this time changes nothing.
ROUNDING = timedelta(minutes=1)

Silence = dict[str, Any]


def silence_faults(
    variables: Mapping[str, Any],
    jobs: Iterable[Mapping[str, Any]],
    hosts: Iterable[str],
) -> list[str]:
    """Return a sentence for each variable that makes no sense, given what is declared.

    `variables` have names without their prefix `silence_`; `jobs` are the declared jobs of
    Prometheus, `hosts` the instances of the hosts that run jobs.
    """
    jobs = list(jobs)
    known = {
        "host": {str(job["instance"]) for job in jobs if job["instance"]} | set(hosts),
        "job": {str(job["name"]) for job in jobs},
        "owner": {str(job["owner"]) for job in jobs if job["owner"]},
    }
    faults = [
        unknown_name(f"silence_{name}", [f"silence_{each}" for each in VARIABLES])
        for name in sorted(set(variables) - VARIABLES)
    ]
    for name in LABELS:
        value = str(variables.get(name) or "")
        if value and value not in known[name]:
            faults.append(f"silence_{name}: {unknown_name(value, known[name])}")
    if not any(variables.get(name) for name in LABELS):
        faults.append("nothing is silenced: set silence_host, silence_job or silence_owner")
    if not faults and not _is_end(variables):
        chosen = [job for job in jobs if _is_chosen(job, variables)]
        if variables.get("job") and not chosen:
            faults.append("no such job is declared for this host or owner")
        for name in ("for", "why"):
            if not str(variables.get(name) or "").strip():
                faults.append(f"silence_{name} is missing")
    if variables.get("for") and not _is_end(variables):
        try:
            duration(str(variables["for"]))
        except ValueError as error:
            faults.append(f"silence_for: {error}")
    return faults


def silence_plan(
    silences: Sequence[Mapping[str, Any]], variables: Mapping[str, Any], author: str
) -> dict[str, Any]:
    """Return what an Alertmanager has to change: `set`, a silence or nothing, and `end`, ids.

    `silences` are what `/api/v2/silences` answers. A silence of the same alerts is extended; one
    that lasts as long already stays.
    """
    matchers = _matchers(variables)
    same = [
        silence
        for silence in silences
        if silence["status"]["state"] in ("active", "pending")
        and _key(silence["matchers"]) == _key(matchers)
    ]
    if _is_end(variables):
        return {"set": None, "end": [silence["id"] for silence in same]}
    now = datetime.now(UTC)
    end = now + timedelta(seconds=duration(str(variables["for"])))
    for silence in same:
        if silence["status"]["state"] == "active" and _moment(silence["endsAt"]) >= end - ROUNDING:
            return {"set": None, "end": []}
    wanted: Silence = {
        "matchers": matchers,
        "startsAt": now.isoformat(),
        "endsAt": end.isoformat(),
        "createdBy": author,
        "comment": str(variables["why"]),
    }
    active = [silence for silence in same if silence["status"]["state"] == "active"]
    if active:
        wanted |= {"id": active[0]["id"], "startsAt": active[0]["startsAt"]}
    return {"set": wanted, "end": []}


def silence_lines(
    plan: Mapping[str, Any], alerts: Iterable[Mapping[str, Any]], variables: Mapping[str, Any]
) -> list[str]:
    """Return for people what a plan changes, and which alerts fire that it is about."""
    what = ", ".join(f"{name} {variables[name]}" for name in LABELS if variables.get(name))
    if plan["set"]:
        end = _moment(plan["set"]["endsAt"])
        verb = "extended" if "id" in plan["set"] else "silenced"
        lines = [
            f"{what}: {verb} until {end:%Y-%m-%d %H:%M} UTC, because: {plan['set']['comment']}"
        ]
    elif plan["end"]:
        lines = [f"{what}: the silence ends"]
    else:
        lines = [f"{what}: nothing changes"]
    labels = [alert["labels"] for alert in alerts if _is_about(alert["labels"], variables)]
    return lines + sorted(
        f"firing: {each['alertname']} of {each.get('job', '?')}"
        + (f" on {each['instance']}" if each.get("instance") else "")
        for each in labels
    )


def _is_end(variables: Mapping[str, Any]) -> bool:
    """Return whether a silence is to end."""
    text = str(variables.get("end") or "false").lower()
    if text not in ("true", "yes", "false", "no"):
        raise AnsibleFilterError(f"silence_end is true or false, not {text!r}")
    return text in ("true", "yes")


def _is_chosen(job: Mapping[str, Any], variables: Mapping[str, Any]) -> bool:
    """Return whether the variables are about a declared job."""
    fields = {"host": "instance", "job": "name", "owner": "owner"}
    return all(
        not variables.get(name) or str(job[field]) == str(variables[name])
        for name, field in fields.items()
    )


def _is_about(labels: Mapping[str, str], variables: Mapping[str, Any]) -> bool:
    """Return whether a silence is about an alert with some labels."""
    return bool(re.fullmatch(ALERTS, labels["alertname"])) and all(
        not variables.get(name) or labels.get(label) == str(variables[name])
        for name, label in LABELS.items()
    )


def _matchers(variables: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the matchers of a silence."""
    matchers = [{"name": "alertname", "value": ALERTS, "isRegex": True, "isEqual": True}]
    for name, label in LABELS.items():
        if variables.get(name):
            value = str(variables[name])
            matchers.append({"name": label, "value": value, "isRegex": False, "isEqual": True})
    return matchers


def _key(matchers: Iterable[Mapping[str, Any]]) -> set[tuple[str, str, bool, bool]]:
    """Return matchers so that they can be compared."""
    return {
        (each["name"], each["value"], each["isRegex"], each.get("isEqual", True))
        for each in matchers
    }


def _moment(text: str) -> datetime:
    """Return a time of Alertmanager's."""
    return datetime.fromisoformat(text)


class FilterModule:
    """Makes the filters known to Ansible."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {
            "silence_faults": silence_faults,
            "silence_lines": silence_lines,
            "silence_plan": silence_plan,
        }
