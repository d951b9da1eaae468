"""Computes when the next success of a job is due, with systemd's own calendar code."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import NamedTuple

from batch_job.durations import duration
from batch_job.exit_status import MisuseError

# systemd-analyze needs milliseconds.
CALENDAR_TIMEOUT_SECONDS = 10
DEFAULT_GRACE = "30min"


class ScheduleError(MisuseError):
    """systemd does not understand a calendar expression, or there is no systemd."""


class Schedule(NamedTuple):
    """When a job runs and how late its success may be. All durations are in seconds.

    With `on_calendar` or `every`, the next success is due `randomized_delay + max_runtime + grace`
    after the next scheduled start; else `max_age` after the last one; with none of them it is never
    due. During a pause, all count from its end.
    """

    # Several calendar expressions are separated by semicolons: the earliest start counts.
    on_calendar: str | None = None
    timezone: str | None = None
    randomized_delay: int = 0
    max_runtime: int | None = None
    grace: int = duration(DEFAULT_GRACE)
    max_age: int | None = None
    # The end of a pause, in Unix seconds.
    paused_until: int | None = None
    # From one start to the next.
    every: int | None = None

    @property
    def has_starts(self) -> bool:
        """Whether it is known when the job starts."""
        return bool(self.on_calendar or self.every)

    @property
    def is_empty(self) -> bool:
        """Whether a success is never due."""
        return not self.has_starts and not self.max_age

    @property
    def expressions(self) -> list[str]:
        """The calendar expressions with their time zone, as in `OnCalendar=`."""
        zone = f" {self.timezone}" if self.timezone else ""
        texts = self.on_calendar.split(";") if self.on_calendar else []
        return [text.strip() + zone for text in texts]

    @property
    def allowance(self) -> int:
        """How long after its scheduled start a success may arrive."""
        return self.randomized_delay + (self.max_runtime or 0) + self.grace

    def reference(self, started: float, ended: float) -> float:
        """Return the time after which the success that follows a run is due, for `deadlines`.

        What starts every hour does so an hour after its last start or, if it ran longer, at once.
        """
        return max(started, ended - self.every) if self.every else ended


def deadlines(
    schedules: Sequence[Schedule], after: float, timeout_seconds: float = CALENDAR_TIMEOUT_SECONDS
) -> list[float | None]:
    """Return for each schedule when a success is due, in Unix seconds, or None for never.

    Raises ScheduleError; see `next_starts`.
    """
    begins = [max(after, schedule.paused_until or 0) for schedule in schedules]
    starts: dict[tuple[float, str], float] = {}
    # One call for all jobs that are not paused.
    for begin in sorted(set(begins)):
        expressions = [
            text
            for schedule, its_begin in zip(schedules, begins)
            if its_begin == begin
            for text in schedule.expressions
        ]
        # A start at the very end of a pause is the first one after it.
        is_pause_end = begin > after
        elapses = next_starts(expressions, begin - is_pause_end, timeout_seconds)
        starts.update(((begin, text), start) for text, start in zip(expressions, elapses))
    due: list[float | None] = []
    for schedule, begin in zip(schedules, begins):
        if schedule.on_calendar:
            first = min(starts[begin, text] for text in schedule.expressions)
            due.append(first + schedule.allowance)
        elif schedule.every:
            due.append(begin + schedule.every + schedule.allowance)
        else:
            due.append(begin + schedule.max_age if schedule.max_age else None)
    return due


def next_starts(
    expressions: Sequence[str], after: float, timeout_seconds: float = CALENDAR_TIMEOUT_SECONDS
) -> list[float]:
    """Return when each `OnCalendar=` expression elapses next after a time, in Unix seconds.

    Expressions without a time zone are in the host's. Raises ScheduleError that names every
    expression which is invalid or never elapses again, or when systemd-analyze is missing.
    """
    if not expressions:
        return []
    # `_parse` expects the output of a single iteration.
    command = ["systemd-analyze", "calendar", f"--base-time=@{int(after)}", *expressions]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=timeout_seconds,
            check=False,
            env={"LC_ALL": "C", "PATH": "/usr/bin:/bin:/usr/local/bin:/run/current-system/sw/bin"},
        )
    except FileNotFoundError:
        raise ScheduleError(
            "a calendar needs systemd-analyze, which this host does not have; use --max-age instead"
        ) from None
    except subprocess.TimeoutExpired:
        raise ScheduleError(f"systemd-analyze took more than {timeout_seconds:g} s") from None
    except OSError as error:
        raise ScheduleError(f"systemd-analyze cannot be started: {error.strerror}") from error
    if done.returncode:
        raise ScheduleError(done.stderr.strip().replace("\n", "; "))
    starts = [_parse(block) for block in done.stdout.strip().split("\n\n")]
    never = [text for text, start in zip(expressions, starts) if start is None]
    if never or len(starts) != len(expressions):
        raise ScheduleError(f"never elapses again: {', '.join(never)}")
    return [start for start in starts if start is not None]


def _parse(block: str) -> float | None:
    """Return the time of one block of `systemd-analyze calendar`, or None for never."""
    fields = {}
    for line in block.splitlines():
        name, _, value = line.partition(": ")
        fields[name.strip()] = value.strip()
    # `(in UTC)` is there unless the host's time zone is UTC.
    text = fields.get("(in UTC)") or fields.get("Next elapse", "never")
    if text == "never":
        return None
    _weekday, day, clock, _utc = text.split()
    elapse = datetime.strptime(f"{day} {clock.partition('.')[0]}", "%Y-%m-%d %H:%M:%S")
    return elapse.replace(tzinfo=timezone.utc).timestamp()
