"""Made-up jobs and their runs in a week. Times count from its origin."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from math import inf
from random import Random
from typing import Any

from batch_job.exit_status import TIMED_OUT
from batch_job.outcome import SUCCESS, WARNING
from batch_job.schedule import Schedule

MINUTE, HOUR, DAY = 60, 3600, 86400
DAYS = 7
# A Friday morning, when people come to work.
NOW = datetime(2026, 11, 20, 9, tzinfo=UTC).timestamp()
LENGTH = DAYS * DAY + 9 * HOUR
ORIGIN = NOW - LENGTH
# The fourth night: no report arrived.
OUTAGE = (4 * DAY + 1 * HOUR, 4 * DAY + 5 * HOUR)
# When Prometheus could not read the declarations.
UNREAD = (2 * DAY + 12 * HOUR, 2 * DAY + 14 * HOUR)
# How far the clock of one host is ahead at the end.
AHEAD = 10 * HOUR

GIB = 1 << 30


@dataclass(frozen=True)
class Run:
    """A run of a job: start, duration, end. It hangs if it takes inf seconds."""

    start: float
    seconds: float
    result: str = SUCCESS
    exit_code: int = 0
    size: float = 0


@dataclass(frozen=True)
class Job:
    """A job, its runs and its state at the end of the week."""

    name: str
    instance: str
    state: str
    every: float
    at: float
    seconds: float
    owner: str = "ops"
    severity: str = "warning"
    kind: str = "batch"
    max_runtime: int | None = None
    max_age: int | None = None
    size: float = 0
    min_size: int | None = None
    is_declared: bool = True
    # Seconds since the origin: from when, and until when it is paused.
    pause: tuple[float, float] | None = None
    change: Callable[[int, Run], Run | None] = lambda _, run: run

    def runs(self) -> Iterator[Run]:
        """Yield the runs, the same ones each time."""
        chance = Random(self.name)  # noqa: S311
        for number in range(int((LENGTH - self.at) // self.every) + 1):
            start = self.at + number * self.every
            usual = self.seconds * chance.uniform(0.85, 1.25)
            size = self.size * (1 + 0.01 * number) * chance.uniform(0.98, 1.02)
            found = self.change(number, Run(start, usual, size=size))
            if found:
                yield found

    @property
    def schedule(self) -> Schedule:
        """The declared schedule."""
        calendar = None if self.max_age else "*-*-* 02:00"
        return Schedule(on_calendar=calendar, max_runtime=self.max_runtime, max_age=self.max_age)

    def deadline(self, after: float) -> float:
        """Return when the first success after a time is due."""
        if self.max_age:
            return after + self.max_age
        following = self.at + ((after - self.at) // self.every + 1) * self.every
        return following + self.schedule.allowance


def fails(*numbers: int, code: int = 1) -> Callable[[int, Run], Run]:
    """Return a change that makes runs fail after half their time."""

    def change(number: int, run: Run) -> Run:
        if number not in numbers:
            return run
        return Run(run.start, run.seconds / 2, "exit-code", code)

    return change


def warns(*numbers: int, code: int) -> Callable[[int, Run], Run]:
    """Return a change that makes runs succeed with a warning."""

    def change(number: int, run: Run) -> Run:
        return replace(run, result=WARNING, exit_code=code) if number in numbers else run

    return change


def sometimes(share: float, seed: str, fine: int = 0) -> Callable[[int, Run], Run]:
    """Return a change that makes a share of all runs fail, but not the last `fine` of a week."""
    chance = Random(seed)  # noqa: S311
    failing = {number for number in range(2000) if chance.random() < share}

    def change(number: int, run: Run) -> Run:
        return run if run.start > LENGTH - fine else fails(*failing)(number, run)

    return change


def stops(after: float) -> Callable[[int, Run], Run | None]:
    """Return a change that ends all runs."""
    return lambda _, run: run if run.start < after else None


def hangs(number: int) -> Callable[[int, Run], Run | None]:
    """Return a change that makes one run hang; no run follows."""

    def change(this: int, run: Run) -> Run | None:
        return run if this < number else Run(run.start, inf) if this == number else None

    return change


def overruns(number: int, seconds: float) -> Callable[[int, Run], Run]:
    """Return a change that makes one run reach its time limit."""

    def change(this: int, run: Run) -> Run:
        return Run(run.start, seconds, "timeout", TIMED_OUT) if this == number else run

    return change


def shrinks(after: float) -> Callable[[int, Run], Run]:
    """Return a change that makes backups much smaller."""

    def change(_: int, run: Run) -> Run:
        return run if run.start < after else Run(run.start, run.seconds / 3, size=run.size * 0.07)

    return change


def ahead(number: int) -> Callable[[int, Run], Run]:
    """Return a change that sets the host's clock ahead."""

    def change(this: int, run: Run) -> Run:
        return run if this < number else Run(run.start + AHEAD, run.seconds)

    return change


