"""Run all scenarios in two rows: `alerts`, which mostly waits, has short ones behind it.

Molecule's own workers want a collection. The scenarios share a lab, but no node.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO

from lab import REPOSITORY, LabError, nodes
from lab.console import fail

BESIDE = ("alerts", "fresh", "grafana")
TEST = ("molecule", "test", "--destroy=never", "--report", "--no-command-borders")


def start(state: Path, *scenarios: str, log: IO[bytes] | None = None) -> subprocess.Popen[bytes]:
    """Start scenarios with a state of their own.

    A run that was killed leaves one that believes in nodes which are gone.
    """
    return subprocess.Popen(
        [*TEST, *scenarios],
        cwd=REPOSITORY,
        env={**os.environ, "MOLECULE_EPHEMERAL_DIRECTORY": str(state)},
        stdout=log,
        stderr=subprocess.STDOUT if log else None,
    )


def main() -> int:
    """Run on new nodes, which are removed again; 0 if every scenario passed."""
    lab = nodes.LABS["molecule"]
    try:
        nodes.down(lab)
        nodes.up(lab)
        with tempfile.TemporaryDirectory() as directory, tempfile.TemporaryFile() as log:
            chosen = [f"--scenario-name={name}" for name in BESIDE]
            beside = start(Path(directory, "beside"), *chosen, log=log)
            others = [f"--exclude={name}" for name in BESIDE]
            working = start(Path(directory, "working"), "--all", *others)
            statuses = [working.wait(), beside.wait()]
            log.seek(0)
            print(f"==> What scenarios {', '.join(BESIDE)} said meanwhile", flush=True)
            sys.stdout.buffer.write(log.read())
        nodes.down(lab)
    except LabError as error:
        return fail(error)
    return max(statuses)


if __name__ == "__main__":
    sys.exit(main())
