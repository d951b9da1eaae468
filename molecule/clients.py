"""The services' APIs as tests, demo, Compose stack and benchmarks use them. Knows only URLs."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

import requests
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

Result = TypeVar("Result")
Labels = dict[str, str]
TIMEOUT_SECONDS = 30


def eventually(
    probe: Callable[[], Result | None], timeout_seconds: float = 60, pause_seconds: float = 0.1
) -> Result:
    """Call `probe` until it returns something true, and return that.

    A probe that raises is called again. At the end of the time, raises TimeoutError with the
    latest error or false value.
    """
    deadline = time.monotonic() + timeout_seconds
    while True:
        latest: object
        try:
            latest = result = probe()
            if result:
                return result
        except Exception as error:  # a service that starts may answer anything
            latest = error
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout_seconds} s; last seen: {latest!r}")
        time.sleep(pause_seconds)


class Service:
    """An HTTP service."""

    port: int

    def __init__(self, url: str | Callable[[], str], **options: Any) -> None:
        """Take the base URL, or a function that returns it; `options` are those of a Session."""
        self._url = url
        self._options = options

    @property
    def url(self) -> str:
        """Return the base URL."""
        return self._url if isinstance(self._url, str) else self._url()

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        """Send a request past any proxy, on a connection of its own: services restart."""
        with requests.Session() as session:
            session.trust_env = False
            for name, value in self._options.items():
                setattr(session, name, value)
            return session.request(method, self.url + path, timeout=TIMEOUT_SECONDS, **options)

    def get(self, path: str, **options: Any) -> requests.Response:
        """Send a GET request."""
        return self.request("GET", path, **options)

    def document(self, path: str, **parameters: Any) -> Any:
        """Return the JSON at a path. Raises requests.RequestException unless it is there."""
        response = self.get(path, params=parameters)
        response.raise_for_status()
        return response.json()

    def metrics(self) -> list[Sample]:
        """Return the samples of `/metrics`."""
        response = self.get("/metrics")
        response.raise_for_status()
        families = text_string_to_metric_families(response.text)
        return [sample for family in families for sample in family.samples]

    def is_ready(self) -> bool:
        """Return whether the service is ready; False while nothing listens."""
        try:
            return self.get("/-/ready").ok
        except requests.ConnectionError:
            return False


class Pushgateway(Service):
    """Pushgateway's API. A group without another `instance` is that of the constructor."""

    port = 9091

    def __init__(self, url: str | Callable[[], str], instance: str = "", **options: Any) -> None:
        """Take the base URL and the `instance` of groups."""
        super().__init__(url, **options)
        self.instance = instance

    def push(self, job: str, instance: str | None = None, **gauges: float) -> requests.Response:
        """Replace a group by gauges."""
        text = "".join(f"# TYPE {name} gauge\n{name} {value}\n" for name, value in gauges.items())
        return self.request("PUT", self._path(job, instance), data=text)

    def add(self, job: str, text: str, instance: str | None = None) -> None:
        """Add metrics in the text format to a group."""
        path = self._path(job, instance)
        self.request("POST", path, data=text.encode()).raise_for_status()

    def wipe(self) -> None:
        """Delete all groups."""
        self.request("PUT", "/api/v1/admin/wipe").raise_for_status()

    def groups(self) -> list[tuple[Labels, dict[str, list[dict[str, Any]]]]]:
        """Return the labels and, by family, the samples of each group."""
        return [
            (
                group["labels"],
                {
                    name: family["metrics"]
                    for name, family in group.items()
                    if isinstance(family, dict) and "metrics" in family
                },
            )
            for group in self.document("/api/v1/metrics")["data"]
        ]

    def families(self, job: str, instance: str | None = None) -> dict[str, list[dict[str, Any]]]:
        """Return the samples of a group by family; nothing without such a group."""
        wanted = self._labels(job, instance)
        return next((families for labels, families in self.groups() if labels == wanted), {})

    def values(self, job: str, instance: str | None = None) -> dict[str, float]:
        """Return the value of each family of a group, without the prefix of their names."""
        return {
            name.replace("batch_job_", ""): float(samples[0]["value"])
            for name, samples in self.families(job, instance).items()
            if "value" in samples[0]
        }

    def value(self, metric: str, job: str) -> float:
        """Return the value of a metric of a job on any host; KeyError without one."""
        groups = {labels["job"]: families for labels, families in self.groups()}
        return float(groups[job][metric][0]["value"])

    def result(self, job: str, instance: str | None = None) -> str:
        """Return the result of a job's latest run."""
        samples = self.families(job, instance)["batch_job_last_result"]
        return str(samples[0]["labels"]["result"])

    def exposed(self) -> str:
        """Return what Prometheus would scrape of the groups."""
        families = re.split(r"^(?=# HELP)", self.get("/metrics").text, flags=re.MULTILINE)
        return "".join(family for family in families if 'job="' in family)

    def _labels(self, job: str, instance: str | None) -> Labels:
        host = self.instance if instance is None else instance
        return {"job": job, **({"instance": host} if host else {})}

    def _path(self, job: str, instance: str | None) -> str:
        labels = self._labels(job, instance)
        return "/metrics" + "".join(f"/{name}/{value}" for name, value in labels.items())


