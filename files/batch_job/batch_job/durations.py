"""Reads and writes durations."""

from __future__ import annotations

import re

# Ten years; the kernel's clocks do not take any number.
MAX_DURATION_SECONDS = 3660 * 86400
SECONDS = {"s": 1, "sec": 1, "min": 60, "h": 3600, "d": 86400, "w": 604800}


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
