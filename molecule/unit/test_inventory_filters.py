"""What an operator writes into the inventory: read, or refused with a clear sentence."""

import pytest
from ansible.errors import AnsibleFilterError

from inventory import declared_jobs, duration_seconds, unknown_names

JOB = {"name": "nightly", "max_age": "26h"}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", None), ("20s", 20), ("90min", 5400), ("26h", 93600), ("1d 2h", 93600), ("2w", 1209600)],
)
def test_durations_are_read_as_people_write_them(text, seconds):
    if seconds is None:
        with pytest.raises(AnsibleFilterError, match="'90' is not a duration"):
            duration_seconds(text)
    else:
        assert duration_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "0h", "26 hours", "-1h", "1h30", "h", "1.5h"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(AnsibleFilterError, match="is not a duration such as 26h"):
        duration_seconds(text)


def test_a_declared_job_gets_its_host_its_defaults_and_seconds():
    assert declared_jobs([JOB], "web-1") == [
        {
            "name": "nightly",
            "instance": "web-1",
            "owner": "",
            "severity": "warning",
            "max_age_seconds": 93600,
        }
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_agee": "1h"}, "there is no max_agee; did you mean max_age?"),
        ({"max_age": None}, "max_age is missing"),
        ({"max_age": "26 hours"}, "max_age: '26 hours' is not a duration"),
        ({"severity": "urgent"}, "severity is one of info, warning, critical"),
        ({"name": ".."}, "a name is made of letters, digits"),
        ({"name": "a/b"}, "a name is made of letters, digits"),
    ],
)
def test_a_bad_declaration_is_refused_with_host_and_reason(change, message):
    with pytest.raises(AnsibleFilterError, match="web-1") as refusal:
        declared_jobs([{**JOB, **change}], "web-1")
    assert message in str(refusal.value)


def test_a_job_declared_twice_on_a_host_is_refused():
    with pytest.raises(AnsibleFilterError, match="'nightly' is declared twice"):
        declared_jobs([JOB, JOB], "web-1")


def test_an_unknown_variable_is_named_with_the_one_that_was_probably_meant():
    known = ["prometheus_version", "prometheus_listen_address", "batch_job_jobs"]

    def unknown(name):
        return unknown_names([name], known, prefixes=["prometheus"])

    assert unknown("prometheus_version") == []
    assert unknown("prometheus_colour") == ["there is no prometheus_colour"]
    assert unknown("prometheus_listen_adress") == [
        "there is no prometheus_listen_adress; did you mean prometheus_listen_address?"
    ]
    assert unknown("promteheus_version") == [
        "there is no promteheus_version; did you mean prometheus_version?"
    ]
    assert unknown("batch_job_job") == ["there is no batch_job_job; did you mean batch_job_jobs?"]
    assert unknown("anything_else") == []


@pytest.mark.parametrize(
    ("jobs", "message"),
    [
        ("nightly", "is not a list of jobs"),
        ({"name": "nightly"}, "is not a list of jobs"),
        (["nightly"], "'nightly' is not a job"),
        ([{**JOB, "owner": None}], "owner is a word, not None"),
    ],
)
def test_what_is_no_list_of_jobs_is_refused(jobs, message):
    with pytest.raises(AnsibleFilterError, match=message):
        declared_jobs(jobs, "web-1")
