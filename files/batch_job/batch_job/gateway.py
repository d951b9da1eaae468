"""Where a report goes: a gateway and a group of metrics there; and why a gateway may refuse it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from typing import NamedTuple
from urllib.parse import unquote, urlsplit


class GatewayError(Exception):
    """A gateway did not take a request; it may take the same one later."""


class CredentialsError(GatewayError):
    """A gateway refused the credentials, or they cannot be read."""


class ForbiddenError(CredentialsError):
    """A gateway knows the credentials, and they do not allow the request."""


class RejectedError(GatewayError):
    """A gateway does not take this push as it is."""


class ConflictError(RejectedError):
    """A gateway has metrics of this push in another way.

    `types` has the types that were compared for each of these metrics: the gateway's and that of
    the push; none where it is not about types.
    """

    def __init__(self, message: str, types: Mapping[str, Set[str]]) -> None:
        """Make one."""
        super().__init__(message)
        self.types = types


class Group(NamedTuple):
    """The grouping key; the instance is empty for jobs without a host."""

    job: str
    instance: str

    @property
    def labels(self) -> dict[str, str]:
        """The labels beside `job`."""
        return {"instance": self.instance} if self.instance else {}


# Labels, without those of the group, and value of each sample of a family.
Samples = list[tuple[dict[str, str], float]]
# What a gateway holds: the samples of each group by family, at least those of the contract.
Groups = dict[Group, dict[str, Samples]]


class Gateway(NamedTuple):
    """A Pushgateway and how to authenticate to it, with secrets in files.

    In `config.json`, paths are relative to it. A `file:` URL names a directory that node_exporter
    reads, instead of a Pushgateway.
    """

    url: str
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    username: str = ""
    password_file: str = ""
    token_file: str = ""

    @property
    def directory(self) -> str:
        """The directory of a `file:` URL; empty for a Pushgateway."""
        return unquote(urlsplit(self.url).path) if is_directory(self.url) else ""


def is_directory(url: str) -> bool:
    """Return whether a gateway's URL names a directory."""
    return url.startswith("file:")


def check_gateway(gateway: Gateway) -> None:
    """Raise ValueError unless a gateway can be reached as it is described."""
    if is_directory(gateway.url):
        if not re.fullmatch(r"file:///[^?#]+", gateway.url) or "\0" in gateway.directory:
            raise ValueError(f"{gateway.url!r} is not a directory's URL such as file:///var/lib/x")
        if any(gateway[1:]):
            raise ValueError(f"{gateway.url} is a directory, which takes no credentials")
        return
    url = urlsplit(gateway.url)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ValueError(f"{gateway.url!r} is not a URL such as http://gateway:9091")
    if url.username or url.password:
        raise ValueError("credentials belong into files, not into the gateway's URL")
    if bool(gateway.cert_file) != bool(gateway.key_file):
        raise ValueError("a client certificate needs both, cert_file and key_file")
    if bool(gateway.username) != bool(gateway.password_file):
        raise ValueError("basic authentication needs both, username and password_file")
    if gateway.username and gateway.token_file:
        raise ValueError("a gateway takes a password or a token, not both")
