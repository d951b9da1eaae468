"""What the benchmarks share: nodes of their own and rollouts to them."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from lab import REPOSITORY, LabError, nodes

LAB = nodes.LABS["bench"]
COMMAND = ("ansible-playbook", "-i", "inventories/demo", "playbooks/site.yml")


@contextmanager
def fresh_nodes() -> Iterator[None]:
    """Start new nodes and remove them after the block; those of a failure stay."""
    nodes.down(LAB)
    nodes.up(LAB)
    yield
    nodes.down(LAB)


def rollout(*arguments: str) -> tuple[float, int]:
    """Roll out and return the wall time in seconds and the number of tasks that ran.

    Raises LabError when the rollout fails.
    """
    environment = {**os.environ, "LAB": LAB.name, "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"}
    started = time.monotonic()
    done = subprocess.run(
        [*COMMAND, *arguments],
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
    return seconds, sum(int(host["ok"]) for host in report["stats"].values())
