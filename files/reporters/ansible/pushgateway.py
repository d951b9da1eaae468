"""Report playbook runs to a Pushgateway. Complete in this file, to be copied alone."""

from __future__ import annotations

import atexit
import base64
import contextlib
import inspect
import math
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from ansible import context
from ansible.plugins.callback import CallbackBase

# Ansible imports every callback that it finds, enabled or not: what takes long to import, the
# client library and urllib's openers, is imported where something is sent.
if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Gauge

DOCUMENTATION = """
name: pushgateway
type: notification
short_description: reports playbook runs to a Prometheus Pushgateway
description:
  - Reports each run of a playbook as a batch job, its start and its end, to a Pushgateway.
  - A success replaces what the gateway holds of the job. A failure leaves the last success and
    the deadline known.
  - A run that broke off, on an error in a play's own keywords or by Ctrl-C, is a failure with exit
    code 1. One that was killed reports no end, which O(max_runtime) turns into an alert.
  - Runs with C(--check) and ad-hoc commands are not reported; a success in which no host took part
    does not count as the last success.
  - A gateway that is down, or refuses, costs a warning and at most O(timeout) at the start and at
    the end, never the result of the playbook.
requirements:
  - enabling it, by C(callbacks_enabled = pushgateway) or E(ANSIBLE_CALLBACKS_ENABLED)
  - Python 3.11 or later and prometheus_client, where Ansible runs
options:
  url:
    description: Address of the gateway, as in C(http://gateway:9091). Needed.
    type: str
    env: [{name: PUSHGATEWAY_URL}]
    ini: [{section: callback_pushgateway, key: url}]
  job:
    description:
      - Name of the job, for all playbooks of one command line.
      - By default C(ansible-) and the name of the playbook's file, C(ansible-site) for C(site.yml).
    type: str
    env: [{name: PUSHGATEWAY_JOB}]
    ini: [{section: callback_pushgateway, key: job}]
  instance:
    description: Host of the job, by default this one; empty for none.
    type: str
    env: [{name: PUSHGATEWAY_INSTANCE}]
    ini: [{section: callback_pushgateway, key: instance}]
  owner:
    description: Label of the job's alerts.
    type: str
    default: ""
    env: [{name: PUSHGATEWAY_OWNER}]
    ini: [{section: callback_pushgateway, key: owner}]
  severity:
    description: Label of the job's alerts.
    type: str
    choices: [info, warning, critical]
    default: warning
    env: [{name: PUSHGATEWAY_SEVERITY}]
    ini: [{section: callback_pushgateway, key: severity}]
  kind:
    description: What kind of job it is.
    type: str
    default: rollout
    env: [{name: PUSHGATEWAY_KIND}]
    ini: [{section: callback_pushgateway, key: kind}]
  max_age:
    description: The longest time from one success to the next, as in C(26h) or C(1d 12h).
    type: str
    # `due_within` is its name in version 1.0; the last one that is set counts.
    env: [{name: PUSHGATEWAY_DUE_WITHIN}, {name: PUSHGATEWAY_MAX_AGE}]
    ini:
      - {section: callback_pushgateway, key: due_within}
      - {section: callback_pushgateway, key: max_age}
  max_runtime:
    description: A longer run is stuck, as in C(90min).
    type: str
    env: [{name: PUSHGATEWAY_MAX_RUNTIME}]
    ini: [{section: callback_pushgateway, key: max_runtime}]
  partial:
    description:
      - Report runs with C(--limit), C(--tags), C(--skip-tags), C(--start-at-task) or C(--step)
        as well. Their success does not say that the whole playbook succeeded.
      - For runs that always have a limit; give them a O(job) of their own.
    type: bool
    default: false
    env: [{name: PUSHGATEWAY_PARTIAL}]
    ini: [{section: callback_pushgateway, key: partial}]
  username:
    description: For basic authentication, together with O(password_file).
    type: str
    env: [{name: PUSHGATEWAY_USERNAME}]
    ini: [{section: callback_pushgateway, key: username}]
  password_file:
    description: File that holds the password as its only line.
    type: path
    env: [{name: PUSHGATEWAY_PASSWORD_FILE}]
    ini: [{section: callback_pushgateway, key: password_file}]
  ca_file:
    description: Certificates, as PEM, of who signed the gateway's; by default the system's.
    type: path
    env: [{name: PUSHGATEWAY_CA_FILE}]
    ini: [{section: callback_pushgateway, key: ca_file}]
  timeout:
    description: For how many seconds the gateway may stay silent.
    type: float
    default: 3
    env: [{name: PUSHGATEWAY_TIMEOUT}]
    ini: [{section: callback_pushgateway, key: timeout}]
"""

