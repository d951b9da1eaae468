"""Reads what the run of a unit left in the journal."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable

from batch_job.output import last_lines

# A large journal may need seconds.
TIMEOUT_SECONDS = 2
# The report of a run waits for each answer.
REPORT_TIMEOUT_SECONDS = 0.7
# What a run printed before these is not searched.
MAX_LINES = 1000

Runner = Callable[..., str]

# Which messages are meant: those of the run's processes, and those of systemd about the run.
OF_PROCESSES = "_SYSTEMD_INVOCATION_ID"
OF_SYSTEMD = "INVOCATION_ID"


def messages(invocation: str, fields: tuple[str, ...], run: Runner) -> str:
    """Return the last messages of a run, one a line; empty if the journal does not answer."""
    match = " + ".join(f"{field}={invocation}" for field in fields).split()
    return run("journalctl", "--quiet", "--output=cat", f"--lines={MAX_LINES}", *match)


def output(invocation: str, lines: int, is_started: bool, run: Runner | None = None) -> str:
    """Return the last lines of a run's output, or of what systemd says of one that did not start.

    They are fit for a report, see `last_lines`.
    """
    run = run or quick_answer
    # The journal is written by another process, which may not be there yet.
    run("journalctl", "--sync")
    fields = (OF_PROCESSES,) if is_started else (OF_PROCESSES, OF_SYSTEMD)
    return last_lines(messages(invocation, fields, run), lines)


def quick_answer(*command: str) -> str:
    """Return what a command prints, in the time that a report can wait."""
    return answer(*command, timeout_seconds=REPORT_TIMEOUT_SECONDS)


def answer(*command: str, timeout_seconds: float = TIMEOUT_SECONDS) -> str:
    """Return what a command prints; empty if it does not answer."""
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
            errors="replace",
            timeout=timeout_seconds,
            check=False,
            env={"LC_ALL": "C", "PATH": os.defpath},
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
