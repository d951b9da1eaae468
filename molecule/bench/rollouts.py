"""What a rollout costs: services and jobs, on fresh nodes and again, side by side."""

from __future__ import annotations

import json
from statistics import median

from bench.measuring import fresh_nodes, rollout
from lab.console import step

AIM_TASKS, AIM_FIRST_SECONDS, AIM_SECOND_SECONDS, AIM_RATIO = 45, 30, 12, 2.0
SERVICES = ("--limit", "monitoring")
JOBS = ("--limit", "fileserver", "--tags", "batch_job")
FEW, MANY = 10, 300


def declare(count: int) -> str:
    """Return an argument that declares so many jobs."""
    job = {"command": ["true"], "on_calendar": "daily", "max_runtime": "1h"}
    jobs = [{"name": f"job-{number}", **job} for number in range(count)]
    return f"--extra-vars={json.dumps({'batch_job_jobs': jobs})}"


def measure_jobs() -> dict[int, list[float]]:
    """Return seconds of the first and of the second rollout of few and of many jobs."""
    rollout(*JOBS, declare(1))
    seconds = {}
    for count in (FEW, MANY):
        seconds[count] = [rollout(*JOBS, declare(count))[0] for _ in range(2)]
        rollout(*JOBS, declare(0))
    return seconds


def measure(rounds: int = 3) -> str:
    """Return medians of a few rounds, each on new nodes."""
    firsts, seconds, jobs = [], [], []
    for number in range(1, rounds + 1):
        with (
            fresh_nodes(),
            step(f"Round {number} of {rounds}: services, {FEW} jobs, {MANY} jobs, each twice"),
        ):
            firsts.append(rollout(*SERVICES))
            seconds.append(rollout(*SERVICES))
            jobs.append(measure_jobs())
    first, first_tasks = sorted(firsts)[rounds // 2]
    second, second_tasks = sorted(seconds)[rounds // 2]
    text = f"""\
medians of {rounds} rounds

rollout of the services  wall time   aim    tasks  aim
first                    {first:6.1f} s  {AIM_FIRST_SECONDS:4} s  {first_tasks:5}  {AIM_TASKS:3}
second                   {second:6.1f} s  {AIM_SECOND_SECONDS:4} s  {second_tasks:5}

rollout of jobs          {FEW:5}   {MANY:5}   {MANY} / {FEW}  aim
"""
    for index, name in enumerate(("first", "second")):
        few, many = (median(each[count][index] for each in jobs) for count in (FEW, MANY))
        text += f"{name:22} {few:6.1f} s {many:6.1f} s   {many / few:6.2f}  {AIM_RATIO:4.1f}\n"
    return text
