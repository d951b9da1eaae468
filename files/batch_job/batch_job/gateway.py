"""Talks to a Pushgateway through prometheus_client; the only module that knows the network.

What is a directory and no Pushgateway, it leaves to `textfile`.
"""

from __future__ import annotations

import base64
import functools
import json
import ssl
from collections.abc import Callable, Iterable
from http.client import HTTPException
from typing import Any, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)

from prometheus_client.exposition import (
    delete_from_gateway,
    push_to_gateway,
    pushadd_to_gateway,
)
from prometheus_client.metrics_core import Metric

from batch_job.config import Gateway
from batch_job.metrics import Families

# Seconds that a gateway may stay silent.
TIMEOUT = 3.0
# A gateway that answers one of these says that the push itself is wrong.
BAD_PUSH = (400, 413)
BAD_CREDENTIALS = (401, 403)


class GatewayError(Exception):
    """A gateway that did not take a request; it may take the same one later."""


class CredentialsError(GatewayError):
    """A gateway that refuses the credentials, or credentials that cannot be read."""


class RejectedError(GatewayError):
    """A gateway that will never take this push."""


class Group(NamedTuple):
    """The grouping key; the instance is empty for jobs without a host."""

    job: str
    instance: str

    @property
    def labels(self) -> dict[str, str]:
        """The labels beside `job`."""
        return {"instance": self.instance} if self.instance else {}


def push(gateway: Gateway, group: Group, families: Iterable[Metric], replace: bool) -> None:
    """Replace a group by the families, or add them to it. Raises GatewayError."""
    if gateway.directory:
        from batch_job import textfile

        return textfile.push(gateway, group, families, replace)
    send = push_to_gateway if replace else pushadd_to_gateway
    send(
        gateway.url,
        job=group.job,
        registry=Families(families),
        grouping_key=group.labels,
        timeout=TIMEOUT,
        handler=_handler(gateway),
    )


def delete(gateway: Gateway, group: Group) -> None:
    """Delete a group, if it is there. Raises GatewayError."""
    if gateway.directory:
        from batch_job import textfile

        return textfile.delete(gateway, group)
    delete_from_gateway(
        gateway.url,
        job=group.job,
        grouping_key=group.labels,
        timeout=TIMEOUT,
        handler=_handler(gateway),
    )


def groups(gateway: Gateway) -> dict[Group, dict[str, Any]]:
    """Return all groups and their metrics, in the shape of Pushgateway's API.

    https://github.com/prometheus/pushgateway#query-api. Raises GatewayError.
    """
    if gateway.directory:
        from batch_job import textfile

        return textfile.groups(gateway)
    content = _open(gateway, gateway.url.rstrip("/") + "/api/v1/metrics", "GET", {}, None, TIMEOUT)
    try:
        found = json.loads(content)["data"]
        return {
            Group(each["labels"]["job"], each["labels"].get("instance", "")): each
            for each in found
            if set(each["labels"]) <= {"job", "instance"}
        }
    except (ValueError, KeyError, TypeError) as error:
        raise GatewayError(f"{gateway.url} does not answer as a Pushgateway does") from error


def _handler(gateway: Gateway) -> Callable[..., Callable[[], None]]:
    """Return a handler for prometheus_client that authenticates as the gateway wants it."""

    def handler(
        url: str, method: str, timeout: float, headers: list[tuple[str, str]], data: bytes
    ) -> Callable[[], None]:
        def handle() -> None:
            _open(gateway, url, method, dict(headers), data, timeout)

        return handle

    return handler


def _open(
    gateway: Gateway,
    url: str,
    method: str,
    headers: dict[str, str],
    data: bytes | None,
    timeout: float,
) -> bytes:
    """Send a request and return what was answered. Raises GatewayError."""
    try:
        headers = {**headers, **_authorization(gateway)}
        opener = _opener(gateway)
    except (OSError, ValueError) as error:
        raise CredentialsError(f"{gateway.url}: {error}") from error
    # The scheme was checked with the configuration.
    request = Request(url, data=data, method=method, headers=headers)  # noqa: S310
    try:
        with opener.open(request, timeout=timeout) as answer:
            return bytes(answer.read())
    except HTTPError as error:
        said = f"{gateway.url} answers {error.code} {error.reason}"
        if error.code in BAD_CREDENTIALS:
            raise CredentialsError(f"{said}: it refuses the credentials") from error
        if error.code in BAD_PUSH:
            reason = error.read(1000).decode("utf-8", "replace").strip()
            raise RejectedError(f"{said}: {reason}") from error
        raise GatewayError(said) from error
    except (URLError, OSError, HTTPException) as error:
        cause = error.reason if isinstance(error, URLError) else error
        raise GatewayError(f"{gateway.url} cannot be reached: {cause}") from error


def _authorization(gateway: Gateway) -> dict[str, str]:
    """Return the header that a gateway wants. Raises OSError when a file cannot be read."""
    if gateway.token_file:
        return {"Authorization": f"Bearer {_secret(gateway.token_file)}"}
    if gateway.username:
        pair = f"{gateway.username}:{_secret(gateway.password_file)}"
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    return {}


def _secret(path: str) -> str:
    """Return the secret in a file. Raises OSError, or ValueError when it is no single line."""
    with open(path, encoding="utf-8") as file:
        secret = file.read().strip()
    if not secret or len(secret.splitlines()) > 1:
        raise ValueError(f"{path} does not hold one line")
    return secret


@functools.cache
def _opener(gateway: Gateway) -> OpenerDirector:
    """Return how to talk to a gateway. Raises OSError when a file cannot be read.

    Unlike urllib's own opener, it follows no redirect (with a GET, for a push, and that would be a
    success) and loads the system's certificates, which takes 12 ms, only where they are wanted.
    """
    opener = OpenerDirector()
    handlers = (ProxyHandler(), HTTPHandler(), HTTPErrorProcessor(), HTTPDefaultErrorHandler())
    for handler in handlers:
        opener.add_handler(handler)
    if gateway.url.startswith("https:"):
        context = ssl.create_default_context(cafile=gateway.ca_file or None)
        if gateway.cert_file:
            context.load_cert_chain(gateway.cert_file, gateway.key_file)
        opener.add_handler(HTTPSHandler(context=context))
    return opener
