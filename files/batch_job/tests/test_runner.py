"""A command under the reporter, seen from both sides: it must not notice, nor its parent."""

import json
import os
import pty
import signal
import subprocess
import sys
import time

import pytest

from batch_job.backup_size import backup_size

RUN = ("run", "--job", "nightly", "--max-age", "26h")


@pytest.fixture
def job(node):
    """Run a command and return what its parent sees."""

    def run(*command, options=(), **more):
        return subprocess.run(
            node.command(*RUN, *options, "--", *command),
            env=node.environment,
            capture_output=True,
            check=False,
            timeout=30,
            **more,
        )

    return run


TEE = ("--report-output", "3")


@pytest.mark.parametrize("options", [(), TEE], ids=["as they are", "copied"])
def test_streams_pass_through_byte_for_byte(job, options):
    noise = bytes(range(256)) * 1000
    done = job("sh", "-c", "tee /dev/stderr", input=noise, options=options)
    assert done.stdout == noise
    assert done.stderr == noise


@pytest.mark.parametrize("code", [0, 1, 3, 124, 255])
def test_the_exit_status_is_the_commands(job, pushgateway, code):
    assert job("sh", "-c", f"exit {code}").returncode == code
    assert pushgateway.values("nightly")["last_exit_code"] == code
    assert pushgateway.result("nightly") == ("exit-code" if code else "success")


def test_arguments_are_passed_as_they_are(job):
    words = ["a b", "", "*", "$HOME", "--job", "--", b"\xff\n"]
    assert job("printf", "%s|", *words).stdout == b"a b||*|$HOME|--job|--|\xff\n|"


def test_a_command_that_is_not_there_is_127(job, pushgateway):
    done = job("/does/not/exist")
    assert done.returncode == 127
    assert done.stderr == b"batch-job: /does/not/exist: No such file or directory\n"
    assert pushgateway.values("nightly")["last_exit_code"] == 127
    assert pushgateway.result("nightly") == "start-failed"


def test_a_command_that_is_not_there_is_127_whatever_its_bytes(job):
    assert job(b"/does/not/\xff").returncode == 127


def test_a_command_that_cannot_be_executed_is_126(job, pushgateway):
    assert job("/etc/passwd").returncode == 126
    assert pushgateway.values("nightly")["last_exit_code"] == 126
    assert pushgateway.result("nightly") == "start-failed"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT, signal.SIGPIPE])
def test_the_parent_sees_the_signal_that_ended_the_command(job, pushgateway, number):
    assert job("sh", "-c", f"kill -{int(number)} $$").returncode == -number
    assert pushgateway.values("nightly")["last_exit_code"] == 128 + number
    assert pushgateway.result("nightly") == "signal"


def test_the_parent_sees_a_signal_of_real_time_too(job, pushgateway):
    assert job("sh", "-c", "kill -40 $$").returncode == -40
    assert pushgateway.values("nightly")["last_exit_code"] == 168


# Counts the signals that it gets: waits for one, and then for another one that must not come.
COUNT = """
import signal
watched = {*range(1, 32)} - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}
signal.pthread_sigmask(signal.SIG_BLOCK, watched)
print("ready", flush=True)
first = signal.sigtimedwait(watched, 10)
second = signal.sigtimedwait(watched, 0.3)
print(first and first.si_signo, second and second.si_signo)
"""
SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"]


@pytest.mark.parametrize("options", [(), ("--max-runtime", "1h")], ids=["unlimited", "limited"])
@pytest.mark.parametrize("name", SIGNALS)
def test_a_signal_to_the_reporter_reaches_the_command_once(node, name, options):
    with node.start(*RUN, *options, "--", sys.executable, "-c", COUNT) as running:
        assert running.stdout.readline() == b"ready\n"
        running.send_signal(signal.Signals[name])
        output, _ = running.communicate(timeout=15)
    assert output.decode().split() == [str(int(signal.Signals[name])), "None"]
    assert running.returncode == 0


