"""Checks names of jobs, instances and units, and lists severities."""

from __future__ import annotations

import re

# Pushgateway answers success for a job named `..` and stores nothing. The name is also a part of a
# systemd unit's.
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,199}\Z")
# Hosts and addresses; `[::1]` is one.
INSTANCE = re.compile(r"[A-Za-z0-9_\[][A-Za-z0-9_.:\[\]-]{0,252}\Z")
UNIT_NAME = re.compile(r"[A-Za-z0-9:_.\\@-]+\.service", re.ASCII)
SEVERITIES = ("info", "warning", "critical")


def job_name(text: str) -> str:
    """Return a job's name. Raises ValueError when it is not one."""
    if not NAME.match(text):
        raise ValueError(f"{text!r} is not a name: letters, digits and _ . : -, at most 200")
    return text


def instance_name(text: str) -> str:
    """Return an instance, or the empty one of jobs without a host. Raises ValueError."""
    if text and not INSTANCE.match(text):
        raise ValueError(f"{text!r} is not an instance: letters, digits and _ . : - [ ]")
    return text


def unit_name(text: str) -> str:
    """Return the name of a service. Raises ValueError."""
    if not UNIT_NAME.fullmatch(text) or text.startswith("batch-job-"):
        raise ValueError(f"{text!r} is not the name of a service such as certbot.service")
    return text
