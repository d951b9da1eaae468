"""Prometheus takes a new password when it reloads: the name of the file changes with it."""

import base64
import signal
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import yaml

import clients
import programs
from clients import eventually
from digests import digest_files, name_by_digest

FILES = {"secrets/password": "old", "secrets/other": "x"}
CLIENT = {"basic_auth": {"username": "me", "password_file": "secrets/password"}}


def test_only_files_that_a_configuration_reads_are_copied():
    copies = digest_files(FILES, [CLIENT, {}], [])
    assert list(copies.values()) == ["old"]
    [name] = copies
    assert name_by_digest(CLIENT, FILES)["basic_auth"]["password_file"] == name
    assert name.startswith("secrets/password-")
    assert "old" not in name


def test_an_absolute_name_and_a_list_are_found_and_others_left_alone():
    config = [{"authorization": {"credentials_file": "/etc/prometheus/secrets/other"}}, CLIENT]
    named = name_by_digest(config, {"secrets/other": "x"})
    assert named[0]["authorization"]["credentials_file"].startswith(
        "/etc/prometheus/secrets/other-"
    )
    assert named[1] == CLIENT


def test_what_is_read_at_each_connection_keeps_its_name():
    config = {"tls_config": {"ca_file": "secrets/ca.crt"}}
    files = {"secrets/ca.crt": "x"}
    assert digest_files(files, config) == {}
    assert name_by_digest(config, files) == config


class Guarded(BaseHTTPRequestHandler):
    """Answers a scrape that knows the password of the server."""

    def do_GET(self):
        _user, _, password = (
            base64.b64decode(self.headers["Authorization"].split()[1]).decode().partition(":")
        )
        self.server.seen.append(password)
        self.send_response(200 if password == self.server.password else 401)
        self.send_header("Content-Type", "text/plain")
        self.end_headers()
        self.wfile.write(b"up_to_date 1\n")

    def log_message(self, *words):
        pass


@pytest.fixture
def guarded():
    with HTTPServer(("127.0.0.1", 0), Guarded) as server:
        server.password, server.seen = "old", []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_a_reload_reads_the_new_password(guarded, tmp_path):
    (tmp_path / "secrets").mkdir()

    def configure(password):
        files = {"secrets/password": password}
        scrape = {
            "job_name": "guarded",
            "scrape_interval": "1s",
            "static_configs": [{"targets": [f"127.0.0.1:{guarded.server_port}"]}],
            **CLIENT,
        }
        for name, content in digest_files(files, scrape).items():
            (tmp_path / name).write_text(content)
        text = yaml.safe_dump({"scrape_configs": [name_by_digest(scrape, files)]})
        (tmp_path / "prometheus.yml").write_text(text)

    configure("old")
    port = programs.free_port()
    prometheus = programs.start(
        clients.Prometheus(lambda: f"http://127.0.0.1:{port}"),
        "prometheus",
        f"--config.file={tmp_path}/prometheus.yml",
        f"--storage.tsdb.path={tmp_path}/data",
        f"--web.listen-address=127.0.0.1:{port}",
    )
    try:
        assert eventually(lambda: "old" in guarded.seen)
        guarded.password = "new"
        configure("new")
        prometheus.send_signal(signal.SIGHUP)
        assert eventually(lambda: "new" in guarded.seen, timeout_seconds=15)
    finally:
        prometheus.kill()
        prometheus.wait()
