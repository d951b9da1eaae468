"""Action: a vault with the certificates, passwords and hashes of a site, written encrypted."""

from __future__ import annotations

import datetime
import ipaddress
import os
import secrets
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SERVICES = ("pushgateway", "prometheus", "alertmanager")
PARTS = ("passwords", "certificates", "ca")

AUTHORITY_DAYS = 3650
CERTIFICATE_DAYS = 365
# The alert comes 21 days before the end.
RENEWED_BEFORE_DAYS = 30
# Clocks of hosts differ.
BACKDATED = datetime.timedelta(hours=1)
BCRYPT_ROUNDS = 10
UNFILLED = "change me"

Vault = dict[str, Any]


def renewed(
    vault: Mapping[str, Any],
    hosts: Mapping[str, Iterable[str]],
    wanted: Iterable[str],
    renew: Iterable[str] = (),
    retire: Iterable[str] = (),
    now: datetime.datetime | None = None,
) -> tuple[Vault, list[str]]:
    """Return the content of a vault that has all that a site needs, and what was done for that.

    `hosts` are the names and addresses of each host with a service; `wanted` are the names of
    further secrets, which somebody fills in. What is there and not due stays. `renew` makes new
    passwords, certificates or an authority, beside which the old ones go on to be accepted, until
    `retire` names them.
    """
    now = now or datetime.datetime.now(datetime.UTC)
    new: Vault = {name: vault[name] for name in vault}
    done: list[str] = []
    _renew_passwords(new, "passwords" in renew, "passwords" in retire, done)
    _renew_guard_keys(new, "passwords" in renew, "passwords" in retire, done)
    _renew_authority(new, "ca" in renew, "ca" in retire, now, done)
    _renew_certificates(new, hosts, bool({"ca", "certificates"} & set(renew)), now, done)
    wanted = set(wanted)
    for name in [name for name, value in new.items() if value == UNFILLED and name not in wanted]:
        del new[name]
        done.append(f"{name}: no longer asked for")
    for name in sorted(wanted):
        if name not in new:
            new[name] = UNFILLED
            done.append(f"{name}: fill it in")
    return new, done


def _renew_passwords(vault: Vault, is_due: bool, retires: bool, done: list[str]) -> None:
    import bcrypt

    accounts = {name: list(users) for name, users in (vault.get("vault_accounts") or {}).items()}
    for service in SERVICES:
        users = accounts.setdefault(service, [])
        if retires and len(users) > 1:
            del users[1:]
            done.append(f"{service}: the old password is no longer accepted")
        if is_due or not users:
            password = secrets.token_urlsafe(24)
            hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(BCRYPT_ROUNDS)).decode()
            # A user has one hash: the name changes with the password.
            name = f"batch-jobs-{secrets.token_hex(4)}"
            users.insert(0, {"username": name, "password": password, "hash": hashed})
            done.append(f"{service}: new password")
    vault["vault_accounts"] = accounts
    if not vault.get("vault_grafana_admin_password"):
        vault["vault_grafana_admin_password"] = secrets.token_urlsafe(24)
        done.append("grafana: new password of the admin")


def _renew_guard_keys(vault: Vault, is_due: bool, retires: bool, done: list[str]) -> None:
    keys = list(vault.get("vault_guard_keys") or [])
    if retires and len(keys) > 1:
        del keys[1:]
        done.append("pushgateway_guard: the hosts' old passwords are no longer accepted")
    if is_due or not keys:
        keys.insert(0, secrets.token_hex(32))
        done.append("pushgateway_guard: new key, from which each host's password is made")
    vault["vault_guard_keys"] = keys


def _renew_authority(
    vault: Vault, is_due: bool, retires: bool, now: datetime.datetime, done: list[str]
) -> None:
    trusted = (
        x509.load_pem_x509_certificates(vault["vault_ca_certificate"].encode())
        if vault.get("vault_ca_certificate")
        else []
    )
    if retires and len(trusted) > 1:
        trusted = trusted[:1]
        vault.pop("vault_ca_cross_certificate", None)
        done.append("ca: the old one is no longer trusted")
    least = now + datetime.timedelta(days=CERTIFICATE_DAYS + RENEWED_BEFORE_DAYS)
    if is_due or not trusted or trusted[0].not_valid_after_utc < least:
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name(f"Batch jobs {now:%Y-%m-%d} {secrets.token_hex(4)}")
        certificate = _authority(name, key, name, key, now)
        if trusted:
            # The old authority vouches for the new one, to those that do not know it yet.
            old_key = load_pem_private_key(vault["vault_ca_key"].encode(), password=None)
            cross = _authority(name, key, trusted[0].subject, old_key, now)
            vault["vault_ca_cross_certificate"] = _pem(cross)
        trusted = [certificate, *trusted[:1]]
        vault["vault_ca_key"] = _key_pem(key)
        done.append("ca: new one")
    vault["vault_ca_certificate"] = "".join(map(_pem, trusted))


