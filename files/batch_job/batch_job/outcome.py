"""The outcome of a run, the same for a command that we ran and for a systemd unit."""

from __future__ import annotations

from collections.abc import Container
from typing import NamedTuple

SUCCESS = "success"
WARNING = "warning"
EXIT_CODE = "exit-code"
SIGNAL = "signal"
TIMEOUT = "timeout"
OOM_KILL = "oom-kill"
START_FAILED = "start-failed"
RESULTS = (SUCCESS, WARNING, EXIT_CODE, SIGNAL, TIMEOUT, OOM_KILL, START_FAILED)


class Outcome(NamedTuple):
    """A run that has ended. Times are in Unix seconds; unknown costs are None."""

    started: float
    ended: float
    duration_seconds: float
    result: str
    # As in `exit_status`; 0 if the result is a success, and only then.
    exit_code: int
    cpu_seconds: float | None = None
    max_rss_bytes: int | None = None
    # How many tries failed before the last one; None for a job that is never tried again.
    retries: int | None = None
    # Its last lines, if it failed; None for a job that reports none.
    output: str | None = None

    @property
    def is_success(self) -> bool:
        """Whether the run did what it is for; a warning counts as a success."""
        return self.result in (SUCCESS, WARNING)

    def judged(self, warning_exit_codes: Container[int]) -> Outcome:
        """Return the outcome with the result that a declaration gives to its exit code."""
        is_warning = self.result == EXIT_CODE and self.exit_code in warning_exit_codes
        return self._replace(result=WARNING) if is_warning else self
