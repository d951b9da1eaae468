"""A webhook receiver for Alertmanager: keeps every notification and shows them.

POST / stores a notification; GET / returns all of them as a JSON list, oldest first;
DELETE / forgets them. In memory, for the demo and the tests.
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

notifications: list[Any] = []


class Handler(BaseHTTPRequestHandler):
    """Answers POST, GET and DELETE on any path."""

    def do_POST(self) -> None:
        """Keep one notification; 400 if it is not JSON."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            notifications.append(json.loads(body))
        except ValueError as error:
            self._answer(400, {"error": str(error)})
        else:
            self._answer(200, {"received": len(notifications)})

    def do_GET(self) -> None:
        """Show all notifications."""
        self._answer(200, notifications)

    def do_DELETE(self) -> None:
        """Forget all notifications."""
        notifications.clear()
        self._answer(200, notifications)

    def _answer(self, status: int, document: Any) -> None:
        body = json.dumps(document, indent=2).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    ThreadingHTTPServer(("", int(sys.argv[1])), Handler).serve_forever()
