"""`backup_directory.sh`, its variants and `push_minimal.sh` against a real Pushgateway.

The variants run stand-ins for restic, borg and pg_dump, which print what the manuals of these
programs say. That the real ones do so is not proven here.
"""

import os
import re
import signal
import subprocess
import tarfile
from contextlib import suppress
from pathlib import Path

import pytest

REPORTERS = Path(__file__).resolve().parents[1]
SCRIPT = REPORTERS / "backup_directory.sh"


@pytest.fixture
def backup(tmp_path, environment, pushgateway):
    """Return the arguments for `subprocess` of a backup of a directory that holds one file."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_text("content")

    def arguments(job="nightly", source=source, script=SCRIPT, shell=("sh",), **variables):
        variables = {"PUSHGATEWAY_URL": pushgateway.url, "INSTANCE": "node1", **variables}
        return {
            "args": [*shell, script, job, source, tmp_path / "archive.tar.gz"],
            "env": environment(**variables),
        }

    return arguments


@pytest.fixture
def run(backup, finish):
    """Run a backup to its end."""
    return lambda *words, **more: finish(**backup(*words, **more))


@pytest.fixture
def stuck(backup, tmp_path, pushgateway, eventually):
    """Start a backup that hangs: nobody reads what it writes."""
    archive = tmp_path / "archive.tar.gz.partial"
    os.mkfifo(archive)
    os.link(archive, tmp_path / "fifo")
    started = []

    def start(**more):
        started.append(subprocess.Popen(**backup(**more), start_new_session=True))
        eventually(lambda: "last_start_timestamp_seconds" in pushgateway.values("nightly"))
        return started[-1]

    yield start
    for each in started:
        # Also what compresses for tar, which waits for a reader whatever becomes of tar.
        with suppress(ProcessLookupError):
            os.killpg(each.pid, signal.SIGKILL)
        each.wait()


def test_a_success_reports_its_result_and_the_size_of_the_archive(
    run, pushgateway, tmp_path, shell
):
    done = run(shell=shell)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert pushgateway.result("nightly") == "success"
    size = (tmp_path / "archive.tar.gz").stat().st_size
    assert pushgateway.values("nightly")["backup_size_bytes"] == size


def test_the_archive_holds_the_directory_and_is_for_its_owner_alone(run, tmp_path):
    run()
    with tarfile.open(tmp_path / "archive.tar.gz") as archive:
        assert "./file" in archive.getnames()
    assert (tmp_path / "archive.tar.gz").stat().st_mode & 0o777 == 0o600


def test_a_failure_keeps_the_last_success_and_the_old_archive(run, pushgateway, tmp_path, shell):
    run()
    before = pushgateway.values("nightly")
    archive = (tmp_path / "archive.tar.gz").read_bytes()
    assert run(source="/does/not/exist", shell=shell).returncode != 0
    after = pushgateway.values("nightly")
    assert after["last_exit_code"] != 0
    assert pushgateway.result("nightly") == "exit-code"
    kept = ("last_success_timestamp_seconds", "backup_size_bytes")
    assert [after[name] for name in kept] == [before[name] for name in kept]
    assert (tmp_path / "archive.tar.gz").read_bytes() == archive


def test_a_file_that_changes_while_tar_reads_it_is_a_warning_and_the_archive_stays(
    run, pushgateway, tmp_path
):
    large = tmp_path / "source/large"
    with large.open("wb") as file:
        file.truncate(300 << 20)
    with subprocess.Popen(["sh", "-c", f"while :; do echo >> '{large}'; done"]) as writer:
        done = run()
        writer.kill()
    assert (done.returncode, "changed as we read it" in done.stderr) == (1, True)
    assert pushgateway.result("nightly") == "warning"
    found = pushgateway.values("nightly")
    assert found["last_exit_code"] == 1
    assert found["last_success_timestamp_seconds"] == found["last_completion_timestamp_seconds"]
    assert found["backup_size_bytes"] == (tmp_path / "archive.tar.gz").stat().st_size


@pytest.mark.parametrize(
    ("version", "codes", "status", "result"),
    [
        # Busybox ends with 1 for any error.
        ("tar (busybox) 1.36.1", {}, 1, "exit-code"),
        ("tar (GNU tar) 1.35", {"WARNING_EXIT_CODES": ""}, 1, "exit-code"),
        ("tar (busybox) 1.36.1", {"WARNING_EXIT_CODES": "3 1"}, 1, "warning"),
        ("tar (GNU tar) 1.35", {"WARNING_EXIT_CODES": "3"}, 0, "success"),
    ],
)
def test_only_exit_codes_of_warnings_are_warnings(
    run, stand_in, pushgateway, version, codes, status, result
):
    script = f"[ $1 != --version ] || {{ echo '{version}'; exit; }}\necho >$2\nexit {status}\n"
    stand_in("tar", f"#!/bin/sh\n{script}")
    assert run(**codes).returncode == status
    assert pushgateway.result("nightly") == result


def test_the_exit_status_is_tars(run, stand_in, pushgateway):
    stand_in("tar", "#!/bin/sh\nexit 2\n")
    assert run().returncode == 2
    assert pushgateway.values("nightly")["last_exit_code"] == 2


@pytest.mark.parametrize(
    ("status", "result"),
    [
        (1, "exit-code"),
        (124, "timeout"),
        (127, "start-failed"),
        (137, "signal"),
        (255, "exit-code"),
    ],
)
def test_the_exit_status_decides_the_result(run, stand_in, pushgateway, status, result):
    stand_in("tar", f"#!/bin/sh\nexit {status}\n")
    run()
    assert pushgateway.result("nightly") == result


def test_a_backup_that_hangs_has_reported_its_start(stuck, pushgateway):
    stuck(MAX_RUNTIME_SECONDS=60)
    found = pushgateway.values("nightly")
    assert found["max_runtime_seconds"] == 60
    assert "last_completion_timestamp_seconds" not in found


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_backup_that_hangs_and_is_reported(
    stuck, pushgateway, tmp_path, number, shell
):
    running = stuck(shell=shell)
    running.send_signal(number)
    assert running.wait(timeout=10) == 128 + number
    assert pushgateway.values("nightly")["last_exit_code"] == 128 + number
    assert pushgateway.result("nightly") == "signal"
    # Its link is gone; what compresses for tar may have made another file of that name by now.
    assert (tmp_path / "fifo").stat().st_nlink == 1


def test_any_instance_arrives_as_it_is(run, pushgateway, odd_name):
    run(INSTANCE=odd_name)
    assert pushgateway.result("nightly", odd_name) == "success"


def test_an_empty_instance_is_none(run, pushgateway):
    run(INSTANCE="")
    assert pushgateway.result("nightly", instance="") == "success"


@pytest.mark.parametrize("owner", ['the "best" \\ team', "two\nlines", "größe", ""])
def test_any_owner_arrives_as_it_is(run, pushgateway, owner):
    run(OWNER=owner, SEVERITY="critical")
    labels = pushgateway.families("nightly")["batch_job_info"][0]["labels"]
    assert labels["owner"] == owner
    assert labels["severity"] == "critical"
    assert labels["kind"] == "backup"


def test_a_rollout_leaves_a_job_alone_that_reports_itself(run, roll_out, pushgateway):
    assert "nightly: registered" in roll_out(pushgateway.url)
    run(source="/does/not/exist")
    assert roll_out(pushgateway.url) == "nothing changed\n"
    run()
    assert roll_out(pushgateway.url) == "nothing changed\n"


def test_a_dead_gateway_leaves_the_backup_alone(run, dead_url, tmp_path):
    assert run(PUSHGATEWAY_URL=dead_url).returncode == 0
    assert tarfile.is_tarfile(tmp_path / "archive.tar.gz")


def test_a_dead_gateway_leaves_the_exit_status_of_a_failure_alone(run, dead_url, stand_in):
    stand_in("tar", "#!/bin/sh\nexit 3\n")
    assert run(PUSHGATEWAY_URL=dead_url).returncode == 3


# Programs that do as the real ones are documented to, as far as the script can tell.
STAND_INS = {
    "restic": """#!/bin/sh
