"""Counts the bytes of a backup that a job has made."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path


def backup_size(path: Path, timeout_seconds: float) -> int:
    """Return the size in bytes of a file, or of all files below a directory.

    Links count as what they are, and are not followed. Raises OSError, for a directory of too many
    files as well.
    """
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        # The path itself may be a link to the latest backup.
        status = path.stat()
    if not stat.S_ISDIR(status.st_mode):
        return status.st_size
    deadline = time.monotonic() + timeout_seconds
    total, folders = 0, [os.fspath(path)]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                else:
                    total += entry.stat(follow_symlinks=False).st_size
        if time.monotonic() > deadline:
            raise TimeoutError(f"its files could not be counted within {timeout_seconds:g} s")
    return total
