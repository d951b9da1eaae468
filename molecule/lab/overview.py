"""What people see of a demo's jobs: the pages of its services, and a table."""

from __future__ import annotations

import time

from batch_job.durations import spoken
from batch_job.states import STATES
from batch_job.tables import aligned
from clients import Prometheus

HEAD = ("JOB", "HOST", "STATE", "LAST SUCCESS", "ALERT")
# Shown first, if there are several.
IMPORTANT = ("BatchJobFailed", "BatchJobStuck", "BatchJobMissed")


def pages(has_pages: bool) -> dict[str, str]:
    """Return the path of each service's page; Debian's builds of two come without."""
    if has_pages:
        return {"prometheus": "/alerts", "pushgateway": "", "alertmanager": ""}
    return {"prometheus": "/api/v1/alerts", "pushgateway": "", "alertmanager": "/api/v2/alerts"}


def table(prometheus: Prometheus) -> str:
    """Return a table of all jobs, the fine ones first."""
    successes = {
        (labels["job"], labels.get("instance")): value
        for labels, value in prometheus.query("batch_job:last_success_timestamp_seconds")
    }
    problems = prometheus.firing()
    rows = []
    for labels, state in sorted(prometheus.query("batch_job:state"), key=lambda series: series[1]):
        job, instance = labels["job"], labels.get("instance")
        success = successes.get((job, instance))
        ago = f"{spoken(time.time() - success)} ago" if success else "never"
        names = sorted(name for name, failing in problems if failing == job)
        names.sort(key=lambda name: name not in IMPORTANT)
        rows.append((job, instance or "-", STATES[int(state)].name, ago, " ".join(names[:1])))
    return "\n".join(aligned([HEAD, *rows]))
