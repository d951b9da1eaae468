"""The command line from end to end: what it logs, what arrives, and the exit status."""

import ast
import os
import subprocess
import time
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import batch_job

RUN = ("run", "--job", "nightly")
ENDED_WELL = {"SERVICE_RESULT": "success", "EXIT_CODE": "exited", "EXIT_STATUS": "0"}
SOURCES = sorted((Path(__file__).parents[1] / "batch_job").glob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_the_oldest_python_of_a_job_host_can_read_the_source(path):
    ast.parse(path.read_text(), feature_version=(3, 9))


def test_no_module_imports_itself_through_others():
    modules = {path.stem for path in SOURCES}
    imports = {}
    for path in SOURCES:
        nodes = ast.walk(ast.parse(path.read_text()))
        statements = [node for node in nodes if isinstance(node, ast.ImportFrom)]
        names = {node.module.partition("batch_job.")[2] for node in statements}
        for node in statements:
            names |= {alias.name for alias in node.names if node.module == "batch_job"}
        imports[path.stem] = names & modules
    assert set(TopologicalSorter(imports).static_order()) == modules
    assert imports["transport"] >= {"pushgateway", "textfile"}


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("fly",),
        ("run", "--job", "nightly"),
        ("run", "--job", "nightly", "--"),
        ("run", "--", "touch", "ran"),
        ("run", "--job", "a/b", "--", "touch", "ran"),
        ("run", "--job", "..", "--", "touch", "ran"),
        ("run", "--job", "x", "--instance", "a b", "--", "touch", "ran"),
        ("run", "--job", "x", "--max-age", "soon", "--", "touch", "ran"),
        ("run", "--job", "x", "--grace", "0h", "--", "touch", "ran"),
        ("run", "--job", "x", "--severity", "page", "--", "touch", "ran"),
        ("run", "--job", "x", "--max-age", "1h", "--on-calendar", "daily", "--", "touch", "ran"),
        ("run", "--job", "x", "--max-age", "1h", "--every", "1h", "--", "touch", "ran"),
        ("run", "--job", "x", "touch", "ran"),
        ("register",),
        ("register", "--job", "x", "--all"),
        ("push",),
    ],
    ids=" ".join,
)
def test_arguments_that_make_no_sense_are_64_and_run_nothing(node, tmp_path, words):
    done = subprocess.run(
        node.command(*words), env=node.environment, cwd=tmp_path, capture_output=True, check=False
    )
    assert done.returncode == 64
    assert b"usage: batch-job" in done.stderr
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("verb", ["run", "start", "register", "push", "status", "check"])
def test_every_verb_explains_itself(node, verb):
    done = node(verb, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: batch-job {verb}")


def one_line(done):
    assert done.stderr.startswith("batch-job: ")
    return done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("configuration", "reason"),
    [("{", "config.json"), ('{"gateways": []}', "no gateway is configured")],
)
def test_a_configuration_without_a_gateway_costs_the_report_alone(node, configuration, reason):
    (node.config / "config.json").write_text(configuration)
    done = node(*RUN, "--", "sh", "-c", "echo out; exit 3")
    assert (done.returncode, done.stdout) == (3, "out\n")
    assert one_line(done)
    assert reason in done.stderr


def test_a_broken_declaration_costs_the_job_nothing(node):
    node.declare("nightly", grace="soon")
    done = node(*RUN, "--", "sh", "-c", "exit 3")
    assert done.returncode == 3
    assert "grace: 'soon' is not a duration" in done.stderr


def test_a_bad_calendar_costs_the_deadline_alone(node, pushgateway, systemd):
    node.run("true")
    stood = pushgateway.values("nightly")["deadline_timestamp_seconds"]
    done = node(*RUN, "--on-calendar", "no day", "--", "true")
    assert done.returncode == 0
    assert one_line(done)
    assert "its next deadline is unknown" in done.stderr
    assert pushgateway.values("nightly")["deadline_timestamp_seconds"] == stood


