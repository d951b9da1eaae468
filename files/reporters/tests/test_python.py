"""Both Python examples against a real Pushgateway: what holds for one holds for the other."""

import importlib
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

REPORTERS = Path(__file__).resolve().parents[1]
EXAMPLES = ["python_requests", "python_prometheus_client"]

# Runs an example whose copy takes for ever, once it has begun.
HANGS = """
import importlib, sys, time
example = importlib.import_module(sys.argv.pop(1))
def copy(*_paths):
    print("copying", flush=True)
    time.sleep(60)
example.copy = copy
example.main()
"""


@pytest.fixture(params=EXAMPLES)
def name(request):
    return request.param


@pytest.fixture
def example(name, monkeypatch):
    """Return the example as a module."""
    monkeypatch.syspath_prepend(REPORTERS)
    return importlib.import_module(name)


@pytest.fixture
def database(tmp_path):
    """Return a database with one row."""
    path = tmp_path / "live.sqlite"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("create table orders (number integer)")
        connection.execute("insert into orders values (42)")
    return path


@pytest.fixture
def command(name, database, tmp_path, pushgateway):
    """Return the words of the example's command line."""

    def words(job="nightly", *more, database=database, url=pushgateway.url, instance="node1"):
        where = (f"--gateway={url}", f"--instance={instance}", *more)
        return [*where, "--", job, database, tmp_path / "copy.sqlite"]

    return words


@pytest.fixture
def run(name, command, finish):
    """Run the example as a program."""
    program = [sys.executable, REPORTERS / f"{name}.py"]
    return lambda *words, **more: finish([*program, *command(*words, **more)])


@pytest.fixture
def report(example, pushgateway, capsys):
    """Report a run in which nothing happens, in this process; return what was told."""

    def run(job="nightly", url=pushgateway.url, instance="node1", **more):
        with example.Reporter(url, job, instance, **more).run():
            pass
        return capsys.readouterr().err

    return run


@pytest.fixture
def reporter(example, pushgateway):
    """Return a reporter of this process."""
    return example.Reporter(pushgateway.url, "nightly", "node1")


def test_a_success_reports_its_result_and_the_size_of_the_copy(run, pushgateway, tmp_path):
    done = run()
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert pushgateway.result("nightly") == "success"
    size = (tmp_path / "copy.sqlite").stat().st_size
    assert pushgateway.values("nightly")["backup_size_bytes"] == size


def test_the_copy_holds_the_rows_and_is_for_its_owner_alone(run, tmp_path):
    run()
    with closing(sqlite3.connect(tmp_path / "copy.sqlite")) as copied:
        assert copied.execute("select number from orders").fetchall() == [(42,)]
    assert (tmp_path / "copy.sqlite").stat().st_mode & 0o777 == 0o600


def test_a_missing_database_is_a_failure_that_keeps_the_last_success(run, pushgateway, tmp_path):
    run()
    before = pushgateway.values("nightly")
    assert run(database=tmp_path / "missing.sqlite").returncode == 1
    after = pushgateway.values("nightly")
    assert (after["last_exit_code"], pushgateway.result("nightly")) == (1, "exit-code")
    kept = ("last_success_timestamp_seconds", "backup_size_bytes")
    assert [after[name] for name in kept] == [before[name] for name in kept]


