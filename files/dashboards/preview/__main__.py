"""Draw the pictures of the dashboards and the page in the READMEs, from the made-up week."""

from __future__ import annotations

import sys
from subprocess import CalledProcessError

from dashboards.__main__ import DASHBOARDS, DIRECTORY, PAGE
from lab import LabError
from lab.console import fail, step
from preview import browsing, page, week
from preview.jobs import NOW

WIDTH = 1280
VARIABLES = {
    "state": ">= 0",
    "owner": ".*",
    "gateway": ".*",
    "job": "backup-home",
    "instance": "files",
}


def main() -> int:
    """Write a picture of each dashboard, and those of the page; 0 if all were written."""
    pictures = DIRECTORY / "pictures"
    pictures.mkdir(exist_ok=True)
    try:
        with (
            step("Drawing a week of jobs (the first time, a minute or two)"),
            week.serving() as server,
        ):
            for name in DASHBOARDS:
                dashboard = page.load(name)
                view = page.view_of(dashboard, server.url, NOW, week.INTERVAL, VARIABLES)
                page.picture(dashboard, view, WIDTH, (pictures / name).with_suffix(".png"))
        with step("Showing it on the page"):
            browsing.draw(PAGE / "pictures")
    except (LabError, OSError, CalledProcessError) as error:
        return fail(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
