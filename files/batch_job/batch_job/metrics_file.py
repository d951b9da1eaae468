"""The file that a command may write its own metrics to, named by $BATCH_JOB_METRICS."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from batch_job.log import log_error

VARIABLE = "BATCH_JOB_METRICS"
# For a command that writes to its file although there is no place for one.
NOWHERE = "/dev/null"


class MetricsFile:
    """A file that the environment names, or one in a new directory that only this user can enter.

    A file that the environment names may still have the metrics of an earlier run.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Create the directory, if one is needed."""
        named = environment.get(VARIABLE)
        self._directory = None if named else _private_directory(environment.get("TMPDIR", ""))
        self.path = named or (f"{self._directory}/metrics.prom" if self._directory else NOWHERE)
        self._before = _identity(self.path)

    def written(self) -> Path | None:
        """Return the path if the command has written to it."""
        if self.path == NOWHERE:
            return None
        if self._before and _identity(self.path) == self._before:
            log_error(f"{self.path}: it is older than this run; its metrics are not pushed")
            return None
        return Path(self.path)

    def remove(self) -> None:
        """Remove the directory with all that the command left in it."""
        if self._directory is None:
            return
        _ignore_errors(os.unlink, self.path)
        if not _ignore_errors(os.rmdir, self._directory):
            import shutil

            shutil.rmtree(self._directory, ignore_errors=True)


def _private_directory(preferred: str) -> str | None:
    """Return a new directory in which a file can be written; log that there is none."""
    for parent in (preferred, "/tmp", "/var/tmp"):  # noqa: S108
        directory = os.path.join(parent, f"batch-job-{os.getpid()}-{time.time_ns()}")
        if os.path.isabs(directory) and _ignore_errors(os.mkdir, directory, 0o700):
            if _ignore_errors(_try_to_write, f"{directory}/metrics.prom"):
                return directory
            _ignore_errors(os.rmdir, directory)
    log_error(f"there is no place for ${VARIABLE}: $TMPDIR, /tmp and /var/tmp cannot be written to")
    return None


def _try_to_write(path: str) -> None:
    """Write to a new file and remove it. Raises OSError, such as for a full disk."""
    try:
        with open(path, "xb", buffering=0) as file:
            file.write(b"#\n")
    finally:
        os.unlink(path)


def _identity(path: str) -> tuple[int, ...] | None:
    """Return what changes when a file is written to; None when there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _ignore_errors(function: Callable[..., None], *arguments: object) -> bool:
    """Call a function that may fail; return whether it did not."""
    try:
        function(*arguments)
    except OSError:
        return False
    return True
