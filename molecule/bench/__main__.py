"""`python -m bench [NAME ...]`: run benchmarks one after the other, all by default."""

from __future__ import annotations

import sys

from bench import notifications, reports, rollouts, rules

BENCHMARKS = {
    "reports": reports.main,
    "rollouts": rollouts.main,
    "rules": rules.main,
    "notifications": notifications.main,
}

if __name__ == "__main__":
    statuses = [BENCHMARKS[name]() for name in sys.argv[1:] or BENCHMARKS]
    sys.exit(max(statuses))
