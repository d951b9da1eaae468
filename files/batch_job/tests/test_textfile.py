"""Groups as files, as a real node_exporter exposes them and a real Prometheus judges them."""

import errno
import fcntl
import json
import os
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from batch_job import metrics, textfile
from batch_job.gateway import Gateway, GatewayError, Group, RejectedError
from batch_job.states import NUMBERS
from programs import INSTANCE, prometheus

GROUP = Group("nightly", INSTANCE)
RULES = Path(__file__).parents[2] / "rules"
ENDED_WELL = {"SERVICE_RESULT": "success", "EXIT_CODE": "exited", "EXIT_STATUS": "0"}


@pytest.fixture
def to(exporter):
    return Gateway(exporter.gateway)


@pytest.fixture
def host(node, exporter):
    """Return a node that reports to the directory alone."""
    node.configure(exporter.gateway)
    return node


def families(text):
    return metrics.check_own(text).families


def push(to, text="x 1\n", group=GROUP, replace=False):
    textfile.push(to, group, families(text), replace)


def test_a_failure_keeps_the_last_success(host, exporter):
    assert host.run("true").stderr == ""
    before = exporter.values("nightly")
    assert host.run("sh", "-c", "exit 3").returncode == 3
    found = exporter.values("nightly")
    assert (found["last_exit_code"], exporter.result("nightly")) == (3, "exit-code")
    for name in ("last_success_timestamp_seconds", "deadline_timestamp_seconds"):
        assert found[name] == before[name]


def test_start_and_finish_report_the_run_of_a_unit(host, exporter):
    host.declare("nightly", max_age="1h")
    assert host("start", "--job", "nightly").stderr == ""
    assert "last_start_timestamp_seconds" in exporter.values("nightly")
    assert host("finish", "--job", "nightly", **ENDED_WELL).stderr == ""
    assert exporter.values("nightly")["last_exit_code"] == 0


def test_a_job_is_registered_once(host, exporter, systemd):
    host.declare("nightly", on_calendar="daily")
    assert host("register", "--all").stdout.startswith(f"nightly: registered at {exporter.gateway}")
    assert "deadline_timestamp_seconds" in exporter.values("nightly")
    assert host("register", "--all").stdout == "nothing changed\n"


def test_many_jobs_are_registered_at_once(host, exporter):
    for number in range(30):
        host.declare(f"job{number}", max_age="1h")
    assert len(host("register", "--all").stdout.splitlines()) == 30
    assert all(exporter.samples(f"job{number}") for number in range(30))


def test_a_dry_run_writes_nothing(host, exporter):
    host.declare("nightly", max_age="1h")
    assert "nightly: registered" in host("register", "--all", "--dry-run").stdout
    assert list(exporter.directory.iterdir()) == []


def test_a_deleted_job_leaves_nothing_and_no_other_is_touched(host, exporter):
    host.run("true")
    host.run("true", job="other")
    assert host("delete", "--job", "nightly").returncode == 0
    assert exporter.samples("nightly") == []
    assert exporter.result("other") == "success"
    assert len(list(exporter.directory.iterdir())) == 1


def test_deleting_what_is_not_there_is_no_error(to):
    textfile.delete(to, GROUP)


def test_a_directory_that_is_missing_costs_the_job_nothing_and_gets_its_report_later(
    host, exporter
):
    missing = exporter.directory / "later"
    host.configure(f"file://{missing}")
    done = host.run("sh", "-c", "echo out; exit 3")
    assert (done.returncode, done.stdout) == (3, "out\n")
    assert f"file://{missing} cannot be opened: No such file or directory" in done.stderr
    assert not missing.exists()
    missing.mkdir()
    assert host("flush").stdout == "1 kept reports delivered, 0 wait\n"
    [(_name, text)] = [(path.name, path.read_text()) for path in missing.iterdir()]
    assert 'batch_job_last_exit_code{instance="node1",job="nightly"} 3.0' in text
    for path in (*missing.iterdir(), missing):
        path.unlink() if path.is_file() else path.rmdir()


def test_a_directory_that_may_not_be_written_gets_its_report_later(host, exporter, unprivileged):
    exporter.directory.chmod(0o555)
    done = host("run", "--job", "nightly", "--", "true", prefix=unprivileged)
    exporter.directory.chmod(0o755)
    assert done.returncode == 0
    assert "Permission denied; the report is kept" in done.stderr
    assert host("flush").returncode == 0
    assert exporter.result("nightly") == "success"


