"""Filters that check and read what an operator writes into the inventory."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleFilterError

SECONDS = {"s": 1, "sec": 1, "min": 60, "h": 3600, "d": 86400, "w": 604800}
DECLARATION = {"name", "max_age", "owner", "severity"}
SEVERITIES = ("info", "warning", "critical")


def duration_seconds(text: str) -> int:
    """Return the seconds of a duration as people and systemd write it: `26h`, `1h 30min`.

    Raises AnsibleFilterError when it is not a sequence of numbers with units, or is zero.
    """
    parts = re.findall(r"\s*(\d+)\s*([a-z]+)", str(text))
    seconds = sum(int(number) * SECONDS.get(unit, 0) for number, unit in parts)
    if (
        not seconds
        or any(unit not in SECONDS for _, unit in parts)
        or re.sub(r"\s*\d+\s*[a-z]+", "", str(text)).strip()
    ):
        raise AnsibleFilterError(
            f"{text!r} is not a duration such as 26h or 90min (units: {', '.join(SECONDS)})"
        )
    return seconds


def declared_jobs(jobs: Iterable[Mapping[str, Any]], instance: str) -> list[dict[str, Any]]:
    """Return what Prometheus must know of a host's jobs.

    Each result has name, instance, owner, severity and max_age_seconds. Raises
    AnsibleFilterError that names the job for an unknown key, a missing one or a bad value.
    """
    if isinstance(jobs, str | Mapping):
        raise AnsibleFilterError(f"batch_job_jobs of {instance} is not a list of jobs")
    declared: list[dict[str, Any]] = []
    for job in jobs:
        if not isinstance(job, Mapping):
            raise AnsibleFilterError(f"batch_job_jobs of {instance}: {job!r} is not a job")
        where = f"batch_job_jobs of {instance}, job {job.get('name', '(without a name)')!r}"
        for key in set(job) - DECLARATION:
            raise AnsibleFilterError(f"{where}: {unknown_name(key, DECLARATION)}")
        for key in ("name", "max_age"):
            if not job.get(key):
                raise AnsibleFilterError(f"{where}: {key} is missing")
        # Pushgateway answers success for a job named `..` and stores nothing.
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.:-]*", str(job["name"])):
            raise AnsibleFilterError(f"{where}: a name is made of letters, digits and _ . : -")
        if not isinstance(job.get("owner", ""), str):
            raise AnsibleFilterError(f"{where}: owner is a word, not {job['owner']!r}")
        severity = job.get("severity", "warning")
        if severity not in SEVERITIES:
            raise AnsibleFilterError(f"{where}: severity is one of {', '.join(SEVERITIES)}")
        try:
            max_age_seconds = duration_seconds(job["max_age"])
        except AnsibleFilterError as error:
            raise AnsibleFilterError(f"{where}: max_age: {error}") from error
        declared.append(
            {
                "name": job["name"],
                "instance": instance,
                "owner": job.get("owner", ""),
                "severity": severity,
                "max_age_seconds": max_age_seconds,
            }
        )
    names = [job["name"] for job in declared]
    for name in {name for name in names if names.count(name) > 1}:
        raise AnsibleFilterError(f"batch_job_jobs of {instance}: {name!r} is declared twice")
    return declared


def unknown_name(name: str, known: Iterable[str]) -> str:
    """Return `there is no NAME`, with the known name that comes close, if one does."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.75)
    return f"there is no {name}" + (f"; did you mean {close[0]}?" if close else "")


def unknown_names(names: Iterable[str], known: Iterable[str], prefixes: Iterable[str]) -> list[str]:
    """Return one sentence for each variable that is a misspelt one of ours.

    That is one with a prefix of ours, or one that almost is a known name.
    """
    known = set(known)
    ours = tuple(f"{prefix}_" for prefix in prefixes)
    return [
        unknown_name(name, known)
        for name in sorted(set(names) - known)
        if name.startswith(ours) or difflib.get_close_matches(name, known, n=1, cutoff=0.9)
    ]


def role_arguments(directory: str) -> dict[str, dict[str, Any]]:
    """Return the arguments of the main entry point of every role in a directory, by role."""
    return {
        specs.parts[-3]: yaml.safe_load(specs.read_text())["argument_specs"]["main"]["options"]
        for specs in sorted(Path(directory).glob("*/meta/argument_specs.yml"))
    }


class FilterModule:
    """Makes the filters known to Ansible."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {
            "declared_jobs": declared_jobs,
            "duration_seconds": duration_seconds,
            "role_arguments": role_arguments,
            "unknown_names": unknown_names,
        }
