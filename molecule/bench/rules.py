"""What rules cost: those that ship beside rules for each job, on a real Prometheus with data.

One job in a hundred has failed, another is overdue: each way to watch them must find just these.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from string import Template
from typing import NamedTuple

import yaml

from bench.past import HOUR, INTERVAL, Job, has_size, history, remember, watching
from clients import Prometheus, eventually
from lab import REPOSITORY, LabError
from lab.console import step

OURS, CONSTANTS, ALERTS = "ours", "ours, a rule declares", "three alerts a job"
DEAREST = 12
SHIPPED = [
    group
    for file in sorted((REPOSITORY / "files/rules").glob("*.rules.yml"))
    for group in yaml.safe_load(file.read_text())["groups"]
]
# Groups that do not run in each evaluation, and their intervals, which are in minutes.
SLOW = {
    group["name"]: 60 * int(group["interval"].removesuffix("m"))
    for group in SHIPPED
    if "interval" in group
}


class Case(NamedTuple):
    """So many jobs, evaluated every so many seconds, and how often that is measured.

    Aged, Prometheus knows all that rules read of the past; else as much as makes no job new.
    """

    jobs: int
    interval: int
    evaluations: int
    is_aged: bool = False
    variants: tuple[str, ...] = (OURS, ALERTS)


# The history of 10,000 jobs is more than a short benchmark can hand over.
CASES = (
    Case(100, 1, 7),
    Case(1_000, 2, 7),
    Case(1_000, 2, 7, is_aged=True),
    Case(10_000, INTERVAL, 3, variants=(OURS, CONSTANTS, ALERTS)),
)


def declare(number: int, now: float) -> Job:
    """Return a job's values for the templates. Names of its own favour rules that select one."""
    has_failed, is_overdue = number % 100 == 1, number % 100 == 2
    completion = now - HOUR - (26 * HOUR if is_overdue else 0)
    success = completion - (22 * HOUR if has_failed else 0)
    return {
        "number": number,
        "group": f'job="backup-{number}",instance="host-{number // 10}"',
        "labels": f"job: backup-{number}, instance: host-{number // 10}",
        "completion": completion,
        "success": success,
        "deadline": success + 26 * HOUR,
        "exit_code": int(has_failed),
        "result": "exit-code" if has_failed else "success",
    }


def render(template: str, jobs: Iterable[Job]) -> str:
    """Return the text of a template for each job."""
    text = Template((Path(__file__).parent / "templates" / template).read_text())
    return "".join(text.substitute(job) for job in jobs)


def rules(variant: str, jobs: Sequence[Job]) -> str:
    """Return the rules that watch jobs; those that ship without intervals, to be measured sooner.

    Alerts are in groups of a thousand jobs: Prometheus takes minutes to load one of 10,000, and
    many small ones run at the same time and prolong each other.
    """
    if variant == ALERTS:
        starts = range(0, len(jobs), 1000)
        alerts = (render("three_alerts.yml.tmpl", jobs[start : start + 1000]) for start in starts)
        groups = [f"- name: {number}\n  rules:\n{text}" for number, text in enumerate(alerts)]
    else:
        shipped = ({"name": group["name"], "rules": group["rules"]} for group in SHIPPED)
        groups = [f"- {json.dumps(group)}\n" for group in shipped]
    if variant == CONSTANTS:
        groups.append(f"- name: declared\n  rules:\n{render('declaring_rule.yml.tmpl', jobs)}")
    return "".join(["groups:\n", *groups])


def has_found(server: Prometheus, case: Case) -> bool:
    """Return True if exactly the bad jobs' alerts fire. Raises LabError with what fires instead."""
    firing = 'count by (alertname) (ALERTS{alertstate="firing", alertname=~"Ba.*"})'
    counts = {labels["alertname"]: count for labels, count in server.query(firing)}
    bad = case.jobs / 100
    if counts != {"BatchJobFailed": bad, "BatchJobMissed": bad}:
        raise LabError(f"{bad:.0f} jobs failed and {bad:.0f} are overdue, but these fire: {counts}")
    return True


def metrics(server: Prometheus) -> dict[str, dict[str, float]]:
    """Return Prometheus' own metrics: values by the group of rules, or "", by name."""
    values: dict[str, dict[str, float]] = defaultdict(dict)
    for sample in server.metrics():
        group = sample.labels.get("rule_group", "").rpartition(";")[2]
        values[sample.name.removeprefix("prometheus_")][group] = sample.value
    return values


