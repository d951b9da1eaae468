"""What people read: the messages that Alertmanager makes of alerts, by its own tool."""

import json

import pytest

testinfra_hosts = ["ansible://debian12"]

ALERT = {
    "status": "firing",
    "labels": {
        "alertname": "BatchJobMissed",
        "job": "dump",
        "instance": "db-1",
        "owner": "dba",
        "severity": "critical",
    },
    "annotations": {
        "summary": "dump on db-1 is late by 1h 5m 0s",
        "description": "A success was due at 02:00. There has never been one.",
        "runbook_url": "http://metrics:9090/user/runbooks/BatchJobMissed.md",
    },
    "startsAt": "2026-11-23T02:00:10Z",
    "endsAt": "2026-11-23T04:30:10Z",
    "generatorURL": "http://metrics:9090/below/graph?g0.expr=up&g0.tab=1",
}
PAGE = "Look: http://metrics:9090/below/user/"


@pytest.fixture
def render(host):
    """Return a function from the name of a message and alerts to the message."""

    def render(message, *alerts):
        labels = [set(alert["labels"].items()) for alert in alerts]
        data = {
            "receiver": "chat",
            "status": "firing" if any(a["status"] == "firing" for a in alerts) else "resolved",
            "alerts": alerts,
            "groupLabels": {"alertname": "BatchJobMissed"},
            "commonLabels": dict(set.intersection(*labels)),
            "commonAnnotations": {},
            "externalURL": "http://alerts:9093",
        }
        host.check_output(f"cat > /tmp/alerts.json <<'END'\n{json.dumps(data)}\nEND")
        # Debian's build has its own messages in files, upstream's within itself.
        return host.check_output(
            "for each in /usr/share/prometheus/alertmanager /etc/alertmanager/templates; do "
            'set -- "$@" --template.glob="$each/*.tmpl"; done; '
            "/opt/alertmanager/amtool template render --template.data=/tmp/alerts.json "
            f"""--template.text='{{{{ template "{message}" . }}}}' "$@" """
        )

    return render


def resolved(alert):
    return alert | {"status": "resolved"}


def job(name, **labels):
    return ALERT | {"labels": ALERT["labels"] | {"job": name} | labels}


TITLES = ["slack.default.title", "email.default.subject", "pagerduty.default.description"]


@pytest.mark.parametrize("message", [*TITLES, "opsgenie.default.message"])
def test_the_title_says_how_urgent_it_is_and_what_happened(render, message):
    assert render(message, ALERT) == "CRITICAL: dump on db-1 is late by 1h 5m 0s"


def test_the_title_of_many_counts_them(render):
    jobs = [job(str(number)) for number in range(200)]
    assert render("slack.default.title", *jobs) == "CRITICAL: 200 x BatchJobMissed on db-1"


def test_the_title_of_the_end_says_so(render):
    title = render("slack.default.title", resolved(ALERT))
    assert title == "RESOLVED: BatchJobMissed of dump on db-1"


TEXTS = ["slack.default.text", "opsgenie.default.description", "msteamsv2.default.text"]


@pytest.mark.parametrize("message", TEXTS)
def test_the_text_says_what_since_when_whose_and_where_to_read_on(render, message):
    assert render(message, ALERT).strip().splitlines() == [
        f"{PAGE}#job=dump&host=db-1",
        "",
        "dump on db-1 is late by 1h 5m 0s",
        "A success was due at 02:00. There has never been one.",
        "Since 2026-11-23 02:00 UTC, owner dba",
        "Runbook: http://metrics:9090/user/runbooks/BatchJobMissed.md",
        "",
        "All alerts: http://alerts:9093/#/alerts?receiver=chat",
    ]


FAILED = job("dump", alertname="BatchJobFailed")
DOWN = job("pushgateway", alertname="PushgatewayDown")


@pytest.mark.parametrize(
    ("alerts", "shown"),
    [
        ([ALERT, FAILED], "#job=dump&host=db-1"),
        ([ALERT, job("other")], "#owner=dba"),
        ([ALERT, job("other", owner="ops")], ""),
        ([job("a&b #1")], "#job=a%26b+%231&host=db-1"),
        ([job("dump", instance="")], "#job=dump"),
        ([DOWN], ""),
    ],
    ids=["job", "owner", "all", "hostile", "no host", "watcher"],
)
def test_the_text_begins_with_the_page_of_what_it_is_about(render, alerts, shown):
    assert render(TEXTS[0], *alerts).strip().splitlines()[0] == PAGE + shown


def test_an_alert_of_another_program_has_no_page(render):
    posted = ALERT | {"generatorURL": "http://ruler/alerts"}
    assert render(TEXTS[0], posted).strip().startswith("dump on db-1 is late")


def test_the_text_of_many_tells_ten_and_names_the_rest(render):
    text = render("slack.default.text", *(job(f"job-{number}") for number in range(13)))
    assert text.count("Runbook:") == 10
    assert "and 3 more: job-10 on db-1, job-11 on db-1, job-12 on db-1\n" in text


def test_the_text_says_what_ended_and_when(render):
    text = render("slack.default.text", job("other"), resolved(ALERT))
    assert "Resolved:\nBatchJobMissed of dump on db-1, 04:30 UTC\n" in text
    assert text.count("Runbook:") == 1
