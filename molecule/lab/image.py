"""Node images: a Debian with systemd as PID 1, as a server has it, and Python for Ansible."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import docker
from docker.errors import BuildError, ContainerError, DockerException, ImageNotFound

from lab import LABEL, LabError, engine
from lab.console import run, step

PACKAGES = ("systemd", "systemd-sysv", "dbus", "python3", "curl", "ca-certificates", "iproute2")


def ensure(client: docker.DockerClient, suite: str) -> str:
    """Return the tag of the node image of a Debian suite, built if it is not there yet."""
    tag = f"{LABEL}/node:{suite}"
    try:
        client.images.get(tag)
    except ImageNotFound:
        with step(f"Building the node image of Debian {suite}"):
            if not _build_from_registry(client, suite, tag):
                _build_from_packages(client, suite, tag)
    return tag


def run_script(client: docker.DockerClient, image: str, script: str, out: Path) -> None:
    """Run a shell script in a container that writes to /out, a directory of this machine.

    `$OWNER` is to whom the script should give what it wrote. Raises LabError with its last words.
    """
    try:
        client.containers.run(
            image,
            ["sh", "-c", script],
            environment={"OWNER": f"{os.getuid()}:{os.getgid()}"},
            volumes={str(out): {"bind": "/out", "mode": "rw"}},
            labels={LABEL: "script"},
            remove=True,
            stderr=True,
        )
    except ContainerError as error:
        raise LabError(str(error)[-1500:]) from error


def _build_from_registry(client: docker.DockerClient, suite: str, tag: str) -> bool:
    """Build on Debian's own image; False when no registry can be reached."""
    try:
        client.images.pull("debian", f"{suite}-slim")
    except DockerException:
        return False
    with tempfile.TemporaryDirectory() as context:
        Path(context, "Dockerfile").write_text(
            f"FROM debian:{suite}-slim\n"
            "RUN apt-get update \\\n"
            f" && apt-get install --yes --no-install-recommends {' '.join(PACKAGES)} \\\n"
            " && rm -rf /var/lib/apt/lists/*\n"
        )
        try:
            client.images.build(path=context, tag=tag, rm=True, labels={LABEL: "node"})
        except BuildError as error:
            lines = (str(entry.get("stream", "")) for entry in error.build_log)
            raise LabError(f"building {tag} failed: {error}\n{''.join(lines)[-1500:]}") from error
    return True


def _build_from_packages(client: docker.DockerClient, suite: str, tag: str) -> None:
    """Build from Debian's package archive alone, with mmdebstrap (a third of debootstrap's time).

    mmdebstrap lets apt verify the archive's signatures.
    """
    if shutil.which("mmdebstrap") is None:
        engine.install("mmdebstrap", "debian-archive-keyring")
    with tempfile.TemporaryDirectory() as directory:
        archive = Path(directory, f"{suite}.tar")
        included = f"--include={','.join(PACKAGES)}"
        run(["mmdebstrap", "--quiet", "--variant=minbase", included, suite, str(archive)])
        repository, _, version = tag.partition(":")
        client.api.import_image_from_file(
            str(archive), repository=repository, tag=version, changes=[f"LABEL {LABEL}=node"]
        )
