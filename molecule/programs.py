"""Services that run on this machine while a test or a benchmark needs them. Knows no node."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from prometheus_client.samples import Sample

import clients
from clients import eventually

# Where the lab unpacks the programs of its release mirror.
DIRECTORY = (
    Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "batch-job-lab" / "bin"
)
# A file system in memory, on Linux.
MEMORY = Path("/dev/shm")  # noqa: S108
# The host of groups that name no other.
INSTANCE = "node1"


def find(name: str) -> Path:
    """Return the path of a program: the lab's own, else the one on PATH.

    Raises FileNotFoundError if there is neither.
    """
    path = shutil.which(name, path=f"{DIRECTORY}{os.pathsep}{os.environ.get('PATH', '')}")
    if path is None:
        raise FileNotFoundError(
            f"no `{name}`: `make lab` puts it into {DIRECTORY}, or install it on PATH"
        )
    return Path(path)


def promtool(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run promtool and return its status, and all that it prints as `stdout`."""
    # A larger heap saves time, and so do databases in memory: there is one for each case.
    environment = os.environ | {"GOGC": "400"}
    if MEMORY.is_dir():
        environment["TMPDIR"] = str(MEMORY)
    return subprocess.run(
        [str(find("promtool")), *map(str, arguments)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def free_port() -> int:
    """Return a port of this machine on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def start(service: clients.Service, name: str, *flags: str) -> subprocess.Popen[bytes]:
    """Start a program and return its process once the service is ready.

    Raises ChildProcessError if it ends before.
    """
    process = subprocess.Popen([str(find(name)), "--log.level=error", *flags])
    eventually(
        lambda: process.poll() is not None or service.is_ready(),
        timeout_seconds=120,
        pause_seconds=0.02,
    )
    if process.poll() is not None:
        raise ChildProcessError(f"{name} ended with status {process.returncode}")
    return process


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a program and wait for its end."""
    process.terminate()
    process.wait()


class Pushgateway(clients.Pushgateway):
    """A Pushgateway on this machine."""

    def __init__(
        self, directory: Path, port: int, web_config: Any = None, prefix: str = "", **options: Any
    ) -> None:
        """Start it, below a path if there is a prefix; `options` are those of a Session."""
        scheme = "https" if web_config else "http"
        super().__init__(f"{scheme}://127.0.0.1:{port}{prefix}", INSTANCE, **options)
        flags = [
            f"--web.listen-address=127.0.0.1:{port}",
            f"--web.route-prefix={prefix}",
            "--web.enable-admin-api",
            f"--persistence.file={directory / 'metrics'}",
        ]
        if web_config:
            # JSON is YAML.
            (directory / "web.yml").write_text(json.dumps(web_config))
            flags.append(f"--web.config.file={directory / 'web.yml'}")
        self._process = start(self, "pushgateway", *flags)

    def stop(self) -> None:
        """End it; its file keeps the groups."""
        stop(self._process)


@contextmanager
def prometheus(
    directory: Path,
    *flags: str,
    port: int = 0,
    prefix: str = "",
    web_config: Any = None,
    **options: Any,
) -> Iterator[clients.Prometheus]:
    """Run Prometheus on `prometheus.yml` and `data` in a directory, until the block ends.

    It is below a path if there is a prefix; `options` are those of a Session.
    """
    address = f"127.0.0.1:{port or free_port()}"
    scheme = "https" if web_config else "http"
    service = clients.Prometheus(f"{scheme}://{address}{prefix}", **options)
    if web_config:
        # JSON is YAML.
        (directory / "web.yml").write_text(json.dumps(web_config))
        flags = (*flags, f"--web.config.file={directory / 'web.yml'}")
    process = start(
        service,
        "prometheus",
        f"--web.listen-address={address}",
        f"--config.file={directory}/prometheus.yml",
        f"--storage.tsdb.path={directory}/data",
        f"--web.route-prefix={prefix or '/'}",
        *flags,
    )
    try:
        yield service
    finally:
        # What it has stored goes with the directory.
        process.kill()
        process.wait()


class NodeExporter(clients.Service):
    """A node_exporter on this machine that exposes the text files of a directory alone."""

    def __init__(self, directory: Path, port: int) -> None:
        """Start it."""
        self.directory = directory
        self.gateway = f"file://{directory}"
        self.target = f"127.0.0.1:{port}"
        super().__init__(f"http://{self.target}")
        self._process = start(
            self,
            "node_exporter",
            "--collector.disable-defaults",
            "--collector.textfile",
            f"--collector.textfile.directory={directory}",
            f"--web.listen-address={self.target}",
        )

    def is_ready(self) -> bool:
        """Return whether it answers; it has no page for that."""
        try:
            return self.get("/metrics").ok
        except requests.ConnectionError:
            return False

    def stop(self) -> None:
        """End it."""
        stop(self._process)

    def wipe(self) -> None:
        """Remove all files."""
        for path in self.directory.iterdir():
            path.unlink()

    def errors(self) -> float:
        """Return how often it has left something out until now."""
        # The second is counted after the answer.
        names = ("node_textfile_scrape_error", "promhttp_metric_handler_errors_total")
        return sum(
            sample.value for name in names for sample in self.metrics() if sample.name == name
        )

    def samples(self, job: str, instance: str = INSTANCE) -> list[Sample]:
        """Return the samples of a job."""
        labels = {"job": job, "instance": instance}
        return [each for each in self.metrics() if labels.items() <= each.labels.items()]

    def values(self, job: str, instance: str = INSTANCE) -> dict[str, float]:
        """Return the values of a job's metrics."""
        samples = self.samples(job, instance)
        return {sample.name.replace("batch_job_", ""): sample.value for sample in samples}

    def result(self, job: str, instance: str = INSTANCE) -> str:
        """Return the result of a job's latest run."""
        name = "batch_job_last_result"
        [result] = [
            sample.labels["result"] for sample in self.samples(job, instance) if sample.name == name
        ]
        return result
