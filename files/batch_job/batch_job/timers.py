"""Reads when systemd starts a unit that is not ours: an adopted one."""

from __future__ import annotations

import difflib
import os
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator, Mapping

from batch_job.config import Job
from batch_job.schedule import ScheduleError

# systemctl needs milliseconds.
SYSTEMCTL_TIMEOUT_SECONDS = 5
# As systemd prints a time span, see systemd.time(7).
SECONDS = {
    "us": 1e-6,
    "ms": 1e-3,
    "s": 1,
    "min": 60,
    "h": 3600,
    "d": 86400,
    "w": 604800,
    "month": 2629800,
    "y": 31557600,
}

# Properties of a unit by their names; a name may have several values.
Properties = Mapping[str, list[str]]


def show(unit: str) -> dict[str, list[str]]:
    """Return the properties of a unit. Raises ScheduleError when systemd does not answer."""
    properties: dict[str, list[str]] = {}
    for line in _systemctl("show", "--", unit):
        name, _, value = line.partition("=")
        properties.setdefault(name, []).append(value)
    return properties


def scheduled(job: Job, properties: Callable[[str], Properties] = show) -> Job:
    """Return a job with the schedule that its unit's timers have now; any other job as it is.

    Raises ScheduleError when no timer starts the unit and its maximum age is not declared.
    """
    if not job.unit:
        return job
    active = list(_active_timers(job.unit, properties))
    if not active:
        if job.schedule.max_age:
            return job
        raise ScheduleError(
            f"job {job.name}: no active timer starts {job.unit}; start one, or declare a max_age"
        )
    calendars = [
        text for timer in active for text in _values(timer, "TimersCalendar", "OnCalendar")
    ]
    intervals = [
        span(text)
        for timer in active
        for name in ("OnUnitActiveUSec", "OnUnitInactiveUSec")
        for text in _values(timer, "TimersMonotonic", name)
    ]
    if not calendars and not intervals and not job.schedule.max_age:
        words = f"the timer of {job.unit} starts it once; declare a max_age"
        raise ScheduleError(f"job {job.name}: {words}")
    delay = max(span(text) for timer in active for text in timer.get("RandomizedDelayUSec", ["0"]))
    schedule = job.schedule._replace(randomized_delay=delay)
    if calendars:
        schedule = schedule._replace(on_calendar="; ".join(calendars))
    elif intervals:
        schedule = schedule._replace(every=max(1, min(intervals)))
    return job._replace(schedule=schedule)


def check(job: Job, properties: Callable[[str], Properties] = show) -> None:
    """Raise ScheduleError for a unit that is not there, or whose end nothing would report."""
    found = properties(job.unit)
    if found.get("LoadState") != ["loaded"]:
        close = difflib.get_close_matches(job.unit, _services(), n=3)
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        raise ScheduleError(f"job {job.name}: there is no unit {job.unit} on this host{hint}")
    if found.get("RemainAfterExit") == ["yes"]:
        raise ScheduleError(
            f"job {job.name}: {job.unit} has RemainAfterExit=yes, so systemd never sees its end"
        )


def span(text: str) -> int:
    """Return a time span that systemd printed, in whole seconds. Raises ScheduleError."""
    total = 0.0
    for part in text.split():
        match = re.fullmatch(r"([0-9.]+)([a-z]*)", part)
        if match is None or (match[2] or "s") not in SECONDS:
            raise ScheduleError(f"{text!r} is not a time span of systemd's")
        total += float(match[1]) * SECONDS[match[2] or "s"]
    return int(total)


def _active_timers(unit: str, properties: Callable[[str], Properties]) -> Iterator[Properties]:
    """Yield the properties of each active timer that starts a unit."""
    # A name with an escape is quoted, and its backslash is doubled.
    for name in shlex.split(" ".join(properties(unit).get("TriggeredBy", []))):
        if name.endswith(".timer"):
            timer = properties(name)
            if timer.get("ActiveState") == ["active"]:
                yield timer


def _values(timer: Properties, name: str, option: str) -> Iterator[str]:
    """Yield the values of an option of a timer, as in `{ OnCalendar=daily ; next_elapse=... }`."""
    for text in timer.get(name, []):
        match = re.match(rf"{{ {option}=(.*?) ; ", text)
        if match:
            yield match[1]


def _services() -> list[str]:
    """Return the names of all services of this host."""
    lines = _systemctl("list-unit-files", "--type=service", "--no-legend")
    return [line.split()[0] for line in lines if line.strip()]


def _systemctl(*arguments: str) -> list[str]:
    """Run systemctl and return what it printed. Raises ScheduleError."""
    try:
        done = subprocess.run(
            ["systemctl", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=SYSTEMCTL_TIMEOUT_SECONDS,
            check=False,
            env={"LC_ALL": "C", "PATH": os.defpath},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ScheduleError(f"systemctl {arguments[0]}: {error}") from error
    if done.returncode:
        raise ScheduleError(f"systemctl {arguments[0]}: {done.stderr.strip()}")
    return done.stdout.splitlines()
