"""Keeps reports that could not be delivered on disk, until they can be.

They are in `spool` of the state directory: by default, /var/lib/batch-job/spool (see `state`).
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from prometheus_client.metrics_core import Metric

from batch_job import files, metrics
from batch_job.gateway import Group

# All kept reports together; about ten thousand of them.
MAX_SPOOL_BYTES = 16 << 20
# A single file that is larger is none of ours.
MAX_FILE_BYTES = MAX_SPOOL_BYTES
# How long to wait for another reporter that sends kept reports.
LOCK_TIMEOUT_SECONDS = 5.0


class Report(NamedTuple):
    """What to push to a group. `created` is in Unix seconds."""

    group: Group
    families: list[Metric]
    replace: bool
    created: float


class Kept(NamedTuple):
    """A report that is kept for a gateway, and its file."""

    url: str
    report: Report
    path: Path


class Spool:
    """A directory with one file for each group and gateway."""

    def __init__(self, state_directory: Path) -> None:
        """Use the state directory's `spool`, which is created with the first kept report."""
        self._directory = state_directory / "spool"

    def is_empty(self) -> bool:
        """Return whether no report is kept."""
        return not any(self._paths())

    @contextmanager
    def sending(self, url: str) -> Iterator[None]:
        """Lock the kept reports of a gateway, so that no report overtakes another.

        Raises OSError when another reporter holds the lock for too long.
        """
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = self._directory / f".{hashlib.sha256(url.encode()).hexdigest()[:32]}.lock"
        with open(os.open(lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600), "rb") as file:
            deadline = time.monotonic() + LOCK_TIMEOUT_SECONDS
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.05)
            yield

    def keep(self, url: str, report: Report) -> list[Group]:
        """Keep a report for a gateway, combined with an earlier one of its group.

        Returns the groups whose reports were removed to make room, oldest first. Raises OSError
        when the report cannot be kept.
        """
        path = self._path(url, report.group)
        earlier = self.find(url, report.group)
        if earlier:
            report = combine(earlier.report, report)
        content = json.dumps(
            {
                "url": url,
                "job": report.group.job,
                "instance": report.group.instance,
                "created": report.created,
                "replace": report.replace,
                "text": metrics.render(report.families),
            }
        ).encode()
        dropped = self._make_room(len(content), path)
        files.write(path, content)
        return dropped

    def find(self, url: str, group: Group) -> Kept | None:
        """Return the report that is kept for a gateway and a group, if any."""
        return _load(self._path(url, group))

    def kept(self) -> list[Kept]:
        """Return all kept reports, oldest first."""
        reports = [kept for kept in map(_load, self._paths()) if kept is not None]
        return sorted(reports, key=lambda kept: kept.report.created)

    def forget(self, kept: Kept) -> None:
        """Remove a report, unless a newer one has replaced it."""
        current = _load(kept.path)
        if current is None or current.report.created <= kept.report.created:
            kept.path.unlink(missing_ok=True)

    def forget_group(self, group: Group) -> None:
        """Remove the kept reports of a group for all gateways."""
        for kept in self.kept():
            if kept.report.group == group:
                self.forget(kept)

    def _paths(self) -> Iterator[Path]:
        """Yield the files of kept reports."""
        return self._directory.glob("*.json")

    def _path(self, url: str, group: Group) -> Path:
        """Return the file of a group for a gateway."""
        key = "\0".join((url, group.job, group.instance)).encode()
        return self._directory / f"{hashlib.sha256(key).hexdigest()[:32]}.json"

    def _make_room(self, size: int, path: Path) -> list[Group]:
        """Remove the oldest reports until another one fits, and return their groups."""
        others = [kept for kept in self.kept() if kept.path != path]
        used = sum(kept.path.stat().st_size for kept in others)
        dropped = []
        while others and used + size > MAX_SPOOL_BYTES:
            oldest = others.pop(0)
            used -= oldest.path.stat().st_size
            self.forget(oldest)
            dropped.append(oldest.report.group)
        return dropped


def combine(earlier: Report, later: Report) -> Report:
    """Return the report that does to a group what two reports would do one after the other."""
    if later.replace:
        return later
    return later._replace(
        families=metrics.merge(earlier.families, later.families), replace=earlier.replace
    )


def _load(path: Path) -> Kept | None:
    """Return the report in a file, or None when the file is missing or damaged."""
    try:
        content = json.loads(files.read(path, MAX_FILE_BYTES))
        report = Report(
            Group(content["job"], content["instance"]),
            metrics.parse(content["text"]),
            bool(content["replace"]),
            float(content["created"]),
        )
        return Kept(content["url"], report, path)
    except (OSError, ValueError, LookupError, TypeError):
        return None
