"""Reports the runs of one job: what is said when, and what is remembered of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Optional

from prometheus_client.metrics_core import Metric

from batch_job import gateway as network
from batch_job import metrics
from batch_job.config import Gateway, Job
from batch_job.delivery import LIMIT, Delivery, flush
from batch_job.gateway import GatewayError, Group, RejectedError
from batch_job.messages import Tell, print_error
from batch_job.outcome import SUCCESS, Outcome
from batch_job.registration import DEADLINE, LAST_SUCCESS, registration
from batch_job.schedule import ScheduleError, deadlines
from batch_job.spool import Report, Spool
from batch_job.state import State


class Host(NamedTuple):
    """What is the same for all jobs of a host."""

    instance: str
    gateways: Sequence[Gateway]
    spool: Spool
    state: State
    tell: Tell = print_error

    def group(self, job: str) -> Group:
        """Return the group of a job."""
        return Group(job, self.instance)

    def send(
        self, job: str, families: Sequence[Metric], replace: bool, limit: float = LIMIT
    ) -> Delivery:
        """Start to send a report to all gateways; give up after `limit` seconds."""
        report = Report(self.group(job), list(families), replace, time.time())
        return Delivery(report, self.gateways, self.spool, tell=self.tell, limit=limit)


class Reporter:
    """Reports the runs of one job."""

    def __init__(self, host: Host, job: Job) -> None:
        """Remember both; nothing is sent yet."""
        self._host = host
        self._job = job
        self._delivery: Delivery | None = None

    def started(self, memory: dict[str, Any]) -> None:
        """Start to send the report of a start. `memory` has `started`, in Unix seconds."""
        self._remember(**memory)
        families = metrics.start(self._job, memory["started"])
        # Under systemd, the job waits for this, and it counts as a part of its runtime.
        max_runtime = self._job.schedule.max_runtime
        limit = min(LIMIT, max_runtime / 2) if max_runtime else LIMIT
        self._delivery = self._host.send(self._job.name, families, replace=False, limit=limit)

    def finish(self) -> None:
        """Wait until the report of the start has arrived or is kept."""
        if self._delivery is not None:
            self._delivery.finish()
            self._delivery = None

    def memory(self) -> dict[str, Any]:
        """Return what `started` was given, in this process or in an earlier one."""
        return self._host.state.read(self._job.name)

    def ended(self, outcome: Outcome, own_metrics: Path | None) -> None:
        """Send the report of an end with the job's own metrics."""
        own = metrics.read_own(own_metrics) if own_metrics else metrics.OwnMetrics([], [])
        for problem in own.problems:
            self._host.tell(f"{self._job.name}: {problem}")
        is_success = outcome.result == SUCCESS
        due = self._deadline(outcome.ended) if is_success else None
        families = [*metrics.end(self._job, outcome, due), *own.families]
        self.finish()
        # A success that knows no deadline must not take the one that stands.
        has_deadline = due is not None or self._job.schedule.is_empty
        replace = is_success and has_deadline
        delivery = self._host.send(self._job.name, families, replace)
        memory: dict[str, Any] = {
            "ended": outcome.ended,
            "result": outcome.result,
            "exit_code": outcome.exit_code,
        }
        self._remember(**memory, **({"deadline": due} if due is not None else {}))
        delivery.finish()

    def _deadline(self, after: float) -> float | None:
        """Return when the next success is due; a schedule that means nothing is told."""
        try:
            return deadlines([self._job.schedule], after)[0]
        except ScheduleError as error:
            self._host.tell(f"{self._job.name}: {error}; its next deadline is unknown")
            return None

    def _remember(self, **memory: Any) -> None:
        """Note what `batch-job status` shows; a full disk costs the note alone."""
        try:
            self._host.state.update(self._job.name, **memory)
        except OSError as error:
            self._host.tell(f"{self._job.name}: {error}")


class Registered(NamedTuple):
    """What `register` did: a line for each change, and the gateways that could not be told."""

    changes: list[str]
    errors: list[GatewayError]


Known = Optional[dict[Group, dict[str, Any]]]


