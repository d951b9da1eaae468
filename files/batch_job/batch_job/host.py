"""What all reports of a host share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from prometheus_client.metrics_core import Metric

from batch_job.gateway import Gateway, Group
from batch_job.log import Log, log_error
from batch_job.spool import Report, Spool
from batch_job.state import State
from batch_job.transport import Transport, transport_for


class Host(NamedTuple):
    """Where the reports of a host go, wait and leave a trace."""

    instance: str
    gateways: Sequence[Gateway]
    spool: Spool
    state: State
    log: Log = log_error
    transport: Callable[[Gateway], Transport] = transport_for

    def group(self, job: str) -> Group:
        """Return the group of a job."""
        return Group(job, self.instance)

    def report(self, job: str, families: Iterable[Metric], replace: bool) -> Report:
        """Return a report of a job that is made now."""
        return Report(self.group(job), list(families), replace, time.time())