def test_a_configuration_that_may_not_be_read_costs_the_job_nothing(node, unprivileged):
    node.config.chmod(0)
    done = node(*RUN, "--", "sh", "-c", "exit 3", prefix=unprivileged)
    node.config.chmod(0o700)
    assert done.returncode == 3


def test_a_state_directory_that_may_not_be_entered_costs_no_report(node, pushgateway, unprivileged):
    node.state.mkdir(0)
    done = node(*RUN, "--", "sh", "-c", "exit 3", prefix=unprivileged)
    node.state.chmod(0o700)
    assert done.returncode == 3
    assert pushgateway.values("nightly")["last_exit_code"] == 3


@pytest.mark.parametrize("options", [(), ("--lock",)], ids=["plain", "locked"])
def test_a_disk_that_takes_nothing_costs_no_report(node, pushgateway, options):
    done = node(*RUN, *options, "--state-directory", "/dev/null/x", "--", "sh", "-c", "exit 3")
    assert done.returncode == 3
    assert pushgateway.values("nightly")["last_exit_code"] == 3


def test_a_dead_gateway_and_a_full_disk_cost_the_job_nothing(node, dead_url):
    node.configure(dead_url)
    done = node(*RUN, "--state-directory", "/dev/null/x", "--", "sh", "-c", "echo out; exit 3")
    assert (done.returncode, done.stdout) == (3, "out\n")
    assert "the report is lost" in done.stderr


def test_last_success_and_deadline_survive_a_failure(node, pushgateway):
    node.run("true")
    before = pushgateway.values("nightly")
    assert node.run("false").returncode == 1
    found = pushgateway.values("nightly")
    for name in ("last_success_timestamp_seconds", "deadline_timestamp_seconds"):
        assert found[name] == before[name]
    assert (found["last_exit_code"], pushgateway.result("nightly")) == (1, "exit-code")
    assert found["last_completion_timestamp_seconds"] > found["last_success_timestamp_seconds"]


def test_a_success_takes_away_what_it_no_longer_sends(node, pushgateway):
    node.run("sh", "-c", 'echo "old 1" > "$BATCH_JOB_METRICS"')
    node.run("sh", "-c", 'echo "new 1" > "$BATCH_JOB_METRICS"')
    found = pushgateway.values("nightly")
    assert found["new"] == 1
    assert "old" not in found


def test_a_success_is_due_again_within_the_declared_time(node, pushgateway):
    node.declare("nightly", max_age="2h", owner="ops", kind="backup")
    node(*RUN, "--", "true")
    found = pushgateway.values("nightly")
    assert found["deadline_timestamp_seconds"] == pytest.approx(
        found["last_success_timestamp_seconds"] + 7200
    )
    labels = pushgateway.families("nightly")["batch_job_info"][0]["labels"]
    assert (labels["owner"], labels["kind"], labels["schedule"]) == ("ops", "backup", "within 2h")


@pytest.mark.parametrize("option", ["--max-age", "--due-within"])
def test_the_maximum_age_has_kept_its_old_name(node, pushgateway, option):
    assert node(*RUN, option, "3h", "--", "true").stderr == ""
    labels = pushgateway.families("nightly")["batch_job_info"][0]["labels"]
    assert labels["schedule"] == "within 3h"


def test_options_go_before_the_declaration(node, pushgateway):
    node.declare("nightly", every="2h", owner="ops", max_runtime="1h", grace="1min")
    options = ("--max-age", "3h", "--owner", "dev", "--severity", "info", "--grace", "2min")
    node(*RUN, *options, "--", "true")
    labels = pushgateway.families("nightly")["batch_job_info"][0]["labels"]
    assert (labels["owner"], labels["severity"]) == ("dev", "info")
    assert labels["schedule"] == "within 3h"
    found = pushgateway.values("nightly")
    assert (found["max_runtime_seconds"], found["grace_seconds"]) == (3600, 120)


