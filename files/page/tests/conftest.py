"""One Chromium and one Prometheus, which serves the page and the made-up week, for all tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page

from preview import browsing


@pytest.fixture(scope="session")
def url() -> Iterator[str]:
    """Serve the page; return its address."""
    with browsing.serving() as served:
        yield served


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Run a browser."""
    with browsing.chromium() as running:
        yield running


@pytest.fixture(scope="session")
def window(chromium: Browser) -> Page:
    """Return a window that all tests share: the page stays, only its address changes."""
    return browsing.open_page(chromium)


@pytest.fixture
def show(window: Page, url: str) -> Callable[..., Page]:
    """Return a function that shows the end of the week, with these fields of the address."""

    def show(**fields: str) -> Page:
        window.goto(browsing.address(url, **fields))
        return window

    return show


@pytest.fixture
def fresh(chromium: Browser) -> Iterator[Page]:
    """Return a window of its own."""
    page = browsing.open_page(chromium)
    yield page
    page.context.close()
