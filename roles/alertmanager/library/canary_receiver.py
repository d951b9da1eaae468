#!/usr/bin/python
"""Ansible module: be the receiver to which Alertmanager delivers canaries."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: canary_receiver
short_description: Be the receiver to which Alertmanager delivers canaries
description:
  - Takes Alertmanager's webhook until it is told to end, or until time is up. Meant to run in the
    background, with C(async) and C(poll=0).
  - A GET request is answered with when each canary was first delivered, in Unix seconds, by
    C(instance). A DELETE request ends it.
options:
  address:
    description: Host and port to listen on.
    type: str
    required: true
  timeout_seconds:
    description: How long to listen.
    type: int
    required: true
author: The maintainers of this repository
"""

EXAMPLES = r"""
- name: Listen for canaries
  canary_receiver:
    address: 127.0.0.1:9098
    timeout_seconds: 60
  async: 90
  poll: 0
"""

RETURN = r"""
"""

import json
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from ansible.module_utils.basic import AnsibleModule

LARGEST_BODY_BYTES = 1 << 20


class Receiver(HTTPServer):
    """Remembers when it first heard of each instance, in Unix seconds."""

    allow_reuse_address = True
    timeout = 0.5

    def __init__(self, address: tuple[str, int]) -> None:
        """Listen. Raises OSError when the address is taken."""
        super().__init__(address, Handler)
        self.delivered: dict[str, float] = {}
        self.is_over = False


class Handler(BaseHTTPRequestHandler):
    """Answers POST, GET and DELETE."""

    server: Receiver
    timeout = 5

    def do_POST(self) -> None:
        """Take one notification."""
        length = min(int(self.headers.get("Content-Length", 0)), LARGEST_BODY_BYTES)
        for alert in json.loads(self.rfile.read(length))["alerts"]:
            if alert["status"] == "firing" and alert["labels"]["alertname"] == "BatchJobCanary":
                self.server.delivered.setdefault(alert["labels"].get("instance", ""), time.time())
        self._answer({})

    def do_GET(self) -> None:
        """Tell what was delivered."""
        self._answer(self.server.delivered)

    def do_DELETE(self) -> None:
        """End."""
        self.server.is_over = True
        self._answer({})

    def log_message(self, *_: Any) -> None:
        """Say nothing: what a module prints is its result."""

    def _answer(self, document: Any) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(document).encode())


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "address": {"type": "str", "required": True},
            "timeout_seconds": {"type": "int", "required": True},
        },
    )
    host, _, port = module.params["address"].rpartition(":")
    limit = time.monotonic() + module.params["timeout_seconds"]
    try:
        with Receiver((host.strip("[]"), int(port))) as receiver:
            while not receiver.is_over and time.monotonic() < limit:
                receiver.handle_request()
    except (OSError, ValueError) as error:
        module.fail_json(msg=f"cannot listen on {module.params['address']}: {error}")
    module.exit_json()


if __name__ == "__main__":
    main()