[ "$1 $2 $3" = "backup --json --quiet" ] && [ -e "$4" ] || exit 1
echo '{"message_type":"summary","files_new":1,"data_added":17,"total_bytes_processed":4711}'
""",
    "borg": """#!/bin/sh
[ "$1 $2 $3" = "create --json ::{hostname}-{now}" ] && [ -e "$4" ] || exit 2
echo '{
    "archive": {
        "stats": {"compressed_size": 99, "deduplicated_size": 17, "nfiles": 1,
            "original_size": 4711
        }
    },
    "cache": {"stats": {"total_size": 999999}}
}'
""",
    "pg_dump": """#!/bin/sh
[ "$1" = "--format=custom" ] && [ -e "$3" ] || exit 1
printf %04711d 0 >"${2#--file=}"
""",
}


@pytest.fixture(params=STAND_INS)
def variant(request, tmp_path, stand_in):
    """Return the script with a variant in tar's place, and the stand-in that it runs."""
    text = SCRIPT.read_text()
    lines = re.findall(r"^#   (.+)\n", text[text.index(f"# {request.param}") :], re.MULTILINE)
    count = next(index for index, line in enumerate(lines) if line.startswith("size=")) + 1
    changed = tmp_path / "variant.sh"
    before, _tar, after = text.partition(
        text[text.index("tar -czf") : text.index("is_complete=yes\n")]
    )
    changed.write_text("\n".join([before, *lines[:count], after]))
    return changed, stand_in(request.param, STAND_INS[request.param])


