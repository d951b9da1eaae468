"""Reads the gateways and the declared jobs of this host."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from batch_job.durations import duration
from batch_job.exit_status import CONFIG, MisuseError, count, exit_codes
from batch_job.gateway import Gateway, check_gateway
from batch_job.names import SEVERITIES, instance_name, job_name, unit_name
from batch_job.schedule import Schedule


class ConfigError(MisuseError):
    """A configuration cannot be read or makes no sense."""

    status = CONFIG


class Job(NamedTuple):
    """A job as it was declared."""

    name: str
    owner: str = ""
    severity: str = "warning"
    kind: str = "batch"
    schedule: Schedule = Schedule()
    # Who runs its command under systemd.
    user: str = ""
    # The unit of somebody else that runs it.
    unit: str = ""
    # Exit codes of runs that succeeded with a warning.
    warning_exit_codes: frozenset[int] = frozenset()
    # The file or directory whose size is the backup's.
    backup_size_of: str = ""
    # How often a run is tried again, and after how many seconds.
    retries: int = 0
    retry_delay: int = 0
    # How many lines of a run that fails are reported.
    report_output: int = 0
    # Its declaration cannot be read: what a gateway holds of it stays.
    is_damaged: bool = False


def instant(text: str) -> int:
    """Return an ISO 8601 time with its offset from UTC in Unix seconds. Raises ValueError."""
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError(f"{text!r} has no offset from UTC")
    return int(time.timestamp())


def absolute_path(text: str) -> str:
    """Return an absolute path. Raises ValueError."""
    if not os.path.isabs(text):
        raise ValueError(f"{text!r} is not an absolute path")
    return text


# How to read each key of a declaration. The inventory's jobs have more, which only the unit needs.
READERS: dict[str, Callable[[str], Any]] = {
    "name": job_name,
    "owner": str,
    "severity": str,
    "kind": str,
    "on_calendar": str,
    "timezone": str,
    "randomized_delay": duration,
    "max_runtime": duration,
    "grace": duration,
    "max_age": duration,
    "paused_until": instant,
    "every": duration,
    "user": str,
    "unit": unit_name,
    "warning_exit_codes": exit_codes,
    "backup_size_of": absolute_path,
    "retries": count,
    "retry_delay": duration,
    "report_output": count,
}


class Config(NamedTuple):
    """The content of `config.json`."""

    instance: str
    gateways: tuple[Gateway, ...] = ()


def load(directory: Path, is_needed: bool = True) -> Config:
    """Return the configuration in a directory; an empty one when there is none.

    Raises ConfigError; a configuration that is not needed may be unreadable.
    """
    path = directory / "config.json"
    content = _read(path) if is_needed or os.access(path, os.R_OK) else {}
    try:
        config = Config(
            instance=instance_name(content.pop("instance", "") or os.uname().nodename),
            gateways=tuple(_gateway(directory, keys) for keys in content.pop("gateways", [])),
        )
        if content:
            raise ValueError(f"there is no {', '.join(content)}")
        for gateway in config.gateways:
            check_gateway(gateway)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from error
    return config


def _gateway(directory: Path, keys: dict[str, str]) -> Gateway:
    """Return a gateway with absolute paths of its files."""
    unknown = set(keys) - set(Gateway._fields)
    if unknown:
        raise ValueError(f"a gateway has no {', '.join(sorted(unknown))}")
    files = {key: str(directory / name) for key, name in keys.items() if key.endswith("_file")}
    return Gateway(**{**keys, **files})


def declared_jobs(directory: Path) -> dict[str, Job]:
    """Return the declared jobs by name. Raises ConfigError that names the file."""
    jobs = {}
    for path in sorted((directory / "jobs").glob("*.json")):
        job = _job(path, path.stem)
        jobs[job.name] = job
    return jobs


def declared_job(directory: Path, name: str) -> Job:
    """Return a job's declaration, or one that only names it. Raises ConfigError."""
    return _job(directory / "jobs" / f"{name}.json", name)


def _job(path: Path, name: str) -> Job:
    """Return the job that a file declares."""
    declaration = {"name": name, **_read(path)}
    try:
        values = {key: read_value(key, value) for key, value in declaration.items()}
        schedule = {key: values.pop(key) for key in Schedule._fields if key in values}
        job = Job(schedule=Schedule(**schedule), **values)
        if job.name != name:
            raise ValueError(f"it declares {job.name!r}")
        if job.severity not in SEVERITIES:
            raise ValueError(f"severity is one of {', '.join(SEVERITIES)}")
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from error
    return job


def read_value(key: str, value: Any) -> Any:
    """Return the value of a key of a declaration. Raises ValueError that names the key."""
    if key not in READERS:
        raise ValueError(f"there is no {key}")
    if not isinstance(value, str):
        raise ValueError(f"{key} is a text, not {value!r}")
    try:
        return READERS[key](value)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None


def _read(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file, an empty one when there is none. Raises ConfigError."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except PermissionError as error:
        raise ConfigError(f"{path}: it is for root and the group of its directory") from error
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: not an object")
    return content
