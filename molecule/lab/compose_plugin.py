"""Compose v2: the plugin if Docker has it; else Debian's docker-compose, unpacked."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import docker

from lab import CACHE, images
from lab.console import step
from lab.offline.debian import fetch_packages

PLUGIN = CACHE / "docker-compose"
SUITE = "forky"


def ensure(client: docker.DockerClient) -> list[str]:
    """Return the command that runs Compose v2; nothing is installed on the system."""
    installed = ["docker", "compose"]
    if subprocess.run([*installed, "version"], capture_output=True, check=False).returncode == 0:
        return installed
    if not PLUGIN.exists():
        node = images.ensure(client)
        with step("Unpacking the Compose plugin"), tempfile.TemporaryDirectory(dir=CACHE) as out:
            fetch_packages(client, node, [("docker-compose", SUITE)], Path(out))
            package = Path(out, SUITE, "docker-compose")
            shutil.move(package / "usr/libexec/docker/cli-plugins/docker-compose", PLUGIN)
    return [str(PLUGIN)]
