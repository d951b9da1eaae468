"""The demo: roll the site out, run its backups, and show which one is missing."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import requests

from lab import REPOSITORY, LabError, nodes, releases
from lab.console import eventually, fail, step

PROMETHEUS = "http://127.0.0.1:9090"
ALERTMANAGER = "http://127.0.0.1:9093"
BACKUP = "backup-etc"
MISSING = "backup-database"


def main() -> int:
    """Run the demo; 0 when exactly the missing backup was noticed and notified."""
    started = time.monotonic()
    try:
        nodes.up(nodes.LABS["demo"])
        with step("Rolling out: ansible-playbook -i inventories/demo playbooks/site.yml"):
            play("site.yml")
        ran_after = time.time() - 1
        with step("Running the backup of /etc; the database's never runs"):
            play("demo_jobs.yml")
        webhook = nodes.url("demo", "webhook", nodes.WEBHOOK_PORT)
        with step(
            "Waiting until the missing backup is noticed and somebody is told (half a minute)"
        ):
            notification = eventually(lambda: find_notification(webhook), timeout_seconds=120)
            eventually(lambda: has_reported(BACKUP, ran_after), timeout_seconds=30)
            eventually(lambda: is_active(notification["fingerprint"]), timeout_seconds=30)
        alerts = firing()
    except (LabError, TimeoutError, requests.RequestException) as error:
        return fail(error)
    print(f"\n{table(('JOB', 'HOST', 'STATE', 'LAST SUCCESS', 'ALERT'), rows())}\n")
    since = notification["startsAt"][11:19]
    print(f"notified  {notification['receiver']}, of an alert since {since} UTC:")
    print(f"          {notification['annotations']['summary']}")
    print(f"          {notification['annotations']['description']}\n")
    # Debian's builds of these two come without their pages.
    pages = releases.source() == releases.UPSTREAM_SOURCE
    print(f"Prometheus    {PROMETHEUS}{'/alerts' if pages else '/api/v1/alerts'}")
    print("Pushgateway   http://127.0.0.1:9091")
    print(f"Alertmanager  {ALERTMANAGER}{'' if pages else '/api/v2/alerts'}")
    print(f"Notifications {webhook}\n")
    versions = (f"{name} {found[0]}" for name, found in releases.versions().items())
    print(f"Ran {', '.join(versions)} from {releases.source()}.")
    print(f"{time.monotonic() - started:.0f} s in all. `make demo-grafana` shows the jobs on")
    print("dashboards, where Grafana can be had; `make demo-down` removes everything again.")
    if alerts != {("BatchJobMissed", MISSING)}:
        return fail(f"exactly BatchJobMissed of {MISSING} should fire, but these do: {alerts}")
    return 0


def play(playbook: str) -> None:
    """Run a playbook on the demo's inventory, in full view."""
    command = ["ansible-playbook", "-i", "inventories/demo", f"playbooks/{playbook}"]
    done = subprocess.run(
        [os.path.join(os.path.dirname(sys.executable), command[0]), *command[1:]],
        cwd=REPOSITORY,
        check=False,
    )
    if done.returncode:
        raise LabError(f"`{' '.join(command)}` failed")


def query(expression: str) -> list[tuple[dict[str, str], float]]:
    """Return the labels and the value of each series of an instant query."""
    answer = requests.get(
        f"{PROMETHEUS}/api/v1/query", params={"query": expression}, timeout=10
    ).json()
    return [(each["metric"], float(each["value"][1])) for each in answer["data"]["result"]]


def firing() -> set[tuple[str, str]]:
    """Return alert name and job of everything that fires, but for the watchdog."""
    found = query('ALERTS{alertstate="firing", alertname!="Watchdog"}')
    return {(labels["alertname"], labels.get("job", "")) for labels, _ in found}


def find_notification(webhook: str) -> dict[str, Any] | None:
    """Return the alert, as the receiver got it, that tells of the missing backup."""
    for message in reversed(requests.get(webhook, timeout=10).json()):
        for alert in message["alerts"]:
            told = (alert["status"], alert["labels"]["alertname"], alert["labels"].get("job"))
            if told == ("firing", "BatchJobMissed", MISSING):
                return {**alert, "receiver": message["receiver"]}
    return None


def is_active(fingerprint: str) -> bool:
    """Tell whether Alertmanager holds an alert as active, now."""
    alerts = requests.get(f"{ALERTMANAGER}/api/v2/alerts", timeout=10).json()
    states = {alert["fingerprint"]: alert["status"]["state"] for alert in alerts}
    return states.get(fingerprint) == "active"


def has_reported(job: str, since: float) -> bool:
    """Tell whether Prometheus knows of a success of a job since a time, in Unix seconds."""
    newest = query(f'batch_job:last_success_timestamp_seconds{{job="{job}"}}')
    return bool(newest) and newest[0][1] >= since


def rows() -> list[tuple[str, ...]]:
    """Return a table row for each declared job, the fine ones first."""
    successes = {
        (labels["job"], labels["instance"]): value
        for labels, value in query("batch_job:last_success_timestamp_seconds")
    }
    alerts = {job: name for name, job in sorted(firing())}
    found = []
    for labels, _ in query("batch_job:declared"):
        job, instance = labels["job"], labels["instance"]
        success = successes.get((job, instance))
        state = (
            "failing" if alerts.get(job) == "BatchJobFailed" else "late" if job in alerts else ""
        )
        found.append(
            (
                job,
                instance,
                state or ("fine" if success else "not yet due"),
                f"{time.time() - success:.0f} s ago" if success else "never",
                alerts.get(job, ""),
            )
        )
    return sorted(found, key=lambda row: row[4])


def table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Return rows as text with aligned columns."""
    lines = [head, *body]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


if __name__ == "__main__":
    sys.exit(main())
