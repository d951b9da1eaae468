"""Declaring jobs: what a rollout registers, changes, removes and refuses.

One story on one copy of a host, in the order of this file.
"""

import pytest

from clients import Pushgateway, eventually
from conftest import connect

OTHER = "jobs12"
TIMER = "/etc/systemd/system/batch-job-daily.timer"
DAILY = {"name": "daily", "command": ["true"], "on_calendar": "*-*-* 02:00", "grace": "10min"}
LATER = {**DAILY, "on_calendar": "*-*-* 03:00"}
NEVER = {"name": "often", "command": ["true"], "on_calendar": "2100-01-01", "max_runtime": "1h"}
OFTEN = {**NEVER, "every": "6h", "on_calendar": None}


@pytest.fixture(scope="module")
def copy(copied):
    """Boot the copy that the tests of this file share."""
    with copied("jobs13") as copy:
        yield copy


@pytest.fixture
def host(copy):
    return copy.host


@pytest.fixture
def declare(copy):
    """Return a function that rolls a list of jobs out."""

    def declare(jobs, *arguments, **variables):
        return copy.roll_out("batch_job", *arguments, batch_job_jobs=jobs, **variables)

    return declare


@pytest.fixture
def registered(copy):
    """Return a function to labels and deadline of the job `daily`; None when there is no group."""

    def registered(node=copy.node):
        group = connect(Pushgateway, node).families("daily", "jobs13")
        if not group:
            return None
        (info,) = group["batch_job_info"]
        (deadline,) = group["batch_job_deadline_timestamp_seconds"]
        return info["labels"], float(deadline["value"])

    return registered


def test_check_mode_shows_a_new_job_and_changes_nothing(declare, host):
    checked = declare([DAILY], "--check", "--diff")
    assert checked.status == 0
    assert "OnCalendar=*-*-* 02:00" in checked.diff
    assert not host.file(TIMER).exists


def test_a_unit_waits_for_jobs_before_it_and_a_timer_may_leave_out_what_it_missed(host):
    show = "systemctl show --value --property"
    after = host.check_output(f"{show} After batch-job-weekdays.service").split()
    assert "batch-job-prepared.service" in after
    assert host.check_output(f"{show} Persistent batch-job-weekdays.timer") == "no"
    assert host.check_output(f"{show} Persistent batch-job-confined.timer") == "yes"


def test_a_timer_has_every_expression_of_a_list(host):
    timers = host.check_output("systemctl show --property TimersCalendar batch-job-prepared.timer")
    assert timers.count("OnCalendar=") == 2
    assert "OnCalendar=Sat,Sun 2098-01-* 20:00" in timers


def test_a_user_or_a_group_that_the_host_lacks_is_refused_before_anything_changes(declare, host):
    reporter = host.file("/usr/local/bin/batch-job")
    host.check_output("mv /usr/local/bin/batch-job /srv/batch-job")
    done = declare([{**DAILY, "user": "u1"}], batch_job_group="g1")
    is_installed = reporter.exists
    host.check_output("mv /srv/batch-job /usr/local/bin/batch-job")
    assert "there is no user 'u1', no group 'g1' here" in done.message
    assert not is_installed


def test_a_gateway_that_cannot_be_reached_fails_the_rollout_early(declare, host):
    done = declare([DAILY], batch_job_gateways=[{"url": "http://jobs13:1"}])
    assert done.status != 0
    assert "http://jobs13:1 cannot be reached" in done.message
    assert "batch_job_gateway_required" in done.message
    assert not host.file(TIMER).exists


def test_every_declared_job_is_registered_with_its_first_deadline(declare, copy, registered):
    assert declare([DAILY, NEVER]).status == 0
    for node in (copy.node, OTHER):
        labels, deadline = registered(node)
        assert labels["schedule"] == "*-*-* 02:00"
        assert deadline % 86400 == 2 * 3600 + 600


def test_the_second_rollout_changes_nothing_and_warns_about_a_job_without_a_limit(declare):
    done = declare([DAILY, NEVER])
    assert done.changed("jobs13") == 0
    assert "daily: no max_runtime" in done.diff
    assert "often: no max_runtime" not in done.diff


def test_another_schedule_is_registered_anew_and_the_timer_follows(declare, host, registered):
    assert declare([LATER, OFTEN]).status == 0
    labels, deadline = registered()
    assert (labels["schedule"], deadline % 86400) == ("*-*-* 03:00", 3 * 3600 + 600)
    timer = host.check_output(
        "systemctl show --property NextElapseUSecRealtime batch-job-daily.timer"
    )
    assert "03:00:00" in timer


