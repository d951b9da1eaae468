"""What is registered of a job before it runs."""

import time
from types import SimpleNamespace

import pytest

from batch_job import metrics, registration
from batch_job import pushgateway as http
from batch_job.config import Job
from batch_job.gateway import Gateway, GatewayError, Group
from batch_job.host import Host
from batch_job.registration import Candidate, addition
from batch_job.schedule import Schedule
from batch_job.spool import Spool
from batch_job.state import State

JOB = Job("nightly", "ops", "critical", "backup", Schedule("daily", max_runtime=60, grace=90))
GROUP = Group("nightly", "node1")


@pytest.fixture
def compare(pushgateway):
    """Return a function from a declaration and a deadline to the names of what is registered."""
    to = Gateway(pushgateway.url)

    def compare(job, deadline, is_new=False):
        group = http.groups(to).get(GROUP, {})
        new = addition(Candidate(job, deadline, False, is_new), group, NOW)
        names = [family.name[len(metrics.PREFIX) :] for family in new.families]
        return names, new.deadline is not None

    def add(job, deadline):
        new = addition(Candidate(job, deadline, False, False), {}, NOW)
        http.push(to, GROUP, new.families, replace=False)

    compare.register = add
    return compare


NOW = 400
WHOLE = ["info", "max_runtime_seconds", "grace_seconds", "deadline_timestamp_seconds"]


def test_an_empty_gateway_gets_the_whole_registration(compare):
    assert compare(JOB, 500) == (WHOLE, True)


def test_a_job_that_is_never_due_is_registered_without_a_deadline(compare):
    assert compare(JOB._replace(schedule=Schedule()), None) == (WHOLE[:3], False)


@pytest.mark.parametrize("job", [JOB, Job("nightly", schedule=Schedule(max_age=60))])
def test_a_registered_job_needs_nothing(compare, job):
    compare.register(job, 500)
    assert compare(job, 900) == ([], False)


@pytest.mark.parametrize(
    "job", [JOB._replace(owner="dev"), JOB._replace(severity="info"), JOB._replace(kind="batch")]
)
def test_another_owner_does_not_move_the_deadline(compare, job):
    compare.register(JOB, 500)
    assert compare(job, 900) == (["info"], False)


@pytest.mark.parametrize(
    "change",
    [
        {"on_calendar": "hourly"},
        {"timezone": "Europe/Berlin"},
        {"on_calendar": None, "max_age": 60},
        {"max_runtime": 61},
        {"max_runtime": None},
        {"grace": 91},
    ],
    ids=str,
)
def test_another_schedule_has_another_deadline(compare, change):
    compare.register(JOB, 500)
    changed = JOB._replace(schedule=JOB.schedule._replace(**change))
    assert compare(changed, 900) == (WHOLE, True)


def test_what_is_overdue_stays_overdue_under_another_schedule(compare):
    compare.register(JOB, NOW - 1)
    changed = JOB._replace(schedule=JOB.schedule._replace(on_calendar="hourly"))
    assert compare(changed, 900) == (["info"], False)


@pytest.mark.parametrize("deadline", [NOW - 1, NOW + 1], ids=["overdue", "due"])
def test_a_pause_moves_the_deadline_once_and_back_when_it_is_taken_back(compare, deadline):
    compare.register(JOB, deadline)
    paused = JOB._replace(schedule=JOB.schedule._replace(paused_until=NOW + 500))
    assert compare(paused, NOW + 900) == (WHOLE, True)
    compare.register(paused, NOW + 900)
    assert compare(paused, NOW + 950) == ([], False)
    assert compare(JOB, NOW + 2) == (WHOLE, True)


def test_a_job_that_was_switched_off_meanwhile_gets_a_new_deadline(compare):
    compare.register(JOB, NOW - 1)
    assert compare(JOB, 900, is_new=True) == (WHOLE, True)


def test_a_job_that_was_only_pushed_by_hand_gets_the_whole_registration(compare, pushgateway):
    pushgateway.add("nightly", "x 1\n")
    assert compare(JOB, 500) == (WHOLE, True)


def test_a_job_that_ran_without_a_deadline_gets_one(compare):
    compare.register(JOB, None)
    assert compare(JOB, 500) == (WHOLE, True)


def test_a_job_that_reports_by_plain_pushes_is_left_to_its_age(compare, pushgateway):
    pushgateway.add("nightly", "batch_job_last_success_timestamp_seconds 1\n")
    assert compare(Job("nightly", schedule=Schedule(max_age=60)), 500) == ([], False)
    assert compare(JOB, 500) == (WHOLE, True)


