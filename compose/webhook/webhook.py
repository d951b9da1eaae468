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
<p>{runbook}</p></section>
"""
LINK = '<a href="{url}">{url}</a>'

notifications: defaultdict[str, deque[dict[str, Any]]] = defaultdict(lambda: deque(maxlen=KEPT))


def page(kept: Sequence[Mapping[str, Any]]) -> str:
    """Return notifications as HTML."""
    found = [
        NOTIFICATION.format(
            received=each["received"],
            receiver=escape(each["receiver"]),
            alerts="".join(map(shown, each["alerts"])),
        )
        for each in reversed(kept)
    ]
    return PAGE.format(notifications="\n".join(found) or "<p>Nobody was told anything yet.</p>")


def shown(alert: Mapping[str, Any]) -> str:
    """Return an alert as HTML."""
    notes = alert["annotations"]
    words = {
        "status": alert["status"],
        "name": alert["labels"].get("alertname", ""),
        "summary": notes.get("summary", ""),
        "description": notes.get("description", ""),
    }
    runbook = escape(notes.get("runbook_url", ""))
    if runbook.startswith(("http://", "https://")):
        runbook = LINK.format(url=runbook)
    return ALERT.format(**{name: escape(text) for name, text in words.items()}, runbook=runbook)


class Handler(BaseHTTPRequestHandler):
    """Answers POST, GET and DELETE on any path, which is a list of its own."""

    def do_POST(self) -> None:
        """Keep one notification; 400 unless it can be shown."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self._is_of_a_page():
            return
        received = time.strftime("%H:%M:%S UTC", time.gmtime())
        try:
            notification = {**json.loads(body), "received": received}
            page([notification]).encode()
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            self._answer(400, {"error": f"not a notification of Alertmanager: {error!r}"})
            return
        notifications[self.path].append(notification)
        self._answer(200, {"received": len(notifications[self.path])})
        for alert in notification["alerts"]:
            print(received, alert["status"], alert["annotations"].get("summary"), flush=True)

    def do_GET(self) -> None:
        """Show the notifications."""
        kept = list(notifications.get(self.path, ()))
        if "text/html" in self.headers.get("Accept", ""):
            self._send(200, "text/html; charset=utf-8", page(kept).encode())
        else:
            self._answer(200, kept)

    def do_DELETE(self) -> None:
        """Forget the notifications."""
        if not self._is_of_a_page():
            notifications.pop(self.path, None)
            self._answer(200, [])

    def _is_of_a_page(self) -> bool:
        """Tell whether a browser asks this for a page, and refuse that: ours never does."""
        if "Origin" not in self.headers:
            return False
        self._answer(403, {"error": "pages of a browser may not do this"})
        return True

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
