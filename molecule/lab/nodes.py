"""Nodes: containers that run systemd, on a network of their own with mirror and receiver."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError, NotFound

from clients import Alertmanager, Grafana, Prometheus, Pushgateway, Webhook, eventually
from lab import CACHE, LABEL, REPOSITORY, LabError, engine, images, mirror
from lab.console import step
from lab.images import NEWEST
from lab.offline import debian, grafana

MIRROR_PORT = 8000
SERVICE_PORTS = (Prometheus.port, Pushgateway.port, Alertmanager.port)
MIRROR_URL = f"http://mirror:{MIRROR_PORT}"


@dataclass(frozen=True)
class Node:
    """A host of a lab. `ports` maps its ports to this machine's; None picks a free one.

    A copy of a node keeps the hostname of the original.
    """

    name: str
    suite: str = NEWEST
    ports: Mapping[int, int | None] = field(default_factory=dict)
    hostname: str = ""


@dataclass(frozen=True)
class Lab:
    """A named set of nodes. Labs of different names do not share anything but images."""

    name: str
    nodes: tuple[Node, ...]
    webhook_port: int | None = None
    has_grafana: bool = False


ANY_PORTS: Mapping[int, int | None] = dict.fromkeys((*SERVICE_PORTS, Grafana.port))
LABS = {
    lab.name: lab
    for lab in (
        Lab(
            "demo",
            (Node("monitor", ports={port: port for port in SERVICE_PORTS}), Node("fileserver")),
        ),
        Lab(
            "molecule",
            (
                Node("monitor", ports=ANY_PORTS),
                Node("fileserver", "bookworm"),
                Node("debian13", ports=ANY_PORTS),
                Node("debian12", "bookworm", ports=ANY_PORTS),
                Node("jobs13", ports=ANY_PORTS),
                Node("jobs12", "bookworm", ports=ANY_PORTS),
                Node("watcher", ports=ANY_PORTS),
                Node("worker", "bookworm"),
                Node("boards13", ports=ANY_PORTS),
                Node("boards12", "bookworm", ports=ANY_PORTS),
                Node("fresh"),
            ),
            has_grafana=True,
        ),
        Lab("bench", (Node("monitor"), Node("fileserver"))),
    )
}


def container_name(lab_name: str, node: str) -> str:
    """Return the name of a node's container, which nobody else would choose."""
    return f"{LABEL}-{lab_name}-{node}"


def up(lab: Lab, only: Collection[str] | None = None) -> None:
    """Start what of the lab does not run yet and write its inventory. Safe to repeat.

    Starts all nodes, or only those with the given names.
    """
    started = [node for node in lab.nodes if only is None or node.name in only]
    client = engine.connect()
    tags = {
        suite: images.ensure(client, suite)
        for suite in dict.fromkeys([NEWEST, *(node.suite for node in started)])
    }
    versions = mirror.ensure(client, tags[NEWEST])
    if lab.has_grafana:
        grafana.ensure(client, tags[NEWEST])
    repository = grafana.variables(MIRROR_URL) if lab.has_grafana else {}
    with step(f"Starting the nodes of lab '{lab.name}'"):
        _ensure_network(client, lab.name)
        serve = ["python3", "-m", "http.server", str(MIRROR_PORT), "--directory", "/srv"]
        _ensure_helper(client, lab.name, "mirror", tags[NEWEST], serve, mirror.MIRROR)
        receive = ["python3", "/srv/webhook.py", str(Webhook.port)]
        ports = {Webhook.port: lab.webhook_port}
        here = REPOSITORY / "compose" / "webhook"
        _ensure_helper(client, lab.name, "webhook", tags[NEWEST], receive, here, ports)
        for node in started:
            _ensure_node(client, lab.name, node, tags[node.suite])
        for node in started:
            eventually(lambda name=node.name: _has_booted(client, lab.name, name), 60)  # type: ignore[misc]
    inventory_file(lab.name).write_text(json.dumps(inventory(lab, versions, repository), indent=2))


