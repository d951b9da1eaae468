"""Tests of first rollouts leave the host as they found it: empty."""

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
    """Assert that nothing is installed before a test and, unless it is `cleaned`, after it."""
    assert installed(host) == ""
    yield
    assert installed(host) == ""
    assert not any(host.user(name).exists for name in SERVICES)


@pytest.fixture
def cleaned(untouched: None, host: Any) -> Iterator[None]:
    """Remove what a test installs, before `untouched` looks."""
    yield
    names = " ".join(SERVICES)
    host.run(f"systemctl disable --now {names} $(cd /etc/systemd/system; ls *batch-job*.timer)")
    host.run(
        "apt-get --quiet --yes purge grafana; systemctl stop grafana-server; rm -rf /etc/grafana"
        " /var/lib/grafana /etc/apt/*/batch-jobs-grafana* /etc/systemd/system/grafana-server*"
    )
    host.run(
        f"for name in {names}; do rm -rf /opt/$name* /etc/$name /var/lib/$name"
        " /etc/systemd/system/$name.service /etc/systemd/system/$name-state.*; userdel $name; done;"
        " rm -rf /usr/local/bin/batch-job /etc/batch-job /var/lib/batch-job"
        " /etc/systemd/system/*batch-job*; systemctl daemon-reload"
    )
