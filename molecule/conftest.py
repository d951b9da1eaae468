"""What the scenarios' tests share: rollouts, and the services as their users see them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from clients import Grafana, Prometheus, Pushgateway, Service, Webhook
from lab import REPOSITORY, nodes

AnyService = TypeVar("AnyService", bound=Service)

LAB = "molecule"
PLAYBOOKS = REPOSITORY / "playbooks"


@dataclass(frozen=True)
class Rollout:
    """What a run of a playbook did."""

    status: int
    report: dict[str, Any]

    def changed(self, host: str) -> int:
        """Return how many tasks changed something on a host."""
        return int(self.report["stats"][host]["changed"])

    @property
    def message(self) -> str:
        """Return all that failed tasks, and the failed items of their loops, said."""
        results = [
            result
            for play in self.report["plays"]
            for task in play["tasks"]
            for result in task["hosts"].values()
        ]
        items = [item for result in results for item in result.get("results", [])]
        return "\n".join(str(each.get("msg")) for each in results + items if each.get("failed"))

    @property
    def diff(self) -> str:
        """Return all that tasks would change, as far as they show it."""
        return json.dumps(self.report["plays"])

    def tasks(self) -> list[str]:
        """Return the names of the tasks that ran, with their roles."""
        return [task["task"]["name"] for play in self.report["plays"] for task in play["tasks"]]


@pytest.fixture(scope="session")
def rollout(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a function that runs a playbook on the scenario's inventory and returns a Rollout.

    With `wait=False` it returns the process that rolls out, instead.
    """
    own = Path(str(request.config.invocation_params.dir), "inventory")

    def run(
        *arguments: str,
        variables: Mapping[str, Any] | None = None,
        inventory: Path = own,
        playbook: str = "site.yml",
        wait: bool = True,
    ) -> Rollout | subprocess.Popen[str]:
        extra = tmp_path_factory.mktemp("rollout") / "extra.json"
        extra.write_text(json.dumps(variables or {}))
        done = subprocess.Popen(
            [
                "ansible-playbook",
                "-i",
                str(inventory),
                f"-e@{extra}",
                *arguments,
                str(PLAYBOOKS / playbook),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
                "ANSIBLE_FORCE_COLOR": "0",
                "LAB": LAB,
            },
        )
        if not wait:
            return done
        output, errors = done.communicate()
        start = output.find("{\n")
        assert start >= 0, output + errors
        return Rollout(done.returncode, json.loads(output[start:]))

    return run


@pytest.fixture
def changed_host(rollout: Callable[..., Rollout]) -> Iterator[Callable[..., Rollout]]:
    """Return `rollout` for a host and tags with other variables; what it did is put back."""
    touched: list[tuple[str, str]] = []

    def run(host: str, tags: str, *arguments: str, **variables: Any) -> Rollout:
        touched.append((host, tags))
        return rollout("--limit", host, "--tags", tags, *arguments, variables=variables)

    yield run
    for host, tags in dict.fromkeys(touched):
        restored = rollout("--limit", host, "--tags", tags)
        assert restored.status == 0, restored.message


def connect(service: type[AnyService], node: str) -> AnyService:
    """Return the client of a service of a node: a node that restarts gets other ports."""
    return service(lambda: nodes.url(LAB, node, service.port))


@dataclass(frozen=True)
class Job:
    """A declared job of a host, and a gateway that knows of it."""

    host: Any
    name: str
    gateway: Pushgateway

    @property
    def unit(self) -> str:
        """Its service."""
        return f"batch-job-{self.name}.service"

    def at(self, node: str) -> Job:
        """Return the same job as another gateway knows it."""
        return Job(self.host, self.name, connect(Pushgateway, node))

    def run(self) -> int:
        """Run it under systemd to its end; return systemctl's exit status, 0 for a success."""
        return int(self.host.run(f"systemctl start {self.unit}").rc)

    def metrics(self) -> dict[str, Any]:
        """Return labels and value of each metric, by name."""
        families = self.gateway.families(self.name, self.host.backend.get_hostname())
        return {name: samples[0] for name, samples in families.items()}

    def value(self, metric: str) -> float | None:
        """Return the value of a metric, without its prefix, if it is known."""
        known = self.metrics()
        sample = known.get(f"batch_job_{metric}") or known.get(metric)
        return None if sample is None else float(sample["value"])

    def result(self) -> tuple[str, int]:
        """Return result and exit code of its latest run."""
        known = self.metrics()
        code = known["batch_job_last_exit_code"]["value"]
        return known["batch_job_last_result"]["labels"]["result"], int(float(code))


def put(host: Any, source: Path, target: str) -> None:
    """Copy a text file to a host."""
    host.check_output(f"cat > {target} <<'END OF FILE'\n{source.read_text()}END OF FILE")


@pytest.fixture
def gateway() -> Pushgateway:
    """Return the Pushgateway of the site."""
    return connect(Pushgateway, "monitor")


@pytest.fixture
def job(host: Any) -> Callable[[str], Job]:
    """Return a function from a job's name to the job on the host, which has a gateway itself."""
    return lambda name: Job(host, name, connect(Pushgateway, host.backend.get_hostname()))


@pytest.fixture
def prometheus() -> Prometheus:
    """Return the Prometheus of the site."""
    return connect(Prometheus, "monitor")


@pytest.fixture
def grafana(host: Any) -> Grafana:
    """Return the Grafana of the host."""
    return connect(Grafana, host.backend.get_hostname())


@pytest.fixture
def webhook() -> Webhook:
    """Return the receiver that the site notifies."""
    return connect(Webhook, "webhook")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """Attach the journals of the services to a failed test of a host."""
    report = yield
    host = getattr(item, "funcargs", {}).get("host")
    if report.failed and host is not None:
        units = ("pushgateway", "prometheus", "alertmanager", "grafana-server", "'batch-job-*'")
        command = "journalctl --no-pager --lines=30 -u " + " -u ".join(units)
        report.sections.append((f"journal of {host}", host.run(command).stdout))
    return report
