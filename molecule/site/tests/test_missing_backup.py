"""The first missing backup: one of two declared backups ran, and exactly the other is noticed."""

import pytest
from playwright.sync_api import expect

from clients import Prometheus, Pushgateway, Webhook, eventually
from conftest import put
from lab import REPOSITORY

testinfra_hosts = ["ansible://fileserver"]

REPORTER = REPOSITORY / "files/reporters/backup_directory.sh"


@pytest.fixture
def backup(host):
    """Install the reporter on the host and return a function that runs it."""
    host.check_output("mkdir -p /usr/local/bin /srv/backups")
    put(host, REPORTER, "/usr/local/bin/backup_directory.sh")

    def run(job, directory="/etc", gateway="http://monitor:9091"):
        return host.run(
            "PUSHGATEWAY_URL=%s INSTANCE=fileserver sh /usr/local/bin/backup_directory.sh %s %s %s",
            gateway,
            job,
            directory,
            f"/srv/backups/{job}.tar.gz",
        )

    return run


def test_the_archive_of_the_backup_that_ran_can_be_read(host):
    assert "./hostname" in host.check_output("tar --list --gzip --file /var/backups/etc.tar.gz")


def test_the_archive_is_for_its_owner_alone(host):
    assert host.file("/var/backups/etc.tar.gz").mode == 0o600


def test_the_reported_size_is_that_of_the_archive(host, gateway: Pushgateway):
    size = host.file("/var/backups/etc.tar.gz").size
    assert gateway.value("backup_size_bytes", job="backup-etc") == size


def test_exactly_the_missing_backup_alerts(prometheus: Prometheus):
    missed = {("BatchJobMissed", "backup-database")}
    assert eventually(lambda: prometheus.firing() == missed, timeout_seconds=60)


def test_the_notification_names_job_host_owner_severity_and_what_happened(webhook: Webhook):
    alert = eventually(lambda: webhook.alerts()[0], timeout_seconds=60)
    assert alert["status"] == "firing"
    assert alert["labels"] == {
        "alertname": "BatchJobMissed",
        "job": "backup-database",
        "instance": "fileserver",
        "owner": "dba",
        "severity": "critical",
    }
    assert alert["annotations"]["summary"].startswith("backup-database on fileserver is late by")
    assert alert["annotations"]["description"].endswith(
        "UTC. There has never been one. Look: batch-job status on fileserver."
    )


def test_the_page_leads_from_the_missing_backup_to_what_to_do(page, prometheus: Prometheus):
    page.goto(f"{prometheus.url}/user/")
    row = page.locator(".row", has_text="backup-database")
    expect(row).to_contain_text("late")
    row.get_by_role("link").click()
    expect(page.get_by_role("heading", level=2)).to_contain_text("backup-database on fileserver")
    page.get_by_text("What to do").click()
    expect(page.locator("main")).to_contain_text("had no success in time")


def test_a_backup_that_fails_keeps_its_last_success_and_its_exit_status(
    backup, gateway: Pushgateway, prometheus: Prometheus
):
    success = gateway.value("batch_job_last_success_timestamp_seconds", job="backup-etc")
    assert backup("backup-etc", directory="/does/not/exist").rc == 2
    assert gateway.value("batch_job_last_exit_code", job="backup-etc") == 2
    assert gateway.value("batch_job_last_success_timestamp_seconds", job="backup-etc") == success
    failed = ("BatchJobFailed", "backup-etc")
    assert eventually(lambda: failed in prometheus.firing(), timeout_seconds=60)
    assert backup("backup-etc").rc == 0
    assert eventually(lambda: failed not in prometheus.firing(), timeout_seconds=60)


def test_a_dead_gateway_leaves_the_backup_and_its_exit_status_alone(backup, host):
    done = backup("elsewhere", gateway="http://127.0.0.1:1")
    assert done.rc == 0
    assert "the run of elsewhere could not be reported" in done.stderr
    assert host.file("/srv/backups/elsewhere.tar.gz").size > 0


def test_the_missing_backup_is_resolved_once_it_runs(backup, webhook: Webhook):
    assert backup("backup-database").rc == 0

    def resolved():
        return [
            alert
            for alert in webhook.alerts()
            if (alert["labels"]["job"], alert["status"]) == ("backup-database", "resolved")
        ]

    assert eventually(resolved, timeout_seconds=60)
