"""Prometheus: a bad configuration is refused while the good one runs on; a good one is reloaded."""

import pytest

from clients import Prometheus, eventually
from conftest import connect

testinfra_hosts = ["ansible://debian13"]

JOB = {"job_name": "extra", "static_configs": [{"targets": ["localhost:9091"]}]}


@pytest.fixture
def prometheus():
    return connect(Prometheus, "debian13")


def process(host):
    return host.service("prometheus").systemd_properties["MainPID"]


def test_a_new_scrape_config_is_reloaded_without_a_restart(host, prometheus, changed_host):
    pid = process(host)
    done = changed_host("debian13", "prometheus", prometheus_scrape_configs=[JOB])
    assert done.status == 0, done.message
    assert eventually(lambda: prometheus.query('up{job="extra"} == 1'))
    assert process(host) == pid


def test_an_interrupted_rollout_is_caught_up_with_by_the_next_one(
    host, prometheus, changed_host, rollout
):
    labels = {"prometheus_external_labels": {"site": "interrupted"}}
    arguments = ("--limit", "debian13", "--tags", "prometheus")
    unfinished = rollout(*arguments, variables=labels, wait=False)
    config = host.file("/etc/prometheus/prometheus.yml")
    eventually(lambda: "interrupted" in config.content_string)
    unfinished.kill()
    unfinished.wait()
    assert "interrupted" not in prometheus.config()
    assert changed_host("debian13", "prometheus", **labels).status == 0
    assert eventually(lambda: "interrupted" in prometheus.config())
    assert not host.file("/etc/prometheus/.reload-pending").exists


def test_an_invalid_scrape_config_is_refused_and_the_old_one_runs_on(
    host, prometheus, changed_host
):
    before, pid = prometheus.config(), process(host)
    bad = {**JOB, "scrape_interval": "often"}
    done = changed_host("debian13", "prometheus", prometheus_scrape_configs=[bad])
    assert done.status != 0
    assert "promtool refuses it, nothing was changed" in done.message
    assert '"often"' in done.message
    assert done.changed("debian13") == 0
    host.check_output("systemctl reload prometheus")
    assert (prometheus.config(), process(host)) == (before, pid)


def test_an_invalid_rule_is_refused_in_check_mode_too_and_the_old_ones_run_on(
    prometheus, changed_host, tmp_path
):
    before = prometheus.rules()
    broken = tmp_path / "broken.rules.yml"
    broken.write_text("groups: [{name: g, rules: [{alert: A, expr: 'sum by ('}]}]\n")
    variables = {"prometheus_rule_files": [str(broken)]}
    for mode in (["--check"], []):
        done = changed_host("debian13", "prometheus", *mode, **variables)
        assert done.status != 0
        assert "broken.rules.yml" in done.message
    assert prometheus.rules() == before >= {"BatchJobMissed", "PushgatewayDown", "Watchdog"}


def test_a_web_config_that_prometheus_does_not_know_is_refused(rollout):
    variables = {"prometheus_web_config": {"basic_auth_userz": {}}}
    done = rollout("--limit", "debian13", "--tags", "prometheus", variables=variables)
    assert done.status != 0
    assert "basic_auth_userz" in done.message
    assert done.changed("debian13") == 0


def test_rules_that_are_no_longer_given_disappear(host, prometheus, changed_host, tmp_path):
    mine = tmp_path / "mine.rules"
    mine.write_text("groups: [{name: g, rules: [{alert: Mine, expr: vector(1)}]}]\n")
    variables = {"prometheus_rule_files": [str(mine)]}
    assert changed_host("debian13", "prometheus", **variables).status == 0
    assert eventually(lambda: prometheus.rules() == {"Mine"})
    assert host.check_output("ls /etc/prometheus/rules") == "mine.rules.yml"


def test_scrape_configs_that_others_put_on_the_host_are_read_and_kept(host, prometheus, rollout):
    path = "/etc/prometheus/scrape_configs/theirs.yml"
    config = "scrape_configs: [{job_name: theirs, static_configs: [{targets: [localhost:9093]}]}]"
    host.check_output(f"echo '{config}' > {path} && chmod 0644 {path}")
    host.check_output("systemctl reload prometheus")
    assert eventually(lambda: prometheus.query('up{job="theirs"} == 1'))
    assert rollout("--limit", "debian13", "--tags", "prometheus").changed("debian13") == 0
    assert host.file(path).exists
    host.check_output("rm %s && systemctl reload prometheus", path)


def test_the_config_passes_on_what_prometheus_documents(prometheus, changed_host):
    done = changed_host(
        "debian13",
        "prometheus",
        prometheus_external_labels={"site": "berlin"},
        prometheus_remote_write=[{"url": "http://localhost:9/write", "name": "archive"}],
        prometheus_retention_time="7d",
        prometheus_external_url="http://debian13:9090/metrics-ui/",
    )
    assert done.status == 0, done.message
    status = prometheus.get("/metrics-ui/api/v1/status/config").json()["data"]["yaml"]
    assert "site: berlin" in status
    assert "name: archive" in status
    flags = prometheus.get("/metrics-ui/api/v1/status/flags").json()["data"]
    assert flags["storage.tsdb.retention.time"] == "1w"