def test_a_command_that_the_reporter_must_not_signal_is_still_reported(
    node, pushgateway, cannot_signal_others
):
    command = ["setpriv", "--reuid=65534", "--clear-groups", "sh", "-c", "echo ready; cat; exit 3"]
    with node.start(
        *RUN, "--", *command, prefix=cannot_signal_others, stdin=subprocess.PIPE
    ) as running:
        assert running.stdout.readline() == b"ready\n"
        running.terminate()
        with pytest.raises(subprocess.TimeoutExpired):
            running.wait(timeout=0.5)
        running.communicate()
    assert running.returncode == 3
    assert pushgateway.values("nightly")["last_exit_code"] == 3


@pytest.fixture
def terminal():
    ours, theirs = pty.openpty()
    yield ours, theirs
    os.close(ours)
    os.close(theirs)


@pytest.mark.parametrize("options", [(), ("--max-runtime", "1h")], ids=["unlimited", "limited"])
def test_an_interrupt_of_the_terminal_reaches_the_command_once(node, terminal, options):
    ours, theirs = terminal
    command = ["setsid", "--ctty", "--wait"]
    command += node.command(*RUN, *options, "--", sys.executable, "-c", COUNT)
    with subprocess.Popen(
        command, env=node.environment, stdin=theirs, stdout=subprocess.PIPE
    ) as running:
        assert running.stdout.readline() == b"ready\n"
        os.write(ours, b"\x03")
        output, _ = running.communicate(timeout=15)
    assert output.decode().split() == [str(int(signal.SIGINT)), "None"]


def test_a_command_of_a_terminal_stays_in_its_foreground(job, terminal):
    parent = "import os; print(os.getpgrp() == os.getpgid(os.getppid()))"
    limited = ("--max-runtime", "1h")
    done = job(sys.executable, "-c", parent, options=limited, stdin=terminal[1])
    assert done.stdout == b"True\n"


@pytest.mark.parametrize("options", [(), ("--max-runtime", "1h")], ids=["unlimited", "limited"])
def test_no_signal_is_blocked_or_ignored_in_the_command(job, options):
    done = job("grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status", options=options)
    masks = [int(line.split()[1], 16) for line in done.stdout.splitlines()]
    # The C library keeps the signals 32 and 33 to itself.
    assert [mask & 0x7FFFFFFF for mask in masks] == [0, 0]


def test_what_the_parent_ignores_stays_ignored(job):
    ignore = {"preexec_fn": lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)}
    assert job("sh", "-c", "kill -HUP $$; exit 5", **ignore).returncode == 5


def test_a_parent_that_ignores_its_children_harms_nobody(job):
    ignore = {"preexec_fn": lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN)}
    assert job("sh", "-c", "exit 5", **ignore).returncode == 5


def test_the_environment_passes_through_with_a_file_for_metrics(node):
    done = node(
        *RUN, "--", "sh", "-c", 'echo "$GREETING"; echo "$BATCH_JOB_METRICS"', GREETING="hi"
    )
    greeting, path = done.stdout.splitlines()
    assert greeting == "hi"
    assert path.endswith(".prom")
    assert not os.path.exists(path)


def test_what_the_command_writes_into_that_file_is_pushed(node, pushgateway, tmp_path):
    script = 'echo "backup_size_bytes 4096" > "$BATCH_JOB_METRICS"'
    done = node(*RUN, "--", "sh", "-c", script, TMPDIR=str(tmp_path))
    assert done.stderr == ""
    assert pushgateway.values("nightly")["backup_size_bytes"] == 4096
    assert list(tmp_path.glob("*.prom")) == []


def test_a_file_that_the_environment_names_is_used_and_stays(node, pushgateway, tmp_path):
    own = tmp_path / "own.prom"
    script = 'echo "backup_size_bytes 1" > "$BATCH_JOB_METRICS"'
    node(*RUN, "--", "sh", "-c", script, BATCH_JOB_METRICS=str(own))
    assert pushgateway.values("nightly")["backup_size_bytes"] == 1
    assert own.read_text() == "backup_size_bytes 1\n"


def test_a_directory_in_place_of_that_file_costs_no_report(node, pushgateway):
    done = node(*RUN, "--", "sh", "-c", 'mkdir "$BATCH_JOB_METRICS"')
    assert done.returncode == 0
    assert pushgateway.result("nightly") == "success"


SPEND = """
import time
memory = bytearray(64 << 20)
while time.process_time() < 0.4: pass
"""


