"""Running a module as Ansible does, on this machine."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

from lab import REPOSITORY

Module = Callable[..., dict[str, Any]]


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Give a file's tests to one worker, but share the mutants of rules among all."""
    scheduler = LoadFileScheduling(config, log)
    by_file = scheduler._split_scope
    scheduler._split_scope = lambda test: test if "rule_mutants" in test else by_file(test)
    return scheduler


@pytest.fixture
def run_module(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Module]:
    """Return a function from a module's name to a function that runs it."""
    directory = tmp_path_factory.mktemp("ansible")

    def bind(name: str) -> Module:
        folders = [REPOSITORY / "playbooks", *REPOSITORY.glob("roles/*")]
        [script] = [path for folder in folders for path in folder.glob(f"library/{name}.py")]

        def run(check: bool = False, **arguments: Any) -> dict[str, Any]:
            arguments["_ansible_check_mode"] = check
            arguments["_ansible_diff"] = True
            arguments["_ansible_tmpdir"] = str(directory)
            done = subprocess.run(
                [sys.executable, str(script)],
                input=json.dumps({"ANSIBLE_MODULE_ARGS": arguments}),
                capture_output=True,
                text=True,
                check=False,
            )
            lines = done.stdout.splitlines()
            assert lines, done.stderr
            return dict(json.loads(lines[-1]))

        return run

    return bind