def _renew_certificates(
    vault: Vault,
    hosts: Mapping[str, Iterable[str]],
    is_due: bool,
    now: datetime.datetime,
    done: list[str],
) -> None:
    authority = x509.load_pem_x509_certificates(vault["vault_ca_certificate"].encode())[0]
    authority_key = load_pem_private_key(vault["vault_ca_key"].encode(), password=None)
    old = vault.get("vault_certificates") or {}
    certificates = {}
    for host, names in hosts.items():
        wanted = list(dict.fromkeys([host, *names, "localhost", "127.0.0.1", "::1"]))
        pair = old.get(host)
        if pair is None or is_due or not _is_fit(pair["certificate"], wanted, authority, now):
            pair = _issue(wanted, authority, authority_key, now)
            done.append(f"{host}: new certificate")
        leaf = x509.load_pem_x509_certificates(pair["certificate"].encode())[0]
        chain = _pem(leaf) + vault.get("vault_ca_cross_certificate", "")
        certificates[host] = {"certificate": chain, "key": pair["key"]}
    done += [f"{host}: its certificate was removed" for host in sorted(set(old) - set(hosts))]
    vault["vault_certificates"] = certificates


def _is_fit(
    chain: str, names: Iterable[str], authority: x509.Certificate, now: datetime.datetime
) -> bool:
    leaf = x509.load_pem_x509_certificates(chain.encode())[0]
    known = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return (
        leaf.issuer == authority.subject
        and leaf.not_valid_after_utc > now + datetime.timedelta(days=RENEWED_BEFORE_DAYS)
        and all(_general_name(name) in known for name in names)
    )


def _issue(
    names: list[str], authority: x509.Certificate, authority_key: Any, now: datetime.datetime
) -> dict[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    end = min(now + datetime.timedelta(days=CERTIFICATE_DAYS), authority.not_valid_after_utc)
    built = (
        _begun(_name(names[0]), key, authority.subject, authority_key, now, end)
        .add_extension(x509.SubjectAlternativeName(map(_general_name, names)), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    return {"certificate": _pem(built), "key": _key_pem(key)}


def _authority(
    name: x509.Name, key: Any, issuer: x509.Name, issuer_key: Any, now: datetime.datetime
) -> x509.Certificate:
    end = now + datetime.timedelta(days=AUTHORITY_DAYS)
    certificate: x509.Certificate = (
        _begun(name, key, issuer, issuer_key, now, end)
        # One more authority may stand between it and a host: its successor.
        .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
        # Python 3.13 refuses an authority without.
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .sign(issuer_key, hashes.SHA256())
    )
    return certificate


def _begun(
    subject: x509.Name,
    key: Any,
    issuer: x509.Name,
    issuer_key: Any,
    now: datetime.datetime,
    end: datetime.datetime,
) -> x509.CertificateBuilder:
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    by = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(end)
        .add_extension(identifier, critical=False)
        .add_extension(by, critical=False)
    )


def _usage(**used: bool) -> x509.KeyUsage:
    uses = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
        "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{use: used.get(use, False) for use in uses})


def _name(text: str) -> x509.Name:
    # A common name has at most 64 characters; clients read the alternative names.
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _general_name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()


def _key_pem(key: Any) -> str:
    text: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return text.decode()


class ActionModule(ActionBase):  # type: ignore[misc]
    """Reads the vault, makes what is due, writes it encrypted; its result holds no secret."""

    TRANSFERS_FILES = False

    def run(self, tmp: Any = None, task_vars: Any = None) -> dict[str, Any]:
        """Return what was done. Raises AnsibleActionFail without a password of the vault."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = self._task.args
        path = Path(arguments["path"])
        keyring = self._loader._vault
        if not keyring.secrets:
            raise AnsibleActionFail(
                "the vault needs a password to be encrypted with: add --ask-vault-pass, "
                "or set vault_password_file"
            )
        for option in ("renew", "retire"):
            unknown = sorted(set(arguments.get(option) or []) - set(PARTS))
            if unknown:
                raise AnsibleActionFail(
                    f"{option}: {', '.join(unknown)} is none of {', '.join(PARTS)}"
                )
        raw = path.read_bytes() if path.exists() else b""
        is_open = bool(raw) and not raw.startswith(b"$ANSIBLE_VAULT")
        text = raw if is_open or not raw else keyring.decrypt(raw)
        vault, done = renewed(
            yaml.safe_load(text) or {} if text else {},
            # Without Ansible's kinds of texts, which YAML cannot write.
            {str(host): list(map(str, names)) for host, names in arguments["hosts"].items()},
            [str(name) for name in arguments.get("wanted") or []],
            arguments.get("renew") or [],
            arguments.get("retire") or [],
        )
        if is_open:
            done.append(f"{path.name}: encrypted")
        if done and not self._task.check_mode:
            content = yaml.safe_dump(vault, allow_unicode=True, sort_keys=True)
            _write(path, keyring.encrypt(content))
        result.update(changed=bool(done), done=done)
        return result


def _write(path: Path, content: bytes) -> None:
    """Replace a file that its owner alone may read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".vault-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(temporary).replace(path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise
