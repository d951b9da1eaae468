"""The guard of a Pushgateway: nginx with the role's configuration, asked by those it keeps out."""

import base64
import gzip
import http.client
import json
import os
import ssl
import subprocess
import sys
from pathlib import Path

import jinja2
import pytest
import trustme
from ansible.errors import AnsibleFilterError
from nginx import guard_passwords, guard_requests

import programs
from clients import eventually
from guard import guard_accounts, guard_login
from lab import REPOSITORY

TEMPLATES = REPOSITORY / "roles/pushgateway_guard/templates"
KEY, OLD_KEY, STRANGER = "k" * 32, "o" * 32, "s" * 32
HOST = guard_login([KEY], "host", "web-1")
ADDRESS = guard_login([KEY], "host", "v6")
CI = guard_login([KEY], "user", "ci")
READER = guard_login([KEY], "reader", "prometheus")
# Its name ends as a host's does.
SUFFIX = {"username": f"x{HOST['username']}", "password": "p" * 32}
EXTERNAL = [
    {"name": "release", "instance": "", "owner": "developers"},
    {"name": "scan", "instance": "nas-1", "owner": "developers"},
    {"name": "payroll", "instance": "", "owner": "finance"},
]
ACCOUNTS = [
    *guard_accounts(
        [KEY, OLD_KEY],
        {"web-1": "web-1", "web-2": "web-2", "v6": "[fd00::1]"},
        [{"name": "ci", "owner": "developers"}],
        EXTERNAL,
        ["prometheus"],
    ),
    SUFFIX,
]
BODY = b"answer 42\n"
OWN = "/metrics/job/nightly/instance/web-1"


class Guard:
    """A guard on this machine, asked with paths that no client library tidies up."""

    def __init__(self, port: int, authority: str, directory: Path) -> None:
        self.url = f"https://127.0.0.1:{port}"
        self.port = port
        self.authority = authority
        self.directory = directory
        self.context = ssl.create_default_context(cafile=authority)

    def ask(self, method, path, login=None, body=None, **headers):
        """Send a request and return the status of the response."""
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=self.context)
        if login:
            pair = f"{login['username']}:{login['password']}".encode()
            headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        # The path as it is, which the library would check.
        connection._encode_request = lambda request: request.encode("latin-1")
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        response.read()
        connection.close()
        return response.status


