"""The CronJob's command and the crontab's lines, run as Kubernetes and cron would run them.

That Kubernetes takes the manifest, and what it makes of its limits and its security context, is not
proven here, nor is cron itself: its calendar and its mail.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
from datetime import date
from pathlib import Path, PurePosixPath

import pytest
import yaml

from batch_job.durations import duration
from batch_job.outcome import SUCCESS

REPORTERS = Path(__file__).resolve().parents[1]
CRON_LINE = re.compile(r"(?:[\d*/,-]+ ){5}(.+)")
# Of a job, that batch-job still takes.
ODDEST_NAMES = ["shop:orders.v2-", "_..", "9" * 200]


@pytest.fixture
def job(stand_in):
    """Return a job's program, which exits as it is told, or waits for what its parent is sent."""
    return stand_in(
        "job",
        """#!/bin/sh
: >"$0.ran"
[ -z "$IS_TOLD_TO_GO" ] || { kill -TERM "$PPID" && exec sleep 30; }
exit "$STATUS"
""",
    )


@pytest.fixture
def has_run(job):
    """Return whether the job's program was run."""
    return job.with_name("job.ran").exists


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
def run_container(container, environment, finish, batch_job, job, secure_gateway):
    """Run a container's command with its environment, and files of this host for those in it."""
    here = {
        "BATCH_JOB_GATEWAY": secure_gateway.url,
        "BATCH_JOB_USERNAME": secure_gateway.username,
        "BATCH_JOB_PASSWORD_FILE": secure_gateway.password_file,
        "BATCH_JOB_CA_FILE": secure_gateway.ca_file,
    }

    def run(status=0, options=(), **more):
        given = {each["name"]: here.get(each["name"], each["value"]) for each in container["env"]}
        del given["BATCH_JOB_STATE_DIRECTORY"]
        words = [*container["command"], *container["args"]]
        for option in options:
            (old,) = (word for word in words if word.startswith(option.partition("=")[0] + "="))
            words[words.index(old)] = option
        words = [str(job) if word == "/usr/local/bin/nightly-report" else word for word in words]
        variables = {"STATUS": status, "IS_TOLD_TO_GO": "", **given, **more}
        return finish(words, env=environment(**variables))

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


def test_any_owner_and_kind_of_a_pods_job_arrive(run_container, gateway, odd_name):
    done = run_container(options=[f"--owner={odd_name}", f"--kind={odd_name}"])
    assert (done.returncode, done.stderr) == (0, "")
    labels = gateway.families("nightly-report", instance="")["batch_job_info"][0]["labels"]
    assert (labels["owner"], labels["kind"]) == (odd_name, odd_name)


@pytest.mark.parametrize("name", ODDEST_NAMES)
def test_the_oddest_name_of_a_pods_job_arrives(run_container, gateway, name):
    assert run_container(options=[f"--job={name}"]).stderr == ""
    assert gateway.result(name, instance="") == SUCCESS


def test_what_is_no_name_is_refused_before_a_pods_job_runs(
    run_container, gateway, has_run, odd_name
):
    done = run_container(options=[f"--job={odd_name}"])
    assert done.returncode == 64
    assert f"--job: {odd_name!r} is not a name: letters, digits" in done.stderr
    assert not has_run()
    assert gateway.exposed() == ""


def test_what_is_no_instance_costs_a_pods_job_its_report_alone(
    run_container, gateway, has_run, odd_name
):
    done = run_container(BATCH_JOB_INSTANCE=odd_name)
    assert done.returncode == 0
    assert f"BATCH_JOB_INSTANCE: {odd_name!r} is not an instance: letters, digits" in done.stderr
    assert has_run()
    assert gateway.exposed() == ""


