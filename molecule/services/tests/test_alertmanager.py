"""Alertmanager: routes as given, secrets unseen, and a rollout that notices what does not run."""

import pytest

from clients import Alertmanager, eventually
from conftest import connect

testinfra_hosts = ["ansible://debian12"]


@pytest.fixture
def alertmanager():
    return connect(Alertmanager, "debian12")


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


HOST_JOB = {"job": "dump", "instance": "db-1"}
BLIND = {"alertname": "PushgatewayDown", "instance": "push-1:9091", "blind": "yes"}
HALF_BLIND = {"alertname": "PushgatewayDown", "instance": "push-1:9091"}
STATE_LOST = {"alertname": "PushgatewayStateLost", "pushgateway": "push-1"}
DECLARATIONS_MISSING = {"alertname": "BatchJobDeclarationsMissing"}
UNDECLARED = {"alertname": "BatchJobUndeclared", **HOST_JOB}
FAILED = {"alertname": "BatchJobFailed", **HOST_JOB}
STUCK = {"alertname": "BatchJobStuck", **HOST_JOB}
MISSED = {"alertname": "BatchJobMissed", **HOST_JOB}
UNREPORTED = {"alertname": "BatchJobUnreported", **HOST_JOB}
SHRUNK = {"alertname": "BackupShrunk", **HOST_JOB}
EMPTY = {"alertname": "BackupEmpty", **HOST_JOB}


@pytest.fixture
def fire(alertmanager):
    """Return a function that sends alerts, which end with the test."""
    sent = []

    def fire(*alerts):
        sent.extend(alerts)
        alertmanager.fire(*alerts)

    yield fire
    alertmanager.fire(*sent, ends=True)


@pytest.mark.parametrize(
    ("cause", "effect"),
    [
        (BLIND, MISSED),
        (BLIND, STUCK),
        (BLIND, UNREPORTED),
        (STATE_LOST, UNREPORTED),
        (DECLARATIONS_MISSING, UNDECLARED),
        (FAILED, MISSED),
        (STUCK, MISSED),
        (FAILED, SHRUNK),
        (FAILED, EMPTY),
        (STUCK, EMPTY),
        (MISSED, UNREPORTED),
        (EMPTY, SHRUNK),
    ],
    ids=lambda labels: labels["alertname"],
)
def test_a_cause_silences_its_effect_and_never_the_other_way_round(
    alertmanager, fire, cause, effect
):
    fire(effect)
    assert eventually(lambda: alertmanager.state(effect) == "active")
    fire(cause)
    assert eventually(lambda: alertmanager.state(effect) == "suppressed")
    assert alertmanager.state(cause) == "active"


@pytest.mark.parametrize(
    ("other", "alert"),
    [
        # Another gateway is left, so a missed job is news.
        (HALF_BLIND, MISSED),
        # A job that is known to have failed stays known.
        (BLIND, FAILED),
        (BLIND, SHRUNK),
        (STATE_LOST, MISSED),
        (FAILED, MISSED | {"instance": "db-2"}),
        (FAILED, MISSED | {"job": "restore"}),
        (EMPTY, SHRUNK | {"job": "restore"}),
        (MISSED, UNREPORTED | {"instance": "db-2"}),
        (FAILED, STUCK),
    ],
    ids=lambda labels: labels["alertname"],
)
def test_what_explains_nothing_silences_nothing(alertmanager, fire, other, alert):
    fire(other, alert)
    assert eventually(lambda: alertmanager.state(other) == "active")
    assert alertmanager.state(alert) == "active"


def test_a_dead_backup_server_is_one_notification_for_each_owner(alertmanager, fire):
    fire(
        *(
            {"alertname": "BatchJobMissed", "job": "many", "instance": f"web-{n}", "owner": owner}
            for owner in ("dba", "ops")
            for n in range(100)
        )
    )
    groups = eventually(lambda: [g for g in alertmanager.groups("many") if len(g) == 100])
    assert len(groups) == 2


def test_a_misspelt_option_of_a_severity_is_refused_before_anything_changes(rollout):
    variables = {"alertmanager_severities": [{"name": "critical", "repeat": "1h"}]}
    done = rollout("--limit", "debian12", "--tags", "alertmanager", variables=variables)
    assert done.status != 0
    assert "alertmanager_severities.repeat. Supported parameters include" in done.message
    assert done.changed("debian12") == 0