def configuration(directory, port, upstream, accounts=ACCOUNTS, **variables):
    """Write what the role writes, and return nginx's command."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 (no page of the web)
    )
    environment.filters |= {"comment": "# {}".format, "guard_requests": guard_requests}
    template = environment.get_template("etc/pushgateway_guard/nginx.conf.j2")
    values = {
        "ansible_managed": "managed",
        "pushgateway_guard_accounts": accounts,
        "pushgateway_guard_listen_address": f"127.0.0.1:{port}",
        "pushgateway_guard_max_body": "1m",
        "pushgateway_guard_upstream": {"url": upstream},
        "__pushgateway_guard_authorization": "",
        "__pushgateway_guard_listen": f"127.0.0.1:{port}",
        **variables,
    }
    # Beside root, nginx gives its workers to another user.
    text = template.render(values)
    (directory / "nginx.conf").write_text(f"user root;\n{text}" if os.geteuid() == 0 else text)
    (directory / "passwords").write_text(guard_passwords(accounts))
    conf = str(directory / "nginx.conf")
    return [str(programs.find("nginx")), "-e", "stderr", "-p", f"{directory}/", "-c", conf]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    gateway = programs.Pushgateway(tmp_path_factory.mktemp("gateway"), programs.free_port())
    yield gateway
    gateway.stop()


@pytest.fixture(scope="module")
def guard(gateway, tmp_path_factory):
    directory = tmp_path_factory.mktemp("guard")
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(directory / "ca.crt")
    certificate.cert_chain_pems[0].write_to_path(directory / "tls.crt")
    certificate.private_key_pem.write_to_path(directory / "tls.key")
    port = programs.free_port()
    command = configuration(directory, port, gateway.url)
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, stderr=log)
    guard = Guard(port, str(directory / "ca.crt"), directory)
    try:
        eventually(lambda: process.poll() is not None or guard.ask("GET", "/"), timeout_seconds=10)
        assert process.poll() is None, (directory / "log").read_text()
        yield guard
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def groups(gateway):
    """Return a function that lists what the gateway holds, which is nothing at first."""
    gateway.wipe()
    eventually(lambda: gateway.groups() == [])
    return lambda: [labels for labels, _ in gateway.groups()]


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_a_host_changes_the_groups_of_its_instance(guard, groups, method):
    assert guard.ask(method, OWN, HOST, BODY) == 200
    assert groups() == [{"job": "nightly", "instance": "web-1"}]
    assert guard.ask("DELETE", OWN, HOST) == 202
    assert eventually(lambda: not groups())


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
@pytest.mark.parametrize(
    "path",
    [
        "/metrics/job/nightly/instance/web-2",
        "/metrics/job/nightly/instance/WEB-1",
        "/metrics/job/nightly/instance/web-11",
        "/metrics/job/nightly/instance/web%2D2",
        "/metrics/job/nightly/instance/web%2d1",
        "/metrics/job/nightly/instance@base64/d2ViLTI",
        "/metrics/job/nightly/instance@base64/d2ViLTE",
        "/metrics/job@base64/bmlnaHRseQ/instance/web-1",
        "/metrics/job@base64/bmlnaHRseQ/instance/web-2",
        "/metrics/job/nightly",
        "/metrics/job/nightly/instance/",
        "/metrics/job/nightly/instance@base64/=",
        "/metrics/job/nightly/instance/web-1/instance/web-2",
        "/metrics/job/nightly/instance/web-2/instance/web-1",
        "/metrics/instance/web-1/job/nightly",
        "/metrics/job/nightly/zone/a/instance/web-1",
        "/metrics/job/nightly/instance/web-1/zone/a",
        "/metrics/job/nightly/Instance/web-1",
        "/metrics/job/nightly/instance/web-1/",
        "/metrics/job/nightly/instance/web-1/../web-2",
        "/metrics/job/nightly/instance/web-2/../web-1",
        "/metrics/job/nightly/instance/web-2/%2e%2e/web-1",
        "/metrics/job/nightly%2Finstance%2Fweb-2/instance/web-1",
        "/metrics/job/../instance/web-1",
        "/metrics/job/./instance/web-1",
        "/metrics/job//instance/web-1",
        "//metrics/job/nightly/instance/web-1",
        "/metrics//job/nightly/instance/web-2",
        "/x/../metrics/job/nightly/instance/web-2",
        "/metrics/job/nightly/instance/web-1?instance=web-2",
        "/metrics/job/nightly/instance/web-1#x",
        "/metrics/job/nightly/instance/web-1%00",
        "/metrics/job/nightly/instance/web-1%0a",
        "/metrics/job/night\\ly/instance/web-1",
        "/metrics/job/nightly;x/instance/web-1",
        "/metrics/job/\u00fc/instance/web-1",
        "http://web-2/metrics/job/nightly/instance/web-2",
        "http://web-2",
        "/METRICS/job/nightly/instance/web-1",
        "/metrics",
        "/api/v1/admin/wipe",
        "/-/quit",
        "/guard",
        "/",
    ],
)
def test_every_other_group_and_every_other_spelling_is_refused(
    guard, gateway, groups, method, path
):
    gateway.push("nightly", "web-2", precious=1)
    before = groups()
    assert guard.ask(method, path, HOST, BODY) in (400, 403, 404)
    assert groups() == before


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PATCH", "TRACE", "put", "MKCOL"])
def test_every_other_method_is_refused(guard, groups, method):
    assert guard.ask(method, OWN, HOST, BODY) in (400, 403, 405)
    assert groups() == []


@pytest.mark.parametrize(
    "login",
    [
        None,
        {**HOST, "password": ""},
        {**HOST, "password": "x" * 64},
        {**HOST, "password": guard_login([KEY], "host", "web-2")["password"]},
        {**HOST, "username": HOST["username"].upper()},
        guard_login([STRANGER], "host", "web-1"),
        {"username": f"{HOST['username']} PUT {OWN}", "password": HOST["password"]},
    ],
    ids=["none", "empty", "wrong", "another host's", "case", "another key", "injected"],
)
@pytest.mark.parametrize("path", [OWN, "/metrics", "/", "/guard", "/-/ready"])
def test_wrong_credentials_open_nothing(guard, groups, login, path):
    for method in ("GET", "PUT", "POST", "DELETE"):
        status = guard.ask(method, path, login, BODY)
        assert status == (404 if path == "/guard" else 401), (method, path)
    assert groups() == []


def test_an_account_whose_name_ends_like_anothers_has_none_of_its_rights(guard, groups):
    assert guard.ask("PUT", OWN, SUFFIX, BODY) == 403
    assert groups() == []


def test_an_old_key_is_valid_until_it_leaves_the_list(guard, groups):
    assert guard.ask("PUT", OWN, guard_login([OLD_KEY], "host", "web-1"), BODY) == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/metrics/job/release", 200),
        ("/metrics/job/scan/instance/nas-1", 200),
        ("/metrics/job/scan", 403),
        ("/metrics/job/release/instance/nas-1", 403),
        ("/metrics/job/payroll", 403),
        ("/metrics/job/Release", 403),
        (OWN, 403),
    ],
)
def test_a_user_changes_the_jobs_of_its_owner_alone(guard, groups, path, status):
    assert guard.ask("PUT", path, CI, BODY) == status
    assert len(groups()) == (status == 200)


@pytest.mark.parametrize("path", ["/metrics", "/api/v1/metrics"])
def test_readers_read_and_nobody_else_does(guard, path):
    assert guard.ask("GET", path, READER) == 200
    assert {guard.ask("GET", path, login) for login in (HOST, CI)} == {403}
    for method in ("PUT", "POST", "DELETE"):
        assert guard.ask(method, OWN, READER, BODY) == 403


@pytest.mark.parametrize("path", ["/", "/status", "/api/v1/status", "/-/ready", "/metrics?x"])
def test_pages_and_status_are_for_nobody(guard, path):
    assert {guard.ask("GET", path, login) for login in (HOST, CI, READER)} == {403}


def test_an_address_is_allowed_as_clients_write_it(guard, groups):
    for instance in ("[fd00::1]", "%5Bfd00%3A%3A1%5D"):
        path = f"/metrics/job/a%3Ab/instance/{instance}"
        assert guard.ask("PUT", path, ADDRESS, BODY) == 200
    assert groups() == [{"job": "a:b", "instance": "[fd00::1]"}]


def test_a_body_cannot_claim_another_instance(guard, gateway, groups):
    text = b'# TYPE answer gauge\nanswer{instance="web-2",job="other"} 42\n'
    assert guard.ask("PUT", OWN, HOST, text) == 200
    (sample,) = [sample for sample in gateway.metrics() if sample.name == "answer"]
    assert sample.labels == {"job": "nightly", "instance": "web-1"}


def test_a_long_body_is_refused_packed_or_not(guard, groups):
    text = b"# %s\n" % (b"x" * (2 << 20))
    assert guard.ask("PUT", OWN, HOST, text) == 413
    packed = {"Content-Encoding": "gzip"}
    assert guard.ask("PUT", OWN, HOST, gzip.compress(text), **packed) == 415
    assert groups() == []


@pytest.fixture
def reporter(guard, groups, tmp_path):
    """Return a function that runs `batch-job` as a host with an instance."""
    (tmp_path / "password").write_text(HOST["password"])
    gateway = {
        "url": guard.url,
        "ca_file": guard.authority,
        "username": HOST["username"],
        "password_file": "password",
    }

    def run(*words, instance="web-1"):
        config = {"instance": instance, "gateways": [gateway]}
        (tmp_path / "config.json").write_text(json.dumps(config))
        return subprocess.run(
            [sys.executable, "-m", "batch_job", *words],
            env={
                **os.environ,
                "PYTHONPATH": str(REPOSITORY / "files/batch_job"),
                "BATCH_JOB_STATE_DIRECTORY": str(tmp_path / instance),
                "BATCH_JOB_CONFIG_DIRECTORY": str(tmp_path),
            },
            capture_output=True,
            text=True,
            check=False,
        )

    return run


REGISTER = ("register", "--job", "nightly", "--max-age")


def test_the_reporter_registers_and_reports_where_it_may_not_read(reporter, gateway):
    first = reporter(*REGISTER, "26h")
    assert (first.returncode, first.stderr) == (0, "")
    deadline = gateway.value("batch_job_deadline_timestamp_seconds", "nightly")
    assert reporter(*REGISTER, "26h").stdout == "nothing changed\n"
    assert ": registered at " in reporter(*REGISTER, "26h", "--owner", "ops").stdout
    assert gateway.value("batch_job_deadline_timestamp_seconds", "nightly") == deadline
    assert reporter("run", "--job", "nightly", "--max-age", "26h", "--", "true").stderr == ""
    assert gateway.value("batch_job_last_exit_code", "nightly") == 0
    assert reporter("delete", "--job", "nightly").returncode == 0
    assert eventually(lambda: not gateway.groups())


def test_the_reporter_of_another_host_is_refused_and_keeps_its_report(reporter, groups):
    assert reporter(*REGISTER, "26h", instance="web-2").returncode == 77
    done = reporter("run", "--job", "nightly", "--", "true", instance="web-2")
    assert (done.returncode, groups()) == (0, [])
    assert "answers 403 Forbidden" in done.stderr
    assert "the report is kept" in done.stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [({"password": "short"}, "is shorter than 20"), ({"username": "a:b"}, "has a colon")],
)
def test_an_account_that_cannot_be_guarded_is_refused(change, message):
    with pytest.raises(AnsibleFilterError, match=message):
        guard_passwords([{"username": "a", "password": "p" * 20, **change}])


def test_a_short_key_and_a_user_without_jobs_are_refused():
    with pytest.raises(AnsibleFilterError, match="openssl rand"):
        guard_login(["change me"], "host", "web-1")
    with pytest.raises(AnsibleFilterError, match="has no job of 'nobody'"):
        guard_accounts([KEY], {}, [{"name": "ci", "owner": "nobody"}], EXTERNAL, [])


CERTIFICATE = trustme.CA().issue_cert("push.example.org")
CLOSED = {"pushgateway_listen_address": "127.0.0.1:9091"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (CLOSED, ""),
        ({}, "set pushgateway_listen_address to 127.0.0.1:9091"),
        ({**CLOSED, "site_address": "other.example.org"}, "it is not for other.example.org"),
        ({**CLOSED, "site_guard_keys": ["change me"]}, "site_guard_keys needs a key of at least"),
    ],
    ids=["fine", "can be passed by", "another name", "short key"],
)
def test_a_site_that_nobody_would_guard_is_refused(change, message, tmp_path):
    gateway = {"hosts": {"push.example.org": None}}
    variables = {
        "site_guard_keys": [KEY],
        "pushgateway_guard_certificate": CERTIFICATE.cert_chain_pems[0].bytes().decode(),
        "pushgateway_guard_key": CERTIFICATE.private_key_pem.bytes().decode(),
        **change,
    }
    inventory = {"pushgateway": gateway, "pushgateway_guard": gateway}
    (tmp_path / "hosts.json").write_text(json.dumps(inventory))
    (tmp_path / "extra.json").write_text(json.dumps(variables))
    done = subprocess.run(
        [
            "ansible-playbook",
            f"-i{tmp_path}/hosts.json",
            f"-e@{tmp_path}/extra.json",
            "playbooks/check_inventory.yml",
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert (done.returncode == 0) == (not message), done.stdout + done.stderr
    assert message in " ".join((done.stdout + done.stderr).split())