EXAMPLES = """
# export ANSIBLE_CALLBACKS_ENABLED=pushgateway PUSHGATEWAY_URL=http://gateway:9091
# ansible-playbook site.yml
#
# or in ansible.cfg:
#
# [defaults]
# callback_plugins = callback_plugins
# callbacks_enabled = pushgateway
#
# [callback_pushgateway]
# url = https://gateway.example.org:9091
# owner = operations
# max_age = 26h
# max_runtime = 1h
"""

HELP = {
    "batch_job_info": "Always 1; the labels are the job's declaration.",
    "batch_job_last_start_timestamp_seconds": "When the latest run started.",
    "batch_job_last_completion_timestamp_seconds": "When the latest run ended.",
    "batch_job_last_success_timestamp_seconds": "When the latest successful run ended.",
    "batch_job_last_exit_code": "Exit code of the latest run, 128+N for signal N; 0 for a success.",
    "batch_job_last_result": "Always 1; the label is the result of the latest run.",
    "batch_job_last_duration_seconds": "How long the latest run took.",
    "batch_job_deadline_timestamp_seconds": "A success must arrive before this.",
    "batch_job_max_runtime_seconds": "A run longer than this is stuck; +Inf when no limit was "
    "declared.",
    "ansible_playbook_hosts": "Hosts of the latest run by their worst state, each in exactly one; "
    "what was rescued or ignored is no failure.",
}
SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86400, "w": 604800}
# Worst first: the state, and what counts it in Ansible's statistics.
STATES = {"unreachable": "unreachable", "failed": "failures", "changed": "changed"}
PARTIAL = ("subset", "skip_tags", "start_at_task", "step")
BROKEN_OFF = 1
FAILED_HOSTS = 2
UNREACHABLE_HOSTS = 4


class PushError(Exception):
    """A report that cannot be sent; the text says why."""


