"""Every way a run can end, on real systemd, and what the gateways know afterwards."""

import shlex
import time

import pytest

from clients import eventually

HOSTS = ("jobs13", "jobs12")
testinfra_hosts = [f"ansible://{name}" for name in HOSTS]

STORAGE = "/etc/containers/storage.conf"
CONTAINER = "podman run --rm --network=host --cgroups=disabled localhost/box sh -c true"
NEVER = 4102444800  # 2100-01-01 UTC, which the schedules of most of these jobs name


def test_a_success_is_reported_with_its_metrics_to_both_gateways(job):
    before = time.time() - 2
    succeeds = job("succeeds")
    assert succeeds.run() == 0
    for known in (succeeds.at(node) for node in HOSTS):
        assert known.result() == ("success", 0)
        assert known.value("last_success_timestamp_seconds") >= before
        assert known.value("records_processed") == 7


def test_the_declaration_travels_with_every_report(job):
    succeeds = job("succeeds")
    assert succeeds.run() == 0
    info = succeeds.metrics()["batch_job_info"]["labels"]
    assert (info["owner"], info["severity"], info["kind"]) == ("ops", "critical", "backup")
    assert info["schedule"] == "daily"
    assert succeeds.value("max_runtime_seconds") == 3600
    assert succeeds.metrics()["batch_job_unit_info"]["labels"]["unit"] == succeeds.unit


