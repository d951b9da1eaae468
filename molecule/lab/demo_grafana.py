"""Show the demo's jobs in the real Grafana, where its image can be pulled."""

from __future__ import annotations

import os
import secrets
import sys

import docker
from docker.errors import APIError

from lab import REPOSITORY, LabError, compose_plugin, engine, image, nodes
from lab.console import fail, run, step

COMPOSE = REPOSITORY / "compose"
PASSWORD = COMPOSE / "secrets" / "grafana_admin_password"
FILES = (COMPOSE / "compose.yaml", REPOSITORY / "molecule" / "lab" / "demo_grafana.yaml")
# The image's own user, for root, who should not run it.
USER = 472
# The demo's names and pace.
SITE = {"PROMETHEUS_URL": "http://monitor:9090", "PROMETHEUS_SCRAPE_INTERVAL": "2s"}


def main() -> int:
    """Start Grafana beside the demo; 0 also where there is none to be had, and that is said."""
    try:
        client = engine.connect()
        nodes.url("demo", "monitor", 9090)
        reason = why_unavailable(client)
        if reason:
            print(f"Grafana is left out: {reason}")
            return 0
        write_password()
        with step("Starting Grafana"):
            up(client)
    except docker.errors.NotFound:
        return fail("the demo does not run: start it with `make demo`")
    except (LabError, TimeoutError) as error:
        return fail(error)
    print(f"Grafana  http://127.0.0.1:3000  user admin, password in {PASSWORD}")
    return 0


def version() -> str:
    """Return the pinned version of Grafana's image."""
    lines = (COMPOSE / ".env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)["GRAFANA_VERSION"]


def why_unavailable(client: docker.DockerClient) -> str:
    """Pull Grafana's image; return why it cannot be pulled, or nothing."""
    try:
        client.images.pull("grafana/grafana", tag=version())
    except APIError as error:
        return f"grafana/grafana:{version()} cannot be pulled: {error.explanation}"
    return ""


def write_password() -> None:
    """Make up a password, once, that only its owner can read."""
    PASSWORD.parent.mkdir(mode=0o700, exist_ok=True)
    if not PASSWORD.exists():
        descriptor = os.open(PASSWORD, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(18))
        os.chown(PASSWORD, owner(), -1)


def owner() -> int:
    """Return the user that runs Grafana, and reads the password."""
    return os.getuid() or USER


def up(client: docker.DockerClient) -> None:
    """Start the service and return when it is healthy."""
    compose = compose_plugin.ensure(client, image.ensure(client, nodes.NEWEST))
    files = [f"--file={file}" for file in FILES]
    os.environ.update(SITE, OWNER=str(owner()))
    run([*compose, *files, "--profile=grafana", "up", "--detach", "--wait", "grafana"])


if __name__ == "__main__":
    sys.exit(main())
