"""When systemd starts a unit that is not ours, from what `systemctl show` prints."""

import pytest

from batch_job import timers
from batch_job.config import Job
from batch_job.schedule import Schedule, ScheduleError

JOB = Job("certbot", unit="certbot.service")
# As systemd 252 and 257 print them.
CALENDAR = "{ OnCalendar=%s ; next_elapse=Fri 2026-11-27 18:00:00 UTC }"
MONOTONIC = "{ %s=%s ; next_elapse=6d 20h 1min 35.123456s }"


def systemd(*units, triggered_by="certbot.timer"):
    known = {"certbot.service": {"TriggeredBy": [triggered_by], "LoadState": ["loaded"]}}
    known |= dict(units)
    return lambda name: known.get(name, {"LoadState": ["not-found"]})


def timer(name="certbot.timer", state="active", **properties):
    return name, {"ActiveState": [state], "RandomizedDelayUSec": ["0"], **properties}


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        (
            [timer(TimersCalendar=[CALENDAR % "*-*-* 00,12:00:00"], RandomizedDelayUSec=["12h"])],
            Schedule(on_calendar="*-*-* 00,12:00:00", randomized_delay=43200),
        ),
        (
            [timer(TimersCalendar=[CALENDAR % "Mon *-*-* 01:00:00", CALENDAR % "Sun 2:00 UTC"])],
            Schedule(on_calendar="Mon *-*-* 01:00:00; Sun 2:00 UTC"),
        ),
        (
            [
                timer(
                    TimersMonotonic=[
                        MONOTONIC % ("OnBootUSec", "15min"),
                        MONOTONIC % ("OnUnitActiveUSec", "1d 6h"),
                    ]
                )
            ],
            Schedule(every=108000),
        ),
        (
            [timer(TimersMonotonic=[MONOTONIC % ("OnUnitInactiveUSec", "1month 2d")])],
            Schedule(every=2629800 + 172800),
        ),
    ],
    ids=["package", "several", "monotonic", "inactive"],
)
def test_the_timers_of_a_unit_are_its_schedule(units, expected):
    assert timers.scheduled(JOB, systemd(*units)).schedule == expected


def test_a_unit_of_two_timers_is_started_by_both():
    units = [
        timer(TimersCalendar=[CALENDAR % "daily"]),
        timer("x.timer", TimersCalendar=[CALENDAR % "weekly"], RandomizedDelayUSec=["1min 30s"]),
        timer("off.timer", "inactive", TimersCalendar=[CALENDAR % "minutely"]),
    ]
    found = timers.scheduled(JOB, systemd(*units, triggered_by="certbot.timer x.timer off.timer"))
    assert found.schedule == Schedule(on_calendar="daily; weekly", randomized_delay=90)


@pytest.mark.parametrize(
    "units",
    [[], [timer(state="inactive")], [timer(TimersMonotonic=[MONOTONIC % ("OnBootUSec", "1min")])]],
    ids=["no timer", "a timer that is stopped", "a timer that starts once"],
)
def test_a_unit_that_nothing_starts_again_needs_an_age(units):
    with pytest.raises(ScheduleError, match="declare a max_age"):
        timers.scheduled(JOB, systemd(*units))
    aged = JOB._replace(schedule=Schedule(max_age=60))
    assert timers.scheduled(aged, systemd(*units)).schedule == Schedule(max_age=60)


def test_a_name_with_an_escape_is_read_as_systemd_quotes_it():
    units = [timer(r"dump@home\x2da.timer", TimersCalendar=[CALENDAR % "daily"])]
    found = timers.scheduled(JOB, systemd(*units, triggered_by=r'"dump@home\\x2da.timer"'))
    assert found.schedule == Schedule(on_calendar="daily")


def test_a_job_of_our_own_has_its_own_schedule():
    job = Job("nightly", schedule=Schedule(on_calendar="daily"))
    assert timers.scheduled(job, systemd()) is job


def test_a_unit_that_is_not_there_or_never_ends_is_refused(monkeypatch):
    monkeypatch.setattr(timers, "_services", lambda: ["certbot.service", "cron.service"])
    timers.check(JOB, systemd())
    with pytest.raises(ScheduleError, match=r"no unit certbto.service .*did you mean certbot"):
        timers.check(JOB._replace(unit="certbto.service"), systemd())
    stays = ("certbot.service", {"LoadState": ["loaded"], "RemainAfterExit": ["yes"]})
    with pytest.raises(ScheduleError, match="RemainAfterExit"):
        timers.check(JOB, systemd(stays))
