"""Alertmanager: routes as given, secrets unseen, and a rollout that notices what does not run."""

import pytest

from conftest import Alertmanager
from lab.console import eventually

testinfra_hosts = ["ansible://debian12"]


@pytest.fixture
def alertmanager():
    return Alertmanager("debian12")


def test_a_route_to_nowhere_is_refused_and_the_old_configuration_runs_on(
    alertmanager, changed_host
):
    before = alertmanager.config()
    done = changed_host(
        "debian12", "alertmanager", alertmanager_route={"receiver": "no one we know"}
    )
    assert done.status != 0
    assert 'undefined receiver "no one we know"' in done.message
    assert done.changed("debian12") == 0
    assert alertmanager.config() == before


def test_receivers_also_hear_of_the_end_and_secrets_stay_out_of_sight(
    host, alertmanager, changed_host
):
    slack = {"api_url_file": "/etc/alertmanager/secrets/slack", "channel": "#backups"}
    done = changed_host(
        "debian12",
        "alertmanager",
        "--diff",
        alertmanager_receivers=[{"name": "chat", "slack_configs": [slack]}],
        alertmanager_secret_files={"secrets/slack": "https://hooks.example/T0P-S3CR3T"},
    )
    assert done.status == 0, done.message
    assert "channel: '#backups'" in done.diff
    assert "T0P-S3CR3T" not in done.diff
    assert eventually(lambda: "send_resolved: true" in alertmanager.config())
    secret = host.file("/etc/alertmanager/secrets/slack")
    assert (secret.content_string, secret.mode) == ("https://hooks.example/T0P-S3CR3T", 0o640)


def test_a_service_that_cannot_run_fails_the_rollout_with_its_last_words(host, changed_host):
    host.check_output("systemd-run --unit=squatter python3 -m http.server 9193")
    done = changed_host(
        "debian12",
        "alertmanager",
        alertmanager_listen_address=":9193",
        alertmanager_ready={"retries": 5},
    )
    host.check_output("systemctl stop squatter")
    assert done.status != 0
    assert "alertmanager" in done.message
    assert "address already in use" in done.message


def test_a_flag_value_that_the_program_refuses_changes_nothing(rollout):
    variables = {"alertmanager_retention": "long"}
    done = rollout("--limit", "debian12", "--tags", "alertmanager", variables=variables)
    assert done.status != 0
    assert 'invalid duration "long"' in done.message
    assert done.changed("debian12") == 0


def test_a_flag_that_the_program_does_not_know_is_refused_before_anything_changes(changed_host):
    done = changed_host("debian12", "alertmanager", alertmanager_extra_flags={"web.colour": "blue"})
    assert done.status != 0
    assert "unknown long flag '--web.colour'" in done.message
    assert done.changed("debian12") == 0
