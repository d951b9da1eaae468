"""The secrets of a site: made once, renewed when due, old and new valid together for a while."""

import datetime
import socket
import ssl
import sys
import threading

import bcrypt
import pytest
from cryptography import x509

from lab import REPOSITORY
from secrets_of_site import secret_faults

sys.path.insert(0, str(REPOSITORY / "playbooks/action_plugins"))
from site_secrets import renewed

HOSTS = {"push.example.org": ["10.0.0.5"], "metrics.example.org": []}
NOW = datetime.datetime.now(datetime.UTC)


@pytest.fixture(scope="module")
def first():
    return renewed({}, HOSTS, ["vault_smtp_password"])[0]


def test_a_second_run_changes_nothing(first):
    assert renewed(first, HOSTS, ["vault_smtp_password"]) == (first, [])


def test_what_the_inventory_checks_is_fulfilled(first):
    [account] = first["vault_accounts"]["pushgateway"]
    pair = first["vault_certificates"]["push.example.org"]
    variables = {
        "pushgateway_web_config": {
            "tls_server_config": {"cert_file": "tls.crt", "key_file": "tls.key"},
            "basic_auth_users": {account["username"]: account["hash"]},
        },
        "pushgateway_secret_files": {
            "tls.crt": pair["certificate"],
            "tls.key": pair["key"],
            "ca.crt": first["vault_ca_certificate"],
        },
        "pushgateway_ready": {
            "username": account["username"],
            "password": account["password"],
            "ca_path": "/etc/pushgateway/ca.crt",
        },
    }
    assert secret_faults(variables, "pushgateway", ["push.example.org", "10.0.0.5"]) == []


def test_what_somebody_filled_in_stays_and_only_the_rest_is_asked_for(first):
    filled = {**first, "vault_smtp_password": "x", "vault_of_mine": "y"}
    again, done = renewed(filled, HOSTS, ["vault_smtp_password", "vault_slack_url"])
    assert (again["vault_smtp_password"], again["vault_of_mine"]) == ("x", "y")
    assert done == ["vault_slack_url: fill it in"]


def test_a_secret_that_nobody_filled_in_leaves_with_its_receiver(first):
    new, done = renewed(first, HOSTS, [])
    assert "vault_smtp_password" not in new
    assert done == ["vault_smtp_password: no longer asked for"]


def test_the_old_password_is_accepted_until_it_is_retired(first):
    new, _ = renewed(first, HOSTS, [], renew=["passwords"])
    for service, [account] in first["vault_accounts"].items():
        current, former = new["vault_accounts"][service]
        assert former == account
        assert current["username"] != former["username"]
        assert bcrypt.checkpw(current["password"].encode(), current["hash"].encode())
    assert new["vault_guard_keys"][1:] == first["vault_guard_keys"]
    retired, _ = renewed(new, HOSTS, [], retire=["passwords"])
    assert retired["vault_guard_keys"] == new["vault_guard_keys"][:1]
    assert all(len(users) == 1 for users in retired["vault_accounts"].values())
    assert retired["vault_accounts"]["prometheus"][0] == new["vault_accounts"]["prometheus"][0]


def test_no_service_has_the_password_of_another(first):
    passwords = [users[0]["password"] for users in first["vault_accounts"].values()]
    assert len(set(passwords)) == len(passwords) == 3


def days(count):
    return NOW + datetime.timedelta(days=count)


@pytest.mark.parametrize(("later", "is_due"), [(300, False), (340, True)])
def test_a_certificate_is_renewed_when_it_is_due(first, later, is_due):
    new, done = renewed(first, HOSTS, [], now=days(later))
    assert ("push.example.org: new certificate" in done) == is_due
    assert new["vault_ca_certificate"] == first["vault_ca_certificate"]


def test_an_authority_is_renewed_before_its_certificates_outlive_it(first):
    assert "ca: new one" in renewed(first, HOSTS, [], now=days(3260))[1]


def test_certificates_follow_the_hosts_and_their_addresses(first):
    hosts = {"push.example.org": ["10.0.0.6"], "new.example.org": []}
    new, done = renewed(first, hosts, ["vault_smtp_password"])
    assert set(new["vault_certificates"]) == set(hosts)
    assert done == [
        "push.example.org: new certificate",
        "new.example.org: new certificate",
        "metrics.example.org: its certificate was removed",
    ]


def trusts(tmp_path, trusted, served):
    """Return whether a strict client that trusts an authority talks to a server."""
    (tmp_path / "chain.pem").write_text(served["certificate"])
    (tmp_path / "key.pem").write_text(served["key"])
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "chain.pem", tmp_path / "key.pem")
    client = ssl.create_default_context(cadata=trusted)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    near, far = socket.socketpair()

    def serve():
        try:
            server.wrap_socket(far, server_side=True).close()
        except (ssl.SSLError, OSError):
            far.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        client.wrap_socket(near, server_hostname="push.example.org").close()
    except ssl.SSLError:
        return False
    finally:
        near.close()
        thread.join(5)
    return True


def test_old_and_new_authority_are_trusted_from_both_sides(first, tmp_path):
    new, _ = renewed(first, HOSTS, [], renew=["ca"])
    retired, _ = renewed(new, HOSTS, [], retire=["ca"])
    old_ca, both, new_ca = (vault["vault_ca_certificate"] for vault in (first, new, retired))
    before, during, after = (
        vault["vault_certificates"]["push.example.org"] for vault in (first, new, retired)
    )
    assert len(x509.load_pem_x509_certificates(both.encode())) == 2
    assert trusts(tmp_path, old_ca, before)
    # A client that was not rolled out yet, and a server that was not.
    assert trusts(tmp_path, old_ca, during)
    assert trusts(tmp_path, both, before)
    assert trusts(tmp_path, both, during)
    assert trusts(tmp_path, both, after)
    assert trusts(tmp_path, new_ca, during)
    assert not trusts(tmp_path, old_ca, after)
    assert not trusts(tmp_path, new_ca, before)
    assert "vault_ca_key" in new
    assert after["key"] == during["key"]
