"""Reaches a Pushgateway over HTTP through prometheus_client."""

from __future__ import annotations

import base64
import functools
import json
import re
import ssl
import time
from collections.abc import Iterable
from contextlib import suppress
from http.client import HTTPException, HTTPResponse
from typing import Any
from urllib import request as http
from urllib.error import HTTPError, URLError

from prometheus_client import exposition
from prometheus_client.metrics_core import Metric

from batch_job import metrics
from batch_job.gateway import (
    ConflictError,
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
# A line for each series that contradicts another group.
MAX_REASON_BYTES = 256 << 10
MAX_REASON_CHARACTERS = 1000
# A larger list takes too long to find out which group a push contradicts.
MAX_HOLDERS_BYTES = 8 << 20
# Which of the two types is the gateway's is a matter of chance.
DIFFERENT_TYPES = (
    re.compile(r'collected metric "?([\w:]+)"? .*\s(\w+):[{<].*[}>] +is not an? (\w+)$'),
    re.compile(r"gathered metric family ([\w:]+) has type (\w+) but should have (\w+)$"),
)
CONFLICT = re.compile(r'(?:collected metric(?: named)?|gathered metric family|named) "?([\w:]+)"?')
# What Pushgateway answers to a push and to a deletion, without a body. Anything else is from
# somebody else, such as a proxy's page.
TAKEN = (200, 202)
# A gateway that answers one of these says that the push itself is wrong.
BAD_PUSH = (400, 413)
BAD_CREDENTIALS = {401: CredentialsError, 403: ForbiddenError}


def push(gateway: Gateway, group: Group, families: Iterable[Metric], replace: bool) -> None:
    """Replace a group by the families, or add them to it. Raises GatewayError."""
    send = exposition.push_to_gateway if replace else exposition.pushadd_to_gateway
    text = metrics.render(families).encode()
    try:
        send(registry=metrics.Families([]), **_arguments(gateway, group, data=text))
    except RejectedError as error:
        types = _conflicts(str(error))
        if not types:
            raise RejectedError(_shortened(str(error))) from error
        holders = [
            f"{name} is also in {holder}"
            for name, holder in sorted(_holders(gateway, group, types).items())
        ]
        raise ConflictError("; ".join([_shortened(str(error)), *holders]), types) from error


def delete(gateway: Gateway, group: Group) -> None:
    """Delete a group, if it is there. Raises GatewayError."""
    exposition.delete_from_gateway(**_arguments(gateway, group))


def groups(gateway: Gateway) -> Groups:
    """Return all groups of jobs. Raises GatewayError.

    https://github.com/prometheus/pushgateway#query-api.
    """
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
            for group in _listed(gateway, MAX_GROUPS_BYTES)
            if set(group["labels"]) <= set(metrics.GROUPING_LABELS)
        }
    except (ValueError, KeyError, TypeError) as error:
        raise _stranger(gateway) from error


def _listed(gateway: Gateway, max_bytes: int) -> Any:
    """Return what a gateway lists. Raises GatewayError, or another error for a stranger's list."""
    url = gateway.url.rstrip("/") + "/api/v1/metrics"
    _status, content = request(gateway, url, "GET", PUSH_TIMEOUT_SECONDS, [], None, max_bytes)
    return json.loads(content)["data"]


def _conflicts(reason: str) -> dict[str, set[str]]:
    """Return the metrics that a gateway's reason names, with the types that it compared."""
    types: dict[str, set[str]] = {}
    for line in reason.splitlines():
        for pattern in DIFFERENT_TYPES:
            if match := pattern.search(line):
                types.setdefault(match[1], set()).update((match[2].lower(), match[3].lower()))
                break
        else:
            for name in CONFLICT.findall(line):
                types.setdefault(name, set())
    return types


def _holders(gateway: Gateway, group: Group, names: Iterable[str]) -> dict[str, str]:
    """Return another group, as a selector, for each metric that one has; none if it takes long."""
    holders: dict[str, str] = {}
    with suppress(GatewayError, ValueError, KeyError, TypeError, AttributeError):
        groups = _listed(gateway, MAX_HOLDERS_BYTES)
        # Reporters that have adapted to a stranger are not to blame.
        for other in sorted(groups, key=lambda other: metrics.PREFIX + "info" in other):
            labels = other["labels"]
            if labels == {"job": group.job, **group.labels}:
                continue
            words = ",".join(f'{name}="{labels[name]}"' for name in sorted(labels))
            for name in names:
                if name in other:
                    holders.setdefault(name, f"{{{words}}}")
    return holders


def _arguments(gateway: Gateway, group: Group, **change: Any) -> dict[str, Any]:
    """Return the arguments of prometheus_client's functions for a group, and what we change."""
    return {
        "gateway": gateway.url,
        "job": group.job,
        "grouping_key": group.labels,
        "timeout": PUSH_TIMEOUT_SECONDS,
        "handler": lambda **made: functools.partial(_change, gateway, **{**made, **change}),
    }


def _change(gateway: Gateway, **change: Any) -> None:
    """Send a push or a deletion. Raises GatewayError."""
    status, content = request(gateway, **change)
    if status not in TAKEN or content:
        raise _stranger(gateway)


def _shortened(reason: str) -> str:
    """Return a reason as one line that fits into a log."""
    line = " ".join(reason.split())
    return line if len(line) <= MAX_REASON_CHARACTERS else f"{line[:MAX_REASON_CHARACTERS]}..."


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
            reason, is_complete = _start(error, MAX_REASON_BYTES)
            if not is_complete:
                reason = reason[: reason.rfind(b"\n") + 1] or reason
            text = reason.decode("utf-8", "replace").strip()
            raise RejectedError(f"{answer}: {text}") from error
        raise GatewayError(answer) from error
    except (URLError, OSError, HTTPException) as error:
        cause = error.reason if isinstance(error, URLError) else error
        raise GatewayError(f"{gateway.url} cannot be reached: {cause}") from error


def _body(gateway: Gateway, response: HTTPResponse, max_bytes: int) -> bytes:
    """Return the body of a response. Raises GatewayError for one that is too long, or endless."""
    body, is_complete = _start(response, max_bytes)
    if not is_complete:
        raise _stranger(gateway)
    return body


def _start(response: Any, max_bytes: int) -> tuple[bytes, bool]:
    """Return the start of a response's body, and whether that is all of it."""
    body = bytearray()
    deadline = time.monotonic() + RESPONSE_TIMEOUT_SECONDS
    while part := response.read1(1 << 16):
        body += part
        if len(body) > max_bytes or time.monotonic() > deadline:
            return bytes(body), False
    return bytes(body), True


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
