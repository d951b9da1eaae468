"""Pushgateway: state that lasts, versions that change, doors that are closed."""

import pytest
import requests
import trustme

from clients import Prometheus, Pushgateway, eventually
from conftest import connect
from lab import mirror

testinfra_hosts = ["ansible://debian13"]

PERSISTENCE_INTERVAL_SECONDS = 5


@pytest.fixture
def gateway():
    return connect(Pushgateway, "debian13")


def version(gateway):
    return gateway.get("/api/v1/status").json()["data"]["build_information"]["version"]


def test_pushed_metrics_survive_a_crash(host, gateway):
    gateway.push("crash", answer=42)
    stored = host.file("/var/lib/pushgateway/metrics.db")
    eventually(lambda: b"crash" in stored.content, PERSISTENCE_INTERVAL_SECONDS + 2)
    pid = host.service("pushgateway").systemd_properties["MainPID"]
    host.check_output("systemctl kill --signal=KILL pushgateway")
    assert eventually(lambda: gateway.value("answer", job="crash") == 42)
    assert host.service("pushgateway").systemd_properties["MainPID"] != pid


def test_what_was_pushed_just_before_a_restart_survives_it(host, gateway):
    gateway.push("restart", answer=43)
    host.check_output("systemctl restart pushgateway")
    assert eventually(lambda: gateway.value("answer", job="restart") == 43)


def test_upgrade_and_rollback_keep_pushed_metrics_and_both_releases(host, gateway, changed_host):
    newest, previous = mirror.versions()["pushgateway"]
    assert version(gateway).startswith(newest)
    gateway.push("upgrade", answer=44)
    assert changed_host("debian13", "pushgateway", pushgateway_version=previous).status == 0
    assert version(gateway).startswith(previous)
    assert gateway.value("answer", job="upgrade") == 44
    assert changed_host("debian13", "pushgateway", pushgateway_version=newest).status == 0
    assert version(gateway).startswith(newest)
    assert gateway.value("answer", job="upgrade") == 44
    unpacked = host.check_output("ls -d /opt/pushgateway-*").split()
    assert len(unpacked) == 2


def test_a_wrong_checksum_stops_an_upgrade_and_leaves_the_running_service_alone(
    host, gateway, changed_host
):
    other = mirror.versions()["pushgateway"][1]
    host.check_output("rm -rf /opt/pushgateway-%s*", other)
    pid = host.service("pushgateway").systemd_properties["MainPID"]
    done = changed_host(
        "debian13",
        "pushgateway",
        pushgateway_version=other,
        pushgateway_checksum="sha256:" + "0" * 64,
    )
    assert done.status != 0
    assert "has the wrong checksum, nothing was installed" in done.message
    assert done.changed("debian13") == 0
    assert host.service("pushgateway").systemd_properties["MainPID"] == pid
    assert not version(gateway).startswith(other)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"pushgateway_web_config": {"tls_server_config": {"cert_fil": "x"}}}, "cert_fil"),
        ({"pushgateway_web_config": {"basic_auth_users": {"me": "change me"}}}, "hash"),
        ({"pushgateway_persistence_interval": "5seconds"}, 'unknown unit "seconds"'),
    ],
    ids=["misspelt key", "no hash", "no duration"],
)
def test_what_would_end_the_program_is_refused_while_it_runs_on(host, rollout, variables, message):
    pid = host.service("pushgateway").systemd_properties["MainPID"]
    done = rollout("--limit", "debian13", "--tags", "pushgateway", variables=variables)
    assert done.status != 0
    assert "refuses it, nothing was changed" in done.message
    assert message in done.message
    assert done.changed("debian13") == 0
    assert host.service("pushgateway").systemd_properties["MainPID"] == pid


def test_a_boolean_on_the_command_line_counts(rollout):
    arguments = ("--limit", "debian13", "--tags", "pushgateway", "--check", "--diff")
    done = rollout(*arguments, "-e", "pushgateway_persistence_enabled=no")
    assert done.changed("debian13") == 2  # the unit and the restart


def test_the_state_may_live_elsewhere(host, gateway, changed_host):
    done = changed_host("debian13", "pushgateway", pushgateway_state_directory="/srv/push gateway")
    assert done.status == 0, done.message
    gateway.push("elsewhere", answer=45)
    stored = host.file("/srv/push gateway/metrics.db")
    assert eventually(lambda: b"elsewhere" in stored.content)


def wipe(gateway):
    return requests.put(f"{gateway.url}/api/v1/admin/wipe", timeout=10).status_code


