"""A first rollout: what check mode tells of it, and what is refused before anything changes."""

import pytest

from clients import eventually
from lab import mirror

testinfra_hosts = ["ansible://fresh"]


def test_check_mode_predicts_the_rollout(rollout):
    checked = rollout("--check", "--diff")
    assert checked.status == 0, checked.message
    # For each service: user, release, unit, symlink; configuration, and a directory for it.
    # For jobs: the reporter, its configuration, units, timers.
    assert checked.changed("fresh") == 15 + 4
    assert "/opt/prometheus-" in checked.diff
    assert "ExecStart=/opt/pushgateway/pushgateway" in checked.diff


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (
            {"pushgateway_listen_adress": ":1"},
            "there is no pushgateway_listen_adress; did you mean pushgateway_listen_address?",
        ),
        ({"prometheus_retention_tme": "1d"}, "did you mean prometheus_retention_time?"),
        ({"batch_job_job": []}, "did you mean batch_job_jobs?"),
        ({"pushgateway_admin_api_enabled": "perhaps"}, "pushgateway_admin_api_enabled"),
        ({"pushgateway_log_level": "loud"}, "value of pushgateway_log_level must be one of"),
        ({"prometheus_ready": {"user": "me"}}, "prometheus_ready.user"),
    ],
    ids=["misspelt", "misspelt again", "misspelt jobs", "type", "choice", "nested"],
)
def test_a_bad_variable_is_refused_before_the_first_change(rollout, variables, message):
    done = rollout(variables=variables)
    assert done.status != 0
    assert message in done.message
    assert done.changed("fresh") == 0
    assert not any("Install" in task for task in done.tasks())


def test_a_bad_job_declaration_is_refused_before_the_first_change(rollout):
    jobs = [{"name": "nightly", "max_age": "a day"}]
    done = rollout(variables={"batch_job_jobs": jobs})
    assert done.status != 0
    assert "job 'nightly': max_age: 'a day' is not a duration" in done.message
    assert done.changed("fresh") == 0


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (
            {"pushgateway_checksum": "sha256:" + "0" * 64},
            "has the wrong checksum, nothing was installed",
        ),
        (
            {"pushgateway_version": "9.9.9"},
            "cannot read http://mirror:8000/pushgateway/releases/download/v9.9.9/",
        ),
    ],
    ids=["wrong checksum", "no such version"],
)
def test_a_release_that_cannot_be_verified_stops_the_rollout(copy, variables, message):
    done = copy.roll_out("pushgateway", **variables)
    assert done.status != 0
    assert message in done.message
    assert copy.host.check_output("ls -A /opt") == ""


def test_a_directory_on_the_host_serves_as_mirror_and_a_pinned_digest_as_checksum(copy):
    version = mirror.versions()["pushgateway"][0]
    folder = f"pushgateway/releases/download/v{version}"
    name = next((mirror.MIRROR / folder).glob("*.tar.gz")).name
    archive = f"{folder}/{name}"
    sums = (mirror.MIRROR / folder / "sha256sums.txt").read_text()
    copy.host.check_output("mkdir -p /srv/releases/%s", folder)
    copy.host.check_output("curl -sSf -o /srv/releases/%s http://mirror:8000/%s", archive, archive)
    done = copy.roll_out(
        "pushgateway",
        daemon_release_url="file:///srv/releases",
        pushgateway_checksum=f"sha256:{sums.split()[0]}",
    )
    assert done.status == 0, done.message
    assert eventually(lambda: copy.host.run("curl -sf localhost:9091/-/ready").rc == 0)