def test_a_full_disk_leaves_what_was_there(to, exporter, monkeypatch):
    push(to)

    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(GatewayError, match="No space left on device"):
        push(to, "x 2\n")
    assert exporter.values("nightly")["x"] == 1
    assert len(list(exporter.directory.iterdir())) == 1


def test_a_jobs_own_metrics_arrive_whatever_their_labels_hold(host, exporter):
    line = r'x{a="back\\slash \"quoted\" {},=",b="new\nline",c="Grün",d="RETURN"} 7'
    line = line.replace("RETURN", "\r")
    host.run("sh", "-c", f"cat > $BATCH_JOB_METRICS <<'END'\n{line}\nEND\n")
    [found] = [sample for sample in exporter.samples("nightly") if sample.name == "x"]
    assert found.labels == {
        "a": 'back\\slash "quoted" {},=',
        "b": "new\nline",
        "c": "Grün",
        "d": "\r",
        "job": "nightly",
        "instance": INSTANCE,
    }
    host.run("false")
    assert exporter.values("nightly")["x"] == 7


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("# TYPE x_total counter\nx_total 7\n", "x_total"),
        # So the client library calls it, with which this test reads.
        ("# TYPE x counter\nx 7\n", "x_total"),
        (
            '# TYPE x histogram\nx_bucket{le="1"} 7\nx_bucket{le="+Inf"} 7\nx_sum 1\nx_count 7\n',
            "x_count",
        ),
        ('# TYPE x summary\nx{quantile="0.5"} 1\nx_sum 1\nx_count 7\n', "x_count"),
    ],
)
def test_every_type_is_exposed_also_after_something_is_added(to, exporter, text, name):
    push(to, text)
    push(to, "y 1\n")
    assert exporter.values("nightly")[name] == 7


def test_a_push_that_replaces_leaves_nothing_of_before(to, exporter):
    push(to, "x 1\ny 1\n")
    push(to, "x 2\n", replace=True)
    found = exporter.values("nightly")
    assert found["x"] == 2
    assert "y" not in found


def test_a_push_that_adds_replaces_whole_families(to, exporter):
    push(to, 'x{a="1"} 1\nx{a="2"} 1\ny 1\n')
    push(to, 'x{a="1"} 2\n')
    assert [each.labels["a"] for each in exporter.samples("nightly") if each.name == "x"] == ["1"]
    assert exporter.values("nightly")["y"] == 1


def test_the_time_of_the_push_is_exposed_as_by_a_pushgateway(to, exporter):
    push(to)
    assert exporter.values("nightly")["push_time_seconds"] == pytest.approx(time.time(), abs=5)


@pytest.mark.parametrize("job", ["a.b:c", "x" * 200])
@pytest.mark.parametrize("instance", ["", "[::1]", "node1:80", "y" * 250])
def test_any_name_is_a_group_of_its_own(to, exporter, job, instance):
    push(to, "x 2\n", Group(job, "other"))
    push(to, group=Group(job, instance))
    assert exporter.values(job, instance)["x"] == 1
    assert exporter.values(job, "other")["x"] == 2
    assert set(textfile.groups(to)) == {Group(job, instance), Group(job, "other")}


def test_files_of_others_are_no_groups(to, exporter):
    push(to)
    (exporter.directory / "batch_job_theirs.prom").write_text('x{job="a"} 1\n')
    (exporter.directory / "other.prom").write_text('push_time_seconds{job="a"} 1\n')
    (exporter.directory / "batch_job_link.prom").symlink_to(exporter.directory / "other.prom")
    assert set(textfile.groups(to)) == {GROUP}
    exporter.wipe()


def test_everybody_may_read_what_a_careful_user_reports(to, exporter):
    before = os.umask(0o077)
    push(to)
    os.umask(before)
    [path] = exporter.directory.iterdir()
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.fixture
def odd(exporter, tmp_path, request):
    """Return something that is no plain file and has the name of a group's."""
    path = exporter.directory / textfile._file_name(GROUP)
    target = tmp_path / "target"
    target.write_text("mine\n")
    if request.param == "link":
        path.symlink_to(target)
    elif request.param == "dangling":
        path.symlink_to(tmp_path / "missing")
    else:
        os.mkfifo(path)
    yield path
    path.unlink()
    assert target.read_text() == "mine\n"
    assert not (tmp_path / "missing").exists()


