"""Filters that turn jobs into units for systemd and declarations for the reporter."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, time
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from ansible.errors import AnsibleFilterError
from ansible.module_utils.parsing.convert_bool import boolean

MARK = re.compile(r"^=====> (\S+)\n", re.MULTILINE)
# In `ExecStart=`, these letters before a program have a meaning of their own.
PREFIXES = "@-:+!|"
# systemd ends a line at a carriage return, too.
CONTROLS = {number: f"\\x{number:02x}" for number in range(1, 32)}
ESCAPES = CONTROLS | str.maketrans({"\\": "\\\\", '"': '\\"', "%": "%%", "\n": "\\n"})
SPECS = Path(__file__).resolve().parents[1] / "meta" / "argument_specs.yml"
# Keys of a job that decide when it starts.
STARTS = ("on_calendar", "every", "on_boot")
# Keys of a job that its unit or Prometheus needs; all others are declared to the reporter.
NOT_DECLARED = {
    "after",
    "catch_up",
    "command",
    "credentials",
    "enabled",
    "environment",
    "environment_file",
    "min_size_bytes",
    "on_boot",
    "steps_after",
    "steps_before",
    "tolerate_failures",
    "unit_options",
    "unit_section",
}


def one_line(text: Any) -> str:
    """Return a value as text. Raises AnsibleFilterError for text of several lines."""
    line = str(text)
    if len(line.splitlines()) > 1 or line.endswith("\n"):
        raise AnsibleFilterError(f"{line!r} is more than one line, which a unit cannot hold")
    return line


def as_written(value: Any, place: str) -> str:
    """Return a text of the inventory. Raises AnsibleFilterError for what YAML made of other words.

    0644 has become 420 by then, `yes` True, 22:30 1350, 1.10 1.1 and nothing None.
    """
    if not isinstance(value, str):
        raise AnsibleFilterError(
            f"{place}: YAML reads it as {value!r}; put quotes around it, "
            "or `| string` after a variable"
        )
    if "\0" in value:
        raise AnsibleFilterError(f"{place}: no program can be given a NUL character")
    return value


def systemd_quoted(text: str) -> str:
    """Return quoted text in which systemd expands nothing."""
    quoted = text.translate(ESCAPES)
    return f'"{quoted}"'


def systemd_command(
    argv: Sequence[Any], environment: Mapping[str, Any] | None = None, place: str = "command"
) -> str:
    """Return a command for `ExecStart=` that systemd runs word by word as given.

    Raises AnsibleFilterError that names the word.
    """
    if isinstance(argv, str) or not argv:
        raise AnsibleFilterError(f"{argv!r} is not a list of a command and its arguments")
    words = [as_written(word, f"{place}, word {number}") for number, word in enumerate(argv, 1)]
    if not words[0] or words[0][0] in PREFIXES:
        raise AnsibleFilterError(f"{words[0]!r} is not a program: systemd reads its first letter")
    if environment:
        variables = [
            f"{name}={as_written(value, f'environment, {name}')}"
            for name, value in environment.items()
        ]
        words = ["/usr/bin/env", "--", *variables, *words]
    # In `ExecStart=`, unlike other options, a dollar begins a variable.
    return " ".join(systemd_quoted(word).replace("$", "$$") for word in words)


def unit_options(options: Mapping[str, Any], place: str = "unit_options") -> list[str]:
    """Return lines for a section of a unit; a list repeats its option."""
    lines = []
    for name, value in options.items():
        if not re.fullmatch(r"[A-Z][A-Za-z0-9]*", str(name)):
            raise AnsibleFilterError(f"{place}: {name!r} is not an option of systemd's")
        for item in value if isinstance(value, list) else [value]:
            # 0077 has become 63, which systemd would read as an octal number.
            is_mode = name == "UMask" or name.endswith("Mode")
            if not isinstance(item, str | int | float) or (is_mode and isinstance(item, int)):
                as_written(item, f"{place}, {name}")
            text = str(item).lower() if isinstance(item, bool) else one_line(item)
            lines.append(f"{name}={text}")
    return lines


def calendar_expressions(on_calendar: Any) -> list[str]:
    """Return the calendar expressions of a job, for an `OnCalendar=` each.

    Raises AnsibleFilterError for what YAML made of other words, and for several in one text.
    """
    is_list = isinstance(on_calendar, list)
    texts = on_calendar if is_list else [on_calendar]
    if not texts:
        raise AnsibleFilterError("on_calendar is an empty list")
    for number, text in enumerate(texts, 1):
        place = f"on_calendar, expression {number}" if is_list else "on_calendar"
        if not as_written(text, place).strip():
            raise AnsibleFilterError(f"{place} is empty")
        if ";" in one_line(text):
            raise AnsibleFilterError(f"{place}: {text!r} is not one expression; write a list")
    return [text.strip() for text in texts]


def exit_statuses(parts: Sequence[Any]) -> list[int]:
    """Return the numbers in a list such as `[3, "100-107"]`, for `SuccessExitStatus=`."""
    texts = ",".join(map(str, parts)).split(",")
    ranges = [[int(number) for number in text.split("-")] for text in texts]
    return [number for ends in ranges for number in range(ends[0], ends[-1] + 1)]


def pause_end(job: Mapping[str, Any]) -> datetime | None:
    """Return when the pause of a job ends, in UTC: at the beginning of that day in its time zone.

    None for a job that is not paused. Raises AnsibleFilterError.
    """
    day = job.get("paused_until")
    if day is None:
        return None
    if isinstance(day, str):
        with suppress(ValueError):
            day = date.fromisoformat(day)
    if isinstance(day, datetime) or not isinstance(day, date):
        raise AnsibleFilterError(f"paused_until: {day} is not a day such as 2026-12-24")
    zone = job.get("timezone") or "UTC"
    try:
        return datetime.combine(day, time(), ZoneInfo(zone)).astimezone(UTC)
    except (ValueError, ZoneInfoNotFoundError):
        raise AnsibleFilterError(
            f"timezone: there is no {zone} on this machine (older names are in tzdata-legacy)"
        ) from None


def declared_value(job: Mapping[str, Any], key: str, is_text: bool) -> Any:
    """Return the value of a key of a job as the reporter reads it. Raises AnsibleFilterError.

    A list of calendar expressions is one text there, and the end of a pause a time in UTC.
    """
    if key == "on_calendar":
        return "; ".join(calendar_expressions(job[key]))
    if key == "warning_exit_codes":
        return ", ".join(map(str, job[key]))
    if key in ("retries", "report_output"):
        return str(job[key])
    if key == "paused_until":
        end = pause_end(job)
        return end.isoformat() if end else None
    return str(job[key]) if is_text else job[key]


def credentials(files: Mapping[str, Any]) -> list[str]:
    """Return values of `LoadCredential=`; a relative path is one below `/etc/batch-job`."""
    values = []
    for name, path in files.items():
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", str(name)):
            raise AnsibleFilterError(f"credentials: {name!r} is not the name of a file")
        text = one_line(as_written(path, f"credentials, {name}")).replace("%", "%%")
        values.append(f"{name}:{Path('/etc/batch-job', text)}")
    return values


def directories(gateways: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the gateways that are directories as paths for `ReadWritePaths=`.

    A missing directory does not keep the unit from starting.
    """
    urls = [gateway["url"] for gateway in gateways if is_directory(gateway)]
    paths = [unquote(urlsplit(url).path) for url in urls]
    return [systemd_quoted(f"-{path}") for path in paths]


