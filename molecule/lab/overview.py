"""What Prometheus, Alertmanager and the webhook receiver of a demo tell of its jobs."""

from __future__ import annotations

import time
from typing import Any

import requests

from batch_job.values import aligned, spoken
from dashboards.states import STATES

HEAD = ("JOB", "HOST", "STATE", "LAST SUCCESS", "ALERT")
# Of several, the one that says most.
IMPORTANT = ("BatchJobFailed", "BatchJobStuck", "BatchJobMissed")

# What it asks is on this machine, where no proxy leads.
_session = requests.Session()
_session.trust_env = False


def pages(has_pages: bool) -> dict[str, str]:
    """Return what of each service to look at; Debian's builds of two come without their pages."""
    if has_pages:
        return {"prometheus": "/alerts", "pushgateway": "", "alertmanager": ""}
    return {"prometheus": "/api/v1/alerts", "pushgateway": "", "alertmanager": "/api/v2/alerts"}


def query(prometheus: str, expression: str) -> list[tuple[dict[str, str], float]]:
    """Return labels and value of each series of an instant query to the Prometheus at a URL."""
    answer = _session.get(
        f"{prometheus}/api/v1/query", params={"query": expression}, timeout=10
    ).json()
    return [(each["metric"], float(each["value"][1])) for each in answer["data"]["result"]]


def firing(prometheus: str) -> set[tuple[str, str]]:
    """Return alert name and job of everything that fires, but for the watchdog."""
    found = query(prometheus, 'ALERTS{alertstate="firing", alertname!="Watchdog"}')
    return {(labels["alertname"], labels.get("job", "")) for labels, _ in found}


def table(prometheus: str) -> str:
    """Return a line for each job, the fine ones first."""
    successes = {
        (labels["job"], labels.get("instance")): value
        for labels, value in query(prometheus, "batch_job:last_success_timestamp_seconds")
    }
    problems = firing(prometheus)
    rows = []
    for labels, state in sorted(query(prometheus, "batch_job:state"), key=lambda found: found[1]):
        job, instance = labels["job"], labels.get("instance")
        success = successes.get((job, instance))
        ago = f"{spoken(time.time() - success)} ago" if success else "never"
        names = sorted(name for name, each in problems if each == job)
        names.sort(key=lambda name: name not in IMPORTANT)
        rows.append((job, instance or "-", STATES[int(state)].name, ago, " ".join(names[:1])))
    return "\n".join(aligned([HEAD, *rows]))


def alerts(alertmanager: str) -> list[dict[str, Any]]:
    """Return the alerts that the Alertmanager at a URL holds as active, but for the watchdog."""
    found = _session.get(f"{alertmanager}/api/v2/alerts", timeout=10).json()
    return [
        alert
        for alert in found
        if alert["status"]["state"] == "active" and alert["labels"]["alertname"] != "Watchdog"
    ]


def notifications(webhook: str) -> list[tuple[dict[str, Any], str]]:
    """Return each alert that the receiver was told fires, the newest first, and to whom."""
    return [
        (alert, str(message["receiver"]))
        for message in reversed(_session.get(webhook, timeout=10).json())
        for alert in message["alerts"]
        if alert["status"] == "firing"
    ]