def down(lab: Lab) -> None:
    """Remove the lab's containers and network, and the engine if the lab started it."""
    with step(f"Removing lab '{lab.name}'"):
        client = engine.running()
        if client is None:
            inventory_file(lab.name).unlink(missing_ok=True)
            return
        for container in client.containers.list(all=True, filters=_mine(lab.name)):
            container.remove(force=True, v=True)
        for network in client.networks.list(filters=_mine(lab.name)):
            network.remove()
        for volume in client.volumes.list(filters=_mine(lab.name)):
            volume.remove()
        for frozen in client.images.list(filters=_mine(lab.name)):
            client.images.remove(str(frozen.id), force=True)
        inventory_file(lab.name).unlink(missing_ok=True)
    engine.stop_if_unused(client)


def restart(lab_name: str, node: str) -> None:
    """Stop a node and start it again, as a host that reboots; return when it has booted."""
    client = engine.connect()
    client.containers.get(container_name(lab_name, node)).restart(timeout=30)
    eventually(lambda: _has_booted(client, lab_name, node), 60)


def freeze(lab_name: str, node: str) -> str:
    """Return the ID of a new image of a node as it is now, without what is in /run."""
    container = engine.connect().containers.get(container_name(lab_name, node))
    return str(container.commit(changes=f'LABEL {LABEL}="{lab_name}"').id)


def remove_frozen(image_id: str) -> None:
    """Remove an image that `freeze` made, and containers that a killed test left of it."""
    client = engine.connect()
    for container in client.containers.list(all=True, filters={"ancestor": image_id}):
        container.remove(force=True, v=True)
    client.images.remove(image_id, force=True)


@contextmanager
def copy(lab_name: str, node: str, image_id: str) -> Iterator[str]:
    """Boot a copy of a node from a frozen image, yield the name of the copy, and remove it.

    The copy has the hostname of the original; other nodes go on to reach the original by it.
    """
    client = engine.connect()
    number = next(_copies)
    copied = Node(f"{node}-copy{number}-{os.getpid()}", ports=ANY_PORTS, hostname=node)
    _ensure_node(client, lab_name, copied, image_id)
    try:
        eventually(lambda: _has_booted(client, lab_name, copied.name), 60)
        yield copied.name
    finally:
        client.containers.get(container_name(lab_name, copied.name)).remove(force=True, v=True)


_copies = itertools.count(1)


def forget() -> None:
    """Remove every lab, then the images and the cache that they share."""
    for lab in LABS.values():
        down(lab)
    client = engine.connect()
    for found in client.images.list(filters={"label": LABEL}):
        client.images.remove(str(found.id), force=True)
    engine.stop_if_unused(client)
    shutil.rmtree(CACHE, ignore_errors=True)


def url(lab_name: str, node: str, port: int) -> str:
    """Return the URL on this machine of a published port of a node."""
    container = engine.connect().containers.get(container_name(lab_name, node))
    bindings = container.attrs["NetworkSettings"]["Ports"].get(f"{port}/tcp")
    if not bindings:
        raise LabError(f"{node} does not publish port {port}")
    return f"http://127.0.0.1:{bindings[0]['HostPort']}"


def inventory_file(lab_name: str) -> Path:
    """Return the file from which `molecule/lab/inventory.py` answers Ansible."""
    return CACHE / f"inventory-{lab_name}.json"


def inventory(
    lab: Lab, versions: Mapping[str, list[str]], repository: Mapping[str, str]
) -> dict[str, Any]:
    """Return what Ansible must know about the lab: how to reach nodes, where releases are."""
    variables: dict[str, Any] = {
        "daemon_release_url": MIRROR_URL,
        **repository,
        **{
            f"{name}_version": found[0]
            for name, found in versions.items()
            if name not in mirror.UPSTREAM_TOOLS
        },
        "lab_versions": dict(versions),
    }
    hostvars = {
        node.name: {
            "ansible_connection": "community.docker.docker",
            "ansible_host": container_name(lab.name, node.name),
            "ansible_become": False,
            "ansible_python_interpreter": "/usr/bin/python3",
            # Docker's network resolves the nodes by these names.
            "site_address": node.name,
        }
        for node in lab.nodes
    }
    return {"lab": {"hosts": list(hostvars), "vars": variables}, "_meta": {"hostvars": hostvars}}


