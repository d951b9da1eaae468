"""How soon somebody is told: from the end of a run that fails to its notification."""

from __future__ import annotations

import os
import platform
import time
from statistics import median
from typing import cast

import requests
import yaml

from bench.rollouts import rollout
from clients import Webhook, eventually
from lab import REPOSITORY, LabError, engine, nodes
from lab.console import fail, step

ROUNDS = 7
LAB = nodes.LABS["bench"]
# The clock of all nodes is that of this machine.
FAILING = ("sh", "-c", "date +%s.%N; exit 1")


def intervals() -> dict[str, float]:
    """Return the seconds that the demo's configuration lets each step of a notification wait."""
    file = REPOSITORY / "inventories" / "demo" / "group_vars" / "monitoring.yml"
    variables = yaml.safe_load(file.read_text())
    configured = {**variables["prometheus_global"], **variables["alertmanager_route"]}
    names = ("scrape_interval", "evaluation_interval", "group_wait")
    return {name: float(configured[name].removesuffix("s")) for name in names}


def execute(node: str, *argv: str) -> str:
    """Run a command on a node and return its output."""
    container = engine.connect().containers.get(nodes.container_name(LAB.name, node))
    return cast(bytes, container.exec_run(list(argv)).output).decode()


def is_told(webhook: Webhook, job: str, status: str) -> bool:
    """Return whether a notification of a job's failure, or of its end, has arrived."""
    return (status, "BatchJobFailed", job) in [
        (alert["status"], alert["labels"]["alertname"], alert["labels"].get("job"))
        for alert in webhook.alerts()
    ]


def latency(webhook: Webhook, job: str) -> float:
    """Let a job fail and return the seconds until somebody was told. Raises LabError."""
    output = execute("fileserver", "batch-job", "run", "--job", job, "--", *FAILING)
    try:
        ended = float(output.split()[0])
    except (ValueError, IndexError):
        raise LabError(f"{job} did not run: {output}") from None
    deadline = time.monotonic() + 60
    while not is_told(webhook, job, "firing"):
        if time.monotonic() > deadline:
            raise LabError(f"nobody was told within a minute that {job} failed")
        time.sleep(0.02)
    return time.time() - ended


def recover(webhook: Webhook, job: str) -> None:
    """Let a job succeed and have Alertmanager forget the group of its alert."""
    execute("fileserver", "batch-job", "run", "--job", job, "--", "true")
    eventually(lambda: is_told(webhook, job, "resolved"), timeout_seconds=60)
    # It would keep the empty group for a while, in which the next alert waits for group_interval.
    execute("monitor", "systemctl", "reload", "alertmanager")


def measure() -> list[float]:
    """Return the seconds of each round, which begins at another time between two scrapes."""
    webhook = Webhook(nodes.url(LAB.name, "webhook", Webhook.port))
    pause = intervals()["scrape_interval"] / ROUNDS
    found = []
    for number in range(ROUNDS):
        time.sleep(2 + number * pause)
        found.append(latency(webhook, f"failing-{number}"))
        recover(webhook, f"failing-{number}")
    return found


def main() -> int:
    """Measure and print; 0 unless somebody is not told."""
    try:
        nodes.down(LAB)
        nodes.up(LAB)
        with step("Rolling out inventories/demo"):
            rollout()
        with step(f"{ROUNDS} runs that fail, each of a new job"):
            found = measure()
        nodes.down(LAB)
    except (LabError, TimeoutError, requests.RequestException) as error:
        return fail(error)
    waits = intervals()
    print(f"\n{platform.machine()}, {os.cpu_count()} cores, {ROUNDS} runs that failed\n")
    print("from the end of the run to its notification")
    print(f"median                 {median(found):6.2f} s")
    print(f"longest                {max(found):6.2f} s")
    print(f"sum of the intervals   {sum(waits.values()):6.2f} s")
    print("".join(f"  {name:20} {seconds:6.2f} s\n" for name, seconds in waits.items()))
    return 0
