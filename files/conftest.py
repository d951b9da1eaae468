"""A real Pushgateway, and stand-ins that misbehave, for the tests of all that reports to one."""

from __future__ import annotations

import functools
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme

import clients
from batch_job.gateway import Gateway
from programs import Pushgateway, free_port

USERNAME, PASSWORD = "reporter", "correct horse"
# bcrypt of PASSWORD, at the lowest cost there is.
HASH = "$2b$04$vQGEv8k8Lnk4kQdvFOa8V.WAF/L6X0eeWYwTnhaOtMhMU/l7JRKF2"


@pytest.fixture(scope="session", autouse=True)
def signals_of_a_terminal() -> None:
    """Take signals as in the foreground: a background job of a shell, or of nohup, ignores them."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


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
def tls_and_password(
    authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """Return a service's web configuration, and how its client passes."""
    directory = tmp_path_factory.mktemp("secure")
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(directory / "server.pem"))
    authority.cert_pem.write_to_path(str(directory / "ca.pem"))
    pem = str(directory / "server.pem")
    return {
        "web_config": {
            "tls_server_config": {"cert_file": pem, "key_file": pem},
            "basic_auth_users": {USERNAME: HASH},
        },
        "verify": str(directory / "ca.pem"),
        "auth": (USERNAME, PASSWORD),
    }


@pytest.fixture(scope="session")
def secure_pushgateway(
    tls_and_password: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pushgateway]:
    """Run a Pushgateway behind TLS and basic authentication."""
    running = Pushgateway(tmp_path_factory.mktemp("secure"), free_port(), **tls_and_password)
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
def stand_in_gateway() -> Iterator[Callable[..., tuple[str, list[Any]]]]:
    """Return a function that starts a stand-in for a gateway.

    It gives each request the same answer; return its URL and the requests that it saw.
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
    return functools.partial(clients.eventually, timeout_seconds=10, pause_seconds=0.02)
