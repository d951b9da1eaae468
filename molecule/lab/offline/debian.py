"""Upstream's programs out of Debian's packages, repacked into release archives.

apt fetches them and verifies the signed package index. Fixed addresses would not do: old versions
vanish from Debian's archive.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import docker
from docker.errors import ContainerError

from lab import CACHE, LABEL, LabError
from lab.archives import archive_path, pack, write_checksums

# What Debian's builds read from /usr/share; upstream's carry it inside.
SHARE = CACHE / "share"
SHARED_SUITE = "forky"
SHARED_PACKAGES = ("libjs-jquery", "libjs-bootstrap4", "fonts-glyphicons-halflings")
SHARED_FOLDERS = ("prometheus", "javascript", "nodejs", "fonts-glyphicons")


@dataclass(frozen=True)
class Release:
    """A release out of a suite: its programs as files of packages."""

    name: str
    suite: str
    programs: Mapping[str, str]

    @property
    def packages(self) -> list[str]:
        """Return the packages that bring the programs."""
        return sorted({path.partition("/")[0] for path in self.programs.values()})


PUSHGATEWAY = {"pushgateway": "prometheus-pushgateway/usr/bin/prometheus-pushgateway"}
# Newest first. They need only libc >= 2.34, so Debian 12 and 13 run them.
RELEASES = (
    Release(
        "prometheus",
        "forky",
        {"prometheus": "prometheus/usr/bin/prometheus", "promtool": "promtool/usr/bin/promtool"},
    ),
    Release(
        "alertmanager",
        "forky",
        {
            "alertmanager": "prometheus-alertmanager/usr/bin/prometheus-alertmanager",
            "amtool": "prometheus-alertmanager/usr/bin/amtool",
        },
    ),
    Release("pushgateway", "forky", PUSHGATEWAY),
    Release("pushgateway", "trixie", PUSHGATEWAY),
    Release(
        "node_exporter",
        "trixie",
        {"node_exporter": "prometheus-node-exporter/usr/bin/prometheus-node-exporter"},
    ),
)

OLDEST_SUITE = "bookworm"

# A frozen mirror's index is older than its Valid-Until; its signature is verified all the same.
APT_UPDATE = r"""
set -eu
echo 'Acquire::Check-Valid-Until "false";' > /etc/apt/apt.conf.d/lab
apt-get -qq update
"""
# Unpacks each suite's packages into /out/<suite>/<package>, with a file of its version.
FETCH_PACKAGES = r"""
repository=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -n 1)
for suite in $(cut -d/ -f2 /out/wanted | sort -u); do
    grep -q "VERSION_CODENAME=$suite" /etc/os-release ||
        echo "deb $repository $suite main" > "/etc/apt/sources.list.d/lab-$suite.list"
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
"""


def run_script(client: docker.DockerClient, image: str, script: str, out: Path) -> None:
    """Run a shell script, after `apt-get update`, in a node image; /out is `out` on this machine.

    Raises LabError with the end of its output.
    """
    try:
        client.containers.run(
            image,
            ["sh", "-c", f'{APT_UPDATE}{script}\nchown -R "$OWNER" /out'],
            environment={"OWNER": f"{os.getuid()}:{os.getgid()}"},
            volumes={str(out): {"bind": "/out", "mode": "rw"}},
            labels={LABEL: "script"},
            remove=True,
            stderr=True,
        )
    except ContainerError as error:
        raise LabError(f"a script in {image} failed:\n{str(error)[-1500:]}") from error


def fetch_packages(
    client: docker.DockerClient, image: str, wanted: Sequence[tuple[str, str]], into: Path
) -> None:
    """Unpack Debian packages, given as (package, suite), into `<into>/<suite>/<package>`."""
    (into / "wanted").write_text("".join(f"{package}/{suite}\n" for package, suite in wanted))
    run_script(client, image, FETCH_PACKAGES, into)


def repack(
    client: docker.DockerClient, image: str, names: Collection[str], mirror: Path
) -> dict[str, list[str]]:
    """Put the releases of these names into a mirror and return their versions, newest first."""
    releases = [release for release in RELEASES if release.name in names]
    versions: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory(dir=CACHE) as directory:
        unpacked = Path(directory)
        wanted = [(package, release.suite) for release in releases for package in release.packages]
        if any(release.suite == SHARED_SUITE for release in releases):
            wanted += [(package, SHARED_SUITE) for package in SHARED_PACKAGES]
        fetch_packages(client, image, wanted, unpacked)
        architecture = (unpacked / "architecture").read_text().strip()
        for release in releases:
            folder = unpacked / release.suite
            version = upstream_version((folder / release.packages[0] / "VERSION").read_text())
            archive = mirror / archive_path(release.name, version, architecture)
            pack(archive, {name: folder / path for name, path in release.programs.items()})
            write_checksums(archive.parent)
            versions.setdefault(release.name, []).append(version)
        for name in SHARED_FOLDERS:
            for part in (unpacked / SHARED_SUITE).glob(f"*/usr/share/{name}"):
                shutil.copytree(part, SHARE / name, symlinks=True, dirs_exist_ok=True)
    return versions


def unpack_program(client: docker.DockerClient, image: str, path: str, into: Path) -> None:
    """Put a program, given as `<package>/<path>`, into a directory of this machine."""
    with tempfile.TemporaryDirectory(dir=CACHE) as directory:
        # Debian 12's build also runs on what is newer.
        fetch_packages(client, image, [(path.partition("/")[0], OLDEST_SUITE)], Path(directory))
        Path(directory, OLDEST_SUITE, path).rename(into / Path(path).name)


def upstream_version(version: str) -> str:
    """Return the upstream part of a Debian package version: `3.5.3+ds1-6` is `3.5.3`."""
    return version.strip().split(":")[-1].rsplit("-", 1)[0].split("+")[0].split("~")[0]


def shared_volumes() -> dict[str, dict[str, str]]:
    """Return the mounts that Debian's builds need in a node, as Docker's SDK takes them."""
    folders = SHARE.iterdir() if SHARE.exists() else ()
    return {str(folder): {"bind": f"/usr/share/{folder.name}", "mode": "ro"} for folder in folders}
