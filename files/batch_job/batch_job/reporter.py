"""Reports the runs of one job and remembers them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prometheus_client.metrics_core import Metric

from batch_job import metrics
from batch_job.config import Job
from batch_job.delivery import REPORT_TIMEOUT_SECONDS, Delivery
from batch_job.host import Host
from batch_job.outcome import SUCCESS, Outcome
from batch_job.schedule import ScheduleError, deadlines


class Reporter:
    """Reports the runs of one job."""

    def __init__(self, host: Host, job: Job) -> None:
        """Remember both; send nothing yet."""
        self._host = host
        self._job = job
        self._start: Delivery | None = None

    def started(self, memory: dict[str, Any]) -> None:
        """Start to send the report of a start. `memory` has `started`, in Unix seconds."""
        self._remember(**memory)
        # Under systemd, the job waits for this, and it counts as a part of its runtime.
        max_runtime = self._job.schedule.max_runtime
        timeout_seconds = min(REPORT_TIMEOUT_SECONDS, max_runtime / 2 if max_runtime else math.inf)
        families = metrics.start(self._job, memory["started"])
        self._start = self._send(families, replace=False, timeout_seconds=timeout_seconds)

    def finish(self) -> None:
        """Wait until the report of the start has arrived or is kept."""
        if self._start is not None:
            self._start.finish()
            self._start = None

    def memory(self) -> dict[str, Any]:
        """Return what `started` was given, in this process or in an earlier one."""
        return self._host.state.read(self._job.name)

    def ended(self, outcome: Outcome, own_metrics: Path | None) -> None:
        """Send the report of an end with the job's own metrics."""
        own = metrics.read_own(own_metrics) if own_metrics else metrics.OwnMetrics([], [])
        for problem in own.problems:
            self._host.log(f"{self._job.name}: {problem}")
        is_success = outcome.result == SUCCESS
        due = self._deadline(outcome.ended) if is_success else None
        families = [*metrics.end(self._job, outcome, due), *own.families]
        self.finish()
        # A success without a new deadline must not remove the current one.
        replace = is_success and (due is not None or self._job.schedule.is_empty)
        delivery = self._send(families, replace)
        deadline = {} if due is None else {"deadline": due}
        self._remember(
            ended=outcome.ended, result=outcome.result, exit_code=outcome.exit_code, **deadline
        )
        delivery.finish()

    def _send(
        self,
        families: Sequence[Metric],
        replace: bool,
        timeout_seconds: float = REPORT_TIMEOUT_SECONDS,
    ) -> Delivery:
        """Start to send a report to all gateways."""
        report = self._host.report(self._job.name, families, replace)
        return Delivery(self._host, report, timeout_seconds).start()

    def _deadline(self, after: float) -> float | None:
        """Return when the next success is due; log a schedule that cannot be understood."""
        try:
            return deadlines([self._job.schedule], after)[0]
        except ScheduleError as error:
            self._host.log(f"{self._job.name}: {error}; its next deadline is unknown")
            return None

    def _remember(self, **memory: Any) -> None:
        """Store what `batch-job status` shows; only log when it cannot be stored."""
        try:
            self._host.state.update(self._job.name, **memory)
        except OSError as error:
            self._host.log(f"{self._job.name}: {error}")
