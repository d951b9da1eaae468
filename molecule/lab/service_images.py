"""Images of the services for Compose: upstream's, or stand-ins for them out of the release mirror.

The stand-ins have upstream's paths, users, entry points and `wget`, so that compose.yaml fits both;
below that they are Debian with Debian's builds, which is what they do not prove.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import docker
import requests
from docker.auth import resolve_repository_name
from docker.errors import APIError, BuildError, ImageNotFound, NotFound

from lab import CACHE, LABEL, REPOSITORY, LabError, image, nodes, releases
from lab.console import step
from programs import find

ENV = REPOSITORY / "compose" / ".env"
GRAFANA = "GRAFANA_IMAGE"
# Those whose pages Debian's builds leave out.
PAGES = frozenset({"PROMETHEUS_IMAGE", "ALERTMANAGER_IMAGE"})
# The programs of a service, and where it keeps its state.
SERVICES = {
    "pushgateway": ("pushgateway",),
    "prometheus": ("prometheus", "promtool"),
    "alertmanager": ("alertmanager", "amtool"),
}
NOBODY = "65534:65534"
# Busybox is `wget` by that name; upstream's images are made of it.
DOCKERFILE = """\
FROM {node}
COPY busybox /usr/bin/wget
COPY share /usr/share
COPY {programs} /bin/
COPY --chown={nobody} state /{service}
USER {nobody}
WORKDIR /{service}
ENTRYPOINT ["/bin/{service}"]
"""


def pinned() -> dict[str, str]:
    """Return the images that compose/.env names, by variable; the environment's come first."""
    lines = (line.split("=", 1) for line in ENV.read_text().splitlines() if "_IMAGE=" in line)
    return {name: os.environ.get(name, tag) for name, tag in lines}


class Images(NamedTuple):
    """What runs instead of which image, by variable of compose/.env, and what to say of it."""

    stand_ins: dict[str, str]
    has_grafana: bool
    have_pages: bool
    remarks: list[str]


def ensure(client: docker.DockerClient) -> Images:
    """Pull upstream's images; find a stand-in for each that cannot be pulled, but for Grafana.

    Raises LabError if a registry says that it has no such image.
    """
    wanted = pinned()
    with step("Looking for the images"):
        problems = _unavailable(client, wanted)
    stand_ins = _built(client, sorted(problems.keys() - {GRAFANA}))
    remarks = []
    if GRAFANA in problems:
        remarks.append(f"Grafana       is left out: {wanted[GRAFANA]} cannot be pulled")
    if stand_ins:
        remarks.append("Stand-ins     run for other images that cannot be pulled:")
        remarks += (f"              {wanted[name]}: {tag}" for name, tag in stand_ins.items())
    remarks += (f"Docker says   {problem}" for problem in sorted(set(problems.values())))
    have_pages = PAGES.isdisjoint(stand_ins) or releases.source() == releases.UPSTREAM_SOURCE
    return Images(stand_ins, GRAFANA not in problems, have_pages, remarks)


def _unavailable(client: docker.DockerClient, wanted: Mapping[str, str]) -> dict[str, str]:
    """Pull the images that are not there; return why some cannot be, by variable.

    Where no registry answers, that takes long, so each is asked only until it first does not.
    """
    problems: dict[str, str] = {}
    silent: dict[str, str] = {}
    for name, tag in wanted.items():
        registry = resolve_repository_name(tag)[0]
        try:
            client.images.get(tag)
        except ImageNotFound:
            problem = silent.get(registry) or _pull(client, name, tag)
            if problem:
                problems[name] = silent[registry] = problem
    return problems


def _pull(client: docker.DockerClient, name: str, tag: str) -> str:
    """Pull an image; return why its registry does not give it, or nothing."""
    try:
        # Not images.pull(): it takes a download that breaks off for an image that is not there.
        for progress in client.api.pull(tag, stream=True, decode=True):
            if "error" in progress:
                return str(progress["error"])
    except NotFound as error:
        raise LabError(f"{name}={tag}, of compose/.env or the environment: {error}") from error
    except APIError as error:
        return str(error.explanation)
    except requests.RequestException as error:
        return str(error)
    return ""


def _built(client: docker.DockerClient, missing: Sequence[str]) -> dict[str, str]:
    """Return the stand-ins for some images, built as far as they are not there yet."""
    if not missing:
        return {}
    node = image.ensure(client, nodes.NEWEST)
    versions = releases.ensure(client, node)
    tags = {}
    for variable in missing:
        name = variable.removesuffix("_IMAGE").lower()
        if name not in SERVICES:
            # It has both Python and curl.
            tags[variable] = node
            continue
        recipe = f"{DOCKERFILE}{SERVICES[name]}{client.images.get(node).id}"
        digest = hashlib.sha256(recipe.encode()).hexdigest()[:8]
        tag = tags[variable] = f"{LABEL}/{name}:{versions[name][0]}-{digest}"
        try:
            client.images.get(tag)
        except ImageNotFound:
            with step(f"Building a stand-in for the image of {name} {versions[name][0]}"):
                _build(client, node, name, tag)
    return tags


def _build(client: docker.DockerClient, node: str, name: str, tag: str) -> None:
    with tempfile.TemporaryDirectory(dir=CACHE) as directory:
        context = Path(directory)
        releases.fetch_packages(client, node, [("busybox", nodes.NEWEST)], context)
        shutil.move(context / nodes.NEWEST / "busybox" / "usr/bin/busybox", context)
        for program in SERVICES[name]:
            shutil.copy2(find(program), context)
        # What Debian's builds read; upstream's carry it inside.
        (context / "share").mkdir()
        if releases.SHARE.exists():
            shutil.copytree(releases.SHARE, context / "share", symlinks=True, dirs_exist_ok=True)
        (context / "state").mkdir()
        text = DOCKERFILE.format(
            node=node, programs=" ".join(SERVICES[name]), nobody=NOBODY, service=name
        )
        (context / "Dockerfile").write_text(text)
        try:
            client.images.build(path=directory, tag=tag, rm=True, labels={LABEL: "service"})
        except BuildError as error:
            raise LabError(f"building {tag} failed: {error}") from error
