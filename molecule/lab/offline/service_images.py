"""Stand-ins for the services' images, out of the release mirror.

They have upstream's paths, users, entry points and `wget`, so that compose.yaml fits both. Below
that they are Debian with Debian's builds, which is what they do not prove.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import docker
from docker.errors import BuildError, ImageNotFound

from lab import CACHE, LABEL, LabError, images, mirror
from lab.console import step
from lab.offline.debian import SHARE, fetch_packages
from programs import find

# What else the images' services need is in a node's image: Python and curl.
SERVICES = ("pushgateway", "prometheus", "alertmanager")
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


def ensure(client: docker.DockerClient, missing: Sequence[str]) -> dict[str, str]:
    """Return a stand-in for each variable of an image, built if it is not there yet."""
    if not missing:
        return {}
    node = images.ensure(client)
    versions = mirror.ensure(client, node)
    tags = {}
    for variable in missing:
        name = variable.removesuffix("_IMAGE").lower()
        if name not in SERVICES:
            tags[variable] = node
            continue
        recipe = f"{DOCKERFILE}{mirror.RELEASES[name]}{client.images.get(node).id}"
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
        fetch_packages(client, node, [("busybox", images.NEWEST)], context)
        shutil.move(context / images.NEWEST / "busybox" / "usr/bin/busybox", context)
        programs = mirror.RELEASES[name]
        for program in programs:
            shutil.copy2(find(program), context)
        (context / "share").mkdir()
        if SHARE.exists():
            shutil.copytree(SHARE, context / "share", symlinks=True, dirs_exist_ok=True)
        (context / "state").mkdir()
        text = DOCKERFILE.format(
            node=node, programs=" ".join(programs), nobody=NOBODY, service=name
        )
        (context / "Dockerfile").write_text(text)
        try:
            client.images.build(path=directory, tag=tag, rm=True, labels={LABEL: "service"})
        except BuildError as error:
            raise LabError(f"building {tag} failed: {error}") from error
