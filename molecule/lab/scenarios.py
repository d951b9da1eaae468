"""Run scenarios: molecule rolls out, pytest tests. `make molecule` calls this.

Scenarios share a lab but no node, so several run at the same time: most of them mostly wait.
Without names it runs all of them on new nodes and removes those. With names it keeps the nodes,
so that the next run takes seconds.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import IO, NamedTuple

import yaml

from batch_job.tables import aligned
from lab import REPOSITORY, LabError, nodes
from lab.console import fail

FOLDER = REPOSITORY / "molecule"
AT_A_TIME = 4
# Those that mostly wait, then the others, the longest first. One that is not here begins first.
BY_LENGTH = ("alerts", "services", "fresh", "jobs", "grafana", "site", "compose")


class Step(NamedTuple):
    """A step of a scenario that has ended."""

    name: str
    status: int
    seconds: float


def names() -> list[str]:
    """Return the names of all scenarios that test something, the longest first."""
    found = {path.parent.name for path in FOLDER.glob("*/molecule.yml")} - {"default"}
    return sorted(found, key=lambda name: BY_LENGTH.index(name) if name in BY_LENGTH else -1)


def hosts(scenario: str) -> set[str]:
    """Return the names of the nodes that a scenario rolls out to; `compose` has none."""
    directory = FOLDER / scenario / "inventory"

    def walk(tree: object) -> Iterator[str]:
        for key, value in tree.items() if isinstance(tree, dict) else ():
            yield from (value or ()) if key == "hosts" else walk(value)

    if not (directory / "lab.py").exists():
        return set()
    return set(walk(yaml.safe_load((directory / "hosts.yml").read_text())))


def steps(scenario: str) -> list[str]:
    """Return the steps that a scenario's `molecule.yml` names."""
    config = yaml.safe_load((FOLDER / scenario / "molecule.yml").read_text())
    return list(config["scenario"]["test_sequence"])


def command(scenario: str, step: str, arguments: Sequence[str]) -> list[str]:
    """Return the command of a step; `arguments` are pytest's."""
    if step == "verify":
        return ["pytest", *arguments, str(FOLDER / scenario / "tests")]
    return ["molecule", step.replace("_", "-"), f"--scenario-name={scenario}"]


def run(scenario: str, arguments: Sequence[str], log: IO[bytes] | None) -> list[Step]:
    """Run the steps of a scenario until one fails; print to a log, or else for all to see.

    Molecule gets a state of its own: that of a run that was killed believes in nodes that are gone.
    """
    done: list[Step] = []
    with tempfile.TemporaryDirectory() as state:
        for step in steps(scenario):
            started = time.monotonic()
            status = subprocess.run(
                command(scenario, step, arguments),
                cwd=REPOSITORY,
                env={**os.environ, "MOLECULE_EPHEMERAL_DIRECTORY": state, "LAB": "molecule"},
                stdout=log,
                stderr=subprocess.STDOUT if log else None,
                check=False,
            ).returncode
            done.append(Step(step, status, time.monotonic() - started))
            if status:
                break
    return done


def run_all(scenarios: Iterable[str], arguments: Sequence[str]) -> dict[str, list[Step]]:
    """Run scenarios beside each other; print what each has printed when it has ended."""
    done: dict[str, list[Step]] = {}
    with tempfile.TemporaryDirectory() as directory, ThreadPoolExecutor(AT_A_TIME) as pool:

        def logged(scenario: str) -> list[Step]:
            with Path(directory, scenario).open("wb") as log:
                announce(f"Scenario {scenario} begins")
                return run(scenario, arguments, log)

        runs = {pool.submit(logged, scenario): scenario for scenario in scenarios}
        for ended in as_completed(runs):
            scenario = runs[ended]
            done[scenario] = ended.result()
            announce(f"Scenario {scenario} printed")
            sys.stdout.buffer.write(Path(directory, scenario).read_bytes())
            announce(f"Scenario {scenario} {verdict(done[scenario])}")
    return done


def announce(text: str) -> None:
    """Print a line in one piece: several threads do."""
    sys.stdout.write(f"==> {text}\n")
    sys.stdout.flush()


def verdict(done: Sequence[Step]) -> str:
    """Return how a scenario ended, for people."""
    seconds = sum(step.seconds for step in done)
    return f"{'failed' if done[-1].status else 'passed'} in {seconds:.0f} s"


def table(done: dict[str, list[Step]]) -> str:
    """Return a line for each scenario with the seconds of each step."""
    rows = [
        (name, verdict(steps), *(f"{step.name} {step.seconds:.0f} s" for step in steps))
        for name, steps in done.items()
    ]
    width = max(map(len, rows))
    return "\n".join(aligned([(*row, *[""] * (width - len(row))) for row in rows]))


def main() -> int:
    """Run scenarios; 0 if every one passed."""
    parser = argparse.ArgumentParser(prog="scenarios", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*names(), []], help="all by default")
    parser.add_argument("--tests", default="", help="arguments for pytest, such as '-k reload'")
    options = parser.parse_args()
    lab = nodes.LABS["molecule"]
    chosen = options.names or names()
    arguments = shlex.split(options.tests)
    try:
        if not options.names:
            nodes.down(lab)
        nodes.up(lab, only={host for name in chosen for host in hosts(name)})
        if len(chosen) == 1:
            done = {chosen[0]: run(chosen[0], arguments, None)}
        else:
            done = run_all(chosen, arguments)
        if not options.names:
            nodes.down(lab)
    except LabError as error:
        return fail(error)
    print(f"\n{table(done)}", flush=True)
    if options.names:
        print("The nodes go on running; `python -m lab down molecule` removes them.")
    return max(steps[-1].status for steps in done.values())


if __name__ == "__main__":
    sys.exit(main())
