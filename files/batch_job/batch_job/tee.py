"""Copies what a command writes to its standard error to our own, and keeps the end of it."""

from __future__ import annotations

import errno
import os
import select
import threading

# A pipe holds as much by default: a read of this size takes all that is there.
CAPACITY_BYTES = 1 << 16
MAX_KEPT_BYTES = 1 << 16


class Tee:
    """A pipe for the standard error of commands, and a thread that empties it.

    What a command writes comes out unchanged. A process that it leaves behind has no reader then.
    """

    def __init__(self) -> None:
        """Start. Raises RuntimeError where no thread can be started, OSError without pipes."""
        self._kept = b""
        self._output, self.descriptor = os.pipe()
        self._over, self._end = os.pipe()
        self._thread = threading.Thread(target=self._copy, daemon=True)
        self._thread.start()

    def finish(self) -> str:
        """Copy what is left, without waiting for processes in the background; return the end."""
        os.close(self.descriptor)
        os.close(self._end)
        self._thread.join()
        os.close(self._over)
        return self._kept.decode("utf-8", "replace")

    def _copy(self) -> None:
        is_over = is_broken = False
        while not (is_over or is_broken):
            ready, _, _ = select.select([self._output, self._over], [], [])
            is_over = self._over in ready
            if self._output in ready:
                chunk = os.read(self._output, CAPACITY_BYTES)
                self._kept = (self._kept + chunk)[-MAX_KEPT_BYTES:]
                is_broken = not chunk or not _is_written(chunk)
        # Without a reader of our own, the command gets the SIGPIPE that it would get from there.
        os.close(self._output)


def _is_written(chunk: bytes) -> bool:
    """Write to our standard error; return False once nobody reads it."""
    while chunk:
        try:
            chunk = chunk[os.write(2, chunk) :]
        except BlockingIOError:
            select.select([], [2], [])
        except OSError as error:
            # A full disk takes nothing of this, and perhaps the next.
            return error.errno != errno.EPIPE
    return True
