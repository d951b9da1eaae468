"""A webhook receiver for Alertmanager: keeps every notification and shows them.

POST stores a notification under the path; GET returns all of that path as a JSON list, oldest
first; DELETE forgets them. In memory, for the demo and the tests.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

notifications: defaultdict[str, list[Any]] = defaultdict(list)


class Handler(BaseHTTPRequestHandler):
    """Answers POST, GET and DELETE on any path, which is a list of its own."""

    def do_POST(self) -> None:
        """Keep one notification; 400 if it is not JSON."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            notifications[self.path].append(json.loads(body))
        except ValueError as error:
            self._answer(400, {"error": str(error)})
        else:
            self._answer(200, {"received": len(notifications[self.path])})

    def do_GET(self) -> None:
        """Show the notifications."""
        self._answer(200, notifications[self.path])

    def do_DELETE(self) -> None:
        """Forget the notifications."""
        notifications[self.path].clear()
        self._answer(200, [])

    def _answer(self, status: int, document: Any) -> None:
        body = json.dumps(document, indent=2).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    ThreadingHTTPServer(("", int(sys.argv[1])), Handler).serve_forever()