def test_the_costs_are_the_commands(job, pushgateway):
    assert job(sys.executable, "-c", SPEND).returncode == 0
    found = pushgateway.values("nightly")
    assert 0.4 <= found["last_cpu_seconds"] < 5
    assert 64 << 20 <= found["last_max_rss_bytes"] < 256 << 20
    assert 0.4 <= found["last_duration_seconds"] < 20


def test_a_command_that_runs_too_long_gets_a_term(job, pushgateway):
    limited = ("--max-runtime", "1s")
    assert job("sleep", "60", options=limited).returncode == -signal.SIGTERM
    assert pushgateway.result("nightly") == "timeout"
    assert pushgateway.values("nightly")["last_exit_code"] == 143
    assert 1 <= pushgateway.values("nightly")["last_duration_seconds"] < 5


def test_the_declared_runtime_holds_without_an_option(job, node, pushgateway):
    node.declare("nightly", max_runtime="1s")
    assert job("sleep", "60").returncode == -signal.SIGTERM
    assert pushgateway.result("nightly") == "timeout"


def test_a_command_that_ends_well_but_too_late_is_no_success(job, pushgateway):
    script = "trap 'echo term; exit 0' TERM; sleep 60 & wait"
    done = job("sh", "-c", script, options=("--max-runtime", "1s"))
    assert (done.returncode, done.stdout) == (124, b"term\n")
    assert pushgateway.result("nightly") == "timeout"
    assert pushgateway.values("nightly")["last_exit_code"] == 124


def test_a_command_that_ends_in_time_is_not_ended(job, pushgateway):
    assert job("sh", "-c", "exit 3", options=("--max-runtime", "30s")).returncode == 3
    assert pushgateway.result("nightly") == "exit-code"


# As the manuals of restic, borg, rsync and tar have it.
@pytest.mark.parametrize(
    ("codes", "status", "result"),
    [
        ("3", 3, "warning"),
        ("1,100-107", 1, "warning"),
        ("1, 100-107", 105, "warning"),
        ("24", 24, "warning"),
        ("1", 1, "warning"),
        ("1,100-107", 2, "exit-code"),
        ("1,100-107", 108, "exit-code"),
        ("1,100-107", 99, "exit-code"),
    ],
)
@pytest.mark.parametrize("is_declared", [False, True], ids=["by an option", "by declaration"])
def test_a_warning_is_a_success_that_keeps_its_exit_code(
    job, node, pushgateway, codes, status, result, is_declared
):
    job("sh", "-c", 'echo "old 1" > "$BATCH_JOB_METRICS"')
    options = ("--max-age", "26h", "--warning-exit-codes", codes)
    if is_declared:
        node.declare("nightly", max_age="26h", warning_exit_codes=codes)
        options = ()
    assert job("sh", "-c", f"exit {status}", options=options).returncode == status
    assert pushgateway.result("nightly") == result
    found = pushgateway.values("nightly")
    assert found["last_exit_code"] == status
    is_success = result == "warning"
    ends = found["last_completion_timestamp_seconds"], found["last_success_timestamp_seconds"]
    assert (ends[0] == ends[1]) == is_success
    # Like any success, it replaces what an older version of the job left.
    assert ("old" in found) != is_success
    assert f"{result} ({status})" in node("status").stdout


@pytest.fixture
def backup(tmp_path):
    """Make a file of 5 bytes, a directory of 12, and links."""
    (tmp_path / "file").write_text("12345")
    (tmp_path / "directory/below").mkdir(parents=True)
    (tmp_path / "directory/a").write_text("123")
    (tmp_path / "directory/below/b").write_text("123456789")
    (tmp_path / "latest").symlink_to("file")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "size"), [("file", 5), ("directory", 12), ("latest", 5), ("gone", None)]
)
@pytest.mark.parametrize("is_declared", [False, True], ids=["by an option", "by declaration"])
def test_the_size_of_a_backup_is_reported(job, node, pushgateway, backup, name, size, is_declared):
    options = ("--backup-size", backup / name)
    if is_declared:
        node.declare("nightly", max_age="26h", backup_size_of=str(backup / name))
        options = ()
    done = job("true", options=options)
    assert done.returncode == 0
    assert pushgateway.values("nightly").get("backup_size_bytes") == size
    problem = f"the size of {backup / name} is unknown: No such file or directory"
    assert (problem in done.stderr.decode()) == (size is None)
    assert pushgateway.result("nightly") == "success"


