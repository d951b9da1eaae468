"""One Chromium and one Prometheus, which serves the page and the made-up week, for all tests."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, Page

from clients import eventually
from preview import browsing, week
from programs import Pushgateway, find, free_port, prometheus, stop


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


# One path with all that the page asks, one without the API, and one with the header that the data
# source proxy of Grafana adds to each answer (since 8.3.5, CVE-2022-21702).
NGINX = """
daemon off;
pid nginx.pid;
error_log stderr;
events {{}}
http {{
  client_body_temp_path bodies; proxy_temp_path proxied;
  fastcgi_temp_path unused; uwsgi_temp_path unused; scgi_temp_path unused;
  access_log off;
  server {{
    listen 127.0.0.1:{port};
    location /jobs/user/ {{ proxy_pass {prometheus}/user/; }}
    location /jobs/api/v1/ {{ proxy_pass {prometheus}/api/v1/; }}
    location /half/user/ {{ proxy_pass {prometheus}/user/; }}
    location /sandbox/ {{ proxy_pass {prometheus}/; add_header Content-Security-Policy sandbox; }}
  }}
}}
"""


@pytest.fixture
def proxy(tmp_path: Path, url: str) -> Iterator[str]:
    """Run nginx in front of Prometheus; return its address."""
    port = free_port()
    text = NGINX.format(port=port, prometheus=url.removesuffix("/user/"))
    # Beside root, nginx gives its workers to another user.
    (tmp_path / "nginx.conf").write_text(f"user root;\n{text}" if os.geteuid() == 0 else text)
    command = [str(find("nginx")), "-e", "stderr", "-p", f"{tmp_path}/", "-c", "nginx.conf"]
    process = subprocess.Popen(command)
    address = f"http://127.0.0.1:{port}"
    eventually(lambda: requests.get(f"{address}/jobs/user/", timeout=5).ok)
    yield address
    stop(process)


@pytest.fixture
def live(
    tmp_path: Path, pushgateway: Pushgateway, tls_and_password: dict[str, Any], chromium: Browser
) -> Iterator[Page]:
    """Return the page on a Prometheus that scrapes the gateway and evaluates the rules.

    It is below a path, and behind TLS and a password.
    """
    target = pushgateway.url.removeprefix("http://")
    scraped = {
        "job_name": "pushgateway",
        "honor_labels": True,
        "static_configs": [{"targets": [target], "labels": {"pushgateway": "push"}}],
    }
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": list(map(str, week.RULES)),
        "scrape_configs": [scraped],
    }
    # JSON is YAML.
    (tmp_path / "prometheus.yml").write_text(json.dumps(config))
    assets = tmp_path / "assets"
    assets.mkdir()
    browsing.install(assets)
    username, password = tls_and_password["auth"]
    access = {"prefix": "/metrics/of/ours", **tls_and_password}
    with prometheus(tmp_path, f"--web.user-assets={assets}", **access) as server:
        context = chromium.new_context(
            base_url=f"{server.url}/user/",
            http_credentials={"username": username, "password": password},
            ignore_https_errors=True,
        )
        yield context.new_page()
        context.close()
