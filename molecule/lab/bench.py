"""What a rollout costs: the three services on one fresh node, and again, side by side."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time

from lab import REPOSITORY, LabError, nodes
from lab.console import fail, step

AIMS = {"tasks": 45, "first": 30.0, "second": 12.0}
# The rollout needs no job hosts, and the demo's declarations are as good as any.
COMMAND = ("ansible-playbook", "-i", "inventories/demo", "--limit", "monitoring")


def rollout() -> tuple[float, int]:
    """Roll out and return the wall time in seconds and the number of tasks that ran.

    Raises LabError when the rollout fails.
    """
    environment = {**os.environ, "LAB": "bench", "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"}
    started = time.monotonic()
    done = subprocess.run(
        [*COMMAND, "playbooks/site.yml"],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.monotonic() - started
    if done.returncode:
        raise LabError(f"the rollout failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    report = json.loads(done.stdout[done.stdout.find("{\n") :])
    return seconds, int(report["stats"]["monitor"]["ok"])


def main(rounds: int = 3) -> int:
    """Measure and print; 0 unless a rollout fails. Medians of a few rounds, each on a new node."""
    firsts, seconds = [], []
    lab = nodes.LABS["bench"]
    try:
        for number in range(1, rounds + 1):
            nodes.down(lab)
            nodes.up(lab)
            with step(f"Round {number} of {rounds}: first and second rollout"):
                firsts.append(rollout())
                seconds.append(rollout())
        nodes.down(lab)
    except LabError as error:
        return fail(error)
    first, first_tasks = sorted(firsts)[rounds // 2]
    second, second_tasks = sorted(seconds)[rounds // 2]
    print(f"\n{platform.machine()}, {os.cpu_count()} cores, medians of {rounds} rounds\n")
    print("rollout  wall time   aim    tasks  aim")
    print(f"first    {first:6.1f} s  {AIMS['first']:4.0f} s  {first_tasks:5}  {AIMS['tasks']:3.0f}")
    print(f"second   {second:6.1f} s  {AIMS['second']:4.0f} s  {second_tasks:5}")
    print(f"\nsecond / first: {second / first:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
