"""What `playbooks/silence.yml` refuses, and what it changes at an Alertmanager."""

from datetime import UTC, datetime, timedelta

import pytest

from silences import silence_faults, silence_lines, silence_plan

JOBS = [
    {"name": "dump", "instance": "db-1", "owner": "dba"},
    {"name": "ci", "instance": "", "owner": ""},
]
WANTED = {"host": "db-1", "for": "2h", "why": "new disk"}


def faults(**variables):
    return silence_faults(variables, JOBS, ["web-1"])


@pytest.mark.parametrize(
    "variables",
    [
        WANTED,
        {**WANTED, "host": "web-1"},
        {"job": "ci", "for": "1h 30min", "why": "moved"},
        {"owner": "dba", "job": "dump", "for": "1d", "why": "holiday"},
        {"host": "db-1", "end": "true"},
    ],
)
def test_what_is_declared_can_be_silenced(variables):
    assert faults(**variables) == []


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"for": "2h", "why": "x"}, "nothing is silenced"),
        ({**WANTED, "host": "db-2"}, "silence_host: there is no db-2; did you mean db-1?"),
        ({**WANTED, "job": "dmp"}, "silence_job: there is no dmp; did you mean dump?"),
        ({**WANTED, "owner": "dbb"}, "silence_owner: there is no dbb"),
        ({**WANTED, "job": "ci"}, "no such job is declared for this host or owner"),
        ({**WANTED, "for": "2 hours"}, "silence_for: '2 hours' is not a duration"),
        ({**WANTED, "for": ""}, "silence_for is missing"),
        ({**WANTED, "why": " "}, "silence_why is missing"),
        ({**WANTED, "hosts": "db-1"}, "there is no silence_hosts; did you mean silence_host?"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_is_close(variables, words):
    assert [fault for fault in faults(**variables) if words in fault], faults(**variables)


def stored(plan, identifier="1", state="active"):
    """Return the silence of a plan as Alertmanager keeps it."""
    return {**plan["set"], "id": identifier, "status": {"state": state}}


def test_a_silence_is_about_alerts_on_jobs_alone():
    wanted = silence_plan([], {**WANTED, "job": "dump"}, "me")["set"]
    matchers = {each["name"]: each["value"] for each in wanted["matchers"]}
    assert matchers == {"alertname": "(BatchJob|Backup).+", "instance": "db-1", "job": "dump"}
    assert (wanted["createdBy"], wanted["comment"]) == ("me", "new disk")
    left = datetime.fromisoformat(wanted["endsAt"]) - datetime.now(UTC)
    assert timedelta(minutes=119) < left <= timedelta(hours=2)


def test_a_silence_that_lasts_as_long_stays_and_a_shorter_one_is_extended():
    first = stored(silence_plan([], WANTED, "me"))
    other = stored(silence_plan([], {**WANTED, "job": "dump"}, "me"), "2")
    assert silence_plan([first, other], WANTED, "me") == {"set": None, "end": []}
    longer = silence_plan([other, first], {**WANTED, "for": "3h"}, "me")
    assert (longer["set"]["id"], longer["set"]["startsAt"]) == ("1", first["startsAt"])
    expired = {**first, "status": {"state": "expired"}}
    assert "id" not in silence_plan([expired], WANTED, "me")["set"]


def test_the_end_is_one_of_the_same_silence_alone():
    first = stored(silence_plan([], WANTED, "me"))
    other = stored(silence_plan([], {**WANTED, "job": "dump"}, "me"), "2")
    end = {"host": "db-1", "end": True}
    assert silence_plan([first, other], end, "me") == {"set": None, "end": ["1"]}
    assert silence_plan([other], end, "me") == {"set": None, "end": []}


def test_people_see_what_is_silent_and_what_fires():
    alerts = [
        {"labels": {"alertname": "BatchJobFailed", "job": "dump", "instance": "db-1"}},
        {"labels": {"alertname": "BatchJobFailed", "job": "dump", "instance": "db-2"}},
        {"labels": {"alertname": "PushgatewayDown", "instance": "db-1"}},
    ]
    plan = silence_plan([], WANTED, "me")
    first, *firing = silence_lines(plan, alerts, WANTED)
    assert first.startswith("host db-1: silenced until 20")
    assert first.endswith("UTC, because: new disk")
    assert firing == ["firing: BatchJobFailed of dump on db-1"]
    assert silence_lines({"set": None, "end": []}, [], WANTED) == ["host db-1: nothing changes"]
    end = {"set": None, "end": ["1"]}
    assert silence_lines(end, [], WANTED) == ["host db-1: the silence ends"]
