"""Filters: what nginx needs to know of the accounts of a guarded Pushgateway."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from ansible.errors import AnsibleFilterError

# A fast hash is enough for what nobody can guess, and nginx has one process for all pushes.
MIN_PASSWORD_CHARACTERS = 20

CHANGES = "(?:PUT|POST|DELETE)"
# The reporter's grammar of names. Clients encode a colon, so there are two spellings of it.
JOB = "[A-Za-z0-9_](?:[A-Za-z0-9_.:-]|%3A){0,199}"
READS = "GET (?:/metrics|/api/v1/metrics)"


def guard_passwords(accounts: Iterable[Mapping[str, Any]]) -> str:
    """Return the lines of a file of users and salted hashes, as nginx reads it.

    Raises AnsibleFilterError for a short password, and for a username with a colon.
    """
    lines = []
    for account in accounts:
        username, password = str(account["username"]), str(account["password"])
        if len(password) < MIN_PASSWORD_CHARACTERS:
            raise AnsibleFilterError(
                f"the password of {username} is shorter than {MIN_PASSWORD_CHARACTERS} characters"
            )
        if not re.fullmatch(r"[^:\s]+", username):
            raise AnsibleFilterError(f"{username!r} has a colon or a space")
        # The same in each rollout, or every one would be a change.
        salt = hashlib.sha256(username.encode()).digest()[:8]
        digest = hashlib.sha1(password.encode() + salt, usedforsecurity=False).digest()
        lines.append(f"{username}:{{SSHA}}{base64.b64encode(digest + salt).decode()}\n")
    return "".join(lines)


def guard_requests(accounts: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return a regular expression for each right: `<username> <method> <path as it was sent>`."""
    requests = []
    for account in accounts:
        rights = [f"{CHANGES} {_path(**group)}" for group in account.get("groups") or []]
        if account.get("instance"):
            rights.append(f"{CHANGES} {_path(instance=account['instance'])}")
        if account.get("reads"):
            rights.append(READS)
        requests += [rf"^{re.escape(account['username'])} {right}\z" for right in rights]
    return requests


def _path(job: str = "", instance: str = "") -> str:
    """Return an expression for the path of a group: of any job, unless one is given."""
    path = f"/metrics/job/{_spellings(job) or JOB}"
    return f"{path}/instance/{_spellings(instance)}" if instance else path


def _spellings(text: str) -> str:
    """Return an expression for a text as it is, or with its special characters encoded."""
    letters = ((re.escape(letter), quote(letter, safe="")) for letter in text)
    return "".join(f"(?:{letter}|{code})" if "%" in code else letter for letter, code in letters)


class FilterModule:
    """Makes the filters known to Ansible."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {"guard_passwords": guard_passwords, "guard_requests": guard_requests}
