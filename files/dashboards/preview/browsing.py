"""The page of `files/page` in Chromium, on a Prometheus that holds the made-up week."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

from playwright.sync_api import Browser, Page, Route, sync_playwright

from dashboards.__main__ import PAGE
from lab import REPOSITORY, browser
from preview import week
from preview.jobs import NOW

SERVED = ("*.html", "*.css", "*.js", "*.svg")
WIDE, PHONE = (1280, 800), (360, 740)
REFRESH_MILLISECONDS = 16_000


class Picture(NamedTuple):
    """A picture of the page: fields of its address, what is there once it is drawn, its look.

    A long one shows all of the page, not only a screen.
    """

    fields: dict[str, str]
    ready: str
    size: tuple[int, int] = WIDE
    scheme: str = "light"
    is_long: bool = False


JOB = {"job": "backup-mail", "host": "mail"}
PICTURES = {
    "first_look": Picture({}, ".row title"),
    "dark": Picture({}, ".row title", scheme="dark"),
    "job": Picture(JOB, ".chart", is_long=True),
    "phone": Picture({}, ".row title", PHONE),
    "phone_job": Picture(JOB, ".chart", PHONE),
}


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


def draw(target: Path) -> None:
    """Write the pictures of the page, as if the week had just ended."""
    target.mkdir(exist_ok=True)
    with serving() as url, chromium() as running:
        for name, picture in PICTURES.items():
            page = open_page(running, picture.size, picture.scheme)
            page.clock.install(time=NOW)
            page.route("**/api/v1/**", _as_if_now)
            page.goto(f"{url}#{urlencode(picture.fields)}")
            page.locator(picture.ready).first.wait_for(state="attached")
            page.screenshot(path=target / f"{name}.png", full_page=picture.is_long)
            if name == "first_look":
                page.route("**/api/v1/**", lambda route: route.abort())
                page.clock.run_for(REFRESH_MILLISECONDS)
                page.locator(".banner", has_text="cannot be reached").wait_for()
                page.screenshot(path=target / "away.png")
            page.context.close()


def _as_if_now(route: Route) -> None:
    """Ask about the end of the week, when somebody was still notified."""
    url = route.request.url
    if url.endswith("/alertmanagers"):
        notified = {"activeAlertmanagers": [{"url": "http://alerts:9093/api/v2/alerts"}]}
        route.fulfill(json={"status": "success", "data": notified})
    elif "/query?" in url:
        route.continue_(url=f"{url}&time={NOW:.0f}")
    else:
        route.continue_()