def test_a_failure_has_no_size_and_the_jobs_own_counts_more(job, pushgateway, backup):
    options = ("--backup-size", backup / "file")
    assert job("false", options=options).returncode == 1
    assert "backup_size_bytes" not in pushgateway.values("nightly")
    assert job("sh", "-c", 'echo backup_size_bytes 7 > "$BATCH_JOB_METRICS"', options=options)
    assert pushgateway.values("nightly")["backup_size_bytes"] == 7


def test_a_directory_of_too_many_files_is_not_counted(backup):
    with pytest.raises(TimeoutError, match="could not be counted within 0 s"):
        backup_size(backup / "directory", 0)


# Fails until it has been started so often; `$0` counts.
FLAKY = 'echo >> "$0"; [ $(wc -l < "$0") -ge $1 ] || exit 7'


@pytest.mark.parametrize(
    ("good", "retries", "tries", "result", "status"),
    [
        (1, "2", 1, "success", 0),
        (3, "2", 3, "success", 0),
        (4, "2", 3, "exit-code", 7),
        (2, "0", 1, "exit-code", 7),
    ],
)
@pytest.mark.parametrize("is_declared", [False, True], ids=["by an option", "by declaration"])
def test_a_job_is_tried_again_and_its_last_try_is_the_result(
    job, node, pushgateway, tmp_path, good, retries, tries, result, status, is_declared
):
    options = ("--retries", retries, "--retry-delay", "1s")
    if is_declared:
        node.declare("nightly", retries=retries, retry_delay="1s")
        options = ()
    started = time.time()
    done = job("sh", "-c", FLAKY, tmp_path / "starts", str(good), options=options)
    assert done.returncode == status
    assert len((tmp_path / "starts").read_text()) == tries
    assert pushgateway.result("nightly") == result
    found = pushgateway.values("nightly")
    assert found["last_exit_code"] == status
    assert found.get("last_retries") == (tries - 1 if retries != "0" else None)
    assert found["last_start_timestamp_seconds"] == pytest.approx(started, abs=1)
    assert tries - 1 <= found["last_duration_seconds"] < tries + 5
    assert ("try 1 of 3 ended with 7; the next one is in 1 s" in done.stderr.decode()) == (
        tries > 1
    )
    if tries > 1:
        assert f", {tries - 1} retries" in node("status").stdout


@pytest.mark.parametrize(
    ("script", "options", "result"),
    [
        # Of a warning, and of a run that took too long, there is no second try.
        ("echo >> $0; exit 3", ("--warning-exit-codes", "3"), "warning"),
        ("echo >> $0; exec sleep 60", ("--max-runtime", "1s"), "timeout"),
        ("echo >> $0; exit 3", ("--max-runtime", "1s", "--retry-delay", "1h"), "exit-code"),
    ],
)
def test_a_try_that_nothing_can_follow_is_the_last_one(
    job, pushgateway, tmp_path, script, options, result
):
    job("sh", "-c", script, tmp_path / "starts", options=("--retries", "2", *options))
    assert (tmp_path / "starts").read_text() == "\n"
    assert pushgateway.result("nightly") == result


@pytest.mark.parametrize("moment", ["in a try", "between tries"])
def test_who_ends_a_job_ends_its_tries(node, pushgateway, tmp_path, moment, eventually):
    script = "echo >> $0; exec sleep 60" if moment == "in a try" else "echo >> $0; exit 3"
    options = ("--retries", "2", "--retry-delay", "1min")
    words = ("sh", "-c", script, tmp_path / "starts")
    running = node.start("run", "--job", "nightly", *options, "--", *words)
    eventually(lambda: (tmp_path / "starts").exists())
    time.sleep(0.5)
    running.terminate()
    assert running.wait(10) == (-signal.SIGTERM if moment == "in a try" else 3)
    assert (tmp_path / "starts").read_text() == "\n"
    assert pushgateway.result("nightly") == ("signal" if moment == "in a try" else "exit-code")
    assert pushgateway.values("nightly")["last_retries"] == 0


