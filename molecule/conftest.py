"""What the scenarios' tests share: rollouts, and the services as their users see them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from lab import REPOSITORY, nodes

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


class Service:
    """An HTTP service of a node, reached through a port of this machine."""

    port: int

    def __init__(self, node: str) -> None:
        """Remember the node; nothing is asked yet."""
        self.node = node

    @property
    def url(self) -> str:
        """Return the base URL; asked for anew, since a node that restarts gets other ports."""
        return nodes.url(LAB, self.node, self.port)

    def get(self, path: str, **options: Any) -> requests.Response:
        """Send a GET request."""
        return requests.get(self.url + path, timeout=10, **options)


class Pushgateway(Service):
    """Pushgateway's API."""

    port = 9091

    def push(self, job: str, instance: str = "", **metrics: float) -> requests.Response:
        """Replace the group of a job by the metrics."""
        path = f"/metrics/job/{job}" + (f"/instance/{instance}" if instance else "")
        body = "".join(f"# TYPE {name} gauge\n{name} {value}\n" for name, value in metrics.items())
        return requests.put(self.url + path, data=body, timeout=10)

    def groups(self) -> dict[str, dict[str, Any]]:
        """Return what is stored for each `job` label."""
        found = self.get("/api/v1/metrics").json()["data"]
        return {group["labels"]["job"]: group for group in found}

    def group(self, job: str, instance: str) -> dict[str, Any]:
        """Return the metrics of a group by name; nothing when there is no such group."""
        for group in self.get("/api/v1/metrics").json()["data"]:
            if group["labels"] == {"job": job, "instance": instance}:
                families = {name: each for name, each in group.items() if isinstance(each, dict)}
                return {
                    name: each["metrics"] for name, each in families.items() if name != "labels"
                }
        return {}

    def value(self, metric: str, job: str) -> float:
        """Return the value of a metric of a job; KeyError when there is none."""
        return float(self.groups()[job][metric]["metrics"][0]["value"])


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
        return Job(self.host, self.name, Pushgateway(node))

    def run(self) -> int:
        """Run it under systemd to its end; return systemctl's exit status, 0 for a success."""
        return int(self.host.run(f"systemctl start {self.unit}").rc)

    def metrics(self) -> dict[str, Any]:
        """Return labels and value of each metric, by name."""
        found = self.gateway.group(self.name, self.host.backend.get_hostname())
        return {name: samples[0] for name, samples in found.items()}

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


class Prometheus(Service):
    """Prometheus' API."""

    port = 9090

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Return the labels and the value of each series of an instant query."""
        answer = self.get("/api/v1/query", params={"query": expression}).json()
        assert answer["status"] == "success", answer
        return [(each["metric"], float(each["value"][1])) for each in answer["data"]["result"]]

    def labels(self, expression: str) -> dict[str, str]:
        """Return the labels of the only series of a query, or nothing while it is not there."""
        found = self.query(expression)
        return found[0][0] if len(found) == 1 else {}

    def firing(self) -> set[tuple[str, str]]:
        """Return alert name and job of everything that fires, but for the watchdog."""
        found = self.query('ALERTS{alertstate="firing", alertname!="Watchdog"}')
        return {(labels["alertname"], labels.get("job", "")) for labels, _ in found}

    def config(self) -> str:
        """Return the configuration that runs, as Prometheus understood it."""
        return str(self.get("/api/v1/status/config").json()["data"]["yaml"])

    def rules(self) -> set[str]:
        """Return the names of all rules that run."""
        groups = self.get("/api/v1/rules").json()["data"]["groups"]
        return {rule["name"] for group in groups for rule in group["rules"]}


class Alertmanager(Service):
    """Alertmanager's API."""

    port = 9093

    def config(self) -> str:
        """Return the configuration that runs, as Alertmanager understood it."""
        return str(self.get("/api/v2/status").json()["config"]["original"])

    def fire(self, *alerts: Mapping[str, str], ends: bool = False) -> None:
        """Send alerts with the given labels, as Prometheus would; or their end."""
        moment = datetime.now(UTC).isoformat()
        document = [{"labels": labels, **({"endsAt": moment} if ends else {})} for labels in alerts]
        requests.post(self.url + "/api/v2/alerts", json=document, timeout=10).raise_for_status()

    def state(self, labels: Mapping[str, str]) -> str:
        """Return `active` or `suppressed` of an alert; KeyError while there is none."""
        filters = [f"{name}={json.dumps(value)}" for name, value in labels.items()]
        for alert in self.get("/api/v2/alerts", params={"filter": filters}).json():
            if alert["labels"] == labels:
                return str(alert["status"]["state"])
        raise KeyError(str(labels))

    def groups(self, job: str) -> list[list[str]]:
        """Return the names of the alerts of a job, by group; a group is one notification."""
        found = self.get("/api/v2/alerts/groups", params={"filter": f"job={json.dumps(job)}"})
        return [[each["labels"]["alertname"] for each in group["alerts"]] for group in found.json()]


class Grafana(Service):
    """Grafana's API, as a user of it or, without a password, as anybody."""

    port = nodes.GRAFANA_PORT

    def status(self, path: str, password: str = "") -> int:
        """Return the HTTP status of a page for the admin, or for anybody."""
        return self.get(path, auth=("admin", password) if password else None).status_code


class Webhook(Service):
    """The receiver of the lab."""

    port = nodes.WEBHOOK_PORT

    def messages(self, path: str = "/") -> list[dict[str, Any]]:
        """Return every notification that was sent to a path, oldest first."""
        return list(self.get(path).json())

    def alerts(self, path: str = "/") -> list[dict[str, Any]]:
        """Return every alert of every notification that was sent to a path, oldest first."""
        return [alert for message in self.messages(path) for alert in message["alerts"]]


def put(host: Any, source: Path, target: str) -> None:
    """Copy a text file to a host."""
    host.check_output(f"cat > {target} <<'END OF FILE'\n{source.read_text()}END OF FILE")


@pytest.fixture
def gateway() -> Pushgateway:
    """Return the Pushgateway of the site."""
    return Pushgateway("monitor")


@pytest.fixture
def job(host: Any) -> Callable[[str], Job]:
    """Return a function from a job's name to the job on the host, which has a gateway itself."""
    return lambda name: Job(host, name, Pushgateway(host.backend.get_hostname()))


@pytest.fixture
def prometheus() -> Prometheus:
    """Return the Prometheus of the site."""
    return Prometheus("monitor")


@pytest.fixture
def grafana(host: Any) -> Grafana:
    """Return the Grafana of the host."""
    return Grafana(host.backend.get_hostname())


@pytest.fixture
def webhook() -> Webhook:
    """Return the receiver that the site notifies."""
    return Webhook("webhook")


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