def register(host: Host, jobs: Sequence[Job], declared: bool, dry_run: bool) -> Registered:
    """Tell every gateway of the jobs: what it does not know, and that only.

    What a gateway does not take is kept for it. Of a `declared` job without a calendar, Prometheus
    knows the age that its success may have; a deadline would go on to stand when the job reports
    successes by plain pushes. Raises ScheduleError before anything is told, and OSError.
    """
    due = dict(zip(jobs, deadlines([job.schedule for job in jobs], time.time())))
    if declared:
        due = {job: moment if job.schedule.on_calendar else None for job, moment in due.items()}
    # Gateways were told of this schedule, or will be: a deadline that stands must not move.
    memory = {job: host.state.read(job.name) for job in jobs}
    told = {job for job in jobs if memory[job].get("schedule") == [*job.schedule]}
    # Of a job that was switched off meanwhile, a gateway holds a deadline that means nothing.
    new = {job for job in jobs if declared and not memory[job].get("declared")}
    from concurrent.futures import ThreadPoolExecutor

    done = Registered([], [])
    for gateway in host.gateways:
        try:
            if not dry_run:
                flush([gateway], host.spool, tell=host.tell)
            known: Known = network.groups(gateway)
        except GatewayError as error:
            done.errors.append(error)
            known = None

        def tell(job: Job, gateway: Gateway = gateway, known: Known = known) -> None:
            deadline = None if known is None and job in told else due[job]
            _register(host, gateway, job, deadline, known, done, dry_run, job in new)

        # Hundreds of jobs on a host, and a gateway that needs milliseconds for each.
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(tell, jobs))
    done.changes.sort()
    for job in new if not dry_run else ():
        host.state.update(job.name, declared=True)
    return done


def _register(
    host: Host,
    gateway: Gateway,
    job: Job,
    due: float | None,
    known: Known,
    done: Registered,
    dry_run: bool,
    is_new: bool,
) -> None:
    """Tell one gateway of one job, or keep it if the gateway does not answer."""
    group = host.group(job.name)
    before = known.get(group, {}) if known is not None else {}
    last_success = _value(before, LAST_SUCCESS)
    if due is None and job.schedule.max_age and DEADLINE in before and last_success is not None:
        # Its last report said when the next one is due; another age says it anew.
        due = last_success + job.schedule.max_age
    new = registration(job, due, before, time.time(), is_new)
    if not dry_run:
        stands = due if new.sets_deadline else _value(before, DEADLINE)
        memory: dict[str, Any] = {"schedule": [*job.schedule]}
        memory.update({} if stands is None else {"deadline": stands})
        host.state.update(job.name, **memory)
    if not new.families:
        return
    report = Report(group, new.families, False, time.time())
    if known is None:
        if not dry_run:
            host.spool.keep(gateway.url, report)
        return
    if not dry_run:
        try:
            network.push(gateway, group, new.families, replace=False)
        except RejectedError as error:
            done.errors.append(error)
            return
        except GatewayError as error:
            done.errors.append(error)
            host.spool.keep(gateway.url, report)
            return
    when = f", due {_clock(due)}" if new.sets_deadline and due is not None else ""
    done.changes.append(f"{job.name}: registered at {gateway.url}{when}")


def forget_undeclared(host: Host, declared: Sequence[str], dry_run: bool) -> list[str]:
    """Forget jobs that were declared once, with what is kept of them; return a line for each.

    Their groups stay at the gateways. Raises OSError.
    """
    gone = [
        name
        for name in host.state.jobs()
        if name not in declared and host.state.read(name).get("declared")
    ]
    for name in gone:
        if not dry_run:
            host.spool.forget_group(host.group(name))
            host.state.forget(name)
    return [f"{name}: forgotten, it is declared no longer" for name in gone]


def _value(group: dict[str, Any], name: str) -> float | None:
    """Return the value of a metric in the shape of Pushgateway's API, if it is there."""
    samples = group.get(name, {}).get("metrics", [])
    return float(samples[0]["value"]) if samples else None


def _clock(moment: float) -> str:
    """Return a Unix time for people, in the host's time zone."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))
