#!/usr/bin/python3
"""A STAND-IN for the program `grafana`, where Grafana's packages cannot be fetched.

It speaks as much of Grafana as the role does: `grafana server` reads grafana.ini with its
`$__file{}`, remembers the admin's password in a database at its first start, and answers
`/api/health` and, to the password, `/api/org`; `grafana cli admin reset-admin-password` changes
the password. It looks at no provisioning and no dashboard, checks no key of grafana.ini, and has
other needs of a sandbox than Grafana: none of that is proven by a test that passes with it.
"""

from __future__ import annotations

import argparse
import base64
import configparser
import json
import re
import socket
import sqlite3
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def read_config(path: str) -> configparser.RawConfigParser:
    """Read grafana.ini and the files that it names; a missing one raises OSError."""
    config = configparser.RawConfigParser(strict=False)
    config.read(path)
    for section in config.sections():
        for key, value in config.items(section):
            named = re.fullmatch(r"\$__file\{(.+)\}", value)
            config.set(section, key, Path(named[1]).read_text().strip() if named else value)
    return config


def database(config: configparser.RawConfigParser) -> sqlite3.Connection:
    """Open the database; at the first start, remember the password of the configuration."""
    opened = sqlite3.connect(Path(config.get("paths", "data"), "grafana.db"))
    with opened:
        opened.execute("CREATE TABLE IF NOT EXISTS user (id INTEGER, login TEXT, password TEXT)")
        if not opened.execute("SELECT id FROM user").fetchone():
            login, password = (
                config.get("security", f"admin_{key}") for key in ("user", "password")
            )
            opened.execute("INSERT INTO user VALUES (1, ?, ?)", (login, password))
    return opened


def serve(home: Path, config: configparser.RawConfigParser) -> None:
    """Answer until the end."""
    database(config).close()
    version = (home / "VERSION").read_text().strip()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/api/health":
                self.answer(200, {"database": "ok", "version": version})
            elif not self.is_known():
                self.answer(401, {"message": "Unauthorized"})
            elif self.path == "/api/org":
                self.answer(200, {"id": 1, "name": "Main Org."})
            else:
                self.answer(404, {"message": "This is a stand-in for Grafana"})

        def is_known(self) -> bool:
            """Return whether the request has login and password of a user."""
            _, _, credentials = self.headers.get("Authorization", "").partition("Basic ")
            login, _, password = base64.b64decode(credentials).decode().partition(":")
            query = "SELECT id FROM user WHERE login = ? AND password = ?"
            return bool(database(config).execute(query, (login, password)).fetchone())

        def answer(self, status: int, document: object) -> None:
            """Send a JSON document."""
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    address, port = (config.get("server", f"http_{key}") for key in ("addr", "port"))
    try:
        family, _, _, _, target = socket.getaddrinfo(
            address or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        ThreadingHTTPServer.address_family = family
        server = ThreadingHTTPServer((str(target[0]), int(target[1])), Handler)
    except OSError as error:
        raise OSError(f"cannot listen on {address}:{port}: {error}") from error
    server.serve_forever()


def reset_password(config: configparser.RawConfigParser, password: str) -> None:
    """Give the first user another password."""
    with database(config) as opened:
        opened.execute("UPDATE user SET password = ? WHERE id = 1", (password,))
    print("Admin password changed successfully")


def main() -> int:
    """Run a command; 0 for a success."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--homepath", type=Path, default=Path("/usr/share/grafana"))
    common.add_argument("--config", required=True)
    parser = argparse.ArgumentParser(prog="grafana", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    server = commands.add_parser("server", parents=[common])
    server.add_argument("--pidfile")
    server.add_argument("--packaging")
    server.add_argument("overrides", nargs="*")
    admin = commands.add_parser("cli", parents=[common])
    admin.add_argument("arguments", nargs=2)
    admin.add_argument("--password-from-stdin", action="store_true", required=True)
    options = parser.parse_args()
    try:
        config = read_config(options.config)
        if options.command == "server":
            serve(options.homepath, config)
        elif options.arguments == ["admin", "reset-admin-password"]:
            reset_password(config, sys.stdin.readline().rstrip("\n"))
    except (OSError, configparser.Error, sqlite3.Error) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
