"""Images of the services for Compose: upstream's, or stand-ins for those that cannot be pulled."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

import docker
import requests
from docker.auth import resolve_repository_name
from docker.errors import APIError, ImageNotFound, NotFound

from lab import REPOSITORY, LabError, mirror
from lab.console import step
from lab.offline import service_images as stand_ins_of

ENV = REPOSITORY / "compose" / ".env"
GRAFANA = "GRAFANA_IMAGE"
# Those whose pages Debian's builds leave out.
PAGES = frozenset({"PROMETHEUS_IMAGE", "ALERTMANAGER_IMAGE"})


def pinned() -> dict[str, str]:
    """Return the images that compose/.env names, by variable; the environment's come first."""
    lines = (line.split("=", 1) for line in ENV.read_text().splitlines() if "_IMAGE=" in line)
    return {name: os.environ.get(name, tag) for name, tag in lines}


class Images(NamedTuple):
    """The images that run instead of others, by variable of compose/.env, and remarks on them."""

    stand_ins: dict[str, str]
    has_grafana: bool
    have_pages: bool
    remarks: list[str]


def ensure(client: docker.DockerClient) -> Images:
    """Pull upstream's images; find a stand-in for each that cannot be pulled, but for Grafana.

    Raises LabError if a registry answers that it has no such image.
    """
    wanted = pinned()
    with step("Looking for the images"):
        problems = _unavailable(client, wanted)
    stand_ins = stand_ins_of.ensure(client, sorted(problems.keys() - {GRAFANA}))
    remarks = []
    if GRAFANA in problems:
        remarks.append(f"Grafana       is left out: {wanted[GRAFANA]} cannot be pulled")
    if stand_ins:
        remarks.append("Stand-ins     run for other images that cannot be pulled:")
        remarks += (f"              {wanted[name]}: {tag}" for name, tag in stand_ins.items())
    remarks += (f"Docker says   {problem}" for problem in sorted(set(problems.values())))
    have_pages = PAGES.isdisjoint(stand_ins) or mirror.source() == mirror.UPSTREAM_SOURCE
    return Images(stand_ins, GRAFANA not in problems, have_pages, remarks)


def _unavailable(client: docker.DockerClient, wanted: Mapping[str, str]) -> dict[str, str]:
    """Pull the images that are not there; return why some cannot be, by variable.

    Waiting for a registry that does not answer takes long: each gets one chance.
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
