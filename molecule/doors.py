"""Who may do what at each port: the table of SECURITY.md, and a stranger who tries it."""

from __future__ import annotations

import base64
import shlex
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import yaml

# What curl prints when nobody listens.
NOBODY = "000"


def doors(state: str) -> list[dict[str, Any]]:
    """Return the lines of the table that have an answer in a state of the site."""
    lines = yaml.safe_load(Path(__file__).with_name("doors.yml").read_text())
    return [line for line in lines if state in line]


def expected(state: str) -> dict[tuple[int, str], int | str]:
    """Return the answers of the table."""
    return {(door["port"], door["request"]): door[state] for door in doors(state)}


class Stranger:
    """Somebody who can reach a host; `run` runs a command there and returns what it prints."""

    def __init__(self, run: Callable[[str], str], host: str, tls_ports: Collection[int]) -> None:
        """Know how to reach the host, and which of its ports want TLS."""
        self._run = run
        self._host = host
        self._tls_ports = tls_ports

    def ask(
        self, port: int, request: str, body: str = "", login: Mapping[str, str] | None = None
    ) -> int | str:
        """Send a request and return the status, or `refused` when nobody listens."""
        method, path = request.split(" ", 1)
        words = ["curl", "--silent", "--insecure", "--globoff", "--request", method]
        words += ["--max-time", "20", "--output", "/dev/null", "--write-out", "%{http_code}"]
        words += ["--header", "Content-Type: application/json"] if body[:1] in ("{", "[") else []
        words += ["--data-binary", body] if body else []
        if login:
            pair = f"{login['username']}:{login['password']}".encode()
            words += ["--header", f"Authorization: Basic {base64.b64encode(pair).decode()}"]
        scheme = "https" if port in self._tls_ports else "http"
        status = self._run(shlex.join([*words, f"{scheme}://{self._host}:{port}{path}"]))
        return "refused" if status == NOBODY else int(status)

    def answers(
        self, state: str, login: Mapping[str, str] | None = None
    ) -> dict[tuple[int, str], int | str]:
        """Return the answer to each line of the table."""
        return {
            (door["port"], door["request"]): self.ask(
                door["port"], door["request"], door.get("body", ""), login
            )
            for door in doors(state)
        }
