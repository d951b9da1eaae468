"""Node images: a Debian with systemd as PID 1, as a server has it, and Python for Ansible."""

from __future__ import annotations

import tempfile
from pathlib import Path

import docker
from docker.errors import BuildError, DockerException, ImageNotFound

from lab import LABEL, LabError
from lab.console import step
from lab.offline import node_image

NEWEST = "trixie"
PACKAGES = ("systemd", "systemd-sysv", "dbus", "python3", "curl", "ca-certificates", "iproute2")


def ensure(client: docker.DockerClient, suite: str = NEWEST) -> str:
    """Return the tag of the node image of a Debian suite, built if it is not there yet."""
    tag = f"{LABEL}/node:{suite}"
    try:
        client.images.get(tag)
    except ImageNotFound:
        with step(f"Building the node image of Debian {suite}"):
            try:
                client.images.pull("debian", f"{suite}-slim")
            except DockerException:
                node_image.build(client, suite, tag, PACKAGES)
            else:
                _build(client, suite, tag)
    return tag


def _build(client: docker.DockerClient, suite: str, tag: str) -> None:
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