def register(node, *words, **environment):
    return node("register", "--job", "nightly", "--max-age", "26h", *words, **environment)


def test_a_registered_job_is_due(node, pushgateway):
    done = register(node)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"nightly: registered at {pushgateway.url}, due 2")
    due = pushgateway.values("nightly")["deadline_timestamp_seconds"]
    assert due == pytest.approx(time.time() + 26 * 3600, abs=30)


def test_the_second_registration_changes_nothing(node, pushgateway):
    register(node)
    before = pushgateway.families("nightly")
    again = register(node)
    assert (again.returncode, again.stdout, again.stderr) == (0, "nothing changed\n", "")
    assert pushgateway.families("nightly") == before


def test_a_job_with_a_calendar_is_registered_once(node, pushgateway, systemd):
    words = ("register", "--job", "nightly", "--on-calendar", "2050-01-01 UTC", "--grace", "1s")
    assert ", due 20" in node(*words).stdout
    assert pushgateway.values("nightly")["deadline_timestamp_seconds"] == 2524608001
    assert node(*words).stdout == "nothing changed\n"


def test_a_dry_run_prints_what_would_change_and_changes_nothing(node, pushgateway):
    done = register(node, "--dry-run")
    assert done.stdout.startswith("nightly: registered at ")
    assert pushgateway.values("nightly") == {}
    assert not node.state.exists()


def test_a_dry_run_that_reaches_no_gateway_keeps_nothing(node, dead_url):
    node.configure(dead_url)
    assert register(node, "--dry-run").returncode == 75
    assert node.kept() == []


def test_what_waits_is_sent_before_a_registration(node, start_pushgateway, port):
    node.configure(f"http://127.0.0.1:{port}")
    node.run("true")
    returned = start_pushgateway(port)
    assert register(node).stdout == "nothing changed\n"
    assert returned.result("nightly") == "success"


def test_a_registration_that_does_not_arrive_is_kept(node, start_pushgateway, port):
    node.configure(f"http://127.0.0.1:{port}")
    done = register(node)
    assert done.returncode == 75
    assert "cannot be reached" in done.stderr
    returned = start_pushgateway(port)
    assert node("flush").stdout == "1 kept reports delivered, 0 wait\n"
    assert "deadline_timestamp_seconds" in returned.values("nightly")


def test_a_registration_that_arrives_no_more_is_kept(tmp_path):
    def push(*_arguments):
        raise GatewayError("it is down by now")

    transport = SimpleNamespace(groups=lambda _gateway: {}, push=push)
    gateways, spool = [Gateway("http://one")], Spool(tmp_path)
    host = Host("node1", gateways, spool, State(tmp_path), transport=lambda _gateway: transport)
    job = Job("nightly", schedule=Schedule(max_age=60))
    done = registration.register(host, [job], declared=False, dry_run=False)
    assert (done.changes, [str(error) for error in done.errors]) == ([], ["it is down by now"])
    assert [kept.report.group for kept in spool.kept()] == [GROUP]


def test_a_registration_during_an_outage_does_not_move_the_deadline(node, start_pushgateway, port):
    node.configure(f"http://127.0.0.1:{port}")
    gateway_before = start_pushgateway(port)
    register(node)
    stood = gateway_before.values("nightly")["deadline_timestamp_seconds"]
    gateway_before.stop()
    register(node)
    returned = start_pushgateway(port)
    node("flush")
    assert returned.values("nightly")["deadline_timestamp_seconds"] == stood


def test_a_gateway_that_missed_the_first_registration_gets_its_deadline_later(
    node, pushgateway, start_pushgateway, port
):
    node.configure(pushgateway.url, f"http://127.0.0.1:{port}")
    register(node)
    returned = start_pushgateway(port)
    node("flush")
    assert "deadline_timestamp_seconds" in returned.values("nightly")


def test_wrong_credentials_are_no_permission(node, stand_in_gateway):
    url, _seen = stand_in_gateway(401)
    node.configure(url)
    assert register(node).returncode == 77


def test_a_registration_that_is_rejected_is_bad_data_and_is_kept(node, pushgateway):
    pushgateway.add("other", "# TYPE batch_job_info summary\nbatch_job_info_sum 1\n")
    done = register(node)
    assert done.returncode == 65
    assert "inconsistent" in done.stderr
    pushgateway.wipe()
    assert node("flush").stdout == "1 kept reports delivered, 0 wait\n"
    assert "deadline_timestamp_seconds" in pushgateway.values("nightly")