def test_a_calendar_on_the_command_line_is_in_the_hosts_time_zone(node, pushgateway, systemd):
    node.declare("nightly", on_calendar="daily", timezone="Asia/Tokyo")
    node(*RUN, "--on-calendar", "2050-01-01 UTC", "--grace", "1s", "--", "true")
    labels = pushgateway.families("nightly")["batch_job_info"][0]["labels"]
    assert labels["schedule"] == "2050-01-01 UTC"
    assert pushgateway.values("nightly")["deadline_timestamp_seconds"] == 2524608001


def test_an_interval_on_the_command_line_counts_from_the_start_of_the_run(node, pushgateway):
    node.declare("nightly", on_calendar="no day")
    node(*RUN, "--every", "3h", "--grace", "1min", "--", "sleep", "0.5")
    found = pushgateway.values("nightly")
    started = found["last_start_timestamp_seconds"]
    assert found["deadline_timestamp_seconds"] == pytest.approx(started + 3 * 3600 + 60, abs=0.1)


def test_options_go_before_the_environment_and_that_before_the_file(node, pushgateway, dead_url):
    node.configure(dead_url)
    command = ("--instance", "", "--", "true")
    assert node(*RUN, *command, BATCH_JOB_GATEWAY=pushgateway.url).stderr == ""
    assert pushgateway.result("nightly", instance="") == "success"
    options = ("--gateway", pushgateway.url, "--instance", "other1", "--", "true")
    assert node(*RUN, *options, BATCH_JOB_GATEWAY=dead_url).stderr == ""
    assert pushgateway.result("nightly", instance="other1") == "success"


def test_a_report_goes_to_every_gateway(node, pushgateway, dead_url):
    done = node(*RUN, "--gateway", dead_url, "--gateway", pushgateway.url, "--", "true")
    assert one_line_or_two(done)
    assert pushgateway.result("nightly") == "success"
    assert [kept.url for kept in node.kept()] == [dead_url]


def one_line_or_two(done):
    return 1 <= done.stderr.count("\n") <= 2