def test_a_new_interval_begins_with_a_run_at_once_and_not_again_with_every_reload(host):
    def show(name, unit):
        return host.check_output(f"systemctl show --value --property {name} batch-job-often.{unit}")

    started = eventually(lambda: int(show("ExecMainStartTimestampMonotonic", "service")))
    assert "OnUnitActiveUSec=6h" in show("TimersMonotonic", "timer")
    host.check_output("systemctl daemon-reload")
    assert eventually(lambda: show("NextElapseUSecMonotonic", "timer") not in ("0", "infinity"))
    assert int(show("ExecMainStartTimestampMonotonic", "service")) == started


def test_another_owner_leaves_the_deadline_alone(declare, registered):
    labels, deadline = registered()
    assert labels["owner"] == ""
    assert declare([{**LATER, "owner": "dba"}]).status == 0
    assert registered() == ({**labels, "owner": "dba"}, deadline)


def test_a_job_that_is_switched_off_has_no_timer(declare, host):
    assert host.service("batch-job-daily.timer").is_running
    assert declare([{**LATER, "enabled": False}]).status == 0
    assert not host.service("batch-job-daily.timer").is_running
    assert host.file("/etc/systemd/system/batch-job-daily.service").exists


def test_an_unreachable_gateway_can_be_a_warning_and_is_told_later(declare, host, registered):
    host.check_output("systemctl stop pushgateway")
    done = declare([DAILY], batch_job_gateway_required=False)
    host.check_output("systemctl start pushgateway")
    assert done.status == 0
    assert host.service("batch-job-daily.timer").is_running
    assert eventually(lambda: registered()[0]["schedule"] == "*-*-* 02:00")


def test_a_job_that_leaves_the_list_leaves_the_host_and_not_the_gateway(declare, host, registered):
    assert host.service("batch-job-daily.timer").is_enabled
    assert declare([{**DAILY, "command": ["false"]}]).status == 0
    host.check_output("systemctl stop pushgateway")
    assert host.run("systemctl start batch-job-daily").rc != 0
    host.check_output("systemctl start pushgateway")
    assert declare([]).status == 0
    found = host.run("find /etc /var/lib -name '*batch-job-daily*' -o -path '*batch-job*daily*'")
    assert found.stdout == ""
    assert "daily" not in host.check_output("systemctl list-units --all --plain 'batch-job-*'")
    assert "daily" not in host.check_output("batch-job status")
    assert registered() is not None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"on_calendar": "Fooday 02:00"}, "Failed to parse calendar specification 'Fooday 02:00'"),
        ({"timezone": "Europe/Berlni"}, "Europe/Berlni"),
        ({"on_calendar": "2001-01-01"}, "never elapses again: 2001-01-01"),
        ({"max_runtime": "2 hours"}, "max_runtime: '2 hours' is not a duration"),
        ({"name": "a/b"}, "'a/b' is not a name"),
        ({"comand": ["true"]}, "there is no comand; did you mean command?"),
        ({"severity": "urgent"}, "severity"),
        ({"unit_options": {"MemmoryMax": "2G"}}, "Unknown key 'MemmoryMax' in section [Service]"),
        (
            {"unit_options": {"ReadWritePaths": "/srv/x -/y"}},
            "Paths: there is no /srv/x: create",
        ),
        ({"command": ["sleep", 1350]}, "command, word 2: YAML reads it as 1350; put quotes around"),
    ],
)
def test_a_bad_declaration_is_refused_before_the_jobs_change(declare, host, change, message):
    units = "cat /etc/systemd/system/batch-job-* | sha256sum"
    before = host.check_output(units)
    done = declare([{**DAILY, **change}])
    assert done.status != 0
    assert message in done.message
    assert host.check_output(units) == before


@pytest.fixture
def textfiles(host):
    """Return a directory that is another user's, quoted for a shell."""
    host.check_output("install --directory --owner=nobody '/srv/text files'")
    yield "'/srv/text files'"
    host.check_output("rm -r '/srv/text files'")


def test_a_directory_can_stand_for_a_gateway_and_gets_what_was_kept_for_it(
    declare, host, textfiles
):
    done = declare([DAILY], batch_job_gateways=[{"url": "file:///srv/text%20files"}])
    assert done.status == 0, done.message
    look = f"cat {textfiles}/batch_job_daily@jobs13.prom"
    assert "batch_job_deadline_timestamp_seconds{" in host.check_output(look)
    host.check_output(f"mv {textfiles} /srv/away")
    host.check_output("systemctl start batch-job-daily")
    host.check_output(f"mv /srv/away {textfiles}")

    def is_flushed():
        # One that began before the directory was back ends without it.
        host.check_output("systemctl start flush-batch-job-reports")
        code = 'batch_job_last_exit_code{instance="jobs13",job="daily"} 0.0'
        return code in host.check_output(look)

    assert eventually(is_flushed)


