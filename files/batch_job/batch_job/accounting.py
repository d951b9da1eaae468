"""Reads what a systemd unit's control group has counted, on cgroup v1 and v2."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")
SERVICE = re.compile(r"[A-Za-z0-9:_.\\@-]{1,247}\.service")
# What these start at somebody's request is no run of theirs. Most of them clear its environment;
# anacron and CI runners do not. A user's own systemd has units and a journal of its own.
LAUNCHER = re.compile(
    r"(user@[0-9]+|anacron|atd|cron|crond|cronie|fcron|gitlab-runner|jenkins|actions\.runner\..+)"
    r"\.service"
)


def memory_directory() -> Path | None:
    """Return the directory that counts the memory of this process's control group, or None."""
    unified = None
    for controllers, path in _hierarchies():
        if "memory" in controllers.split(","):
            return CGROUPS / "memory" / path.lstrip("/")
        if not controllers:
            unified = CGROUPS / path.lstrip("/")
    return unified


def unit() -> str:
    """Return the name of this process's systemd unit; empty without one."""
    services = [part for part in _path() if part.endswith(".service")]
    # systemd puts an underscore before a name that the kernel could use itself.
    return services[-1].removeprefix("_") if services else ""


def unit_of_run(environment: Mapping[str, str]) -> str:
    """Return the systemd unit whose run this process belongs to; empty under cron and in a shell.

    A container shares the kernel's view of control groups, but not systemd's variables.
    """
    name = unit()
    if "INVOCATION_ID" not in environment or not SERVICE.fullmatch(name):
        return ""
    return "" if any(map(LAUNCHER.fullmatch, _path())) else name


def max_memory_bytes() -> int | None:
    """Return the peak memory of this control group, page cache included, or None."""
    for name in ("memory.peak", "memory.max_usage_in_bytes"):
        text = _read(name)
        if text.strip().isdigit():
            return int(text)
    return None


def oom_kills() -> int:
    """Return how many processes of this control group were killed for lack of memory.

    On v1, systemd itself does not notice.
    """
    for line in (_read("memory.events") or _read("memory.oom_control")).splitlines():
        name, _, count = line.partition(" ")
        if name == "oom_kill":
            return int(count)
    return 0


def _path() -> list[str]:
    """Return the parts of this process's control group, in the hierarchy that systemd uses."""
    paths = dict(_hierarchies())
    # Its own one on v1, the only one on v2.
    return paths.get("name=systemd", paths.get("", "")).split("/")


def _hierarchies() -> Iterator[tuple[str, str]]:
    """Yield controllers and path of each control group of this process; none without cgroups."""
    try:
        lines = OWN_CGROUP.read_text(encoding="utf-8", errors="surrogateescape").split("\n")
    except OSError:
        return
    for line in lines:
        if line.count(":") >= 2:
            _number, controllers, path = line.split(":", 2)
            yield controllers, path


def _read(name: str) -> str:
    """Return the text of a file about this control group's memory; empty if it is missing."""
    directory = memory_directory()
    try:
        return (directory / name).read_text(encoding="utf-8") if directory else ""
    except OSError:
        return ""
