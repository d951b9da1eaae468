"""What becomes of systemd's variables; see systemd.exec(5)."""

import time

import pytest

from batch_job import accounting, unit


def ended(service_result, exit_code="", exit_status="", start=()):
    variables = {
        "SERVICE_RESULT": service_result,
        "EXIT_CODE": exit_code,
        "EXIT_STATUS": exit_status,
    }
    return unit.ended({name: text for name, text in variables.items() if text}, dict(start))


@pytest.mark.parametrize(
    ("service_result", "exit_code", "exit_status", "result", "code"),
    [
        ("success", "exited", "0", "success", 0),
        # As with SuccessExitStatus=24.
        ("success", "exited", "24", "warning", 24),
        ("success", "killed", "TERM", "signal", 143),
        ("success", "", "", "start-failed", 126),
        ("success", "dumped", "ABRT", "signal", 134),
        ("exit-code", "exited", "3", "exit-code", 3),
        ("exit-code", "exited", "255", "exit-code", 255),
        ("exit-code", "exited", "199", "exit-code", 199),
        ("exit-code", "exited", "200", "start-failed", 200),
        ("exit-code", "exited", "203", "start-failed", 203),
        ("exit-code", "exited", "243", "start-failed", 243),
        ("exit-code", "exited", "244", "exit-code", 244),
        ("exit-code", "", "", "start-failed", 126),
        ("signal", "killed", "TERM", "signal", 143),
        ("signal", "killed", "KILL", "signal", 137),
        ("core-dump", "dumped", "SEGV", "signal", 139),
        ("timeout", "killed", "TERM", "timeout", 143),
        ("timeout", "exited", "0", "timeout", 124),
        ("timeout", "", "", "timeout", 124),
        ("watchdog", "killed", "ABRT", "timeout", 134),
        ("oom-kill", "killed", "KILL", "oom-kill", 137),
        ("oom-kill", "exited", "0", "oom-kill", 137),
        ("start-limit-hit", "", "", "start-failed", 126),
        ("resources", "", "", "start-failed", 126),
        ("protocol", "exited", "0", "start-failed", 126),
        ("a result of a later systemd", "exited", "1", "start-failed", 1),
    ],
)
def test_systemds_word_becomes_a_result_and_an_exit_code(
    service_result, exit_code, exit_status, result, code
):
    outcome = ended(service_result, exit_code, exit_status).judged(())
    assert (outcome.result, outcome.exit_code) == (result, code)


@pytest.mark.parametrize(
    ("service_result", "exit_code", "exit_status", "result", "code"),
    [
        # With and without SuccessExitStatus=3.
        ("success", "exited", "3", "warning", 3),
        ("exit-code", "exited", "3", "warning", 3),
        ("success", "exited", "0", "success", 0),
        ("exit-code", "exited", "4", "exit-code", 4),
        ("timeout", "exited", "3", "timeout", 3),
        ("signal", "killed", "TERM", "signal", 143),
    ],
)
def test_a_declaration_makes_a_warning_of_an_exit_code(
    service_result, exit_code, exit_status, result, code
):
    outcome = ended(service_result, exit_code, exit_status).judged({3, 143})
    assert (outcome.result, outcome.exit_code) == (result, code)


def test_a_run_that_a_condition_left_out_is_none():
    assert ended("exec-condition", "exited", "1") is None


def test_outside_of_a_unit_there_is_nothing_to_report():
    with pytest.raises(ValueError, match="SERVICE_RESULT is not set"):
        unit.ended({}, {})


def test_a_run_began_when_its_start_was_reported():
    began = time.time() - 60
    outcome = ended("start-limit-hit", start={"started": began})
    assert outcome.started <= outcome.ended
    assert outcome.duration_seconds == pytest.approx(outcome.ended - outcome.started)


@pytest.mark.parametrize(
    ("status", "code"),
    [("0", 0), ("255", 255), ("TERM", 143), ("HUP", 129), ("", None), ("NOSUCH", None)],
)
def test_an_exit_status_is_a_number_or_the_name_of_a_signal(status, code):
    assert unit.exit_code(status) == code


def test_a_signal_of_real_time_has_a_number_too():
    assert unit.exit_code("RTMIN+6") == 168


def test_what_a_start_costs_is_remembered():
    found = unit.started()
    assert found["started"] == pytest.approx(time.time(), abs=5)
    assert 0 < found["own_cpu_seconds"] < 60


def test_microseconds_that_never_were_are_no_moment():
    assert [unit._moment(text) for text in (None, "", "0", "[not set]")] == [None] * 4


