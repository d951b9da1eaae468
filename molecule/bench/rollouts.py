"""What a rollout costs: services and jobs, on fresh nodes and again, side by side."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from statistics import median

from lab import REPOSITORY, LabError, nodes
from lab.console import fail, step

AIMS = {"tasks": 45, "first": 30.0, "second": 12.0, "jobs": 2.0}
COMMAND = ("ansible-playbook", "-i", "inventories/demo", "playbooks/site.yml")
SERVICES = ("--limit", "monitoring")
JOBS = ("--limit", "fileserver", "--tags", "batch_job")
FEW, MANY = 10, 300


def rollout(*arguments: str) -> tuple[float, int]:
    """Roll out and return the wall time in seconds and the number of tasks that ran.

    Raises LabError when the rollout fails.
    """
    environment = {**os.environ, "LAB": "bench", "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"}
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


def jobs(count: int) -> str:
    """Return an argument that declares so many jobs."""
    declared = [
        {"name": f"job-{number}", "command": ["true"], "on_calendar": "daily"}
        for number in range(count)
    ]
    return f"--extra-vars={json.dumps({'batch_job_jobs': declared})}"


def measure_jobs() -> dict[int, list[float]]:
    """Return seconds of the first and of the second rollout of few and of many jobs."""
    rollout(*JOBS, jobs(1))
    found = {}
    for count in (FEW, MANY):
        found[count] = [rollout(*JOBS, jobs(count))[0] for _ in range(2)]
        rollout(*JOBS, jobs(0))
    return found


def main(rounds: int = 3) -> int:
    """Measure and print; 0 unless a rollout fails. Medians of a few rounds, each on new nodes."""
    firsts, seconds, declared = [], [], []
    lab = nodes.LABS["bench"]
    try:
        for number in range(1, rounds + 1):
            nodes.down(lab)
            nodes.up(lab)
            with step(f"Round {number} of {rounds}: services, {FEW} jobs, {MANY} jobs, each twice"):
                firsts.append(rollout(*SERVICES))
                seconds.append(rollout(*SERVICES))
                declared.append(measure_jobs())
        nodes.down(lab)
    except LabError as error:
        return fail(error)
    first, first_tasks = sorted(firsts)[rounds // 2]
    second, second_tasks = sorted(seconds)[rounds // 2]
    print(f"\n{platform.machine()}, {os.cpu_count()} cores, medians of {rounds} rounds\n")
    print("rollout of the services  wall time   aim    tasks  aim")
    aims = f"{AIMS['first']:4.0f} s  {first_tasks:5}  {AIMS['tasks']:3.0f}"
    print(f"first                    {first:6.1f} s  {aims}")
    print(f"second                   {second:6.1f} s  {AIMS['second']:4.0f} s  {second_tasks:5}\n")
    print(f"rollout of jobs          {FEW:5}   {MANY:5}   {MANY} / {FEW}  aim")
    for index, name in enumerate(("first", "second")):
        few, many = (median(each[count][index] for each in declared) for count in (FEW, MANY))
        print(f"{name:22} {few:6.1f} s {many:6.1f} s   {many / few:6.2f}  {AIMS['jobs']:4.1f}")
    return 0