# fmt: off
DAILY: dict[str, Any] = {"every": DAY, "max_runtime": 2 * HOUR}
HOURLY: dict[str, Any] = {"every": HOUR, "max_runtime": 30 * MINUTE}
BACKUP: dict[str, Any] = {"kind": "backup", **DAILY}
PIPELINE: dict[str, Any] = {"kind": "ci", "owner": "developers"}
JOBS = (
    Job("backup-etc", "files", "fine", at=2 * HOUR, seconds=95, size=0.05 * GIB, min_size=1 << 20,
        change=overruns(2, 2 * HOUR), **BACKUP),
    Job("backup-home", "files", "warned", at=3 * HOUR, seconds=2600, size=42 * GIB,
        change=warns(6, 7, code=3), **BACKUP),
    Job("backup-mail", "mail", "shrunk", at=1.5 * HOUR, seconds=1300, size=18 * GIB, owner="mail",
        change=shrinks(DAYS * DAY), **BACKUP),
    Job("backup-database", "database", "late", at=2.5 * HOUR, seconds=1900, size=7 * GIB,
        owner="dba", severity="critical", change=stops(6 * DAY), **BACKUP),
    Job("verify-restore", "files", "failing", at=6 * HOUR, seconds=1500,
        change=fails(5, 7, code=3), **DAILY),
    Job("send-invoices", "office", "fine", at=5 * HOUR, seconds=320, owner="finance",
        severity="critical", **DAILY),
    Job("close-books", "office", "waiting", at=LENGTH + 6 * DAY, every=30 * DAY, seconds=1,
        owner="finance", max_runtime=4 * HOUR),
    Job("archive-photos", "files", "paused", at=8 * HOUR, seconds=900, change=stops(5 * DAY),
        pause=(5 * DAY, LENGTH + 10 * DAY), **DAILY),
    Job("import-prices", "shop", "fine", at=900, seconds=140, owner="shop",
        change=sometimes(0.06, "prices", 6 * HOUR), **HOURLY),
    Job("sync-mirror", "mirror", "stuck", at=1200, seconds=420, change=hangs(DAYS * 24 + 5),
        **HOURLY),
    Job("renew-certificates", "proxy", "unreported", at=LENGTH, every=DAY, seconds=1,
        change=stops(0)),
    Job("rotate-logs", "clockwork", "wrong clock", at=2 * HOUR, seconds=12, change=ahead(DAYS),
        **DAILY),
    Job("export-legacy", "oldhost", "undeclared", at=4 * HOUR, seconds=240, owner="",
        is_declared=False, **DAILY),
    Job("build", "", "fine", at=600, every=35 * MINUTE, seconds=380, max_age=8 * DAY,
        change=sometimes(0.08, "build", 3 * HOUR), **PIPELINE),
    Job("integration", "runner", "fine", at=1800, every=2 * HOUR, seconds=1700, max_age=2 * DAY,
        change=sometimes(0.35, "flaky", 4 * HOUR), **PIPELINE),
    Job("deploy", "", "failing", at=7 * HOUR, every=8 * HOUR, seconds=210, max_age=8 * DAY,
        change=fails(9, 21), **PIPELINE),
    Job("release", "", "fine", at=DAY + 10 * HOUR, every=7 * DAY, seconds=1450,
        max_age=9 * DAY, **PIPELINE),
)
# fmt: on
