"""Reaches a Pushgateway over HTTP through prometheus_client."""

from __future__ import annotations

import base64
import functools
import json
import ssl
from collections.abc import Callable, Iterable
from http.client import HTTPException
from typing import Any
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

from batch_job.gateway import CredentialsError, Gateway, GatewayError, Group, RejectedError
from batch_job.metrics import Families

# How long a gateway may stay silent.
PUSH_TIMEOUT_SECONDS = 3.0
# A gateway that answers one of these says that the push itself is wrong.
BAD_PUSH = (400, 413)
BAD_CREDENTIALS = (401, 403)


def push(gateway: Gateway, group: Group, families: Iterable[Metric], replace: bool) -> None:
    """Replace a group by the families, or add them to it. Raises GatewayError."""
    send = push_to_gateway if replace else pushadd_to_gateway
    send(
        gateway.url,
        job=group.job,
        registry=Families(families),
        grouping_key=group.labels,
        timeout=PUSH_TIMEOUT_SECONDS,
        handler=_handler(gateway),
    )


def delete(gateway: Gateway, group: Group) -> None:
    """Delete a group, if it is there. Raises GatewayError."""
    delete_from_gateway(
        gateway.url,
        job=group.job,
        grouping_key=group.labels,
        timeout=PUSH_TIMEOUT_SECONDS,
        handler=_handler(gateway),
    )


def groups(gateway: Gateway) -> dict[Group, dict[str, Any]]:
    """Return all groups and their metrics, in the shape of Pushgateway's API.

    https://github.com/prometheus/pushgateway#query-api. Raises GatewayError.
    """
    url = gateway.url.rstrip("/") + "/api/v1/metrics"
    content = _request(gateway, url, "GET", {}, None, PUSH_TIMEOUT_SECONDS)
    try:
        return {
            Group(group["labels"]["job"], group["labels"].get("instance", "")): group
            for group in json.loads(content)["data"]
            if set(group["labels"]) <= {"job", "instance"}
        }
    except (ValueError, KeyError, TypeError) as error:
        raise GatewayError(f"{gateway.url} does not answer as a Pushgateway does") from error


def _handler(gateway: Gateway) -> Callable[..., Callable[[], None]]:
    """Return a handler for prometheus_client that authenticates as the gateway wants it."""

    def handler(
        url: str, method: str, timeout: float, headers: list[tuple[str, str]], data: bytes
    ) -> Callable[[], None]:
        def handle() -> None:
            _request(gateway, url, method, dict(headers), data, timeout)

        return handle

    return handler


def _request(
    gateway: Gateway,
    url: str,
    method: str,
    headers: dict[str, str],
    data: bytes | None,
    timeout: float,
) -> bytes:
    """Send a request and return the body of the response. Raises GatewayError."""
    try:
        headers = {**headers, **_authorization(gateway)}
        opener = _opener(gateway)
    except (OSError, ValueError) as error:
        raise CredentialsError(f"{gateway.url}: {error}") from error
    # The scheme was checked with the configuration.
    request = Request(url, data=data, method=method, headers=headers)  # noqa: S310
    try:
        with opener.open(request, timeout=timeout) as response:
            return bytes(response.read())
    except HTTPError as error:
        answer = f"{gateway.url} answers {error.code} {error.reason}"
        if error.code in BAD_CREDENTIALS:
            raise CredentialsError(f"{answer}: it refuses the credentials") from error
        if error.code in BAD_PUSH:
            reason = error.read(1000).decode("utf-8", "replace").strip()
            raise RejectedError(f"{answer}: {reason}") from error
        raise GatewayError(answer) from error
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
    """Return the secret in a file. Raises OSError, or ValueError unless it is a single line."""
    with open(path, encoding="utf-8") as file:
        secret = file.read().strip()
    if not secret or len(secret.splitlines()) > 1:
        raise ValueError(f"{path} does not hold one line")
    return secret


@functools.cache
def _opener(gateway: Gateway) -> OpenerDirector:
    """Return the opener for a gateway's URL. Raises OSError when a file cannot be read.

    urllib's own opener follows a redirect of a push with a GET, which would look like a success,
    and it always loads the system's certificates, which takes 12 ms.
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
