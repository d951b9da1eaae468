"""Run all scenarios in three rows: those that mostly wait go beside the others.

Molecule's own workers want a collection. The scenarios share a lab, but no node.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from lab import REPOSITORY, LabError, nodes
from lab.console import fail

BESIDE = (("alerts", "fresh", "grafana"), ("compose",))
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
        with tempfile.TemporaryDirectory() as directory, ExitStack() as logs:
            rows = []
            for names in BESIDE:
                chosen = [f"--scenario-name={name}" for name in names]
                log = logs.enter_context(tempfile.TemporaryFile())
                rows.append((names, start(Path(directory, names[0]), *chosen, log=log), log))
            others = [f"--exclude={name}" for names in BESIDE for name in names]
            statuses = [start(Path(directory, "others"), "--all", *others).wait()]
            for names, row, log in rows:
                statuses.append(row.wait())
                log.seek(0)
                print(f"==> What scenarios {', '.join(names)} said meanwhile", flush=True)
                sys.stdout.buffer.write(log.read())
        nodes.down(lab)
    except LabError as error:
        return fail(error)
    return max(statuses)


if __name__ == "__main__":
    sys.exit(main())
