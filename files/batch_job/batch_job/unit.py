"""Reads the outcome of a run under systemd, in `ExecStopPost=` of its unit.

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
from batch_job.exit_status import NOT_EXECUTABLE, SIGNALLED, TIMED_OUT
from batch_job.outcome import (
    EXIT_CODE,
    OOM_KILL,
    SIGNAL,
    START_FAILED,
    SUCCESS,
    TIMEOUT,
    WARNING,
    Outcome,
)

SERVICE_RESULTS = {
    "success": SUCCESS,
    "exit-code": EXIT_CODE,
    "signal": SIGNAL,
    "core-dump": SIGNAL,
    "timeout": TIMEOUT,
    "watchdog": TIMEOUT,
    "oom-kill": OOM_KILL,
}
# A condition of the unit left the run out.
NOT_RUN = "exec-condition"
# systemd's exit statuses when it cannot execute the command, such as 203 when it is missing.
START_STATUSES = range(200, 244)
# Exit codes of a shell for results that have none.
SUBSTITUTES = {
    TIMEOUT: TIMED_OUT,
    OOM_KILL: SIGNALLED + signal.SIGKILL,
    START_FAILED: NOT_EXECUTABLE,
}
# systemctl needs milliseconds; the reports need the rest of the time that a unit waits.
SYSTEMCTL_TIMEOUT_SECONDS = 1.5


def started() -> dict[str, Any]:
    """Return what `ended` needs from the start of a run."""
    return {
        "started": time.time(),
        # systemd counts the reporter's own cost as the job's.
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
    result = SERVICE_RESULTS.get(service_result, START_FAILED)
    if result == SUCCESS and environment.get("EXIT_CODE") != "exited":
        # Stopped before its command was started, or by a signal that systemd takes as clean.
        result = SIGNAL if environment.get("EXIT_CODE") else START_FAILED
    elif result == SUCCESS and code:
        # A status that the unit declares a success, such as rsync's 24.
        result = WARNING
    if result == EXIT_CODE and (code is None or code in START_STATUSES):
        result = START_FAILED
    is_killed = code == SIGNALLED + signal.SIGKILL
    if result == SIGNAL and is_killed and accounting.oom_kills() > start.get("oom_kills", 0):
        result = OOM_KILL

    now = time.time()
    unit = (show or properties)(accounting.unit())
    began = _moment(unit.get("ExecMainStartTimestampMonotonic")) or start.get("started", now)
    end = _moment(unit.get("ExecMainExitTimestampMonotonic")) or now
    cpu = None
    if unit.get("CPUUsageNSec", "").isdigit():
        own = float(start.get("own_cpu_seconds", 0)) + time.process_time()
        cpu = max(0.0, int(unit["CPUUsageNSec"]) / 1e9 - own)
    return Outcome(
        min(began, end),
        end,
        max(0.0, end - began),
        result,
        0 if result == SUCCESS else code or SUBSTITUTES.get(result, 1),
        cpu,
        accounting.max_memory_bytes(),
    )


def failed(
    environment: Mapping[str, str], show: Callable[[str], Mapping[str, str]] | None = None
) -> Outcome | None:
    """Return the outcome of a unit's run, in a unit that `OnFailure=` of it names.

    None when the unit's own `ExecStopPost=` has reported the run, or when another one has begun.
    Raises ValueError without systemd's variables.
    """
    prefix = "MONITOR_"
    variables = {
        name.removeprefix(prefix): text
        for name, text in environment.items()
        if name.startswith(prefix)
    }
    unit: Mapping[str, str] = {}
    if variables.get("SERVICE_RESULT") == "success":
        # Another unit that it requires has failed, so it was not started at all.
        variables = {"SERVICE_RESULT": "dependency"}
    else:
        unit = (show or properties)(variables.get("UNIT", ""))
        invocation = variables.get("INVOCATION_ID")
        is_latest = unit.get("InvocationID", invocation) == invocation
        # Without a working directory or a user, systemd starts neither command nor reporter.
        is_reported = "code=exited ; status=0 " in unit.get("ExecStopPost", "")
        if is_reported or not is_latest:
            return None
    outcome = ended(variables, {}, lambda _name: unit)
    # This process's control group has counted another unit's.
    return outcome and outcome._replace(cpu_seconds=None, max_rss_bytes=None)


def _moment(microseconds: str | None) -> float | None:
    """Return the Unix time of a moment on systemd's monotonic clock; 0 means never."""
    if not microseconds or not microseconds.isdigit() or int(microseconds) == 0:
        return None
    return time.time() - time.monotonic() + int(microseconds) / 1e6


def exit_code(status: str) -> int | None:
    """Return a shell's exit code for `EXIT_STATUS`, which is a number or the name of a signal."""
    if status.isdigit():
        return int(status)
    # Real-time signals are named by their distance from the first or the last one.
    match = re.fullmatch(r"([A-Z0-9]+?)([+-][0-9]+)?", status)
    number = getattr(signal, f"SIG{match[1]}", None) if match else None
    if match is None or number is None:
        return None
    return SIGNALLED + int(number) + int(match[2] or 0)


def properties(unit: str) -> dict[str, str]:
    """Return the properties of a unit that `ended` needs; empty when systemd does not answer."""
    names = (
        "ExecMainStartTimestampMonotonic,ExecMainExitTimestampMonotonic,CPUUsageNSec,"
        "InvocationID,ExecStopPost"
    )
    if not unit:
        return {}
    try:
        done = subprocess.run(
            ["systemctl", "show", f"--property={names}", "--", unit],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
            timeout=SYSTEMCTL_TIMEOUT_SECONDS,
            check=False,
            env={"LC_ALL": "C", "PATH": os.defpath},
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    pairs = (line.partition("=") for line in done.stdout.splitlines())
    return {name: value for name, _, value in pairs}
