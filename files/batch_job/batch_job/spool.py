"""Reports that could not be delivered, kept on disk until they can be."""

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

from batch_job import metrics
from batch_job.gateway import Group

# Bytes of all kept reports together; about ten thousand of them.
LIMIT = 16 << 20
# Seconds to wait for another reporter that sends kept reports.
LOCK_LIMIT = 5.0


class Report(NamedTuple):
    """What a group shall hold. `created` is in Unix seconds."""

    group: Group
    families: list[Metric]
    replace: bool
    created: float


class Kept(NamedTuple):
    """A report that waits for a gateway."""

    url: str
    report: Report
    path: Path


class Spool:
    """A directory with one file for each group and gateway."""

    def __init__(self, directory: Path) -> None:
        """Remember the directory; it is created when there is something to keep."""
        self._directory = directory

    def is_empty(self) -> bool:
        """Tell whether nothing waits."""
        return not any(self._paths())

    @contextmanager
    def sending(self, url: str) -> Iterator[None]:
        """Let nobody else send what is kept for a gateway, so that no report overtakes another.

        Raises OSError, after some seconds, when somebody else does not stop sending.
        """
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = self._directory / f".{hashlib.sha256(url.encode()).hexdigest()[:32]}.lock"
        with open(os.open(lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600), "rb") as file:
            limit = time.monotonic() + LOCK_LIMIT
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > limit:
                        raise
                    time.sleep(0.05)
            yield

    def keep(self, url: str, report: Report) -> list[Group]:
        """Keep a report for a gateway, together with what was kept of its group before.

        Returns the groups that had to go to make room, oldest first. Raises OSError when it
        cannot be kept.
        """
        path = self._path(url, report.group)
        earlier = self.find(url, report.group)
        if earlier:
            report = after(earlier.report, report)
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
        write(path, content)
        return dropped

    def find(self, url: str, group: Group) -> Kept | None:
        """Return what is kept of a group for a gateway."""
        return _load(self._path(url, group))

    def kept(self) -> list[Kept]:
        """Return everything that is kept, oldest first."""
        found = [kept for kept in map(_load, self._paths()) if kept is not None]
        return sorted(found, key=lambda kept: kept.report.created)

    def forget(self, kept: Kept) -> None:
        """Remove a report, unless a newer one has taken its place."""
        found = _load(kept.path)
        if found is None or found.report.created <= kept.report.created:
            kept.path.unlink(missing_ok=True)

    def forget_group(self, group: Group) -> None:
        """Remove what is kept of a group for any gateway."""
        for kept in self.kept():
            if kept.report.group == group:
                self.forget(kept)

    def _paths(self) -> Iterator[Path]:
        """Return the files of kept reports."""
        return self._directory.glob("*.json")

    def _path(self, url: str, group: Group) -> Path:
        """Return the file of a group for a gateway."""
        key = "\0".join((url, group.job, group.instance)).encode()
        return self._directory / f"{hashlib.sha256(key).hexdigest()[:32]}.json"

    def _make_room(self, size: int, path: Path) -> list[Group]:
        """Remove the oldest reports until another one fits, and return their groups."""
        kept = [each for each in self.kept() if each.path != path]
        used = sum(each.path.stat().st_size for each in kept)
        dropped = []
        while kept and used + size > LIMIT:
            oldest = kept.pop(0)
            used -= oldest.path.stat().st_size
            self.forget(oldest)
            dropped.append(oldest.report.group)
        return dropped


def after(earlier: Report, later: Report) -> Report:
    """Return the one report that does to a group what the two would have done in turn."""
    if later.replace:
        return later
    return later._replace(
        families=metrics.merge(earlier.families, later.families), replace=earlier.replace
    )


def write(path: Path, content: bytes, durable: bool = True) -> None:
    """Write a file for its owner alone, as a whole or not at all. Raises OSError.

    One that is durable is there after a crash of the host, too.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        flags = os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC
        with open(os.open(temporary, flags, 0o600), "wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _load(path: Path) -> Kept | None:
    """Return what a file keeps, or None when there is no such file or it is damaged."""
    try:
        found = json.loads(path.read_bytes())
        report = Report(
            Group(found["job"], found["instance"]),
            metrics.parse(found["text"]),
            bool(found["replace"]),
            float(found["created"]),
        )
        return Kept(found["url"], report, path)
    except (OSError, ValueError, LookupError, TypeError):
        return None