def test_the_next_success_is_due_after_the_next_start_its_runtime_and_its_grace(job):
    succeeds = job("succeeds")
    assert succeeds.run() == 0
    midnight = (succeeds.value("last_success_timestamp_seconds") // 86400 + 1) * 86400
    assert succeeds.value("deadline_timestamp_seconds") == midnight + 3600 + 600


@pytest.mark.parametrize(
    ("name", "result"),
    [
        ("overlong", ("timeout", 143)),
        ("hungry", ("oom-kill", 137)),
        ("missing", ("start-failed", 203)),
    ],
)
def test_a_run_that_fails_is_reported_as_what_it_was(job, name, result):
    failing = job(name)
    assert failing.run() != 0
    assert [failing.at(node).result() for node in HOSTS] == [result, result]
    assert failing.value("last_success_timestamp_seconds") is None
    said = failing.metrics().get("batch_job_last_output", {"labels": {"output": ""}})["labels"]
    assert ("/does/not/exist" in said["output"]) == (name == "missing")


def test_a_warning_is_a_success_that_keeps_its_exit_code(job):
    warns = job("warns")
    assert warns.run() == 0
    for known in (warns.at(node) for node in HOSTS):
        assert known.result() == ("warning", 105)
        ends = map(
            known.value, ("last_success_timestamp_seconds", "last_completion_timestamp_seconds")
        )
        assert len({*ends}) == 1


def test_a_run_that_heals_when_it_is_tried_again_has_not_failed(job, host):
    heals = job("heals")
    host.check_output("rm -f /srv/tries")
    assert heals.run() == 0
    for known in (heals.at(node) for node in HOSTS):
        assert known.result() == ("success", 0)
        assert known.value("last_retries") == 2
    journal = host.check_output(f"journalctl --unit {heals.unit} --output cat --lines 20")
    assert "try 2 of 3 ended with 7; the next one is in 1 s" in journal


def test_a_run_that_is_killed_is_reported_by_systemd_itself(job, host):
    killed = job("sleeps")
    host.check_output(f"systemctl start --no-block {killed.unit}")
    assert eventually(
        lambda: host.run(f"systemctl show -P MainPID {killed.unit} | grep -vx 0").rc == 0
    )
    host.check_output(f"systemctl kill --signal KILL --kill-whom main {killed.unit}")
    assert eventually(lambda: killed.result() == ("signal", 137))
    # Until then, another start would be a part of this one.
    assert eventually(lambda: host.run(f"systemctl is-failed {killed.unit}").rc == 0)


def test_a_run_that_goes_on_is_known_by_its_start(job, host):
    sleeps = job("sleeps")
    before = sleeps.value("last_start_timestamp_seconds") or 0
    host.check_output(f"systemctl start --no-block {sleeps.unit}")
    assert eventually(lambda: (sleeps.value("last_start_timestamp_seconds") or 0) > before)
    assert "running for" in host.check_output("batch-job status | grep sleeps")
    host.check_output(f"systemctl stop {sleeps.unit}")
    assert eventually(lambda: sleeps.result() == ("signal", 143))


@pytest.fixture
def flags(host):
    """Return a function that switches the job `wavers`: /srv/fail, /srv/quiet."""
    yield lambda name: host.check_output(f"touch /srv/{name}")
    host.check_output("rm -f /srv/fail /srv/quiet")


def test_last_success_and_deadline_survive_a_failure(job, flags, host):
    wavers = job("wavers")
    assert wavers.run() == 0
    success = wavers.value("last_success_timestamp_seconds")
    flags("fail")
    assert wavers.run() != 0
    assert wavers.result() == ("exit-code", 3)
    assert wavers.metrics()["batch_job_last_output"]["labels"]["output"] == "full: password=***"
    assert "\n  full: password=***" in host.check_output("batch-job status wavers")
    assert wavers.value("last_success_timestamp_seconds") == success
    assert wavers.value("deadline_timestamp_seconds") == NEVER + 1800
    assert wavers.value("last_completion_timestamp_seconds") > success


def test_a_metric_that_a_later_success_does_not_send_vanishes(job, flags):
    wavers = job("wavers")
    assert wavers.run() == 0
    assert wavers.value("size_bytes") == 1
    flags("quiet")
    assert wavers.run() == 0
    assert wavers.value("size_bytes") is None


def test_metric_lines_that_are_illegal_are_told_and_cost_nothing_else(job, host):
    lies = job("lies")
    assert lies.run() == 0
    assert lies.result() == ("success", 0)
    assert (lies.value("good"), lies.value("twice")) == (1, 1)
    journal = host.check_output(f"journalctl --unit {lies.unit} --output cat")
    assert "line 2 is left out: not a metric line" in journal
    assert "line 3 is left out: batch_job_last_exit_code is not the job's to set" in journal
    assert "line 5 is left out: the same series once more" in journal


def test_peak_memory_is_the_units_own(job):
    hungry = job("hungry")
    assert hungry.run() != 0
    limit = 100 << 20
    assert limit * 0.9 < hungry.value("last_max_rss_bytes") <= limit


def test_arguments_and_environment_arrive_as_they_were_written(job, host):
    literal = job("literal")
    assert literal.run() == 0
    words = host.file("/srv/words").content_string.split("\n")
    assert words == [
        "a b",
        "50%",
        "$HOME",
        "back\\slash",
        '"',
        "two",
        "lines",
        "a\rb\t\x1b",
        "{{.Names}} ${#files[@]} {% %}",
        "50% of $HOME",
        "",
    ]


def test_a_job_of_another_user_reports_without_seeing_the_credentials(job, host):
    unprivileged = job("un:privileged")
    assert unprivileged.run() == 0
    assert unprivileged.value("user_id") == 1
    assert unprivileged.value("confined") == 0
    assert host.run("runuser -u daemon -- cat /etc/batch-job/config.json").rc != 0


def test_a_job_of_root_has_roots_environment_and_home_and_keeps_its_files_to_itself(job, host):
    assert job("environment").run() == 0
    lines = host.file("/srv/environment").content_string.splitlines()
    assert lines == ["/root", "root", "root", "/bin/bash", "/root", "0077"]


@pytest.fixture
def old(host):
    """Put a file into /tmp; afterwards remove what the job `unconfined` has changed."""
    host.check_output("touch /tmp/old")
    yield host.file("/tmp/old")
    host.check_output("umount /mnt; rm -f /etc/unconfined")


def test_what_a_job_changes_is_changed_for_all(job, host, old):
    assert job("unconfined").run() == 0
    assert not old.exists
    assert host.mount_point("/mnt").filesystem == "tmpfs"
    assert host.file("/etc/unconfined").exists


def test_a_confined_job_still_writes_what_a_backup_has_to(job, host):
    assert job("confined").run() == 0
    assert not host.file("/etc/written").exists
    assert host.file("/srv/written").mode == 0o4755


@pytest.mark.parametrize(
    ("name", "symptom", "option"),
    [
        ("refused", "Read-only file system", "ProtectSystem"),
        ("refused-namespace", "Operation not permitted", "RestrictNamespaces"),
    ],
)
def test_the_journal_names_the_option_that_refused_a_job_something(
    job, host, name, symptom, option
):
    assert job(name).run() != 0
    journal = host.check_output(f"journalctl --unit batch-job-{name} --output cat --lines 20")
    assert f"'{symptom}' may come from {option} of its unit" in journal


@pytest.fixture
def package(host):
    """Build a small package; return it as the host's package manager knows it."""
    control = "Package: small\nVersion: 1\nArchitecture: all\nMaintainer: x\nDescription: x"
    host.check_output("mkdir -p /srv/package/DEBIAN /srv/package/usr/share/small")
    host.check_output(f"echo '{control}' > /srv/package/DEBIAN/control")
    host.check_output("dpkg-deb --build /srv/package")
    yield host.package("small")
    host.check_output("dpkg --purge small; rm -r /srv/package*")


@pytest.mark.parametrize("name", ["installs", "installs-confined"])
def test_a_job_installs_a_package(job, package, name):
    assert job(name).run() == 0
    assert package.is_installed


@pytest.fixture
def tools(host):
    """Install tools, put a playbook into a repository of git's, and a shell into an image."""
    if host.file("/srv/site").exists:
        return
    if host.run("apt-get update").rc:
        pytest.skip("Debian's mirror cannot be reached")
    install = "DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends"
    # Podman on one of the hosts, in 28 MB.
    podman = "podman crun busybox-static" if HOSTS[0] == host.backend.get_hostname() else ""
    host.check_output(f"{install} certbot ansible-core git {podman}")
    if podman:
        # The driver that asks nothing of the kernel.
        lines = ["[storage]", 'driver="vfs"', 'graphroot="/srv/images"', 'runroot="/run/images"']
        host.check_output(
            f"mkdir -p /etc/containers; printf '%s\\n' {shlex.join(lines)} > {STORAGE}"
        )
        host.check_output("install -D /bin/busybox /srv/box/bin/sh")
        host.run("tar --create --directory /srv/box . | podman import --quiet - localhost/box")
    copy = "{hosts: localhost, tasks: [{copy: {dest: /usr/local/bin/pulled, content: x}}]}"
    commit = "git -c user.name=x -c user.email=x@example.org commit --quiet --message x"
    host.check_output("git init --quiet /srv/site")
    host.check_output(f"cd /srv/site; echo '[{copy}]' > site.yml; git add .; {commit}")


@pytest.mark.parametrize(
    ("name", "symptom", "option"),
    [
        ("certbot", "Read-only file system", "ProtectSystem"),
        ("ansible-pull", "not writable", "ProtectSystem"),
        ("podman", "Operation not permitted", "RestrictNamespaces"),
    ],
)
def test_a_tool_works_with_the_options_of_the_readme_and_not_confined(
    job, host, tools, name, symptom, option
):
    """No certificate is renewed: that needs a certification authority."""
    if name == "podman" and host.run(CONTAINER).rc:
        pytest.skip("no podman is here, or this node, a container itself, can run none")
    assert job(f"{name}-refused").run() != 0
    journal = host.check_output(f"journalctl --unit batch-job-{name}-refused --output cat")
    assert f"'{symptom}' may come from {option}" in journal
    assert job(name).run() == 0


def test_the_options_for_podman_allow_what_a_container_needs(job, host):
    """A stand-in for nodes that can run no container: the mounts and namespaces of one."""
    assert job("like-podman-refused").run() != 0
    journal = host.check_output("journalctl --unit batch-job-like-podman-refused --output cat")
    assert "'Operation not permitted' may come from RestrictNamespaces" in journal
    assert job("like-podman").run() == 0


def test_only_the_jobs_own_user_reads_its_credentials(job, host):
    sleeps = job("sleeps")
    host.check_output(f"systemctl start --no-block {sleeps.unit}")
    read = "setpriv --reuid {} --regid {} --init-groups cat /run/credentials/{}/token"
    assert eventually(lambda: host.run(read.format("daemon", "daemon", sleeps.unit)).rc == 0)
    for user, group in (("nobody", "nogroup"), ("bin", "daemon")):
        assert "Permission denied" in host.run(read.format(user, group, sleeps.unit)).stderr
    host.check_output(f"systemctl stop {sleeps.unit}")


def test_steps_run_before_and_after_a_job_which_alone_reads_its_credentials(job, host):
    assert job("prepared").run() == 0
    lines = host.file("/tmp/steps").content_string.splitlines()
    assert lines == ["before", "correct horse battery staple after", "after success"]
    assert host.run("runuser -u daemon -- cat /etc/batch-job/token").rc != 0


@pytest.mark.parametrize(
    ("name", "result"),
    [("badly-prepared", ("start-failed", 126)), ("untidy", ("exit-code", 1))],
)
def test_a_step_that_fails_is_a_run_that_failed(job, name, result):
    stumbling = job(name)
    before = time.time() - 2
    assert stumbling.run() != 0
    assert eventually(lambda: (stumbling.value("last_completion_timestamp_seconds") or 0) > before)
    assert stumbling.result() == result


def test_a_condition_of_the_unit_leaves_a_run_out(job, host):
    prepared = job("prepared")
    host.check_output("touch /srv/away")
    before = prepared.value("last_completion_timestamp_seconds")
    assert prepared.run() == 0
    host.check_output("rm /srv/away")
    assert prepared.value("last_completion_timestamp_seconds") == before


def test_a_paused_job_does_not_run_and_is_due_after_its_pause(job, host):
    paused = job("paused")
    assert paused.run() == 0
    assert not host.file("/tmp/paused").exists
    assert paused.value("last_start_timestamp_seconds") is None
    assert time.strftime("%Y", time.gmtime(paused.value("deadline_timestamp_seconds"))) == "2099"


@pytest.fixture
def dependent(host):
    """Let the job `confined` require a unit that fails, by a drop-in as an operator would."""
    units = "/run/systemd/system"
    drop_ins = f"{units}/batch-job-confined.service.d"
    unit = "[Service]\nType=oneshot\nExecStart=false\n"
    drop_in = "[Unit]\nRequires=fails.service\nAfter=fails.service\n"
    host.check_output(f"mkdir {drop_ins}; echo '{unit}' > {units}/fails.service")
    host.check_output(f"echo '{drop_in}' > {drop_ins}/own.conf; systemctl daemon-reload")
    yield
    host.check_output(f"rm -r {units}/fails.service {drop_ins}; systemctl daemon-reload")


def test_a_run_that_a_failed_unit_prevents_is_reported(job, host, dependent):
    confined = job("confined")
    before = time.time() - 2
    assert confined.run() != 0
    assert eventually(lambda: (confined.value("last_completion_timestamp_seconds") or 0) > before)
    assert confined.result() == ("start-failed", 126)


@pytest.fixture
def gone(host):
    """Take away what some jobs need; give it back afterwards."""
    host.check_output("rmdir /media; sed -i.saved /^games:/d /etc/passwd")
    yield
    host.check_output("mkdir /media; mv /etc/passwd.saved /etc/passwd")


@pytest.mark.parametrize(
    ("name", "code", "cause"),
    [
        ("no-directory", 200, "WorkingDirectory"),
        ("no-user", 217, "User"),
        ("no-mount", 226, "ReadWritePaths"),
        ("no-environment", 126, "EnvironmentFiles"),
    ],
)
def test_a_run_that_systemd_cannot_set_up_is_reported_at_once(job, host, gone, name, code, cause):
    host.run(f"systemctl reset-failed batch-job-{name}")
    hopeless = job(name)
    before = time.time() - 2
    assert hopeless.run() != 0
    assert eventually(lambda: (hopeless.value("last_completion_timestamp_seconds") or 0) > before)
    assert hopeless.result() == ("start-failed", code)
    assert hopeless.metrics()["batch_job_unit_info"]["labels"]["unit"] == hopeless.unit
    journal = f"journalctl --unit report-batch-job-failure@{name} --output cat --lines 20"
    assert f"may come from {cause} of its unit" in host.check_output(journal)


def test_a_run_that_its_own_unit_has_reported_is_not_reported_again(job, host):
    missing = job("missing")
    follower = "journalctl --unit report-batch-job-failure@missing --output cat | grep -c ^Finished"
    before = host.run(follower).stdout
    assert missing.run() != 0
    pushed = missing.value("push_time_seconds")
    assert eventually(lambda: host.run(follower).stdout != before)
    assert missing.value("push_time_seconds") == pushed


def test_a_job_of_cron_is_reported_as_it_was_declared(job, host):
    host.check_output("batch-job run --job by-cron -- true")
    by_cron = job("by-cron")
    success = by_cron.value("last_success_timestamp_seconds")
    assert by_cron.value("deadline_timestamp_seconds") == pytest.approx(success + 26 * 3600)
    assert by_cron.metrics()["batch_job_unit_info"]["labels"].get("unit", "") == ""


def test_a_foreign_unit_that_runs_the_reporter_is_named(job, host):
    run = "systemd-run --quiet --wait --unit 'foreign@a\\x2db' batch-job run --job by-cron -- true"
    host.check_output(run)
    labels = job("by-cron").metrics()["batch_job_unit_info"]["labels"]
    assert labels["unit"] == "foreign@a\\x2db.service"


@pytest.fixture
def alice(host):
    """Create a user; return how a command of hers begins."""
    host.check_output("useradd --create-home alice")
    yield "runuser --login alice --command"
    host.check_output("userdel --remove alice")


def test_root_sees_the_jobs_of_other_users(host, alice):
    host.check_output(f"{alice} 'batch-job run --job hers --gateway http://jobs13:1 -- true'")
    rows = [line.split() for line in host.check_output("batch-job status").splitlines()]
    assert [(row[3], row[-2:]) for row in rows if row[0] == "hers"] == [("success", ["1", "alice"])]


def test_the_table_of_jobs_tells_result_and_deadline(job, host):
    job("missing").run()
    lines = host.check_output("batch-job status").splitlines()
    (line,) = [line for line in lines if line.startswith("missing")]
    assert "start-failed (203)" in line
    assert "in 2" in line


def test_the_reporter_is_one_file_that_needs_python_alone(host):
    assert host.run("python3 -c 'import prometheus_client'").rc != 0
    assert host.file("/usr/local/bin/batch-job").is_file
    assert host.run("env -i /usr/local/bin/batch-job check").rc == 0


def test_a_weekday_job_is_due_on_a_weekday(job):
    due = time.gmtime(job("weekdays").value("deadline_timestamp_seconds"))
    assert due.tm_wday < 5
    # 02:00 in Berlin, an hour of runtime, a quarter of an hour of grace.
    assert (due.tm_hour, due.tm_min) in [(1, 15), (2, 15)]