def test_the_admin_api_is_closed_unless_it_is_asked_for(gateway, changed_host):
    gateway.push("precious", answer=46)
    assert wipe(gateway) == 404
    assert "precious" in [labels["job"] for labels, _ in gateway.groups()]
    changed_host("debian13", "pushgateway", pushgateway_admin_api_enabled=True)
    assert wipe(gateway) == 202
    assert eventually(lambda: gateway.groups() == [])


def test_the_lifecycle_api_is_closed(gateway):
    assert requests.put(f"{gateway.url}/-/quit", timeout=10).status_code == 403


# bcrypt of "correct horse", with few rounds so that tests stay fast.
HASH = "$2b$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e"


@pytest.fixture
def secured(changed_host, tmp_path):
    """Roll out a gateway and a Prometheus that speak TLS and ask for a password."""
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1", "debian13")
    authority_pem = authority.cert_pem.bytes().decode()
    done = changed_host(
        "debian13",
        "pushgateway,prometheus",
        pushgateway_web_config={
            "tls_server_config": {"cert_file": "tls.crt", "key_file": "tls.key"},
            "basic_auth_users": {"reporter": HASH},
        },
        pushgateway_secret_files={
            "tls.crt": certificate.cert_chain_pems[0].bytes().decode(),
            "tls.key": certificate.private_key_pem.bytes().decode(),
            "ca.crt": authority_pem,
        },
        pushgateway_ready={
            "username": "reporter",
            "password": "correct horse",
            "ca_path": "/etc/pushgateway/ca.crt",
        },
        prometheus_pushgateway_targets=["debian13:9091"],
        prometheus_pushgateway_http_client={
            "scheme": "https",
            "basic_auth": {"username": "reporter", "password_file": "secrets/pushgateway"},
            "tls_config": {"ca_file": "secrets/ca.crt"},
        },
        prometheus_secret_files={
            "secrets/pushgateway": "correct horse",
            "secrets/ca.crt": authority_pem,
        },
    )
    assert done.status == 0, done.message
    assert "correct horse" not in done.diff
    (tmp_path / "ca.crt").write_text(authority_pem)
    return str(tmp_path / "ca.crt")


def test_a_secured_gateway_takes_a_push_over_tls_with_the_password_only(secured, gateway):
    prometheus = connect(Prometheus, "debian13")
    url = gateway.url.replace("http:", "https:")
    body = b"answer 47\n"

    def push(**options):
        path = f"{url}/metrics/job/secured"
        return requests.post(path, data=body, timeout=10, **options).status_code

    assert push(verify=secured, auth=("reporter", "correct horse")) == 200
    assert push(verify=secured, auth=("reporter", "wrong")) == 401
    assert push(verify=secured) == 401
    with pytest.raises(requests.exceptions.SSLError):
        push(auth=("reporter", "correct horse"))
    assert requests.post(f"{gateway.url}/metrics/job/x", data=body, timeout=10).status_code == 400
    assert eventually(lambda: prometheus.labels('answer{job="secured"}'))


def test_a_push_that_contradicts_anothers_type_is_refused(gateway):
    url = f"{gateway.url}/metrics/job"
    first = requests.put(f"{url}/one", data="# TYPE shared gauge\nshared 1\n", timeout=10)
    second = requests.put(f"{url}/two", data="# TYPE shared counter\nshared 1\n", timeout=10)
    assert (first.status_code, second.status_code) == (200, 400)


def state_written(host):
    """Have the gateway told when its state was written, and return what it knows of that."""
    host.check_output("systemctl start pushgateway-state.service")
    name = host.backend.get_hostname()
    return connect(Pushgateway, name).value(
        "pushgateway_state_written_timestamp_seconds", job="pushgateway_state"
    )


def now(host):
    return float(host.check_output("date +%s"))


def test_the_gateway_is_told_when_its_state_was_written(host):
    assert host.service("pushgateway-state.timer").is_running
    assert eventually(lambda: now(host) - state_written(host) < 30, timeout_seconds=60)


def test_a_state_that_cannot_be_written_shows_though_pushes_are_answered_200(host):
    assert eventually(lambda: now(host) - state_written(host) < 30, timeout_seconds=60)
    host.check_output("chmod 0550 /var/lib/pushgateway && chown root /var/lib/pushgateway")
    try:
        before = state_written(host)
        gateway = connect(Pushgateway, host.backend.get_hostname())
        assert gateway.push("unlucky", answer=42).status_code == 200
        with pytest.raises(TimeoutError):
            eventually(lambda: state_written(host) > before, 2 * PERSISTENCE_INTERVAL_SECONDS + 2)
    finally:
        host.check_output(
            "chown pushgateway /var/lib/pushgateway && chmod 0750 /var/lib/pushgateway"
        )
