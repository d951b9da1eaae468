"""The callback plugin in ansible-playbook itself, with a real Pushgateway."""

from __future__ import annotations

import functools
import importlib.util
import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from batch_job import metrics
from lab import REPOSITORY
from programs import Pushgateway

PLUGIN = REPOSITORY / "files/reporters/ansible/pushgateway.py"
HOSTS = """
all:
  vars: {ansible_connection: local, ansible_python_interpreter: "{{ ansible_playbook_python }}"}
  hosts:
    web:
    database:
    # Nobody can make a directory there: that is unreachable, at once.
    gone: {ansible_pipelining: false, ansible_remote_tmp: /proc/none}
"""
ODD_HOSTS = """
odd:
  hosts:
    a b:
    team/web:
    größe:
    'say "hi"':
"""
SITE = """
- import_playbook: hosts.yml
- hosts: all
  gather_facts: false
  tasks:
    - debug:
      changed_when: inventory_hostname == "web"
    - debug:
      failed_when: inventory_hostname in break | default([])
    - ping:
      when: inventory_hostname in reach | default([])
"""
PLAYBOOKS = {
    "site": SITE,
    "hosts": "[{hosts: all, gather_facts: false, tasks: [{debug: }]}]",
    "nächtlich": "[{hosts: web, gather_facts: false, tasks: [{debug: }]}]",
    "empty": "[{hosts: nowhere, gather_facts: false, tasks: [{debug: }]}]",
    "größe a b": "[{hosts: odd, gather_facts: false, tasks: [{debug: }]}]",
    "broken": "[{hosts: '{{ undefined }}', gather_facts: false, tasks: [{debug: }]}]",
    "forgiving": """
- hosts: web:database
  gather_facts: false
  tasks:
    - fail:
      when: inventory_hostname == "web"
    - meta: clear_host_errors
""",
}

Play = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with an inventory and playbooks."""
    directory = tmp_path_factory.mktemp("site")
    (directory / "inventory.yml").write_text(HOSTS)
    (directory / "odd.yml").write_text(ODD_HOSTS)
    for name, text in PLAYBOOKS.items():
        (directory / f"{name}.yml").write_text(text)
    return directory


@pytest.fixture(scope="module")
def ansible(directory: Path, finish: Play) -> Play:
    """Return a function that runs a program of Ansible, with the repository's own settings."""

    def run(*command: str, **options: str | None) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"),
            "ANSIBLE_CALLBACKS_ENABLED": "pushgateway",
            "ANSIBLE_FORKS": "3",
            "PUSHGATEWAY_INSTANCE": "controller",
            **options,
        }
        given = {name: value for name, value in environment.items() if value is not None}
        return finish(
            [*command, "--inventory", "inventory.yml"], cwd=directory, env=given, timeout=120
        )

    return run


@pytest.fixture(scope="module")
def play(ansible: Play) -> Play:
    """Return a function that runs playbooks."""
    return functools.partial(ansible, "ansible-playbook")


class Told(NamedTuple):
    """What a gateway holds of a job after a run, and the run's own exit status."""

    status: int
    values: dict[str, float]
    result: str
    hosts: dict[str, float]
    labels: dict[str, str]


def told(gateway: Pushgateway, job: str, status: int, instance: str = "controller") -> Told:
    families = gateway.families(job, instance)
    return Told(
        status,
        gateway.values(job, instance),
        gateway.result(job, instance),
        {
            each["labels"]["state"]: float(each["value"])
            for each in families.get("ansible_playbook_hosts", [])
        },
        families["batch_job_info"][0]["labels"],
    )


@pytest.fixture(scope="module")
def successes(shared_pushgateway: Pushgateway, play: Play) -> Mapping[str, Told]:
    """Run three playbooks by one command; one of them for no host."""
    done = play(
        *("site.yml", "nächtlich.yml", "empty.yml"),
        PUSHGATEWAY_URL=shared_pushgateway.url,
        PUSHGATEWAY_OWNER="ops",
        PUSHGATEWAY_SEVERITY="critical",
        PUSHGATEWAY_MAX_AGE="1d 2h",
        PUSHGATEWAY_MAX_RUNTIME="90min",
    )
    return {
        name: told(shared_pushgateway, f"ansible-{name}", done.returncode)
        for name in ("site", "nächtlich", "empty")
    }


@pytest.fixture(scope="module")
def failure(shared_pushgateway: Pushgateway, play: Play, successes: Mapping[str, Told]) -> Told:
    """Run a playbook that fails on a host, after it succeeded."""
    done = play("site.yml", "-e", '{"break": ["web"]}', PUSHGATEWAY_URL=shared_pushgateway.url)
    return told(shared_pushgateway, "ansible-site", done.returncode)


@pytest.fixture(scope="module")
def unreachable(shared_pushgateway: Pushgateway, play: Play) -> Told:
    """Run a playbook that fails on a host and does not reach another."""
    options = {"PUSHGATEWAY_URL": shared_pushgateway.url, "PUSHGATEWAY_JOB": "site/a b"}
    done = play("site.yml", "-e", '{"break": ["web"], "reach": ["gone"]}', **options)
    return told(shared_pushgateway, "site/a b", done.returncode)


