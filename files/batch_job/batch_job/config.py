"""Which gateways there are and which jobs are declared on this host."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from batch_job.schedule import Schedule
from batch_job.values import MisuseError, duration, instance_name, job_name

DIRECTORY = "/etc/batch-job"
SEVERITIES = ("info", "warning", "critical")


class ConfigError(MisuseError):
    """A configuration that cannot be read or means nothing."""

    status = 78


class Gateway(NamedTuple):
    """A Pushgateway and how to authenticate to it. Secrets are named by their files.

    In `config.json`, they are named relative to it. A `file:` URL is a directory that node_exporter
    reads, instead of a Pushgateway.
    """

    url: str
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    username: str = ""
    password_file: str = ""
    token_file: str = ""

    @property
    def directory(self) -> str:
        """The directory that it is; empty for a Pushgateway."""
        return unquote(urlsplit(self.url).path) if is_directory(self.url) else ""


class Job(NamedTuple):
    """A job as it was declared."""

    name: str
    owner: str = ""
    severity: str = "warning"
    kind: str = "batch"
    schedule: Schedule = Schedule()
    # Who runs its command under systemd.
    user: str = ""


class Config(NamedTuple):
    """What `config.json` says."""

    instance: str
    gateways: tuple[Gateway, ...] = ()


def load(directory: Path, is_needed: bool = True) -> Config:
    """Return the configuration in a directory; an empty one when there is none.

    Raises ConfigError; if it is not needed, only when it can be read and means nothing.
    """
    path = directory / "config.json"
    found = _read(path, missing={}) if is_needed or os.access(path, os.R_OK) else {}
    try:
        config = Config(
            instance=instance_name(found.pop("instance", "") or os.uname().nodename),
            gateways=tuple(_gateway(directory, each) for each in found.pop("gateways", [])),
        )
        if found:
            raise ValueError(f"there is no {', '.join(found)}")
        for each in config.gateways:
            check_gateway(each)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{directory / 'config.json'}: {error}") from error
    return config


def _gateway(directory: Path, found: dict[str, str]) -> Gateway:
    """Return a gateway whose files are named relative to the configuration."""
    unknown = set(found) - set(Gateway._fields)
    if unknown:
        raise ValueError(f"a gateway has no {', '.join(sorted(unknown))}")
    files = {key: str(directory / name) for key, name in found.items() if key.endswith("_file")}
    return Gateway(**{**found, **files})


def is_directory(url: str) -> bool:
    """Tell whether a gateway's URL is a directory's."""
    return url.startswith("file:")


def check_gateway(gateway: Gateway) -> None:
    """Raise ValueError unless a gateway can be asked as it is described."""
    if is_directory(gateway.url):
        if not re.fullmatch(r"file:///[^?#]+", gateway.url) or "\0" in gateway.directory:
            raise ValueError(f"{gateway.url!r} is not a directory's URL such as file:///var/lib/x")
        if any(gateway[1:]):
            raise ValueError(f"{gateway.url} is a directory, which takes no credentials")
        return
    url = urlsplit(gateway.url)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ValueError(f"{gateway.url!r} is not a URL such as http://gateway:9091")
    if url.username or url.password:
        raise ValueError("credentials belong into files, not into the gateway's URL")
    if bool(gateway.cert_file) != bool(gateway.key_file):
        raise ValueError("a client certificate needs both, cert_file and key_file")
    if bool(gateway.username) != bool(gateway.password_file):
        raise ValueError("basic authentication needs both, username and password_file")
    if gateway.username and gateway.token_file:
        raise ValueError("a gateway takes a password or a token, not both")


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
    """Return the job that a file declares. Its keys are those of `batch_job_jobs`."""
    found = _read(path, missing={})
    try:
        for key, value in found.items():
            if not isinstance(value, str):
                raise ValueError(f"{key} is a text, not {value!r}")
        schedule = Schedule(
            on_calendar=found.pop("on_calendar", None),
            timezone=found.pop("timezone", None),
            randomized_delay=_duration(found, "randomized_delay") or 0,
            max_runtime=_duration(found, "max_runtime"),
            grace=_duration(found, "grace") or Schedule().grace,
            max_age=_duration(found, "max_age"),
        )
        job = Job(name=job_name(found.pop("name", name)), schedule=schedule, **found)
        if job.name != name:
            raise ValueError(f"it declares {job.name!r}")
        if job.severity not in SEVERITIES:
            raise ValueError(f"severity is one of {', '.join(SEVERITIES)}")
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from error
    return job


def _duration(found: dict[str, Any], key: str) -> int | None:
    """Take a duration out of a declaration. Raises ValueError that names the key."""
    text = found.pop(key, None)
    try:
        return None if text is None else duration(text)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None


def _read(path: Path, missing: Mapping[str, Any]) -> dict[str, Any]:
    """Return the object in a JSON file. Raises ConfigError."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return dict(missing)
    except PermissionError as error:
        raise ConfigError(f"{path}: it is for root and the group of its directory") from error
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: not an object")
    return found
