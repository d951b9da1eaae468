"""Brings a report to every gateway, or keeps it for those that do not take it."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from prometheus_client.metrics_core import Metric

from batch_job import metrics
from batch_job.gateway import (
    ConflictError,
    CredentialsError,
    Gateway,
    GatewayError,
    RejectedError,
)
from batch_job.host import Host
from batch_job.spool import Report, combine

# How long a job waits for its reports in all, whatever name servers and gateways do.
REPORT_TIMEOUT_SECONDS = 5.0
# A gateway names all conflicts of a report at once, unless there are very many.
MAX_PUSHES = 4


class Delivery:
    """A report on its way to all gateways at once: `start` it, then `finish` it."""

    def __init__(
        self, host: Host, report: Report, timeout_seconds: float = REPORT_TIMEOUT_SECONDS
    ) -> None:
        """Prepare to send a report."""
        self._host = host
        self._report = report
        self._timeout_seconds = timeout_seconds
        self._deadline = math.inf
        self._errors: dict[Gateway, Exception | None] = {}
        self._threads: dict[Gateway, threading.Thread] = {}
        self._keeping = threading.Lock()
        self._is_superseded = False

    def start(self) -> Delivery:
        """Send the report to all gateways, each in a thread of its own; return this delivery."""
        self._deadline = time.monotonic() + self._timeout_seconds
        for gateway in self._host.gateways:
            # A daemon, so that a thread which hangs in a name server does not keep the process.
            thread = threading.Thread(target=self._send, args=(gateway,), daemon=True)
            # A limit of processes or memory may allow no thread.
            with suppress(RuntimeError):
                thread.start()
                self._threads[gateway] = thread
        return self

    def supersede(self) -> None:
        """From now on, neither keep nor log the report: a later one contains it."""
        with self._keeping:
            self._is_superseded = True

    def finish(self) -> list[Exception]:
        """Wait, keep the report for gateways that did not take it, and return their errors."""
        errors = []
        reached = []
        for gateway in self._host.gateways:
            if gateway in self._threads:
                self._threads[gateway].join(self._seconds_left())
            elif self._seconds_left():
                self._send(gateway)
            late = GatewayError(f"{gateway.url} took more than {self._timeout_seconds:.1f} s")
            error = self._errors.get(gateway, late)
            if error is None:
                reached.append(gateway)
            else:
                errors.append(error)
                with self._keeping:
                    if not self._is_superseded:
                        self._keep(gateway, error)
        self._send_kept(reached)
        return errors

    def _seconds_left(self) -> float:
        return max(0.0, self._deadline - time.monotonic())

    def _send(self, gateway: Gateway) -> None:
        """Send the report to one gateway, together with what is kept for it of the same group."""
        spool, group = self._host.spool, self._report.group
        try:
            if spool.find(gateway.url, group) is None:
                send(self._host, gateway, self._report)
            else:
                with spool.sending(gateway.url):
                    kept = spool.find(gateway.url, group)
                    report = combine(kept.report, self._report) if kept else self._report
                    send(self._host, gateway, report)
                    if kept:
                        spool.forget(kept)
            self._errors[gateway] = None
        except Exception as error:
            self._errors[gateway] = error

    def _keep(self, gateway: Gateway, error: Exception) -> None:
        """Keep the report for a gateway, unless it is not about a run and was rejected."""
        log, job = self._host.log, self._report.group.job
        if _is_to_drop(self._report, error):
            log(f"{job}: {error}; the report is dropped")
            return
        try:
            dropped = self._host.spool.keep(gateway.url, self._report)
        except OSError as failure:
            log(f"{job}: {error}; the report is lost, it cannot be kept: {failure}")
            return
        log(f"{job}: {error}; the report is kept and will be sent later")
        for group in dropped:
            log(f"{group.job}: its kept report is dropped, there are too many")

    def _send_kept(self, gateways: Sequence[Gateway]) -> None:
        """Use the rest of the time to send what is kept for gateways that answer."""
        if gateways and not self._host.spool.is_empty():
            thread = threading.Thread(target=self._flush, args=(gateways,), daemon=True)
            with suppress(RuntimeError):
                thread.start()
                thread.join(self._seconds_left())

    def _flush(self, gateways: Sequence[Gateway]) -> None:
        try:
            flush(self._host, gateways, self._deadline)
        except OSError as error:
            self._host.log(f"the kept reports cannot be sent: {error}")


def send(host: Host, gateway: Gateway, report: Report) -> None:
    """Push a report with its delay. Raises GatewayError."""
    delay = metrics.gauge("report_delay_seconds", max(0.0, round(time.time() - report.created, 3)))
    push(host, gateway, report._replace(families=[*report.families, delay]))


def push(host: Host, gateway: Gateway, report: Report) -> None:
    """Push a report as the gateway takes it. Raises GatewayError.

    Where another group has a metric as another type, so does this report from now on; where that
    cannot be, one of the job's own metrics is left out.
    """
    known = host.state.types(gateway.url)
    changes = _Changes({}, [], [])
    families = [
        metrics.retyped(family, known.get(family.name, "")) or family for family in report.families
    ]
    for left in reversed(range(MAX_PUSHES)):
        try:
            host.transport(gateway).push(gateway, report.group, families, report.replace)
            break
        except RejectedError as error:
            if not left:
                raise
            families = changes.adapt(families, error)
    if changes.reasons:
        host.log(f"{report.group.job}: {'; '.join([*changes.reasons, *changes.results()])}")
    if changes.types:
        with suppress(OSError):
            host.state.learn_types(gateway.url, changes.types)


class _Changes(NamedTuple):
    """What had to be changed in a report, and why."""

    types: dict[str, str]
    left_out: list[str]
    reasons: list[str]

    def results(self) -> list[str]:
        """Return what was changed."""
        words = [f"{name} is sent as {kind} from now on" for name, kind in self.types.items()]
        if self.left_out:
            words.append(f"left out: {', '.join(self.left_out)}")
        return words

    def adapt(self, families: Sequence[Metric], error: RejectedError) -> list[Metric]:
        """Return families that a gateway may take. Raises the error when there is no way."""
        # What is pushed without a report is pushed as it is, or not at all.
        may_leave_out = _is_about_a_run(families)
        conflicts = error.types if isinstance(error, ConflictError) else {}
        if not any(family.name in conflicts for family in families):
            # Nobody knows which metric it is about.
            conflicts = {family.name: set() for family in families if metrics.is_own(family)}
        adapted = []
        for family in families:
            others = {*conflicts.get(family.name, ())} - {metrics.exposed_type(family)}
            changed = metrics.retyped(family, others.pop()) if len(others) == 1 else None
            if family.name not in conflicts:
                adapted.append(family)
            elif changed:
                adapted.append(changed)
                self.types[family.name] = metrics.exposed_type(changed)
            elif not (metrics.is_own(family) and may_leave_out):
                raise error
            else:
                self.left_out.append(family.name)
                self.types.pop(family.name, None)
        if not conflicts:
            raise error
        self.reasons.append(str(error))
        return adapted


def _is_about_a_run(families: Sequence[Metric]) -> bool:
    """Return whether families have more of the contract than the delay of a report."""
    delay = metrics.PREFIX + "report_delay_seconds"
    return any(not metrics.is_own(family) and family.name != delay for family in families)


def _is_to_drop(report: Report, error: Exception) -> bool:
    """Return whether a report that failed is worth nothing later: it is not about a run."""
    return isinstance(error, RejectedError) and not _is_about_a_run(report.families)


def flush(host: Host, gateways: Sequence[Gateway], deadline: float = math.inf) -> int:
    """Send what is kept for some gateways and return how many reports were delivered.

    Ends at `deadline`, on the monotonic clock, and tries no gateway again that has failed. Raises
    OSError when the spool cannot be read.
    """
    delivered = 0
    by_url = {gateway.url: gateway for gateway in gateways}
    for listed in host.spool.kept():
        gateway = by_url.get(listed.url)
        if gateway is None or time.monotonic() > deadline:
            continue
        with host.spool.sending(gateway.url):
            # Another reporter may have sent it meanwhile, or added to it.
            kept = host.spool.find(listed.url, listed.report.group)
            if kept is None:
                continue
            job = kept.report.group.job
            try:
                send(host, gateway, kept.report)
                delivered += 1
            except RejectedError as error:
                if not _is_to_drop(kept.report, error):
                    host.log(f"{job}: {error}; the report waits until that is mended")
                    continue
                host.log(f"{job}: {error}; the report is dropped")
            except GatewayError as error:
                cause = "its credentials" if isinstance(error, CredentialsError) else "it"
                host.log(f"{job}: {error}; the report waits for {cause}")
                del by_url[listed.url]
                continue
            host.spool.forget(kept)
    return delivered
