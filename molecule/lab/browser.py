"""A browser for tests and pictures: the one that is there; else, as root, Debian's Chromium."""

from __future__ import annotations

import shutil
from pathlib import Path

from lab import engine
from lab.console import step

NAMES = ("chromium", "chromium-browser", "google-chrome")


def ensure() -> Path:
    """Return the path of a Chromium. Raises LabError if there is none and none can be installed."""
    path = installed()
    if path is None:
        with step("Installing Chromium"):
            engine.install("chromium")
        path = installed()
    return path or Path(NAMES[0])


def installed() -> Path | None:
    """Return the path of a Chromium that is there already."""
    paths = map(shutil.which, NAMES)
    return next((Path(path) for path in paths if path), None)
