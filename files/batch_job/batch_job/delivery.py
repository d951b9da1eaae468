"""Brings a report to every gateway, or keeps it for those that do not take it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from prometheus_client.metrics_core import Metric

from batch_job import gateway as network
from batch_job import metrics
from batch_job.config import Gateway
from batch_job.gateway import CredentialsError, GatewayError, RejectedError
from batch_job.messages import Tell, print_error
from batch_job.spool import Kept, Report, Spool, after

# Seconds that a report may take in all, whatever name servers and gateways do.
LIMIT = 5.0

Push = Callable[[Gateway, network.Group, Sequence[Metric], bool], None]


class Delivery:
    """A report on its way to all gateways at once; `finish` waits for it."""

    def __init__(
        self,
        report: Report,
        gateways: Sequence[Gateway],
        spool: Spool,
        push: Push = network.push,
        tell: Tell = print_error,
        limit: float = LIMIT,
    ) -> None:
        """Start to send; `limit` is in seconds."""
        self._report = report
        self._spool = spool
        self._push = push
        self._tell = tell
        self._seconds = limit
        self._limit = time.monotonic() + limit
        self._errors: dict[Gateway, Exception | None] = {}
        self._threads = {
            # A daemon, so that one which hangs in a name server does not keep the process.
            gateway: threading.Thread(target=self._send, args=(gateway,), daemon=True)
            for gateway in gateways
        }
        for thread in self._threads.values():
            thread.start()

    def finish(self) -> list[Exception]:
        """Wait, keep the report for gateways that did not take it, and return their errors."""
        errors = []
        taken = []
        for gateway, thread in self._threads.items():
            thread.join(max(0.0, self._limit - time.monotonic()))
            late = GatewayError(f"{gateway.url} took more than {self._seconds:g} s")
            error = self._errors.get(gateway, late)
            if error is None:
                taken.append(gateway)
            else:
                errors.append(error)
                self._keep(gateway, error)
        self._send_kept(taken)
        return errors

    def _send(self, gateway: Gateway) -> None:
        """Send the report to one gateway, after what waits for it of the same group."""
        try:
            kept = self._spool.find(gateway.url, self._report.group)
            if kept is None:
                send(gateway, self._report, self._push, self._tell)
            else:
                with self._spool.sending(gateway.url):
                    kept = self._spool.find(gateway.url, self._report.group)
                    whole = after(kept.report, self._report) if kept else self._report
                    send(gateway, whole, self._push, self._tell)
                    if kept:
                        self._spool.forget(kept)
            self._errors[gateway] = None
        except Exception as error:
            self._errors[gateway] = error

    def _keep(self, gateway: Gateway, error: Exception) -> None:
        """Keep the report for a gateway, unless that will never take it."""
        job = self._report.group.job
        if isinstance(error, RejectedError):
            self._tell(f"{job}: {error}; the report is dropped")
            return
        try:
            dropped = self._spool.keep(gateway.url, self._report)
        except OSError as failure:
            self._tell(f"{job}: {error}; the report is lost, it cannot be kept: {failure}")
            return
        self._tell(f"{job}: {error}; the report is kept and will be sent later")
        for group in dropped:
            self._tell(f"{group.job}: its kept report is dropped, there are too many")

    def _send_kept(self, gateways: Sequence[Gateway]) -> None:
        """Use what is left of the time to send what waits for gateways that answer."""
        try:
            if gateways and not self._spool.is_empty():
                flush(gateways, self._spool, self._limit, self._push, self._tell)
        except OSError as error:
            self._tell(f"the kept reports cannot be sent: {error}")


def send(gateway: Gateway, report: Report, push: Push, tell: Tell) -> None:
    """Push a report with its delay. Raises GatewayError.

    When the gateway rejects it because of the job's own metrics, they are left out.
    """
    delay = metrics.gauge("report_delay_seconds", max(0.0, round(time.time() - report.created, 3)))
    contract = metrics.without_own(report.families)
    try:
        push(gateway, report.group, [*report.families, delay], report.replace)
    except RejectedError as error:
        if not contract or len(contract) == len(report.families):
            raise
        push(gateway, report.group, [*contract, delay], report.replace)
        tell(f"{report.group.job}: {error}; the job's own metrics are left out")


def flush(
    gateways: Sequence[Gateway],
    spool: Spool,
    limit: float = float("inf"),
    push: Push = network.push,
    tell: Tell = print_error,
) -> int:
    """Send what waits for the gateways and return how many reports were delivered.

    Ends at `limit`, on the monotonic clock, and leaves a gateway alone once it fails. Raises
    OSError when the spool cannot be read.
    """
    delivered = 0
    by_url = {gateway.url: gateway for gateway in gateways}
    for found in spool.kept():
        gateway = by_url.get(found.url)
        if gateway is None or time.monotonic() > limit:
            continue
        with spool.sending(gateway.url):
            # Meanwhile somebody else may have sent it, or added to it.
            kept = spool.find(found.url, found.report.group)
            if kept is None:
                continue
            try:
                send(gateway, kept.report, push, tell)
                delivered += 1
            except RejectedError as error:
                tell(f"{kept.report.group.job}: {error}; the report is dropped")
            except GatewayError as error:
                tell(_cannot_flush(kept, error))
                del by_url[found.url]
                continue
            spool.forget(kept)
    return delivered


def _cannot_flush(kept: Kept, error: GatewayError) -> str:
    """Return the sentence for a gateway that does not take what is kept for it."""
    cause = "its credentials" if isinstance(error, CredentialsError) else "it"
    return f"{kept.report.group.job}: {error}; the report waits for {cause}"
