"""Prometheus: a bad configuration is refused while the good one runs on; a good one is reloaded."""

import os
import signal

import pytest

from clients import Prometheus, eventually
from conftest import connect
from lab import REPOSITORY

testinfra_hosts = ["ansible://debian13"]

JOB = {"job_name": "extra", "static_configs": [{"targets": ["localhost:9091"]}]}


@pytest.fixture
def prometheus():
    return connect(Prometheus, "debian13")


def process(host):
    return host.service("prometheus").systemd_properties["MainPID"]


@pytest.fixture(scope="module")
def reloaded(copied, tmp_path_factory):
    """Roll another scrape config and other rules out, beside a scrape config of others."""
    mine = tmp_path_factory.mktemp("rules") / "mine.rules"
    mine.write_text("groups: [{name: g, rules: [{alert: Mine, expr: vector(1)}]}]\n")
    with copied("debian13") as copy:
        pid = process(copy.host)
        theirs = "{job_name: theirs, static_configs: [{targets: [localhost:9093]}]}"
        path = "/etc/prometheus/scrape_configs/theirs.yml"
        copy.host.check_output(f"echo 'scrape_configs: [{theirs}]' > {path} && chmod 0644 {path}")
        done = copy.roll_out(
            "prometheus", prometheus_scrape_configs=[JOB], prometheus_rule_files=[str(mine)]
        )
        assert done.status == 0, done.message
        yield copy, pid


def test_a_new_scrape_config_is_reloaded_without_a_restart(reloaded):
    copy, pid = reloaded
    assert eventually(lambda: copy.prometheus.query('up{job="extra"} == 1'))
    assert process(copy.host) == pid


def test_rules_that_are_no_longer_given_disappear(reloaded):
    copy, _ = reloaded
    assert eventually(lambda: copy.prometheus.rules() == {"Mine"})
    assert copy.host.check_output("ls /etc/prometheus/rules") == "mine.rules.yml"


def test_scrape_configs_that_others_put_on_the_host_are_read_and_kept(reloaded):
    copy, _ = reloaded
    assert eventually(lambda: copy.prometheus.query('up{job="theirs"} == 1'))
    assert copy.host.file("/etc/prometheus/scrape_configs/theirs.yml").exists


def test_what_prometheus_refuses_when_it_reloads_fails_the_rollout(reloaded):
    copy, pid = reloaded
    # promtool does not open the file; below /etc, Prometheus may not.
    refused = copy.roll_out("prometheus", prometheus_global={"query_log_file": "query.log"})
    assert (refused.status != 0, process(copy.host)) == (True, pid)
    assert "query.log: read-only file system" in refused.message
    path = "/var/log/prometheus/query.log"
    done = copy.roll_out("prometheus", prometheus_global={"query_log_file": path})
    assert (done.status, process(copy.host)) == (0, pid), done.message
    copy.prometheus.query("up")
    assert eventually(lambda: copy.host.file(path).size > 0)


def test_an_interrupted_rollout_is_caught_up_with_by_the_next_one(copy):
    labels = {"prometheus_external_labels": {"site": "interrupted"}}
    unfinished = copy.roll_out("prometheus", wait=False, **labels)
    config = copy.host.file("/etc/prometheus/prometheus.yml")
    eventually(lambda: "interrupted" in config.content_string)
    # With the workers that it has forked.
    os.killpg(unfinished.pid, signal.SIGKILL)
    unfinished.wait()
    assert "interrupted" not in copy.prometheus.config()
    assert copy.roll_out("prometheus", **labels).status == 0
    assert eventually(lambda: "interrupted" in copy.prometheus.config())
    assert not copy.host.file("/etc/prometheus/.reload-pending").exists


def test_an_invalid_scrape_config_is_refused_and_the_old_one_runs_on(host, prometheus, refused):
    before, pid = prometheus.config(), process(host)
    bad = {**JOB, "scrape_interval": "often"}
    message = refused("debian13", "prometheus", prometheus_scrape_configs=[bad])
    assert "promtool refuses it, nothing was changed" in message
    assert '"often"' in message
    host.check_output("systemctl reload prometheus")
    assert (prometheus.config(), process(host)) == (before, pid)


@pytest.mark.parametrize("mode", [["--check"], []], ids=["check mode", "for real"])
def test_an_invalid_rule_is_refused_in_check_mode_too_and_the_old_ones_run_on(
    prometheus, refused, tmp_path, mode
):
    before = prometheus.rules()
    broken = tmp_path / "broken.rules.yml"
    broken.write_text("groups: [{name: g, rules: [{alert: A, expr: 'sum by ('}]}]\n")
    message = refused("debian13", "prometheus", *mode, prometheus_rule_files=[str(broken)])
    assert "broken.rules.yml" in message
    assert prometheus.rules() == before >= {"BatchJobMissed", "PushgatewayDown", "Watchdog"}


def test_a_web_config_that_prometheus_does_not_know_is_refused(refused):
    web_config = {"basic_auth_userz": {}}
    assert "basic_auth_userz" in refused("debian13", "prometheus", prometheus_web_config=web_config)


def test_the_config_passes_on_what_prometheus_documents(copy):
    done = copy.roll_out(
        "prometheus",
        prometheus_external_labels={"site": "berlin"},
        prometheus_remote_write=[{"url": "http://localhost:9/write", "name": "archive"}],
        prometheus_retention_time="7d",
        prometheus_external_url="http://debian13:9090/metrics-ui/",
    )
    assert done.status == 0, done.message
    status = copy.prometheus.get("/metrics-ui/api/v1/status/config").json()["data"]["yaml"]
    assert "site: berlin" in status
    assert "name: archive" in status
    page = REPOSITORY / "files/page"
    for file in ("", *(path.name for path in page.glob("*.*") if path.suffix != ".md")):
        answer = copy.prometheus.get(f"/metrics-ui/user/{file}")
        assert answer.content == (page / (file or "index.html")).read_bytes()
        # A browser runs no module of another type.
        assert not file.endswith(".js") or "javascript" in answer.headers["Content-Type"]
    flags = copy.prometheus.get("/metrics-ui/api/v1/status/flags").json()["data"]
    assert flags["storage.tsdb.retention.time"] == "1w"
