"""A webhook receiver for Alertmanager: keeps the latest notifications and shows them.

POST stores a notification under the path; GET returns all of that path, to a browser as a page with
the newest first, to others as a JSON list with the oldest first; DELETE forgets them. In memory,
for demos and tests: `webhook.py PORT`.
"""

from __future__ import annotations

import json
import sys
import time
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEPT = 1000
PAGE = """\
<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="5">
<meta name="viewport" content="width=device-width"><title>Notifications</title>
<style>
  body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 50em; margin: 2em auto; padding: 0 1em }}
  h2 {{ font-size: 1em; color: #555; margin: 2em 0 .5em }}
  section {{ border-left: .4em solid #009e73; padding: .2em 1em; margin: .5em 0 }}
  section.firing {{ border-color: #d55e00 }}
  h3, p {{ margin: 0 }}
</style>
<h1>Notifications, the newest first</h1>
{notifications}
</html>
"""
NOTIFICATION = "<h2>{received}, to {receiver}</h2>\n{alerts}"
ALERT = """\
<section class="{status}"><b>{status}</b> {name}<h3>{summary}</h3><p>{description}</p>
<p><a href="{runbook}">{runbook}</a></p></section>
"""

notifications: defaultdict[str, deque[dict[str, Any]]] = defaultdict(lambda: deque(maxlen=KEPT))


def page(kept: Sequence[Mapping[str, Any]]) -> str:
    """Return notifications as HTML."""
    found = [
        NOTIFICATION.format(
            received=each["received"],
            receiver=escape(str(each.get("receiver"))),
            alerts="".join(map(shown, each.get("alerts", []))),
        )
        for each in reversed(kept)
    ]
    return PAGE.format(notifications="\n".join(found) or "<p>Nobody was told anything yet.</p>")


def shown(alert: Mapping[str, Any]) -> str:
    """Return an alert as HTML."""
    notes = alert.get("annotations", {})
    words = {
        "status": alert.get("status", ""),
        "name": alert.get("labels", {}).get("alertname", ""),
        "summary": notes.get("summary", ""),
        "description": notes.get("description", ""),
        "runbook": notes.get("runbook_url", ""),
    }
    return ALERT.format(**{name: escape(str(text)) for name, text in words.items()})


class Handler(BaseHTTPRequestHandler):
    """Answers POST, GET and DELETE on any path, which is a list of its own."""

    def do_POST(self) -> None:
        """Keep one notification; 400 if it is not a JSON object."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            notification = dict(json.loads(body))
        except (TypeError, ValueError) as error:
            self._answer(400, {"error": str(error)})
            return
        notification["received"] = time.strftime("%H:%M:%S UTC", time.gmtime())
        notifications[self.path].append(notification)
        self._answer(200, {"received": len(notifications[self.path])})
        for alert in notification.get("alerts", []):
            summary = alert.get("annotations", {}).get("summary", "")
            print(notification["received"], alert.get("status"), summary, flush=True)

    def do_GET(self) -> None:
        """Show the notifications."""
        kept = list(notifications[self.path])
        if "text/html" in self.headers.get("Accept", ""):
            self._send(200, "text/html; charset=utf-8", page(kept).encode())
        else:
            self._answer(200, kept)

    def do_DELETE(self) -> None:
        """Forget the notifications."""
        notifications[self.path].clear()
        self._answer(200, [])

    def log_message(self, *_: Any) -> None:
        """Log no request: what came in is told, and who looks at it does not matter."""

    def _answer(self, status: int, document: Any) -> None:
        self._send(status, "application/json", json.dumps(document, indent=2).encode() + b"\n")

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    ThreadingHTTPServer(("", int(sys.argv[1])), Handler).serve_forever()
