"""Filters: who may do what at a guarded Pushgateway, out of the inventory."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from ansible.errors import AnsibleFilterError

MIN_KEY_CHARACTERS = 32


def guard_login(keys: Sequence[str], kind: str, name: str) -> dict[str, str]:
    """Return username and password of a host, of a user, or of a reader, by the first key.

    Nobody can compute another's password without the key. The username names the key, so that
    several keys are valid while they are exchanged. Raises AnsibleFilterError for a short key.
    """
    if not keys or any(len(str(key)) < MIN_KEY_CHARACTERS for key in keys):
        raise AnsibleFilterError(
            f"site_guard_keys needs a key of at least {MIN_KEY_CHARACTERS} characters: "
            "`openssl rand -hex 32` prints one"
        )
    return _login(str(keys[0]), kind, name)


def guard_accounts(
    keys: Sequence[str],
    instances: Mapping[str, str],
    users: Iterable[Mapping[str, str]],
    external: Iterable[Mapping[str, Any]],
    readers: Iterable[str],
) -> list[dict[str, Any]]:
    """Return the accounts of the role `pushgateway_guard`.

    Hosts, given with their instances, change the groups of their instance, users those of external
    jobs of an owner; readers read. Raises AnsibleFilterError for a user without any job.
    """
    jobs = list(external)
    rights: list[tuple[str, str, dict[str, Any]]] = [
        ("host", host, {"instance": instance}) for host, instance in instances.items()
    ]
    for user in users:
        groups = [
            {"job": job["name"], "instance": job["instance"]}
            for job in jobs
            if job["owner"] == user["owner"]
        ]
        if not groups:
            raise AnsibleFilterError(
                f"site_guard_users, {user['name']}: batch_job_external has no job of "
                f"{user['owner']!r}"
            )
        rights.append(("user", user["name"], {"groups": groups}))
    rights += [("reader", name, {"reads": True}) for name in readers]
    return [
        {**guard_login([key], kind, name), **right} for kind, name, right in rights for key in keys
    ]


def _login(key: str, kind: str, name: str) -> dict[str, str]:
    """Return the username and the password of an account by a key."""
    identifier = hashlib.sha256(b"identifier" + key.encode()).hexdigest()[:6]
    account = f"{kind}/{quote(name, safe='')}"
    return {
        "username": f"{account}/{identifier}",
        "password": hmac.new(key.encode(), account.encode(), "sha256").hexdigest(),
    }


class FilterModule:
    """Makes the filters known to Ansible."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {"guard_accounts": guard_accounts, "guard_login": guard_login}
