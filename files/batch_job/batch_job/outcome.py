"""What became of a run; the same for a command of our own and for a systemd unit."""

from __future__ import annotations

from typing import NamedTuple

SUCCESS = "success"
EXIT_CODE = "exit-code"
SIGNAL = "signal"
TIMEOUT = "timeout"
OOM_KILL = "oom-kill"
START_FAILED = "start-failed"

# What timeout(1) says for a command that it had to end.
TIMED_OUT = 124
SIGNALLED = 128


class Outcome(NamedTuple):
    """A run that has ended. Times are Unix seconds; costs are None where nobody counted them."""

    started: float
    ended: float
    duration_seconds: float
    result: str
    # 0..255, 128+N for signal N; never 0 unless the result is a success.
    exit_code: int
    cpu_seconds: float | None = None
    max_rss_bytes: int | None = None
