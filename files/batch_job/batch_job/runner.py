"""Runs a command transparently: its streams, its signals, its exit status."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import resource
import signal
import time
from collections.abc import Callable, Container, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

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

if TYPE_CHECKING:
    from batch_job.tee import Tee

FORWARDED = {
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
}
# Those that ask a command to end.
ENDING = FORWARDED - {signal.SIGUSR1, signal.SIGUSR2}
# Between SIGTERM and SIGKILL to a command that runs too long.
KILL_AFTER_SECONDS = 10.0
SHELL = "/bin/sh"


class Limits(NamedTuple):
    """What a run may take: with all its tries, so many seconds."""

    max_runtime: float | None = None
    # How often a command that fails is started again, and after how many seconds.
    retries: int = 0
    retry_delay: float = 0
    # With these, it does not fail.
    warning_exit_codes: Container[int] = ()
    # How many lines of a failure are reported; 0 leaves the command its own standard error.
    report_output: int = 0


class Run(NamedTuple):
    """A run that has ended, and the signal that ended it, if any."""

    outcome: Outcome
    ended_by: int | None = None
    # Somebody asked it to end.
    is_stopped: bool = False
    # The end of its standard error, if that was asked for.
    errors: str | None = None


def run(
    argv: list[str],
    environment: Mapping[str, str],
    limits: Limits,
    when_started: Callable[[float], None],
) -> Run:
    """Run a command to its end; call `when_started` with the time of its start meanwhile.

    INT, TERM, HUP, QUIT, USR1 and USR2 are passed on. A command that runs longer than its limit
    gets TERM, and KILL ten seconds later, together with what it started. One that fails is started
    again if the limits say so, unless it got a signal to end; its last try is the outcome.
    Its standard error is ours, unless the limits ask for its last lines.
    """
    watched = FORWARDED | {signal.SIGCHLD}
    # Blocked before the command starts and taken one by one below, so none is lost or doubled.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    tee = _tee() if limits.report_output else None
    options = {"file_actions": [(os.POSIX_SPAWN_DUP2, tee.descriptor, 2)]} if tee else {}
    done = _tries(argv, environment, limits, when_started, {"setsigmask": before, **options})
    return done._replace(errors=tee.finish()) if tee else done


def _tee() -> Tee | None:
    """Return a copy of the standard error; None where there is neither thread nor pipe for it."""
    from batch_job.tee import Tee

    try:
        return Tee()
    except (OSError, RuntimeError) as error:
        log_error(f"the command's last lines will not be reported: {error}")
        return None


def _tries(
    argv: list[str],
    environment: Mapping[str, str],
    limits: Limits,
    when_started: Callable[[float], None],
    options: Mapping[str, Any],
) -> Run:
    """Start a command, with options of `os.posix_spawn`, until a limit or a success."""
    clock = time.monotonic()
    end = math.inf if limits.max_runtime is None else clock + limits.max_runtime
    done = _try(argv, environment, options, end, when_started)
    retries = 0
    while retries < limits.retries and not _is_final(done, limits):
        if time.monotonic() + limits.retry_delay >= end:
            log_error(f"no time is left to try it again after {done.outcome.exit_code}")
            break
        retries += 1
        words = f"try {retries} of {limits.retries + 1} ended with {done.outcome.exit_code}"
        log_error(f"{words}; the next one is in {limits.retry_delay:g} s")
        # USR1 and USR2 have nobody to go to.
        if _is_told_to_end(limits.retry_delay):
            return _whole(done, clock, retries - 1)
        next_try = _try(argv, environment, options, end, lambda _started: None)
        done = next_try._replace(outcome=_sum(done.outcome, next_try.outcome))
    return _whole(done, clock, retries) if limits.retries else done


def _is_final(done: Run, limits: Limits) -> bool:
    """Return whether a try is the last one, whatever the limits allow."""
    outcome = done.outcome.judged(limits.warning_exit_codes)
    return outcome.is_success or done.is_stopped or outcome.result == TIMEOUT


def _is_told_to_end(seconds: float) -> bool:
    """Wait, and return whether a signal to end came meanwhile."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        info = signal.sigtimedwait(FORWARDED, left)
        if info is not None and info.si_signo in ENDING:
            return True
    return False


def _whole(done: Run, clock: float, retries: int) -> Run:
    """Return a run with the times of all its tries."""
    duration, ended = time.monotonic() - clock, time.time()
    outcome = done.outcome._replace(
        started=ended - duration, ended=ended, duration_seconds=duration, retries=retries
    )
    return done._replace(outcome=outcome)


def _sum(earlier: Outcome, later: Outcome) -> Outcome:
    """Return the outcome of a later try with the costs of both."""
    memory = [each.max_rss_bytes for each in (earlier, later) if each.max_rss_bytes is not None]
    cpu = [each.cpu_seconds for each in (earlier, later) if each.cpu_seconds is not None]
    return later._replace(
        cpu_seconds=sum(cpu) if cpu else None, max_rss_bytes=max(memory) if memory else None
    )


def _try(
    argv: list[str],
    environment: Mapping[str, str],
    options: Mapping[str, Any],
    end: float,
    when_started: Callable[[float], None],
) -> Run:
    """Start a command, with options of `os.posix_spawn`, and wait for it."""
    watched = FORWARDED | {signal.SIGCHLD}
    # A process group lets us end what the command started, but would cost it its terminal.
    own_group = end < math.inf and not any(map(os.isatty, (0, 1, 2)))
    group: dict[str, Any] = {"setpgroup": 0} if own_group else {}
    moment, clock = time.time(), time.monotonic()
    kills_before = accounting.oom_kills()
    try:
        pid = _spawn(
            argv,
            environment,
            **options,
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
    status, usage, timed_out, is_stopped = _wait(pid, watched, end, own_group)
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
    return Run(outcome, ended_by, is_stopped)


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
    limit: float,
    own_group: bool,
) -> tuple[int, resource.struct_rusage, bool, bool]:
    """Pass signals on until the command ends.

    Returns status, usage, whether it timed out, and whether it got a signal to end.
    """
    send = os.killpg if own_group else os.kill
    timed_out = is_stopped = False
    while True:
        info: signal.struct_siginfo | None
        if limit == math.inf:
            info = signal.sigwaitinfo(watched)
        else:
            info = signal.sigtimedwait(watched, max(0.0, limit - time.monotonic()))
        if info is None:
            _signal(send, pid, signal.SIGKILL if timed_out else signal.SIGTERM)
            timed_out = True
            limit = time.monotonic() + KILL_AFTER_SECONDS
        elif info.si_signo != signal.SIGCHLD:
            is_stopped = is_stopped or info.si_signo in ENDING
            # A terminal also signals the command, unless that has its own process group.
            if own_group or info.si_code <= 0:
                _signal(os.kill, pid, info.si_signo)
        else:
            ended, status, usage = os.wait4(pid, os.WNOHANG)
            if ended:
                if timed_out and own_group:
                    # Processes that it left behind.
                    _signal(os.killpg, pid, signal.SIGKILL)
                return status, usage, timed_out, is_stopped


def _signal(send: Callable[[int, int], None], target: int, number: int) -> None:
    """Send a signal; ignore a process that has ended or belongs to another user."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        send(target, number)
