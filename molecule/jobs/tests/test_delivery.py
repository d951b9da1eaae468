"""Gateways that are down: no job is harmed, no report is lost."""

import time

import pytest

from clients import eventually
from lab import nodes

HOSTS = ("jobs13", "jobs12")
testinfra_hosts = [f"ansible://{name}" for name in HOSTS]


@pytest.fixture
def no_gateway(host):
    """Stop the host's own gateway; return a function that starts it again."""

    def start():
        host.check_output("systemctl start pushgateway")

    host.check_output("systemctl stop pushgateway")
    yield start
    start()


def test_a_report_reaches_the_gateway_that_is_up_and_later_the_one_that_was_down(
    no_gateway, job, host
):
    before = time.time() - 2
    here = job("succeeds")
    (other,) = set(HOSTS) - {here.host.backend.get_hostname()}
    assert here.run() == 0
    assert here.at(other).value("last_success_timestamp_seconds") >= before
    assert spooled(host) == 1
    no_gateway()
    assert eventually(lambda: (here.value("last_success_timestamp_seconds") or 0) >= before)
    assert eventually(lambda: spooled(host) == 0)
    assert here.value("report_delay_seconds") > 0
    assert here.at(other).value("report_delay_seconds") < 5


def test_a_failure_after_a_kept_success_takes_nothing_of_it_away(no_gateway, job, host):
    before = time.time() - 2
    wavers = job("wavers")
    assert wavers.run() == 0
    host.check_output("touch /srv/fail")
    assert wavers.run() != 0
    host.check_output("rm /srv/fail")
    no_gateway()
    assert eventually(lambda: wavers.value("last_exit_code") == 3)
    assert wavers.value("last_success_timestamp_seconds") >= before


def test_the_exit_status_of_a_job_is_its_own_while_the_gateway_is_down(no_gateway, host):
    done = host.run("batch-job run --job by-cron -- sh -c 'echo out; echo err >&2; exit 7'")
    assert (done.rc, done.stdout) == (7, "out\n")
    assert done.stderr.startswith("err\n")
    assert "the report is kept and will be sent later" in done.stderr


def test_kept_reports_are_for_root_alone(no_gateway, job, host):
    assert job("succeeds").run() == 0
    paths = host.check_output("find /var/lib/batch-job/spool -name '*.json'").split()
    assert {host.file(path).mode for path in paths} == {0o600}
    assert host.file("/var/lib/batch-job/spool").mode == 0o700


def spooled(host):
    """Return how many reports are kept."""
    return len(host.check_output("find /var/lib/batch-job/spool -name '*.json'").split())


def test_a_run_that_was_missed_while_the_host_was_down_happens_at_its_start(job, host):
    succeeds = job("succeeds")
    assert succeeds.run() == 0
    stamp = "/var/lib/systemd/timers/stamp-batch-job-succeeds.timer"
    host.check_output(f"touch --date '2 days ago' {stamp}")
    before = time.time()
    nodes.restart("molecule", host.backend.get_hostname())
    assert eventually(lambda: is_success_since(succeeds, before), timeout_seconds=60)


def is_success_since(job, moment):
    """Tell whether a job has succeeded since a time; its gateway may not be up yet."""
    try:
        return (job.value("last_success_timestamp_seconds") or 0) >= moment
    except OSError:
        return False
