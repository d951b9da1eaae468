"""A silence of a host: its jobs alert nobody as long as it lasts, the watching itself does."""

import pytest

from clients import Alertmanager, eventually
from conftest import connect

testinfra_hosts = ["ansible://monitor"]

FAILED = {"alertname": "BatchJobFailed", "job": "made-up", "instance": "fileserver"}
DOWN = {"alertname": "PushgatewayDown", "job": "pushgateway", "instance": "fileserver"}
WANTED = {"silence_host": "fileserver", "silence_for": "2h", "silence_why": "new disk"}


@pytest.fixture
def alertmanager():
    """Send two alerts; end them and the silence after the test."""
    service = connect(Alertmanager, "monitor")
    service.fire(FAILED, DOWN)
    yield service
    service.fire(FAILED, DOWN, ends=True)


def test_a_host_is_silenced_until_the_silence_ends(rollout, alertmanager):
    def silence(*arguments, **variables):
        return rollout(*arguments, variables=variables, playbook="silence.yml")

    refused = silence(**{**WANTED, "silence_host": "fileservr"})
    assert (refused.status != 0, refused.changed("monitor")) == (True, 0)
    assert "there is no fileservr; did you mean fileserver?" in refused.message
    checked = silence("--check", **WANTED)
    assert (checked.status, checked.changed("monitor")) == (0, 0)
    assert "firing: BatchJobFailed of made-up on fileserver" in checked.diff
    assert alertmanager.state(FAILED) == "active"
    assert silence(**WANTED).changed("monitor") == 1
    assert eventually(lambda: alertmanager.state(FAILED) == "suppressed")
    assert alertmanager.state(DOWN) == "active"
    assert silence(**WANTED).changed("monitor") == 0
    assert silence(silence_host="fileserver", silence_end=True).changed("monitor") == 1
    assert eventually(lambda: alertmanager.state(FAILED) == "active")
