"""Alertmanager: routes as given, secrets unseen, and a rollout that notices what does not run."""

import pytest

from clients import Alertmanager, eventually
from conftest import connect

testinfra_hosts = ["ansible://debian12"]


@pytest.fixture
def alertmanager():
    return connect(Alertmanager, "debian12")


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (
            {"alertmanager_route": {"receiver": "no one we know"}},
            'undefined receiver "no one we know"',
        ),
        ({"alertmanager_retention": "long"}, 'invalid duration "long"'),
        ({"alertmanager_extra_flags": {"web.colour": "blue"}}, "unknown long flag '--web.colour'"),
        (
            {"alertmanager_severities": [{"name": "critical", "repeat": "1h"}]},
            "alertmanager_severities.repeat. Supported parameters include",
        ),
    ],
    ids=["route to nowhere", "value of a flag", "unknown flag", "misspelt option of a severity"],
)
def test_what_alertmanager_cannot_use_is_refused_while_it_runs_on(
    alertmanager, refused, variables, message
):
    before = alertmanager.config()
    assert message in refused("debian12", "alertmanager", **variables)
    assert alertmanager.config() == before


def test_receivers_also_hear_of_the_end_and_secrets_stay_out_of_sight(copy):
    slack = {"api_url_file": "/etc/alertmanager/secrets/slack", "channel": "#backups"}
    done = copy.roll_out(
        "alertmanager",
        "--diff",
        alertmanager_receivers=[{"name": "chat", "slack_configs": [slack]}],
        alertmanager_secret_files={"secrets/slack": "https://hooks.example/T0P-S3CR3T"},
    )
    assert done.status == 0, done.message
    assert "channel: '#backups'" in done.diff
    assert "T0P-S3CR3T" not in done.diff
    assert eventually(lambda: "send_resolved: true" in copy.alertmanager.config())
    secret = copy.host.file("/etc/alertmanager/secrets/slack")
    assert (secret.content_string, secret.mode) == ("https://hooks.example/T0P-S3CR3T", 0o640)


def test_a_service_that_cannot_run_fails_the_rollout_with_its_last_words(copy):
    copy.host.check_output("systemd-run --unit=squatter python3 -m http.server 9193")
    done = copy.roll_out(
        "alertmanager", alertmanager_listen_address=":9193", alertmanager_ready={"retries": 5}
    )
    assert done.status != 0
    assert "alertmanager" in done.message
    assert "address already in use" in done.message


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
REJECTED = {"alertname": "BatchJobReportRejected", **HOST_JOB}
EXPLAINED = {"alertname": "BatchJobExplained", "severity": "none", **HOST_JOB}
FOLLOWS = {"alertname": "BatchJobFollows", "severity": "none", **HOST_JOB}
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
        (EXPLAINED, MISSED),
        (FAILED, SHRUNK),
        (FAILED, EMPTY),
        (STUCK, EMPTY),
        (MISSED, UNREPORTED),
        (EMPTY, SHRUNK),
        (REJECTED, MISSED),
        (REJECTED, STUCK),
        (REJECTED, UNREPORTED),
        (REJECTED, EMPTY),
        (FOLLOWS, FAILED),
        (FOLLOWS, MISSED),
        (FOLLOWS, STUCK),
        (FOLLOWS, EMPTY),
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
        # Somebody may have silenced it.
        (FAILED, MISSED),
        (STUCK, MISSED),
        (EXPLAINED, MISSED | {"instance": "db-2"}),
        (EXPLAINED, MISSED | {"job": "restore"}),
        (FAILED, SHRUNK | {"instance": "db-2"}),
        (FAILED, EMPTY | {"job": "restore"}),
        (EMPTY, SHRUNK | {"job": "restore"}),
        (MISSED, UNREPORTED | {"instance": "db-2"}),
        (FAILED, STUCK),
        (FOLLOWS, FAILED | {"job": "restore"}),
        (FOLLOWS, UNREPORTED),
        (REJECTED, FAILED),
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
