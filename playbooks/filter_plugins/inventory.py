"""Filters that check the inventory and read its jobs."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleFilterError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.parsing.convert_bool import boolean
from jinja2 import TemplateError

# The role's own rules for words of a unit, and the reporter's for values.
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "roles/batch_job/filter_plugins"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "files/batch_job"))
from units import (
    SPECS,
    STARTS,
    as_written,
    credentials,
    declared_value,
    joined_jobs,
    one_line,
    pause_end,
    systemd_command,
    unit_options,
)

from batch_job.config import READERS, read_value
from batch_job.durations import duration
from batch_job.names import instance_name

# Options of a unit that the role sets to report its runs.
REPORTED = {
    "ExecStart",
    "ExecStartPre",
    "ExecStopPost",
    "RemainAfterExit",
    "RuntimeDirectory",
    "Type",
}


# Keys that cannot be said of a unit that somebody else has put on the host.
NOT_OF_A_UNIT = {
    "after",
    "catch_up",
    "command",
    "credentials",
    "environment",
    "environment_file",
    "every",
    "on_boot",
    "on_calendar",
    "randomized_delay",
    "retries",
    "retry_delay",
    "steps_after",
    "steps_before",
    "unit_options",
    "unit_section",
    "user",
}


def declared_jobs(
    jobs: Iterable[Mapping[str, Any]], instance: str | None = None
) -> list[dict[str, Any]]:
    """Return the declarations for Prometheus: of the jobs of an instance, or of external jobs.

    Each has name, instance, owner, severity, max_age_seconds (null when only a calendar decides
    when the job is due), min_size_bytes (null when none was declared), tolerated_failures,
    after (the names of the jobs that run before) and paused_until_timestamp_seconds (null for a job
    that is not paused, "+Inf" for one that is switched off). Raises AnsibleFilterError that names
    the job and its unknown key, missing key or bad value.
    """
    variable = "batch_job_external" if instance is None else f"batch_job_jobs of {instance}"
    if isinstance(jobs, str | Mapping):
        raise AnsibleFilterError(f"{variable} is not a list of jobs")
    options = job_options(is_external=instance is None)
    declared: list[dict[str, Any]] = []
    names: set[tuple[str, str]] = set()
    units: dict[str, str] = {}
    order: dict[str, list[str]] = {}
    for job in jobs:
        if not isinstance(job, Mapping):
            raise AnsibleFilterError(f"{variable}: {job!r} is not a job")
        name = "(without a name)"
        try:
            name = job.get("name", name)
            job = _plain(job)
            _check(job, options)
            max_age = job.get("max_age")
            minimum = job.get("min_size_bytes")
            result = {
                "name": str(job["name"]),
                "instance": instance_name(str(job.get("instance", instance or ""))),
                "owner": job.get("owner", ""),
                "severity": job.get("severity", options["severity"]["default"]),
                "max_age_seconds": None if max_age is None else duration(str(max_age)),
                "min_size_bytes": None if minimum is None else int(minimum),
                "tolerated_failures": _tolerated_failures(job),
                "after": list(job.get("after") or []),
                "paused_until_timestamp_seconds": _paused_until(job),
            }
        except (ValueError, AnsibleFilterError) as error:
            raise AnsibleFilterError(f"{variable}, job {name!r}: {error}") from None
        if (result["name"], result["instance"]) in names:
            raise AnsibleFilterError(f"{variable}: {result['name']!r} is declared twice")
        names.add((result["name"], result["instance"]))
        unit = job.get("unit")
        if unit and units.setdefault(unit, result["name"]) != result["name"]:
            raise AnsibleFilterError(
                f"{variable}, job {name!r}: {unit} is the unit of {units[unit]!r} already"
            )
        order[result["name"]] = result["after"]
        declared.append(result)
    try:
        _check_order(order)
    except ValueError as error:
        raise AnsibleFilterError(f"{variable}, {error}") from None
    return declared


def _tolerated_failures(job: Mapping[str, Any]) -> int:
    """Return how many failures in a row raise no alert. Raises ValueError for a negative number."""
    count = int(job.get("tolerate_failures") or 0)
    if count < 0:
        raise ValueError(f"tolerate_failures: {count} is less than 0")
    return count


def _paused_until(job: Mapping[str, Any]) -> int | str | None:
    """Return until when a job is paused, in Unix seconds, or "+Inf". Raises ValueError."""
    end = pause_end(job)
    if end and end <= datetime.now(UTC):
        raise ValueError(
            f"paused_until: {job['paused_until']} is past and the job is watched; remove the key"
        )
    if not boolean(job.get("enabled", True)):
        return "+Inf"
    return int(end.timestamp()) if end else None


def _check_order(order: Mapping[str, list[str]]) -> None:
    """Raise ValueError for a job that comes after an unknown one, or after itself.

    In a circle, each job's alerts would silence those of the next.
    """
    for name, firsts in order.items():
        for first in firsts:
            if first not in order:
                raise ValueError(f"job {name!r}: after: {unknown_name(first, order)}")
    try:
        TopologicalSorter(order).prepare()
    except CycleError as error:
        circle = " after ".join(reversed(error.args[1]))
        raise ValueError(f"job {error.args[1][0]!r}: after: {circle} is a circle") from None


def without_repeats(jobs: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the declarations of all hosts without duplicates.

    Raises AnsibleFilterError when two declarations of a job and instance differ.
    """
    declared: dict[tuple[str, str], Mapping[str, Any]] = {}
    for job in jobs:
        first = declared.setdefault((job["name"], job["instance"]), job)
        if first != job:
            where = f" of {job['instance']}" if job["instance"] else ""
            raise AnsibleFilterError(
                f"{job['name']}{where} is declared twice, and differently: "
                "in batch_job_jobs and in batch_job_external?"
            )
    return list(declared.values())


