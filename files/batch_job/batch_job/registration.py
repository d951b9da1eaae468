"""Registers jobs, so that a job is due before it has ever run.

Decides what a gateway lacks of a declaration, sends that, and returns what changed.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from prometheus_client.metrics_core import Metric

from batch_job import metrics
from batch_job.config import Job
from batch_job.delivery import flush, push
from batch_job.gateway import (
    ForbiddenError,
    Gateway,
    GatewayError,
    Groups,
    Samples,
)
from batch_job.host import Host
from batch_job.schedule import deadlines

INFO = metrics.PREFIX + "info"
DEADLINE = metrics.PREFIX + "deadline_timestamp_seconds"
LAST_SUCCESS = metrics.PREFIX + "last_success_timestamp_seconds"
# A host may have hundreds of jobs, and a gateway needs milliseconds for each.
PARALLEL_PUSHES = 8


class Candidate(NamedTuple):
    """A job to register."""

    job: Job
    # When its first success is due, in Unix seconds.
    due: float | None
    # Its schedule was registered before, or waits to be: the deadline must not move.
    is_registered: bool
    # It was not declared until now: an old deadline at a gateway means nothing.
    is_new: bool


class Addition(NamedTuple):
    """What a job's group lacks, and the deadline that is a part of it."""

    families: list[Metric]
    deadline: float | None


class Registration(NamedTuple):
    """What `register` did: a line for each change, and the errors of gateways."""

    changes: list[str]
    errors: list[GatewayError]


def register(host: Host, jobs: Sequence[Job], declared: bool, dry_run: bool) -> Registration:
    """Register jobs at every gateway and return what changed there.

    What a gateway does not take is kept for it. A `declared` job without known starts gets no
    deadline: Prometheus knows its maximum age, and a deadline would outlive successes that the job
    pushes without the reporter. Raises ScheduleError before anything is sent, and OSError.
    """
    due = deadlines([job.schedule for job in jobs], time.time())
    candidates = []
    for job, moment in zip(jobs, due):
        memory = host.state.read(job.name)
        candidates.append(
            Candidate(
                job,
                None if declared and not job.schedule.has_starts else moment,
                is_registered=memory.get("schedule") == [*job.schedule],
                is_new=declared and not memory.get("declared"),
            )
        )
    results = [
        result
        for gateway in host.gateways
        for result in _register_at(host, gateway, candidates, dry_run)
    ]
    for candidate in candidates:
        if candidate.is_new and not dry_run:
            host.state.update(candidate.job.name, declared=True)
    return Registration(
        sorted(result for result in results if isinstance(result, str)),
        [result for result in results if isinstance(result, GatewayError)],
    )


def forget_undeclared(host: Host, declared: Sequence[str], dry_run: bool) -> list[str]:
    """Forget jobs that were declared once, and their kept reports; return a line for each.

    Their groups stay at the gateways. Raises OSError.
    """
    undeclared = [
        name
        for name in host.state.jobs()
        if name not in declared and host.state.read(name).get("declared")
    ]
    for name in undeclared:
        if not dry_run:
            host.spool.forget_group(host.group(name))
            host.state.forget(name)
    return [f"{name}: forgotten, it is declared no longer" for name in undeclared]


def addition(candidate: Candidate, group: Mapping[str, Samples], now: float) -> Addition:
    """Compare a declaration with what a gateway holds of the job.

    A deadline that has passed stays, so that an overdue job stays overdue until it succeeds; so
    does any deadline while the schedule stays. A job that pushes its successes itself, without the
    reporter, gets nothing where its age alone decides: its next push would remove it again.
    """
    job, deadline = candidate.job, candidate.due
    last_success = _value(group, LAST_SUCCESS)
    if job.schedule.max_age and last_success is not None:
        if INFO not in group:
            return Addition([], None)
        if deadline is None and DEADLINE in group:
            # Its last report set the deadline; another age or a pause moves it.
            begin = max(last_success, job.schedule.paused_until or 0)
            deadline = begin + job.schedule.max_age
    declared = metrics.declaration(job)
    changed = [family for family in declared if metrics.samples(family) != group.get(family.name)]
    is_same_schedule = all(
        family.name == INFO and _schedule(metrics.samples(family)) == _schedule(group.get(INFO))
        for family in changed
    )
    current = _value(group, DEADLINE)
    is_kept = current is not None and not candidate.is_new and (is_same_schedule or current < now)
    if current is not None and current < (job.schedule.paused_until or 0):
        # What was due before or during a pause is due after it.
        is_kept = False
    if deadline is None or is_kept:
        return Addition(changed, None)
    family = metrics.gauge("deadline_timestamp_seconds", deadline)
    return Addition([*declared, family], deadline)


