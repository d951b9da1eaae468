"""How the inventory becomes variables of services: lists of jobs from several groups, addresses."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from units import joined_jobs

from lab import REPOSITORY

A, B = {"name": "a", "max_age": "1h"}, {"name": "b", "max_age": "1h"}
HOSTS = {
    "prometheus": {"hosts": {"metrics": None}},
    "batch_job": {"hosts": {"node1": None}},
    "webservers": {"hosts": {"node1": None}},
    "databases": {"hosts": {"node1": None}},
}


@pytest.mark.parametrize(
    ("lists", "names"),
    [
        ({}, []),
        ({"plain": []}, []),
        ({"plain": [A], "plain_x": []}, ["a"]),
        ({"plain": [A], "plain_x": [B]}, ["a", "b"]),
        # Declared in the same way, it is one job.
        ({"plain": [A], "plain_x": [B, A]}, ["a", "b"]),
        ({"plain": [A], "plain_x": [A | {"instance": "z"}]}, ["a", "a"]),
    ],
)
def test_lists_are_joined(lists, names):
    assert [job["name"] for job in joined_jobs(lists)] == names


@pytest.mark.parametrize(
    ("lists", "words"),
    [
        ({"plain": [A], "plain_x": [A | {"owner": "dba"}]}, "a .* in plain and in plain_x"),
        ({"plain": [A], "plain_x": [B, B]}, "plain_x: 'b' is declared twice"),
        ({"plain": [A], "plain_x": "b"}, "plain_x is not a list"),
        ({"plain": [A], "plain_x": {"b": 1}}, "plain_x is not a list"),
        ({"plain": [A], "plain_x": ["b"]}, "plain_x: 'b' is not a job"),
    ],
)
def test_lists_that_contradict_each_other_are_refused_with_their_names(lists, words):
    with pytest.raises(AnsibleFilterError, match=words):
        joined_jobs(lists)


@pytest.fixture
def play(tmp_path):
    """Return a function from the variables of groups and hosts to a play on such an inventory."""

    def run(variables, playbook=REPOSITORY / "playbooks/check_inventory.yml"):
        inventory = tmp_path / "inventory"
        for place, content in {"hosts.yml": {"all": {"children": HOSTS}}, **variables}.items():
            path = inventory / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(yaml.safe_dump(content))
        return subprocess.run(
            [Path(sys.executable).with_name("ansible-playbook"), "-i", inventory, playbook],
            env={**os.environ, "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg")},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


WEB = {"batch_job_jobs": [A]}
DATABASES = {"batch_job_jobs": [B]}


def test_a_list_that_hides_another_groups_is_refused_with_both(play):
    done = play({"group_vars/webservers.yml": WEB, "group_vars/databases.yml": DATABASES})
    assert done.returncode != 0
    words = " ".join((done.stderr + done.stdout).split())
    assert "of the group webservers hides that of the group databases on node1" in words
    assert "batch_job_jobs_databases and batch_job_jobs_webservers" in words


def test_a_hosts_own_list_counts_alone_and_equal_lists_hide_nothing(play):
    own = {"host_vars/node1.yml": {"batch_job_jobs": []}}
    groups = {"group_vars/webservers.yml": WEB, "group_vars/databases.yml": DATABASES}
    assert play(groups | own).returncode == 0


@pytest.fixture
def evaluate(play, tmp_path):
    """Return a function from an expression and variables to its value on Prometheus' host."""

    def evaluate(expression, variables):
        content = f"{{{{ {expression} | to_json }}}}"
        python = {"ansible_python_interpreter": sys.executable}
        show = {"hosts": "metrics", "connection": "local", "gather_facts": False, "vars": python}
        tasks = [{"ansible.builtin.copy": {"dest": f"{tmp_path}/shown", "content": content}}]
        # Beside it, the wiring counts.
        book = tmp_path / "show.yml"
        book.write_text(yaml.safe_dump([show | {"tasks": tasks}]))
        for name in ("group_vars", "filter_plugins", "library"):
            (tmp_path / name).symlink_to(REPOSITORY / "playbooks" / name)
        done = play(variables, book)
        assert done.returncode == 0, done.stdout
        return json.loads((tmp_path / "shown").read_text())

    return evaluate


def test_prometheus_and_the_host_are_given_the_jobs_of_all_lists(evaluate):
    variables = {
        "group_vars/webservers.yml": {"batch_job_jobs_web": [A]},
        "group_vars/databases.yml": DATABASES,
        "group_vars/prometheus.yml": {
            "batch_job_external": [{"name": "c", "max_age": "1d"}],
            "batch_job_external_ci": [{"name": "d", "max_age": "1d"}],
        },
    }
    shown = "[prometheus_declared_jobs, hostvars.node1.site_declared_jobs]"
    declared, own = evaluate(shown, variables)
    assert sorted(job["name"] for job in declared) == ["a", "b", "c", "d"]
    assert sorted(job["name"] for job in own) == ["a", "b"]


def test_an_ipv6_address_has_brackets_where_a_port_follows(evaluate):
    address = {"host_vars/metrics.yml": {"ansible_host": "2001:db8::10"}}
    shown = "[site_pushgateway_url, site_alertmanager_target, site_prometheus_url, site_address]"
    assert evaluate(shown, address) == [
        "http://[2001:db8::10]:9091",
        "[2001:db8::10]:9093",
        "http://[2001:db8::10]:9090",
        "2001:db8::10",
    ]
