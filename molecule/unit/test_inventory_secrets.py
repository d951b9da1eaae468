"""What would lock everybody out of a service is refused before anything changes."""

import datetime

import bcrypt
import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from secrets_of_site import certificate_ends, secret_faults, vault_names

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)
HASH = bcrypt.hashpw(b"correct horse", bcrypt.gensalt(4)).decode()
AUTHORITY = trustme.CA()


def pem(certificate):
    return certificate.cert_chain_pems[0].bytes().decode()


def issued(*names, **dates):
    certificate = AUTHORITY.issue_cert(*names, **dates)
    return {"tls.crt": pem(certificate), "tls.key": certificate.private_key_pem.bytes().decode()}


GOOD = issued("push.example.org", "10.0.0.5", "localhost")
CA = {"ca.crt": AUTHORITY.cert_pem.bytes().decode()}


def faults(role="pushgateway", addresses=("push.example.org", "10.0.0.5"), files=None, **changed):
    variables = {
        f"{role}_web_config": {
            "tls_server_config": {"cert_file": "tls.crt", "key_file": "tls.key"},
            "basic_auth_users": {"me": HASH},
        },
        f"{role}_ready": {
            "username": "me",
            "password": "correct horse",
            "ca_path": f"/etc/{role}/ca.crt",
        },
        f"{role}_secret_files": {**CA, **GOOD, **(files or {})},
    }
    return secret_faults({**variables, **changed}, role, addresses)


def test_a_site_that_works_is_accepted():
    assert faults() == []
    assert secret_faults({}, "prometheus", ["x"]) == []


def without_key_usage():
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "made by openssl")])
    built = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, NOW - DAY, NOW + DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return built.public_bytes(Encoding.PEM).decode()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (issued("push.example.org", "10.0.0.5", not_after=NOW - DAY), "tls.crt: it expired at"),
        (issued("push.example.org", "10.0.0.5", not_before=NOW + DAY), "it is not valid before"),
        (issued("push.example.org"), "tls.crt: it is not for 10.0.0.5, where it is asked"),
        (issued("other.example.org", "10.0.0.5"), "it is not for push.example.org"),
        ({"tls.key": issued("push.example.org")["tls.key"]}, "tls.key: the key is not that of"),
        ({"tls.crt": "nothing"}, "tls.crt: it is no certificate in PEM"),
        ({"ca.crt": trustme.CA().cert_pem.bytes().decode()}, "ca.crt did not sign it"),
        ({"ca.crt": without_key_usage()}, "lacks the key usage keyCertSign"),
        ({"ca.crt": "nothing"}, "it is no certificate in PEM"),
    ],
)
def test_a_certificate_that_nobody_could_trust_is_refused(files, message):
    found = faults(files=files)
    assert any(message in fault for fault in found), found
    assert all(fault.startswith("pushgateway_secret_files") for fault in found)


@pytest.mark.parametrize(
    ("changed", "address"),
    [
        ({}, "localhost"),
        ({"pushgateway_listen_address": "10.0.0.6:9091"}, "10.0.0.6"),
        ({"pushgateway_listen_address": "[::]:9091"}, "localhost"),
    ],
)
def test_the_certificate_is_for_where_the_rollout_asks(changed, address):
    [fault] = faults(files=issued("push.example.org", "10.0.0.5"), **changed)
    assert f"it is not for {address}" in fault


def test_names_do_not_matter_where_nobody_checks_the_certificate():
    ready = {"username": "me", "password": "correct horse", "validate_certs": False}
    assert faults(files=issued("else.example.org"), pushgateway_ready=ready) == []


def test_a_wildcard_covers_one_label():
    wild = issued("*.example.org", "10.0.0.5", "localhost")
    assert faults(files=wild) == []
    assert faults(files=wild, addresses=["a.push.example.org"])


@pytest.mark.parametrize(
    ("ready", "message"),
    [
        ({"username": "me", "password": "wrong"}, "the hash of me is not that of the password"),
        ({"username": "you", "password": "correct horse"}, "username you is none of"),
        ({}, "username None is none of"),
    ],
)
def test_a_password_that_does_not_fit_its_hash_is_refused(ready, message):
    [fault] = faults(pushgateway_ready={"ca_path": "/etc/pushgateway/ca.crt", **ready})
    assert message in fault
    assert "correct horse" not in fault
    assert HASH not in fault


def test_a_password_in_place_of_its_hash_is_refused():
    users = {"basic_auth_users": {"me": "correct horse"}}
    [fault] = faults(pushgateway_web_config=users)
    assert "the value of me is no bcrypt hash" in fault
    assert "correct horse" not in fault


@pytest.mark.parametrize(
    ("path", "is_refused"),
    [
        ("secrets/x", True),
        ("/etc/alertmanager/secrets/x", True),
        ("secrets/there", False),
        ("/etc/alertmanager/secrets/there", False),
        ("/run/credentials/x", False),
    ],
)
def test_a_file_that_nothing_provides_is_refused(path, is_refused):
    variables = {
        "alertmanager_receivers": [{"name": "chat", "webhook_configs": [{"url_file": path}]}],
        "alertmanager_secret_files": {"secrets/there": "x"},
    }
    found = secret_faults(variables, "alertmanager", [])
    assert bool(found) == is_refused
    assert all("url_file names" in fault for fault in found)


@pytest.mark.parametrize(
    "used",
    [
        {"alertmanager_owners": {"dba": "gone"}},
        {"alertmanager_severities": [{"name": "info"}, {"name": "critical", "receiver": "gone"}]},
    ],
)
def test_a_receiver_that_nobody_defines_is_refused(used):
    [fault] = secret_faults(
        {"alertmanager_receivers": [{"name": "chat"}], **used}, "alertmanager", []
    )
    assert fault.startswith(next(iter(used)))
    assert "there is no receiver 'gone'" in fault
    assert "chat" in fault


def test_the_end_of_a_chain_is_that_of_its_first_certificate_to_end():
    end = NOW + 5 * DAY
    short = issued("push.example.org", not_after=end)["tls.crt"]
    files = {"tls.crt": short + GOOD["tls.crt"], "password": "x"}
    [found] = certificate_ends(files, "push-1")
    assert found == {
        "instance": "push-1",
        "file": "tls.crt",
        "expires_timestamp_seconds": int(end.timestamp()),
    }


def test_only_secrets_that_an_inventory_uses_are_named(tmp_path):
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars/a.yml").write_text(
        'a: "{{ vault_used }}"\n# b: "{{ vault_in_a_comment }}"\nc: "{{ vault_other[x] }}"\n'
    )
    (tmp_path / "group_vars/vault.yml").write_text("vault_unused: x\n")
    assert vault_names(str(tmp_path)) == ["vault_other", "vault_used"]