def test_microseconds_of_the_monotonic_clock_become_unix_time():
    now = str(time.monotonic_ns() // 1000)
    assert unit._moment(now) == pytest.approx(time.time(), abs=1)


def test_a_unit_without_a_name_has_no_properties():
    assert unit.properties("") == {}


def test_times_and_cpu_are_systemds_and_the_reporters_own_cost_is_not_the_jobs():
    # A stand-in for systemctl, whose real answer has no CPU time on hosts that do not count it.
    clock = time.monotonic() * 1e6
    shown = {
        "ExecMainStartTimestampMonotonic": str(int(clock - 30e6)),
        "ExecMainExitTimestampMonotonic": str(int(clock - 10e6)),
        "CPUUsageNSec": str(int(7000e9)),
    }
    run = {"SERVICE_RESULT": "success", "EXIT_CODE": "exited", "EXIT_STATUS": "0"}
    outcome = unit.ended(run, {"own_cpu_seconds": 2.0}, show=lambda _unit: shown)
    assert outcome.ended == pytest.approx(time.time() - 10, abs=1)
    assert outcome.duration_seconds == pytest.approx(20, abs=0.1)
    assert outcome.cpu_seconds == pytest.approx(6998 - time.process_time(), abs=0.5)


@pytest.mark.parametrize("counted", ["[not set]", ""])
def test_uncounted_cpu_time_is_not_reported(counted):
    run = {"SERVICE_RESULT": "success", "EXIT_CODE": "exited", "EXIT_STATUS": "0"}
    outcome = unit.ended(run, {}, show=lambda _unit: {"CPUUsageNSec": counted})
    assert outcome.cpu_seconds is None


def test_the_unit_of_a_control_group_with_odd_bytes_is_found(tmp_path, monkeypatch):
    (tmp_path / "cgroup").write_bytes(b"\nodd\n0::/a\xff.slice/batch-job-x.service\n")
    monkeypatch.setattr(accounting, "OWN_CGROUP", tmp_path / "cgroup")
    assert accounting.unit() == "batch-job-x.service"


@pytest.mark.parametrize(
    ("cgroup", "name"),
    [
        ("0::/system.slice/batch-job-nightly.service", "batch-job-nightly.service"),
        (
            "0::/system.slice/system-backup.slice/backup@srv-a\\x2db.service/inner",
            r"backup@srv-a\x2db.service",
        ),
        ("0::/system.slice/_cpu.service", "cpu.service"),
        ("4:memory:/\n1:name=systemd:/system.slice/x.service\n0::/", "x.service"),
        ("0::/system.slice/docker-1.scope/system.slice/x.service", "x.service"),
        ("1:name=systemd:/docker/1\n0::/system.slice/containerd.service", ""),
        ("0::/system.slice/cron.service", ""),
        ("0::/system.slice/anacron.service", ""),
        ("0::/system.slice/actions.runner.a-b.service", ""),
        ("0::/user.slice/user-0.slice/session-1.scope", ""),
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/x.service", ""),
        ("0::/system.slice/caf\u00e9.service", ""),
        ("0::/", ""),
        ("", ""),
        (None, ""),
    ],
)
def test_a_run_belongs_to_a_unit_of_the_system_or_to_none(tmp_path, monkeypatch, cgroup, name):
    if cgroup is not None:
        (tmp_path / "cgroup").write_text(f"{cgroup}\n")
    monkeypatch.setattr(accounting, "OWN_CGROUP", tmp_path / "cgroup")
    assert accounting.unit_of_run({"INVOCATION_ID": "abc"}) == name
    assert accounting.unit_of_run({}) == ""


def test_a_clock_that_was_set_back_ends_no_run_before_its_start():
    outcome = ended("success", "exited", "0", {"started": time.time() + 3600})
    assert outcome.started == outcome.ended == pytest.approx(time.time(), abs=30)


def failed(service_result="exit-code", exit_status="200", **properties):
    variables = {
        "MONITOR_UNIT": "batch-job-nightly.service",
        "MONITOR_INVOCATION_ID": "abc",
        "MONITOR_SERVICE_RESULT": service_result,
        "MONITOR_EXIT_CODE": "exited",
        "MONITOR_EXIT_STATUS": exit_status,
        # That of the unit that reports, not of the one that failed.
        "INVOCATION_ID": "ghi",
    }
    stop_post = "{ path=/bin/batch-job ; ignore_errors=yes ; pid=1 ; code=exited ; status=200 }"
    shown = {"InvocationID": "abc", "ExecStopPost": stop_post, **properties}
    return unit.failed(variables, {"batch-job-nightly.service": shown}.__getitem__)


@pytest.mark.parametrize(
    ("service_result", "exit_status", "result", "code"),
    [
        ("exit-code", "200", "start-failed", 200),
        ("exit-code", "217", "start-failed", 217),
        ("exit-code", "226", "start-failed", 226),
        ("resources", "", "start-failed", 126),
        # The reporter was killed.
        ("exit-code", "3", "exit-code", 3),
    ],
)
def test_what_a_unit_could_not_report_is_reported_for_it(service_result, exit_status, result, code):
    outcome = failed(service_result, exit_status)
    assert (outcome.result, outcome.exit_code) == (result, code)
    assert outcome.ended == pytest.approx(time.time(), abs=5)
    assert (outcome.cpu_seconds, outcome.max_rss_bytes) == (None, None)


def test_a_unit_that_another_one_kept_from_starting_is_no_success():
    stop_post = "{ path=/bin/batch-job ; ignore_errors=yes ; pid=1 ; code=exited ; status=0 }"
    outcome = failed("success", "0", ExecStopPost=stop_post, ExecMainStartTimestampMonotonic="1")
    assert (outcome.result, outcome.exit_code) == ("start-failed", 126)
    assert outcome.started == pytest.approx(time.time(), abs=5)


def test_what_a_unit_has_reported_is_not_reported_again():
    stop_post = "{ path=/bin/batch-job ; ignore_errors=yes ; pid=1 ; code=exited ; status=0 }"
    assert failed(ExecStopPost=stop_post) is None


def test_a_run_that_another_one_has_followed_is_not_reported_late():
    assert failed(InvocationID="def") is None


def test_a_report_for_a_unit_needs_the_variables_of_on_failure():
    with pytest.raises(ValueError, match="SERVICE_RESULT is not set"):
        unit.failed({}, lambda _name: {})
