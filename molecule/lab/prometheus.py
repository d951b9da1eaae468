"""A Prometheus that runs on this machine, on the configuration and the data in a directory."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from lab import releases
from lab.console import eventually


@dataclass(frozen=True)
class Server:
    """A Prometheus at a URL."""

    url: str

    def answer(self, path: str, **parameters: str) -> requests.Response:
        """Return the answer to a request. Raises requests.RequestException."""
        response = requests.get(f"{self.url}{path}", params=parameters, timeout=30)
        response.raise_for_status()
        return response


@contextmanager
def running(directory: Path, *flags: str) -> Iterator[Server]:
    """Run Prometheus on `prometheus.yml` and `data` in a directory, until the block ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    program = [str(releases.program("prometheus")), f"--web.listen-address={address}"]
    files = [f"--config.file={directory}/prometheus.yml", f"--storage.tsdb.path={directory}/data"]
    server = subprocess.Popen([*program, *files, "--log.level=error", *flags])
    try:
        found = Server(f"http://{address}")
        eventually(lambda: found.answer("/-/ready"), timeout_seconds=120)
        yield found
    finally:
        server.kill()
        server.wait()