def test_a_success_reports_all_that_is_known_of_it(successes):
    found = successes["site"].values
    assert found["last_exit_code"] == successes["site"].status == 0
    assert found["last_success_timestamp_seconds"] == found["last_completion_timestamp_seconds"]
    assert found["deadline_timestamp_seconds"] == found["last_success_timestamp_seconds"] + 93600
    assert found["max_runtime_seconds"] == 5400
    assert successes["site"].result == "success"


def test_a_duration_is_that_from_start_to_completion(successes):
    found = successes["site"].values
    between = found["last_completion_timestamp_seconds"] - found["last_start_timestamp_seconds"]
    assert found["last_duration_seconds"] == pytest.approx(between, abs=0.1)
    assert between > 0


def test_a_job_says_whose_it_is(successes):
    assert successes["site"].labels == {
        "job": "ansible-site",
        "instance": "controller",
        "owner": "ops",
        "severity": "critical",
        "kind": "rollout",
        "schedule": "within 1d 2h",
    }


def test_each_host_is_counted_once(successes):
    assert successes["site"].hosts == {"ok": 2, "changed": 1, "failed": 0, "unreachable": 0}


def test_a_second_playbook_counts_its_own_hosts(successes):
    hosts = successes["nächtlich"].hosts
    assert hosts == {"ok": 1, "changed": 0, "failed": 0, "unreachable": 0}


def test_a_run_without_hosts_ended_well_and_is_no_last_success(successes):
    found = successes["empty"].values
    assert found["last_exit_code"] == 0
    assert "last_success_timestamp_seconds" not in found


def test_a_failure_has_the_exit_status_of_ansible(failure):
    assert failure.status == failure.values["last_exit_code"] == 2
    assert failure.result == "exit-code"


@pytest.mark.parametrize("kept", ["last_success_timestamp_seconds", "deadline_timestamp_seconds"])
def test_a_failure_keeps_what_an_earlier_success_left(successes, failure, kept):
    assert failure.values[kept] == successes["site"].values[kept]


def test_an_unreachable_host_has_the_exit_status_of_ansible(unreachable):
    assert unreachable.status == unreachable.values["last_exit_code"] == 4


def test_a_host_counts_by_its_worst_state(unreachable):
    assert unreachable.hosts == {"ok": 1, "changed": 0, "failed": 1, "unreachable": 1}


def test_the_maximum_age_has_kept_its_old_name(pushgateway, play):
    play("site.yml", PUSHGATEWAY_URL=pushgateway.url, PUSHGATEWAY_DUE_WITHIN="3h")
    labels = pushgateway.families("ansible-site", "controller")["batch_job_info"][0]["labels"]
    assert labels["schedule"] == "within 3h"


def test_a_failure_that_was_taken_back_is_none(pushgateway, play):
    done = play("forgiving.yml", PUSHGATEWAY_URL=pushgateway.url)
    found = told(pushgateway, "ansible-forgiving", done.returncode)
    assert found.status == found.values["last_exit_code"] == 0
    assert found.hosts["failed"] == 1


def test_a_run_that_breaks_off_is_a_failure(pushgateway, play):
    done = play("broken.yml", PUSHGATEWAY_URL=pushgateway.url)
    assert done.returncode != 0
    assert pushgateway.values("ansible-broken", "controller")["last_exit_code"] == 1


@pytest.mark.parametrize(
    ("command", "options"),
    [
        (["ansible-playbook", "site.yml"], {"ANSIBLE_CALLBACKS_ENABLED": None}),
        (["ansible-playbook", "site.yml", "--check"], {}),
        (["ansible-playbook", "site.yml", "--limit", "web"], {}),
        (["ansible", "web", "-m", "debug"], {"ANSIBLE_LOAD_CALLBACK_PLUGINS": "1"}),
    ],
    ids=["not enabled", "check mode", "some hosts", "ad hoc"],
)
def test_what_is_no_rollout_is_not_reported(pushgateway, ansible, command, options):
    done = ansible(*command, PUSHGATEWAY_URL=pushgateway.url, PUSHGATEWAY_JOB="x", **options)
    assert done.returncode == 0
    assert "Not reported" not in done.stderr
    assert pushgateway.families("x", "controller") == {}


def test_some_hosts_are_reported_where_that_is_wanted(pushgateway, play):
    options = {"PUSHGATEWAY_PARTIAL": "true", "PUSHGATEWAY_INSTANCE": ""}
    play("site.yml", "--limit", "web", PUSHGATEWAY_URL=pushgateway.url, **options)
    assert pushgateway.values("ansible-site", instance="")["last_exit_code"] == 0


def test_any_job_instance_owner_and_kind_arrive_or_are_told(pushgateway, play, odd_name):
    options = dict.fromkeys(
        [f"PUSHGATEWAY_{x}" for x in ("JOB", "INSTANCE", "OWNER", "KIND")], odd_name
    )
    done = play("nächtlich.yml", PUSHGATEWAY_URL=pushgateway.url, **options)
    assert done.returncode == 0
    if odd_name == "..":
        # The library sends it as a path, and the gateway cleans that path into another one.
        assert "'..' cannot be the name of a job" in done.stderr
        assert pushgateway.exposed() == ""
    else:
        assert done.stderr == ""
        found = told(pushgateway, odd_name, done.returncode, odd_name)
        assert found.result == "success"
        assert (found.labels["owner"], found.labels["kind"]) == (odd_name, odd_name)