class Run(NamedTuple):
    """A run that is to be reported. Times are Unix seconds, `clock` is monotonic."""

    url: str
    job: str
    instance: str
    declaration: Mapping[str, str]
    max_age: float
    max_runtime: float
    started: float
    clock: float


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """Pushes a report when a playbook starts, and one when it ends."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "pushgateway"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        """Report nothing yet."""
        super().__init__()
        self._run: Run | None = None
        self._counted: dict[str, dict[str, int]] = {}
        # An error that ends Ansible itself reaches no callback.
        atexit.register(self._end, BROKEN_OFF)

    def v2_playbook_on_start(self, playbook: Any) -> None:
        """Report the start of a playbook, if its run is one to report."""
        with self._only_warning():
            if is_reported(playbook._file_name, self.get_option("partial")):
                self._run = new_run(self.get_option, playbook._file_name)
                self._push(self._run, started(self._run), replace=False)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """Report the end of a playbook."""
        with self._only_warning():
            hosts = self._hosts(stats)
            self._end(exit_status(hosts), hosts)

    def _hosts(self, stats: Any) -> Counter[str]:
        """Return how many hosts of the latest playbook are in each state.

        Ansible goes on counting from one playbook of a command line to the next.
        """
        before = self._counted
        self._counted = {host: stats.summarize(host) for host in stats.processed}
        return Counter(
            worst_state(Counter(now) - Counter(before.get(host, {})))
            for host, now in self._counted.items()
            if now != before.get(host)
        )

    def _end(self, exit_code: int, hosts: Counter[str] | None = None) -> None:
        """Report the end of the run, once. The hosts are unknown of one that broke off."""
        run, self._run = self._run, None
        if run is not None:
            with self._only_warning():
                # No hosts, as with an empty inventory: that rolled nothing out.
                is_success = exit_code == 0 and bool(hosts)
                self._push(run, ended(run, exit_code, hosts, is_success), replace=is_success)

    def _push(self, run: Run, registry: CollectorRegistry, replace: bool) -> None:
        """Replace what the gateway holds of the job, or add to it. Raises PushError."""
        from prometheus_client import push_to_gateway, pushadd_to_gateway

        send = push_to_gateway if replace else pushadd_to_gateway
        send(
            run.url,
            job=run.job,
            registry=registry,
            grouping_key={"instance": run.instance} if run.instance else {},
            timeout=self.get_option("timeout"),
            handler=handler(self.get_option),
        )

    @contextlib.contextmanager
    def _only_warning(self) -> Iterator[None]:
        """Make of any error a warning: a report never harms the playbook."""
        try:
            yield
        except ModuleNotFoundError as error:
            self._warn(f"{error.name} is not installed where Ansible runs")
        except Exception as error:
            self._warn(str(error) or repr(error))

    def _warn(self, problem: str) -> None:
        self._display.warning(f"Not reported to Pushgateway: {problem}")


def is_reported(file_name: str, partial: bool) -> bool:
    """Return whether a run is one to report."""
    arguments = context.CLIARGS
    if arguments.get("check") or file_name == "__adhoc_playbook__":
        return False
    # It would say of a whole site that it was rolled out when some of it was.
    is_partial = set(arguments["tags"]) != {"all"} or any(arguments.get(key) for key in PARTIAL)
    return partial or not is_partial


def new_run(option: Callable[[str], Any], file_name: str) -> Run:
    """Return a run that starts now. Raises PushError for an option that means nothing."""
    instance = option("instance")
    max_age = option("max_age")
    run = Run(
        url=gateway_url(option("url")),
        job=option("job") or f"ansible-{Path(file_name).stem}",
        instance=os.uname().nodename if instance is None else instance,
        declaration={
            "owner": option("owner"),
            "severity": option("severity"),
            "kind": option("kind"),
            "schedule": f"within {max_age}" if max_age else "",
        },
        max_age=seconds("max_age", max_age),
        max_runtime=seconds("max_runtime", option("max_runtime")),
        started=time.time(),
        clock=time.monotonic(),
    )
    for name in (run.job, run.instance):
        # Pushgateway would take it for a step on the way, and answer success to a push elsewhere.
        if name in (".", ".."):
            raise PushError(f"{name!r} cannot be the name of a job or an instance")
    if bool(option("username")) != bool(option("password_file")):
        raise PushError("username and password_file need each other")
    return run


def gateway_url(text: str | None) -> str:
    """Return the address of a gateway. Raises PushError when it is none."""
    if not text:
        raise PushError("its url is not set, by PUSHGATEWAY_URL or in [callback_pushgateway]")
    url = urlsplit(text)
    if url.username or url.password:
        raise PushError("a password belongs into password_file, not into the url")
    if url.scheme not in ("http", "https") or not url.hostname:
        raise PushError(f"{text!r} is not a url such as http://gateway:9091")
    return text


def seconds(name: str, text: str | None) -> float:
    """Return the seconds of a duration such as `26h`, infinity of none. Raises PushError."""
    if not text:
        return math.inf
    if not re.fullmatch(r"(\s*\d+\s*(s|min|h|d|w))+\s*", text):
        raise PushError(f"{name} is a duration such as 26h or 90min, not {text!r}")
    return sum(int(count) * SECONDS[unit] for count, unit in re.findall(r"(\d+)\s*([a-z]+)", text))


def worst_state(counts: Mapping[str, int]) -> str:
    """Return the worst that a host came to."""
    return next((state for state, key in STATES.items() if counts[key]), "ok")


def exit_status(hosts: Mapping[str, int]) -> int:
    """Return with what ansible-playbook will exit."""
    # No callback is told. Statistics alone would be wrong: they count also the failures that
    # `meta: clear_host_errors` or a rescued include took back.
    frame = inspect.currentframe()
    while frame:
        if frame.f_code.co_qualname == "PlaybookExecutor.run" and "result" in frame.f_locals:
            return int(frame.f_locals["result"])
        frame = frame.f_back
    if hosts["unreachable"]:
        return UNREACHABLE_HOSTS
    return FAILED_HOSTS if hosts["failed"] else 0


def started(run: Run) -> CollectorRegistry:
    """Return the metrics of a start."""
    from prometheus_client import CollectorRegistry

    registry = CollectorRegistry()
    gauge(registry, "batch_job_info", *run.declaration).labels(**run.declaration).set(1)
    gauge(registry, "batch_job_max_runtime_seconds").set(run.max_runtime)
    gauge(registry, "batch_job_last_start_timestamp_seconds").set(run.started)
    return registry


def ended(
    run: Run, exit_code: int, hosts: Counter[str] | None, is_success: bool
) -> CollectorRegistry:
    """Return the metrics of an end."""
    now = time.time()
    registry = started(run)
    result = "exit-code" if exit_code else "success"
    gauge(registry, "batch_job_last_completion_timestamp_seconds").set(now)
    gauge(registry, "batch_job_last_exit_code").set(exit_code)
    gauge(registry, "batch_job_last_result", "result").labels(result).set(1)
    gauge(registry, "batch_job_last_duration_seconds").set(time.monotonic() - run.clock)
    if is_success:
        gauge(registry, "batch_job_last_success_timestamp_seconds").set(now)
        if run.max_age < math.inf:
            gauge(registry, "batch_job_deadline_timestamp_seconds").set(now + run.max_age)
    if hosts is not None:
        by_state = gauge(registry, "ansible_playbook_hosts", "state")
        for state in ("ok", *STATES):
            by_state.labels(state).set(hosts[state])
    return registry


def gauge(registry: CollectorRegistry, name: str, *labels: str) -> Gauge:
    """Return a gauge in a registry."""
    from prometheus_client import Gauge

    return Gauge(name, HELP[name], labels, registry=registry)


def handler(option: Callable[[str], Any]) -> Callable[..., Callable[[], None]]:
    """Return what sends a request for prometheus_client, and raises PushError."""
    from http.client import HTTPException
    from urllib.error import HTTPError, URLError
    from urllib.request import Request

    def prepare(
        url: str, method: str, timeout: float, headers: list[tuple[str, str]], data: bytes
    ) -> Callable[[], None]:
        def send() -> None:
            director = opener(url, option("ca_file"))
            # The scheme was checked with the options.
            request = Request(url, data, dict(headers), method=method)  # noqa: S310
            if option("username"):
                request.add_header("Authorization", authorization(option))
            try:
                director.open(request, timeout=timeout).close()
            except HTTPError as error:
                reason = error.read(500).decode("utf-8", "replace").strip()
                raise PushError(f"{option('url')} answers {error.code}: {reason}") from error
            except (OSError, HTTPException) as error:
                cause = error.reason if isinstance(error, URLError) else error
                raise PushError(f"{option('url')} cannot be reached: {cause}") from error

        return send

    return prepare


def opener(url: str, ca_file: str | None) -> Any:
    """Return what opens a URL. Raises PushError when the certificates cannot be read.

    Unlike urllib's own, it follows no redirect: a POST would go on as a GET, and be a success.
    """
    import ssl
    from urllib.request import (
        HTTPDefaultErrorHandler,
        HTTPErrorProcessor,
        HTTPHandler,
        HTTPSHandler,
        OpenerDirector,
        ProxyHandler,
    )

    director = OpenerDirector()
    for each in (ProxyHandler(), HTTPHandler(), HTTPErrorProcessor(), HTTPDefaultErrorHandler()):
        director.add_handler(each)
    if url.startswith("https:"):
        try:
            certificates = ssl.create_default_context(cafile=ca_file)
        except OSError as error:
            raise PushError(f"ca_file {ca_file}: {error}") from error
        director.add_handler(HTTPSHandler(context=certificates))
    return director


def authorization(option: Callable[[str], Any]) -> str:
    """Return the header for basic authentication. Raises OSError when there is no such file."""
    password = Path(option("password_file")).read_text("utf-8").strip()
    pair = f"{option('username')}:{password}"
    return "Basic " + base64.b64encode(pair.encode()).decode()
