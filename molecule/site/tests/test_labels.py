"""Labels: what a job pushes is what Prometheus stores."""

from clients import Prometheus, Pushgateway, eventually
from conftest import put
from lab import REPOSITORY

testinfra_hosts = ["ansible://fileserver"]


def test_pushed_job_and_instance_arrive_unrenamed(gateway: Pushgateway, prometheus: Prometheus):
    assert gateway.push("nightly", "host-7.example", records_processed=42).status_code == 200
    assert eventually(lambda: prometheus.labels("records_processed")) == {
        "__name__": "records_processed",
        "job": "nightly",
        "instance": "host-7.example",
        "app": "pushgateway",
        "pushgateway": "monitor",
    }


def test_a_push_without_an_instance_does_not_get_the_gateways(
    gateway: Pushgateway, prometheus: Prometheus
):
    assert gateway.push("pipeline", ci_duration_seconds=7).status_code == 200
    assert "instance" not in eventually(lambda: prometheus.labels("ci_duration_seconds"))


def test_the_minimal_reporter_pushes_one_metric(host, prometheus: Prometheus):
    put(host, REPOSITORY / "files/reporters/push_minimal.sh", "/tmp/push_minimal.sh")
    command = (
        "PUSHGATEWAY_URL=http://monitor:9091 sh /tmp/push_minimal.sh some_job some_metric 3.14"
    )
    assert host.run(command).rc == 0
    assert eventually(lambda: prometheus.query('some_metric{job="some_job"}'))[0][1] == 3.14


def test_the_gateways_own_metrics_are_scraped(prometheus: Prometheus):
    labels = prometheus.labels("pushgateway_build_info")
    assert (labels["job"], labels["instance"]) == ("pushgateway", "monitor:9091")


def test_every_target_is_up(prometheus: Prometheus):
    up = {labels["job"]: value for labels, value in prometheus.query("up")}
    assert up == {"pushgateway": 1, "alertmanager": 1, "prometheus": 1, "declared_jobs": 1}
