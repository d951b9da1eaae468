"""Report what this machine lacks, before anything is changed.

Runs with the system's Python and its standard library, because it comes before `.venv`.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

COMPOSE = Path(__file__).resolve().parents[2] / "compose"
MOUNTED = (
    "compose/jobs",
    "compose/webhook",
    "files/dashboards",
    "files/reporters",
    "files/rules",
    "files/runbooks",
)
DEMO_PORTS = {9090: "Prometheus", 9091: "Pushgateway", 9093: "Alertmanager"}


def missing_python(version: tuple[int, int], has_ensurepip: bool) -> Iterator[str]:
    """Yield what keeps this Python from creating the virtual environment."""
    if version < (3, 11):
        yield (
            f"Python 3.11 or later is needed, this is {version[0]}.{version[1]}: install it and "
            "run `make PYTHON=/path/to/python3 ...`."
        )
    if not has_ensurepip:
        yield "Python's venv module cannot create environments: apt-get install python3-venv"


def missing_engine(
    reachable: bool, docker_host: str | None, is_root: bool, has_apt: bool, has_cli: bool
) -> Iterator[str]:
    """Yield what keeps the lab from reaching, or installing, a Docker Engine."""
    if reachable and not has_cli and not (is_root and has_apt):
        yield "Docker Engine answers, but its command line is missing: install the `docker` CLI."
    if reachable:
        return
    if docker_host:
        yield f"DOCKER_HOST={docker_host} does not answer: start that engine, or unset DOCKER_HOST."
    elif not (is_root and has_apt):
        yield (
            "Docker Engine does not answer on /var/run/docker.sock. Install it "
            "(https://docs.docker.com/engine/install/) and add yourself to the `docker` group, "
            "or run as root on Debian or Ubuntu, where the lab installs docker.io itself."
        )


def engine_answers() -> bool:
    """Return whether a local engine's socket accepts a connection; a remote one is trusted."""
    host = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    if not host.startswith("unix://"):
        return True
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(5)
        try:
            probe.connect(host.removeprefix("unix://"))
        except OSError:
            return False
    return True


def taken_ports(ports: Mapping[int, str]) -> Iterator[str]:
    """Yield the ports, of the named services, on which something else already listens."""
    for port, service in ports.items():
        with socket.socket() as probe:
            probe.settimeout(2)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                yield f"Port {port} ({service}) is in use on 127.0.0.1: stop what listens there."


def demo_runs() -> bool:
    """Return whether the demo itself may listen on its ports."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return (cache / "batch-job-lab" / "inventory-demo.json").exists()


def compose_ports() -> dict[int, str]:
    """Return the ports of the Compose stack, from the environment or else compose/.env."""
    lines = (COMPOSE / ".env").read_text().splitlines()
    settings = (line.split("=", 1) for line in lines if "_PORT=" in line)
    return {
        int(os.environ.get(name, port)): f"{name.removesuffix('_PORT').capitalize()}, {name}"
        for name, port in settings
    }


def compose_runs() -> bool:
    """Return whether the Compose stack itself may listen on its ports."""
    project = os.environ.get("COMPOSE_PROJECT_NAME", "batch-jobs")
    label = f"label=com.docker.compose.project={project}"
    if shutil.which("docker") is None:
        return False
    argv = ["docker", "ps", "--quiet", "--filter", label]
    return bool(subprocess.run(argv, capture_output=True, check=False).stdout)


def closed_folders(repository: Path) -> Iterator[str]:
    """Yield what keeps the users of containers from reading what they mount of a clone."""
    folders = [repository / folder for folder in MOUNTED]
    closed = [str(folder) for folder in folders if folder.stat().st_mode & 0o005 != 0o005]
    if closed:
        yield f"The users of containers cannot read these: chmod -R go+rX {' '.join(closed)}"


def main(arguments: list[str]) -> int:
    """Print every problem; 0 when there is none.

    `engine` also asks for a Docker Engine, `demo` and `compose` for that and for their ports.
    """
    has_ensurepip = importlib.util.find_spec("ensurepip") is not None
    problems = list(missing_python(sys.version_info[:2], has_ensurepip))
    if arguments:
        problems += missing_engine(
            reachable=engine_answers(),
            docker_host=os.environ.get("DOCKER_HOST"),
            is_root=os.geteuid() == 0,
            has_apt=shutil.which("apt-get") is not None,
            has_cli=shutil.which("docker") is not None,
        )
    if "demo" in arguments and not demo_runs():
        problems += taken_ports(DEMO_PORTS)
    if "compose" in arguments:
        problems += closed_folders(COMPOSE.parent)
        if not compose_runs():
            problems += taken_ports(compose_ports())
    for problem in problems:
        print(f"ERROR: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
