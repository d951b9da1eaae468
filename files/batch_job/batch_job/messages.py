"""What the reporter tells people: one line on stderr for each thing that went wrong."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable

Tell = Callable[[str], None]


def print_error(message: str) -> None:
    """Tell something on stderr in one line; a closed stderr harms nobody."""
    with contextlib.suppress(OSError):
        os.write(2, f"batch-job: {' '.join(message.split())}\n".encode(errors="backslashreplace"))
