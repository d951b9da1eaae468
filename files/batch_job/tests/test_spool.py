"""Reports that wait on disk."""

import json

import pytest

from batch_job import metrics, spool
from batch_job.gateway import Group
from batch_job.spool import Report, Spool, combine

URL = "http://one"


def report(text, job="nightly", created=100.0, replace=False):
    return Report(Group(job, "node1"), metrics.check_own(text).families, replace, created)


def values(found):
    return {family.name: family.samples[0].value for family in found.families}


@pytest.fixture
def waiting(tmp_path):
    return Spool(tmp_path / "state")


def test_what_is_kept_is_found_again(waiting):
    given = report("# HELP x why\n# TYPE x gauge\nx 1\n", replace=True)
    assert waiting.keep(URL, given) == []
    found = waiting.find(URL, given.group)
    assert (found.url, found.report.group) == (URL, given.group)
    assert (found.report.created, found.report.replace) == (100, True)
    assert metrics.render(found.report.families) == metrics.render(given.families)


def test_kept_reports_are_for_their_owner_alone(waiting, tmp_path):
    waiting.keep(URL, report("x 1\n"))
    [path] = (tmp_path / "state" / "spool").iterdir()
    assert oct(path.stat().st_mode & 0o7777) == "0o600"
    assert oct(path.parent.stat().st_mode & 0o7777) == "0o700"


def test_groups_and_gateways_are_kept_apart_oldest_first(waiting):
    waiting.keep(URL, report("x 1\n", created=3))
    waiting.keep(URL, report("x 1\n", job="other", created=1))
    waiting.keep("http://two", report("x 1\n", created=2))
    found = [(kept.url, kept.report.group.job) for kept in waiting.kept()]
    assert found == [(URL, "other"), ("http://two", "nightly"), (URL, "nightly")]


def test_a_report_that_replaces_is_all_that_is_kept(waiting):
    waiting.keep(URL, report("x 1\ny 1\n", created=1))
    waiting.keep(URL, report("x 2\n", created=2, replace=True))
    [kept] = waiting.kept()
    assert values(kept.report) == {"x": 2}
    assert kept.report.replace
    assert kept.report.created == 2


@pytest.mark.parametrize("replace", [True, False])
def test_a_report_that_adds_is_kept_together_with_the_one_before(waiting, replace):
    waiting.keep(URL, report("x 1\ny 1\n", created=1, replace=replace))
    waiting.keep(URL, report("x 2\n", created=2))
    [kept] = waiting.kept()
    assert values(kept.report) == {"x": 2, "y": 1}
    assert kept.report.replace is replace
    assert kept.report.created == 2


def test_two_reports_in_one_do_what_they_would_in_turn():
    both = combine(report("x 1\n", replace=True), report("y 2\n"))
    assert (values(both), both.replace) == ({"x": 1, "y": 2}, True)


def test_nothing_waits_in_a_directory_that_is_not_there(waiting, tmp_path):
    assert waiting.is_empty()
    assert waiting.kept() == []
    assert waiting.find(URL, Group("nightly", "node1")) is None
    assert not (tmp_path / "state").exists()


def test_what_was_forgotten_is_gone(waiting):
    waiting.keep(URL, report("x 1\n"))
    waiting.forget(waiting.kept()[0])
    assert waiting.is_empty()


def test_a_newer_report_is_not_forgotten_with_the_older_one(waiting):
    waiting.keep(URL, report("x 1\n", created=1))
    [older] = waiting.kept()
    waiting.keep(URL, report("x 2\n", created=2))
    waiting.forget(older)
    assert values(waiting.kept()[0].report) == {"x": 2}


def test_a_group_is_forgotten_for_all_gateways(waiting):
    waiting.keep(URL, report("x 1\n"))
    waiting.keep("http://two", report("x 1\n"))
    waiting.keep(URL, report("x 1\n", job="other"))
    waiting.forget_group(Group("nightly", "node1"))
    assert [kept.report.group.job for kept in waiting.kept()] == ["other"]


def size(directory):
    return sum(path.stat().st_size for path in directory.glob("*.json"))


def test_the_oldest_make_room_for_the_newest(waiting, tmp_path, monkeypatch):
    waiting.keep(URL, report("x 1\n", job="job1", created=1))
    monkeypatch.setattr(spool, "MAX_SPOOL_BYTES", 2 * size(tmp_path / "state" / "spool"))
    assert waiting.keep(URL, report("x 1\n", job="job2", created=2)) == []
    dropped = waiting.keep(URL, report("x 1\n", job="job3", created=3))
    assert dropped == [Group("job1", "node1")]
    assert [kept.report.group.job for kept in waiting.kept()] == ["job2", "job3"]


def test_a_report_in_place_of_an_older_one_needs_no_room(waiting, tmp_path, monkeypatch):
    waiting.keep(URL, report("x 1\n", job="job1", created=1))
    waiting.keep(URL, report("x 1\n", job="job2", created=2))
    monkeypatch.setattr(spool, "MAX_SPOOL_BYTES", size(tmp_path / "state" / "spool"))
    assert waiting.keep(URL, report("x 1\n", job="job2", created=3)) == []
    assert len(waiting.kept()) == 2


COMPLETE = {"url": URL, "job": "x", "instance": "", "created": 1, "replace": True, "text": "x 1\n"}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "7",
        "{}",
        "\x00\x00",
        json.dumps({**COMPLETE, "text": 7}),
        json.dumps({**COMPLETE, "text": "x"}),
        json.dumps({**COMPLETE, "text": "x{,\ty} 1"}),
        json.dumps({**COMPLETE, "created": "soon"}),
        json.dumps({**COMPLETE, "created": None}),
    ],
)
def test_a_damaged_report_is_no_report_and_harms_no_other(waiting, tmp_path, content):
    waiting.keep(URL, report("x 1\n"))
    (tmp_path / "state" / "spool" / "0damaged.json").write_text(content)
    assert [kept.report.group.job for kept in waiting.kept()] == ["nightly"]
    assert waiting.keep(URL, report("x 1\n", job="other")) == []


def test_a_damaged_report_is_replaced_by_the_next_one(waiting, tmp_path):
    waiting.keep(URL, report("x 1\n"))
    [path] = (tmp_path / "state" / "spool").glob("*.json")
    path.write_text("{")
    waiting.keep(URL, report("x 2\n"))
    assert values(waiting.kept()[0].report) == {"x": 2}


def test_what_cannot_be_kept_is_an_error():
    with pytest.raises(OSError, match="Not a directory"):
        Spool(spool.Path("/dev/null/x")).keep(URL, report("x 1\n"))


def test_one_sends_at_a_time(waiting, monkeypatch):
    monkeypatch.setattr(spool, "LOCK_TIMEOUT_SECONDS", 0.1)
    with waiting.sending(URL), pytest.raises(BlockingIOError), waiting.sending(URL):
        pass


def test_two_gateways_are_sent_to_at_the_same_time(waiting):
    with waiting.sending(URL), waiting.sending("http://two"):
        pass
