"""A real Pushgateway, and the command line on a node of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
import trustme

from batch_job.config import Gateway
from batch_job.spool import Spool
from lab import releases

PACKAGE = Path(__file__).resolve().parents[1]
INSTANCE = "node1"
USERNAME, PASSWORD = "reporter", "correct horse"
# bcrypt of PASSWORD, at the lowest cost there is.
HASH = "$2b$04$vQGEv8k8Lnk4kQdvFOa8V.WAF/L6X0eeWYwTnhaOtMhMU/l7JRKF2"


def wait_until(check: Callable[[], Any], seconds: float = 10) -> Any:
    """Return what a check returns, as soon as that is true."""
    limit = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < limit, "it did not come true in time"
        time.sleep(0.02)
    return found


def free_port() -> int:
    """Return a port of this host on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Pushgateway:
    """A Pushgateway as its own API shows it."""

    def __init__(self, directory: Path, port: int, web_config: Any = None, **options: Any) -> None:
        """Start it; `options` are those of `requests`."""
        self.url = f"{'https' if web_config else 'http'}://127.0.0.1:{port}"
        self._session = requests.Session()
        self._session.trust_env = False
        for name, value in options.items():
            setattr(self._session, name, value)
        command = [
            str(releases.program("pushgateway")),
            f"--web.listen-address=127.0.0.1:{port}",
            "--web.enable-admin-api",
            "--log.level=error",
            f"--persistence.file={directory / 'metrics'}",
        ]
        if web_config:
            # JSON is YAML.
            (directory / "web.yml").write_text(json.dumps(web_config))
            command.append(f"--web.config.file={directory / 'web.yml'}")
        self._process = subprocess.Popen(command, cwd=directory)
        wait_until(self._is_ready)

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

    def _is_ready(self) -> bool:
        assert self._process.poll() is None, "Pushgateway has ended"
        try:
            return bool(self._ask("GET", "/-/ready"))
        except requests.ConnectionError:
            return False

    def _ask(self, method: str, path: str, **options: Any) -> requests.Response:
        answer = self._session.request(method, self.url + path, timeout=5, **options)
        answer.raise_for_status()
        return answer


