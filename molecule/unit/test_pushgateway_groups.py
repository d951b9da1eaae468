"""Which groups of a Pushgateway may be pruned, and their paths."""

import pytest
from groups import group_path, undeclared_groups

DECLARED = [{"name": "nightly", "instance": "web-1"}, {"name": "pipeline", "instance": ""}]


def group(metric="batch_job_last_exit_code", instances=(), **labels):
    """Return a group whose series have its instance, or others."""
    named = instances or [labels.get("instance", "")]
    samples = [{"labels": {**labels, "instance": name}, "value": "1"} for name in named]
    return {"labels": labels, "last_push_successful": True, metric: {"metrics": samples}}


@pytest.mark.parametrize(
    ("found", "is_undeclared"),
    [
        (group(job="nightly", instance="web-1"), False),
        (group(job="nightly", instance="web-2"), True),
        (group(job="nightly"), True),
        (group(job="pipeline"), False),
        (group(job="pipeline", instance=""), False),
        (group(job="retired", instance="web-1"), True),
        (group("records_processed", job="retired"), False),
        (group(job="nightly", instances=["web-1"]), False),
        (group(job="nightly", instances=["web-2", "web-1"]), False),
        (group(job="nightly", instances=["web-2"]), True),
    ],
)
def test_a_group_of_a_job_that_nobody_declares_is_found(found, is_undeclared):
    assert bool(undeclared_groups([found], DECLARED)) is is_undeclared


@pytest.mark.parametrize(
    ("labels", "path"),
    [
        ({"job": "nightly"}, "/metrics/job/nightly"),
        ({"instance": "web-1:80", "job": "a"}, "/metrics/job/a/instance/web-1%3A80"),
        ({"job": "a b"}, "/metrics/job/a%20b"),
        ({"job": "a/b"}, "/metrics/job@base64/YS9i"),
        ({"job": "a", "instance": ""}, "/metrics/job/a/instance@base64/="),
    ],
)
def test_a_group_is_addressed_as_pushgateway_documents_it(labels, path):
    assert group_path(labels) == path
