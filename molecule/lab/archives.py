"""Release archives and `sha256sums.txt` in the layout of upstream's releases."""

from __future__ import annotations

import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path


def archive_path(name: str, version: str, architecture: str) -> Path:
    """Return where upstream keeps an archive, relative to the base URL."""
    folder = Path(name, "releases", "download", f"v{version}")
    return folder / f"{name}-{version}.linux-{architecture}.tar.gz"


def pack(archive: Path, programs: Mapping[str, Path]) -> None:
    """Write a release archive: one folder of the archive's name that holds the programs."""

    def give_to_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.mode, member.uid, member.gid = 0o755, 0, 0
        member.uname = member.gname = "root"
        return member

    top = archive.name.removesuffix(".tar.gz")
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w:gz", compresslevel=1) as packed:
        for name, path in programs.items():
            packed.add(path, f"{top}/{name}", filter=give_to_root)


def write_checksums(folder: Path) -> None:
    """Write `sha256sums.txt` for the archives in a folder."""
    names = sorted(path.name for path in folder.glob("*.tar.gz"))
    sums = subprocess.check_output(["sha256sum", *names], cwd=folder)
    (folder / "sha256sums.txt").write_bytes(sums)
