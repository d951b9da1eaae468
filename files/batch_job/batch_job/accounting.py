"""Reads what a systemd unit's control group has counted, on cgroup v1 and v2."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")


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
    for controllers, path in _hierarchies():
        # systemd's own hierarchy on v1, the only one on v2.
        if controllers in ("name=systemd", ""):
            services = [part for part in path.split("/") if part.endswith(".service")]
            if services:
                return services[-1]
    return ""


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