def observe(server: Prometheus, case: Case, variant: str) -> tuple[list[float], dict[str, float]]:
    """Wait for several evaluations; return the medians of the table, and each rule's seconds."""
    since, before = time.time(), metrics(server)
    groups: dict[str, dict[float, float]] = defaultdict(dict)
    memory, rules = [], defaultdict(list)
    while not groups or min(map(len, groups.values())) < case.evaluations:
        if time.time() - since > 4 * case.evaluations * case.interval:
            raise LabError(f"rules of {case.jobs} jobs take longer than {case.interval} s")
        time.sleep(case.interval / 3)
        now = metrics(server)
        if failures := sum(now["rule_evaluation_failures_total"].values()):
            raise LabError(f"{failures:.0f} evaluations of rules failed")
        memory.append(now["process_resident_memory_bytes"][""])
        for group, when in now["rule_group_last_evaluation_timestamp_seconds"].items():
            if when > since:
                groups[group][when] = now["rule_group_last_duration_seconds"][group]
        for name, seconds in server.evaluation_seconds().items() if variant == OURS else ():
            rules[name].append(seconds)
    cpu = now["process_cpu_seconds_total"][""] - before["process_cpu_seconds_total"][""]
    wall = {name: median(found.values()) for name, found in groups.items()}
    costs = [
        sum(seconds for name, seconds in wall.items() if name not in SLOW) * 1000,
        sum(wall.values()) * 1000,
        sum(seconds * 60 / SLOW.get(name, INTERVAL) for name, seconds in wall.items()),
        cpu / (time.time() - since) * case.interval * 1000,
        sum(s for _, s in server.query('scrape_duration_seconds{job="declared_jobs"}')) * 1000,
        median(memory) / 1e6,
        now["tsdb_head_series"][""],
    ]
    return costs, {name: median(found) for name, found in rules.items()}


def watch(case: Case, variant: str) -> tuple[list[float], dict[str, float]]:
    """Watch a case's jobs in one way. Raises LabError when that way does not find the bad ones."""
    now = time.time()
    jobs = [declare(number, now) for number in range(case.jobs)]
    sizes = render("backup_size.prom", list(filter(has_size, jobs)))
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        past = history(jobs, now, has_layer=variant != ALERTS, is_aged=case.is_aged)
        remember(directory, past, now)
        (directory / "rules.yml").write_text(rules(variant, jobs))
        pages = {
            "pushgateway": render("pushed.prom", jobs) + sizes,
            "declared_jobs": render("declared.prom", jobs) if variant == OURS else "",
        }
        with watching(directory, case.interval, **pages) as server:
            eventually(lambda: has_found(server, case), timeout_seconds=60 + 8 * case.interval)
            result = observe(server, case, variant)
            has_found(server, case)
            return result


def measure(cases: Sequence[Case] = CASES) -> str:
    """Return the table of what each variant costs in each case, and the dearest rules."""
    columns = f"each      all  every {INTERVAL} s   ours  all rules  declared  memory   series"
    text = "medians of 3 to 7 evaluations\n\n"
    text += f"{'':36}an evaluation    a minute,     to   CPU with    scrape\n"
    text += f"{'jobs':12} {'rules':22} {columns}\n"
    dearest: dict[str, float] = {}
    for case in cases:
        jobs = f"{case.jobs:6,}{', aged' if case.is_aged else ''}"
        ours = 0.0
        for variant in case.variants:
            with step(f"{jobs}: {variant}"):
                (every, total, minute, cpu, scrape, memory, series), rules = watch(case, variant)
            ours = ours or minute
            dearest = rules or dearest
            text += f"{jobs:12} {variant:22} {every:4.0f}  {total:4.0f} ms  {minute:8.2f} s  "
            text += f"{minute / ours:5.2f}  {cpu:6.0f} ms  {scrape:5.0f} ms {memory:4.0f} MB"
            text += f"  {series:7,.0f}\n"
    past = "an hour of samples, a day of declarations, two weeks of sizes and durations"
    text += f"aged: what rules read of the past is there: {past}\n"
    text += f"\nThe dearest {DEAREST} of the rules that ship, {cases[-1].jobs:,} jobs:\n"
    for name in sorted(dearest, key=lambda name: -dearest[name])[:DEAREST]:
        text += f"{dearest[name] * 1000:6.0f} ms  {name}\n"
    return text