# An instance of a template, with an escape; and a unit that a package has brought.
DUMP = r"dump@home\x2dassistant"
ADOPTED = [
    {"name": "dump-home", "unit": f"{DUMP}.service", "grace": "10min"},
    {"name": "packages", "unit": "dpkg-db-backup.service"},
]
UNITS = "find /etc/systemd /usr/lib/systemd -exec stat --format '%n %a %u %g %F %s' {} +"


@pytest.fixture
def dump(host):
    """Put a template and a timer of somebody else's on the host; return the path of the timer."""
    path = f"/etc/systemd/system/{DUMP}.timer"
    script = f"""
cd /etc/systemd/system
printf '[Service]\nType=oneshot\nExecStart=test ! -e /srv/fail\n' > dump@.service
printf '[Timer]\nOnCalendar=*-*-* 04:30 UTC\n' > '{path}'
systemctl daemon-reload
systemctl start '{DUMP}.timer'
"""
    host.check_output(script)
    return path


def test_a_unit_that_is_there_is_watched_by_a_drop_in_and_left_as_it_was(declare, copy, host, dump):
    assert declare([]).status == 0
    before = sorted(host.check_output(UNITS).splitlines())
    assert declare(ADOPTED).status == 0
    assert declare(ADOPTED).changed(copy.name) == 0

    def known(name, job="dump-home"):
        families = connect(Pushgateway, copy.node).families(job, "jobs13")
        samples = families.get(f"batch_job_{name}") or [{"value": "nan", "labels": {}}]
        return samples[0]["labels"].get("result") or float(samples[0]["value"])

    assert (known("deadline_timestamp_seconds") - 600) % 86400 == 4.5 * 3600
    assert known("deadline_timestamp_seconds", "packages") > 0
    host.check_output(f"systemctl start '{DUMP}.service' dpkg-db-backup.service")
    assert eventually(lambda: (known("last_result"), known("last_result", "packages")))
    assert (known("last_result"), known("last_result", "packages")) == ("success", "success")
    # The deadline follows the host's own timer, without a rollout.
    host.check_output(f"sed -i s/04:30/05:30/ '{dump}'; systemctl daemon-reload")
    host.check_output(f"systemctl restart '{DUMP}.timer'; systemctl start '{DUMP}.service'")
    assert (known("deadline_timestamp_seconds") - 600) % 86400 == 5.5 * 3600
    assert host.run(f"touch /srv/fail; systemctl start '{DUMP}.service'").rc != 0
    assert (known("last_result"), known("last_exit_code")) == ("exit-code", 1)
    host.check_output(f"sed -i s/05:30/04:30/ '{dump}'; systemctl daemon-reload")
    done = declare([{**ADOPTED[0], "unit": "dpkg-db-bakup.service"}])
    assert (done.status != 0, done.changed(copy.name)) == (True, 0)
    assert "no unit dpkg-db-bakup.service on this host; did you mean dpkg-db-" in done.message
    host.check_output(f"rm /srv/fail; systemctl reset-failed; systemctl stop '{DUMP}.timer'")
    done = declare(ADOPTED)
    assert f"no active timer starts {DUMP}.service" in done.message.replace("\\\\", "\\")
    assert declare([]).status == 0
    assert sorted(host.check_output(UNITS).splitlines()) == before


def test_refused_credentials_fail_the_rollout_with_a_clear_message(declare, copy):
    users = {"me": "$2b$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e"}
    web = {"basic_auth_users": users}
    ready = {"username": "me", "password": "correct horse"}
    secured = {"pushgateway_web_config": web, "pushgateway_ready": ready}
    assert copy.roll_out("pushgateway", **secured).status == 0
    credentials = {"username": "me", "password_file": "password"}
    wrong = declare(
        [DAILY],
        batch_job_gateway_defaults=credentials,
        batch_job_secret_files={"password": "battery staple\n"},
    )
    assert wrong.status != 0
    assert "answers 401 Unauthorized: it refuses the credentials" in wrong.message
    assert "battery staple" not in wrong.message
    right = declare(
        [DAILY],
        batch_job_gateway_defaults=credentials,
        batch_job_secret_files={"password": "correct horse\n"},
    )
    assert right.status == 0
