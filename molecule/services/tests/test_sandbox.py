"""Each service on each Debian: it runs, sandboxed, as a user that owns only its state."""

import pytest

testinfra_hosts = ["ansible://debian13", "ansible://debian12"]

services = pytest.mark.parametrize("service", ["pushgateway", "prometheus", "alertmanager"])


@services
def test_the_exposure_is_at_most_two(host, service):
    verdict = host.check_output("systemd-analyze security --no-pager %s.service | tail -1", service)
    exposure = float(verdict.split(":")[1].split()[0])
    assert exposure <= 2.0, verdict


@services
def test_the_service_is_ready_and_has_not_crashed(host, service):
    properties = host.service(service).systemd_properties
    assert (properties["SubState"], properties["NRestarts"]) == ("running", "0")


@services
def test_only_root_and_the_service_can_read_its_configuration(host, service):
    directory = host.file(f"/etc/{service}")
    assert (directory.user, directory.group, directory.mode) == ("root", service, 0o750)
    assert host.check_output(f"find /etc/{service} -type f ! -perm 0640") == ""


@services
def test_the_service_writes_nowhere_but_to_its_state_and_its_logs(host, service):
    pid = host.service(service).systemd_properties["MainPID"]
    writable = host.check_output(
        "nsenter --target %s --mount -- findmnt --noheadings --raw --output TARGET,OPTIONS", pid
    )
    mounts = [line.split() for line in writable.splitlines()]
    lasting = {
        target
        for target, options in mounts
        if "rw" in options.split(",") and not target.startswith(("/dev", "/proc", "/sys", "/run"))
    }
    logs = {"/var/log/prometheus"} if service == "prometheus" else set()
    assert lasting == {f"/var/lib/{service}", "/tmp", "/var/tmp"} | logs
