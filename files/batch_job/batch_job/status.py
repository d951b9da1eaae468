"""Prints the table of this host's jobs."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from batch_job.durations import spoken
from batch_job.exit_status import MisuseError
from batch_job.spool import Kept
from batch_job.state import State
from batch_job.tables import aligned
from batch_job.users import UserJob

HEAD = ("JOB", "LAST RUN", "RESULT", "NEXT DUE", "KEPT REPORTS")


def table(
    declared: Mapping[str, int | None],
    state: State,
    kept: Sequence[Kept],
    now: float,
    others: Sequence[UserJob] = (),
    only: Collection[str] = (),
) -> str:
    """Return one line for each job that is declared or has run on this host.

    `declared` has until when each declared job is paused, in Unix seconds; None if it is not.
    With jobs of others, a column has the user; a job that somebody else runs was not run by us.
    With names, only these jobs are shown, with the last output of those that failed. Raises
    MisuseError for one that is not there.
    """
    waiting = [entry.report.group.job for entry in kept]
    ours = {*state.jobs(), *waiting}
    names = sorted({*declared, *ours} - ({job.job for job in others} - ours))
    if missing := {*only} - {*names, *(job.job for job in others)}:
        raise MisuseError(f"there is no job {', '.join(sorted(missing))} on this host")
    if only:
        names = [name for name in names if name in only]
        others = [job for job in others if job.job in only]
    rows = [
        _row(name, state.read(name), waiting.count(name), now, declared.get(name)) for name in names
    ]
    said = []
    if only:
        said += [_last_output(name, state.read(name)) for name in names]
        said += [_last_output(f"{job.job} of {job.user}", job.memory) for job in others]
    if others:
        rows = [(*HEAD, "USER"), *((*row, "root") for row in rows)]
        rows += [
            (*_row(job.job, job.memory, job.waiting, now, declared.get(job.job)), job.user)
            for job in others
        ]
    else:
        rows = [HEAD, *rows]
    return "\n".join([*aligned(rows), *filter(None, said)])


def _last_output(name: str, memory: Mapping[str, Any]) -> str:
    """Return the last lines of a job's latest run, which failed; nothing if none are known."""
    lines = (memory.get("output") or "").splitlines()
    return "\n".join(
        ["", f"Last output of {name}:", *(f"  {line}" for line in lines)] if lines else []
    )


def _row(
    name: str, memory: Mapping[str, Any], waiting: int, now: float, paused_until: int | None
) -> tuple[str, ...]:
    """Return the cells of a job."""
    started, ended = memory.get("started"), memory.get("ended")
    result = "-"
    if started is not None and (ended is None or ended < started):
        result = f"running for {spoken(now - started)}"
    elif "result" in memory:
        code = memory["exit_code"]
        result = memory["result"] + (f" ({code})" if code else "")
        if retries := memory.get("retries"):
            result += f", {retries} {'retry' if retries == 1 else 'retries'}"
    due = "-"
    if paused_until and paused_until > now:
        due = f"paused until {time.strftime('%Y-%m-%d %H:%M', time.localtime(paused_until))}"
    elif memory.get("deadline") is not None:
        left = memory["deadline"] - now
        due = f"in {spoken(left)}" if left > 0 else f"late by {spoken(left)}"
    return (
        name,
        time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(started)) if started else "never",
        result,
        due,
        str(waiting or "-"),
    )
