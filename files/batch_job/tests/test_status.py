"""The table of a host's jobs."""

import time

import pytest

from batch_job import metrics
from batch_job.exit_status import MisuseError
from batch_job.gateway import Group
from batch_job.spool import Kept, Report
from batch_job.state import State
from batch_job.status import table

NOW = 1_800_000_000.0


@pytest.fixture
def state(tmp_path):
    return State(tmp_path)


def cells(shown, name):
    """Return a job's row, cut where the head's columns begin."""
    head, *rows = shown.splitlines()
    starts = [head.index(word) for word in ("JOB", "LAST", "RESULT", "NEXT", "KEPT")]
    [row] = [row for row in rows if row.split()[0] == name]
    return [row[a:b].strip() for a, b in zip(starts, [*starts[1:], None])]


def row(state, **known):
    if known:
        state.update("nightly", **known)
    return cells(table({"nightly": None}, state, [], NOW), "nightly")


def test_a_job_that_never_ran_is_shown(state):
    assert row(state) == ["nightly", "never", "-", "-", "-"]


def test_the_last_run_is_shown_in_local_time(state):
    shown = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(NOW - 60))
    assert row(state, started=NOW - 60)[1] == shown


@pytest.mark.parametrize(
    ("known", "text"),
    [
        ({"started": NOW - 90}, "running for 1min 30s"),
        ({"started": NOW - 90, "ended": NOW - 100}, "running for 1min 30s"),
        ({"started": NOW - 90, "ended": NOW - 90, "result": "success", "exit_code": 0}, "success"),
        (
            {"started": NOW - 90, "ended": NOW, "result": "exit-code", "exit_code": 3},
            "exit-code (3)",
        ),
    ],
)
def test_the_result_is_the_latest_runs(state, known, text):
    assert row(state, **known)[2] == text


def test_a_job_that_is_named_is_shown_alone_and_must_be_there(state):
    for name in ("nightly", "other"):
        state.update(name, output=f"{name} printed this")
    shown = table({"nightly": None}, state, [], NOW, only=["nightly"])
    assert "nightly printed this" in shown
    assert "other" not in shown
    with pytest.raises(MisuseError, match="there is no job weekly on this host"):
        table({"nightly": None}, state, [], NOW, only=["weekly"])


@pytest.mark.parametrize(
    ("deadline", "text"),
    [(NOW + 7200, "in 2h"), (NOW - 60, "late by 1min"), (NOW, "late by 0s")],
)
def test_a_deadline_is_ahead_or_behind(state, deadline, text):
    assert row(state, deadline=deadline)[3] == text


def test_a_paused_job_is_not_late_until_the_pause_ends(state):
    state.update("nightly", deadline=NOW - 60)
    end = time.strftime("%Y-%m-%d %H:%M", time.localtime(NOW + 86400))
    for ends, text in ((NOW + 86400, f"paused until {end}"), (NOW, "late by 1min")):
        assert cells(table({"nightly": int(ends)}, state, [], NOW), "nightly")[3] == text


def test_declared_known_and_kept_jobs_are_shown_by_name(state, tmp_path):
    state.update("b", started=NOW)
    report = Report(Group("c", ""), metrics.check_own("x 1\n").families, True, NOW)
    kept = [Kept("http://one", report, tmp_path), Kept("http://two", report, tmp_path)]
    shown = table(dict.fromkeys("dab"), state, kept, NOW)
    assert [line.split()[0] for line in shown.splitlines()] == ["JOB", "a", "b", "c", "d"]
    assert cells(shown, "c")[4] == "2"


def test_a_memory_that_is_damaged_is_none(state, tmp_path):
    state.update("nightly", started=NOW)
    (tmp_path / "jobs" / "nightly.json").write_text("[")
    assert row(state) == ["nightly", "never", "-", "-", "-"]


def test_what_is_remembered_adds_up_until_it_is_forgotten(state):
    state.update("nightly", started=1)
    state.update("nightly", ended=2)
    assert state.read("nightly") == {"started": 1, "ended": 2}
    state.forget("nightly")
    state.forget("nightly")
    assert (state.read("nightly"), state.jobs()) == ({}, [])


def test_status_shows_a_run_its_deadline_and_what_waits(node, dead_url):
    node.configure(dead_url)
    node.declare("declared")
    node.run("sh", "-c", "exit 3", job="failed")
    node.run("true", job="fine")
    shown = node("status").stdout
    assert cells(shown, "declared")[1:] == ["never", "-", "-", "-"]
    assert cells(shown, "failed")[2:] == ["exit-code (3)", "-", "1"]
    assert cells(shown, "fine")[2] == "success"
    assert cells(shown, "fine")[3].startswith("in 1d ")


def test_status_shows_a_job_that_runs(node, eventually):
    with node.start("run", "--job", "nightly", "--", "cat", stdin=-1) as running:
        assert eventually(lambda: "running for" in node("status").stdout)
        running.communicate()
    assert "running for" not in node("status").stdout


def test_status_needs_no_gateway(node):
    node.configure()
    done = node("status")
    assert (done.returncode, done.stdout.split()[0]) == (0, "JOB")
