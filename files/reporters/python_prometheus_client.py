#!/usr/bin/env python3
"""Copy an SQLite database and report the run to Pushgateway, with `prometheus_client`.

    python_prometheus_client.py --gateway http://gateway:9091 JOB DATABASE COPY

To report a job of your own, put it where `copy` is called. A gateway that is away is told on
stderr and costs the job ten seconds for each of the two reports; its exit status stays its own.
Python 3.9 or later, and a prometheus_client that is not much older than 0.26: earlier ones push the
job `a b` as `a+b` (prometheus/client_python issue 1064).
"""

from __future__ import annotations

import argparse
import base64
import os
import signal
import sqlite3
import ssl
import sys
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, HTTPSHandler, Request, build_opener

from prometheus_client import CollectorRegistry, Gauge, push_to_gateway, pushadd_to_gateway

# Seconds that a gateway may stay silent.
TIMEOUT = 10


class NoRedirects(HTTPRedirectHandler):
    """Makes an error of a redirect: followed with a GET, it would look like a success."""

    def redirect_request(self, *_arguments: object) -> None:
        """Follow nothing."""


@dataclass(frozen=True)
class Reporter:
    """Reports the runs of a job. An empty `instance` is for jobs without a host."""

    gateway: str
    job: str
    instance: str = ""
    # Of a job that the inventory does not declare.
    owner: str = ""
    # Seconds; a run that takes longer alerts as stuck.
    max_runtime: float | None = None
    # Exit statuses of runs that succeeded with a warning.
    warning_exit_codes: Collection[int] = ()
    ca_file: str = ""
    username: str = ""
    password_file: str = ""

    @contextmanager
    def run(self) -> Iterator[CollectorRegistry]:
        """Report what happens inside; it may add metrics of its own to the registry."""
        # Not the library's own registry, which says how this process does.
        registry = CollectorRegistry()
        self._declare(registry)
        name = "batch_job_last_start_timestamp_seconds"
        add_gauge(registry, name, time.time(), "When the latest run started.")
        clock = time.monotonic()
        status = 0
        try:
            self._push(pushadd_to_gateway, registry)
            yield registry
        except BaseException as error:
            status = exit_status(error)
            raise
        finally:
            is_warning = status in self.warning_exit_codes
            add_outcome(registry, status, time.monotonic() - clock, is_warning)
            # The one replaces all that the group holds, the other adds to it: a failure must not
            # erase the last success.
            has_failed = bool(status) and not is_warning
            self._push(pushadd_to_gateway if has_failed else push_to_gateway, registry)

    def _declare(self, registry: CollectorRegistry) -> None:
        """Add what goes along with each report."""
        if self.owner:
            text = "Always 1; the labels are the job's declaration."
            add_gauge(registry, "batch_job_info", 1, text, owner=self.owner)
        if self.max_runtime is not None:
            text = "A run longer than this is stuck; +Inf when no limit was declared."
            add_gauge(registry, "batch_job_max_runtime_seconds", self.max_runtime, text)

    def _push(self, send: Callable[..., None], registry: CollectorRegistry) -> None:
        """Send metrics. Whatever goes wrong is told: it is no reason for the job to fail."""
        try:
            send(
                self.gateway,
                self.job,
                registry,
                # An empty label would be another group than none.
                {"instance": self.instance} if self.instance else {},
                timeout=TIMEOUT,
                handler=self._handler,
            )
        except Exception as error:
            print(f"the run of {self.job} could not be reported: {error}", file=sys.stderr)

    def _handler(
        self, url: str, method: str, timeout: float, headers: list[tuple[str, str]], data: bytes
    ) -> Callable[[], None]:
        """Return what sends a request; the library's handlers know a password or a CA, not both."""

        def send() -> None:
            request = Request(url, data, {**dict(headers), **self._credentials()}, method=method)  # noqa: S310
            context = ssl.create_default_context(cafile=self.ca_file or None)
            opener = build_opener(NoRedirects(), HTTPSHandler(context=context))
            try:
                opener.open(request, timeout=timeout).close()
            except HTTPError as error:
                reason = error.read(1000).decode("utf-8", "replace").strip()
                raise OSError(f"{error.code} {error.reason} {reason}") from None

        return send

    def _credentials(self) -> dict[str, str]:
        """Return the header that a password makes."""
        if not self.username:
            return {}
        password = Path(self.password_file).read_text(encoding="utf-8").strip()
        pair = base64.b64encode(f"{self.username}:{password}".encode())
        return {"Authorization": f"Basic {pair.decode()}"}