def test_the_gateway_of_a_pod_may_be_below_a_path(run_container, prefixed_pushgateway):
    assert run_container(BATCH_JOB_GATEWAY=f"{prefixed_pushgateway.url}/").stderr == ""
    assert prefixed_pushgateway.result("nightly-report", instance="") == SUCCESS


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
def cron(environment, finish, batch_job, job, gateway, secure_gateway, tmp_path):
    """Run a line of the crontab as cron would, but for places of this host."""
    (tmp_path / "etc").mkdir()
    text = (REPORTERS / "crontab").read_text()
    for there, here in {
        "https://gateway:9091": gateway.url,
        "/etc/cron-jobs/ca.crt": secure_gateway.ca_file,
        "=batch-jobs": f"={secure_gateway.username}",
        "/etc/cron-jobs/password": secure_gateway.password_file,
        "/usr/local/bin/nightly": str(job),
        "/usr/local/bin/sync-orders": str(job),
        "/var/backups": str(tmp_path),
        "-C /etc": f"-C {tmp_path}/etc",
    }.items():
        assert there in text
        text = text.replace(there, here)
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    settings = dict(line.split("=", 1) for line in lines if re.match(r"[A-Z_]+=", line))
    commands = [match[1] for match in map(CRON_LINE.fullmatch, lines) if match]
    assert len(settings) + len(commands) == len(lines)

    def run(name, status=0, old="", new="", **more):
        (command,) = (each for each in commands if f" {name} " in f"{each} ")
        if old:
            assert old in command
            command = command.replace(old, new)
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
        words = ["/bin/sh", "-c", command.replace("\\%", "%")]
        return finish(words, env=variables, cwd=tmp_path, stderr=subprocess.STDOUT)

    return run


def in_crontab(word):
    """Return a word as it is written into a crontab."""
    return shlex.quote(word).replace("%", "\\%")


@pytest.fixture
def on_this_host(gateway):
    """Return what the gateway holds of a job of this host."""
    return lambda job: gateway.values(job, instance=os.uname().nodename)


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


@pytest.mark.parametrize(("status", "result"), [(2, "exit-code"), (3, "warning")])
def test_a_job_of_cron_that_fails_or_warns_is_reported(cron, gateway, on_this_host, status, result):
    (option,) = re.findall(
        r"add (--warning-exit-codes 3)\.$", (REPORTERS / "crontab").read_text(), re.M
    )
    assert cron("nightly", status, "--lock", f"--lock {option}").returncode == status
    assert on_this_host("nightly")["last_exit_code"] == status
    assert gateway.result("nightly", os.uname().nodename) == result


def test_a_gateway_without_tls_and_a_password_needs_only_its_address(cron, pushgateway):
    unset = dict.fromkeys([f"BATCH_JOB_{x}" for x in ("CA_FILE", "USERNAME", "PASSWORD_FILE")], "")
    assert cron("nightly", BATCH_JOB_GATEWAY=pushgateway.url, **unset).stdout == ""
    assert pushgateway.result("nightly", os.uname().nodename) == SUCCESS


def test_any_owner_of_a_job_of_cron_arrives(cron, gateway, odd_name):
    done = cron("sync", old="--owner dba", new=f"--owner={in_crontab(odd_name)}")
    assert (done.returncode, done.stdout) == (0, "")
    declared = gateway.families("sync", os.uname().nodename)["batch_job_info"][0]["labels"]
    assert (declared["owner"], declared["severity"]) == (odd_name, "critical")


@pytest.mark.parametrize("name", ODDEST_NAMES)
def test_the_oddest_name_of_a_job_of_cron_arrives(cron, on_this_host, name):
    assert cron("nightly", old="--job nightly", new=f"--job {name}").stdout == ""
    assert on_this_host(name)["last_exit_code"] == 0


def test_what_is_no_name_is_mailed_before_a_job_of_cron_runs(cron, has_run, gateway, odd_name):
    done = cron("nightly", old="--job nightly", new=f"--job {in_crontab(odd_name)}")
    assert done.returncode == 64
    assert "argument --job: " in done.stdout
    assert not has_run()
    assert gateway.exposed() == ""


def test_the_gateway_of_cron_may_be_below_a_path(cron, prefixed_pushgateway):
    assert cron("nightly", BATCH_JOB_GATEWAY=f"{prefixed_pushgateway.url}/").stdout == ""
    assert prefixed_pushgateway.result("nightly", os.uname().nodename) == SUCCESS


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


def test_cron_sends_later_what_a_wrong_password_held_up(cron, gateway, tmp_path):
    (tmp_path / "wrong").write_text("wrong\n")
    assert "401" in cron("nightly", BATCH_JOB_PASSWORD_FILE=str(tmp_path / "wrong")).stdout
    assert "1 kept reports delivered, 0 wait" in cron("flush").stdout
    assert gateway.result("nightly", os.uname().nodename) == SUCCESS