def _check(job: Mapping[str, Any], options: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise ValueError for an unknown or missing key, or a bad value."""
    for key in sorted(set(job) - set(options)):
        raise ValueError(unknown_name(key, options))
    for key, option in options.items():
        if option.get("required") and not job.get(key):
            raise ValueError(f"{key} is missing")
        if "choices" in option and key in job and job[key] not in option["choices"]:
            raise ValueError(f"{key} is one of {', '.join(option['choices'])}")
    if job.get("unit"):
        for key in sorted(NOT_OF_A_UNIT & job.keys()):
            raise ValueError(
                f"{key}: {job['unit']} is somebody else's, and nothing else of it changes"
            )
    starts = [key for key in STARTS if job.get(key)]
    if "on_calendar" in starts and len(starts) > 1:
        raise ValueError(f"{' and '.join(starts)}: a job has only one of them")
    if not job.get("max_age") and starts == ["on_boot"]:
        raise ValueError("on_boot alone says nothing of the next success: add max_age or every")
    if not job.get("max_age") and not starts and not job.get("unit"):
        raise ValueError("max_age is missing and so are on_calendar and every")
    for key, option in options.items():
        is_text = option["type"] == "str" and READERS.get(key) is not duration
        if is_text and key in job and not isinstance(job[key], str):
            raise ValueError(f"{key} is a text, not {job[key]!r}: put quotes around it")
    if job.get("timezone") and not job.get("on_calendar") and not job.get("paused_until"):
        raise ValueError("a timezone needs on_calendar or paused_until")
    for error in ArgumentSpecValidator(options).validate(job).error_messages:
        raise ValueError(error)
    if job.get("retry_delay") and not job.get("retries"):
        raise ValueError("retry_delay needs retries")
    _check_command(job)
    if job.get("on_boot"):
        try:
            duration(job["on_boot"])
        except ValueError as error:
            raise ValueError(f"on_boot: {error}") from None
    for key in options.keys() & READERS.keys():
        if job.get(key) is not None:
            read_value(key, declared_value(job, key, options[key]["type"] == "str"))


def _plain(value: Any, place: str = "") -> Any:
    """Return a value without Ansible's containers: a deep copy of one copies all variables.

    Raises ValueError that names the place of a text that Ansible cannot fill in.
    """
    if not isinstance(value, Mapping | list):
        return value
    is_list = isinstance(value, list)
    items = {}
    for key in range(len(value)) if is_list else value:
        name = f"word {key + 1}" if is_list else str(key)
        inner = f"{place}, {name}" if place else name
        try:
            item = value[key]
        except TemplateError as error:
            reason = str(error).rpartition("tripped: ")[2]
            raise ValueError(
                f"{inner}: Ansible fills in {{{{, {{% and {{#, but: {reason}; "
                "put !unsafe before a text that has them for another program"
            ) from None
        items[key] = _plain(item, inner)
    return list(items.values()) if is_list else items


def _check_command(job: Mapping[str, Any]) -> None:
    """Raise ValueError for a job that its unit could not run or report."""
    command = job.get("command", ["true"])
    if isinstance(command, str) or not command:
        raise ValueError("command is a list of a program and its arguments")
    program = str(command[0])
    if "/" in program and not program.startswith("/"):
        raise ValueError(f"command: {program} is no absolute path, and no plain name of a program")
    after = job.get("after") or []
    if not isinstance(after, list):
        raise ValueError(f"after is a list of names of jobs, not {after!r}")
    for name in after:
        as_written(name, "after")
    for name in job.get("environment") or {}:
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ValueError(f"environment: {name!r} is not the name of a variable")
    systemd_command(command, job.get("environment"))
    for steps in ("steps_before", "steps_after"):
        for number, step in enumerate(job.get(steps) or [], 1):
            systemd_command(step, place=f"{steps}, step {number}")
    service_options(job.get("unit_options") or {})
    unit_options(job.get("unit_section") or {}, "unit_section")
    credentials(job.get("credentials") or {})
    one_line(job.get("environment_file", ""))


def service_options(options: Any, place: str = "unit_options") -> list[str]:
    """Return the lines of options for the `[Service]` section of a job's unit.

    Raises AnsibleFilterError for one that the role sets itself, or that is no option.
    """
    if not isinstance(options, Mapping):
        raise AnsibleFilterError(f"{place} is not a dictionary of options")
    if "Restart" in options:
        words = "each try would be reported as a run: use retries and retry_delay of the job"
        raise AnsibleFilterError(f"{place}: Restart: {words}")
    for name in REPORTED & options.keys():
        raise AnsibleFilterError(f"{place}: {name} is the role's own, or nothing would be reported")
    lines: list[str] = unit_options(options, place)
    return lines


def unknown_name(name: str, known: Iterable[str]) -> str:
    """Return `there is no NAME`, and suggest a known name that is close."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.75)
    return f"there is no {name}" + (f"; did you mean {close[0]}?" if close else "")


def unknown_names(names: Iterable[str], known: Iterable[str], prefixes: Iterable[str]) -> list[str]:
    """Return a sentence for each variable that is probably misspelt.

    It has one of our prefixes, or it is close to a known name.
    """
    known = set(known)
    ours = tuple(f"{prefix}_" for prefix in prefixes)
    return [
        unknown_name(name, known)
        for name in sorted(set(names) - known)
        if name.startswith(ours) or difflib.get_close_matches(name, known, n=1, cutoff=0.9)
    ]


def role_arguments(directory: str) -> dict[str, dict[str, Any]]:
    """Return the options of the main entry point of each role in a directory, by role."""
    return {
        specs.parts[-3]: _entry_points(specs)["main"]["options"]
        for specs in sorted(Path(directory).glob("*/meta/argument_specs.yml"))
    }


def job_options(is_external: bool) -> dict[str, dict[str, Any]]:
    """Return the keys of a job that a host runs, or of one that runs elsewhere."""
    specs = _entry_points(SPECS)
    if is_external:
        variable = specs["external"]["options"]["batch_job_external"]
    else:
        variable = specs["main"]["options"]["batch_job_jobs"]
    return dict(variable["options"])


@cache
def _entry_points(specs: Path) -> dict[str, Any]:
    """Return the specs in a file by entry point."""
    return dict(yaml.safe_load(specs.read_text())["argument_specs"])


class FilterModule:
    """Makes the filters known to Ansible."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {
            "declared_jobs": declared_jobs,
            "joined_jobs": joined_jobs,
            "role_arguments": role_arguments,
            "service_options": service_options,
            "unknown_names": unknown_names,
            "without_repeats": without_repeats,
        }