def _mine(lab_name: str) -> dict[str, str | list[str] | bool]:
    return {"label": f"{LABEL}={lab_name}"}


def _network(lab_name: str) -> str:
    return f"{LABEL}-{lab_name}"


def _ensure_network(client: docker.DockerClient, lab_name: str) -> None:
    if not client.networks.list(filters=_mine(lab_name)):
        client.networks.create(_network(lab_name), driver="bridge", labels={LABEL: lab_name})


def _existing(client: docker.DockerClient, lab_name: str, name: str) -> bool:
    """Start a container of ours that is there but stopped; False when there is none."""
    try:
        container = client.containers.get(container_name(lab_name, name))
    except NotFound:
        return False
    if container.labels.get(LABEL) != lab_name:
        raise LabError(f"a container named {container.name} exists that the lab did not create")
    if container.status != "running":
        container.start()
    return True


def _ensure_helper(
    client: docker.DockerClient,
    lab_name: str,
    name: str,
    image_tag: str,
    command: list[str],
    served: Path,
    ports: Mapping[int, int | None] | None = None,
) -> None:
    if not _existing(client, lab_name, name):
        _run(
            client,
            lab_name,
            Node(name, ports=ports or {}),
            image=image_tag,
            command=command,
            init=True,
            volumes={str(served): {"bind": "/srv", "mode": "ro"}},
        )


def _ensure_node(client: docker.DockerClient, lab_name: str, node: Node, image_tag: str) -> None:
    if _existing(client, lab_name, node.name):
        return
    environment = {"container": "docker"}
    # systemd >= 256 refuses cgroup v1 unless it is told twice.
    if client.info()["CgroupVersion"] == "1":
        environment["SYSTEMD_PROC_CMDLINE"] = (
            "SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1 systemd.unified_cgroup_hierarchy=0"
        )
    _run(
        client,
        lab_name,
        node,
        image=image_tag,
        # What systemd itself does outside of containers; else no unit gets its credentials.
        command=["/bin/sh", "-c", "mount --make-rshared / && exec /lib/systemd/systemd"],
        environment=environment,
        # Never `privileged`: hosts without CAP_SYS_RESOURCE refuse it.
        cap_add=["SYS_ADMIN", "NET_ADMIN", "SYS_PTRACE"],
        security_opt=["seccomp=unconfined", "apparmor=unconfined"],
        cgroupns="host",
        tmpfs={"/run": "", "/run/lock": ""},
        volumes={
            "/sys/fs/cgroup": {"bind": "/sys/fs/cgroup", "mode": "rw"},
            **debian.shared_volumes(),
        },
        stop_signal="SIGRTMIN+3",
    )


def _run(client: docker.DockerClient, lab_name: str, node: Node, **options: Any) -> None:
    options |= {
        "name": container_name(lab_name, node.name),
        "hostname": node.hostname or node.name,
        "detach": True,
        "labels": {LABEL: lab_name},
        "network": _network(lab_name),
        "networking_config": {
            _network(lab_name): client.api.create_endpoint_config(aliases=[node.name])
        },
        "ports": {f"{port}/tcp": ("127.0.0.1", own) for port, own in node.ports.items()},
    }
    try:
        client.containers.run(**options)
    except APIError as error:
        raise LabError(f"starting node {node.name} failed: {error.explanation}") from error


def _has_booted(client: docker.DockerClient, lab_name: str, node: str) -> bool:
    container = client.containers.get(container_name(lab_name, node))
    booted = "systemctl is-system-running | grep --quiet --line-regexp 'running\\|degraded'"
    return container.exec_run(["sh", "-c", booted]).exit_code == 0
