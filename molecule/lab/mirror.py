"""The release mirror: upstream's archives or, where they cannot be fetched, Debian's builds.

The roles run the same tasks either way, with another base URL and other versions.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path

import docker
import requests

import programs
from lab import CACHE, LabError, role_default
from lab.archives import archive_path
from lab.console import step
from lab.offline import debian

MIRROR = CACHE / "releases"
INDEX = CACHE / "releases.json"
UPSTREAM = "https://github.com/prometheus"
UPSTREAM_SOURCE = "upstream's releases"
DEBIAN_SOURCE = "Debian's packages of the same programs"

# The programs of each release.
RELEASES = {
    "prometheus": ("prometheus", "promtool"),
    "alertmanager": ("alertmanager", "amtool"),
    "pushgateway": ("pushgateway",),
    "node_exporter": ("node_exporter",),
}
# A second, older version of Pushgateway, for upgrades and rollbacks.
UPSTREAM_PREVIOUS = {"pushgateway": ("1.11.2",)}
# Releases that tests need and no role installs.
UPSTREAM_TOOLS = {"node_exporter": "1.9.1"}


def ensure(client: docker.DockerClient, image: str) -> dict[str, list[str]]:
    """Return the mirrored versions of each release, newest first; fetch those that are missing.

    A mirror that lacks a release gets that one from where it has the others.
    """
    known = versions() if INDEX.exists() else {}
    missing = [name for name in RELEASES if name not in known]
    if missing:
        with step(f"Adding to the release mirror: {', '.join(missing)}"):
            origin = source() if known else UPSTREAM_SOURCE
            added = _fetch_upstream(missing) if origin == UPSTREAM_SOURCE else None
            if added is None:
                added = debian.repack(client, image, missing, MIRROR)
                origin = origin if known else DEBIAN_SOURCE
            _write_index(origin, known | added)
    unpack_programs()
    if not (programs.DIRECTORY / "nginx").exists():
        with step("Unpacking Debian's nginx, for tests without a node"):
            debian.unpack_program(client, image, "nginx/usr/sbin/nginx", programs.DIRECTORY)
    return versions()


def _write_index(origin: str, mirrored: Mapping[str, list[str]]) -> None:
    """Write what is in the mirror, in one step for those who read it meanwhile."""
    written = INDEX.with_suffix(f".{os.getpid()}")
    written.write_text(json.dumps({"source": origin, "versions": mirrored}, indent=2))
    written.replace(INDEX)


def versions() -> dict[str, list[str]]:
    """Return the mirrored versions of each release, newest first."""
    return dict(json.loads(INDEX.read_text())["versions"])


def source() -> str:
    """Return in words where the mirrored releases come from."""
    return str(json.loads(INDEX.read_text())["source"])


def unpack_programs() -> None:
    """Put the newest version of each mirrored program where `programs.find` looks for it."""
    programs.DIRECTORY.mkdir(parents=True, exist_ok=True)
    for release, names in RELEASES.items():
        missing = [name for name in names if not (programs.DIRECTORY / name).exists()]
        if missing:
            folder = MIRROR / release / "releases" / "download" / f"v{versions()[release][0]}"
            (archive,) = folder.glob("*.tar.gz")
            top = archive.name.removesuffix(".tar.gz")
            with tarfile.open(archive) as packed, tempfile.TemporaryDirectory(dir=CACHE) as scratch:
                for name in missing:
                    # Without `filter`: Debian 12's Python has none.
                    packed.extract(f"{top}/{name}", scratch)
                    Path(scratch, top, name).rename(programs.DIRECTORY / name)


def _fetch_upstream(names: Collection[str]) -> dict[str, list[str]] | None:
    """Fetch upstream's archives of these releases; None when they cannot be fetched."""
    machine = os.uname().machine
    architecture = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}.get(machine)
    if architecture is None:
        raise LabError(f"there are no releases for {machine}")
    wanted = {
        name: [
            UPSTREAM_TOOLS.get(name) or role_default(f"{name}_version"),
            *UPSTREAM_PREVIOUS.get(name, ()),
        ]
        for name in names
    }
    for name, versions in wanted.items():
        for version in versions:
            path = archive_path(name, version, architecture)
            sums = path.parent / "sha256sums.txt"
            try:
                for file in (path, sums):
                    response = requests.get(f"{UPSTREAM}/{file}", timeout=(5, 60))
                    response.raise_for_status()
                    (MIRROR / file).parent.mkdir(parents=True, exist_ok=True)
                    (MIRROR / file).write_bytes(response.content)
            except requests.RequestException:
                for fetched in wanted:
                    shutil.rmtree(MIRROR / fetched, ignore_errors=True)
                return None
            digest = hashlib.sha256((MIRROR / path).read_bytes()).hexdigest()
            if f"{digest}  {path.name}" not in (MIRROR / sums).read_text().splitlines():
                raise LabError(f"{UPSTREAM}/{path} has not the checksum that {sums} lists")
    return wanted
