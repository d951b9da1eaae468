"""The outcome of a run, the same for a command that we ran and for a systemd unit."""

from __future__ import annotations

from typing import NamedTuple

SUCCESS = "success"
EXIT_CODE = "exit-code"
SIGNAL = "signal"
TIMEOUT = "timeout"
OOM_KILL = "oom-kill"
START_FAILED = "start-failed"
RESULTS = (SUCCESS, EXIT_CODE, SIGNAL, TIMEOUT, OOM_KILL, START_FAILED)


class Outcome(NamedTuple):
    """A run that has ended. Times are in Unix seconds; unknown costs are None."""

    started: float
    ended: float
    duration_seconds: float
    result: str
    # As in `exit_status`; never 0 unless the result is a success.
    exit_code: int
    cpu_seconds: float | None = None
    max_rss_bytes: int | None = None
