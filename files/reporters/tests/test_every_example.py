"""What holds for every example, in the shell and in Python, against a real Pushgateway."""

import importlib
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from batch_job.outcome import SUCCESS

REPORTERS = Path(__file__).resolve().parents[1]


class Example(NamedTuple):
    """An example, and how it goes on when its reports do not arrive."""

    program: str
    problem: str = "the run of nightly could not be reported: "
    timeout: str = r"timed out after \d{3} milliseconds"
    reports: int = 2
    status: int = 0


BACKUP = Example("backup_directory.sh")
PIPELINE = Example("ci/report_pipeline.sh", reports=1)
MINIMAL = Example(
    "push_minimal.sh", "records of nightly could not be pushed: ", reports=1, status=1
)
REQUESTS = Example("python_requests", timeout="timed out")
CLIENT = Example("python_prometheus_client", timeout="timed out")
EXAMPLES = [BACKUP, PIPELINE, MINIMAL, REQUESTS, CLIENT]


def examples(*chosen):
    return pytest.mark.parametrize("example", chosen, ids=lambda example: example.program)


# Those that report runs, and those to which a file tells what the gateway asks for.
runs = examples(BACKUP, PIPELINE, REQUESTS, CLIENT)
by_curl = examples(BACKUP, PIPELINE, MINIMAL)


@pytest.fixture(params=EXAMPLES, ids=lambda example: example.program)
def example(request):
    return request.param


@pytest.fixture
def module(example, monkeypatch):
    """Return an example in Python as a module, None for one in the shell."""
    monkeypatch.syspath_prepend(REPORTERS)
    return None if example.program.endswith(".sh") else importlib.import_module(example.program)


@pytest.fixture
def report(example, module, environment, finish, tmp_path, capsys):
    """Return a function that reports a success of a job, and returns exit status and output."""
    source = tmp_path / "source"
    source.mkdir()

    def in_a_shell(url, job, **variables):
        words = {
            BACKUP: [job, source, tmp_path / "archive.tar.gz"],
            PIPELINE: [],
            MINIMAL: [job, "records", "42"],
        }
        given = {"PUSHGATEWAY_URL": url, "INSTANCE": "", "PIPELINE": job, "RESULT": "success"}
        given |= {"STARTED": 1795420800, "BRANCH": "main", "DEFAULT_BRANCH": "main", **variables}
        done = finish([REPORTERS / example.program, *words[example]], env=environment(**given))
        return done.returncode, done.stdout + done.stderr

    def in_python(url, job, **variables):
        limit = variables.get("MAX_RUNTIME_SECONDS")
        with module.Reporter(url, job, max_runtime=limit).run():
            pass
        return 0, "".join(capsys.readouterr())

    return in_python if module else in_a_shell


def has_arrived(example, gateway, job="nightly"):
    if example == MINIMAL:
        return gateway.values(job, instance="")["records"] == 42
    return gateway.result(job, instance="") == SUCCESS


def test_any_job_arrives_under_its_name(example, report, pushgateway, odd_name):
    status, log = report(pushgateway.url, odd_name)
    if (example, odd_name) == (CLIENT, ".."):
        # The library sends it as a path, and the gateway cleans that path into another one.
        assert "the run of .. could not be reported: 30" in log
    else:
        assert (status, log) == (0, "")
        assert has_arrived(example, pushgateway, odd_name)


def test_a_gateway_may_be_below_a_path(example, report, prefixed_pushgateway):
    assert report(f"{prefixed_pushgateway.url}/", "nightly") == (0, "")
    assert has_arrived(example, prefixed_pushgateway)


def test_a_dead_gateway_is_logged(example, report, dead_url):
    status, log = report(dead_url, "nightly")
    assert (status, log.count(example.problem)) == (example.status, example.reports)


def test_a_silent_gateway_is_logged_after_the_time_out(
    example, module, report, silent, impatient_curl, monkeypatch
):
    if module:
        monkeypatch.setattr(module, "TIMEOUT", 0.05)
    status, log = report(silent, "nightly")
    assert (status, len(re.findall(example.timeout, log))) == (example.status, example.reports)


def test_a_redirect_is_logged_and_no_success(example, report, redirect):
    status, log = report(redirect, "nightly")
    assert (status, log.count(f"{example.problem}302")) == (example.status, example.reports)


@runs
def test_a_success_reports_all_that_the_contract_asks_for(report, pushgateway):
    report(pushgateway.url, "nightly", MAX_RUNTIME_SECONDS=60)
    values = pushgateway.values("nightly", instance="")
    assert (values["last_exit_code"], values["max_runtime_seconds"]) == (0, 60)
    assert values["last_success_timestamp_seconds"] == values["last_completion_timestamp_seconds"]
    lasted = values["last_completion_timestamp_seconds"] - values["last_start_timestamp_seconds"]
    assert values["last_duration_seconds"] == pytest.approx(lasted, abs=0.5)


@runs
def test_a_success_leaves_nothing_of_an_older_version(report, pushgateway):
    pushgateway.add("nightly", "abandoned 1\n", instance="")
    report(pushgateway.url, "nightly")
    assert "abandoned" not in pushgateway.values("nightly", instance="")


@runs
def test_a_refused_report_is_logged_with_the_reason(example, report, pushgateway):
    pushgateway.add("other", "# TYPE batch_job_last_result counter\nbatch_job_last_result 1\n")
    status, log = report(pushgateway.url, "nightly")
    assert (status, "400" in log) == (0, True)
    assert "batch_job_last_result" in log


@by_curl
def test_tls_and_a_password_come_from_a_file(example, report, secure_pushgateway, curl_config):
    secure_pushgateway.wipe()
    assert report(secure_pushgateway.url, "nightly", CURL_CONFIG=curl_config) == (0, "")
    assert has_arrived(example, secure_pushgateway)


@by_curl
def test_a_wrong_password_is_logged(example, report, secure_pushgateway, curl_config):
    curl_config.write_text(curl_config.read_text().replace("correct", "wrong"))
    status, log = report(secure_pushgateway.url, "nightly", CURL_CONFIG=curl_config)
    assert (status, log.count("401")) == (example.status, example.reports)
