"""Exit statuses of `batch-job`: `run` exits with its command's, the other verbs with their own."""

from __future__ import annotations

import os
import re
import resource
import signal

# As in sysexits.h.
USAGE = 64
BAD_DATA = 65
SOFTWARE = 70
LATER = 75
NO_PERMISSION = 77
CONFIG = 78
# As timeout(1) has it.
TIMED_OUT = 124
# As a shell has them: the command cannot be started, or signal N ended it (128+N).
NOT_EXECUTABLE = 126
NOT_FOUND = 127
SIGNALLED = 128


class MisuseError(Exception):
    """An argument or a configuration makes no sense; `status` is the exit status."""

    status = USAGE


def exit_codes(text: str) -> frozenset[int]:
    """Return the exit codes of a text such as `3, 100-107`. Raises ValueError.

    They are 1 to 199: systemd has a meaning of its own for those from 200 on.
    """
    codes: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*([0-9]{1,3})(?:\s*-\s*([0-9]{1,3}))?\s*", part, re.ASCII)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not 1 <= first <= last <= 199:
            raise ValueError(
                f"{part.strip()!r} is neither an exit code nor a range of them, 1 to 199"
            )
        codes.update(range(first, last + 1))
    return frozenset(codes)


def count(text: str) -> int:
    """Return a number of times, 0 to 99. Raises ValueError."""
    if not re.fullmatch(r"[0-9]{1,2}", text, re.ASCII):
        raise ValueError(f"{text!r} is not a number from 0 to 99")
    return int(text)


def of_command(wait_status: int, timed_out: bool) -> int:
    """Return the exit status for a command that has ended; never 0 for one that timed out."""
    if os.WIFSIGNALED(wait_status):
        return SIGNALLED + os.WTERMSIG(wait_status)
    return os.WEXITSTATUS(wait_status) or (TIMED_OUT if timed_out else 0)


def end_as(status: int, ended_by: int | None) -> int:
    """Return the exit status, or end this process by the signal that ended the command."""
    if ended_by:
        # No second core dump beside the command's own.
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if ended_by != signal.SIGKILL:
            signal.signal(ended_by, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {ended_by})
        os.kill(os.getpid(), ended_by)
    return status
