"""Reports the runs of one job and remembers them."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prometheus_client.metrics_core import Metric

from batch_job import metrics
from batch_job.backup_size import backup_size
from batch_job.config import Job
from batch_job.delivery import REPORT_TIMEOUT_SECONDS, Delivery
from batch_job.host import Host
from batch_job.outcome import Outcome
from batch_job.schedule import ScheduleError, deadlines

# Under systemd, the parts of a job's wait that its start and its end may take.
UNIT_START_TIMEOUT_SECONDS = 2.0
UNIT_END_TIMEOUT_SECONDS = REPORT_TIMEOUT_SECONDS - UNIT_START_TIMEOUT_SECONDS


class Reporter:
    """Reports the runs of one job."""

    def __init__(self, host: Host, job: Job, unit: str = "") -> None:
        """Remember them, and the systemd unit of the run, if any; send nothing yet."""
        self._host = host
        self._job = job
        self._unit = unit
        self._start: Delivery | None = None

    def started(
        self, memory: dict[str, Any], timeout_seconds: float = REPORT_TIMEOUT_SECONDS
    ) -> None:
        """Start to send the report of a start. `memory` has `started`, in Unix seconds."""
        self._remember(**memory)
        # Under systemd, this counts as a part of the job's runtime.
        max_runtime = self._job.schedule.max_runtime
        timeout_seconds = min(timeout_seconds, max_runtime / 2 if max_runtime else math.inf)
        families = metrics.start(self._job, memory["started"], self._unit)
        self._start = self._send(families, replace=False, timeout_seconds=timeout_seconds)

    def finish(self) -> None:
        """Wait until the report of the start has arrived, is kept, or is no longer needed."""
        if self._start is not None:
            self._start.finish()

    @property
    def output_lines(self) -> int:
        """How many lines of a run that fails are reported."""
        return self._job.report_output

    def memory(self) -> dict[str, Any]:
        """Return what `started` was given, in this process or in an earlier one."""
        return self._host.state.read(self._job.name)

    def ended(
        self,
        outcome: Outcome,
        own_metrics: Path | None,
        timeout_seconds: float = REPORT_TIMEOUT_SECONDS,
    ) -> Outcome:
        """Send the report of an end, with the job's own metrics; it contains that of the start.

        Returns the outcome with the result that was reported.
        """
        outcome = outcome.judged(self._job.warning_exit_codes)
        if outcome.output is None and self.memory().get("output"):
            # An empty label removes that of an earlier failure.
            outcome = outcome._replace(output="")
        deadline = time.monotonic() + timeout_seconds
        own = metrics.read_own(own_metrics) if own_metrics else metrics.OwnMetrics([], [])
        for problem in own.problems:
            self._host.log(f"{self._job.name}: {problem}")
        due = self._due(outcome, timeout_seconds / 2) if outcome.is_success else None
        own_families = own.families
        if outcome.is_success and self._job.backup_size_of:
            # What the job itself says counts more.
            own_families = metrics.merge(self._size(timeout_seconds / 4), own_families)
        families = [*metrics.end(self._job, outcome, due, self._unit), *own_families]
        # A success without a new deadline, or without the declaration, must not remove the current
        # one.
        is_complete = due is not None or self._job.schedule.is_empty
        replace = outcome.is_success and is_complete and not self._job.is_damaged
        if self._start is not None:
            self._start.supersede()
        delivery = self._send(families, replace, deadline - time.monotonic())
        self._remember(
            started=outcome.started,
            ended=outcome.ended,
            result=outcome.result,
            exit_code=outcome.exit_code,
            retries=outcome.retries,
            output=None if outcome.is_success else outcome.output,
            **({} if due is None else {"deadline": due}),
        )
        delivery.finish()
        return outcome

    def _send(self, families: Sequence[Metric], replace: bool, timeout_seconds: float) -> Delivery:
        """Start to send a report to all gateways."""
        report = self._host.report(self._job.name, families, replace)
        return Delivery(self._host, report, timeout_seconds).start()

    def _size(self, timeout_seconds: float) -> list[Metric]:
        """Return the size of the backup; log why it is unknown."""
        path = self._job.backup_size_of
        try:
            size = backup_size(Path(path), timeout_seconds)
        except OSError as error:
            reason = error.strerror or str(error)
            self._host.log(f"{self._job.name}: the size of {path} is unknown: {reason}")
            return []
        return metrics.check_own(f"backup_size_bytes {size}\n").families

    def _due(self, outcome: Outcome, timeout_seconds: float) -> float | None:
        """Return when the next success is due; log a schedule that cannot be understood."""
        schedule = self._job.schedule
        after = schedule.reference(outcome.started, outcome.ended)
        try:
            return deadlines([schedule], after, timeout_seconds)[0]
        except ScheduleError as error:
            self._host.log(f"{self._job.name}: {error}; its next deadline is unknown")
            return None

    def _remember(self, **memory: Any) -> None:
        """Store what `batch-job status` shows; only log when it cannot be stored."""
        try:
            self._host.state.update(self._job.name, **memory)
        except OSError as error:
            self._host.log(f"{self._job.name}: {error}")
