"""Reaches a Pushgateway over HTTP through prometheus_client."""

from __future__ import annotations

import base64
import functools
import json
import ssl
import time
from collections.abc import Iterable
from http.client import HTTPException, HTTPResponse
from typing import Any
from urllib import request as http
from urllib.error import HTTPError, URLError

from prometheus_client import exposition
from prometheus_client.metrics_core import Metric

from batch_job import metrics
from batch_job.gateway import (
    CredentialsError,
    ForbiddenError,
    Gateway,
    GatewayError,
    Group,
    Groups,
    RejectedError,
)

# How long a gateway may stay silent.
PUSH_TIMEOUT_SECONDS = 3.0
# How long a whole response may take.
RESPONSE_TIMEOUT_SECONDS = 30.0
# Ten thousand groups are about 60 MB.
MAX_GROUPS_BYTES = 256 << 20
MAX_REASON_BYTES = 1000
# What Pushgateway answers to a push and to a deletion, without a body. Anything else is from
# somebody else, such as a proxy's page.
TAKEN = (200, 202)
# A gateway that answers one of these says that the push itself is wrong.
BAD_PUSH = (400, 413)
BAD_CREDENTIALS = {401: CredentialsError, 403: ForbiddenError}


def push(gateway: Gateway, group: Group, families: Iterable[Metric], replace: bool) -> None:
    """Replace a group by the families, or add them to it. Raises GatewayError."""
    send = exposition.push_to_gateway if replace else exposition.pushadd_to_gateway
    send(registry=metrics.Families(families), **_arguments(gateway, group))


def delete(gateway: Gateway, group: Group) -> None:
    """Delete a group, if it is there. Raises GatewayError."""
    exposition.delete_from_gateway(**_arguments(gateway, group))


def groups(gateway: Gateway) -> Groups:
    """Return all groups of jobs. Raises GatewayError.

    https://github.com/prometheus/pushgateway#query-api.
    """
    url = gateway.url.rstrip("/") + "/api/v1/metrics"
    _status, content = request(
        gateway, url, "GET", PUSH_TIMEOUT_SECONDS, [], None, MAX_GROUPS_BYTES
    )
    try:
        return {
            Group(group["labels"]["job"], group["labels"].get("instance", "")): {
                name: [
                    (metrics.own_labels(sample["labels"]), float(sample["value"]))
                    for sample in family["metrics"]
                    if "value" in sample
                ]
                for name, family in group.items()
                if name.startswith(metrics.PREFIX)
            }
            for group in json.loads(content)["data"]
            if set(group["labels"]) <= set(metrics.GROUPING_LABELS)
        }
    except (ValueError, KeyError, TypeError) as error:
        raise _stranger(gateway) from error


def _arguments(gateway: Gateway, group: Group) -> dict[str, Any]:
    """Return the arguments of prometheus_client's functions for a group."""
    return {
        "gateway": gateway.url,
        "job": group.job,
        "grouping_key": group.labels,
        "timeout": PUSH_TIMEOUT_SECONDS,
        "handler": lambda **change: functools.partial(_change, gateway, **change),
    }


def _change(gateway: Gateway, **change: Any) -> None:
    """Send a push or a deletion. Raises GatewayError."""
    status, content = request(gateway, **change)
    if status not in TAKEN or content:
        raise _stranger(gateway)


def _stranger(gateway: Gateway) -> GatewayError:
    return GatewayError(f"{gateway.url} does not answer as a Pushgateway does")


def request(
    gateway: Gateway,
    url: str,
    method: str,
    timeout: float,
    headers: Iterable[tuple[str, str]],
    data: bytes | None,
    max_bytes: int = MAX_REASON_BYTES,
) -> tuple[int, bytes]:
    """Send a request; return status and body of the response. Raises GatewayError."""
    try:
        authorization = _authorization(gateway)
        opener = _opener(gateway)
    except (OSError, ValueError) as error:
        raise CredentialsError(f"{gateway.url}: {error}") from error
    # The scheme was checked with the configuration.
    message = http.Request(url, data, {**dict(headers), **authorization}, method=method)  # noqa: S310
    try:
        with opener.open(message, timeout=timeout) as response:
            return response.status, _body(gateway, response, max_bytes)
    except HTTPError as error:
        answer = f"{gateway.url} answers {error.code} {error.reason}"
        if error.code in BAD_CREDENTIALS:
            kind = BAD_CREDENTIALS[error.code]
            raise kind(f"{answer}: it refuses the credentials") from error
        if error.code in BAD_PUSH:
            reason = error.read(MAX_REASON_BYTES).decode("utf-8", "replace").strip()
            raise RejectedError(f"{answer}: {reason}") from error
        raise GatewayError(answer) from error
    except (URLError, OSError, HTTPException) as error:
        cause = error.reason if isinstance(error, URLError) else error
        raise GatewayError(f"{gateway.url} cannot be reached: {cause}") from error


def _body(gateway: Gateway, response: HTTPResponse, max_bytes: int) -> bytes:
    """Return the body of a response. Raises GatewayError for one that is too long, or endless."""
    body = bytearray()
    deadline = time.monotonic() + RESPONSE_TIMEOUT_SECONDS
    while part := response.read1(1 << 16):
        body += part
        if len(body) > max_bytes or time.monotonic() > deadline:
            raise _stranger(gateway)
    return bytes(body)


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
def _opener(gateway: Gateway) -> http.OpenerDirector:
    """Return the opener for a gateway's URL. Raises OSError when a file cannot be read.

    urllib's own opener follows a redirect of a push with a GET, which would look like a success,
    and it always loads the system's certificates, which takes 12 ms.
    """
    opener = http.OpenerDirector()
    opener.add_handler(http.ProxyHandler())
    opener.add_handler(http.HTTPHandler())
    opener.add_handler(http.HTTPErrorProcessor())
    opener.add_handler(http.HTTPDefaultErrorHandler())
    if gateway.url.startswith("https:"):
        context = ssl.create_default_context(cafile=gateway.ca_file or None)
        if gateway.cert_file:
            context.load_cert_chain(gateway.cert_file, gateway.key_file)
        opener.add_handler(http.HTTPSHandler(context=context))
    return opener
