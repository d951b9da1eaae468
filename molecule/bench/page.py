"""What the page takes for many jobs: from the request to the first row, and while somebody filters.

Its Prometheus holds a month of states and the latest values of each job.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from playwright.sync_api import Page

from lab.console import step
from preview import browsing, week
from preview.jobs import NOW
from programs import prometheus

AIM_SECONDS = 2
HOUR, DAY = 3600, 86400
JOBS = 10_000
ROUNDS = 5
TYPED = "job-0777"
# When the first row is there, and how long the page could not answer, in milliseconds.
WATCH = """
new MutationObserver(() => {
  if (document.querySelector(".row")) window.painted ??= performance.now();
}).observe(document, { childList: true, subtree: true });
window.longest = 0;
new PerformanceObserver((list) => {
  for (const { duration } of list.getEntries()) window.longest = Math.max(window.longest, duration);
}).observe({ type: "longtask", buffered: true });
"""


def samples() -> Iterator[str]:
    """Yield what Prometheus knows, as lines of OpenMetrics."""
    for number in range(JOBS):
        job = f'{{job="job-{number:05}",instance="host-{number % 50}"}}'
        state = 9 if number % 100 == 0 else 0
        for age in range(30 * DAY, -1, -6 * HOUR):
            yield f"batch_job:state{job} {state} {NOW - age}\n"
        latest = {
            "contact": 1,
            "last_success_timestamp_seconds": NOW - number,
            "deadline_timestamp_seconds": NOW + number,
            "last_duration_seconds": 10 + number % 1000,
            "backup_size_bytes": number * 1e6,
        }
        for name, value in latest.items():
            yield f"batch_job:{name}{job} {value} {NOW}\n"
    yield "# EOF\n"


def open_and_filter(page: Page, url: str) -> tuple[float, float, float]:
    """Return seconds until the first row, and the longest freezes of loading and of typing."""
    page.add_init_script(WATCH)
    page.goto(browsing.address(url))
    page.locator(".row title").first.wait_for(state="attached")
    painted = float(page.evaluate("window.painted"))
    loading = float(page.evaluate("window.longest"))
    page.evaluate("window.longest = 0")
    page.get_by_label("Find").press_sequentially(TYPED)
    page.wait_for_timeout(1000)
    return painted / 1000, loading / 1000, float(page.evaluate("window.longest")) / 1000


def measure() -> str:
    """Return medians of several visits, each with an empty cache."""
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        with step(f"A month of {JOBS:,} jobs"):
            week.make(directory / "data", samples())
        assets = directory / "assets"
        assets.mkdir()
        browsing.install(assets)
        (directory / "prometheus.yml").write_text("{}")
        flags = ["--storage.tsdb.retention.time=100y", f"--web.user-assets={assets}"]
        visits = []
        with (
            step(f"{ROUNDS} visits"),
            prometheus(directory, *flags) as server,
            browsing.chromium() as chromium,
        ):
            for _ in range(ROUNDS):
                page = browsing.open_page(chromium)
                visits.append(open_and_filter(page, f"{server.url}/user/"))
                page.context.close()
    painted, loading, typing = (median(each) for each in zip(*visits, strict=True))
    return (
        f"medians of {ROUNDS} visits to the page with {JOBS:,} jobs\n\n"
        f"first row                 {painted:5.2f} s\n"
        f"aim                       {AIM_SECONDS:5.2f} s\n"
        f"longest freeze, loading   {loading:5.2f} s\n"
        f"longest freeze, typing    {typing:5.2f} s\n"
    )
