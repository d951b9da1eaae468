"""Release archives and `sha256sums.txt` in the layout of upstream's releases."""

from __future__ import annotations

import gzip
import hashlib
import tarfile
from collections.abc import Mapping
from pathlib import Path


def archive_path(name: str, version: str, architecture: str) -> Path:
    """Return where upstream keeps an archive, relative to the base URL."""
    folder = Path(name, "releases", "download", f"v{version}")
    return folder / f"{name}-{version}.linux-{architecture}.tar.gz"


def pack(archive: Path, programs: Mapping[str, Path]) -> None:
    """Write a release archive: one folder of the archive's name that holds the programs."""
    top = archive.name.removesuffix(".tar.gz")
    archive.parent.mkdir(parents=True, exist_ok=True)
    with (
        gzip.GzipFile(archive, "wb", compresslevel=1, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w") as packed,
    ):
        for name, path in programs.items():
            member = packed.gettarinfo(str(path), f"{top}/{name}")
            member.mode, member.uid, member.gid = 0o755, 0, 0
            member.uname = member.gname = "root"
            with path.open("rb") as content:
                packed.addfile(member, content)


def write_checksums(folder: Path) -> None:
    """Write `sha256sums.txt` for the archives in a folder, in sha256sum's format."""
    lines = [
        f"{hashlib.sha256(archive.read_bytes()).hexdigest()}  {archive.name}\n"
        for archive in sorted(folder.glob("*.tar.gz"))
    ]
    (folder / "sha256sums.txt").write_text("".join(lines))
