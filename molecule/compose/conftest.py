"""A Compose stack of the tests' own: another project, other ports, a fresh copy of the files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from docker.models.containers import Container

from lab import REPOSITORY, engine
from programs import free_port

PROJECT = "batch-jobs-test"
FOLDERS = ("compose", "files", "inventories", "molecule", "playbooks", "roles")
SERVICES = ("pushgateway", "prometheus", "alertmanager", "webhook", "grafana")


@dataclass(frozen=True)
class Stack:
    """A stack that runs on a copy of the repository."""

    directory: Path
    ports: dict[str, int]
    # What the latest command said.
    said: list[str]

    def __call__(self, command: str) -> None:
        """Run what `make compose-COMMAND` runs. Raises AssertionError unless it succeeds."""
        self.run(sys.executable, "-m", "lab.compose", command)

    def run(self, *command: str, **variables: str) -> None:
        """Run a command in the copy. Raises AssertionError unless it succeeds."""
        modules = ("molecule", "files/batch_job", "files/dashboards")
        environment = {
            **os.environ,
            "PYTHONPATH": ":".join(str(self.directory / each) for each in modules),
            "ANSIBLE_CONFIG": str(self.directory / "ansible.cfg"),
            "COMPOSE_PROJECT_NAME": PROJECT,
            **{f"{name.upper()}_PORT": str(port) for name, port in self.ports.items()},
            **variables,
        }
        done = subprocess.run(
            command,
            cwd=self.directory,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        self.said.append(done.stdout + done.stderr)
        assert done.returncode == 0, self.said[-1]

    def url(self, service: str) -> str:
        """Return the address of a service."""
        return f"http://127.0.0.1:{self.ports[service]}"

    def containers(self) -> list[Container]:
        """Return all its containers."""
        label = f"com.docker.compose.project={PROJECT}"
        return list(engine.connect().containers.list(all=True, filters={"label": label}))


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Start the stack, with everything as on a machine that never had one."""
    directory = tmp_path_factory.mktemp("repository")
    ours = shutil.ignore_patterns("generated", "secrets", "__pycache__", ".*_cache")
    for folder in FOLDERS:
        shutil.copytree(REPOSITORY / folder, directory / folder, symlinks=True, ignore=ours)
    shutil.copy(REPOSITORY / "ansible.cfg", directory)
    shutil.copy(REPOSITORY / "compose" / ".env", directory / "compose")
    started = Stack(directory, {name: free_port() for name in SERVICES}, [])
    try:
        started("up")
        yield started
    finally:
        started("clean")
