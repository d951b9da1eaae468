"""Grafana on each Debian: the version that was asked for, confined, with dashboards as files."""

from pathlib import Path

from lab import REPOSITORY
from lab.offline import grafana as packages

testinfra_hosts = ["ansible://boards13", "ansible://boards12"]

SHIPPED = sorted(str(path) for path in REPOSITORY.glob("files/dashboards/*.json"))
CURRENT = packages.version()


def installed(host):
    return host.check_output("dpkg-query --show --showformat '${Version}' grafana")


def dashboards(host):
    return host.check_output("ls /etc/grafana/dashboards/batch_jobs").split()


def test_the_version_of_the_inventory_runs(host, grafana):
    assert installed(host) == CURRENT
    assert grafana.get("/api/health").json()["version"] == CURRENT


def test_the_exposure_is_below_two(host):
    verdict = host.check_output("systemd-analyze security --no-pager grafana-server | tail -1")
    assert float(verdict.split(":")[1].split()[0]) < 2.0, verdict


def test_the_service_is_ready_and_has_not_crashed(host):
    properties = host.service("grafana-server").systemd_properties
    assert (properties["SubState"], properties["NRestarts"]) == ("running", "0")


def test_the_service_starts_with_its_host(host):
    assert host.service("grafana-server").is_enabled


def test_the_service_writes_nowhere_but_to_its_data_and_logs(host):
    pid = host.service("grafana-server").systemd_properties["MainPID"]
    mounts = host.check_output(
        "nsenter --target %s --mount -- findmnt --noheadings --raw --output TARGET,OPTIONS", pid
    )
    lasting = {
        line.split()[0]
        for line in mounts.splitlines()
        if "rw" in line.split()[1].split(",")
        and not line.startswith(("/dev", "/proc", "/sys", "/run"))
    }
    assert lasting - {"/var/lib/grafana/plugins"} == {
        "/var/lib/grafana",
        "/var/log/grafana",
        "/tmp",
        "/var/tmp",
    }


def test_only_root_and_grafana_can_read_the_configuration(host):
    assert host.check_output("find /etc/grafana -type f -perm /o+r") == ""
    assert host.run("runuser --user=grafana -- cat /etc/grafana/grafana.ini").rc == 0
    assert host.run("runuser --user=grafana -- touch /etc/grafana/grafana.ini").rc != 0


def test_the_dashboards_of_the_repository_are_there(host):
    assert dashboards(host) == [Path(path).name for path in SHIPPED] != []
