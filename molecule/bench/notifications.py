"""How soon a notification arrives: from the end of a run that fails."""

from __future__ import annotations

import time
from statistics import median
from typing import cast

import yaml

from bench.measuring import LAB, fresh_nodes, rollout
from clients import Webhook, eventually
from lab import REPOSITORY, LabError, engine, nodes
from lab.console import step

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


def has_arrived(webhook: Webhook, job: str, status: str) -> bool:
    """Return whether a notification of a job's failure, or of its end, has arrived."""
    return (status, "BatchJobFailed", job) in [
        (alert["status"], alert["labels"]["alertname"], alert["labels"].get("job"))
        for alert in webhook.alerts()
    ]


def latency(webhook: Webhook, job: str) -> float:
    """Let a job fail and return the seconds until its notification. Raises TimeoutError."""
    output = execute("fileserver", "batch-job", "run", "--job", job, "--", *FAILING)
    try:
        ended = float(output.split()[0])
    except (ValueError, IndexError):
        raise LabError(f"{job} did not run: {output}") from None
    eventually(lambda: has_arrived(webhook, job, "firing"), timeout_seconds=60, pause_seconds=0.02)
    return time.time() - ended


def recover(webhook: Webhook, job: str) -> None:
    """Let a job succeed and have Alertmanager forget the group of its alert."""
    execute("fileserver", "batch-job", "run", "--job", job, "--", "true")
    eventually(lambda: has_arrived(webhook, job, "resolved"), timeout_seconds=60)
    # It would keep the empty group for a while, in which the next alert waits for group_interval.
    execute("monitor", "systemctl", "reload", "alertmanager")


def measure(rounds: int = 7) -> str:
    """Return the seconds of each round; rounds begin at different times between scrapes."""
    waits = intervals()
    latencies = []
    with fresh_nodes():
        with step("Rolling out inventories/demo"):
            rollout()
        webhook = Webhook(nodes.url(LAB.name, "webhook", Webhook.port))
        with step(f"{rounds} runs that fail, each of a new job"):
            for number in range(rounds):
                time.sleep(2 + number * waits["scrape_interval"] / rounds)
                latencies.append(latency(webhook, f"failing-{number}"))
                recover(webhook, f"failing-{number}")
    text = f"""\
{rounds} runs that failed

from the end of the run to its notification
median                 {median(latencies):6.2f} s
longest                {max(latencies):6.2f} s
sum of the intervals   {sum(waits.values()):6.2f} s
"""
    return text + "".join(f"  {name:20} {seconds:6.2f} s\n" for name, seconds in waits.items())