def test_a_playbook_and_hosts_with_odd_names_are_reported(pushgateway, play):
    done = play("größe a b.yml", "--inventory=odd.yml", PUSHGATEWAY_URL=pushgateway.url)
    assert done.stderr == ""
    found = told(pushgateway, "ansible-größe a b", done.returncode)
    assert found.hosts == {"ok": 4, "changed": 0, "failed": 0, "unreachable": 0}


def test_the_gateway_may_be_below_a_path(prefixed_pushgateway, play):
    done = play("hosts.yml", PUSHGATEWAY_URL=f"{prefixed_pushgateway.url}/")
    assert done.stderr == ""
    assert prefixed_pushgateway.result("ansible-hosts", "controller") == "success"


def test_a_dead_gateway_costs_one_warning_and_no_exit_status(dead_url, play):
    done = play("site.yml", "-e", '{"break": ["web"]}', PUSHGATEWAY_URL=dead_url)
    assert done.returncode == 2
    assert done.stderr.count(f"Not reported to Pushgateway: {dead_url} cannot be reached") == 1


def test_without_a_url_there_is_one_warning(play):
    done = play("hosts.yml")
    assert done.returncode == 0
    assert done.stderr.count("[WARNING]") == done.stderr.count("PUSHGATEWAY_URL") == 1


def test_without_the_client_library_there_is_one_warning(play, tmp_path):
    (tmp_path / "prometheus_client.py").write_text(
        "raise ModuleNotFoundError(name='prometheus_client')"
    )
    done = play("hosts.yml", PUSHGATEWAY_URL="http://127.0.0.1:1", PYTHONPATH=str(tmp_path))
    assert done.returncode == 0
    assert done.stderr.count("[WARNING]") == 1
    assert "prometheus_client is not installed" in done.stderr


def test_a_gateway_with_tls_and_a_password_takes_reports(secure_pushgateway, secure_gateway, play):
    done = play(
        "hosts.yml",
        PUSHGATEWAY_URL=secure_pushgateway.url,
        PUSHGATEWAY_CA_FILE=secure_gateway.ca_file,
        PUSHGATEWAY_USERNAME=secure_gateway.username,
        PUSHGATEWAY_PASSWORD_FILE=secure_gateway.password_file,
    )
    assert done.stderr == ""
    assert secure_pushgateway.values("ansible-hosts", "controller")["last_exit_code"] == 0


@pytest.fixture(scope="module")
def plugin() -> Any:
    """Return the plugin as a module."""
    specification = importlib.util.spec_from_file_location("plugin", PLUGIN)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def new_run(plugin: Any, **options: Any) -> Any:
    """Return a run with options of which most have no value."""
    known = {"url": "http://gateway:9091", "owner": "", "severity": "info", "kind": "rollout"}
    return plugin.new_run({**known, **options}.get, "site.yml")


@pytest.mark.parametrize(
    ("option", "value", "problem"),
    [
        ("job", "..", "cannot be the name"),
        ("instance", ".", "cannot be the name"),
        ("max_age", "26", "max_age is a duration such as 26h"),
        ("max_runtime", "1 month", "max_runtime is a duration"),
        ("url", "gateway:9091", "is not a url"),
        ("url", "http://me:secret@gateway:9091", "belongs into password_file"),
        ("username", "me", "need each other"),
    ],
)
def test_an_option_that_means_nothing_is_refused(plugin, option, value, problem):
    with pytest.raises(plugin.PushError, match=problem) as refused:
        new_run(plugin, **{option: value})
    assert "secret" not in str(refused.value)


def test_a_host_is_that_of_ansible(plugin):
    assert new_run(plugin).instance == os.uname().nodename


def test_help_is_that_of_the_reporter(plugin):
    own = {metrics.PREFIX + name: text for name, text in metrics.HELP.items()}
    assert own.items() >= {k: v for k, v in plugin.HELP.items() if k in own}.items()
    assert set(plugin.HELP) - set(own) == {"ansible_playbook_hosts"}


def push(plugin: Any, url: str, **options: str) -> None:
    """Send nothing by the plugin's own handler."""
    send = plugin.handler({"url": url, **options}.get)
    send(url=url, method="POST", timeout=5, headers=[], data=b"")()


@pytest.mark.parametrize(
    "options", [{"ca_file": "/none"}, {"username": "me", "password_file": "/none"}]
)
def test_a_file_that_is_not_there_is_named(plugin, options):
    with pytest.raises((plugin.PushError, OSError), match="/none"):
        push(plugin, "https://127.0.0.1:1", **options)


def test_a_redirect_is_no_success(plugin, redirect):
    with pytest.raises(plugin.PushError, match="answers 302"):
        push(plugin, redirect)
