"""Reads what the reporters of other users remember, as root.

Those users control all of it: names, links, sizes and content.
"""

from __future__ import annotations

import errno
import json
import os
import pwd
import stat
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from typing import Any, NamedTuple

from batch_job import files
from batch_job.log import Log
from batch_job.names import NAME
from batch_job.outcome import RESULTS
from batch_job.output import last_lines

# Below a home, as `state.default_directory` has it without $XDG_STATE_HOME, which root cannot know.
DIRECTORY = (".local", "state", "batch-job")
MAX_USERS = 1000
MAX_FILES = 1000
MAX_FILE_BYTES = 1 << 20
MAX_OUTPUT_LINES = 99
# A home may be on a file server that does not answer.
TIMEOUT_SECONDS = 5.0
# The year 3000: after it, no time is one that a reporter wrote.
MAX_TIME_SECONDS = 32503680000


class UserJob(NamedTuple):
    """A job that another user's reporter remembers, and how many of its reports are kept."""

    user: str
    job: str
    memory: dict[str, Any]
    waiting: int


def jobs(
    users: Sequence[pwd.struct_passwd], log: Log, timeout_seconds: float = TIMEOUT_SECONDS
) -> list[UserJob]:
    """Return the jobs of users other than root; log what cannot be read."""
    users = [user for user in users if user.pw_uid != 0]
    found: list[UserJob] = []
    messages: list[str] = []

    def search() -> None:
        for user in users[:MAX_USERS]:
            found.extend(_jobs_of(user, messages.append))

    thread = threading.Thread(target=search, daemon=True)
    thread.start()
    thread.join(timeout_seconds)
    if thread.is_alive():
        messages.append(f"reading the homes of other users took more than {timeout_seconds:g} s")
    if len(users) > MAX_USERS:
        messages.append(f"of {len(users)} users, the first {MAX_USERS} were searched for jobs")
    for message in list(messages):
        log(message)
    return sorted(found, key=lambda job: job[:2])


def _jobs_of(user: pwd.struct_passwd, log: Log) -> list[UserJob]:
    """Return the jobs of one user; log what cannot be read."""
    memories: dict[str, dict[str, Any]] = {}
    waiting: Counter[str] = Counter()
    try:
        with _directory(user.pw_dir, DIRECTORY) as directory:
            if os.fstat(directory).st_uid != user.pw_uid:
                return []
            for name, content in _contents(directory, "jobs"):
                memories[name] = _checked(content)
            for _name, content in _contents(directory, "spool"):
                waiting[str(content.get("job", ""))] += 1
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        log(f"{os.path.join(user.pw_dir, *DIRECTORY)}: {error.strerror}")
    names = filter(NAME.match, {*memories, *waiting})
    return [UserJob(user.pw_name, job, memories.get(job, {}), waiting[job]) for job in names]


@contextmanager
def _directory(start: str | int, parts: Iterable[str]) -> Iterator[int]:
    """Open a directory below another one, without following links. Raises OSError."""
    flags = os.O_PATH | os.O_CLOEXEC
    handle = os.open(".", flags, dir_fd=start) if isinstance(start, int) else os.open(start, flags)
    try:
        for part in parts:
            below = os.open(part, flags | os.O_NOFOLLOW, dir_fd=handle)
            os.close(handle)
            handle = below
            if stat.S_ISLNK(os.fstat(handle).st_mode):
                raise OSError(errno.ELOOP, f"{part} is a link, which is not followed")
        yield handle
    finally:
        os.close(handle)


def _contents(directory: int, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield name and content of each file of a directory that a reporter may have written."""
    with suppress(FileNotFoundError), _directory(directory, [name]) as below:
        listed = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=below)
        try:
            with os.scandir(listed) as entries:
                names = [entry.name for entry in islice(entries, MAX_FILES)]
        finally:
            os.close(listed)
        for file in names:
            stem, suffix = os.path.splitext(file)
            # RecursionError: brackets in brackets.
            with suppress(OSError, ValueError, RecursionError):
                content = json.loads(files.read(file, MAX_FILE_BYTES, below))
                if suffix == ".json" and isinstance(content, dict):
                    yield stem, content


def _checked(memory: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a memory that a reporter may have written."""
    checked: dict[str, Any] = {}
    for name in ("started", "ended", "deadline"):
        value = memory.get(name)
        if isinstance(value, (int, float)) and 0 <= value < MAX_TIME_SECONDS:
            checked[name] = value
    result, code = memory.get("result"), memory.get("exit_code")
    if result in RESULTS and isinstance(code, int) and 0 <= code <= 255:
        checked |= {"result": result, "exit_code": code}
    if isinstance(memory.get("retries"), int) and 0 <= memory["retries"] < 100:
        checked["retries"] = memory["retries"]
    if isinstance(memory.get("output"), str):
        checked["output"] = last_lines(memory["output"], MAX_OUTPUT_LINES)
    return checked