def with_defaults(
    gateways: Sequence[Mapping[str, Any]], defaults: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return the gateways with their common credentials; a directory takes none."""
    return [
        dict(gateway) if is_directory(gateway) else {**defaults, **gateway} for gateway in gateways
    ]


def is_directory(gateway: Mapping[str, Any]) -> bool:
    """Return whether a gateway is a directory of node_exporter's, by the reporter's rule."""
    return str(gateway["url"]).startswith("file:")


def joined_jobs(lists: Mapping[str, Any]) -> Any:
    """Return the jobs of all lists, which have the names of their variables.

    A job that several declare in the same way is one. Raises AnsibleFilterError for one that they
    declare differently, and for what is no list.
    """
    filled = {name: jobs for name, jobs in lists.items() if jobs or not isinstance(jobs, list)}
    if len(filled) < 2:
        return next(iter(filled.values()), [])
    found: dict[tuple[Any, Any], tuple[str, Any]] = {}
    for variable, jobs in filled.items():
        if isinstance(jobs, str | Mapping) or not isinstance(jobs, Sequence):
            raise AnsibleFilterError(f"{variable} is not a list of jobs")
        own = set()
        for job in jobs:
            if not isinstance(job, Mapping):
                raise AnsibleFilterError(f"{variable}: {job!r} is not a job")
            key = (job.get("name"), job.get("instance"))
            place, first = found.setdefault(key, (variable, job))
            if first != job:
                raise AnsibleFilterError(
                    f"{key[0]} is declared twice, and differently: in {place} and in {variable}"
                )
            if key in own:
                raise AnsibleFilterError(f"{variable}: {key[0]!r} is declared twice")
            own.add(key)
    return [job for _variable, job in found.values()]


def marked_files(text: str) -> dict[str, str]:
    """Return the files in a text; each begins with a line `=====> NAME`."""
    parts = MARK.split(text)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def enabled_jobs(jobs: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the jobs that are enabled."""
    return [job for job in jobs if boolean(job.get("enabled", True))]


def scheduled_jobs(jobs: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the jobs that a timer of systemd's starts."""
    return [job for job in enabled_jobs(jobs) if job.get("command") and any(map(job.get, STARTS))]


def declaration_files(jobs: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the content of each job's declaration, by its path below `/etc/batch-job`."""
    types = {key: option["type"] for key, option in _options(SPECS).items()}
    files = {}
    for job in jobs:
        declaration = {
            key: declared_value(job, key, types[key] == "str")
            for key in types
            if key not in NOT_DECLARED and job.get(key) is not None
        }
        files[f"jobs/{job['name']}.json"] = json.dumps(declaration, indent=2) + "\n"
    return files


@cache
def _options(specs: Path) -> dict[str, Any]:
    """Return the keys of a job as the role's argument_specs describe them."""
    options = yaml.safe_load(specs.read_text())["argument_specs"]["main"]["options"]
    return dict(options["batch_job_jobs"]["options"])


class FilterModule:
    """Makes the filters known to Ansible."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {
            "calendar_expressions": calendar_expressions,
            "credentials": credentials,
            "declaration_files": declaration_files,
            "directories": directories,
            "enabled_jobs": enabled_jobs,
            "exit_statuses": exit_statuses,
            "joined_jobs": joined_jobs,
            "marked_files": marked_files,
            "pause_end": pause_end,
            "scheduled_jobs": scheduled_jobs,
            "systemd_command": systemd_command,
            "unit_options": unit_options,
            "with_defaults": with_defaults,
        }
