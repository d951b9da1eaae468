"""Pushgateway: state that lasts, versions that change, doors that are closed."""

import pytest
import requests
import trustme

from clients import Pushgateway, eventually
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


def test_upgrade_and_rollback_keep_pushed_metrics_and_both_releases(copy):
    newest, previous = mirror.versions()["pushgateway"]
    assert version(copy.pushgateway).startswith(newest)
    copy.pushgateway.push("upgrade", answer=44)
    for other in (previous, newest):
        assert copy.roll_out("pushgateway", pushgateway_version=other).status == 0
        assert version(copy.pushgateway).startswith(other)
        assert copy.pushgateway.value("answer", job="upgrade") == 44
    unpacked = copy.host.check_output("ls -d /opt/pushgateway-*").split()
    assert len(unpacked) == 2


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        (
            {
                "pushgateway_version": mirror.versions()["pushgateway"][1],
                "pushgateway_checksum": "sha256:" + "0" * 64,
            },
            ["has the wrong checksum, nothing was installed"],
        ),
        (
            {"pushgateway_web_config": {"tls_server_config": {"cert_fil": "x"}}},
            ["cert_fil", "nothing was changed"],
        ),
        (
            {"pushgateway_web_config": {"basic_auth_users": {"me": "change me"}}},
            ["pushgateway_web_config: the value of me is no bcrypt hash"],
        ),
        (
            {"pushgateway_persistence_interval": "5seconds"},
            ['unknown unit "seconds"', "nothing was changed"],
        ),
    ],
    ids=["wrong checksum", "misspelt key", "no hash", "no duration"],
)
def test_what_would_end_the_program_is_refused_while_it_runs_on(
    host, gateway, refused, variables, words
):
    before = host.service("pushgateway").systemd_properties["MainPID"], version(gateway)
    refusal = refused("debian13", "pushgateway", **variables)
    assert [word for word in words if word not in refusal] == []
    assert (host.service("pushgateway").systemd_properties["MainPID"], version(gateway)) == before


def test_a_boolean_on_the_command_line_counts(rollout):
    arguments = ("--limit", "debian13", "--tags", "pushgateway", "--check", "--diff")
    done = rollout(*arguments, "-e", "pushgateway_persistence_enabled=no")
    assert done.changed("debian13") == 2  # the unit and the restart


def wipe(gateway):
    return requests.put(f"{gateway.url}/api/v1/admin/wipe", timeout=10).status_code


def test_the_admin_api_is_closed_unless_it_is_asked_for(gateway):
    gateway.push("precious", answer=46)
    assert wipe(gateway) == 404
    assert "precious" in [labels["job"] for labels, _ in gateway.groups()]


@pytest.fixture(scope="module")
def elsewhere(copied):
    """Roll out a gateway with its state below /home, and with the admin API."""
    with copied("debian13") as copy:
        done = copy.roll_out(
            "pushgateway",
            pushgateway_state_directory="/home/push gateway",
            pushgateway_admin_api_enabled=True,
        )
        assert done.status == 0, done.message
        yield copy


def test_the_state_may_live_elsewhere(elsewhere):
    elsewhere.pushgateway.push("elsewhere", answer=45)
    stored = elsewhere.host.file("/home/push gateway/metrics.db")
    assert eventually(lambda: b"elsewhere" in stored.content)


def test_the_admin_api_that_was_asked_for_deletes_everything(elsewhere):
    elsewhere.pushgateway.push("precious", answer=46)
    assert wipe(elsewhere.pushgateway) == 202
    assert eventually(lambda: elsewhere.pushgateway.groups() == [])


def test_the_lifecycle_api_is_closed(gateway):
    assert requests.put(f"{gateway.url}/-/quit", timeout=10).status_code == 403


# bcrypt of "correct horse", with few rounds so that tests stay fast.
HASH = "$2b$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e"


@pytest.fixture
def secured(copy, tmp_path):
    """Roll out a gateway and a Prometheus that speak TLS and ask for a password."""
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1", "debian13")
    authority_pem = authority.cert_pem.bytes().decode()
    done = copy.roll_out(
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
        site_address="debian13",
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


def test_a_secured_gateway_takes_a_push_over_tls_with_the_password_only(secured, copy):
    url = copy.pushgateway.url.replace("http:", "https:")
    body = b"answer 47\n"

    def push(**options):
        path = f"{url}/metrics/job/secured"
        return requests.post(path, data=body, timeout=10, **options).status_code

    assert push(verify=secured, auth=("reporter", "correct horse")) == 200
    assert push(verify=secured, auth=("reporter", "wrong")) == 401
    assert push(verify=secured) == 401
    with pytest.raises(requests.exceptions.SSLError):
        push(auth=("reporter", "correct horse"))
    plain = f"{copy.pushgateway.url}/metrics/job/x"
    assert requests.post(plain, data=body, timeout=10).status_code == 400
    assert eventually(lambda: copy.prometheus.labels('answer{job="secured"}'))


def test_a_push_that_contradicts_anothers_type_is_refused(gateway):
    url = f"{gateway.url}/metrics/job"
    first = requests.put(f"{url}/one", data="# TYPE shared gauge\nshared 1\n", timeout=10)
    second = requests.put(f"{url}/two", data="# TYPE shared counter\nshared 1\n", timeout=10)
    assert (first.status_code, second.status_code) == (200, 400)


def state_written(copy):
    """Have the gateway told when its state was written, and return what it knows of that."""
    copy.host.check_output("systemctl start pushgateway-state.service")
    written = "pushgateway_state_written_timestamp_seconds"
    return copy.pushgateway.value(written, job="pushgateway_state")


def now(host):
    return float(host.check_output("date +%s"))


def test_a_gateway_is_told_when_its_state_was_written_and_when_it_no_longer_can_be(copy):
    assert copy.host.service("pushgateway-state.timer").is_running
    assert eventually(lambda: now(copy.host) - state_written(copy) < 30, timeout_seconds=60)
    copy.host.check_output("chmod 0550 /var/lib/pushgateway && chown root /var/lib/pushgateway")
    before = state_written(copy)
    assert copy.pushgateway.push("unlucky", answer=42).status_code == 200
    with pytest.raises(TimeoutError):
        eventually(lambda: state_written(copy) > before, 2 * PERSISTENCE_INTERVAL_SECONDS + 2)
    # A restart would lose the push.
    done = copy.roll_out("pushgateway", pushgateway_log_format="json")
    assert "would lose what was pushed" in done.message
    assert copy.pushgateway.value("answer", job="unlucky") == 42
