"""A Prometheus that scrapes what it serves itself, and remembers more than it has scraped."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from clients import Prometheus, eventually
from lab.console import run
from programs import find, free_port, prometheus

# The values of a job in templates.
Job = dict[str, Any]

HOUR, DAY = 3600, 86400
# The role's default between scrapes and between evaluations, in seconds.
INTERVAL = 15
# Prometheus takes samples of its last hour into memory.
HEAD = HOUR - 120
# The labels that the role gives a gateway's target.
GATEWAY = {"app": "pushgateway", "pushgateway": "monitor"}


@contextmanager
def watching(directory: Path, interval: int, **pages: str) -> Iterator[Prometheus]:
    """Run Prometheus on pages of metrics and the rules in a directory."""
    port = free_port()
    (directory / "assets").mkdir(exist_ok=True)
    scrapes = []
    for name, text in pages.items():
        (directory / "assets" / name).write_text(text)
        labels = GATEWAY if name == "pushgateway" else {}
        scrapes.append(
            {
                "job_name": name,
                "honor_labels": True,
                "metrics_path": f"/user/{name}",
                "fallback_scrape_protocol": "PrometheusText0.0.4",
                "static_configs": [{"targets": [f"127.0.0.1:{port}"], "labels": labels}],
            }
        )
    names = ("scrape_interval", "scrape_timeout", "evaluation_interval")
    config = {
        "global": dict.fromkeys(names, f"{interval}s"),
        "rule_files": ["rules.yml"],
        "scrape_configs": scrapes,
    }
    (directory / "prometheus.yml").write_text(json.dumps(config))
    flags = ["--storage.tsdb.retention.time=30d", f"--web.user-assets={directory}/assets"]
    with prometheus(directory, *flags, port=port) as server:
        yield server


def has_size(job: Job) -> bool:
    """Return whether a job reports the size of a backup: a third do."""
    return bool(job["number"] % 3 == 0)


def history(
    jobs: Iterable[Job], now: float, *, has_layer: bool, is_aged: bool
) -> Iterator[tuple[int, str]]:
    """Yield what Prometheus has stored of jobs: age in seconds, series and value.

    With our recording layer, no job is new; aged, there is all that rules read.
    """
    target = ",".join(f'{name}="{value}"' for name, value in GATEWAY.items())
    for job in jobs:
        group, success = job["group"], job["success"]
        if has_layer:
            yield 120, f"batch_job:last_success_timestamp_seconds{{{group}}} {success}"
            for day in range(1, 15 if is_aged else 2):
                age = day * DAY - HOUR
                yield age, f"batch_job:success_duration_seconds{{{group}}} {600 + day}"
                for sample_age in (age, age - 60) if has_size(job) else ():
                    yield sample_age, f"batch_job:backup_size_bytes:replaced{{{group}}} 1e9"
            series = f"batch_job:declared_since_timestamp_seconds:last1d{{{group}}}"
            for age in range(120, DAY, 120) if is_aged else ():
                yield age, f"{series} {now - 30 * DAY}"
        series = f"batch_job_last_success_timestamp_seconds{{{group},{target}}}"
        for age in range(INTERVAL, HEAD, INTERVAL) if is_aged else ():
            yield age, f"{series} {success}"


def remember(directory: Path, samples: Iterable[tuple[int, str]], now: float) -> None:
    """Store samples, given by age and line: the last hour in memory, the others in blocks."""
    recent, older = [], []
    for age, line in sorted(samples, reverse=True):
        if age < HEAD:
            recent.append(f"{line} {(now - age) * 1000:.0f}\n")
        else:
            older.append(f"{line} {now - age:.3f}\n")
    if older:
        (directory / "history.txt").write_text("".join([*older, "# EOF\n"]))
        # Large ones, as after compaction.
        flags = ["--max-block-duration=54h", "openmetrics"]
        promtool = [str(find("promtool")), "tsdb", "create-blocks-from", *flags]
        run([*promtool, str(directory / "history.txt"), str(directory / "data")])
    if recent:
        with watching(directory, 2, history="".join(recent)) as server:
            eventually(lambda: server.query("scrape_samples_scraped > 0"))
