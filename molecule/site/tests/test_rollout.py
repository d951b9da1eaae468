"""Rolling out again, in part, in check mode, and while hosts are down."""

import pytest

from clients import Prometheus, eventually
from conftest import LAB
from lab import engine, nodes

testinfra_hosts = ["ansible://monitor"]


def test_check_mode_on_a_rolled_out_site_predicts_no_change(rollout):
    checked = rollout("--check", "--diff")
    assert (checked.status, checked.changed("monitor")) == (0, 0)


def test_check_mode_shows_a_change_and_does_not_make_it(rollout, prometheus: Prometheus):
    variables = {"prometheus_external_labels": {"site": "elsewhere"}}
    checked = rollout("--check", "--diff", variables=variables)
    assert checked.changed("monitor") == 2  # the configuration and the reload
    assert "site: elsewhere" in checked.diff
    assert "elsewhere" not in prometheus.config()
    assert rollout("--check").changed("monitor") == 0


@pytest.fixture
def no_fileserver():
    """Stop the job host for the length of a test."""
    container = engine.connect().containers.get(nodes.container_name(LAB, "fileserver"))
    container.stop(timeout=5)
    yield
    container.start()


def test_monitoring_can_be_rolled_out_while_job_hosts_are_down(
    no_fileserver, rollout, prometheus: Prometheus
):
    done = rollout("--limit", "monitoring")
    assert (done.status, done.changed("monitor")) == (0, 0)
    assert prometheus.labels('batch_job:declared{job="backup-etc"}')["instance"] == "fileserver"


def test_a_tag_rolls_out_its_role_alone(copy):
    variables = {"pushgateway_log_level": "debug", "prometheus_external_labels": {"site": "x"}}
    done = copy.roll_out("pushgateway", **variables)
    # The unit, the restart, and the note that it happened.
    assert (done.status, done.changed("monitor")) == (0, 3)
    assert "site: x" not in copy.prometheus.config()


def has_scraped(prometheus):
    """Tell whether Prometheus has scraped since it started: it forgets only what it has seen."""
    targets = prometheus.document("/api/v1/targets", state="active")["data"]["activeTargets"]
    return targets and all(target["health"] == "up" for target in targets)


@pytest.fixture(scope="module")
def declared(copied):
    """Declare other jobs, one that has a host and one that has none."""
    weekly = {"name": "weekly", "max_age": "8d", "owner": "ops", "severity": "info"}
    pipeline = {"name": "release-pipeline", "max_age": "8d", "owner": "dev", "min_size_bytes": 10}
    with copied("monitor") as copy:
        eventually(lambda: has_scraped(copy.prometheus))
        pid = copy.host.service("prometheus").systemd_properties["MainPID"]
        jobs = {"batch_job_jobs": [weekly], "batch_job_external": [pipeline]}
        assert copy.roll_out("prometheus", **jobs).status == 0
        now = copy.host.service("prometheus").systemd_properties["MainPID"]
        yield copy.prometheus, now == pid


def test_a_newly_declared_job_reaches_prometheus_without_a_restart(declared):
    prometheus, is_same_process = declared
    age = 'batch_job:declared{job="weekly", owner="ops", severity="info"} == 8 * 86400'
    assert eventually(lambda: prometheus.query(age))
    assert eventually(lambda: not prometheus.query('batch_job:declared{job="backup-etc"}'))
    assert is_same_process


def test_a_job_that_runs_elsewhere_is_watched_without_a_host(declared):
    prometheus, _ = declared
    job = eventually(lambda: prometheus.labels('batch_job:declared{job="release-pipeline"}'))
    assert job["owner"] == "dev"
    assert "instance" not in job
    size = 'batch_job_declared_min_size_bytes{job="release-pipeline"} == 10'
    assert eventually(lambda: prometheus.query(size))
