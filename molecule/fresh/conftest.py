"""Tests of first rollouts find a host that has nothing yet, and leave it so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

SERVICES = ("pushgateway", "prometheus", "alertmanager")


def installed(host: Any) -> str:
    """Return what a rollout puts on a host, as far as it is there."""
    paths = " ".join(f"/opt/{name}* /etc/{name} /etc/systemd/system/{name}*" for name in SERVICES)
    paths += " /etc/grafana /etc/apt/*/batch-jobs-grafana* /etc/systemd/system/grafana-server*"
    paths += " /usr/local/bin/batch-job /etc/batch-job /etc/systemd/system/*batch-job*"
    return str(host.run(f"ls -d {paths} 2>/dev/null").stdout)


@pytest.fixture(autouse=True)
def untouched(host: Any) -> Iterator[None]:
    """Assert that nothing is installed before a test and after it; a test may use a copy."""
    assert installed(host) == ""
    yield
    assert installed(host) == ""
    assert not any(host.user(name).exists for name in SERVICES)
