"""What an operator writes into the inventory: read, or refused with a clear sentence."""

import datetime
import json

import pytest
from ansible.errors import AnsibleFilterError
from jinja2 import UndefinedError
from units import declaration_files

from batch_job.config import instant
from inventory import declared_jobs, service_options, unknown_names, without_repeats

JOB = {"name": "nightly", "max_age": "26h"}


def test_a_declared_job_gets_its_host_its_defaults_and_seconds():
    assert declared_jobs([JOB], "web-1") == [
        {
            "name": "nightly",
            "instance": "web-1",
            "owner": "",
            "severity": "warning",
            "max_age_seconds": 93600,
            "min_size_bytes": None,
            "tolerated_failures": 0,
            "after": [],
            "paused_until_timestamp_seconds": None,
        }
    ]


def test_a_job_with_a_calendar_needs_no_age():
    job = {"name": "nightly", "command": ["true"], "on_calendar": "daily", "min_size_bytes": 4096}
    (declared,) = declared_jobs([job], "web-1")
    assert (declared["max_age_seconds"], declared["min_size_bytes"]) == (None, 4096)


@pytest.mark.parametrize(
    "keys",
    [
        {"every": "6h"},
        {"every": "6h", "on_boot": "15min"},
        {"on_boot": "15min", "max_age": "10d"},
        {"every": "6h", "max_age": "10d"},
    ],
)
def test_a_job_may_start_at_intervals_after_a_boot_or_both(keys):
    (declared,) = declared_jobs([{"name": "often", "command": ["true"], **keys}], "web-1")
    assert declared["max_age_seconds"] == (864000 if "max_age" in keys else None)


def test_a_disabled_job_is_paused_without_an_end_and_checked():
    (declared,) = declared_jobs([{**JOB, "enabled": False}], "web-1")
    assert declared["paused_until_timestamp_seconds"] == "+Inf"
    with pytest.raises(AnsibleFilterError, match="there is no max_agee"):
        declared_jobs([{**JOB, "enabled": False, "max_agee": "1h"}], "web-1")


DAY = datetime.date(2099, 12, 24)


@pytest.mark.parametrize(
    ("job", "instance", "end"),
    [
        ({"paused_until": DAY}, "web-1", "2099-12-24T00:00:00+00:00"),
        ({"paused_until": "2099-12-24"}, "web-1", "2099-12-24T00:00:00+00:00"),
        ({"paused_until": DAY, "timezone": "Europe/Berlin"}, "web-1", "2099-12-23T23:00:00+00:00"),
        ({"paused_until": DAY}, None, "2099-12-24T00:00:00+00:00"),
    ],
    ids=["YAML's date", "text", "time zone", "external"],
)
def test_a_pause_ends_at_one_instant_for_prometheus_and_the_host(job, instance, end):
    job = {**JOB, **job}
    (declared,) = declared_jobs([job], instance)
    (content,) = declaration_files([job]).values()
    assert json.loads(content)["paused_until"] == end
    assert declared["paused_until_timestamp_seconds"] == instant(end)


def test_an_external_job_has_no_host_unless_it_says_so():
    declared = declared_jobs([JOB, {**JOB, "instance": "nas-1"}])
    assert [job["instance"] for job in declared] == ["", "nas-1"]


