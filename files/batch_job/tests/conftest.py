"""The command line on a node of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from batch_job.spool import Spool
from programs import INSTANCE, NodeExporter, Pushgateway, free_port

PACKAGE = Path(__file__).resolve().parents[1]


class Node:
    """A host of jobs: its configuration, its kept reports and the command line on it."""

    def __init__(self, directory: Path) -> None:
        """Make one that knows no gateway."""
        self.config = directory / "etc"
        self.state = directory / "state"
        self.environment = {
            **{name: text for name, text in os.environ.items() if "BATCH_JOB" not in name},
            "PYTHONPATH": str(PACKAGE),
            "BATCH_JOB_STATE_DIRECTORY": str(self.state),
            "BATCH_JOB_CONFIG_DIRECTORY": str(self.config),
        }
        (self.config / "jobs").mkdir(parents=True)

    def configure(self, *urls: str) -> None:
        """Write the configuration with these gateways."""
        content = {"instance": INSTANCE, "gateways": [{"url": url} for url in urls]}
        (self.config / "config.json").write_text(json.dumps(content))

    def declare(self, name: str, **keys: Any) -> None:
        """Declare a job."""
        (self.config / "jobs" / f"{name}.json").write_text(json.dumps(keys))

    def command(self, *words: Any) -> list[str]:
        """Return the command line of `batch-job`."""
        return [sys.executable, "-m", "batch_job", *map(os.fsdecode, words)]

    def __call__(
        self, *words: Any, stdin: str = "", prefix: Any = (), **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run `batch-job` and return its exit status and output."""
        return subprocess.run(
            [*prefix, *self.command(*words)],
            env={**self.environment, **environment},
            input=stdin,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            check=False,
            timeout=30,
        )

    def start(self, *words: Any, prefix: Any = (), **options: Any) -> subprocess.Popen[bytes]:
        """Start `batch-job` with its output in a pipe."""
        options = {"env": self.environment, "stdout": subprocess.PIPE, **options}
        return subprocess.Popen([*prefix, *self.command(*words)], **options)

    def run(self, *command: str, job: str = "nightly") -> subprocess.CompletedProcess[str]:
        """Run a job that is due within a day."""
        return self("run", "--job", job, "--max-age", "26h", "--", *command)

    def kept(self) -> list[Any]:
        """Return the reports that wait."""
        return Spool(self.state).kept()


@pytest.fixture
def node(tmp_path: Path, pushgateway: Pushgateway) -> Node:
    """Return a node that reports to the real Pushgateway."""
    made = Node(tmp_path)
    made.configure(pushgateway.url)
    return made


@pytest.fixture(scope="session")
def shared_exporter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeExporter]:
    """Run one node_exporter for all tests."""
    running = NodeExporter(tmp_path_factory.mktemp("textfiles"), free_port())
    yield running
    running.stop()


@pytest.fixture
def exporter(shared_exporter: NodeExporter) -> Iterator[NodeExporter]:
    """Return a real node_exporter whose directory is empty, and which leaves nothing out."""
    shared_exporter.wipe()
    before = shared_exporter.errors()
    yield shared_exporter
    assert shared_exporter.errors() == before


def without(*capabilities: str) -> list[str]:
    """Return the start of a command line that gives up capabilities of root."""
    prefix = ["setpriv", "--bounding-set=" + ",".join(f"-{each}" for each in capabilities)]
    if not shutil.which("setpriv") or subprocess.run([*prefix, "true"], check=False).returncode:
        pytest.skip("root cannot give up its capabilities here: no setpriv, or it is refused")
    return prefix


@pytest.fixture
def unprivileged() -> list[str]:
    """Return the start of a command line after which file modes hold for root, too."""
    return without("dac_override", "dac_read_search") if os.geteuid() == 0 else []


@pytest.fixture
def cannot_signal_others() -> list[str]:
    """Return the start of a command line after which root must not signal other users."""
    if os.geteuid():
        pytest.skip("only root can run a command as somebody else")
    return without("kill")


@pytest.fixture
def systemd() -> None:
    """Skip a test where nobody knows calendars."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("this host has no systemd-analyze, so calendars cannot be tested here")
