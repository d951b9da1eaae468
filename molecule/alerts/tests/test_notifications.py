"""Every way a job can go wrong, told to the right receiver, exactly once, and then resolved.

One story, in the order of this file: everything is fine for minutes; each job goes wrong in its own
way; all recover; the gateway dies and comes back.
"""

import time

import pytest

from batch_job.states import NUMBERS, STATES
from clients import Prometheus, Webhook, eventually
from conftest import connect
from preview import evaluation, page

testinfra_hosts = ["ansible://worker"]

REPORTER = "/usr/local/bin/batch-job"
QUIET_SECONDS = 200
# What each receiver must hear of, by alert and job, once things have gone wrong.
EVERYONE = {
    ("BatchJobStuck", "hangs"),
    ("BatchJobMissed", "never-runs"),
    ("BackupShrunk", "shrinks"),
}
DATABASE = {("BatchJobFailed", "fails")}
DOWN = {("PushgatewayDown", "pushgateway")}


@pytest.fixture(scope="module")
def site():
    """Return the Prometheus of the scenario."""
    return connect(Prometheus, "watcher")


@pytest.fixture(scope="module")
def told():
    """Return a function from a receiver to what it was told: alert, job, status, in order."""
    webhook = connect(Webhook, "webhook")

    def told(receiver):
        return [
            (alert["labels"]["alertname"], alert["labels"].get("job", ""), alert["status"])
            for message in webhook.messages(f"/{receiver}")
            for alert in message["alerts"]
        ]

    return told


def start(host, job):
    """Run a job's unit."""
    return host.run("systemctl start batch-job-%s.service", job).rc


def by_status(told, status):
    """Return the alerts and jobs of one status, and check that each was told once."""
    found = [(alert, job) for alert, job, said in told if said == status]
    assert len(found) == len(set(found)), found
    return set(found)


def test_a_healthy_site_tells_nobody_for_minutes(host, told, site):
    host.check_output("rm -f /srv/broken && echo 4096 > /srv/size")
    assert start(host, "fails") == 0
    assert start(host, "shrinks") == 0
    host.check_output(f"{REPORTER} run --job hangs -- true")
    healthy_since = time.monotonic()
    known = 'count(batch_job:last_success_timestamp_seconds{instance="worker"})'
    assert eventually(lambda: site.query(known)[0][1] == 3, timeout_seconds=60)
    # A backup is compared with the one that it replaced, once that is two minutes old.
    time.sleep(130)
    assert start(host, "shrinks") == 0
    usual = 'batch_job:backup_size_bytes:median14d{job="shrinks"}'
    assert eventually(lambda: site.query(usual)[0][1] == 4096, timeout_seconds=90)
    time.sleep(max(0.0, QUIET_SECONDS - (time.monotonic() - healthy_since)))
    assert told("everyone") + told("database") == []
    assert site.firing() == set()


def test_a_failure_that_is_tolerated_is_shown_and_nobody_is_told(host, told, site):
    host.check_output("touch /srv/broken")
    assert start(host, "fails") != 0
    warned = NUMBERS["warned"]
    assert eventually(lambda: site.query(f'batch_job:state{{job="fails"}} == {warned}'))
    # Longer than Alertmanager waits.
    time.sleep(5)
    assert site.firing() == set()
    assert told("database") == []


def test_each_job_that_goes_wrong_is_told_to_its_owner_exactly_once(host, told, site):
    host.check_output("echo 1024 > /srv/size")
    assert start(host, "fails") != 0
    assert start(host, "shrinks") == 0
    # A reporter that dies with its command, as with its host, reports no end.
    host.check_output(
        f"({REPORTER} run --job hangs -- sleep 60 & sleep 3; kill -KILL $!) > /dev/null 2>&1"
    )
    assert eventually(
        lambda: (
            by_status(told("everyone"), "firing") == EVERYONE
            and by_status(told("database"), "firing") == DATABASE
        ),
        timeout_seconds=240,
    )
    assert site.firing() == EVERYONE | DATABASE


@pytest.fixture
def shown(site):
    """Return a function from a dashboard to the answers of its panels, by their titles, now."""
    variables = {
        "state": ">= 0",
        "owner": ".*",
        "gateway": ".*",
        "job": "fails",
        "instance": "worker",
    }

    def shown(name):
        now = time.time()
        view = evaluation.View(site.url, now - 600, now, 2, variables)
        return {
            panel["title"]: [series for target in panel["targets"] for series in view.ask(target)]
            for panel in page.load(name)["panels"]
        }

    return shown


def test_the_dashboard_shows_each_job_in_the_state_that_it_is_told_to_be_in(host, shown):
    answers = shown("batch_jobs.json")
    panels = {panel["title"]: panel for panel in page.load("batch_jobs.json")["panels"]}
    jobs = evaluation.rows(panels["Jobs, worst first"], answers["Jobs, worst first"])
    assert [(STATES[int(row["State"])].name, row["Job"], row["Host"]) for row in jobs] == [
        ("failing", "fails", "worker"),
        ("stuck", "hangs", "worker"),
        ("late", "never-runs", "worker"),
        ("shrunk", "shrinks", "worker"),
    ]
    counts = {series.name: series.last for series in answers["Jobs by state"] if series.last}
    assert counts == {"failing": 1, "stuck": 1, "late": 1, "shrunk": 1}
    alerts = evaluation.rows(panels["Alerts"], answers["Alerts"])
    assert {(row["Alert"], row["Job"]) for row in alerts} == EVERYONE | DATABASE
    assert alerts[0]["url"] == "http://watcher:9090/user/runbooks"


