"""What a stranger on another host may do: with the defaults, and behind the guard."""

import json

import pytest
import testinfra
import trustme
import yaml

from clients import eventually
from conftest import LAB
from doors import Stranger, expected
from guard import guard_login
from lab import REPOSITORY, nodes

LOCAL = yaml.safe_load((REPOSITORY / "inventories/local/group_vars/all.yml").read_text())
KEY = "k" * 32
GUARD = 9191
# Two job hosts that are not rolled out: the answers to their credentials are what counts.
INVENTORY = {
    "pushgateway_guard": {"hosts": {"debian13": None}},
    "batch_job": {"hosts": {"web-1": None, "web-2": None}},
}


def stranger_to(node):
    """Return a process of `nobody` on another node."""
    host = testinfra.get_host(f"docker://{nodes.container_name(LAB, 'debian12')}")
    return Stranger(
        lambda command: host.run(f"runuser -u nobody -- {command}").stdout, node, [GUARD]
    )


@pytest.fixture(scope="module")
def variables():
    """Return the variables of a site that is closed."""
    authority = trustme.CA()
    certificate = authority.issue_cert("debian13", "localhost")
    reader = guard_login([KEY], "reader", "prometheus")
    return {
        **{name: value for name, value in LOCAL.items() if "grafana" not in name},
        "site_guard_keys": [KEY],
        "pushgateway_guard_certificate": certificate.cert_chain_pems[0].bytes().decode(),
        "pushgateway_guard_key": certificate.private_key_pem.bytes().decode(),
        "prometheus_pushgateway_http_client": {
            "scheme": "https",
            "basic_auth": {
                "username": reader["username"],
                "password_file": "secrets/pushgateway",
            },
            "tls_config": {"ca_file": "secrets/ca.crt"},
        },
        "prometheus_secret_files": {
            "secrets/pushgateway": reader["password"],
            "secrets/ca.crt": authority.cert_pem.bytes().decode(),
        },
    }


@pytest.fixture(scope="module")
def site(copied, variables, tmp_path_factory):
    """Return a copy of a host, who asks, the answers before all was closed, and a rollout."""
    inventory = tmp_path_factory.mktemp("inventory") / "guard.json"
    inventory.write_text(json.dumps(INVENTORY))
    with copied("debian13") as copy:

        def roll_out(tags, **changes):
            done = copy.roll_out(tags, "--diff", "-i", str(inventory), **{**variables, **changes})
            assert done.status == 0, done.message
            return done

        stranger = stranger_to(copy.node)
        before = stranger.answers("defaults")
        done = roll_out("pushgateway,pushgateway_guard,prometheus,alertmanager")
        assert guard_login([KEY], "host", "web-1")["password"] not in done.diff
        yield copy, stranger, before, roll_out


@pytest.mark.parametrize("state", ["defaults", "closed"])
def test_the_doors_are_as_the_table_says(site, state):
    _copy, stranger, before, _roll_out = site
    assert (before if state == "defaults" else stranger.answers(state)) == expected(state)


def test_a_host_pushes_only_its_own_and_prometheus_reads_it(site):
    copy, stranger, _before, _roll_out = site

    def push(name, instance):
        login = guard_login([KEY], "host", name)
        request = f"PUT /metrics/job/guarded/instance/{instance}"
        return stranger.ask(GUARD, request, "answer 47\n", login)

    assert push("web-1", "web-1") == 200
    assert push("web-1", "web-2") == 403
    assert push("web-3", "web-1") == 401
    scraped = 'curl -s localhost:9090/api/v1/query --data-urlencode query=answer{job=\\"guarded\\"}'
    result = eventually(
        lambda: json.loads(copy.host.check_output(scraped))["data"]["result"], timeout_seconds=20
    )
    assert [sample["metric"]["instance"] for sample in result] == ["web-1"]


def test_the_guard_opens_no_other_port_and_logs_who_was_refused(site):
    copy, stranger, _before, _roll_out = site
    assert stranger.ask(80, "GET /") == "refused"
    login = guard_login([KEY], "host", "web-2")
    assert stranger.ask(GUARD, "DELETE /metrics/job/x/instance/web-1", login=login) == 403
    journal = "journalctl --no-pager --identifier=pushgateway_guard"
    assert eventually(lambda: f'"{login["username"]}" "DELETE' in copy.host.check_output(journal))


def test_a_new_key_is_valid_beside_the_old_one_and_a_second_rollout_changes_nothing(site):
    copy, stranger, _before, roll_out = site
    new = "n" * 32
    request = "PUT /metrics/job/rotated/instance/web-1"

    def answers():
        logins = [guard_login([key], "host", "web-1") for key in (new, KEY)]
        return [stranger.ask(GUARD, request, "answer 48\n", login) for login in logins]

    assert answers() == [401, 200]
    assert roll_out("pushgateway_guard", site_guard_keys=[new, KEY]).changed(copy.name)
    assert answers() == [200, 200]
    assert not roll_out("pushgateway_guard", site_guard_keys=[new, KEY]).changed(copy.name)
    roll_out("pushgateway_guard", site_guard_keys=[new])
    assert eventually(lambda: answers() == [200, 401])
