"""The examples that are programs, run as their first lines say, on one gateway."""

import re
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from batch_job import metrics
from batch_job.outcome import SUCCESS

REPORTERS = Path(__file__).resolve().parents[1]
JOBS = ["client", "pipeline", "reporter", "requests", "shell"]


@pytest.fixture
def run(tmp_path, batch_job, environment, finish, pushgateway):
    """Run the example of a job."""
    database = tmp_path / "live.sqlite"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("create table orders (number integer)")
    where = [f"--gateway={pushgateway.url}", "--instance=node1"]
    size = 'echo "backup_size_bytes 1" >"$BATCH_JOB_METRICS"'
    commands = {
        "client": ["python_prometheus_client.py", *where, "client", database, tmp_path / "one"],
        "pipeline": ["ci/report_pipeline.sh"],
        "reporter": [batch_job, "run", *where, "--job", "reporter", "--", "sh", "-c", size],
        "requests": ["python_requests.py", *where, "requests", database, tmp_path / "two"],
        "shell": ["backup_directory.sh", "shell", REPORTERS, tmp_path / "three"],
    }
    given = environment(
        PUSHGATEWAY_URL=pushgateway.url,
        INSTANCE="node1",
        PIPELINE="pipeline",
        RESULT="success",
        STARTED=int(time.time()),
        BRANCH="main",
        DEFAULT_BRANCH="main",
    )

    def to_its_end(job):
        program, *words = commands[job]
        done = finish([REPORTERS / program, *words], env=given)
        assert (done.returncode, done.stderr) == (0, ""), job

    return to_its_end


@pytest.mark.parametrize("order", [1, -1])
def test_no_example_keeps_another_from_reporting(run, pushgateway, order):
    for job in JOBS[::order]:
        run(job)
    for job in JOBS:
        assert pushgateway.result(job, "" if job == "pipeline" else "node1") == SUCCESS


@pytest.mark.parametrize("job", JOBS)
def test_an_example_explains_its_metrics_as_batch_job_does(run, pushgateway, complaints, job):
    run(job)
    exposed = pushgateway.exposed()
    assert complaints(exposed) == ""
    texts = {f"batch_job_{name}": text for name, text in metrics.HELP.items()} | metrics.WELL_KNOWN
    told = dict(re.findall(r"^# HELP (\S+) (.*)$", exposed, re.MULTILINE))
    assert "batch_job_last_result" in told
    assert told == {name: texts.get(name, text) for name, text in told.items()}
