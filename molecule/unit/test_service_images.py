"""Which images the Compose stack runs where some cannot be pulled.

The engine and its registries are stand-ins: no registry can be reached from everywhere. That real
images are pulled is not proven.
"""

import pytest
import requests
from docker.errors import APIError, ImageNotFound, NotFound

from lab import LabError, images, mirror, service_images
from lab.offline import service_images as stand_ins

VERSIONS = {name: ["1.2.3"] for name in stand_ins.SERVICES}
UNREACHABLE = APIError("500", explanation="no such host")
BROKEN = [{"status": "Downloading"}, {"error": "unexpected EOF"}]


class Engine:
    """An engine with some images, which pulls others, or fails to."""

    def __init__(self, present=(), problems=None):
        self.images = self.api = self
        self.id = "sha256:1"
        self.present = set(present)
        self.problems = problems or {}
        self.pulled = []

    def get(self, tag):
        if tag not in self.present:
            raise ImageNotFound(tag)
        return self

    def pull(self, tag, **_options):
        self.pulled.append(tag)
        problem = self.problems.get(tag)
        if isinstance(problem, Exception):
            raise problem
        if problem is None:
            self.present.add(tag)
        return problem or [{"status": "Pull complete"}]


@pytest.fixture(autouse=True)
def built(monkeypatch):
    """Return the tags of the stand-ins that are built, without building them."""
    tags = []
    monkeypatch.setattr(stand_ins, "_build", lambda *arguments: tags.append(arguments[-1]))
    monkeypatch.setattr(images, "ensure", lambda *_: "node:trixie")
    monkeypatch.setattr(mirror, "ensure", lambda *_: VERSIONS)
    monkeypatch.setattr(mirror, "source", lambda: mirror.DEBIAN_SOURCE)
    return tags


@pytest.fixture
def wanted():
    return service_images.pinned()


def ensure(engine):
    engine.present.add("node:trixie")
    return service_images.ensure(engine)


def test_images_that_are_there_are_not_pulled(wanted):
    engine = Engine(present=wanted.values())
    assert ensure(engine) == service_images.Images({}, True, True, [])
    assert engine.pulled == []


def test_images_that_can_be_pulled_are(wanted, built):
    engine = Engine()
    assert ensure(engine) == service_images.Images({}, True, True, [])
    assert engine.pulled == list(wanted.values())
    assert built == []


def test_without_grafanas_image_only_grafana_is_left_out(wanted, built):
    tag = wanted["GRAFANA_IMAGE"]
    others = set(wanted.values()) - {tag}
    found = ensure(Engine(present=others, problems={tag: UNREACHABLE}))
    assert found.remarks == [
        f"Grafana       is left out: {tag} cannot be pulled",
        "Docker says   no such host",
    ]
    assert (found.stand_ins, found.has_grafana, found.have_pages, built) == ({}, False, True, [])


@pytest.mark.parametrize(
    ("name", "has_pages"), [("PROMETHEUS_IMAGE", False), ("PUSHGATEWAY_IMAGE", True)]
)
def test_a_stand_in_replaces_only_what_is_missing(wanted, built, name, has_pages):
    tag = wanted[name]
    others = set(wanted.values()) - {tag}
    found = ensure(Engine(present=others, problems={tag: UNREACHABLE}))
    assert found.stand_ins == {name: built[0]}
    service = name.removesuffix("_IMAGE").lower()
    assert built[0].startswith(f"batch-job-lab/{service}:1.2.3-")
    assert (found.has_grafana, found.have_pages) == (True, has_pages)
    assert f"{tag}: {built[0]}" in "".join(found.remarks)


def test_python_and_curl_come_with_the_node(wanted):
    missing = {name: wanted[name] for name in ("PYTHON_IMAGE", "CURL_IMAGE")}
    problems = dict.fromkeys(missing.values(), UNREACHABLE)
    found = ensure(Engine(present=set(wanted.values()) - problems.keys(), problems=problems))
    assert found.stand_ins == dict.fromkeys(missing, "node:trixie")


@pytest.mark.parametrize(
    ("problem", "reason"),
    [
        (UNREACHABLE, "no such host"),
        (requests.ConnectionError("no engine"), "no engine"),
        (BROKEN, "unexpected EOF"),
    ],
)
def test_a_registry_that_gives_nothing_is_asked_once(wanted, problem, reason):
    engine = Engine(problems=dict.fromkeys(wanted.values(), problem))
    found = ensure(engine)
    assert len(engine.pulled) == 1
    assert set(found.stand_ins) == set(wanted) - {"GRAFANA_IMAGE"}
    assert not found.has_grafana
    assert found.remarks[-1] == f"Docker says   {reason}"


def test_a_registry_does_not_answer_for_another(wanted, monkeypatch):
    mine = "registry.example.org:5000/prometheus:1"
    monkeypatch.setenv("PROMETHEUS_IMAGE", mine)
    engine = Engine(problems=dict.fromkeys(wanted.values(), UNREACHABLE))
    found = ensure(engine)
    assert "PROMETHEUS_IMAGE" not in found.stand_ins
    assert len(engine.pulled) == 2


def test_an_image_that_a_registry_does_not_have_is_an_error_that_names_it(wanted):
    tag = wanted["ALERTMANAGER_IMAGE"]
    with pytest.raises(LabError, match=f"ALERTMANAGER_IMAGE={tag}, .*manifest unknown"):
        ensure(Engine(problems={tag: NotFound("manifest unknown")}))


def test_a_stand_in_of_another_recipe_is_another_image(wanted, built, monkeypatch):
    engine = Engine(problems=dict.fromkeys(wanted.values(), UNREACHABLE))
    ensure(engine)
    engine.id = "sha256:2"
    ensure(engine)
    monkeypatch.setattr(stand_ins, "DOCKERFILE", "FROM {node}")
    ensure(engine)
    assert len(built) == len(set(built)) == 3 * len(stand_ins.SERVICES)