def test_a_failure_leaves_the_old_copy_and_nothing_else(run, tmp_path):
    run()
    before = (tmp_path / "copy.sqlite").read_bytes()
    (tmp_path / "broken.sqlite").write_bytes(b"no database" * 1000)
    assert run(database=tmp_path / "broken.sqlite").returncode == 1
    assert (tmp_path / "copy.sqlite").read_bytes() == before
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, -signal.SIGINT)]
)
def test_a_signal_ends_a_run_that_has_reported_its_start(
    name, command, pushgateway, number, status
):
    words = [sys.executable, "-c", HANGS, name, *command()]
    with subprocess.Popen(
        words, cwd=REPORTERS, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as running:
        assert running.stdout.readline() == b"copying\n"
        assert "last_start_timestamp_seconds" in pushgateway.values("nightly")
        running.send_signal(number)
    assert running.returncode == status
    assert pushgateway.values("nightly")["last_exit_code"] == 128 + number
    assert pushgateway.result("nightly") == "signal"


@pytest.mark.parametrize(
    ("error", "status", "result"),
    [
        (ValueError("bad"), 1, "exit-code"),
        (SystemExit(3), 3, "exit-code"),
        (SystemExit("a text"), 1, "exit-code"),
        (SystemExit(-1), 255, "exit-code"),
        (SystemExit(143), 143, "signal"),
        (SystemExit(0), 0, "success"),
        (SystemExit(), 0, "success"),
        (KeyboardInterrupt(), 130, "signal"),
    ],
    ids=repr,
)
def test_an_exception_decides_the_result_and_goes_on(reporter, pushgateway, error, status, result):
    with pytest.raises(type(error)), reporter.run():
        raise error
    assert pushgateway.values("nightly")["last_exit_code"] == status
    assert pushgateway.result("nightly") == result


@pytest.mark.parametrize(("code", "result"), [(24, "warning"), (23, "exit-code")])
def test_a_warning_is_a_success_that_keeps_its_exit_code(
    example, pushgateway, capsys, code, result
):
    reporter = example.Reporter(pushgateway.url, "nightly", "node1", warning_exit_codes=[24])
    with pytest.raises(SystemExit), reporter.run():
        raise SystemExit(code)
    assert capsys.readouterr().err == ""
    found = pushgateway.values("nightly")
    assert (found["last_exit_code"], pushgateway.result("nightly")) == (code, result)
    assert ("last_success_timestamp_seconds" in found) == (result == "warning")


def test_a_function_can_be_decorated(reporter, pushgateway):
    @reporter.run()
    def job():
        return 42

    assert job() == 42
    assert pushgateway.result("nightly") == "success"


@pytest.mark.parametrize("instance", ["größe 1", "a/b", "[::1]:80", ""])
def test_any_instance_arrives_as_it_is_and_an_empty_one_is_none(report, pushgateway, instance):
    assert report(instance=instance) == ""
    assert pushgateway.result("nightly", instance) == "success"


@pytest.mark.parametrize("owner", ['the "best" \\ team', "two\nlines", "größe"])
def test_any_owner_arrives_as_it_is(report, pushgateway, owner):
    report(owner=owner)
    assert pushgateway.families("nightly")["batch_job_info"][0]["labels"]["owner"] == owner


def test_a_rollout_leaves_a_job_alone_that_reports_itself(reporter, report, roll_out, pushgateway):
    assert "nightly: registered" in roll_out(pushgateway.url)
    with pytest.raises(ValueError), reporter.run():
        raise ValueError
    assert roll_out(pushgateway.url) == "nothing changed\n"
    report()
    assert roll_out(pushgateway.url) == "nothing changed\n"


def test_a_dead_gateway_leaves_the_job_alone(run, dead_url, tmp_path):
    assert run(url=dead_url).returncode == 0
    assert (tmp_path / "copy.sqlite").exists()


def test_a_dead_gateway_leaves_a_failure_alone(example, dead_url):
    with pytest.raises(ValueError, match="own"), example.Reporter(dead_url, "nightly").run():
        raise ValueError("the job's own")


@pytest.fixture
def credentials(secure_gateway):
    """Return what the secure gateway asks for, for a reporter."""
    fields = ("url", "ca_file", "username", "password_file")
    return {field: getattr(secure_gateway, field) for field in fields}


def test_tls_and_a_password_come_from_files(run, name, secure_pushgateway, credentials):
    url = credentials.pop("url")
    options = [f"--{field.replace('_', '-')}={text}" for field, text in credentials.items()]
    assert run(name, *options, url=url).stderr == ""
    assert secure_pushgateway.result(name) == "success"


def test_a_password_may_hold_any_character(report, credentials, tmp_path):
    (tmp_path / "password").write_text("größe €\n")
    assert report(**credentials).count("401 Unauthorized") == 2


def test_a_certificate_of_nobody_known_is_refused(report, secure_pushgateway):
    assert "CERTIFICATE_VERIFY_FAILED" in report(url=secure_pushgateway.url)


def test_a_password_that_cannot_be_read_is_told(report, credentials):
    told = report(**{**credentials, "password_file": "/no"})
    assert told.count("No such file or directory: '/no'") == 2
