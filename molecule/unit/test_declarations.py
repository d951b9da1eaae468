"""The declarations as Prometheus scrapes them."""

import pytest
from jinja2 import Environment, StrictUndefined
from prometheus_client.parser import text_string_to_metric_families

from lab import REPOSITORY

TEMPLATE = REPOSITORY / "roles/prometheus/templates/etc/prometheus/assets/declared_jobs.prom.j2"
JOB = {
    "name": "db",
    "instance": "web-1",
    "owner": "dba",
    "severity": "warning",
    "max_age_seconds": 600,
    "min_size_bytes": None,
}


def declared(**changes):
    """Return each series of one declared job, as name and labels, with its value."""
    environment = Environment(trim_blocks=True, undefined=StrictUndefined, autoescape=False)  # noqa: S701
    environment.filters["comment"] = "# {}".format
    text = environment.from_string(TEMPLATE.read_text()).render(
        ansible_managed="managed",
        prometheus_declared_jobs=[JOB | changes],
        prometheus_certificates=[],
        prometheus_runbook_url="http://prometheus/user/runbooks",
    )
    return {
        (sample.name.removeprefix("batch_job_declared_"), sample.labels.get("after")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.labels.get("job") == "db"
    }


AGE = ("max_age_seconds", None)
PAUSED = ("paused_until_timestamp_seconds", None)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {AGE: 600}),
        ({"max_age_seconds": None, "paused_until_timestamp_seconds": None}, {AGE: float("inf")}),
        ({"paused_until_timestamp_seconds": 1798070400}, {AGE: 600, PAUSED: 1798070400}),
        # Nothing is due of a job that is switched off.
        ({"paused_until_timestamp_seconds": "+Inf"}, {PAUSED: float("inf")}),
        ({"tolerated_failures": 2}, {AGE: 600, ("tolerated_failures", None): 2}),
        ({"tolerated_failures": 0}, {AGE: 600}),
        ({"after": ["x", 'y"']}, {AGE: 600, ("after", "x"): 1, ("after", 'y"'): 1}),
    ],
    ids=["plain", "calendar", "paused", "switched off", "tolerant", "not tolerant", "after others"],
)
def test_a_declaration_has_the_pause_and_the_order_of_a_job(changes, expected):
    assert declared(**changes) == expected
