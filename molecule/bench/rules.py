"""What rules cost: those that ship beside rules for each job, on a real Prometheus with data.

Of a hundred jobs, one failed and one is overdue: each way to watch them must find exactly these.
"""

from __future__ import annotations

import gzip
import json
import os
import platform
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from threading import Thread
from typing import Any

import requests
import yaml

from clients import Prometheus, eventually
from lab import REPOSITORY, LabError
from lab.console import fail, run, step
from programs import find, prometheus

HOUR, DAY = 3600, 86400
MAX_AGE = 26 * HOUR
DEAREST = 12
# The role's default, which the cost of a minute assumes.
INTERVAL = 15
GATEWAY = {"app": "pushgateway", "pushgateway": "monitor"}
# Prometheus takes samples of its last hour into memory.
HEAD = HOUR - 120
FAILED, OVERDUE = 1, 2  # of each hundred
RETENTION = "--storage.tsdb.retention.time=30d"
GROUP = "prometheus_rule_group_last_"


@dataclass(frozen=True)
class Case:
    """So many jobs, scraped and evaluated every so many seconds, and how often that is measured.

    Aged, Prometheus knows all that rules read of the past; else as much as makes no job new.
    """

    jobs: int
    interval: int
    evaluations: int
    is_aged: bool = False

    def __str__(self) -> str:
        """Return it in words."""
        return f"{self.jobs:6,}{', aged' if self.is_aged else ''}"


# The history of 10,000 jobs is more than a short benchmark can hand over.
CASES = (
    Case(100, 1, 7),
    Case(1_000, 2, 7),
    Case(1_000, 2, 7, is_aged=True),
    Case(10_000, INTERVAL, 3),
)


@dataclass(frozen=True)
class Job:
    """A declared job. Names of its own favour rules that select one job."""

    number: int

    @property
    def group(self) -> str:
        """Return its grouping key as labels."""
        return f'job="backup-{self.number}",instance="host-{self.number // 10}"'

    @property
    def has_size(self) -> bool:
        """Tell whether it says how much it backed up: a third do."""
        return self.number % 3 == 0

    def samples(self, now: float) -> dict[str, float]:
        """Return what batch-job pushes of its last run and Pushgateway adds, by series."""
        failed = self.number % 100 == FAILED
        ended = now - (MAX_AGE + HOUR if self.number % 100 == OVERDUE else HOUR)
        succeeded = ended - DAY + 2 * HOUR if failed else ended
        labels = 'owner="ops",severity="warning",kind="backup",schedule="*-*-* 02:00"'
        found = {
            f"batch_job_info,{labels}": 1,
            "batch_job_max_runtime_seconds": HOUR,
            "batch_job_grace_seconds": HOUR,
            "batch_job_last_start_timestamp_seconds": ended - 600,
            "batch_job_last_completion_timestamp_seconds": ended,
            "batch_job_last_success_timestamp_seconds": succeeded,
            "batch_job_last_exit_code": 1 if failed else 0,
            f'batch_job_last_result,result="{"exit-code" if failed else "success"}"': 1,
            "batch_job_last_duration_seconds": 600 + self.number,
            "batch_job_last_cpu_seconds": 60 + self.number,
            "batch_job_last_max_rss_bytes": 1e8 + self.number,
            "batch_job_deadline_timestamp_seconds": succeeded + MAX_AGE,
            "batch_job_report_delay_seconds": 0,
            "push_time_seconds": ended,
            "push_failure_time_seconds": 0,
        }
        return found | ({"backup_size_bytes": 1e9 + self.number} if self.has_size else {})


def page(jobs: Iterable[Job], now: float) -> str:
    """Return what a Pushgateway with these jobs answers to a scrape."""
    families = defaultdict(list)
    for job in jobs:
        for series, value in job.samples(now).items():
            name, _, labels = series.partition(",")
            families[name].append(f"{name}{{{job.group}{labels and ','}{labels}}} {value!r}\n")
    return "".join(
        line
        for name, lines in families.items()
        for line in (f"# HELP {name} A metric of jobs.\n# TYPE {name} gauge\n", *lines)
    )


def declared(jobs: Iterable[Job]) -> str:
    """Return the file of declared jobs, as the role renders it."""
    name = "batch_job_declared_max_age_seconds"
    lines = (f'{name}{{{job.group},owner="ops",severity="warning"}} {MAX_AGE}\n' for job in jobs)
    return f"# TYPE {name} gauge\n{''.join(lines)}"


def labels(job: Job) -> dict[str, str]:
    """Return the labels that a rule of a job alone sets."""
    return {
        **dict(each.replace('"', "").split("=") for each in job.group.split(",")),
        "owner": "ops",
        "severity": "warning",
    }


