"""The examples that are programs on one gateway, each run as its first lines say."""

import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from batch_job.outcome import SUCCESS

REPORTERS = Path(__file__).resolve().parents[1]


@pytest.fixture
def commands(tmp_path, batch_job, pushgateway):
    """Return the words of a run of each example, by its job."""
    database = tmp_path / "live.sqlite"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("create table orders (number integer)")
    where = [f"--gateway={pushgateway.url}", "--instance=node1"]
    size = 'echo "backup_size_bytes 1" >"$BATCH_JOB_METRICS"'
    return {
        "requests": [
            REPORTERS / "python_requests.py",
            *where,
            "requests",
            database,
            tmp_path / "one",
        ],
        "client": [
            REPORTERS / "python_prometheus_client.py",
            *where,
            "client",
            database,
            tmp_path / "two",
        ],
        "shell": [REPORTERS / "backup_directory.sh", "shell", REPORTERS, tmp_path / "three"],
        "pipeline": [REPORTERS / "ci/report_pipeline.sh"],
        "reporter": [batch_job, "run", *where, "--job", "reporter", "--", "sh", "-c", size],
    }


@pytest.mark.parametrize("is_backward", [False, True])
def test_no_example_keeps_another_from_reporting(
    commands, environment, pushgateway, complaints, is_backward
):
    given = environment(
        PUSHGATEWAY_URL=pushgateway.url,
        INSTANCE="node1",
        PIPELINE="pipeline",
        RESULT="success",
        STARTED=int(time.time()),
        BRANCH="main",
        DEFAULT_BRANCH="main",
    )
    for job in sorted(commands, reverse=is_backward):
        done = subprocess.run(commands[job], env=given, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), job
    for job in commands:
        assert pushgateway.result(job, "" if job == "pipeline" else "node1") == SUCCESS
    assert complaints(pushgateway.exposed()) == ""