def test_an_external_job_is_not_given_what_only_a_host_can_do():
    with pytest.raises(AnsibleFilterError, match=r"batch_job_external, .*there is no command"):
        declared_jobs([{**JOB, "command": ["true"]}])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_agee": "1h"}, "there is no max_agee; did you mean max_age?"),
        ({"max_age": None}, "max_age is missing and so are on_calendar and every"),
        ({"max_age": None, "on_boot": "5min"}, "on_boot alone says nothing of the next success"),
        ({"on_calendar": "daily", "every": "6h"}, "on_calendar and every: a job has only one of"),
        ({"on_calendar": "daily", "on_boot": "5min"}, "on_calendar and on_boot: a job has only"),
        ({"every": 360}, "every: '360' is not a duration"),
        ({"on_boot": "soon"}, "on_boot: 'soon' is not a duration"),
        ({"on_boot": 15}, "on_boot is a text, not 15: put quotes around it"),
        ({"max_age": "26 hours"}, "max_age: '26 hours' is not a duration"),
        ({"max_runtime": "long"}, "max_runtime: 'long' is not a duration"),
        ({"grace": "0h"}, "grace: '0h' is not a duration"),
        ({"timezone": "Europe/Berlin"}, "a timezone needs on_calendar or paused_until"),
        ({"paused_until": datetime.date(2026, 1, 2)}, "paused_until: 2026-01-02 is past and the"),
        ({"paused_until": 20991224}, "paused_until: 20991224 is not a day such as 2026-12-24"),
        ({"paused_until": "Christmas"}, "paused_until: Christmas is not a day such as 2026-12-24"),
        ({"paused_until": datetime.datetime(2099, 1, 2)}, "00:00:00 is not a day such as"),
        ({"paused_until": DAY, "timezone": "Mars/Base"}, "timezone: there is no Mars/Base on this"),
        ({"owner": 7}, "owner is a text, not 7: put quotes around it"),
        ({"on_calendar": 720}, "on_calendar: YAML reads it as 720; put quotes around it"),
        ({"on_calendar": ["daily", 720]}, "on_calendar, expression 2: YAML reads it as 720; put"),
        ({"on_calendar": {"daily": True}}, "on_calendar: YAML reads it as {'daily': True}"),
        ({"on_calendar": []}, "on_calendar is an empty list"),
        ({"on_calendar": ["daily", " "]}, "on_calendar, expression 2 is empty"),
        ({"on_calendar": "06:00; 18:00"}, "'06:00; 18:00' is not one expression; write a list"),
        ({"name": 420}, "job 420: name is a text, not 420: put quotes around it"),
        ({"command": ["sleep", 1350]}, "'nightly': command, word 2: YAML reads it as 1350; put q"),
        ({"command": ["a", True]}, "command, word 2: YAML reads it as True"),
        ({"command": ["a", "b", 1.1]}, "command, word 3: YAML reads it as 1.1"),
        ({"command": ["a", None]}, "command, word 2: YAML reads it as None"),
        ({"command": ["-true"]}, "systemd reads its first letter"),
        ({"environment": {"DRY_RUN": False}}, "environment, DRY_RUN: YAML reads it as False; put"),
        ({"environment": {"EMPTY": None}}, "environment, EMPTY: YAML reads it as None; put quotes"),
        ({"environment": {True: "a"}}, "environment: True is not the name of a variable"),
        ({"steps_after": [["umount", 7]]}, "steps_after, step 1, word 2: YAML reads it as 7"),
        ({"steps_before": ["umount /mnt"]}, "'umount /mnt' is not a list of a command"),
        ({"unit_section": {"After": None}}, "unit_section, After: YAML reads it as None"),
        ({"credentials": {"a/b": "c"}}, "credentials: 'a/b' is not the name of a file"),
        ({"credentials": {"a": 7}}, "credentials, a: YAML reads it as 7"),
        ({"environment_file": "/a\nb"}, "is more than one line"),
        ({"unit_options": {"UMask": 63}}, "unit_options, UMask: YAML reads it as 63; put quotes"),
        ({"command": "tar --create"}, "command is a list of a program and its arguments"),
        ({"command": []}, "command is a list of a program and its arguments"),
        ({"command": ["./backup.sh"]}, "./backup.sh is no absolute path"),
        ({"environment": {"FOO BAR": 1}}, "'FOO BAR' is not the name of a variable"),
        ({"unit_options": {"Type": "exec"}}, "Type is the role's own"),
        ({"environment": ["A=1"]}, "'environment' is of type list and we were unable to convert"),
        ({"enabled": "perhaps"}, "perhaps"),
        ({"catch_up": "perhaps"}, "perhaps"),
        ({"after": "weekly"}, "after is a list of names of jobs, not 'weekly'"),
        ({"after": [7]}, "after: YAML reads it as 7; put quotes"),
        ({"after": ["weekly"]}, "job 'nightly': after: there is no weekly"),
        ({"after": ["nightli"]}, "there is no nightli; did you mean nightly?"),
        ({"after": ["nightly"]}, "job 'nightly': after: nightly after nightly is a circle"),
        ({"min_size_bytes": "big"}, "big"),
        ({"unit": "x.timer"}, "unit: 'x.timer' is not the name of a service"),
        ({"unit": "batch-job-x.service"}, "unit: 'batch-job-x.service' is not the name"),
        ({"unit": "a b.service"}, "is not the name of a service"),
        ({"unit": "x.service", "command": ["true"]}, "command: x.service is somebody else's"),
        ({"unit": "x.service", "on_calendar": "daily"}, "on_calendar: x.service is somebody"),
        ({"backup_size_of": "etc.tar.gz"}, "backup_size_of: 'etc.tar.gz' is not an absolute"),
        ({"retries": 100}, "retries: '100' is not a number from 0 to 99"),
        ({"retries": -1}, "retries: '-1' is not a number"),
        ({"retry_delay": "1min"}, "retry_delay needs retries"),
        ({"report_output": -1}, "report_output: '-1' is not a number from 0 to 99"),
        ({"retries": 1, "retry_delay": "soon"}, "retry_delay: "),
        ({"unit_options": {"Restart": "on-failure"}}, "use retries and retry_delay of the job"),
        ({"tolerate_failures": -1}, "tolerate_failures: -1 is less than 0"),
        ({"tolerate_failures": "some"}, "tolerate_failures"),
        ({"warning_exit_codes": [3, "100-107", 200]}, "warning_exit_codes: '200' is neither"),
        ({"warning_exit_codes": [0]}, "warning_exit_codes: '0' is neither an exit code"),
        ({"warning_exit_codes": ["9-7"]}, "warning_exit_codes: '9-7' is neither"),
        ({"warning_exit_codes": [True]}, "warning_exit_codes: 'True' is neither"),
        ({"severity": "urgent"}, "severity is one of info, warning, critical"),
        ({"name": ".."}, "is not a name: letters, digits"),
        ({"name": "a/b"}, "is not a name: letters, digits"),
    ],
)
def test_a_bad_declaration_is_refused_with_host_and_reason(change, message):
    with pytest.raises(AnsibleFilterError, match="web-1") as refusal:
        declared_jobs([{**JOB, **change}], "web-1")
    assert message in str(refusal.value)


