"""What a report costs: `batch-job run` beside other clients, all against one local Pushgateway."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from lab import REPOSITORY, LabError
from lab.console import step
from programs import Pushgateway, free_port

# Of `batch-job run -- true`, which pushes twice.
AIM_MILLISECONDS, AIM_MEGABYTES = 150, 30
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
# A process's peak memory is at least that of the one that started it: this one is small.
COST = """
import os, sys, time
started = time.perf_counter()
pid = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(pid, 0)
print((time.perf_counter() - started) * 1000, usage.ru_maxrss / 1024, status)
"""


def build(path: Path) -> None:
    """Build the reporter into one file, as the role does, for this Python."""
    for folder in ("library", "lookup_plugins"):
        sys.path.insert(0, str(REPOSITORY / "roles" / "batch_job" / folder))
    import python_zipapp
    from reporter_sources import sources

    wanted = {**sources(), python_zipapp.COMPILED_BY: python_zipapp.compiler()}
    python_zipapp.build(path, f"{sys.executable} -IS", wanted)


def cost(argv: Sequence[str], environment: Mapping[str, str]) -> tuple[float, float]:
    """Return milliseconds and megabytes of a command. Raises LabError when it fails."""
    command = [sys.executable, "-IS", "-c", COST, *argv]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    milliseconds, megabytes, status = done.stdout.split()
    if status != "0":
        raise LabError(f"`{' '.join(argv)}` failed")
    return float(milliseconds), float(megabytes)


def measure(rounds: int = 31) -> str:
    """Return medians of many rounds with one of each client in turn."""
    with tempfile.TemporaryDirectory() as directory:
        reporter = Path(directory, "batch-job")
        build(reporter)
        gateway = Pushgateway(Path(directory), free_port())
        push = f"{gateway.url}/metrics/job"
        environment = {**os.environ, "BATCH_JOB_STATE_DIRECTORY": directory}
        run = [str(reporter), "run", "--gateway", gateway.url, "--max-age", "26h", "--job", "a"]
        clients = {
            "python3 -IS -c pass": [sys.executable, "-IS", "-c", "pass"],
            "curl, one push": ["curl", "-sf", "-X", "PUT", "--data", "u 1\n", f"{push}/curl"],
            "prometheus_client, one push": [sys.executable, "-c", BY_LIBRARY, gateway.url],
            "requests, one push": [sys.executable, "-c", BY_REQUESTS, f"{push}/requests"],
            "batch-job run, two pushes": [*run, "--", "true"],
        }
        costs: dict[str, list[tuple[float, float]]] = {name: [] for name in clients}
        try:
            with step(f"{rounds} rounds of {len(clients)} clients"):
                for _ in range(rounds):
                    for name, argv in clients.items():
                        costs[name].append(cost(argv, environment))
        finally:
            gateway.stop()
    text = f"medians of {rounds} rounds\n\n{'whole process':29}  wall time   memory\n"
    for name, measured in costs.items():
        wall, memory = (median(each) for each in zip(*measured, strict=True))
        text += f"{name:29}  {wall:6.0f} ms  {memory:4.0f} MB\n"
    return f"{text}{'aim for batch-job':29}  {AIM_MILLISECONDS:6} ms  {AIM_MEGABYTES:4} MB\n"
