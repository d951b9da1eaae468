"""Chooses how to reach a gateway: over HTTP, or as a directory that node_exporter reads."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from prometheus_client.metrics_core import Metric

from batch_job.gateway import Gateway, Group


class Transport(Protocol):
    """What a module can do to the groups of a gateway. All raise GatewayError."""

    def push(
        self, gateway: Gateway, group: Group, families: Iterable[Metric], replace: bool
    ) -> None:
        """Replace a group by the families, or add them to it."""

    def delete(self, gateway: Gateway, group: Group) -> None:
        """Delete a group, if it is there."""

    def groups(self, gateway: Gateway) -> dict[Group, dict[str, Any]]:
        """Return all groups and their metrics, in the shape of Pushgateway's API."""


def transport_for(gateway: Gateway) -> Transport:
    """Return the module that reaches a gateway."""
    if gateway.directory:
        from batch_job import textfile

        return textfile
    from batch_job import pushgateway

    return pushgateway
