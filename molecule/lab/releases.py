"""The release mirror: archives and `sha256sums.txt` in the layout of upstream's releases.

Upstream's own archives when they can be fetched. Otherwise the real programs out of
Debian's packages, fetched by apt (which verifies the signed package index) and repacked.
The roles cannot tell the difference: they get another base URL and other versions.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import docker
import requests
import yaml

import programs
from lab import CACHE, REPOSITORY, LabError
from lab.console import step
from lab.image import run_script

MIRROR = CACHE / "releases"
SHARE = CACHE / "share"
INDEX = CACHE / "releases.json"
UPSTREAM = "https://github.com/prometheus"
UPSTREAM_SOURCE = "upstream's releases"
DEBIAN_SOURCE = "Debian's packages of the same programs"

# A second, older version of Pushgateway, for upgrades and rollbacks.
UPSTREAM_PREVIOUS = {"pushgateway": ("1.11.2",)}
# Programs that tests need and no role installs.
UPSTREAM_TOOLS = {"node_exporter": "1.9.1"}


@dataclass(frozen=True)
class DebianRelease:
    """A program of ours in Debian: packages of a suite and the files they bring."""

    name: str
    suite: str
    packages: tuple[str, ...]
    programs: Mapping[str, str]


# Newest first. They need only libc >= 2.34, so Debian 12 and 13 run them.
DEBIAN_RELEASES = (
    DebianRelease(
        "prometheus",
        "forky",
        ("prometheus", "promtool"),
        {"prometheus": "usr/bin/prometheus", "promtool": "usr/bin/promtool"},
    ),
    DebianRelease(
        "alertmanager",
        "forky",
        ("prometheus-alertmanager",),
        {"alertmanager": "usr/bin/prometheus-alertmanager", "amtool": "usr/bin/amtool"},
    ),
    DebianRelease(
        "pushgateway",
        "forky",
        ("prometheus-pushgateway",),
        {"pushgateway": "usr/bin/prometheus-pushgateway"},
    ),
    DebianRelease(
        "pushgateway",
        "trixie",
        ("prometheus-pushgateway",),
        {"pushgateway": "usr/bin/prometheus-pushgateway"},
    ),
    DebianRelease(
        "node_exporter",
        "trixie",
        ("prometheus-node-exporter",),
        {"node_exporter": "usr/bin/prometheus-node-exporter"},
    ),
)
PROGRAMS = tuple(dict.fromkeys(each.name for each in DEBIAN_RELEASES))

# Debian's builds read templates and web pages from /usr/share, where upstream's carry them
# inside. The lab mounts these into its nodes; the archives hold only the programs.
DEBIAN_SHARED_SUITE = "forky"
DEBIAN_SHARED_PACKAGES = ("libjs-jquery", "libjs-bootstrap4", "fonts-glyphicons-halflings")
DEBIAN_SHARED_FOLDERS = ("prometheus", "javascript", "nodejs", "fonts-glyphicons")

# Runs in a Debian node: unpacks each suite's packages into /out/<suite>/<package> with its version.
# A frozen mirror's index is older than its Valid-Until; its signature is verified all the same.
FETCH_PACKAGES = r"""
set -eu
echo 'Acquire::Check-Valid-Until "false";' > /etc/apt/apt.conf.d/lab
apt-get -qq update
repository=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -n 1)
for suite in $(cut -d/ -f2 /out/wanted | sort -u); do
    grep -q "VERSION_CODENAME=$suite" /etc/os-release ||
        echo "deb $repository $suite main" \
            > "/etc/apt/sources.list.d/lab-$suite.list"
done
apt-get -qq update
cd /tmp
while IFS=/ read -r package suite; do
    apt-get -qq download "$package/$suite"
    mkdir -p "/out/$suite"
    dpkg-deb --extract "$package"_*.deb "/out/$suite/$package"
    dpkg-deb --field "$package"_*.deb Version > "/out/$suite/$package/VERSION"
    rm "$package"_*.deb
done < /out/wanted
dpkg --print-architecture > /out/architecture
chown -R "$OWNER" /out
"""


def ensure(client: docker.DockerClient, image: str) -> dict[str, list[str]]:
    """Return the mirrored versions of each program, newest first; fill the mirror if needed.

    A mirror from before a program was wanted gets that one from where it has the others.
    """
    if not INDEX.exists():
        shutil.rmtree(MIRROR, ignore_errors=True)
        with step("Filling the release mirror"):
            found = _mirror_upstream(PROGRAMS)
            origin = UPSTREAM_SOURCE if found else DEBIAN_SOURCE
            _write_index(origin, found or _mirror_debian(client, image, PROGRAMS))
    missing = [name for name in PROGRAMS if name not in versions()]
    if missing:
        with step(f"Adding {', '.join(missing)} to the release mirror"):
            found = _mirror_upstream(missing) if source() == UPSTREAM_SOURCE else None
            added = found or _mirror_debian(client, image, missing)
            _write_index(source(), versions() | added)
    unpack_programs()
    return versions()


def _write_index(origin: str, found: Mapping[str, list[str]]) -> None:
    """Say what is in the mirror, at once for those who read it meanwhile."""
    written = INDEX.with_suffix(f".{os.getpid()}")
    written.write_text(json.dumps({"source": origin, "versions": found}, indent=2))
    written.replace(INDEX)


def versions() -> dict[str, list[str]]:
    """Return the mirrored versions of each program, newest first."""
    found = json.loads(INDEX.read_text())["versions"]
    return {name: list(each) for name, each in found.items()}


def source() -> str:
    """Say where the mirrored programs come from."""
    return str(json.loads(INDEX.read_text())["source"])


def shared_volumes() -> dict[str, dict[str, str]]:
    """Return the mounts that nodes need for the mirrored programs, as Docker's SDK takes them."""
    folders = SHARE.iterdir() if SHARE.exists() else ()
    return {str(folder): {"bind": f"/usr/share/{folder.name}", "mode": "ro"} for folder in folders}


