"""A node_exporter that runs on this machine with its textfile collector alone."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import requests
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from lab import LabError, releases
from lab.console import eventually
from lab.pushgateway import INSTANCE


class NodeExporter:
    """What a node_exporter exposes of a directory, the URL of which `gateway` is."""

    def __init__(self, directory: Path, port: int) -> None:
        """Start it."""
        self.directory = directory
        self.gateway = f"file://{directory}"
        self.target = f"127.0.0.1:{port}"
        self._session = requests.Session()
        self._session.trust_env = False
        flags = ["--collector.disable-defaults", "--collector.textfile", "--log.level=error"]
        self._process = subprocess.Popen(
            [
                str(releases.program("node_exporter")),
                *flags,
                f"--collector.textfile.directory={directory}",
                f"--web.listen-address={self.target}",
            ],
            stderr=subprocess.DEVNULL,
        )
        eventually(self._is_ready)

    def stop(self) -> None:
        """End it."""
        self._session.close()
        self._process.terminate()
        self._process.wait()

    def wipe(self) -> None:
        """Remove all files."""
        for path in self.directory.iterdir():
            path.unlink()

    def errors(self) -> float:
        """Return how often something was left out of what it exposes, until now."""
        collected = sum(
            sample.value
            for sample in self._samples()
            if sample.name == "node_textfile_scrape_error"
        )
        # Counted once it has answered.
        return collected + sum(
            sample.value
            for sample in self._samples()
            if sample.name == "promhttp_metric_handler_errors_total"
        )

    def samples(self, job: str, instance: str = INSTANCE) -> list[Sample]:
        """Return what it exposes of a job."""
        labels = {"job": job, "instance": instance}
        return [each for each in self._samples() if labels.items() <= each.labels.items()]

    def values(self, job: str, instance: str = INSTANCE) -> dict[str, float]:
        """Return the values of a job's metrics."""
        return {
            sample.name.replace("batch_job_", ""): sample.value
            for sample in self.samples(job, instance)
        }

    def result(self, job: str, instance: str = INSTANCE) -> str:
        """Return the result of a job's latest run."""
        [result] = [
            sample.labels["result"]
            for sample in self.samples(job, instance)
            if sample.name == "batch_job_last_result"
        ]
        return result

    def _samples(self) -> Iterator[Sample]:
        answer = self._session.get(f"http://{self.target}/metrics", timeout=5)
        answer.raise_for_status()
        for family in text_string_to_metric_families(answer.text):
            yield from family.samples

    def _is_ready(self) -> bool:
        if self._process.poll() is not None:
            raise LabError("node_exporter has ended")
        try:
            return bool(list(self._samples()))
        except requests.ConnectionError:
            return False