def alerts(job: Job) -> Iterator[dict[str, Any]]:
    """Yield rules that tell by themselves when a job is missed, has failed or hangs.

    What a person would write with care: an overdue job stays overdue while a scrape fails, and one
    that never reported is missed too. Nothing here replaces the other rules that ship.
    """
    of = f"{{{job.group}}}"
    success = f"last_over_time(batch_job_last_success_timestamp_seconds{of}[1h])"
    start = f"batch_job_last_start_timestamp_seconds{of}"
    completion = f"batch_job_last_completion_timestamp_seconds{of}"
    expressions = {
        "BatchJobMissed": f"time() - max({success}) > {MAX_AGE} or absent({success})",
        "BatchJobFailed": f"batch_job_last_exit_code{of} != 0",
        "BatchJobStuck": f"(time() - {start} > {HOUR}) unless ({completion} >= {start})",
    }
    for name, expression in expressions.items():
        yield {
            "alert": name,
            "expr": expression,
            "labels": labels(job),
            "annotations": {"summary": f"{name}: backup-{job.number} ({{{{ $value }}}})"},
        } | ({"for": "2m"} if name == "BatchJobStuck" else {})


def alert_groups(jobs: Sequence[Job]) -> list[dict[str, Any]]:
    """Return the rules of a thousand jobs in a group.

    Prometheus takes minutes to load one of 10,000; many small ones run at the same time and
    prolong each other.
    """
    return [
        {
            "name": f"alerts-{first}",
            "rules": [rule for job in jobs[first : first + 1000] for rule in alerts(job)],
        }
        for first in range(0, len(jobs), 1000)
    ]


def constant(job: Job) -> dict[str, Any]:
    """Return a rule that declares a job to the rules that ship."""
    return {
        "record": "batch_job_declared_max_age_seconds",
        "expr": f"vector({MAX_AGE})",
        "labels": labels(job),
    }


def shipped() -> list[dict[str, Any]]:
    """Return the groups of all rules that ship."""
    files = sorted((REPOSITORY / "files" / "rules").glob("*.rules.yml"))
    return [group for file in files for group in yaml.safe_load(file.read_text())["groups"]]


def hasty() -> list[dict[str, Any]]:
    """Return the groups that ship without intervals: what one evaluation takes is known sooner."""
    return [{"name": group["name"], "rules": group["rules"]} for group in shipped()]


@cache
def slow() -> dict[str, int]:
    """Return the groups that do not run in each evaluation, with their seconds between two."""
    unit = {"s": 1, "m": 60, "h": HOUR}
    intervals = {group["name"]: group["interval"] for group in shipped() if "interval" in group}
    return {name: int(each[:-1]) * unit[each[-1]] for name, each in intervals.items()}


@dataclass(frozen=True)
class Variant:
    """A way to watch jobs: its groups of rules, whether these are ours, and who declares jobs.

    `least` is the number of jobs from which on it is worth measuring.
    """

    name: str
    groups: Callable[[Sequence[Job]], list[dict[str, Any]]]
    has_layer: bool = True
    is_scraped: bool = False
    least: int = 0


VARIANTS = (
    Variant("ours", lambda _: hasty(), is_scraped=True),
    Variant(
        "ours, a rule declares",
        lambda jobs: [{"name": "declared", "rules": [constant(job) for job in jobs]}, *hasty()],
        least=10_000,
    ),
    Variant("three alerts a job", alert_groups, has_layer=False),
)


@dataclass(frozen=True)
class Sample:
    """What Prometheus stored so many seconds ago."""

    series: str
    value: float
    age: int


def history(jobs: Iterable[Job], now: float, *, layer: bool, aged: bool) -> Iterator[Sample]:
    """Yield what Prometheus already knows of jobs: none is new, and aged, all that rules read."""
    for job in jobs:
        success = job.samples(now)["batch_job_last_success_timestamp_seconds"]
        if layer:
            yield Sample(f"batch_job:last_success_timestamp_seconds{{{job.group}}}", success, 120)
        if layer and job.has_size:
            series = f"batch_job:backup_size_bytes:replaced{{{job.group}}}"
            for day in range(1, 15 if aged else 2):
                for age in (day * DAY - HOUR, day * DAY - HOUR - 60):
                    yield Sample(series, 1e9, age)
        if layer and aged:
            series = f"batch_job:declared_since_timestamp_seconds:last1d{{{job.group}}}"
            for age in range(120, DAY, 120):
                yield Sample(series, now - 30 * DAY, age)
        if aged:
            target = ",".join(f'{name}="{value}"' for name, value in GATEWAY.items())
            series = f"batch_job_last_success_timestamp_seconds{{{job.group},{target}}}"
            for age in range(INTERVAL, HEAD, INTERVAL):
                yield Sample(series, success, age)