def test_credentials_come_from_files_that_the_environment_names(node, secure_gateway):
    done = node(
        *RUN,
        "--",
        "true",
        BATCH_JOB_GATEWAY=secure_gateway.url,
        BATCH_JOB_CA_FILE=secure_gateway.ca_file,
        BATCH_JOB_USERNAME=secure_gateway.username,
        BATCH_JOB_PASSWORD_FILE=secure_gateway.password_file,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_start_is_reported_while_the_command_runs(node, pushgateway, eventually):
    with node.start(*RUN, "--", "cat", stdin=subprocess.PIPE) as running:
        assert eventually(lambda: "last_start_timestamp_seconds" in pushgateway.values("nightly"))
        assert "last_exit_code" not in pushgateway.values("nightly")
        running.communicate()
    assert pushgateway.values("nightly")["last_exit_code"] == 0


def test_a_locked_job_does_not_run_twice_at_once(node, pushgateway, eventually):
    with node.start(*RUN, "--lock", "--", "cat", stdin=subprocess.PIPE) as running:
        assert eventually((node.state / "locks" / "nightly.lock").exists)
        assert eventually(lambda: "last_start_timestamp_seconds" in pushgateway.values("nightly"))
        second = node(*RUN, "--lock", "--", "echo", "ran")
        other = node("run", "--job", "other", "--lock", "--", "echo", "ran")
        running.communicate()
    assert (second.returncode, second.stdout) == (75, "")
    assert second.stderr == "batch-job: nightly: it is still running, this run is left out\n"
    assert (other.returncode, other.stdout) == (0, "ran\n")
    assert node(*RUN, "--lock", "--", "true").returncode == 0


def test_a_bad_line_of_a_job_is_logged_and_the_other_lines_are_pushed(node, pushgateway):
    script = 'printf "good 1\\nbad\\n" > "$BATCH_JOB_METRICS"'
    done = node(*RUN, "--", "sh", "-c", script)
    assert done.returncode == 0
    assert one_line(done)
    assert ".prom, line 2 is left out: not a metric line" in done.stderr
    assert pushgateway.values("nightly")["good"] == 1
    assert pushgateway.result("nightly") == "success"


def test_start_and_finish_report_the_run_of_a_unit(node, pushgateway, tmp_path):
    (tmp_path / "own.prom").write_text("backup_size_bytes 7\n")
    node.declare("nightly", max_age="1h")
    assert node("start", "--job", "nightly").returncode == 0
    started = pushgateway.values("nightly")["last_start_timestamp_seconds"]
    done = node("finish", "--job", "nightly", "--metrics-file", tmp_path / "own.prom", **ENDED_WELL)
    assert (done.returncode, done.stderr) == (0, "")
    found = pushgateway.values("nightly")
    assert found["last_completion_timestamp_seconds"] >= started
    assert (found["last_exit_code"], found["backup_size_bytes"]) == (0, 7)
    assert "deadline_timestamp_seconds" in found


def test_the_reporter_ignores_the_environment_of_a_unit(node, pushgateway, dead_url):
    node.configure(pushgateway.url)
    own = {"BATCH_JOB_GATEWAY": dead_url, "BATCH_JOB_INSTANCE": "x", "http_proxy": dead_url}
    words = ("finish", "--job", "nightly", "--state-directory", node.state)
    words += ("--config-directory", node.config)
    done = node(*words, INVOCATION_ID="0", **ENDED_WELL, **own)
    assert (done.returncode, done.stderr) == (0, "")
    assert pushgateway.result("nightly") == "success"


def test_finish_on_failure_reports_a_units_run_and_one_under_cron_has_no_unit(node, pushgateway):
    # As systemd.exec(5) describes them, of a unit that this host does not have.
    monitored = {"UNIT": "x.service", "SERVICE_RESULT": "exit-code", "EXIT_CODE": "exited"}
    monitored |= {"EXIT_STATUS": "200", "INVOCATION_ID": "0"}
    variables = {f"MONITOR_{name}": text for name, text in monitored.items()}
    done = node("finish", "--job", "nightly", "--on-failure", **variables)
    assert (done.returncode, done.stderr) == (0, "")
    assert pushgateway.result("nightly") == "start-failed"
    assert pushgateway.values("nightly")["last_exit_code"] == 200
    [info] = pushgateway.families("nightly")["batch_job_unit_info"]
    assert info["labels"]["unit"] == "x.service"
    # Without a unit, as under cron.
    node(*RUN, "--", "false")
    [info] = pushgateway.families("nightly")["batch_job_unit_info"]
    assert info["labels"].get("unit", "") == ""


def test_finish_reports_no_run_that_a_condition_left_out(node, pushgateway):
    assert node("finish", "--job", "nightly", SERVICE_RESULT="exec-condition").returncode == 0
    assert pushgateway.values("nightly") == {}


def test_finish_outside_of_a_unit_explains_itself(node):
    done = node("finish", "--job", "nightly")
    assert done.returncode == 70
    assert one_line(done)
    assert "is for ExecStopPost= of a unit" in done.stderr


def test_pushed_metrics_are_added_to_a_jobs(node, pushgateway):
    node.run("true")
    done = node("push", "--job", "nightly", stdin="backup_size_bytes 4096")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert pushgateway.values("nightly")["backup_size_bytes"] == 4096
    assert pushgateway.result("nightly") == "success"


def test_a_push_may_replace_a_jobs_metrics(node, pushgateway):
    pushgateway.add("nightly", "old 1\n")
    node("push", "--job", "nightly", "--replace", stdin="new 1\n")
    assert "old" not in pushgateway.values("nightly")
    assert pushgateway.values("nightly")["new"] == 1


@pytest.mark.parametrize("options", [(), ("--replace",)], ids=["add", "replace"])
def test_a_push_with_a_bad_line_pushes_nothing(node, pushgateway, options):
    pushgateway.add("nightly", "old 1\n")
    done = node("push", "--job", "nightly", *options, stdin="good 1\nbad\n")
    assert done.returncode == 65
    assert one_line(done)
    assert done.stderr.endswith("; nothing is pushed\n")
    assert "good" not in pushgateway.values("nightly")
    assert pushgateway.values("nightly")["old"] == 1


@pytest.mark.parametrize("options", [(), ("--replace",)], ids=["add", "replace"])
def test_a_push_that_a_gateway_rejects_is_bad_data_and_changes_nothing(node, pushgateway, options):
    pushgateway.add("other", "# TYPE size summary\nsize_sum 1\nsize_count 1\n")
    pushgateway.add("nightly", "old 1\n")
    done = node("push", "--job", "nightly", *options, stdin="x 1\n# TYPE size gauge\nsize 1\n")
    assert "inconsistent" in done.stderr
    assert pushgateway.values("nightly")["old"] == 1
    assert done.returncode == 65


def test_a_push_of_something_else_than_text_is_bad_data(node, pushgateway):
    done = subprocess.run(
        node.command("push", "--job", "nightly"),
        env=node.environment,
        input=b"good 1\nb\xe4d 1\n",
        capture_output=True,
        check=False,
    )
    assert done.returncode == 65
    assert pushgateway.values("nightly") == {}


def test_a_push_that_does_not_arrive_is_kept(node, dead_url):
    node.configure(dead_url)
    done = node("push", "--job", "nightly", stdin="x 1\n")
    assert done.returncode == 0
    assert one_line(done)
    assert len(node.kept()) == 1


def test_a_deleted_job_is_gone_with_all_that_is_kept_of_it(node, pushgateway, dead_url, eventually):
    node.run("true")
    node(*RUN, "--gateway", dead_url, "--", "true")
    assert len(node.kept()) == 1
    assert node("delete", "--job", "nightly").returncode == 0
    assert eventually(lambda: pushgateway.values("nightly") == {})
    assert node.kept() == []
    assert "nightly" not in node("status").stdout


def test_a_job_that_cannot_be_deleted_is_logged(node, dead_url):
    node.configure(dead_url)
    done = node("delete", "--job", "nightly")
    assert done.returncode == 75
    assert one_line(done)
    assert f"{dead_url} cannot be reached" in done.stderr


def test_a_gateway_that_lists_nothing_may_still_delete(node, stand_in_gateway):
    url, seen = stand_in_gateway(202)
    node.configure(url)
    assert node("delete", "--job", "nightly").returncode == 0
    assert seen[-1][0] == "DELETE"


def test_a_job_that_is_not_there_to_be_deleted_is_reported(node, pushgateway):
    node.run("true", job="other")
    done = node("delete", "--job", "nightly")
    words = f"nightly: {pushgateway.url} has nothing of instance 'node1'\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, words, "")
    assert node("delete", "--job", "other").stdout == ""


@pytest.mark.parametrize("verb", ["status", "flush"])
@pytest.mark.parametrize("name", ["jobs", "spool"])
def test_a_state_directory_that_may_not_be_read_is_logged(node, unprivileged, verb, name):
    (node.state / name).mkdir(parents=True)
    (node.state / name).chmod(0)
    done = node(verb, prefix=unprivileged)
    assert (done.returncode, done.stdout) == (77, "")
    assert done.stderr == f"batch-job: {node.state}/{name}: Permission denied\n"


def test_a_flush_sends_what_waits(node, start_pushgateway, port):
    node.configure(f"http://127.0.0.1:{port}")
    node.run("true", job="one")
    node.run("false", job="two")
    waiting = node("flush")
    assert (waiting.returncode, waiting.stdout) == (75, "0 kept reports delivered, 2 wait\n")
    returned = start_pushgateway(port)
    sent = node("flush")
    assert (sent.returncode, sent.stdout) == (0, "2 kept reports delivered, 0 wait\n")
    assert returned.result("one") == "success"
    assert returned.result("two") == "exit-code"
    assert node("flush").stdout == ""


def test_status_warns_of_reports_for_a_gateway_that_was_removed(node, pushgateway, dead_url):
    node.configure(dead_url)
    node.run("true")
    assert node("status").stderr == ""
    node.configure(pushgateway.url)
    done = node("status")
    assert one_line(done)
    assert f"reports wait for {dead_url}, which is no gateway of this host" in done.stderr


def test_the_next_report_of_any_job_takes_along_what_waits(node, start_pushgateway, port):
    node.configure(f"http://127.0.0.1:{port}")
    node.run("true", job="one")
    returned = start_pushgateway(port)
    node.run("true", job="two")
    assert returned.result("one") == "success"
    assert returned.values("one")["report_delay_seconds"] > 0
    assert node.kept() == []


def test_an_outage_loses_neither_last_success_nor_deadline(node, start_pushgateway, port):
    node.configure(f"http://127.0.0.1:{port}")
    node.run("true")
    node.run("false")
    returned = start_pushgateway(port)
    node("flush")
    found = returned.values("nightly")
    assert found["deadline_timestamp_seconds"] == pytest.approx(time.time() + 26 * 3600, abs=60)
    assert found["last_success_timestamp_seconds"] < found["last_completion_timestamp_seconds"]
    assert found["last_exit_code"] == 1


def test_a_damaged_kept_report_harms_nothing(node, pushgateway):
    (node.state / "spool").mkdir(parents=True)
    (node.state / "spool" / "damaged.json").write_text("{")
    assert node.run("true").stderr == ""
    assert node("flush").stdout == ""
    assert pushgateway.result("nightly") == "success"


def test_a_command_without_dashes_before_it_is_refused_with_a_hint(node):
    done = node(*RUN, "true")
    assert done.returncode == 64
    assert "the command goes after --" in done.stderr


def test_the_version_is_that_of_the_package(node):
    assert node("--version").stdout == f"batch-job {batch_job.__version__}\n"


def test_check_counts_what_is_fine(node):
    node.declare("nightly", max_age="1h")
    done = node("check")
    assert (done.returncode, done.stdout) == (0, "1 gateways, 1 declared jobs: fine\n")


def test_check_takes_a_gateway_of_the_command_line(node, dead_url):
    node.configure()
    assert "no gateway is configured" in node("check").stderr
    assert node("check", "--gateway", dead_url).stdout.startswith("1 gateways")


@pytest.mark.parametrize(
    ("declaration", "reason"),
    [
        ({"grace": "soon"}, "jobs/nightly.json: grace: "),
        ({"ownr": "x"}, "jobs/nightly.json: "),
        (
            {"user": "nobody-of-that-name"},
            "job nightly: there is no user 'nobody-of-that-name' here",
        ),
    ],
)
def test_check_names_the_declaration_that_means_nothing(node, declaration, reason):
    node.declare("nightly", **declaration)
    done = node("check")
    assert (done.returncode, done.stdout) == (78, "")
    assert one_line(done)
    assert reason in done.stderr


def test_check_names_a_bad_calendar(node, systemd):
    node.declare("nightly", on_calendar="no day")
    done = node("check")
    assert done.returncode == 78
    assert "'no day'" in done.stderr


@pytest.mark.parametrize("verb", [("status",), ("check",), ("flush",), ("register", "--all")])
def test_every_verb_logs_a_broken_configuration(node, verb):
    (node.config / "config.json").write_text("{")
    done = node(*verb)
    assert done.returncode == 78
    assert one_line(done)


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
def test_a_reader_that_closes_the_pipe_is_no_error(node, unbuffered):
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        node.command("status"),
        env={**node.environment, "PYTHONUNBUFFERED": unbuffered},
        stdout=write,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_secret_shows_up_nowhere(node, stand_in_gateway, tmp_path):
    (tmp_path / "token").write_text("hunter2\n")
    url, seen = stand_in_gateway(401)
    done = node(*RUN, "--gateway", url, "--token-file", tmp_path / "token", "--", "true")
    assert "Bearer hunter2" in seen[0][2]["Authorization"]
    assert "hunter2" not in done.stderr
    assert all("hunter2" not in kept.path.read_text() for kept in node.kept())