def test_a_registration_takes_on_the_types_of_a_gateway(node, pushgateway):
    pushgateway.add("other", "batch_job_info 1\n")
    assert register(node).returncode == 0
    assert "deadline_timestamp_seconds" in pushgateway.values("nightly")


def test_the_environment_names_the_instance_for_every_verb(node, pushgateway):
    register(node, BATCH_JOB_INSTANCE="other1")
    assert "deadline_timestamp_seconds" in pushgateway.values("nightly", instance="other1")


def test_all_declared_jobs_are_registered_and_forgotten_once_they_are_not(node, pushgateway):
    node.declare("one", max_age="1h")
    node.declare("two", max_age="1h")
    assert len(node("register", "--all").stdout.splitlines()) == 2
    (node.config / "jobs" / "two.json").unlink()
    done = node("register", "--all")
    assert done.stdout == "two: forgotten, it is declared no longer\n"
    assert "two" not in node("status").stdout
    assert pushgateway.values("two")


def test_a_dry_run_forgets_nothing(node):
    node.declare("one", max_age="1h")
    node("register", "--all")
    (node.config / "jobs" / "one.json").unlink()
    done = node("register", "--all", "--dry-run")
    assert done.stdout == "one: forgotten, it is declared no longer\n"
    assert "one" in node("status").stdout


def test_a_job_that_was_never_declared_is_not_forgotten(node):
    node.run("true", job="by-hand")
    assert node("register", "--all").stdout == "nothing changed\n"
    assert "by-hand" in node("status").stdout


def test_what_is_kept_of_a_forgotten_job_is_not_sent(node, dead_url):
    node.configure(dead_url)
    node.declare("one", max_age="1h")
    node("register", "--all")
    assert len(node.kept()) == 1
    (node.config / "jobs" / "one.json").unlink()
    node("register", "--all")
    assert node.kept() == []


def test_a_bad_calendar_registers_nothing(node, pushgateway, systemd):
    node.declare("one", max_age="1h")
    node.declare("two", on_calendar="no day")
    done = node("register", "--all")
    assert done.returncode == 64
    assert "'no day'" in done.stderr
    assert pushgateway.values("one") == {}


def test_a_declared_job_without_a_calendar_is_due_by_its_age_alone(node, pushgateway):
    node.configure(pushgateway.url)
    node.declare("by-hand", max_age="26h")
    assert node("register", "--all").returncode == 0
    known = pushgateway.values("by-hand")
    assert "grace_seconds" in known
    assert "deadline_timestamp_seconds" not in known


def test_a_declared_job_that_starts_at_intervals_is_due_before_it_has_run(node, pushgateway):
    node.configure(pushgateway.url)
    node.declare("often", every="6h", grace="1min")
    assert node("register", "--all").returncode == 0
    due = pushgateway.values("often")["deadline_timestamp_seconds"]
    assert due == pytest.approx(time.time() + 6 * 3600 + 60, abs=30)
    (info,) = pushgateway.families("often")["batch_job_info"]
    assert info["labels"]["schedule"] == "every 6h"


def test_another_age_moves_the_deadline_that_the_last_success_set(node, pushgateway):
    node.configure(pushgateway.url)
    node.declare("by-cron", max_age="26h")
    node("register", "--all")
    node("run", "--job", "by-cron", "--", "true")
    assert node("register", "--all").stdout == "nothing changed\n"
    node.declare("by-cron", max_age="48h")
    node("register", "--all")
    known = pushgateway.values("by-cron")
    success = known["last_success_timestamp_seconds"]
    assert known["deadline_timestamp_seconds"] == pytest.approx(success + 48 * 3600, abs=1)


def test_a_pause_moves_the_deadline_that_the_last_success_set_once(node, pushgateway):
    node.configure(pushgateway.url)
    node.declare("by-cron", max_age="26h")
    node("run", "--job", "by-cron", "--", "true")
    node.declare("by-cron", max_age="26h", paused_until="2050-01-01T00:00:00+00:00")
    node("register", "--all")
    due = pushgateway.values("by-cron")["deadline_timestamp_seconds"]
    assert due == 2524608000 + 26 * 3600
    assert node("register", "--all").stdout == "nothing changed\n"


def test_a_job_that_was_registered_by_hand_is_not_forgotten(node, pushgateway):
    node.configure(pushgateway.url)
    register(node)
    assert node("register", "--all").stdout == "nothing changed\n"