@pytest.mark.parametrize("replace", [True, False])
@pytest.mark.parametrize("odd", ["link", "dangling", "pipe"], indirect=True)
def test_what_is_no_plain_file_is_neither_followed_nor_replaced(to, odd, replace):
    before = odd.lstat()
    with pytest.raises(GatewayError, match=r"batch_job_nightly@node1\.prom"):
        push(to, replace=replace)
    assert odd.lstat().st_ino == before.st_ino


@pytest.fixture
def new(exporter):
    """Return where the file is made that is to replace a group's."""
    return exporter.directory / f".{textfile._file_name(GROUP)}.new"


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(textfile, "LOCK_TIMEOUT_SECONDS", 0.1)


def test_a_planted_temporary_file_is_not_followed(to, exporter, tmp_path, new, monkeypatch):
    monkeypatch.setattr(textfile, "ABANDONED_AFTER_SECONDS", 0.1)
    new.symlink_to(tmp_path / "target")
    push(to)
    assert exporter.values("nightly")["x"] == 1
    assert not (tmp_path / "target").exists()


def test_a_temporary_file_planted_at_the_last_moment_is_not_followed(
    to, tmp_path, new, impatient, monkeypatch
):
    monkeypatch.setattr(os, "unlink", lambda *_words, **_options: None)
    monkeypatch.setattr(textfile, "ABANDONED_AFTER_SECONDS", 0)
    new.symlink_to(tmp_path / "target")
    with pytest.raises(GatewayError, match="being written by somebody else"):
        push(to)
    assert not (tmp_path / "target").exists()


def test_a_damaged_file_is_made_anew(to, exporter):
    (exporter.directory / textfile._file_name(GROUP)).write_text('x{job="nightly\n')
    assert textfile.groups(to) == {}
    push(to)
    assert exporter.values("nightly")["x"] == 1