class Prometheus(Service):
    """Prometheus' API."""

    port = 9090

    def query(self, expression: str) -> list[tuple[Labels, float]]:
        """Return the labels and the value of each series of an instant query."""
        series = self.document("/api/v1/query", query=expression)["data"]["result"]
        return [(each["metric"], float(each["value"][1])) for each in series]

    def labels(self, expression: str) -> Labels:
        """Return the labels of the only series of a query; nothing while there is not one."""
        series = self.query(expression)
        return series[0][0] if len(series) == 1 else {}

    def firing(self) -> set[tuple[str, str]]:
        """Return alert name and job of everything that fires, except the watchdog."""
        alerts = self.query('ALERTS{alertstate="firing", alertname!="Watchdog"}')
        return {(labels["alertname"], labels.get("job", "")) for labels, _ in alerts}

    def config(self) -> str:
        """Return the running configuration, as Prometheus understood it."""
        return str(self.document("/api/v1/status/config")["data"]["yaml"])

    def evaluation_seconds(self) -> dict[str, float]:
        """Return the duration of each rule's latest evaluation, by its name."""
        groups = self.document("/api/v1/rules", exclude_alerts="true")["data"]["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        return {rule["name"]: float(rule["evaluationTime"]) for rule in rules}

    def rules(self) -> set[str]:
        """Return the names of all rules that run."""
        return set(self.evaluation_seconds())


class Alertmanager(Service):
    """Alertmanager's API."""

    port = 9093

    def config(self) -> str:
        """Return the running configuration, as Alertmanager understood it."""
        return str(self.document("/api/v2/status")["config"]["original"])

    def fire(self, *alerts: Mapping[str, str], ends: bool = False) -> None:
        """Send alerts with the given labels, as Prometheus would; or their end."""
        moment = datetime.now(UTC).isoformat()
        document = [{"labels": labels, **({"endsAt": moment} if ends else {})} for labels in alerts]
        self.request("POST", "/api/v2/alerts", json=document).raise_for_status()

    def active(self) -> list[dict[str, Any]]:
        """Return the alerts that are active, except the watchdog."""
        return [
            alert
            for alert in self.document("/api/v2/alerts")
            if alert["status"]["state"] == "active" and alert["labels"]["alertname"] != "Watchdog"
        ]

    def state(self, labels: Mapping[str, str]) -> str:
        """Return `active` or `suppressed` of an alert; KeyError without one."""
        filters = [f"{name}={json.dumps(value)}" for name, value in labels.items()]
        for alert in self.document("/api/v2/alerts", filter=filters):
            if alert["labels"] == labels:
                return str(alert["status"]["state"])
        raise KeyError(str(labels))

    def groups(self, job: str) -> list[list[str]]:
        """Return the names of the alerts of a job, by group; a group is one notification."""
        groups = self.document("/api/v2/alerts/groups", filter=f"job={json.dumps(job)}")
        return [[alert["labels"]["alertname"] for alert in group["alerts"]] for group in groups]


class Grafana(Service):
    """Grafana's API."""

    port = 3000

    def status(self, path: str, password: str = "") -> int:
        """Return the HTTP status of a page for the admin or, without a password, for anybody."""
        return self.get(path, auth=("admin", password) if password else None).status_code


class Webhook(Service):
    """The receiver of notifications, `compose/webhook`."""

    port = 8080

    def messages(self, path: str = "/") -> list[dict[str, Any]]:
        """Return every notification that was sent to a path, oldest first."""
        return list(self.document(path))

    def alerts(self, path: str = "/") -> list[dict[str, Any]]:
        """Return every alert of every notification to a path, oldest first, with its receiver."""
        return [
            {**alert, "receiver": str(message["receiver"])}
            for message in self.messages(path)
            for alert in message["alerts"]
        ]
