"""Reads files that other users control, and writes files atomically."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def read(
    path: str | Path, max_bytes: int, directory: int | None = None, follow: bool = False
) -> bytes:
    """Return the beginning of a plain file, relative to an open directory if there is one.

    The reporter may be root and the file another user's: a link can lead to a device with side
    effects, or to a file of the kernel, which has no size and may block. Raises OSError for them.
    """
    try:
        link = 0 if follow else os.O_NOFOLLOW
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC | link, dir_fd=directory)
        try:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, "not a plain file")
            # Does not wait for a user who has leased the file.
            flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
            with open(os.open(f"/proc/self/fd/{handle}", flags), "rb") as file:
                return file.read(min(status.st_size, max_bytes))
        finally:
            os.close(handle)
    except OSError as error:
        raise OSError(error.errno, f"{path}: {error.strerror}") from error


def write(path: Path, content: bytes, durable: bool = True) -> None:
    """Write a file for its owner alone, atomically. Raises OSError.

    A durable file survives a crash of the host.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        flags = os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC
        with open(os.open(temporary, flags, 0o600), "wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
