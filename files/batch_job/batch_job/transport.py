"""Chooses how to reach a gateway: over HTTP, or as a directory that node_exporter reads."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from prometheus_client.metrics_core import Metric

from batch_job.gateway import Gateway, Group, Groups


class Transport(Protocol):
    """A module that reads and changes the groups of a gateway. All raise GatewayError."""

    def push(
        self, gateway: Gateway, group: Group, families: Iterable[Metric], replace: bool
    ) -> None:
        """Replace a group by the families, or add them to it."""

    def delete(self, gateway: Gateway, group: Group) -> None:
        """Delete a group, if it is there."""

    def groups(self, gateway: Gateway) -> Groups:
        """Return all groups of jobs."""


def transport_for(gateway: Gateway) -> Transport:
    """Return the module that reaches a gateway."""
    if gateway.directory:
        from batch_job import textfile

        return textfile
    from batch_job import pushgateway

    return pushgateway
