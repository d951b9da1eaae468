"""A filter that finds certificates, passwords and receivers with which a site could not work."""

from __future__ import annotations

import datetime
import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ansible.errors import AnsibleFilterError
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID

RENEW = "make a new one for this host, and put it into the vault"


def secret_faults(variables: Mapping[str, Any], role: str, addresses: Iterable[str]) -> list[str]:
    """Return a sentence for each secret of a role with which the rollout would break a service.

    `variables` are those of a host by name; `addresses` are where other hosts reach it. A file
    that somebody else puts on the host is not judged, except below the role's own directory.
    """
    site = _Role(variables, role)
    faults = [*site.missing_files(), *site.certificate_faults(addresses), *site.password_faults()]
    if role == "alertmanager":
        faults += receiver_faults(variables)
    return faults


def receiver_faults(variables: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each receiver that is used and not defined."""
    # The role's own, without one.
    defined = variables.get("alertmanager_receivers") or [{"name": "default"}]
    receivers = {str(each.get("name")) for each in defined}
    severities = variables.get("alertmanager_severities") or []
    used = [
        *(
            ("alertmanager_owners", name)
            for name in (variables.get("alertmanager_owners") or {}).values()
        ),
        *(
            ("alertmanager_severities", each["receiver"])
            for each in severities
            if each.get("receiver")
        ),
    ]
    return [
        f"{variable}: there is no receiver {name!r}: add it to alertmanager_receivers, "
        f"or use one of {', '.join(sorted(receivers))}"
        for variable, name in dict.fromkeys(used)
        if name not in receivers
    ]


class _Role:
    """The variables of a role on a host."""

    def __init__(self, variables: Mapping[str, Any], role: str) -> None:
        self.role = role
        # A job's reporter has its configuration in a directory of another name.
        self.directory = "/etc/batch-job" if role == "batch_job" else f"/etc/{role}"
        prefix = f"{role}_"
        self.variables = {
            name: value for name, value in variables.items() if name.startswith(prefix)
        }
        self.secret_files: Mapping[str, str] = self.get("secret_files") or {}
        self.web_config: Mapping[str, Any] = self.get("web_config") or {}
        self.ready: Mapping[str, Any] = self.get("ready") or {}

    def get(self, name: str) -> Any:
        """Return a variable, by its name without that of the role."""
        return self.variables.get(f"{self.role}_{name}")

    def content(self, path: str) -> str | None:
        """Return the content that the rollout gives to a file, None if it gives none."""
        return self.secret_files.get(path.removeprefix(f"{self.directory}/"))

    def asked_at(self) -> str:
        """Return the name or address at which the rollout asks the service whether it is ready."""
        listens = str(self.get("listen_address") or "").rpartition(":")[0].strip("[]")
        own = "localhost" if listens in ("", "0.0.0.0", "::") else listens  # noqa: S104
        return urlsplit(str(self.ready.get("url") or "")).hostname or own

    def missing_files(self) -> Iterator[str]:
        """Yield a sentence for each file that a variable names and nobody provides."""
        for variable, value in self.variables.items():
            # Files of a job are its own.
            if variable == "batch_job_jobs":
                continue
            for key, path in _files(value):
                inside = not path.startswith("/") or path.startswith(f"{self.directory}/")
                if inside and self.content(path) is None:
                    yield (
                        f"{variable}: {key} names {path}, which nothing puts there: "
                        f"add it to {self.role}_secret_files"
                    )

    def certificate_faults(self, addresses: Iterable[str]) -> Iterator[str]:
        """Yield a sentence for each reason why nobody could trust the service's certificate."""
        for name, text in self.secret_files.items():
            if "BEGIN CERTIFICATE" in str(text):
                for fault in _dates(str(text)):
                    yield f"{self.role}_secret_files, {name}: {fault}: {RENEW}"
        authority = self.content(str(self.ready.get("ca_path", "")))
        if authority:
            for fault in _authority(authority):
                yield f"{self.role}_secret_files, {self.ready['ca_path']}: {fault}"
        server = self.web_config.get("tls_server_config") or {}
        certificate = self.content(str(server.get("cert_file", "")))
        if certificate is None:
            return
        place = f"{self.role}_secret_files, {server['cert_file']}"
        try:
            leaf, *chain = x509.load_pem_x509_certificates(certificate.encode())
        except ValueError as error:
            yield f"{place}: it is no certificate in PEM ({error}): {RENEW}"
            return
        # Where nobody checks the certificate, its names do not matter.
        is_checked = self.ready.get("validate_certs", True)
        for address in dict.fromkeys([self.asked_at(), *addresses]) if is_checked else ():
            if not _covers(leaf, address):
                yield f"{place}: it is not for {address}, where it is asked: {RENEW}"
        if not _may_serve(leaf):
            yield f"{place}: its key usage is not that of a server: {RENEW}"
        key = self.content(str(server.get("key_file", "")))
        if key is not None and not _belongs(key, leaf):
            yield (
                f"{self.role}_secret_files, {server['key_file']}: the key is not that of "
                f"{server['cert_file']}: {RENEW}"
            )
        if authority and not _is_issued(leaf, [*chain, *_certificates(authority)]):
            yield f"{place}: {self.ready['ca_path']} did not sign it: {RENEW}"

    def password_faults(self) -> Iterator[str]:
        """Yield a sentence if the rollout could not enter the service that it configures."""
        users = self.web_config.get("basic_auth_users") or {}
        name = self.ready.get("username")
        for user, text in users.items():
            if not re.match(r"\$2[aby]\$", str(text)):
                yield f"{self.role}_web_config: the value of {user} is no bcrypt hash: hash it"
                return
        if not users:
            return
        if name not in users:
            yield (
                f"{self.role}_ready: username {name} is none of {self.role}_web_config: "
                f"use one of {', '.join(users)}"
            )
        elif not _matches(str(self.ready.get("password", "")), str(users[name])):
            yield (
                f"{self.role}_web_config: the hash of {name} is not that of the password in "
                f"{self.role}_ready: hash it again"
            )


def _files(value: Any) -> Iterator[tuple[str, str]]:
    """Yield key and path of each `..._file` in a value that a service reads: not of its logs."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if not str(key).endswith("_file") or not isinstance(inner, str):
                yield from _files(inner)
            elif not str(key).endswith("_log_file"):
                yield str(key), inner
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _files(inner)


def _certificates(text: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(text.encode())
    except ValueError:
        return []


def _dates(text: str) -> Iterator[str]:
    now = datetime.datetime.now(datetime.UTC)
    for certificate in _certificates(text):
        if certificate.not_valid_after_utc < now:
            yield f"it expired at {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
        if certificate.not_valid_before_utc > now:
            yield f"it is not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"


def _extension(certificate: x509.Certificate, kind: Any) -> Any:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _authority(text: str) -> Iterator[str]:
    """Yield what keeps the strict verification of Python 3.13 from accepting an authority."""
    certificates = _certificates(text)
    if not certificates:
        yield "it is no certificate in PEM: put there the one of who signed the service's"
    for certificate in certificates:
        constraints = _extension(certificate, x509.BasicConstraints)
        usage = _extension(certificate, x509.KeyUsage)
        if constraints is not None and constraints.ca and not (usage and usage.key_cert_sign):
            yield (
                "it lacks the key usage keyCertSign, without which Python 3.13 refuses it: "
                "make it again"
            )


def _covers(leaf: x509.Certificate, address: str) -> bool:
    names = _extension(leaf, x509.SubjectAlternativeName)
    if names is None:
        return False
    try:
        return ipaddress.ip_address(address) in names.get_values_for_type(x509.IPAddress)
    except ValueError:
        known = [name.lower() for name in names.get_values_for_type(x509.DNSName)]
        return address.lower() in known or f"*.{address.lower().partition('.')[2]}" in known


def _may_serve(leaf: x509.Certificate) -> bool:
    usage = _extension(leaf, x509.KeyUsage)
    extended = _extension(leaf, x509.ExtendedKeyUsage)
    return (usage is None or usage.digital_signature) and (
        extended is None or ExtendedKeyUsageOID.SERVER_AUTH in extended
    )


def _belongs(key: str, leaf: x509.Certificate) -> bool:
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    try:
        public = load_pem_private_key(key.encode(), password=None).public_key()
    except (ValueError, TypeError):
        return False
    return public.public_bytes(*form) == leaf.public_key().public_bytes(*form)


def _is_issued(leaf: x509.Certificate, issuers: Iterable[x509.Certificate]) -> bool:
    for issuer in issuers:
        if issuer == leaf:
            return True
        try:
            leaf.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature):
            continue
        return True
    return False


def _matches(password: str, hashed: str) -> bool:
    # Not at the top: only sites with passwords need it.
    try:
        import bcrypt
    except ImportError as error:
        raise AnsibleFilterError(
            "to compare passwords with their hashes, the Python that runs Ansible needs the "
            "package bcrypt: install requirements.txt"
        ) from error

    try:
        return bcrypt.checkpw(password.encode(), hashed.encode())
    except ValueError:
        return False


def certificate_ends(secret_files: Mapping[str, str], host: str) -> list[dict[str, Any]]:
    """Return when the first certificate ends of each secret file that holds some."""
    return [
        {
            "instance": host,
            "file": name,
            "expires_timestamp_seconds": int(
                min(each.not_valid_after_utc for each in certificates).timestamp()
            ),
        }
        for name, text in secret_files.items()
        if (certificates := _certificates(str(text)))
    ]


Accounts = list[dict[str, str]]


def web_config(accounts: Accounts) -> dict[str, Any]:
    """Return the `web.yml` of a service with TLS that lets the accounts in."""
    return {
        "tls_server_config": {"cert_file": "secrets/tls.crt", "key_file": "secrets/tls.key"},
        "basic_auth_users": {account["username"]: account["hash"] for account in accounts},
    }


def ready_access(accounts: Accounts, service: str) -> dict[str, str]:
    """Return how a service with TLS is asked on its own host: by the first account."""
    return {
        "username": accounts[0]["username"],
        "password": accounts[0]["password"],
        "ca_path": f"/etc/{service}/secrets/ca.crt",
    }


def http_client(accounts: Accounts, service: str) -> dict[str, Any]:
    """Return how Prometheus enters a service with TLS: by the first account."""
    return {
        "scheme": "https",
        "basic_auth": {
            "username": accounts[0]["username"],
            "password_file": f"secrets/{service}_password",
        },
        "tls_config": {"ca_file": "secrets/ca.crt"},
    }


def vault_names(inventory: str) -> list[str]:
    """Return the names of the secrets that the files of an inventory use."""
    folder = Path(inventory) if Path(inventory).is_dir() else Path(inventory).parent
    files = [path for path in folder.rglob("*.y*ml") if not path.name.startswith("vault")]
    return sorted(
        {
            name
            for path in files
            for name in re.findall(r"^[^#]*?\b(vault_\w+)", path.read_text(), re.M)
        }
    )


class FilterModule:
    """Makes the filters known to Ansible."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {
            "certificate_ends": certificate_ends,
            "http_client": http_client,
            "ready_access": ready_access,
            "secret_faults": secret_faults,
            "vault_names": vault_names,
            "web_config": web_config,
        }