def test_reports_of_a_group_at_the_same_time_are_all_there(to, exporter):
    threads = [threading.Thread(target=push, args=(to, f"x{number} 1\n")) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {f"x{number}" for number in range(16)} <= set(exporter.values("nightly"))


def test_a_push_waits_for_another_writer_but_not_for_ever(to, exporter, new, impatient):
    new.touch()
    for change in (push, textfile.delete):
        with pytest.raises(GatewayError, match="being written by somebody else"):
            change(to, group=GROUP)
    assert new.exists()
    push(to, group=Group("other", INSTANCE))
    new.unlink()
    push(to)
    assert exporter.values("nightly")["x"] == 1


@pytest.mark.parametrize("modified", [0, 1 << 33], ids=["long ago", "by a clock that was wrong"])
def test_a_push_does_not_wait_for_a_writer_that_was_killed(to, exporter, new, impatient, modified):
    new.write_text("x{")
    os.utime(new, (modified, modified))
    push(to)
    assert exporter.values("nightly")["x"] == 1
    assert not new.exists()


def test_a_writer_that_lost_its_lock_changes_nothing(to, exporter, new, monkeypatch):
    push(to)

    def slow(handle):
        new.unlink()
        new.write_text("theirs")

    monkeypatch.setattr(os, "fsync", slow)
    with pytest.raises(GatewayError, match="being written by somebody else"):
        push(to, "x 2\n")
    assert exporter.values("nightly")["x"] == 1
    assert new.read_text() == "theirs"


def test_a_reader_of_the_directory_cannot_block_reports(to, exporter, impatient):
    push(to)
    with ExitStack() as held:
        for path in (exporter.directory, *exporter.directory.iterdir()):
            handle = os.open(path, os.O_RDONLY)
            held.callback(os.close, handle)
            fcntl.flock(handle, fcntl.LOCK_EX)
        push(to, "x 2\n")
    assert exporter.values("nightly")["x"] == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_files_of_another_user_are_replaced(to, host, exporter, new, unprivileged):
    push(to)
    new.touch(0o600)
    os.utime(new, (0, 0))
    exporter.directory.chmod(0o777)
    for path in (exporter.directory, *exporter.directory.iterdir()):
        os.chown(path, 65534, 65534)
    done = host("push", "--job", "nightly", prefix=unprivileged, stdin="y 1")
    os.chown(exporter.directory, 0, 0)
    exporter.directory.chmod(0o755)
    assert done.stderr == ""
    assert {"x", "y"} <= set(exporter.values("nightly"))


def test_two_jobs_may_have_the_same_metric_with_other_help_texts(to, exporter):
    push(to, "# HELP x one\n# TYPE x gauge\nx 1\n")
    push(to, "# HELP x another\n# TYPE x gauge\nx 2\n", Group("other", INSTANCE))
    assert [exporter.values(job)["x"] for job in ("nightly", "other")] == [1, 2]


def test_a_metric_has_the_same_type_in_all_jobs(to, exporter):
    push(to, "# TYPE x gauge\nx 1\n")
    with pytest.raises(RejectedError, match=r"a x of another type .* in batch_job_nightly@node1"):
        push(to, "# TYPE x untyped\nx 1\n", Group("other", INSTANCE))
    assert not exporter.samples("other")


HISTOGRAM = '# TYPE x histogram\nx_bucket{le="+Inf"} 1\nx_sum 1\nx_count 1\n'


@pytest.mark.parametrize(
    ("theirs", "ours", "name"),
    [
        ("# TYPE x counter\nx 1\n", "# TYPE x gauge\nx 1\n", "x"),
        ("# TYPE x gauge\nx 1\n", "# TYPE x gauge\nx 1\n", "x"),
        ("# HELP x Theirs.\n# TYPE x gauge\nx 1\n", "# TYPE x gauge\nx 1\n", "x"),
        ("x 1\n", "# TYPE x gauge\nx 1\n", "x"),
        ("x 1\n", "x 1\n", "x"),
        ('y 1\n  x {a="1"} 1\n', "x 1\n", "x"),
        ("x_count 1\n", HISTOGRAM, "x_count"),
        (HISTOGRAM, "x_count 1\n", "x_count"),
        ("x 1\n", HISTOGRAM, "x"),
        (HISTOGRAM, "x 1\n", "x"),
    ],
)
def test_a_metric_that_would_not_be_exposed_is_rejected(to, exporter, theirs, ours, name):
    (exporter.directory / "theirs.prom").write_text(theirs)
    message = rf"a {name} of another type or help text in theirs\.prom"
    with pytest.raises(RejectedError, match=message):
        push(to, ours)
    assert not exporter.samples("nightly")


def test_a_metric_that_others_have_behind_a_link_is_rejected(to, exporter, tmp_path):
    (tmp_path / "theirs").write_text("x 1\n")
    (exporter.directory / "theirs.prom").symlink_to(tmp_path / "theirs")
    with pytest.raises(RejectedError, match=r"a x of another type or help text in theirs\.prom"):
        push(to)
    assert not exporter.samples("nightly")


def test_a_pipe_behind_a_link_is_not_opened(to, exporter, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (exporter.directory / "theirs.prom").symlink_to(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("",))
    writer.start()
    push(to)
    writer.join(0.1)
    waits = writer.is_alive()
    os.close(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK))
    writer.join()
    exporter.wipe()
    assert waits


@pytest.mark.parametrize("target", ["missing", ".", "/dev/null", "/proc/version"])
def test_a_link_to_anything_else_costs_no_metric(to, exporter, target):
    (exporter.directory / "theirs.prom").symlink_to(target)
    push(to, "Linux 1\n")
    (exporter.directory / "theirs.prom").unlink()
    assert exporter.values("nightly")["Linux"] == 1


def test_a_file_of_others_may_be_of_any_size(to, exporter):
    with open(exporter.directory / "theirs.prom", "w") as file:
        file.truncate(1 << 42)
    push(to)
    (exporter.directory / "theirs.prom").unlink()
    assert exporter.values("nightly")["x"] == 1


@pytest.mark.parametrize(
    "theirs", ["x_bucket 1\n", "xx 1\n", "# HELP x Theirs.\n# x 1\n", 'y{x="1"} 1\n']
)
def test_what_does_not_disturb_a_metric_is_no_reason_to_reject_it(to, exporter, theirs):
    (exporter.directory / "a.prom").write_text(theirs)
    push(to, "# TYPE x gauge\nx 1\n")
    assert exporter.values("nightly")["x"] == 1


def test_jobs_share_a_histogram(to, exporter):
    push(to, HISTOGRAM)
    push(to, HISTOGRAM, Group("other", INSTANCE))
    assert [exporter.values(job)["x_count"] for job in ("nightly", "other")] == [1, 1]


def test_node_exporters_own_metrics_are_rejected(to, exporter):
    with pytest.raises(RejectedError, match="has its own process_open_fds"):
        push(to, "process_open_fds 1\n")


def test_rejected_metrics_do_not_cost_the_run_its_report(host, exporter):
    (exporter.directory / "theirs.prom").write_text("# TYPE x counter\nx 1\n")
    done = host.run("sh", "-c", "echo 'x 1\ny 1\nprocess_cpu 1' > $BATCH_JOB_METRICS")
    assert "in theirs.prom; " in done.stderr
    assert done.stderr.endswith("; left out: x, process_cpu\n")
    assert exporter.result("nightly") == "success"
    assert exporter.values("nightly")["y"] == 1
    assert "x" not in exporter.values("nightly")


def test_a_metric_takes_on_the_type_that_it_has_in_the_directory(host, exporter):
    push(Gateway(exporter.gateway), "# TYPE x counter\nx 1\n", Group("other", INSTANCE))
    host.run("sh", "-c", "echo 'x 2' > $BATCH_JOB_METRICS")
    assert exporter.values("nightly")["x_total"] == 2


def test_a_directory_and_a_pushgateway_both_get_the_report(node, exporter, pushgateway):
    urls = f"{exporter.gateway} {pushgateway.url}"
    assert node.run("true").stderr == ""
    assert node("run", "--job", "nightly", "--", "false", BATCH_JOB_GATEWAY=urls).stderr == ""
    assert exporter.result("nightly") == pushgateway.result("nightly") == "exit-code"


def test_credentials_are_for_the_pushgateway_beside_a_directory(
    node, exporter, secure_gateway, secure_pushgateway
):
    words = ("--gateway", exporter.gateway, "--gateway", secure_gateway.url)
    words += ("--ca-file", secure_gateway.ca_file, "--username", secure_gateway.username)
    words += ("--password-file", secure_gateway.password_file)
    assert node("push", "--job", "nightly", *words, stdin="x 1").stderr == ""
    assert exporter.values("nightly")["x"] == 1
    assert secure_pushgateway.values("nightly")["x"] == 1


def test_credentials_for_a_directory_alone_are_refused(node, exporter):
    words = ("--gateway", exporter.gateway, "--token-file", "/dev/null")
    done = node("push", "--job", "nightly", *words, stdin="x 1")
    assert done.returncode == 78
    assert "is a directory, which takes no credentials" in done.stderr
    assert exporter.samples("nightly") == []


@pytest.fixture
def watching(exporter, tmp_path):
    """Run a Prometheus that scrapes node_exporter as the role's documentation says."""
    content = {
        "global": {"scrape_interval": "250ms", "evaluation_interval": "250ms"},
        "rule_files": [f"{RULES}/*.rules.yml"],
        "scrape_configs": [
            {
                "job_name": "node",
                "honor_labels": True,
                "static_configs": [{"targets": [exporter.target]}],
            }
        ],
    }
    # JSON is YAML.
    (tmp_path / "prometheus.yml").write_text(json.dumps(content))
    with prometheus(tmp_path) as server:
        yield server


@pytest.fixture
def series(watching):
    """Return a function from a query to `job`, `instance` and value of each series."""

    def series(query):
        return {
            (labels["job"], labels.get("instance"), value)
            for labels, value in watching.query(query)
        }

    return series


def test_the_alert_rules_judge_the_jobs_of_a_directory(host, series, eventually):
    firing = 'ALERTS{alertname="BatchJobFailed", alertstate="firing"}'
    host.run("true", job="one")
    host.run("false", job="two")
    host("run", "--job", "pipeline", "--instance", "", "--", "false")
    eventually(lambda: series(firing) == {("two", INSTANCE, 1), ("pipeline", None, 1)})
    failing = NUMBERS["failing"]
    states = {("one", INSTANCE, 0), ("two", INSTANCE, failing), ("pipeline", None, failing)}
    eventually(lambda: series("batch_job:state") == states)
    host.run("false", job="one")
    host.run("true", job="two")
    eventually(lambda: series(firing) == {("one", INSTANCE, 1), ("pipeline", None, 1)})
