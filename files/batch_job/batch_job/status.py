"""Prints the table of this host's jobs."""

from __future__ import annotations

import time
from collections.abc import Sequence

from batch_job.durations import spoken
from batch_job.spool import Kept
from batch_job.state import State
from batch_job.tables import aligned

HEAD = ("JOB", "LAST RUN", "RESULT", "NEXT DUE", "KEPT REPORTS")


def table(declared: Sequence[str], state: State, kept: Sequence[Kept], now: float) -> str:
    """Return one line for each job that is declared or has run on this host."""
    waiting = [entry.report.group.job for entry in kept]
    names = sorted({*declared, *state.jobs(), *waiting})
    rows = [_row(name, state, waiting.count(name), now) for name in names]
    return "\n".join(aligned([HEAD, *rows]))


def _row(name: str, state: State, waiting: int, now: float) -> tuple[str, ...]:
    """Return the cells of a job."""
    memory = state.read(name)
    started, ended = memory.get("started"), memory.get("ended")
    result = "-"
    if started is not None and (ended is None or ended < started):
        result = f"running for {spoken(now - started)}"
    elif "result" in memory:
        code = memory["exit_code"]
        result = memory["result"] + (f" ({code})" if code else "")
    due = "-"
    if memory.get("deadline") is not None:
        left = memory["deadline"] - now
        due = f"in {spoken(left)}" if left > 0 else f"overdue by {spoken(left)}"
    return (
        name,
        time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(started)) if started else "never",
        result,
        due,
        str(waiting or "-"),
    )
