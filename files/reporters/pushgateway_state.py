"""Report when Pushgateway last wrote its state, to that Pushgateway itself.

With a full disk or a file that it may not write, Pushgateway goes on to answer 200 to every push,
and no metric of its own tells. Each report is something to write, so the file of a gateway that
persists is never much older than the time between two reports.

    pushgateway_state.py CONFIG.json

CONFIG.json holds `url` (of the gateway), `instance` (its host) and `file` (its state); and where
they are needed `username`, `password`, `ca_path`, `client_cert`, `client_key` (PEM files) and
`validate_certs`. Pushes pushgateway_state_written_timestamp_seconds, in Unix seconds, 0 as long as
there is no file. The standard library suffices, so that it runs wherever Python does.
"""

from __future__ import annotations

import base64
import json
import os
import ssl
import sys
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

METRIC = "pushgateway_state_written_timestamp_seconds"
TIMEOUT_SECONDS = 10


def written(file: Path) -> float:
    """Return when a file was last written, in Unix seconds; 0 when there is none."""
    try:
        return os.stat(file).st_mtime
    except FileNotFoundError:
        return 0.0


def request(config: Mapping[str, Any], timestamp: float) -> urllib.request.Request:
    """Return the push of a timestamp as the group's only metric."""
    instance = urllib.parse.quote(config["instance"], safe="")
    text = (
        f"# HELP {METRIC} When Pushgateway last wrote its state to disk.\n"
        f"# TYPE {METRIC} gauge\n{METRIC} {timestamp!r}\n"
    )
    headers = {"Content-Type": "text/plain; version=0.0.4"}
    if config.get("username"):
        pair = f"{config['username']}:{config.get('password', '')}".encode()
        headers["Authorization"] = "Basic " + base64.b64encode(pair).decode()
    return urllib.request.Request(  # noqa: S310 - the address is the operator's own
        f"{config['url']}/metrics/job/pushgateway_state/instance/{instance}",
        data=text.encode(),
        headers=headers,
        method="PUT",
    )


def opener(config: Mapping[str, Any]) -> urllib.request.OpenerDirector:
    """Return what opens a request without a proxy, and with the certificates of a config."""
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if config["url"].startswith("https:"):
        context = ssl.create_default_context(cafile=config.get("ca_path"))
        if config.get("client_cert"):
            context.load_cert_chain(config["client_cert"], config.get("client_key"))
        if not config.get("validate_certs", True):
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        handlers.append(urllib.request.HTTPSHandler(context=context))
    return urllib.request.build_opener(*handlers)


def main(argv: list[str]) -> int:
    """Report once; 0 when the gateway took it, 1 with an error on stderr when not."""
    config = json.loads(Path(argv[0]).read_text())
    push = request(config, written(Path(config["file"])))
    try:
        opener(config).open(push, timeout=TIMEOUT_SECONDS).close()
    except OSError as error:
        print(f"{push.full_url}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
