"""The Compose stack: start it, show the states of its jobs, remove it."""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import docker
import yaml
from docker.errors import DockerException

from clients import Alertmanager, Prometheus, eventually
from lab import REPOSITORY, LabError, compose_plugin, engine, overview, service_images
from lab.console import fail, run, step
from lab.service_images import Images

DIRECTORY = REPOSITORY / "compose"
FILE = DIRECTORY / "compose.yaml"
GENERATED = DIRECTORY / "generated"
OVERRIDE = GENERATED / "override.yaml"
PASSWORD = DIRECTORY / "secrets" / "grafana_admin_password"
# Grafana's own user, for root, who should not run it.
GRAFANA_USER = 472
SERVICES = {"prometheus": 9090, "pushgateway": 9091, "alertmanager": 9093, "webhook": 8080}
# What the demo's jobs are made for.
EXPECTED = {
    ("BatchJobFailed", "sync-mirror"),
    ("BatchJobMissed", "archive-mail"),
    ("BatchJobStuck", "backup-tape"),
}


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 on success, 1 with a message for people otherwise."""
    parser = argparse.ArgumentParser(prog="lab.compose", description=__doc__)
    parser.add_argument("command", choices=("up", "down", "clean"))
    command = parser.parse_args(arguments).command
    try:
        if command == "up":
            up(engine.connect())
        elif command == "clean":
            # Also when it does not run any more: it has the volumes.
            down(engine.connect(), is_clean=True)
        else:
            down(engine.running(), is_clean=False)
    # Those of requests are OSErrors, too.
    except (LabError, OSError, DockerException) as error:
        return fail(error)
    return 0


def up(client: docker.DockerClient) -> None:
    """Start the stack; print its addresses and the alerts that its jobs raise."""
    with step("Writing what the containers mount: ansible-playbook playbooks/compose.yml"):
        playbook = str(Path(sys.executable).with_name("ansible-playbook"))
        inventory = str(REPOSITORY / "inventories" / "compose")
        run([playbook, f"--inventory={inventory}", str(REPOSITORY / "playbooks" / "compose.yml")])
        write_password()
    images = service_images.ensure(client)
    write_override(images)
    compose = command(client)
    with step("Starting the services, and their jobs"):
        run([*compose, "up", "--detach", "--wait", "--remove-orphans"])
        # Those that ran before have not read what changed.
        run([*compose, "kill", "--signal=HUP", "prometheus", "alertmanager"])
        run([*compose, "run", "--rm", "migrate-database"])
    addresses = {name: address(compose, name, port) for name, port in SERVICES.items()}
    print(f"\nLook:         {addresses['prometheus']}/user/")
    for name, page in overview.pages(images.have_pages).items():
        print(f"{name.capitalize():14}{addresses[name]}{page}")
    print(f"Notifications {addresses['webhook']}")
    if images.has_grafana:
        print(f"Grafana       {address(compose, 'grafana', 3000)}  user admin, ", end="")
        print(f"password {PASSWORD.read_text()} (kept in {PASSWORD})")
    for line in images.remarks:
        print(line)
    print()
    with step("Waiting for the alerts that the jobs raise (two minutes or three)"):
        alertmanager = Alertmanager(addresses["alertmanager"])
        alerts = eventually(lambda: expected_alerts(alertmanager), 300)
    print(f"\n{overview.table(Prometheus(addresses['prometheus']))}\n")
    for alert in sorted(alerts, key=lambda alert: str(alert["startsAt"])):
        receivers = ", ".join(receiver["name"] for receiver in alert["receivers"])
        summary = alert["annotations"]["summary"]
        print(f"since {alert['startsAt'][11:19]} UTC, to {receivers}: {summary}")
    print("\nThese jobs have no host: the output of each is in the log of its container.")
    print("`make compose-down` ends it and keeps what it knows; `make compose-clean` removes all.")


def expected_alerts(alertmanager: Alertmanager) -> list[dict[str, Any]]:
    """Return the alerts that fire, once those are among them for which the jobs are made."""
    alerts = alertmanager.active()
    names = {(alert["labels"]["alertname"], alert["labels"].get("job", "")) for alert in alerts}
    return alerts if names >= EXPECTED else []


def down(client: docker.DockerClient | None, is_clean: bool) -> None:
    """Remove containers and network; if `is_clean`, also state, configuration and password."""
    if client is not None:
        with step("Removing the Compose stack" + (" and what it kept" if is_clean else "")):
            compose = command(client, "--profile=*")
            run([*compose, "down", "--remove-orphans", *(["--volumes"] if is_clean else [])])
        engine.stop_if_unused(client)
    if is_clean:
        for directory in (GENERATED, PASSWORD.parent):
            shutil.rmtree(directory, ignore_errors=True)


def command(client: docker.DockerClient, *options: str) -> list[str]:
    """Return the start of a command line of Compose for the stack."""
    files = [f"--file={file}" for file in (FILE, OVERRIDE) if file.exists()]
    return [*compose_plugin.ensure(client), *files, *options]


def address(compose: Sequence[str], service: str, port: int) -> str:
    """Return the URL on this machine of a port of a service."""
    return f"http://{run([*compose, 'port', service, str(port)]).strip()}"


def write_password() -> None:
    """Make up a password, once, that only who runs Grafana can read."""
    PASSWORD.parent.mkdir(mode=0o700, exist_ok=True)
    if not PASSWORD.exists():
        # Complete or absent: Grafana would take an empty one for none.
        partial = PASSWORD.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(18))
        partial.replace(PASSWORD)
    PASSWORD.chmod(0o600)
    if PASSWORD.stat().st_uid == 0:
        os.chown(PASSWORD, GRAFANA_USER, -1)


def write_override(images: Images) -> None:
    """Write how this machine differs from compose.yaml, for `docker compose` by hand as well."""
    # Who may read the password; the image's files belong to group 0.
    grafana: dict[str, Any] = {"user": f"{PASSWORD.stat().st_uid}:0"}
    if not images.has_grafana:
        grafana["profiles"] = ["left-out"]
    services = {"grafana": grafana}
    for name, service in yaml.safe_load(FILE.read_text())["services"].items():
        variable = service["image"].strip("${}")
        if variable in images.stand_ins:
            services[name] = {"image": images.stand_ins[variable]}
    head = "# `make compose-up` writes this, each time.\n"
    OVERRIDE.write_text(head + yaml.safe_dump({"services": services}))


if __name__ == "__main__":
    sys.exit(main())
