"""Logs for people: one line on stderr for each thing that went wrong."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable

Log = Callable[[str], None]


def log_error(message: str) -> None:
    """Write one line to stderr; ignore a closed stderr."""
    with contextlib.suppress(OSError):
        os.write(2, f"batch-job: {' '.join(message.split())}\n".encode(errors="backslashreplace"))
