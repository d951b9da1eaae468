"""Images of the services for Compose: upstream's, or stand-ins for them out of the release mirror.

The stand-ins have upstream's paths, users, entry points and `wget`, so that compose.yaml fits both;
below that they are Debian with Debian's builds, which is what they do not prove.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import docker
from docker.errors import APIError, BuildError, ImageNotFound

from lab import CACHE, LABEL, REPOSITORY, LabError, image, nodes, releases
from lab.console import step

ENV = REPOSITORY / "compose" / ".env"
GRAFANA = "GRAFANA_IMAGE"
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
    return variables("_IMAGE")


def variables(suffix: str) -> dict[str, str]:
    """Return those of compose/.env whose names end so; the environment's come first."""
    lines = (line.split("=", 1) for line in ENV.read_text().splitlines() if f"{suffix}=" in line)
    return {name: os.environ.get(name, text) for name, text in lines}


class Images(NamedTuple):
    """The images to run by variable, and what people should know of them."""

    tags: dict[str, str]
    remarks: list[str]
    have_pages: bool

    @property
    def has_grafana(self) -> bool:
        """Whether there is a Grafana to run."""
        return GRAFANA in self.tags


def ensure(client: docker.DockerClient) -> Images:
    """Return upstream's images; where one cannot be pulled, stand-ins, and no Grafana."""
    wanted = pinned()
    with step("Looking for the images"):
        problems = {name: _why_unavailable(client, tag) for name, tag in wanted.items()}
    found = {name: wanted[name] for name, problem in problems.items() if not problem}
    remarks = [f"Grafana       is left out: {problems[GRAFANA]}"] if problems[GRAFANA] else []
    have_pages = True
    if any(problem for name, problem in problems.items() if name != GRAFANA):
        found |= _built(client)
        versions = ", ".join(f"{name} {releases.versions()[name][0]}" for name in SERVICES)
        remarks.append(
            "The services are stand-ins for images that cannot be pulled, either: "
            f"{versions} from {releases.source()}."
        )
        have_pages = releases.source() == releases.UPSTREAM_SOURCE
    return Images(found, remarks, have_pages)


def _why_unavailable(client: docker.DockerClient, tag: str) -> str:
    """Pull an image unless it is there; return why it cannot be pulled, or nothing."""
    try:
        client.images.get(tag)
    except ImageNotFound:
        try:
            client.images.pull(tag)
        except APIError as error:
            return f"{tag} cannot be pulled ({error.explanation})"
    return ""


def _built(client: docker.DockerClient) -> Mapping[str, str]:
    """Return the stand-ins, built as far as they are not there yet."""
    node = image.ensure(client, nodes.NEWEST)
    versions = releases.ensure(client, node)
    tags = {name: f"{LABEL}/{name}:{versions[name][0]}" for name in SERVICES}
    for name, tag in tags.items():
        try:
            client.images.get(tag)
        except ImageNotFound:
            with step(f"Building a stand-in for the image of {name} {versions[name][0]}"):
                _build(client, node, name, tag)
    built = {f"{name.upper()}_IMAGE": tag for name, tag in tags.items()}
    return {**built, "PYTHON_IMAGE": node, "CURL_IMAGE": node}


def _build(client: docker.DockerClient, node: str, name: str, tag: str) -> None:
    with tempfile.TemporaryDirectory(dir=CACHE) as directory:
        context = Path(directory)
        releases.fetch_packages(client, node, [("busybox", nodes.NEWEST)], context)
        shutil.move(context / nodes.NEWEST / "busybox" / "usr/bin/busybox", context)
        for program in SERVICES[name]:
            shutil.copy2(releases.program(program), context)
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