def add_outcome(
    registry: CollectorRegistry, status: int, duration: float, is_warning: bool
) -> None:
    """Add what is reported of a run that ends now with an exit status, after some seconds."""
    ended = time.time()
    result = "success" if status == 0 else "signal" if 128 < status <= 192 else "exit-code"
    result = "warning" if is_warning else result
    name = "batch_job_last_completion_timestamp_seconds"
    add_gauge(registry, name, ended, "When the latest run ended.")
    name = "batch_job_last_duration_seconds"
    add_gauge(registry, name, duration, "How long the latest run took.")
    text = "Exit code of the latest run, 128+N for signal N; 0 for a success."
    add_gauge(registry, "batch_job_last_exit_code", status, text)
    text = "Always 1; the label is the result of the latest run."
    add_gauge(registry, "batch_job_last_result", 1, text, result=result)
    if status == 0 or is_warning:
        name = "batch_job_last_success_timestamp_seconds"
        add_gauge(registry, name, ended, "When the latest successful run ended.")


def add_gauge(
    registry: CollectorRegistry, name: str, value: float, description: str, **labels: str
) -> None:
    """Add a metric with one series."""
    gauge = Gauge(name, description, list(labels), registry=registry)
    (gauge.labels(**labels) if labels else gauge).set(value)


def exit_status(error: BaseException) -> int:
    """Return the exit status of a Python that an exception ends; 128+N stands for signal N."""
    if isinstance(error, SystemExit):
        if error.code is None or isinstance(error.code, int):
            return (error.code or 0) & 0xFF
        return 1
    return 128 + signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1


def copy(database: Path, target: Path) -> int:
    """Replace a file by a copy of a database that may be in use; return its size in bytes."""
    partial = target.with_name(target.name + ".partial")
    try:
        # By itself, SQLite would make an empty database of one that is missing.
        source = sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)
        with closing(source), closing(sqlite3.connect(partial)) as destination:
            # Python looks after signals only while some of its own code runs.
            source.backup(destination, pages=1000, progress=lambda *_: None)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return target.stat().st_size


def main() -> None:
    """Copy and report."""
    parser = argparse.ArgumentParser(description="Copy an SQLite database and report the run.")
    parser.add_argument("job")
    parser.add_argument("database", type=Path)
    parser.add_argument("copy", type=Path)
    parser.add_argument("--gateway", required=True, metavar="URL")
    parser.add_argument("--instance", default=os.uname().nodename, help="default: this host")
    parser.add_argument("--owner", default="", help="of a job that nobody declares")
    parser.add_argument("--max-runtime", type=float, metavar="SECONDS")
    parser.add_argument("--ca-file", default="", help="private CA of the gateway")
    parser.add_argument("--username", default="", help="for basic authentication")
    parser.add_argument("--password-file", default="", help="holds the password")
    arguments = parser.parse_args()

    # Without a handler, SIGTERM ends Python on the spot, and nothing would be reported.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    # What is backed up may be secret.
    os.umask(0o077)
    options = vars(arguments)
    database, target = options.pop("database"), options.pop("copy")
    with Reporter(**options).run() as registry:
        size = copy(database, target)
        add_gauge(registry, "backup_size_bytes", size, "Size of the backup.")


if __name__ == "__main__":
    main()
