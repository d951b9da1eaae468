"""Compose v2: the plugin if Docker has it; else Debian's docker-compose, unpacked."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import docker

from lab import CACHE, image, nodes, releases
from lab.console import step

PLUGIN = CACHE / "docker-compose"
SUITE = "forky"


def ensure(client: docker.DockerClient) -> list[str]:
    """Return the command that runs Compose v2; nothing is installed on the system."""
    installed = ["docker", "compose"]
    if subprocess.run([*installed, "version"], capture_output=True, check=False).returncode == 0:
        return installed
    if not PLUGIN.exists():
        node = image.ensure(client, nodes.NEWEST)
        with step("Unpacking the Compose plugin"), tempfile.TemporaryDirectory(dir=CACHE) as out:
            releases.fetch_packages(client, node, [("docker-compose", SUITE)], Path(out))
            package = Path(out, SUITE, "docker-compose")
            shutil.move(package / "usr/libexec/docker/cli-plugins/docker-compose", PLUGIN)
    return [str(PLUGIN)]
