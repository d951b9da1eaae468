#!/usr/bin/env python3
"""Copy an SQLite database and report the run to Pushgateway, with `requests` alone.

    python_requests.py --gateway http://gateway:9091 JOB DATABASE COPY

To report a job of your own, put it where `copy` is called. A gateway that is away is told on
stderr and costs the job ten seconds for each of the two reports; its exit status stays its own.
Python 3.9 or later.
"""

from __future__ import annotations

import argparse
import base64
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests
from requests.auth import HTTPBasicAuth

# Seconds that a gateway may stay silent.
TIMEOUT = 10


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
    def run(self) -> Iterator[list[str]]:
        """Report what happens inside; it may add metrics of its own, made by `gauge`."""
        own: list[str] = []
        started, clock = time.time(), time.monotonic()
        start = self._start(started)
        status = 0
        try:
            self._push("POST", start)
            yield own
        except BaseException as error:
            status = exit_status(error)
            raise
        finally:
            is_warning = status in self.warning_exit_codes
            end = [*start, *outcome(status, time.monotonic() - clock, is_warning), *own]
            # PUT replaces all that the group holds, POST adds to it: a failure must not erase the
            # last success.
            self._push("POST" if status and not is_warning else "PUT", end)

    def _start(self, started: float) -> list[str]:
        """Return what is reported of a run that started at a Unix time."""
        name = "batch_job_last_start_timestamp_seconds"
        families = [gauge(name, started, "When the latest run started.")]
        if self.max_runtime is not None:
            text = "A run longer than this is stuck; +Inf when no limit was declared."
            families.append(gauge("batch_job_max_runtime_seconds", self.max_runtime, text))
        if self.owner:
            text = "Always 1; the labels are the job's declaration."
            families.append(gauge("batch_job_info", 1, text, owner=self.owner))
        return families

    def _push(self, method: str, families: list[str]) -> None:
        """Send metrics. Whatever goes wrong is told: it is no reason for the job to fail."""
        try:
            answer = requests.request(
                method,
                self._group(),
                data="".join(families).encode(),
                auth=self._credentials(),
                verify=self.ca_file or True,
                timeout=TIMEOUT,
                # Followed with a GET, a redirect would look like a success.
                allow_redirects=False,
            )
            if answer.status_code not in (200, 202):
                raise OSError(f"{answer.status_code} {answer.reason} {answer.text.strip()}")
        except Exception as error:
            print(f"the run of {self.job} could not be reported: {error}", file=sys.stderr)

    def _group(self) -> str:
        """Return the group's URL. As base64, a name may hold anything, a slash included."""
        labels = {"job": self.job, **({"instance": self.instance} if self.instance else {})}
        encoded = (
            f"/{name}@base64/{base64.urlsafe_b64encode(text.encode()).decode()}"
            for name, text in labels.items()
        )
        return f"{self.gateway.rstrip('/')}/metrics{''.join(encoded)}"

    def _credentials(self) -> HTTPBasicAuth | None:
        """Return name and password; as texts, requests would send them in Latin-1."""
        if not self.username:
            return None
        password = Path(self.password_file).read_text(encoding="utf-8").strip()
        return HTTPBasicAuth(self.username.encode(), password.encode())


def outcome(status: int, duration: float, is_warning: bool) -> list[str]:
    """Return what is reported of a run that ends now with an exit status, after some seconds."""
    ended = time.time()
    result = "success" if status == 0 else "signal" if 128 < status <= 192 else "exit-code"
    result = "warning" if is_warning else result
    code_text = "Exit code of the latest run, 128+N for signal N; 0 for a success."
    result_text = "Always 1; the label is the result of the latest run."
    families = [
        gauge("batch_job_last_completion_timestamp_seconds", ended, "When the latest run ended."),
        gauge("batch_job_last_duration_seconds", duration, "How long the latest run took."),
        gauge("batch_job_last_exit_code", status, code_text),
        gauge("batch_job_last_result", 1, result_text, result=result),
    ]
    if status == 0 or is_warning:
        name = "batch_job_last_success_timestamp_seconds"
        families.append(gauge(name, ended, "When the latest successful run ended."))
    return families


def gauge(metric: str, value: float, description: str, **labels: str) -> str:
    """Return a metric in the text format."""
    pairs = ",".join(f'{name}="{escaped(text)}"' for name, text in labels.items())
    return f"# HELP {metric} {description}\n# TYPE {metric} gauge\n{metric}{{{pairs}}} {value!r}\n"


def escaped(text: str) -> str:
    """Return the value of a label as it is written between quotes."""
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


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
    with Reporter(**options).run() as own:
        size = copy(database, target)
        own.append(gauge("backup_size_bytes", size, "Size of the backup."))


if __name__ == "__main__":
    main()
