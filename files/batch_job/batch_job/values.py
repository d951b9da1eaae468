"""Checks names of jobs and instances, reads and writes durations, and aligns columns."""

from __future__ import annotations

import re
from collections.abc import Sequence

# Pushgateway answers success for a job named `..` and stores nothing. The name is also a part of a
# systemd unit's.
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,199}\Z")
# Hosts and addresses; `[::1]` is one.
INSTANCE = re.compile(r"[A-Za-z0-9_\[][A-Za-z0-9_.:\[\]-]{0,252}\Z")
# Ten years; the kernel's clocks do not take any number.
MAX_DURATION_SECONDS = 3660 * 86400
SEVERITIES = ("info", "warning", "critical")
SECONDS = {"s": 1, "sec": 1, "min": 60, "h": 3600, "d": 86400, "w": 604800}


class MisuseError(Exception):
    """An argument or a configuration makes no sense; `status` is from sysexits.h."""

    status = 64


def job_name(text: str) -> str:
    """Return a job's name. Raises ValueError when it is not one."""
    if not NAME.match(text):
        raise ValueError(f"{text!r} is not a name: letters, digits and _ . : -, at most 200")
    return text


def instance_name(text: str) -> str:
    """Return an instance, or the empty one of jobs without a host. Raises ValueError."""
    if text and not INSTANCE.match(text):
        raise ValueError(f"{text!r} is not an instance: letters, digits and _ . : - [ ]")
    return text


def duration(text: str) -> int:
    """Return the seconds of a duration in the notation of systemd: `26h`, `1h 30min`.

    Raises ValueError when it is not a sequence of numbers with units, is zero or absurdly long.
    """
    parts = re.findall(r"\s*([0-9]+)\s*([a-z]+)", text)
    rest = re.sub(r"\s*[0-9]+\s*[a-z]+", "", text).strip()
    seconds = sum(int(number) * SECONDS.get(unit, 0) for number, unit in parts)
    if not seconds or rest or any(unit not in SECONDS for _, unit in parts):
        raise ValueError(
            f"{text!r} is not a duration such as 26h or 90min (units: {', '.join(SECONDS)})"
        )
    if seconds > MAX_DURATION_SECONDS:
        raise ValueError(f"{text!r} is more than ten years")
    return seconds


def spoken(seconds: float, words: int = 2) -> str:
    """Return a duration for people, in its largest units: `1d 2h`, `45s`."""
    rest = int(abs(seconds))
    parts = []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts[:words]) or "0s"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return one line for each row, with its cells in columns."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows
    ]
