"""Progress for people: one line a step, with the time it took."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from lab import LabError


@contextmanager
def step(title: str) -> Iterator[None]:
    """Print `title` before the block runs and its duration after it."""
    print(f"==> {title} ...", flush=True)
    started = time.monotonic()
    yield
    print(f"    done in {time.monotonic() - started:.1f} s", flush=True)


def run(argv: Sequence[str]) -> str:
    """Run a command quietly and return its output.

    Raises LabError with the end of its output when it fails or does not exist.
    """
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise LabError(f"{argv[0]} is not installed") from error
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        raise LabError(f"`{' '.join(argv)}` failed with exit status {done.returncode}:\n{tail}")
    return done.stdout


def fail(message: object) -> int:
    """Print an error for people and return the exit status for it."""
    print(f"\nERROR: {message}", file=sys.stderr)
    return 1
