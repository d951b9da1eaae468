"""The demo: roll the site out, run its backups, and show which one is missing."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Any

import requests

from lab import REPOSITORY, LabError, nodes, overview, releases
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
            notification, receiver = eventually(
                lambda: find_notification(webhook), timeout_seconds=120
            )
            eventually(lambda: has_reported(BACKUP, ran_after), timeout_seconds=30)
            eventually(lambda: overview.alerts(ALERTMANAGER), timeout_seconds=30)
        alerts = overview.firing(PROMETHEUS)
    except (LabError, TimeoutError, requests.RequestException) as error:
        return fail(error)
    print(f"\n{overview.table(PROMETHEUS)}\n")
    since = notification["startsAt"][11:19]
    print(f"notified  {receiver}, of an alert since {since} UTC:")
    print(f"          {notification['annotations']['summary']}")
    print(f"          {notification['annotations']['description']}\n")
    pages = overview.pages(releases.source() == releases.UPSTREAM_SOURCE)
    print(f"Prometheus    {PROMETHEUS}{pages['prometheus']}")
    print("Pushgateway   http://127.0.0.1:9091")
    print(f"Alertmanager  {ALERTMANAGER}{pages['alertmanager']}")
    print(f"Notifications {webhook}\n")
    versions = (
        f"{name} {found[0]}"
        for name, found in releases.versions().items()
        if name not in releases.UPSTREAM_TOOLS
    )
    print(f"Ran {', '.join(versions)} from {releases.source()}.")
    print(f"{time.monotonic() - started:.0f} s in all. `make demo-down` removes everything again.")
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


def find_notification(webhook: str) -> tuple[dict[str, Any], str] | None:
    """Return the alert that tells of the missing backup, as the receiver got it, and its name."""
    for alert, receiver in overview.notifications(webhook):
        if (alert["labels"]["alertname"], alert["labels"].get("job")) == (
            "BatchJobMissed",
            MISSING,
        ):
            return alert, receiver
    return None


def has_reported(job: str, since: float) -> bool:
    """Tell whether Prometheus knows of a success of a job since a time, in Unix seconds."""
    newest = overview.query(PROMETHEUS, f'batch_job:last_success_timestamp_seconds{{job="{job}"}}')
    return bool(newest) and newest[0][1] >= since


if __name__ == "__main__":
    sys.exit(main())
