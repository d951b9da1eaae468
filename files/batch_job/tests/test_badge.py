"""The badge of a job, with what Prometheus knows of it."""

import json
from xml.etree import ElementTree

import pytest
import yaml

from batch_job.badge import svg
from batch_job.states import NUMBERS, STATES
from clients import eventually
from programs import prometheus

RULES = [
    {
        "record": "batch_job:state",
        "expr": f"vector({NUMBERS['late']})",
        "labels": {"job": "db", "instance": "a"},
    },
    {"record": "batch_job:state", "expr": "vector(0)", "labels": {"job": "pipeline"}},
]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Run a Prometheus below a path; the states of its two jobs never change."""
    directory = tmp_path_factory.mktemp("prometheus")
    config = {"global": {"evaluation_interval": "1s"}, "rule_files": [f"{directory}/rules.yml"]}
    (directory / "prometheus.yml").write_text(yaml.safe_dump(config))
    rules = {"groups": [{"name": "states", "rules": RULES}]}
    (directory / "rules.yml").write_text(yaml.safe_dump(rules))
    with prometheus(directory, prefix="/below") as server:
        assert eventually(lambda: len(server.query("batch_job:state")) == len(RULES))
        yield server


@pytest.mark.parametrize(
    ("job", "instance", "state"),
    [("db", "a", "late"), ("pipeline", "", "fine"), ("db", "b", "not watched")],
)
def test_a_badge_shows_the_state_that_prometheus_knows(node, server, job, instance, state):
    words = ["badge", job, f"--instance={instance}", f"--prometheus={server.url}"]
    picture = ElementTree.fromstring(node(*words).stdout)  # noqa: S314
    assert picture.get("aria-label") == f"{job}: {state}"
    shields = json.loads(node(*words, "--json").stdout)
    assert (shields["schemaVersion"], shields["label"], shields["message"]) == (1, job, state)


def test_no_badge_is_drawn_without_an_answer(node, pushgateway, dead_url):
    for url in (dead_url, pushgateway.url):
        done = node("badge", "db", "--prometheus", url)
        assert (done.returncode, done.stdout) == (75, "")
        assert url in done.stderr


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.name)
def test_a_badge_is_a_picture_whatever_the_job_is_called(state):
    picture = ElementTree.fromstring(svg('<a href="x">&', state))  # noqa: S314
    texts = [element.text for element in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert texts == ['<a href="x">&', state.name]
