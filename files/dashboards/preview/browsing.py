"""The page of `files/page` in Chromium, on a Prometheus that holds the made-up week."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

from playwright.sync_api import Browser, Page, sync_playwright

from dashboards.__main__ import PAGE
from lab import REPOSITORY, browser
from preview import week
from preview.jobs import NOW

SERVED = ("*.html", "*.css", "*.js", "*.svg")
WIDE, PHONE = (1280, 860), (360, 740)


def install(assets: Path) -> None:
    """Put the page and its runbooks where Prometheus serves them."""
    for pattern in SERVED:
        for path in PAGE.glob(pattern):
            (assets / path.name).symlink_to(path)
    (assets / "runbooks").symlink_to(REPOSITORY / "files/runbooks")


@contextmanager
def serving() -> Iterator[str]:
    """Serve the page and the made-up week; yield the page's address."""
    with tempfile.TemporaryDirectory() as assets:
        install(Path(assets))
        with week.serving(f"--web.user-assets={assets}") as server:
            yield f"{server.url}/user/"


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run Chromium. Raises LabError if there is none."""
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=browser.ensure(), args=["--no-sandbox"]
        )
        yield running
        running.close()


def open_page(running: Browser, size: tuple[int, int] = WIDE, scheme: str = "light") -> Page:
    """Open a window of a reader in Berlin."""
    width, height = size
    context = running.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if scheme == "dark" else "light",
        timezone_id="Europe/Berlin",
    )
    return context.new_page()


def address(url: str, **fields: str) -> str:
    """Return the address of the page at the end of the week."""
    return f"{url}#{urlencode({'at': f'{NOW:.0f}', **fields})}"
