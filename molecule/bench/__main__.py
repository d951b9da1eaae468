"""`python -m bench [NAME ...]`: run benchmarks one after the other, all by default."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable

import requests

from bench import notifications, page, reports, rollouts, rules
from lab import LabError
from lab.console import fail

BENCHMARKS: dict[str, Callable[[], str]] = {
    "reports": reports.measure,
    "rollouts": rollouts.measure,
    "rules": rules.measure,
    "notifications": notifications.measure,
    "page": page.measure,
}


def main(names: list[str]) -> int:
    """Print what each benchmark measured; 0 unless one fails, which is the last one."""
    for name in names or BENCHMARKS:
        load = os.getloadavg()[0]
        try:
            table = BENCHMARKS[name]()
        except (LabError, TimeoutError, requests.RequestException) as error:
            return fail(f"benchmark {name}: {error}")
        cores = f"{platform.machine()}, {os.cpu_count()} cores of load {load:.1f} before"
        print(f"\n{cores}, {table}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