def backfill(directory: Path, samples: Iterable[Sample], now: float) -> None:
    """Give Prometheus a past: the last hour in memory, what is older in blocks, as it would be."""
    recent, older = [], []
    for sample in sorted(samples, key=lambda sample: -sample.age):
        line = f"{sample.series} {sample.value!r}"
        if sample.age < HEAD:
            recent.append(f"{line} {(now - sample.age) * 1000:.0f}\n")
        else:
            older.append(f"{line} {now - sample.age:.3f}\n")
    if older:
        file = directory / "history.txt"
        file.write_text("".join([*older, "# EOF\n"]))
        program = [str(find("promtool")), "tsdb", "create-blocks-from"]
        # Large ones, as after compaction.
        program += ["--max-block-duration=54h", "openmetrics"]
        run([*program, str(file), str(directory / "data")])
    if recent:
        with serving({"/history": "".join(recent)}) as target:
            configure(directory, 2, [scrape("history", target)])
            with prometheus(directory, RETENTION) as server:
                eventually(lambda: server.query("scrape_samples_scraped > 0"), timeout_seconds=30)


@contextmanager
def serving(pages: Mapping[str, str]) -> Iterator[str]:
    """Serve pages of metrics by path and yield the server's address."""
    bodies = {path: gzip.compress(text.encode(), 1) for path, text in pages.items()}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            """Answer a scrape; Prometheus always accepts gzip."""
            body = bodies[self.path]
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def handle(self) -> None:
            """Answer until Prometheus goes away, which it does without a word."""
            with suppress(ConnectionError):
                super().handle()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def scrape(name: str, target: str, labels: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the configuration of a scrape job, as the role writes it."""
    return {
        "job_name": name,
        "honor_labels": True,
        "metrics_path": f"/{name}",
        "static_configs": [{"targets": [target], "labels": labels or {}}],
    }


def configure(directory: Path, interval: int, scrapes: Sequence[Mapping[str, Any]]) -> None:
    """Write Prometheus' configuration, with the rules beside it and no Alertmanager."""
    names = ("scrape_interval", "scrape_timeout", "evaluation_interval")
    config = {
        "global": dict.fromkeys(names, f"{interval}s"),
        "rule_files": ["rules.yml"],
        "scrape_configs": scrapes,
    }
    # JSON is YAML that is quick to write.
    (directory / "prometheus.yml").write_text(json.dumps(config))


def by_alert(server: Prometheus, expression: str) -> dict[str, float]:
    """Return the values of a query, by the name of an alert or ""."""
    return {labels.get("alertname", ""): value for labels, value in server.query(expression)}


def metrics_by_group(server: Prometheus) -> dict[str, dict[str, float]]:
    """Return what Prometheus says of itself: values by the group of rules, or "", by name."""
    values: dict[str, dict[str, float]] = defaultdict(dict)
    for sample in server.metrics():
        group = sample.labels.get("rule_group", "").rpartition(";")[2]
        values[sample.name][group] = sample.value
    return values


@dataclass(frozen=True)
class Cost:
    """What a variant cost: bytes of memory, series, seconds of all kinds.

    `cpu` is that of all of Prometheus in an interval, `scrape` that of the declared jobs;
    `groups` and `rules` are wall time, which other programs on this machine prolong.
    """

    memory: float
    series: float
    cpu: float
    scrape: float
    groups: dict[str, float]
    rules: dict[str, float]

    def each(self) -> float:
        """Return the seconds of the rules that run in each evaluation."""
        return sum(seconds for name, seconds in self.groups.items() if name not in slow())

    def all(self) -> float:
        """Return the seconds of one evaluation of all rules."""
        return sum(self.groups.values())

    def minute(self) -> float:
        """Return the seconds that rules take in a minute, with the intervals that ship."""
        runs = {name: 60 / slow().get(name, INTERVAL) for name in self.groups}
        return sum(seconds * runs[name] for name, seconds in self.groups.items())


def has_found(server: Prometheus, case: Case) -> bool:
    """Tell that exactly the bad jobs' alerts fire. Raises LabError with what fires instead."""
    firing = by_alert(
        server, 'count by (alertname) (ALERTS{alertstate="firing", alertname=~"Ba.*"})'
    )
    bad = case.jobs / 100
    if firing != {"BatchJobFailed": bad, "BatchJobMissed": bad}:
        raise LabError(f"{bad:.0f} jobs failed and {bad:.0f} are overdue, but these fire: {firing}")
    return True


def observe(server: Prometheus, case: Case, *, layer: bool) -> Cost:
    """Wait for several evaluations of each group and return medians."""
    since = time.time()
    cpu = metrics_by_group(server)["process_cpu_seconds_total"][""]
    groups: dict[str, dict[float, float]] = defaultdict(dict)
    memory, rules = [], defaultdict(list)
    while not groups or min(map(len, groups.values())) < case.evaluations:
        if time.time() - since > 4 * case.evaluations * case.interval:
            raise LabError(f"rules of {case.jobs} jobs take longer than {case.interval} s")
        time.sleep(case.interval / 3)
        metrics = metrics_by_group(server)
        if failures := sum(metrics["prometheus_rule_evaluation_failures_total"].values()):
            raise LabError(f"{failures:.0f} evaluations of rules failed")
        memory.append(metrics["process_resident_memory_bytes"][""])
        for group, when in metrics[f"{GROUP}evaluation_timestamp_seconds"].items():
            if when > since:
                groups[group][when] = metrics[f"{GROUP}duration_seconds"][group]
        for name, seconds in server.evaluation_seconds().items() if layer else ():
            rules[name].append(seconds)
    cpu = metrics["process_cpu_seconds_total"][""] - cpu
    return Cost(
        memory=median(memory),
        cpu=cpu / (time.time() - since) * case.interval,
        series=metrics["prometheus_tsdb_head_series"][""],
        scrape=sum(by_alert(server, 'scrape_duration_seconds{job="declared_jobs"}').values()),
        groups={name: median(found.values()) for name, found in groups.items()},
        rules={name: median(found) for name, found in rules.items()},
    )


def measure(variant: Variant, case: Case) -> Cost:
    """Watch a case's jobs in one way. Raises LabError when that way does not find the bad ones."""
    jobs = [Job(number) for number in range(case.jobs)]
    now = time.time()
    pages = {
        "/pushgateway": page(jobs, now),
        "/declared_jobs": declared(jobs) if variant.is_scraped else "",
    }
    with tempfile.TemporaryDirectory() as name, serving(pages) as target:
        directory = Path(name)
        past = history(jobs, now, layer=variant.has_layer, aged=case.is_aged)
        backfill(directory, past, now)
        rules = json.dumps({"groups": variant.groups(jobs)})
        (directory / "rules.yml").write_text(rules)
        scrapes = [scrape("pushgateway", target, GATEWAY), scrape("declared_jobs", target)]
        configure(directory, case.interval, scrapes)
        with prometheus(directory, RETENTION) as server:
            eventually(lambda: has_found(server, case), timeout_seconds=60 + 8 * case.interval)
            cost = observe(server, case, layer=variant.has_layer)
            has_found(server, case)
            return cost


def report(found: Mapping[tuple[Case, str], Cost]) -> str:
    """Return the table of what each variant cost in each case."""
    columns = f"each      all  every {INTERVAL} s   ours  all rules  declared  memory   series"
    lines = [
        f"{'':36}an evaluation    a minute,     to   CPU with    scrape",
        f"{'jobs':12} {'rules':22} {columns}",
    ]
    for (case, name), cost in found.items():
        ratio = cost.minute() / found[case, VARIANTS[0].name].minute()
        lines.append(
            f"{case!s:12} {name:22} {cost.each() * 1000:4.0f}  {cost.all() * 1000:4.0f} ms"
            f"  {cost.minute():8.2f} s  {ratio:5.2f}  {cost.cpu * 1000:6.0f} ms"
            f"  {cost.scrape * 1000:5.0f} ms {cost.memory / 1e6:4.0f} MB  {cost.series:7,.0f}"
        )
    past = "an hour of samples, a day of declarations, two weeks of sizes"
    return "\n".join([*lines, f"aged: what rules read of the past is there: {past}"])


def main(cases: Sequence[Case] = CASES) -> int:
    """Measure and print; 0 unless a variant does not find the bad jobs. One after the other."""
    found: dict[tuple[Case, str], Cost] = {}
    load = os.getloadavg()[0]
    try:
        for case in cases:
            for variant in (each for each in VARIANTS if each.least <= case.jobs):
                with step(f"{case}: {variant.name}"):
                    found[case, variant.name] = measure(variant, case)
    except (LabError, TimeoutError, requests.RequestException) as error:
        return fail(error)
    cores = f"{platform.machine()}, {os.cpu_count()} cores of load {load:.1f} before"
    print(f"\n{cores}, medians of 3 to 7 evaluations\n")
    print(report(found))
    most = max(cases, key=lambda case: case.jobs)
    print(f"\nThe dearest {DEAREST} of the rules that ship, {str(most).strip()} jobs:")
    rules = found[most, VARIANTS[0].name].rules
    for name in sorted(rules, key=lambda name: -rules[name])[:DEAREST]:
        print(f"{rules[name] * 1000:6.0f} ms  {name}")
    print()
    return 0
