"""Pruning: only what no host declares goes, and only when asked."""

import pytest

from clients import Pushgateway

testinfra_hosts = ["ansible://monitor"]

RETIRED, FOREIGN, EXTERNAL = ("retired", "fileserver"), ("capacity", "rack-7"), ("pipeline", "")
VARIABLES = {"batch_job_external": [{"name": "pipeline", "max_age": "8d"}]}


@pytest.fixture
def groups(gateway: Pushgateway):
    """Push a group of each sort; return a function that tells which groups there are."""
    gateway.push(*RETIRED, batch_job_last_exit_code=0)
    gateway.push(*EXTERNAL, batch_job_last_exit_code=0)
    gateway.push(*FOREIGN, free_slots=3)

    def present():
        return {(labels["job"], labels.get("instance", "")) for labels, _ in gateway.groups()}

    return present


def test_check_mode_shows_the_undeclared_group_and_keeps_it(rollout, groups):
    before = groups()
    done = rollout("--check", variables=VARIABLES, playbook="prune.yml")
    assert (done.status, done.changed("monitor")) == (0, 0)
    assert '"retired"' in done.diff
    assert groups() == before


def test_only_the_group_of_an_undeclared_job_is_deleted(rollout, groups):
    before = groups()
    assert RETIRED in before
    done = rollout(variables=VARIABLES, playbook="prune.yml")
    assert (done.status, done.changed("monitor")) == (0, 1)
    assert groups() == before - {RETIRED}
    assert {("backup-etc", "fileserver"), FOREIGN, EXTERNAL} <= groups()
