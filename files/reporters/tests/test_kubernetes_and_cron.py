"""The CronJob's command and the crontab's lines, run as Kubernetes and cron would run them.

That Kubernetes takes the manifest, and what it makes of its limits and its security context, is not
proven here, nor is cron itself: its calendar and its mail.
"""

import os
import re
import shutil
import signal
import subprocess
from datetime import date
from pathlib import Path, PurePosixPath

import pytest
import yaml

from batch_job.outcome import SUCCESS
from batch_job.values import duration

REPORTERS = Path(__file__).resolve().parents[1]
CRON_LINE = re.compile(r"(?:[\d*/,-]+ ){5}(.+)")


@pytest.fixture
def job(stand_in):
    """Return a job's program, which exits as it is told, or waits for what its parent is sent."""
    told_to_go = 'kill -TERM "$PPID" && exec sleep 30'
    return stand_in(
        "job", f'#!/bin/sh\n[ -z "$IS_TOLD_TO_GO" ] || {{ {told_to_go}; }}\nexit "$STATUS"\n'
    )


@pytest.fixture
def cronjob():
    """Return the specification of the CronJob."""
    return yaml.safe_load((REPORTERS / "kubernetes_cronjob.yaml").read_text())["spec"]


@pytest.fixture
def pod(cronjob):
    """Return the specification of its pods."""
    return cronjob["jobTemplate"]["spec"]["template"]["spec"]


@pytest.fixture
def container(pod):
    return pod["containers"][0]


@pytest.fixture
def run_container(container, environment, batch_job, job, secure_gateway):
    """Run a container's command with its environment, and files of this host for those in it."""
    here = {
        "BATCH_JOB_GATEWAY": secure_gateway.url,
        "BATCH_JOB_USERNAME": secure_gateway.username,
        "BATCH_JOB_PASSWORD_FILE": secure_gateway.password_file,
        "BATCH_JOB_CA_FILE": secure_gateway.ca_file,
    }

    def run(status=0, **more):
        given = {each["name"]: each["value"] for each in container["env"]}
        del given["BATCH_JOB_STATE_DIRECTORY"]
        words = [*container["command"], *container["args"]]
        return subprocess.run(
            [str(job) if word == "/usr/local/bin/nightly-report" else word for word in words],
            env=environment(**{"STATUS": status, "IS_TOLD_TO_GO": "", **given, **here, **more}),
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )

    return run


@pytest.fixture
def gateway(secure_pushgateway):
    secure_pushgateway.wipe()
    return secure_pushgateway


def test_a_pods_success_is_reported_without_an_instance(run_container, gateway):
    done = run_container()
    assert (done.returncode, done.stderr) == (0, "")
    assert gateway.result("nightly-report", instance="") == SUCCESS
    found = gateway.values("nightly-report", instance="")
    due = found["deadline_timestamp_seconds"] - found["last_success_timestamp_seconds"]
    assert due == pytest.approx(duration("26h"))


def test_a_pods_failure_is_reported_and_keeps_the_last_success(run_container, gateway):
    run_container()
    assert run_container(status=3).returncode == 3
    found = gateway.values("nightly-report", instance="")
    assert found["last_exit_code"] == 3
    assert "last_success_timestamp_seconds" in found


def test_a_pod_that_is_told_to_go_reports_it(run_container, gateway):
    assert run_container(IS_TOLD_TO_GO="yes").returncode == -signal.SIGTERM
    assert gateway.values("nightly-report", instance="")["last_exit_code"] == 143
    assert gateway.result("nightly-report", instance="") == "signal"


def test_a_dead_gateway_harms_no_pod(run_container, dead_url):
    done = run_container(BATCH_JOB_GATEWAY=dead_url)
    assert done.returncode == 0
    assert "cannot be reached" in done.stderr


def test_a_pod_is_ended_by_batch_job_before_kubernetes_ends_it(cronjob, container):
    (limit,) = (word for word in container["args"] if word.startswith("--max-runtime="))
    spare = cronjob["jobTemplate"]["spec"]["activeDeadlineSeconds"] - duration(limit[14:])
    assert spare >= 120


def test_what_a_pod_reads_and_writes_is_on_a_volume(container, pod):
    mounted = {each["mountPath"] for each in container["volumeMounts"]}
    paths = [each["value"] for each in container["env"] if each["value"].startswith("/")]
    for path in [*paths, "/tmp/x"]:
        assert {str(each) for each in (PurePosixPath(path), *PurePosixPath(path).parents)} & mounted
    names = {each["name"] for each in container["volumeMounts"]}
    assert names == {each["name"] for each in pod["volumes"]}