def unpack_programs() -> None:
    """Put the newest version of each mirrored program where `programs.find` looks for it."""
    programs.DIRECTORY.mkdir(parents=True, exist_ok=True)
    for release in DEBIAN_RELEASES:
        missing = [name for name in release.programs if not (programs.DIRECTORY / name).exists()]
        if missing:
            version = versions()[release.name][0]
            folder = MIRROR / release.name / "releases" / "download" / f"v{version}"
            (archive,) = folder.glob("*.tar.gz")
            with tarfile.open(archive) as packed, tempfile.TemporaryDirectory(dir=CACHE) as scratch:
                packed.extractall(scratch, filter="data")
                for name in missing:
                    unpacked = Path(scratch, archive.name.removesuffix(".tar.gz"), name)
                    unpacked.rename(programs.DIRECTORY / name)


def debian_upstream_version(version: str) -> str:
    """Return the upstream part of a Debian package version: `3.5.3+ds1-6` is `3.5.3`."""
    return version.strip().split(":")[-1].rsplit("-", 1)[0].split("+")[0].split("~")[0]


def archive_path(name: str, version: str, architecture: str) -> Path:
    """Return where upstream's layout keeps an archive, relative to the base URL."""
    folder = Path(name, "releases", "download", f"v{version}")
    return folder / f"{name}-{version}.linux-{architecture}.tar.gz"


def write_checksums(folder: Path) -> None:
    """Write `sha256sums.txt` for the archives in a folder, in sha256sum's format."""
    lines = [
        f"{hashlib.sha256(archive.read_bytes()).hexdigest()}  {archive.name}\n"
        for archive in sorted(folder.glob("*.tar.gz"))
    ]
    (folder / "sha256sums.txt").write_text("".join(lines))


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


def default_version(role: str) -> str:
    """Return the version that a role installs by default."""
    defaults = yaml.safe_load((REPOSITORY / "roles" / role / "defaults" / "main.yml").read_text())
    return str(defaults[f"{role}_version"])


def _mirror_upstream(programs: Collection[str]) -> dict[str, list[str]] | None:
    """Fetch upstream's archives of these programs; None when they cannot be fetched."""
    machine = os.uname().machine
    architecture = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}.get(machine)
    if architecture is None:
        raise LabError(f"there are no releases for {machine}")
    versions = {
        name: [UPSTREAM_TOOLS.get(name) or default_version(name), *UPSTREAM_PREVIOUS.get(name, ())]
        for name in programs
    }
    for name, wanted in versions.items():
        for version in wanted:
            path = archive_path(name, version, architecture)
            sums = path.parent / "sha256sums.txt"
            try:
                _download(f"{UPSTREAM}/{sums}", MIRROR / sums)
                _download(f"{UPSTREAM}/{path}", MIRROR / path)
            except requests.RequestException:
                for each in versions:
                    shutil.rmtree(MIRROR / each, ignore_errors=True)
                return None
            digest = hashlib.sha256((MIRROR / path).read_bytes()).hexdigest()
            if f"{digest}  {path.name}" not in (MIRROR / sums).read_text().splitlines():
                raise LabError(f"{UPSTREAM}/{path} has not the checksum that {sums} lists")
    return versions


def _download(url: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with requests.get(url, stream=True, timeout=(5, 60)) as response:
        response.raise_for_status()
        with target.open("wb") as file:
            for chunk in response.iter_content(1 << 20):
                file.write(chunk)


def fetch_packages(
    client: docker.DockerClient, image: str, wanted: Sequence[tuple[str, str]], into: Path
) -> None:
    """Unpack Debian packages, given as (package, suite), into `<into>/<suite>/<package>`."""
    (into / "wanted").write_text("".join(f"{package}/{suite}\n" for package, suite in wanted))
    try:
        run_script(client, image, FETCH_PACKAGES, into)
    except LabError as error:
        raise LabError(f"fetching Debian packages failed:\n{error}") from error


def _mirror_debian(
    client: docker.DockerClient, image: str, programs: Collection[str]
) -> dict[str, list[str]]:
    """Repack these programs out of Debian's packages."""
    wanted_releases = [each for each in DEBIAN_RELEASES if each.name in programs]
    versions: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory(dir=CACHE) as directory:
        unpacked = Path(directory)
        wanted = [(package, each.suite) for each in wanted_releases for package in each.packages]
        if any(each.suite == DEBIAN_SHARED_SUITE for each in wanted_releases):
            wanted += [(package, DEBIAN_SHARED_SUITE) for package in DEBIAN_SHARED_PACKAGES]
        fetch_packages(client, image, wanted, unpacked)
        architecture = (unpacked / "architecture").read_text().strip()
        for each in wanted_releases:
            roots = [unpacked / each.suite / package for package in each.packages]
            version = debian_upstream_version((roots[0] / "VERSION").read_text())
            found = {
                name: next(root / path for root in roots if (root / path).exists())
                for name, path in each.programs.items()
            }
            archive = MIRROR / archive_path(each.name, version, architecture)
            pack(archive, found)
            write_checksums(archive.parent)
            versions.setdefault(each.name, []).append(version)
        for folder in DEBIAN_SHARED_FOLDERS:
            for part in (unpacked / DEBIAN_SHARED_SUITE).glob(f"*/usr/share/{folder}"):
                shutil.copytree(part, SHARE / folder, symlinks=True, dirs_exist_ok=True)
    return versions