# The runner alone, with less patience than the ten seconds of its own.
IMPATIENT = """
import json, sys
from batch_job import runner
runner.KILL_AFTER_SECONDS = 0.3
done = runner.run(sys.argv[1:], {"PATH": "/usr/bin:/bin"}, runner.Limits(0.3), lambda moment: None)
print(json.dumps([done.outcome.result, done.outcome.exit_code, done.ended_by]), flush=True)
"""


@pytest.fixture
def impatient(node):
    """Run a shell script that may take 0.3 s; its output ends when nothing is left of it."""

    def run(script):
        done = subprocess.run(
            [sys.executable, "-c", IMPATIENT, "sh", "-c", script],
            env=node.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=15,
        )
        return json.loads(done.stdout.splitlines()[-1])

    return run


def test_a_command_that_ignores_a_term_is_killed(impatient):
    assert impatient("trap '' TERM; sleep 60; sleep 60") == ["timeout", 137, signal.SIGKILL]


def test_what_it_left_in_the_background_is_killed_with_it(impatient):
    script = "trap '' TERM; sleep 60 & trap - TERM; sleep 60"
    assert impatient(script) == ["timeout", 143, signal.SIGTERM]


def test_a_background_process_of_a_command_in_time_is_left_alone(job, tmp_path, eventually):
    script = f"(sleep 0.5; echo done > {tmp_path}/late) > /dev/null 2>&1 &"
    assert job("sh", "-c", script, options=("--max-runtime", "30s")).returncode == 0
    assert eventually((tmp_path / "late").exists)


@pytest.mark.parametrize("is_declared", [False, True], ids=["by an option", "by declaration"])
def test_the_last_lines_of_a_failure_are_reported_until_a_success(
    job, node, pushgateway, is_declared
):
    if is_declared:
        node.declare("nightly", report_output="3")
    options = () if is_declared else TEE

    def outputs():
        families = pushgateway.families("nightly").get("batch_job_last_output", [])
        return [family["labels"].get("output", "") for family in families]

    failing = "printf '1\\n2\\npassword=hunter2\\nno space' >&2; exit 3"
    assert job("sh", "-c", failing, options=options).returncode == 3
    assert outputs() == ["2\npassword=***\nno space"]
    shown = node("status", "nightly").stdout
    assert shown.endswith("Last output of nightly:\n  2\n  password=***\n  no space\n")
    assert "password" not in node("status").stdout
    # Nothing of an earlier failure is shown as this one's.
    node.declare("nightly")
    job("false")
    assert outputs() == [""]
    job("true", options=options)
    assert outputs() == []
    assert "Last output" not in node("status", "nightly").stdout


def test_a_warning_reports_no_output(job, pushgateway):
    options = (*TEE, "--warning-exit-codes", "3")
    job("sh", "-c", "echo careful >&2; exit 3", options=options)
    assert pushgateway.result("nightly") == "warning"
    assert "last_output" not in pushgateway.values("nightly")


def test_a_copied_stream_waits_for_nobody_in_the_background(job):
    started = time.monotonic()
    done = job("sh", "-c", "sleep 20 > /dev/null & echo no >&2; exit 3", options=TEE)
    assert (done.returncode, done.stderr) == (3, b"no\n")
    assert time.monotonic() - started < 15


def test_a_command_whose_copied_stream_nobody_reads_gets_the_signal(node):
    words = node.command(*RUN, *TEE, "--", "sh", "-c", "while echo x >&2; do :; done")
    with subprocess.Popen(words, env=node.environment, stderr=subprocess.PIPE) as process:
        assert process.stderr.read(1) == b"x"
        process.stderr.close()
        try:
            assert process.wait(timeout=20) == -signal.SIGPIPE
        finally:
            process.kill()


def test_a_reporter_whose_streams_are_closed_runs_the_command(node, tmp_path):
    words = " ".join(node.command(*RUN, "--", "sh", "-c", f"'echo ran > {tmp_path}/ran; exit 3'"))
    done = subprocess.run(
        ["sh", "-c", f"exec {words} <&- >&- 2>&-"], env=node.environment, check=False, timeout=30
    )
    assert done.returncode == 3
    assert (tmp_path / "ran").read_text() == "ran\n"