def test_a_job_that_fails_is_not_tried_again_and_never_runs_twice_at_once(cronjob, pod):
    assert cronjob["concurrencyPolicy"] == "Forbid"
    assert cronjob["jobTemplate"]["spec"]["backoffLimit"] == 0
    assert pod["restartPolicy"] == "Never"


@pytest.fixture
def cron(environment, batch_job, job, pushgateway, tmp_path):
    """Run a line of the crontab as cron would, but for places of this host."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "password").write_text("unused\n")
    text = (REPORTERS / "crontab").read_text()
    for there, here in {
        "http://gateway:9091": pushgateway.url,
        "/usr/local/bin/nightly": str(job),
        "/usr/local/bin/sync-orders": str(job),
        "/var/backups": str(tmp_path),
        "-C /etc": f"-C {tmp_path}/etc",
        "/etc/sync/password": str(tmp_path / "password"),
    }.items():
        assert there in text
        text = text.replace(there, here)
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    settings = dict(line.split("=", 1) for line in lines if re.match(r"[A-Z_]+=", line))
    commands = [match[1] for match in map(CRON_LINE.fullmatch, lines) if match]
    assert len(settings) + len(commands) == len(lines)

    def run(name, status=0, **more):
        (command,) = (each for each in commands if f" {name} " in f"{each} ")
        # What follows a percent sign is for standard input, unless it is escaped.
        command, *_rest = re.split(r"(?<!\\)%", command)
        plain = environment()
        variables = {
            **settings,
            "PATH": f"{tmp_path / 'bin'}:{settings['PATH']}",
            "HOME": str(tmp_path),
            "LOGNAME": "root",
            "SHELL": "/bin/sh",
            "IS_TOLD_TO_GO": "",
            "STATUS": str(status),
            **{key: plain[key] for key in ("PYTHONPATH", "BATCH_JOB_STATE_DIRECTORY")},
            **more,
        }
        return subprocess.run(
            ["/bin/sh", "-c", command.replace("\\%", "%")],
            env=variables,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=30,
        )

    return run


@pytest.fixture
def on_this_host(pushgateway):
    """Return what the gateway holds of a job of this host."""
    return lambda job: pushgateway.values(job, instance=os.uname().nodename)


@pytest.mark.parametrize("name", ["nightly", "sync"])
def test_a_job_of_cron_is_reported_and_writes_no_mail(cron, on_this_host, name):
    done = cron(name)
    assert (done.returncode, done.stdout) == (0, "")
    found = on_this_host(name)
    assert found["last_exit_code"] == 0
    assert found["deadline_timestamp_seconds"] > found["last_success_timestamp_seconds"]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="this host has no systemd-analyze")
def test_a_backup_of_cron_is_named_by_its_day_and_reports_its_size(cron, on_this_host, tmp_path):
    done = cron("backup-etc")
    assert (done.returncode, done.stdout) == (0, "")
    archive = tmp_path / f"etc-{date.today()}.tar.gz"
    assert on_this_host("backup-etc")["backup_size_bytes"] == archive.stat().st_size
    assert archive.stat().st_mode & 0o777 == 0o600


def test_a_job_of_cron_that_fails_is_reported(cron, on_this_host):
    assert cron("nightly", status=3).returncode == 3
    assert on_this_host("nightly")["last_exit_code"] == 3


def test_a_run_of_cron_is_left_out_while_another_goes_on(cron, stand_in, tmp_path):
    # The job starts a second run of itself.
    stand_in("job", "#!/bin/sh\nbatch-job run --job nightly --lock -- touch ran\n")
    done = cron("nightly")
    assert done.returncode == 75
    assert not (tmp_path / "ran").exists()
    assert "it is still running, this run is left out" in done.stdout


def test_cron_sends_later_what_a_dead_gateway_did_not_take(cron, port, start_pushgateway):
    where = {"BATCH_JOB_GATEWAY": f"http://127.0.0.1:{port}"}
    assert "the report is kept and will be sent later" in cron("nightly", **where).stdout
    gateway = start_pushgateway(port)
    assert "1 kept reports delivered, 0 wait" in cron("flush", **where).stdout
    assert gateway.result("nightly", os.uname().nodename) == SUCCESS
