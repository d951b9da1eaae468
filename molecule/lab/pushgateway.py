"""A Pushgateway that runs on this machine, and what its API tells of it."""

from __future__ import annotations

import json
import re
import socket
import subprocess
from pathlib import Path
from typing import Any

import requests

from lab import LabError, releases
from lab.console import eventually

# The host of groups, where a test says nothing else.
INSTANCE = "node1"


def free_port() -> int:
    """Return a port of this host on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Pushgateway:
    """A Pushgateway as its own API shows it."""

    def __init__(
        self, directory: Path, port: int, web_config: Any = None, prefix: str = "", **options: Any
    ) -> None:
        """Start it, below a path if there is a prefix; `options` are those of `requests`."""
        self.url = f"{'https' if web_config else 'http'}://127.0.0.1:{port}{prefix}"
        self._session = requests.Session()
        self._session.trust_env = False
        for name, value in options.items():
            setattr(self._session, name, value)
        command = [
            str(releases.program("pushgateway")),
            f"--web.listen-address=127.0.0.1:{port}",
            f"--web.route-prefix={prefix}",
            "--web.enable-admin-api",
            "--log.level=error",
            f"--persistence.file={directory / 'metrics'}",
        ]
        if web_config:
            # JSON is YAML.
            (directory / "web.yml").write_text(json.dumps(web_config))
            command.append(f"--web.config.file={directory / 'web.yml'}")
        self._process = subprocess.Popen(command, cwd=directory)
        eventually(self._is_ready)

    def stop(self) -> None:
        """End it; it remembers its groups."""
        self._session.close()
        self._process.terminate()
        self._process.wait()

    def wipe(self) -> None:
        """Delete all groups."""
        self._ask("PUT", "/api/v1/admin/wipe")

    def push(self, job: str, text: str, instance: str = INSTANCE) -> None:
        """Add metrics to a group, as somebody else would."""
        where = f"/metrics/job/{job}" + (f"/instance/{instance}" if instance else "")
        self._ask("POST", where, data=text.encode())

    def families(self, job: str, instance: str = INSTANCE) -> dict[str, Any]:
        """Return the samples of a group by family, or nothing."""
        labels = {"job": job, **({"instance": instance} if instance else {})}
        for group in self._ask("GET", "/api/v1/metrics").json()["data"]:
            if group["labels"] == labels:
                return {
                    name: family["metrics"]
                    for name, family in group.items()
                    if isinstance(family, dict) and "metrics" in family
                }
        return {}

    def values(self, job: str, instance: str = INSTANCE) -> dict[str, float]:
        """Return the value of each family of a group that has one."""
        return {
            name.replace("batch_job_", ""): float(samples[0]["value"])
            for name, samples in self.families(job, instance).items()
            if "value" in samples[0]
        }

    def result(self, job: str, instance: str = INSTANCE) -> str:
        """Return the result of a job's latest run."""
        samples = self.families(job, instance)["batch_job_last_result"]
        return str(samples[0]["labels"]["result"])

    def exposed(self) -> str:
        """Return what Prometheus would scrape of all groups, without Pushgateway's own metrics."""
        families = re.split(r"^(?=# HELP)", self._ask("GET", "/metrics").text, flags=re.MULTILINE)
        return "".join(family for family in families if 'job="' in family)

    def _is_ready(self) -> bool:
        if self._process.poll() is not None:
            raise LabError("Pushgateway has ended")
        try:
            return bool(self._ask("GET", "/-/ready"))
        except requests.ConnectionError:
            return False

    def _ask(self, method: str, path: str, **options: Any) -> requests.Response:
        answer = self._session.request(method, self.url + path, timeout=5, **options)
        answer.raise_for_status()
        return answer
