"""What a report costs: `batch-job run` beside other clients, all against one local Pushgateway."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from lab import REPOSITORY, LabError
from lab.console import fail, step
from programs import Pushgateway, free_port

ROUNDS = 31
# Of `batch-job run -- true`, which pushes twice.
AIMS = {"milliseconds": 150, "megabytes": 30}

BY_REQUESTS = """
import sys, requests
requests.put(sys.argv[1], data="v 1\\nw 2\\nx 3\\ny 4\\nz 5\\n", timeout=5).raise_for_status()
"""
BY_LIBRARY = """
import sys
from prometheus_client import CollectorRegistry, Gauge, push_to_gateway
registry = CollectorRegistry()
for name in "abcde":
    Gauge(name, name, registry=registry).set(1)
push_to_gateway(sys.argv[1], job="library", registry=registry)
"""


def build(path: Path) -> None:
    """Build the reporter into one file, as the role does, for this Python."""
    for folder in ("library", "lookup_plugins"):
        sys.path.insert(0, str(REPOSITORY / "roles" / "batch_job" / folder))
    import python_zipapp
    from reporter_sources import sources

    wanted = {**sources(), python_zipapp.COMPILED_BY: python_zipapp.compiler()}
    python_zipapp.build(path, f"{sys.executable} -IS", wanted)


# A process's peak memory is at least that of the one that started it: this one is small.
MEASURE = """
import os, sys, time
started = time.perf_counter()
pid = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(pid, 0)
print((time.perf_counter() - started) * 1000, usage.ru_maxrss / 1024, status)
"""


def cost(argv: Sequence[str], environment: Mapping[str, str]) -> tuple[float, float]:
    """Return milliseconds and megabytes of a command. Raises LabError when it fails."""
    measure = [sys.executable, "-IS", "-c", MEASURE, *argv]
    done = subprocess.run(measure, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    milliseconds, megabytes, status = done.stdout.split()
    if status != "0":
        raise LabError(f"`{' '.join(argv)}` failed")
    return float(milliseconds), float(megabytes)


def main() -> int:
    """Measure and print; 0 unless a client fails. One of each in turn, many times."""
    with tempfile.TemporaryDirectory() as directory, ExitStack() as programs:
        gateway = Pushgateway(Path(directory), free_port())
        programs.callback(gateway.stop)
        url = gateway.url
        reporter = Path(directory, "batch-job")
        build(reporter)
        push = f"{url}/metrics/job"
        environment = {**os.environ, "BATCH_JOB_STATE_DIRECTORY": directory}
        run = [str(reporter), "run", "--gateway", url, "--max-age", "26h", "--job", "a"]
        clients = {
            "python3 -IS -c pass": [sys.executable, "-IS", "-c", "pass"],
            "curl, one push": ["curl", "-sf", "-X", "PUT", "--data", "u 1\n", f"{push}/curl"],
            "prometheus_client, one push": [sys.executable, "-c", BY_LIBRARY, url],
            "requests, one push": [sys.executable, "-c", BY_REQUESTS, f"{push}/requests"],
            "batch-job run, two pushes": [*run, "--", "true"],
        }
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in clients}
        try:
            with step(f"{ROUNDS} rounds of {len(clients)} clients"):
                for _ in range(ROUNDS):
                    for name, argv in clients.items():
                        found[name].append(cost(argv, environment))
        except LabError as error:
            return fail(error)
    print(f"\n{platform.machine()}, {os.cpu_count()} cores, medians of {ROUNDS} rounds\n")
    print(f"{'whole process':29}  wall time   memory")
    for name, costs in found.items():
        wall, memory = (median(each) for each in zip(*costs, strict=True))
        print(f"{name:29}  {wall:6.0f} ms  {memory:4.0f} MB")
    print(f"{'aim for batch-job':29}  {AIMS['milliseconds']:6} ms  {AIMS['megabytes']:4} MB\n")
    return 0