def test_a_variant_reports_how_large_the_backup_is(run, pushgateway, variant):
    script, _program = variant
    done = run(script=script)
    assert (done.returncode, done.stderr) == (0, "")
    assert pushgateway.values("nightly")["backup_size_bytes"] == 4711


def test_a_variant_that_fails_is_reported_with_its_exit_status(run, pushgateway, variant):
    script, program = variant
    program.write_text("#!/bin/sh\nexit 2\n")
    assert run(script=script).returncode == 2
    found = pushgateway.values("nightly")
    assert found["last_exit_code"] == 2
    assert "last_success_timestamp_seconds" not in found


# As their manuals have it; borg's with BORG_EXIT_CODES=modern, and without.
WARNINGS = {"restic": (3,), "borg": (1, 100, 105, 107), "pg_dump": ()}


def test_a_variant_takes_only_its_own_warnings_for_a_success(run, pushgateway, variant):
    script, program = variant
    text, codes = program.read_text(), WARNINGS[program.name]
    for code in (1, 2, 3, 99, 100, 105, 107, 108):
        program.write_text(f"{text}\nexit {code}\n")
        assert run(script=script).returncode == code
        expected = "warning" if code in codes else "exit-code"
        assert (code, pushgateway.result("nightly")) == (code, expected)


@pytest.fixture
def push(environment, finish, pushgateway):
    """Run the smallest push to its end."""

    def wait(job="nightly", metric="records", value="42", shell=("sh",), **variables):
        command = [*shell, REPORTERS / "push_minimal.sh", job, metric, value]
        return finish(command, env=environment(**{"PUSHGATEWAY_URL": pushgateway.url, **variables}))

    return wait


def test_the_smallest_push_arrives_without_a_word(push, pushgateway, shell):
    done = push(shell=shell)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert pushgateway.values("nightly", instance="")["records"] == 42


@pytest.mark.parametrize("table", ["a b", "sales/orders", "größe", "100%"])
def test_the_smallest_push_may_have_a_label(push, pushgateway, table):
    assert push(metric=f'records{{table="{table}"}}').stderr == ""
    labels = pushgateway.families("nightly", instance="")["records"][0]["labels"]
    assert labels["table"] == table


def test_the_smallest_push_leaves_alone_what_others_pushed(push, pushgateway):
    pushgateway.add("nightly", "others 1\n", instance="")
    push()
    assert pushgateway.values("nightly", instance="")["others"] == 1


@pytest.mark.parametrize(
    ("metric", "value", "reason"),
    [("records", "many", "expected float as value"), ("1st", "1", "invalid metric name")],
)
def test_the_smallest_push_tells_why_it_was_refused(push, metric, value, reason):
    done = push(metric=metric, value=value)
    assert (done.returncode, done.stdout) == (1, "")
    assert reason in done.stderr