def test_dashboards_find_the_metrics_of_real_services(host, shown):
    refused = {"Rejected pushes", "HTTP errors", "Jobs whose latest push was rejected"}
    empty = {title for title, answers in shown("pushgateway.json").items() if not answers}
    assert empty <= refused
    empty = {title for title, answers in shown("job_detail.json").items() if not answers}
    # No calendar says when it is due, it backs nothing up, and not every kernel counts CPU time.
    assert empty <= {"Backup size", "CPU time"}


def test_a_notification_says_all_that_is_needed_at_night():
    alert = connect(Webhook, "webhook").alerts("/database")[0]
    assert alert["labels"] == {
        "alertname": "BatchJobFailed",
        "job": "fails",
        "instance": "worker",
        "owner": "dba",
        "severity": "critical",
    }
    said = alert["annotations"]
    assert said["summary"] == "fails on worker failed (exit-code) with exit code 1"
    assert "The last success ended at 20" in said["description"]
    assert "journalctl --unit 'batch-job-fails.service' on worker" in said["description"]
    assert said["runbook_url"] == "http://watcher:9090/user/runbooks/BatchJobFailed.md"


def test_the_runbook_that_a_notification_names_is_served_by_prometheus(site):
    runbook = site.get("/user/runbooks/BatchJobFailed.md")
    assert runbook.text.startswith("# BatchJobFailed")


def test_what_recovers_is_resolved_exactly_once(host, told, site):
    host.check_output("rm /srv/broken && echo 4096 > /srv/size")
    assert start(host, "fails") == 0
    assert start(host, "shrinks") == 0
    host.check_output(f"{REPORTER} run --job hangs -- true")
    host.check_output(f"{REPORTER} run --job never-runs -- true")
    assert eventually(
        lambda: (
            by_status(told("everyone"), "resolved") == EVERYONE
            and by_status(told("database"), "resolved") == DATABASE
        ),
        timeout_seconds=120,
    )
    assert site.firing() == set()
    assert by_status(told("everyone"), "firing") == EVERYONE


def test_a_gateway_that_dies_is_one_notification_and_its_jobs_are_none(host, told, site):
    watcher = host.get_host("ansible://watcher", ansible_inventory=host.backend.ansible_inventory)
    watcher.check_output("systemctl stop pushgateway")
    new = EVERYONE | DOWN
    assert eventually(lambda: by_status(told("everyone"), "firing") == new, timeout_seconds=120)
    watcher.check_output("systemctl start pushgateway")
    assert eventually(lambda: by_status(told("everyone"), "resolved") == new, timeout_seconds=60)
    assert by_status(told("database"), "firing") == DATABASE
    assert site.firing() == set()


def test_the_dead_mans_switch_is_called_again_and_again_and_by_nothing_but_the_watchdog(told):
    assert eventually(lambda: len(told("watchdog")) >= 2, timeout_seconds=130)
    assert set(told("watchdog")) == {("Watchdog", "", "firing")}


def test_a_canary_goes_all_the_way_and_leaves_nothing_behind(rollout, told, site):
    done = rollout(playbook="verify.yml")
    assert done.status == 0, done.message
    table = next(
        result["msg"]
        for play in done.report["plays"]
        for task in play["tasks"]
        if task["task"]["name"] == "Show every hop"
        for result in task["hosts"].values()
    )
    hops = [row.split()[1] for row in table[1:]]
    assert hops == ["pushed", "scraped", "evaluated", "accepted", "delivered"]
    assert "BROKEN" not in " ".join(table)
    gone = 'canary_timestamp_seconds{job="batch_job_canary"}'
    assert eventually(lambda: site.query(gone) == [], timeout_seconds=30)
    assert not any(alert == "BatchJobCanary" for alert, *_ in told("everyone") + told("database"))


@pytest.mark.parametrize(
    ("node", "service", "hop"),
    [
        ("watcher", "pushgateway", "pushed"),
        ("watcher", "prometheus", "scraped"),
        ("watcher", "alertmanager", "accepted"),
    ],
)
def test_a_broken_hop_is_named(host, rollout, node, service, hop):
    broken = host.get_host(f"ansible://{node}", ansible_inventory=host.backend.ansible_inventory)
    broken.check_output(f"systemctl stop {service}")
    try:
        done = rollout(playbook="verify.yml", variables={"verify_timeout_seconds": 8})
    finally:
        broken.check_output(f"systemctl start {service}")
    assert done.status != 0
    assert f"worker, {hop}, " in done.message


def test_a_canary_that_is_not_delivered_is_named(rollout):
    elsewhere = {"alertmanager_canary_address": "127.0.0.1:9099", "verify_timeout_seconds": 8}
    done = rollout(playbook="verify.yml", variables=elsewhere)
    assert done.status != 0
    assert "worker, delivered, receiver canary" in done.message
