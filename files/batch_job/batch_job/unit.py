"""What systemd knows of a run of its own, told to `ExecStopPost=`.

The variables are described in systemd.exec(5), "Environment Variables Set or Propagated by the
Service Manager"; the exit statuses in "Process Exit Codes".
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from typing import Any

from batch_job import accounting
from batch_job.outcome import (
    EXIT_CODE,
    OOM_KILL,
    SIGNAL,
    SIGNALLED,
    START_FAILED,
    SUCCESS,
    TIMED_OUT,
    TIMEOUT,
    Outcome,
)

RESULTS = {
    "success": SUCCESS,
    "exit-code": EXIT_CODE,
    "signal": SIGNAL,
    "core-dump": SIGNAL,
    "timeout": TIMEOUT,
    "watchdog": TIMEOUT,
    "oom-kill": OOM_KILL,
}
# A condition of the unit said that there is nothing to do: that is no run.
NOT_RUN = "exec-condition"
# systemd ends with one of these when it cannot execute the command: 203 when there is none.
START_STATUSES = range(200, 244)
# For results without a status of their own, what a shell would say.
SUBSTITUTES = {TIMEOUT: TIMED_OUT, OOM_KILL: SIGNALLED + signal.SIGKILL, START_FAILED: 126}
# Seconds; systemctl needs milliseconds.
SYSTEMCTL_LIMIT = 5


def started() -> dict[str, Any]:
    """Return what `ended` wants to know of the beginning of a run."""
    return {
        "started": time.time(),
        # What this reporter cost is not the job's; systemd counts both.
        "own_cpu_seconds": time.process_time(),
        "oom_kills": accounting.oom_kills(),
    }


def ended(
    environment: Mapping[str, str],
    start: Mapping[str, Any],
    show: Callable[[str], Mapping[str, str]] | None = None,
) -> Outcome | None:
    """Return the outcome of the unit's run, or None when there was none.

    `start` is what `started` returned, `show` gives the properties of a unit. Raises ValueError
    without systemd's variables.
    """
    service_result = environment.get("SERVICE_RESULT")
    if service_result is None:
        raise ValueError("SERVICE_RESULT is not set: `finish` is for ExecStopPost= of a unit")
    if service_result == NOT_RUN:
        return None
    code = exit_code(environment.get("EXIT_STATUS", ""))
    result = RESULTS.get(service_result, START_FAILED)
    if result == SUCCESS and environment.get("EXIT_CODE") != "exited":
        # Stopped before its command was started, or by a signal that systemd takes as clean.
        result = SIGNAL if environment.get("EXIT_CODE") else START_FAILED
    if result == EXIT_CODE and (code is None or code in START_STATUSES):
        result = START_FAILED
    is_killed = code == SIGNALLED + signal.SIGKILL
    if result == SIGNAL and is_killed and accounting.oom_kills() > start.get("oom_kills", 0):
        result = OOM_KILL

    now = time.time()
    shown = (show or properties)(accounting.unit())
    began = _moment(shown.get("ExecMainStartTimestampMonotonic")) or start.get("started", now)
    end = _moment(shown.get("ExecMainExitTimestampMonotonic")) or now
    cpu = None
    if shown.get("CPUUsageNSec", "").isdigit():
        own = float(start.get("own_cpu_seconds", 0)) + time.process_time()
        cpu = max(0.0, int(shown["CPUUsageNSec"]) / 1e9 - own)
    return Outcome(
        began,
        max(began, end),
        max(0.0, end - began),
        result,
        # A status that the unit declares a success, such as rsync's 24, counts as one.
        0 if result == SUCCESS else code or SUBSTITUTES.get(result, 1),
        cpu,
        accounting.max_memory_bytes(),
    )


def _moment(microseconds: str | None) -> float | None:
    """Return the Unix time of systemd's monotonic one, where 0 is never."""
    if not microseconds or not microseconds.isdigit() or int(microseconds) == 0:
        return None
    return time.time() - time.monotonic() + int(microseconds) / 1e6


def exit_code(status: str) -> int | None:
    """Return a shell's number for `EXIT_STATUS`, which holds a number or a signal's name."""
    if status.isdigit():
        return int(status)
    # Signals of real time are named by their distance to the first or the last one.
    found = re.fullmatch(r"([A-Z0-9]+?)([+-][0-9]+)?", status)
    number = getattr(signal, f"SIG{found[1]}", None) if found else None
    if found is None or number is None:
        return None
    return SIGNALLED + int(number) + int(found[2] or 0)


def properties(unit: str) -> dict[str, str]:
    """Return the properties of a unit that `ended` needs; none when systemd does not answer."""
    names = "ExecMainStartTimestampMonotonic,ExecMainExitTimestampMonotonic,CPUUsageNSec"
    if not unit:
        return {}
    try:
        done = subprocess.run(
            ["systemctl", "show", f"--property={names}", "--", unit],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
            timeout=SYSTEMCTL_LIMIT,
            check=False,
            env={"LC_ALL": "C", "PATH": os.defpath},
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    pairs = (line.partition("=") for line in done.stdout.splitlines())
    return {name: value for name, _, value in pairs}