def test_a_job_comes_after_others_of_its_host_also_switched_off_ones_but_in_no_circle():
    jobs = [
        {**JOB, "after": ["dump", "sync"]},
        {**JOB, "name": "dump"},
        {**JOB, "name": "sync", "enabled": False},
    ]
    assert declared_jobs(jobs, "web-1")[0]["after"] == ["dump", "sync"]
    jobs[1]["after"] = ["nightly"]
    with pytest.raises(AnsibleFilterError, match=r"after: \w+ after \w+ after \w+ is a circle"):
        declared_jobs(jobs, "web-1")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"Type": "exec"}, "batch_job_unit_options: Type is the role's own"),
        ({"nice": 10}, "batch_job_unit_options: 'nice' is not an option of systemd's"),
        ({"UMask": 18}, "batch_job_unit_options, UMask: YAML reads it as 18; put quotes around"),
        (["Nice=10"], "batch_job_unit_options is not a dictionary of options"),
    ],
)
def test_options_of_all_jobs_are_checked_as_those_of_one_are(options, message):
    with pytest.raises(AnsibleFilterError) as refusal:
        service_options(options, "batch_job_unit_options")
    assert message in str(refusal.value)


def test_a_job_declared_twice_on_a_host_is_refused():
    with pytest.raises(AnsibleFilterError, match="'nightly' is declared twice"):
        declared_jobs([JOB, JOB], "web-1")


def test_a_job_declared_twice_is_refused_when_one_of_them_is_switched_off():
    with pytest.raises(AnsibleFilterError, match="'nightly' is declared twice"):
        declared_jobs([JOB, {**JOB, "enabled": False}], "web-1")


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
        ([{**JOB, "owner": None}], "owner is a text, not None"),
    ],
)
def test_what_is_no_list_of_jobs_is_refused(jobs, message):
    with pytest.raises(AnsibleFilterError, match=message):
        declared_jobs(jobs, "web-1")


def test_a_job_that_is_declared_alike_in_two_places_is_one():
    (job,) = declared_jobs([JOB], "web-1")
    assert without_repeats([job, dict(job)]) == [job]


def test_a_job_that_is_declared_differently_in_two_places_is_refused():
    (job,) = declared_jobs([JOB], "web-1")
    (other,) = declared_jobs([{**JOB, "instance": "web-1", "owner": "dba"}])
    with pytest.raises(AnsibleFilterError, match=r"nightly of web-1 is declared twice"):
        without_repeats([job, other])


class Lazy(dict):
    """Like Ansible's containers, which know all variables: a deep copy takes seconds."""

    def __deepcopy__(self, memo):
        raise AssertionError("copied with all that it knows")


def test_many_jobs_are_checked_without_a_copy_of_all_variables():
    job = Lazy(JOB, environment=Lazy(LANG="C"))
    assert len(declared_jobs([job], "web-1")) == 1


class Undefined(list):
    """Like Ansible's list of a text that is no template."""

    def __getitem__(self, index):
        raise UndefinedError("A captured exception marker was tripped: unexpected '.'")


def test_braces_of_another_language_are_refused_with_the_cure():
    job = {**JOB, "command": Undefined(["docker", "ps"])}
    with pytest.raises(AnsibleFilterError) as refusal:
        declared_jobs([job], "web-1")
    assert str(refusal.value) == (
        "batch_job_jobs of web-1, job 'nightly': command, word 1: Ansible fills in {{, {% and {#, "
        "but: unexpected '.'; put !unsafe before a text that has them for another program"
    )
