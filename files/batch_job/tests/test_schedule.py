"""When the next success is due, as systemd itself says."""

from datetime import datetime, timezone

import pytest

from batch_job import schedule
from batch_job.schedule import Schedule, ScheduleError, deadlines, next_starts

HOUR = 3600


def at(text):
    return datetime.fromisoformat(text + "+00:00").timestamp()


def utc(moment):
    return datetime.fromtimestamp(moment, timezone.utc).replace(tzinfo=None)


def next_start(expression, after):
    return utc(next_starts([expression], at(after))[0]).isoformat()


def test_a_deadline_is_the_next_start_and_all_that_may_come_after_it(systemd):
    job = Schedule("06:00", "UTC", randomized_delay=60, max_runtime=2 * HOUR, grace=900)
    found = deadlines([job], at("2026-11-20T07:00:00"))
    assert found == [at("2026-11-21T06:00:00") + 60 + 2 * HOUR + 900]


def test_half_an_hour_of_grace_is_the_default(systemd):
    assert deadlines([Schedule("06:00", "UTC")], at("2026-11-20T07:00:00")) == [
        at("2026-11-21T06:30:00")
    ]


def test_a_weekday_job_is_due_on_monday_after_it_succeeded_on_friday(systemd):
    assert next_start("Mon..Fri 06:00 UTC", "2026-11-20T06:10:00") == "2026-11-23T06:00:00"


def test_a_success_at_the_second_of_a_start_waits_for_the_next_one(systemd):
    assert next_start("06:00 UTC", "2026-11-20T06:00:00") == "2026-11-21T06:00:00"


@pytest.mark.parametrize(
    ("zone", "start"),
    [("Europe/Berlin", "2026-07-02T04:00:00"), ("America/New_York", "2026-07-01T10:00:00")],
)
def test_the_time_zone_is_the_one_that_was_declared(systemd, zone, start):
    after = at("2026-07-01T08:00:00")
    due = deadlines([Schedule("06:00", zone, grace=0)], after)
    assert due == [at(start)]


def test_a_time_that_spring_leaves_out_is_left_out(systemd):
    assert next_start("02:30 Europe/Berlin", "2026-03-28T12:00:00") == "2026-03-30T00:30:00"


@pytest.mark.parametrize(
    ("after", "start"),
    [
        ("2026-10-25T00:20:00", "2026-10-25T00:30:00"),
        ("2026-10-25T00:30:00", "2026-10-26T01:30:00"),
        ("2026-10-25T01:00:00", "2026-10-25T01:30:00"),
        ("2026-10-25T01:30:00", "2026-10-26T01:30:00"),
    ],
)
def test_a_time_that_autumn_has_twice_comes_again_only_in_its_second_hour(systemd, after, start):
    assert next_start("02:30 Europe/Berlin", after) == start


def test_several_expressions_keep_their_order(systemd):
    texts = ["23:00 UTC", "01:00 UTC", "12:00 UTC", "01:00 UTC"]
    found = next_starts(texts, at("2026-11-20T00:00:00"))
    assert [utc(each).hour for each in found] == [23, 1, 12, 1]


@pytest.mark.parametrize(
    ("after", "due"),
    [
        # Friday, Saturday, Sunday.
        ("2026-11-20T20:00:00", "2026-11-20T22:30:00"),
        ("2026-11-20T22:30:00", "2026-11-21T20:00:00"),
        ("2026-11-22T20:00:00", "2026-11-23T22:30:00"),
    ],
)
def test_of_several_expressions_the_earliest_start_counts(systemd, after, due):
    job = Schedule("Mon..Fri 22:30; Sat,Sun 20:00", "UTC", grace=60)
    assert deadlines([job], at(after)) == [at(due) + 60]


def test_each_of_several_expressions_gets_the_time_zone(systemd):
    job = Schedule("23:00; 06:00", "Europe/Berlin", grace=0)
    assert deadlines([job], at("2026-07-01T08:00:00")) == [at("2026-07-01T21:00:00")]


def test_schedules_of_all_sorts_keep_their_order(systemd):
    after = at("2026-11-20T00:00:00")
    mixed = [Schedule(max_age=60), Schedule("01:00 UTC", grace=0), Schedule()]
    assert deadlines(mixed, after) == [after + 60, after + HOUR, None]


def test_a_deadline_counts_from_the_end_of_a_pause(systemd):
    after, end = at("2026-11-20T00:00:00"), at("2026-12-24T00:00:00")
    job = Schedule("01:00 UTC", grace=0)
    midnight = Schedule("daily UTC", grace=0, paused_until=end)
    paused = [job._replace(paused_until=end), midnight, Schedule(max_age=60, paused_until=end)]
    assert deadlines([job, *paused], after) == [after + HOUR, end + HOUR, end, end + 60]
    later = [end + 25 * HOUR, end + 24 * HOUR, end + HOUR + 60]
    assert deadlines(paused, end + HOUR) == later


def test_what_starts_at_intervals_is_due_after_the_next_start():
    job = Schedule(every=6 * HOUR, randomized_delay=60, max_runtime=HOUR, grace=900)
    allowance = 60 + HOUR + 900
    pause = job._replace(paused_until=9000)
    assert deadlines([job, pause], 1000) == [1000 + 6 * HOUR + allowance, 30600 + allowance]


@pytest.mark.parametrize(
    ("job", "reference"),
    [(Schedule("daily"), 2000), (Schedule(every=1500), 1000), (Schedule(every=400), 1600)],
    ids=["calendar", "a short run", "a run that is longer than the interval"],
)
def test_an_interval_counts_from_the_start_of_a_run_and_all_else_from_its_end(job, reference):
    assert job.reference(started=1000, ended=2000) == reference


def test_a_fraction_of_a_second_is_cut_off(systemd):
    assert next_start("*:*:30.5 UTC", "2026-11-20T00:00:00") == "2026-11-20T00:00:30"


def test_every_bad_expression_is_named(systemd):
    with pytest.raises(ScheduleError, match=r"'no day'.*'25:00'"):
        next_starts(["daily", "no day", "25:00"], 0)


def test_an_expression_that_never_elapses_again_is_named(systemd):
    with pytest.raises(ScheduleError, match=r"never elapses again: 2020-01-01 UTC$"):
        next_starts(["daily", "2020-01-01 UTC"], at("2026-11-20T00:00:00"))


def test_without_a_calendar_a_success_is_due_within_its_age():
    assert deadlines([Schedule(max_age=60, max_runtime=5)], 1000) == [1060]


def test_a_job_without_a_schedule_is_never_due():
    assert deadlines([Schedule(max_runtime=5)], 1000) == [None]


@pytest.mark.parametrize(
    ("job", "is_empty"),
    [
        (Schedule(), True),
        (Schedule("daily"), False),
        (Schedule(every=1), False),
        (Schedule(max_age=1), False),
    ],
)
def test_a_schedule_without_calendar_and_age_is_empty(job, is_empty):
    assert job.is_empty is is_empty


# What `systemd-analyze calendar` prints on a host whose time zone is not UTC.
ELSEWHERE = """\
  Original form: 06:00
Normalized form: *-*-* 06:00:00
    Next elapse: Sat 2026-11-21 06:00:00 CET
       (in UTC): Sat 2026-11-21 05:00:00 UTC
       From now: 6h left
"""


def test_on_a_host_with_a_time_zone_the_line_in_utc_counts():
    assert schedule._parse(ELSEWHERE) == at("2026-11-21T05:00:00")
