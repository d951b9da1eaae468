"""Runs a command transparently: its streams, its signals, its exit status."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import signal
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from batch_job import accounting, exit_status
from batch_job.log import log_error
from batch_job.outcome import (
    EXIT_CODE,
    OOM_KILL,
    SIGNAL,
    START_FAILED,
    SUCCESS,
    TIMEOUT,
    Outcome,
)

FORWARDED = {
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
}
# Between SIGTERM and SIGKILL to a command that runs too long.
KILL_AFTER_SECONDS = 10.0
SHELL = "/bin/sh"


class Run(NamedTuple):
    """A run that has ended, and the signal that ended it, if any."""

    outcome: Outcome
    ended_by: int | None = None


def run(
    argv: list[str],
    environment: Mapping[str, str],
    max_runtime: float | None,
    when_started: Callable[[float], None],
) -> Run:
    """Run a command to its end; call `when_started` with the time of its start meanwhile.

    INT, TERM, HUP, QUIT, USR1 and USR2 are passed on. A command that runs longer than
    `max_runtime` seconds gets TERM, and KILL ten seconds later, together with what it started.
    """
    watched = FORWARDED | {signal.SIGCHLD}
    # Blocked before the command starts and taken one by one below, so none is lost or doubled.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # A process group lets us end what the command started, but would cost it its terminal.
    own_group = max_runtime is not None and not any(map(os.isatty, (0, 1, 2)))
    group: dict[str, Any] = {"setpgroup": 0} if own_group else {}
    moment, clock = time.time(), time.monotonic()
    kills_before = accounting.oom_kills()
    try:
        pid = _spawn(
            argv,
            environment,
            setsigmask=before,
            # Python ignores these two; the command must not inherit that.
            setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
            **group,
        )
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        log_error(f"{argv[0] or repr(argv[0])}: {error.strerror}")
        _call(when_started, moment)
        code = exit_status.NOT_FOUND if missing else exit_status.NOT_EXECUTABLE
        return Run(Outcome(moment, moment, 0.0, START_FAILED, code))
    _call(when_started, moment)
    status, usage, timed_out = _wait(pid, watched, clock, max_runtime, own_group)
    duration, ended = time.monotonic() - clock, time.time()
    # If the clock was set meanwhile, it is right now: deadlines and alerts compare with it.
    started = ended - duration

    ended_by = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
    code = exit_status.of_command(status, timed_out)
    if timed_out:
        result = TIMEOUT
    elif ended_by == signal.SIGKILL and accounting.oom_kills() > kills_before:
        result = OOM_KILL
    elif ended_by:
        result = SIGNAL
    else:
        result = EXIT_CODE if code else SUCCESS
    cpu = usage.ru_utime + usage.ru_stime
    # The kernel counts kibibytes.
    outcome = Outcome(started, ended, duration, result, code, cpu, usage.ru_maxrss * 1024)
    return Run(outcome, ended_by)


def _spawn(argv: list[str], environment: Mapping[str, str], **options: Any) -> int:
    """Start a command and return its process; a script without `#!` as a shell does.

    Raises OSError.
    """
    if not argv[0]:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    try:
        return os.posix_spawnp(argv[0], argv, environment, **options)
    except OSError as error:
        path = _script(argv[0]) if error.errno == errno.ENOEXEC else None
        if path is None:
            raise
        return os.posix_spawn(SHELL, [SHELL, path, *argv[1:]], environment, **options)


def _script(name: str) -> str | None:
    """Return the path of a command that may be a shell script, or None for a binary file."""
    import shutil

    path = shutil.which(name)
    if path is None:
        return None
    with open(path, "rb") as file:
        return None if b"\0" in file.read(128) else path


def _call(when_started: Callable[[float], None], started: float) -> None:
    """Call a function; whatever fails there, the command goes on and is waited for."""
    try:
        when_started(started)
    except Exception as error:
        log_error(f"{type(error).__name__}: {error}")


def _wait(
    pid: int,
    watched: set[signal.Signals],
    clock: float,
    max_runtime: float | None,
    own_group: bool,
) -> tuple[int, resource.struct_rusage, bool]:
    """Pass signals on until the command ends; return status, usage, and whether it timed out."""
    send = os.killpg if own_group else os.kill
    limit = None if max_runtime is None else clock + max_runtime
    timed_out = False
    while True:
        info: signal.struct_siginfo | None
        if limit is None:
            info = signal.sigwaitinfo(watched)
        else:
            info = signal.sigtimedwait(watched, max(0.0, limit - time.monotonic()))
        if info is None:
            _signal(send, pid, signal.SIGKILL if timed_out else signal.SIGTERM)
            timed_out = True
            limit = time.monotonic() + KILL_AFTER_SECONDS
        elif info.si_signo != signal.SIGCHLD:
            # A terminal also signals the command, unless that has its own process group.
            if own_group or info.si_code <= 0:
                _signal(os.kill, pid, info.si_signo)
        else:
            ended, status, usage = os.wait4(pid, os.WNOHANG)
            if ended:
                if timed_out and own_group:
                    # Processes that it left behind.
                    _signal(os.killpg, pid, signal.SIGKILL)
                return status, usage, timed_out


def _signal(send: Callable[[int, int], None], target: int, number: int) -> None:
    """Send a signal; ignore a process that has ended or belongs to another user."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        send(target, number)
