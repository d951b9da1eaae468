"""What the scenarios' tests share: rollouts, and the services as their users see them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
import testinfra
from playwright.sync_api import Page

from clients import Alertmanager, Grafana, Prometheus, Pushgateway, Service, Webhook, eventually
from lab import REPOSITORY, nodes
from preview import browsing

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


def pytest_configure(config: pytest.Config) -> None:
    """Let `pytest molecule/<scenario>/tests` find the scenario's inventory."""
    for path in Path(config.args[0].split("::")[0]).resolve().parents:
        if (path / "molecule.yml").exists():
            config.option.ansible_inventory = str(path / "inventory")


@pytest.fixture(scope="session")
def rollout(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a function that runs a playbook on the scenario's inventory and returns a Rollout.

    With `wait=False` it returns the process that rolls out, the head of a group of its own.
    """
    own = Path(request.config.getoption("ansible_inventory"))

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
            process_group=None if wait else 0,
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


@dataclass(frozen=True)
class Copy:
    """A copy of a rolled-out host, services and state included, for a test to change."""

    # In the inventory, and of the lab.
    name: str
    node: str
    host: Any
    rollout: Callable[..., Any]

    @property
    def container(self) -> str:
        """The name of its container, by which Ansible reaches it."""
        return nodes.container_name(LAB, self.node)

    def roll_out(self, tags: str, *arguments: str, wait: bool = True, **variables: Any) -> Any:
        """Roll out to the copy alone, as `rollout` does, with other variables."""
        variables["ansible_host"] = self.container
        limits = ("--limit", self.name, "--tags", tags)
        return self.rollout(*limits, *arguments, variables=variables, wait=wait)

    @property
    def pushgateway(self) -> Pushgateway:
        """Its Pushgateway."""
        return connect(Pushgateway, self.node)

    @property
    def prometheus(self) -> Prometheus:
        """Its Prometheus."""
        return connect(Prometheus, self.node)

    @property
    def alertmanager(self) -> Alertmanager:
        """Its Alertmanager."""
        return connect(Alertmanager, self.node)

    @property
    def grafana(self) -> Grafana:
        """Its Grafana."""
        return connect(Grafana, self.node)


@pytest.fixture
def refused(rollout: Callable[..., Rollout]) -> Callable[..., str]:
    """Return a function that rolls bad variables out to a host and returns why that failed.

    It checks that nothing changed.
    """

    def refused(node: str, tags: str, *arguments: str, **variables: Any) -> str:
        done = rollout("--limit", node, "--tags", tags, *arguments, variables=variables)
        assert (done.status != 0, done.changed(node)) == (True, 0)
        return done.message

    return refused


# Succeeds once each service of a host that is to run answers.
READY = """
answers() { ! systemctl --quiet is-enabled $1 || curl --silent --fail --output /dev/null $2; }
answers pushgateway localhost:9091/-/ready && answers prometheus localhost:9090/-/ready &&
answers alertmanager localhost:9093/-/ready && answers grafana-server localhost:3000/api/health
"""


@pytest.fixture(scope="session")
def frozen() -> Iterator[Callable[[str], str]]:
    """Return a function from a node to an image of it, made when it is first asked for."""
    images: dict[str, str] = {}

    def frozen(node: str) -> str:
        if node not in images:
            images[node] = nodes.freeze(LAB, node)
        return images[node]

    yield frozen
    for image in images.values():
        nodes.remove_frozen(image)


@pytest.fixture(scope="session")
def copied(
    frozen: Callable[[str], str], rollout: Callable[..., Any]
) -> Callable[[str], AbstractContextManager[Copy]]:
    """Return a context manager that boots a copy of a node and throws it away."""

    @contextmanager
    def copied(node: str) -> Iterator[Copy]:
        with nodes.copy(LAB, node, frozen(node)) as name:
            host = testinfra.get_host(f"docker://{nodes.container_name(LAB, name)}")
            eventually(lambda: host.run(READY).rc == 0, timeout_seconds=60)
            yield Copy(node, name, host, rollout)

    return copied


@pytest.fixture
def copy(host: Any, copied: Callable[[str], AbstractContextManager[Copy]]) -> Iterator[Copy]:
    """Boot a copy of the host for a test that changes it."""
    with copied(host.backend.get_hostname()) as copy:
        yield copy


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


@pytest.fixture
def page() -> Iterator[Page]:
    """Open a window of Chromium."""
    with browsing.chromium() as running:
        yield browsing.open_page(running)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """Attach the journals of the services to a failed test of a host."""
    report = yield
    values = getattr(item, "funcargs", {})
    host = values["copy"].host if "copy" in values else values.get("host")
    if report.failed and host is not None:
        units = ("pushgateway", "prometheus", "alertmanager", "grafana-server", "'batch-job-*'")
        command = "journalctl --no-pager --lines=30 -u " + " -u ".join(units)
        report.sections.append((f"journal of {host}", host.run(command).stdout))
    return report
