"""Docker Engine: the one that runs; else, on Debian as root, install docker.io and start it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import docker
from docker.errors import DockerException

from clients import eventually
from lab import CACHE, LabError
from lab.console import run, step

PID_FILE = Path("/var/run/docker.pid")
STARTED_BY_LAB = CACHE / "dockerd.pid"


def connect() -> docker.DockerClient:
    """Return a client of an engine that answers; from here on, there is a cache directory.

    Raises LabError when there is none and none can be installed here.
    """
    CACHE.mkdir(parents=True, exist_ok=True)
    client = running()
    if client and shutil.which("docker"):
        return client
    if shutil.which("dockerd") is None or shutil.which("docker") is None:
        with step("Installing Docker Engine"):
            install("docker.io", "docker-cli")
    client = client or running()
    if client is None:
        with step("Starting Docker Engine"):
            _start()
            return eventually(running, timeout_seconds=60)
    return client


def install(*packages: str) -> None:
    """Install the given Debian packages as far as this Debian release has them."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise LabError(f"install these as root, then run this again: {' '.join(packages)}")
    os.environ["DEBIAN_FRONTEND"] = "noninteractive"
    run(["apt-get", "update"])
    known = [name for name in packages if run(["apt-cache", "search", "--names-only", f"^{name}$"])]
    run(["apt-get", "install", "--yes", "--no-install-recommends", *known])


def stop_if_unused(client: docker.DockerClient) -> None:
    """Stop the engine if the lab started it and no container is left on it."""
    if not STARTED_BY_LAB.exists() or client.containers.list(all=True):
        return
    pid = int(STARTED_BY_LAB.read_text())
    STARTED_BY_LAB.unlink()
    if is_dockerd(pid):
        with step("Stopping the Docker Engine that the lab started"):
            os.kill(pid, signal.SIGTERM)
            eventually(lambda: not is_dockerd(pid), timeout_seconds=60)


def is_dockerd(pid: int) -> bool:
    """Return whether `pid` is a running dockerd, and not another program that got its number."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    # One that has ended stays a zombie until the process that started it asks.
    return "Name:\tdockerd\n" in status and "State:\tZ" not in status


def running() -> docker.DockerClient | None:
    """Return a client of the engine that answers, or None."""
    try:
        client = docker.from_env()
        client.ping()
    except DockerException:
        return None
    return client


def _start() -> None:
    if Path("/run/systemd/system").is_dir():
        run(["systemctl", "start", "docker"])
        return
    # A killed dockerd leaves its pid file; a new one refuses to start when that number is in use.
    if PID_FILE.exists() and not is_dockerd(int(PID_FILE.read_text() or 0)):
        PID_FILE.unlink()
    with (CACHE / "dockerd.log").open("w") as log:
        daemon = subprocess.Popen(
            ["dockerd"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    STARTED_BY_LAB.write_text(str(daemon.pid))
    eventually(lambda: daemon.poll() is not None or running(), timeout_seconds=60)
    if daemon.poll() is not None:
        tail = "\n".join((CACHE / "dockerd.log").read_text().splitlines()[-10:])
        raise LabError(f"dockerd ended with status {daemon.returncode}:\n{tail}")
