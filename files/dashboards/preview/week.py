"""A made-up week of jobs in a real Prometheus, with the results of the rules.

This module stands in for hosts, gateways and scrapes: it makes up runs, the reports that
`batch-job` sends of them, and the metrics of the gateways. promtool evaluates the rules on these
series, so states and alerts are real. The week always ends at `NOW`.
"""

from __future__ import annotations

import fcntl
import json
import re
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from math import inf
from pathlib import Path
from random import Random

from prometheus_client.metrics_core import Metric

from batch_job import config, metrics
from batch_job.outcome import Outcome
from clients import Prometheus
from lab import CACHE, REPOSITORY, LabError
from preview.jobs import AHEAD, DAY, HOUR, JOBS, LENGTH, MINUTE, ORIGIN, OUTAGE, UNREAD, Job
from programs import prometheus, promtool

# Seconds between two scrapes, and between two evaluations: as many as fit promtool's lookback of
# 5 minutes, and a whole number of times into the week.
INTERVAL = 295
SCRAPES = range(1, int(LENGTH // INTERVAL) + 1)
RULES = sorted((REPOSITORY / "files/rules").glob("*.rules.yml"))

# The rules' results in the database, and exceptions that neither dashboards nor the page read.
SHOWN = r"ALERTS(_FOR_STATE)?|pushgateway:.+|batch_job:.+"
INTERNAL = r".+:(.*remembered|declared_since.+|reported.+|last_push_timestamp_seconds)"

GATEWAYS = ("push-a", "push-b")
Series = tuple[str, tuple[tuple[str, str], ...]]
# Values, with the numbers of their first and last scrapes.
Steps = list[tuple[int, int, float | None]]


class History:
    """Series that keep a value until the next change."""

    def __init__(self) -> None:
        """Start without any."""
        self._changes: dict[Series, dict[int, float | None]] = defaultdict(dict)

    def set(self, time: float, value: float | None, name: str, **labels: str) -> None:
        """Change a value at a time, in seconds since the origin; None ends the series.

        As in Prometheus, an empty label is none.
        """
        series = name, tuple(sorted((key, label) for key, label in labels.items() if label))
        self._changes[series][-int(-time // INTERVAL)] = value

    def steps(self) -> Iterator[tuple[Series, Steps]]:
        """Yield each series, and its values with the numbers of their first and last scrapes."""
        last = int(LENGTH // INTERVAL)
        for series, changes in self._changes.items():
            starts = sorted(scrape for scrape in changes if scrape <= last)
            ends = [scrape - 1 for scrape in starts[1:]] + [last]
            spans = zip(starts, ends, strict=True)
            yield series, [(start, end, changes[start]) for start, end in spans]


class Gateway:
    """The groups and the counters of a Pushgateway."""

    def __init__(self, name: str, history: History) -> None:
        """Start without groups."""
        self.labels = {"pushgateway": name, "app": "pushgateway"}
        self.history = history
        self._groups: dict[tuple[str, str], list[Metric]] = {}
        self._pushes: dict[tuple[str, str], int] = defaultdict(int)

    def push(
        self, time: float, job: Job, families: list[Metric], *, replaces: bool = False
    ) -> None:
        """Accept a report: PUT if it replaces the group, else POST."""
        group = (job.name, job.instance)
        older = self._groups.get(group, [])
        self._groups[group] = families if replaces else metrics.merge(older, families)
        for family in older:
            self._expose(time, job, family, is_gone=True)
        for family in self._groups[group]:
            self._expose(time, job, family)
        self._set(time, time, "push_time_seconds", job)
        self._set(time, 0, "push_failure_time_seconds", job)
        self.answer(time, "200", "put" if replaces else "post")

    def answer(self, time: float, code: str, method: str) -> None:
        """Count an answer to a push."""
        self._pushes[code, method] += 1
        self.history.set(
            time,
            self._pushes[code, method],
            "pushgateway_http_requests_total",
            job="pushgateway",
            instance=f"{self.labels['pushgateway']}:9091",
            handler="push",
            code=code,
            method=method,
            **self.labels,
        )

    def _expose(self, time: float, job: Job, family: Metric, *, is_gone: bool = False) -> None:
        for sample in family.samples:
            self._set(time, None if is_gone else sample.value, sample.name, job, **sample.labels)

    def _set(self, time: float, value: float | None, name: str, job: Job, **labels: str) -> None:
        group = {"job": job.name, "instance": job.instance}
        self.history.set(time, value, name, **group, **labels, **self.labels)


def reports(job: Job) -> Iterator[tuple[float, list[Metric], bool]]:
    """Yield the reports of a job: time, metrics, and whether they replace the group."""
    declared = config.Job(job.name, job.owner, job.severity, job.kind, job.schedule)
    if not job.max_age and job.is_declared:
        due = metrics.gauge("deadline_timestamp_seconds", job.deadline(0))
        if job.state != "unreported":
            yield INTERVAL, [*metrics.declaration(declared), due], False
    for each in job.runs():
        ended = each.start + each.seconds
        if OUTAGE[0] < each.start < OUTAGE[1]:
            continue
        # A clock that is ahead changes the times in a report, not when it arrives.
        when = min(each.start, ended, LENGTH)
        if each.start > LENGTH:
            when = each.start - AHEAD
        yield when, metrics.start(declared, each.start), False
        if ended < inf and when + each.seconds < LENGTH:
            cost = Outcome(
                each.start,
                ended,
                each.seconds,
                each.result,
                each.exit_code,
                each.seconds * 0.4,
                int(60 * (1 << 20) + each.seconds * 9e4),
            )
            own = metrics.check_own(f"backup_size_bytes {each.size:.0f}\n" if each.size else "")
            families = [*metrics.end(declared, cost, job.deadline(ended)), *own.families]
            yield when + each.seconds, families, cost.is_success


def add_jobs(history: History) -> None:
    """Add the reports of all jobs to all gateways, and some pushes that are rejected."""
    gateways = [Gateway(name, history) for name in GATEWAYS]
    events = [
        (time, job, families, replaces) for job in JOBS for time, families, replaces in reports(job)
    ]
    for time, job, families, replaces in sorted(events, key=lambda event: event[0]):
        # Pipelines report to one gateway only.
        for gateway in gateways if job.instance else gateways[:1]:
            gateway.push(time, job, families, replaces=replaces)
    # A job of somebody else, whose pushes a gateway rejects.
    foreign = {"job": "statistics", "instance": "shop", **gateways[1].labels}
    for number in range(5):
        time = LENGTH - 3 * HOUR + number * 7 * MINUTE
        history.set(time, time, "push_failure_time_seconds", **foreign)
        history.set(time, 0, "push_time_seconds", **foreign)
        gateways[1].answer(time, "400", "post")


def add_services(history: History) -> None:
    """Add what Prometheus scrapes from gateways and declarations."""
    chance = Random("services")  # noqa: S311
    for job in JOBS:
        group = {"job": job.name, "instance": job.instance}
        people = {"owner": job.owner, "severity": job.severity}
        if job.is_declared:
            age = job.max_age or inf
            history.set(0, age, "batch_job_declared_max_age_seconds", **group, **people)
        if job.pause:
            start, end = job.pause
            history.set(start, end, "batch_job_declared_paused_until_timestamp_seconds", **group)
        if job.min_size:
            history.set(0, job.min_size, "batch_job_declared_min_size_bytes", **group)
    for name in GATEWAYS:
        gateway = {"pushgateway": name, "app": "pushgateway"}
        own = {"job": "pushgateway", "instance": f"{name}:9091", **gateway}
        state = {"job": "pushgateway_state", "instance": name, **gateway}
        history.set(0, -9 * DAY, "process_start_time_seconds", **own)
        for now in (0, *(scrape * INTERVAL for scrape in SCRAPES)):
            history.set(now, chance.uniform(0.006, 0.011), "scrape_duration_seconds", **own)
            history.set(now, 210 + len(JOBS) * 14, "scrape_samples_scraped", **own)
            memory = 21e6 + 4e6 * (now % DAY) / DAY + chance.uniform(0, 1e6)
            history.set(now, round(memory), "process_resident_memory_bytes", **own)
            history.set(now, now - MINUTE, "pushgateway_state_written_timestamp_seconds", **state)
        # A reboot in the afternoon of the third day.
        for time, up in ((0, 1), (3 * DAY + 15 * HOUR, 0), (3 * DAY + 15.4 * HOUR, 1)):
            history.set(time, up if name == "push-b" else 1, "up", **own)
    for time, up in ((0, 1), (UNREAD[0], 0), (UNREAD[1], 1)):
        history.set(time, up, "up", job="declared_jobs", instance="metrics:9090")
    history.set(0, 1, "up", job="prometheus", instance="metrics:9090")
    history.set(0, 1, "up", job="alertmanager", instance="alerts:9093")
    history.set(0, 1, "batch_job_runbooks_info", url="http://metrics:9090/user/runbooks")


def dated(name: str, value: float) -> float:
    """Return a value; one that is a time counts from 1970 instead of the origin, 0 stays 0."""
    is_time = name.endswith(("timestamp_seconds", "_time_seconds")) and value
    return value + ORIGIN if is_time or name == "ALERTS_FOR_STATE" else value


def notation(steps: Steps) -> Iterator[str]:
    """Yield the values of a series in promtool's notation: each with its number of repetitions."""
    if steps[0][0]:
        yield f"_x{steps[0][0]}"
    for start, end, value in steps:
        repeated = end - start
        if value is not None:
            spelled = "+Inf" if value == inf else f"{value:.6f}".rstrip("0").rstrip(".")
            yield f"{spelled}+0x{repeated}"
        else:
            yield "stale"
            if repeated:
                yield f"_x{repeated}"


def test_file(history: History) -> str:
    """Return a test for promtool in which the rules are evaluated on a history."""
    check = {"expr": f'{{__name__=~"{SHOWN}", __name__!~"{INTERNAL}"}}'}
    inputs = [
        {"series": selector(name, labels), "values": " ".join(notation(steps))}
        for (name, labels), steps in history.steps()
    ]
    case = {
        "interval": f"{INTERVAL}s",
        "input_series": inputs,
        # Nothing is expected, so that promtool prints what there is.
        "promql_expr_test": [{**check, "eval_time": f"{scrape * INTERVAL}s"} for scrape in SCRAPES],
    }
    test = {
        "rule_files": list(map(str, RULES)),
        "evaluation_interval": f"{INTERVAL}s",
        "group_eval_order": ["batch_jobs", "batch_jobs.memory", "backups", "durations", "watchers"],
        "tests": [case],
    }
    return json.dumps(test)


def evaluate(test: str) -> Iterator[tuple[int, str, str, float]]:
    """Yield time, name, labels and value of all samples that the rules make in a test."""
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
        file.write(test)
        file.flush()
        done = promtool("test", "rules", file.name)
    answers = re.findall(r"^ +got: (.*)$", done.stdout, re.MULTILINE)
    if len(answers) != len(SCRAPES):
        raise LabError(f"promtool did not evaluate the week:\n{done.stdout[:2000]}")
    for scrape, answer in zip(SCRAPES, answers, strict=True):
        for name, labels, value in re.findall(
            r'\{__name__="([^"]+)",? ?([^}]*)\} (\S+?)(?:,|$)', answer
        ):
            known = labels.replace('", ', '",')
            yield scrape * INTERVAL, name, f"{{{known}}}", float(value)


def selector(name: str, labels: Iterable[tuple[str, str]]) -> str:
    """Return a series as it is written."""
    pairs = ",".join(f'{key}="{label}"' for key, label in labels)
    return f"{name}{{{pairs}}}"


def samples(history: History, test: str) -> Iterator[str]:
    """Yield all samples of a history, and what the rules make of it, as lines of OpenMetrics."""
    for (name, labels), steps in history.steps():
        for start, end, value in steps:
            if value is not None:
                line = f"{selector(name, labels)} {dated(name, value)}"
                yield from (
                    f"{line} {ORIGIN + scrape * INTERVAL}\n" for scrape in range(start, end + 1)
                )
    for time, name, known, value in evaluate(test):
        yield f"{name}{known} {dated(name, value)} {ORIGIN + time}\n"
    yield "# EOF\n"


def database() -> Path:
    """Return the directory of a database of the week, which is made once of the same rules."""
    history = History()
    add_jobs(history)
    add_services(history)
    test = test_file(history)
    here = Path(__file__)
    sources = [path.read_bytes() for path in (*RULES, here, here.with_name("jobs.py"))]
    version = promtool("--version").stdout
    # The same in each clone of the repository.
    texts = [version.encode(), test.replace(str(REPOSITORY), "").encode()]
    digest = sha256(b"\0".join(texts + sources)).hexdigest()
    made = CACHE / "weeks" / digest
    made.parent.mkdir(parents=True, exist_ok=True)
    # Tests of other files may need it at the same time.
    with (made.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.is_dir():
            make(made, samples(history, test))
    return made


def make(target: Path, lines: Iterable[str]) -> None:
    """Store lines of OpenMetrics as a database, which is there as a whole or not at all."""
    with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
        week = Path(temporary, "week.txt")
        with week.open("w") as file:
            file.writelines(lines)
        unfinished = Path(temporary, "data")
        create = ("tsdb", "create-blocks-from", "--max-block-duration=216h", "openmetrics")
        done = promtool(*create, week, unfinished)
        if done.returncode:
            raise LabError(f"promtool did not store the week:\n{done.stdout[:2000]}")
        unfinished.rename(target)


@contextmanager
def serving(*flags: str) -> Iterator[Prometheus]:
    """Run a Prometheus that holds the week, and nothing else; ask it about `NOW`."""
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        shutil.copytree(database(), directory / "data")
        (directory / "prometheus.yml").write_text("{}")
        # There are no stale markers: a series ends where its next sample is missing.
        stored = ["--storage.tsdb.retention.time=100y", f"--query.lookback-delta={INTERVAL}s"]
        with prometheus(directory, *stored, *flags) as server:
            yield server
