"""The README is the metric contract: its tables against what the code does."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from batch_job import (
    delivery,
    exit_status,
    metrics,
    reporter,
    schedule,
    spool,
    state,
)
from batch_job.config import Job
from batch_job.gateway import Gateway
from batch_job.host import Host
from batch_job.outcome import RESULTS, SUCCESS, Outcome
from batch_job.registration import register
from batch_job.reporter import Reporter
from batch_job.schedule import Schedule
from batch_job.spool import Spool
from batch_job.state import State

PACKAGE = Path(__file__).parents[1]
README = (PACKAGE / "README.md").read_text()
DUE = Job("nightly", schedule=Schedule(max_age=60))
NEVER_DUE = Job("nightly")
REPORTS = ("start", "success", "failure", "register")


def rows(*head):
    """Return the rows of the table with a head, without backquotes."""
    line = re.escape(f"| {' | '.join(head)} |\n|{'---|' * len(head)}\n")
    [body] = re.findall(rf"^{line}((?:\|.*\n)+)", README, re.MULTILINE)
    rows = [line.strip("|").split("|") for line in body.replace("`", "").splitlines()]
    return {row[0].strip(): [cell.strip() for cell in row[1:]] for row in rows}


def ended(result, counted):
    costs = (1.5, 4096, 0, "No space left") if counted else (None, None, None, None)
    return Outcome(100, 130, 30, result, int(result != SUCCESS), *costs)


@pytest.fixture
def pushes(tmp_path):
    """Return a function from a report to the families and the method of its push."""
    seen = []

    def push(gateway, group, families, replace):
        seen.append(({family.name: family for family in families}, "PUT" if replace else "POST"))

    def pushes(report, job=DUE, counted=True, unit="x.service"):
        transport = SimpleNamespace(push=push, groups=lambda _gateway: {})
        host = Host(
            "node1",
            [Gateway("http://one")],
            Spool(tmp_path),
            State(tmp_path),
            transport=lambda _gateway: transport,
        )
        # Nothing of an earlier failure, which would have to be taken back.
        host.state.forget(job.name)
        seen.clear()
        reporter = Reporter(host, job, unit)
        if report == "register":
            register(host, [job], declared=False, dry_run=False)
        elif report == "start":
            reporter.started({"started": 100})
            reporter.finish()
        else:
            reporter.ended(ended(SUCCESS if report == "success" else "signal", counted), None)
        [(families, method)] = seen
        return families, method

    return pushes


def test_the_table_has_the_metrics_that_each_report_pushes(pushes):
    pushed = {}
    for report in REPORTS:
        full = pushes(report)[0]
        only = {
            "if due": set(full) - set(pushes(report, NEVER_DUE)[0]),
            "if counted": set(full) - set(pushes(report, counted=False)[0]),
            "if in a unit": set(full) - set(pushes(report, unit="")[0]),
        }
        for name, family in full.items():
            labels = ", ".join(family.samples[0].labels)
            row = pushed.setdefault(name, [labels, family.documentation, *[""] * len(REPORTS)])
            conditions = [condition for condition, names in only.items() if name in names]
            row[2 + REPORTS.index(report)] = " and ".join(conditions) or "yes"
            assert (family.type, row[0]) == ("gauge", labels)
    assert rows("metric", "labels", "meaning", *REPORTS) == pushed


@pytest.mark.parametrize("job", [DUE, NEVER_DUE], ids=["due", "never-due"])
@pytest.mark.parametrize("report", REPORTS)
def test_the_table_has_the_method_of_each_report(pushes, report, job):
    [_when, method, _effect] = rows("report", "when", "method", "effect on the group")[report]
    assert method == pushes(report, job)[1]


def test_every_metric_that_the_code_describes_is_in_the_table():
    names = {metrics.PREFIX + name for name in metrics.HELP}
    assert set(rows("metric", "labels", "meaning", *REPORTS)) == names


def test_the_table_has_every_result():
    assert tuple(rows("`result`", "the run")) == RESULTS


def test_the_table_has_the_metrics_of_jobs_that_rules_read():
    described = {name: [text] for name, text in metrics.WELL_KNOWN.items()}
    assert rows("metric", "meaning") == described


def test_the_tables_have_every_exit_status():
    commands = {exit_status.TIMED_OUT, exit_status.NOT_EXECUTABLE, exit_status.NOT_FOUND}
    run = {exit_status.USAGE, exit_status.LATER, *commands}
    assert set(rows("status", "of `run`")) == set(map(str, run))
    own = {number for number in vars(exit_status).values() if isinstance(number, int)}
    others = own - commands - {exit_status.SIGNALLED}
    assert set(rows("status", "of the other verbs")) == set(map(str, others))


def test_the_table_has_every_module():
    modules = {path.stem for path in (PACKAGE / "batch_job").glob("*.py")} - {"__init__"}
    assert set(rows("module", "what it does")) == modules


def test_grace_spool_and_limits_are_those_of_the_code():
    assert schedule.DEFAULT_GRACE == "30min"
    assert "default **grace is 30 minutes**" in README
    assert f"`{state.SYSTEM_DIRECTORY}/spool` | the spool: " in README
    assert f"at most {spool.MAX_SPOOL_BYTES >> 20} MiB" in README
    assert f"up to {metrics.MAX_OWN_BYTES >> 20} MiB and\n{metrics.MAX_OWN_LINES:,} lines" in README
    assert f"at most {delivery.REPORT_TIMEOUT_SECONDS:.0f} seconds for its reports" in README
    start, end = reporter.UNIT_START_TIMEOUT_SECONDS, reporter.UNIT_END_TIMEOUT_SECONDS
    assert f"a unit {start:.0f} seconds before its command and {end:.0f} after it" in README