class _Visit(NamedTuple):
    """A gateway and the groups that it holds; None when it did not answer."""

    host: Host
    gateway: Gateway
    groups: Groups | None
    # This host may push there, and not read: its memory has to do.
    is_blind: bool
    dry_run: bool

    def register(self, candidate: Candidate) -> str | GatewayError | None:
        """Register one job, or keep its registration; return a change or an error, if any."""
        job = candidate.job
        if self.groups is None and candidate.is_registered:
            candidate = candidate._replace(due=None)
        known = self.host.state.read(job.name) if self.is_blind else {}
        registered = known.get("registered", {})
        if self.is_blind:
            if registered.get(self.gateway.url) == _digest(job):
                return None
            if candidate.is_registered:
                candidate = candidate._replace(due=known.get("deadline"))
        group = (self.groups or {}).get(self.host.group(job.name), {})
        lacking = addition(candidate, group, time.time())
        report = self.host.report(job.name, lacking.families, replace=False)
        if not self.dry_run:
            deadline = _value(group, DEADLINE) if lacking.deadline is None else lacking.deadline
            memory = {} if deadline is None else {"deadline": deadline}
            self.host.state.update(job.name, schedule=[*job.schedule], **memory)
            try:
                if lacking.families and self.groups is None:
                    self.host.spool.keep(self.gateway.url, report)
                elif lacking.families:
                    push(self.host, self.gateway, report)
                if self.is_blind:
                    registered = {**registered, self.gateway.url: _digest(job)}
                    self.host.state.update(job.name, registered=registered)
            except GatewayError as error:
                self.host.spool.keep(self.gateway.url, report)
                return error
        if self.groups is None or not lacking.families:
            return None
        due = f", due {_clock(lacking.deadline)}" if lacking.deadline is not None else ""
        return f"{job.name}: registered at {self.gateway.url}{due}"


def _register_at(
    host: Host, gateway: Gateway, candidates: Sequence[Candidate], dry_run: bool
) -> list[str | GatewayError | None]:
    """Register jobs at one gateway, after its kept reports; return changes and errors."""
    results: list[str | GatewayError | None] = []
    groups: Groups | None = None
    is_blind = False
    try:
        if not dry_run:
            flush(host, [gateway])
        groups = host.transport(gateway).groups(gateway)
    except ForbiddenError:
        groups, is_blind = {}, True
    except GatewayError as error:
        results.append(error)
    visit = _Visit(host, gateway, groups, is_blind, dry_run)
    with ThreadPoolExecutor(PARALLEL_PUSHES) as pool:
        return results + list(pool.map(visit.register, candidates))


def _value(group: Mapping[str, Samples], name: str) -> float | None:
    """Return the value of a metric in a group, if it is there."""
    samples = group.get(name)
    return samples[0][1] if samples else None


def _digest(job: Job) -> str:
    """Return a digest of what is registered of a job, without its deadline."""
    declared = [(family.name, metrics.samples(family)) for family in metrics.declaration(job)]
    return hashlib.sha256(repr(declared).encode()).hexdigest()


def _schedule(samples: Samples | None) -> str:
    """Return the schedule that a job's info names."""
    return samples[0][0].get("schedule", "") if samples else ""


def _clock(moment: float) -> str:
    """Return a Unix time for people, in the host's time zone."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))
