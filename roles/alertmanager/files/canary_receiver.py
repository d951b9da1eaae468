"""Receive the canaries of playbooks/verify.yml from Alertmanager, at HOST:PORT, the argument.

A GET request returns when each instance's canary first came, in Unix seconds.
"""

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

delivered: dict[str, float] = {}


class Handler(BaseHTTPRequestHandler):
    """Answers POST, which is Alertmanager's webhook, and GET."""

    timeout = 5

    def do_POST(self) -> None:
        """Take one notification."""
        for alert in json.loads(self.rfile.read(int(self.headers["Content-Length"])))["alerts"]:
            if alert["status"] == "firing" and alert["labels"]["alertname"] == "BatchJobCanary":
                delivered.setdefault(alert["labels"].get("instance", ""), time.time())
        self.do_GET()

    def do_GET(self) -> None:
        """Return what was delivered."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(delivered).encode())


host, _, port = sys.argv[1].rpartition(":")
HTTPServer((host, int(port)), Handler).serve_forever()
