"""The demo: roll the site out, run its backups, and show which one is missing."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Any

import requests

from clients import Alertmanager, Prometheus, Webhook, eventually
from lab import REPOSITORY, LabError, mirror, nodes, overview
from lab.console import fail, step

PROMETHEUS = Prometheus("http://127.0.0.1:9090")
ALERTMANAGER = Alertmanager("http://127.0.0.1:9093")
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
        webhook = Webhook(nodes.url("demo", "webhook", Webhook.port))
        with step("Waiting for the notification of the missing backup (half a minute)"):
            notification = eventually(lambda: find_notification(webhook), timeout_seconds=120)
            eventually(lambda: has_reported(BACKUP, ran_after), timeout_seconds=30)
            eventually(ALERTMANAGER.active, timeout_seconds=30)
        alerts = PROMETHEUS.firing()
    except (LabError, TimeoutError, requests.RequestException) as error:
        return fail(error)
    print(f"\nLook: {PROMETHEUS.url}/user/\n\n{overview.table(PROMETHEUS)}\n")
    since = notification["startsAt"][11:19]
    print(f"notified  {notification['receiver']}, of an alert since {since} UTC:")
    print(f"          {notification['annotations']['summary']}")
    print(f"          {notification['annotations']['description']}\n")
    pages = overview.pages(mirror.source() == mirror.UPSTREAM_SOURCE)
    print(f"Prometheus    {PROMETHEUS.url}{pages['prometheus']}")
    print("Pushgateway   http://127.0.0.1:9091")
    print(f"Alertmanager  {ALERTMANAGER.url}{pages['alertmanager']}")
    print(f"Notifications {webhook.url}\n")
    versions = (
        f"{name} {newest}"
        for name, (newest, *_) in mirror.versions().items()
        if name not in mirror.UPSTREAM_TOOLS
    )
    print(f"Ran {', '.join(versions)} from {mirror.source()}.")
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


def find_notification(webhook: Webhook) -> dict[str, Any] | None:
    """Return the latest notification of the missing backup, or None."""
    alerts = [
        alert
        for alert in webhook.alerts()
        if alert["status"] == "firing"
        and alert["labels"]["alertname"] == "BatchJobMissed"
        and alert["labels"].get("job") == MISSING
    ]
    return alerts[-1] if alerts else None


def has_reported(job: str, since: float) -> bool:
    """Return whether Prometheus knows a success of a job since a time, in Unix seconds."""
    successes = PROMETHEUS.query(f'batch_job:last_success_timestamp_seconds{{job="{job}"}}')
    return bool(successes) and successes[0][1] >= since


if __name__ == "__main__":
    sys.exit(main())
