"""Grafana's Debian repository, or a stand-in for it: signed, with packages of the same layout.

Only Grafana Labs publishes Grafana for Debian. Where their repository cannot be reached, the mirror
serves `package/` with `program.py` as its program: the tests prove what the role does on the host,
and skip what only the real program can show. Both follow packaging/deb of Grafana's sources: paths,
user, unit, and when the service is restarted.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path

import docker
import requests

from lab import CACHE, role_default
from lab.console import step
from lab.mirror import MIRROR
from lab.offline.debian import run_script

HERE = Path(__file__).parent
PROGRAM = Path("usr/share/grafana/bin/grafana")

# An older version, for upgrades and rollbacks.
PREVIOUS = "12.4.0"


def version() -> str:
    """Return the version that the role installs by default."""
    return role_default("grafana_version")


def folder() -> Path:
    """Return the stand-in's folder, another one for each version: a running lab keeps its key."""
    sources = sorted(path for path in HERE.rglob("*") if path.is_file() and path.suffix != ".pyc")
    content = b"".join(path.read_bytes() for path in sources) + version().encode()
    return MIRROR / f"grafana-stand-in-{hashlib.sha256(content).hexdigest()[:8]}"


def ensure(client: docker.DockerClient, image: str) -> str:
    """Build the stand-in if it is needed; return why it is, or nothing for the real Grafana."""
    if not folder().exists():
        reason = why_unreachable()
        with tempfile.TemporaryDirectory(dir=CACHE) as directory:
            out = Path(directory, "repository")
            out.mkdir()
            if reason:
                with step("Building a stand-in for Grafana, which cannot be fetched"):
                    for packaged in (version(), PREVIOUS):
                        write_package(out / "packages" / packaged, packaged)
                    run_script(client, image, (HERE / "build_repository.sh").read_text(), out)
            (out / "missing").write_text(reason)
            out.rename(folder())
    return missing()


def missing() -> str:
    """Return what of the real Grafana cannot be fetched, and why; nothing where it is used."""
    return (folder() / "missing").read_text()


def variables(mirror_url: str) -> dict[str, str]:
    """Return the variables with which the role installs the stand-in; none for the real Grafana."""
    if not missing():
        return {}
    return {
        "grafana_repository_url": f"{mirror_url}/{folder().name}",
        "grafana_repository_key": (folder() / "key.asc").read_text(),
    }


def why_unreachable() -> str:
    """Ask for the index of Grafana's own repository; return why there is none, or nothing."""
    url = f"{role_default('grafana_repository_url')}/dists/stable/InRelease"
    try:
        requests.get(url, timeout=(5, 30)).raise_for_status()
    except requests.RequestException as error:
        reason = getattr(error.args[0], "reason", error) if error.args else error
        return f"{url} cannot be fetched: {reason}"
    return ""


def write_package(tree: Path, version: str) -> None:
    """Write what dpkg-deb makes a package of, whatever the umask of the clone was."""
    shutil.copytree(HERE / "package", tree)
    (tree / PROGRAM).parent.mkdir()
    shutil.copyfile(HERE / "program.py", tree / PROGRAM)
    (tree / "usr/share/grafana/VERSION").write_text(f"{version}\n")
    control = tree / "DEBIAN/control"
    control.write_text(control.read_text().replace("@VERSION@", version))
    programs = (tree / PROGRAM, tree / "DEBIAN/postinst")
    for path in (tree, *tree.rglob("*")):
        path.chmod(0o755 if path.is_dir() or path in programs else 0o644)