@pytest.fixture(scope="session", autouse=True)
def signals_of_a_terminal() -> None:
    """Take signals as in the foreground: a shell lets what it runs in the background ignore two."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)


@pytest.fixture(scope="session")
def shared_pushgateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pushgateway]:
    """Run one Pushgateway for all tests."""
    running = Pushgateway(tmp_path_factory.mktemp("pushgateway"), free_port())
    yield running
    running.stop()


@pytest.fixture
def pushgateway(shared_pushgateway: Pushgateway) -> Pushgateway:
    """Return a real Pushgateway that holds nothing."""
    shared_pushgateway.wipe()
    return shared_pushgateway


@pytest.fixture
def start_pushgateway(tmp_path: Path) -> Iterator[Callable[[int], Pushgateway]]:
    """Return a function that starts a Pushgateway on a port."""
    started = []

    def start(port: int) -> Pushgateway:
        started.append(Pushgateway(tmp_path, port))
        return started[-1]

    yield start
    for each in started:
        each.stop()


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """Return a private CA."""
    return trustme.CA()


@pytest.fixture(scope="session")
def secure_pushgateway(
    authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pushgateway]:
    """Run a Pushgateway behind TLS and basic authentication."""
    directory = tmp_path_factory.mktemp("secure")
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(directory / "server.pem"))
    authority.cert_pem.write_to_path(str(directory / "ca.pem"))
    pem = str(directory / "server.pem")
    running = Pushgateway(
        directory,
        free_port(),
        {
            "tls_server_config": {"cert_file": pem, "key_file": pem},
            "basic_auth_users": {USERNAME: HASH},
        },
        verify=str(directory / "ca.pem"),
        auth=(USERNAME, PASSWORD),
    )
    yield running
    running.stop()


@pytest.fixture
def secure_gateway(
    secure_pushgateway: Pushgateway, authority: trustme.CA, tmp_path: Path
) -> Gateway:
    """Return that Pushgateway with the right credentials."""
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    (tmp_path / "password").write_text(PASSWORD + "\n")
    return Gateway(
        secure_pushgateway.url,
        ca_file=str(tmp_path / "ca.pem"),
        username=USERNAME,
        password_file=str(tmp_path / "password"),
    )


@pytest.fixture
def stand_in() -> Iterator[Callable[..., tuple[str, list[Any]]]]:
    """Return a function that starts a stand-in for a gateway.

    It answers each request as it was told and returns its URL and the requests that it saw.
    """
    servers = []

    def start(status: int, headers: Any = (), body: bytes = b"") -> tuple[str, list[Any]]:
        seen: list[Any] = []

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                seen.append((self.command, self.path, dict(self.headers)))
                self.send_response(status)
                for name, value in dict(headers).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_PUT = do_POST = do_DELETE = answer  # noqa: N815

            def log_message(self, *_arguments: Any) -> None:
                pass

        servers.append(HTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, args=(0.02,)).start()
        return f"http://127.0.0.1:{servers[-1].server_port}", seen

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


class Node:
    """A host of jobs: its configuration, its kept reports and the command line on it."""

    def __init__(self, directory: Path) -> None:
        """Make one that knows no gateway."""
        self.config = directory / "etc"
        self.state = directory / "state"
        self.environment = {
            **{name: text for name, text in os.environ.items() if "BATCH_JOB" not in name},
            "PYTHONPATH": str(PACKAGE),
            "PYTHONDONTWRITEBYTECODE": "1",
            "BATCH_JOB_STATE_DIRECTORY": str(self.state),
            "BATCH_JOB_CONFIG_DIRECTORY": str(self.config),
        }
        (self.config / "jobs").mkdir(parents=True)

    def configure(self, *urls: str) -> None:
        """Write the configuration with these gateways."""
        content = {"instance": INSTANCE, "gateways": [{"url": url} for url in urls]}
        (self.config / "config.json").write_text(json.dumps(content))

    def declare(self, name: str, **keys: Any) -> None:
        """Declare a job."""
        (self.config / "jobs" / f"{name}.json").write_text(json.dumps(keys))

    def command(self, *words: Any) -> list[str]:
        """Return the command line of `batch-job`."""
        return [sys.executable, "-m", "batch_job", *map(os.fsdecode, words)]

    def __call__(
        self, *words: Any, stdin: str = "", prefix: Any = (), **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run `batch-job` and return what it said."""
        return subprocess.run(
            [*prefix, *self.command(*words)],
            env={**self.environment, **environment},
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )

    def start(self, *words: Any, prefix: Any = (), **options: Any) -> subprocess.Popen[bytes]:
        """Start `batch-job` with its output in a pipe."""
        options = {"env": self.environment, "stdout": subprocess.PIPE, **options}
        return subprocess.Popen([*prefix, *self.command(*words)], **options)

    def run(self, *command: str, job: str = "nightly") -> subprocess.CompletedProcess[str]:
        """Run a job that is due within a day."""
        return self("run", "--job", job, "--due-within", "26h", "--", *command)

    def kept(self) -> list[Any]:
        """Return the reports that wait."""
        return Spool(self.state / "spool").kept()


@pytest.fixture
def node(tmp_path: Path, pushgateway: Pushgateway) -> Node:
    """Return a node that reports to the real Pushgateway."""
    made = Node(tmp_path)
    made.configure(pushgateway.url)
    return made


def without(*capabilities: str) -> list[str]:
    """Return the start of a command line that gives up capabilities of root."""
    prefix = ["setpriv", "--bounding-set=" + ",".join(f"-{each}" for each in capabilities)]
    if not shutil.which("setpriv") or subprocess.run([*prefix, "true"], check=False).returncode:
        pytest.skip("root cannot give up its capabilities here: no setpriv, or it is refused")
    return prefix


@pytest.fixture
def unprivileged() -> list[str]:
    """Return the start of a command line after which file modes hold for root, too."""
    return without("dac_override", "dac_read_search") if os.geteuid() == 0 else []


@pytest.fixture
def cannot_signal_others() -> list[str]:
    """Return the start of a command line after which root must not signal other users."""
    if os.geteuid():
        pytest.skip("only root can run a command as somebody else")
    return without("kill")


@pytest.fixture
def dead_url() -> Iterator[str]:
    """Return the URL of a gateway that is down."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
def port() -> int:
    """Return a port of this host on which nobody listens yet."""
    return free_port()


@pytest.fixture
def eventually() -> Callable[..., Any]:
    """Return a wait that ends."""
    return wait_until


@pytest.fixture
def systemd() -> None:
    """Skip a test where nobody knows calendars."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("this host has no systemd-analyze, so calendars cannot be tested here")
