"""What only the real Grafana can show: that it loads what the role lays down."""

import json

import pytest
import requests

from clients import eventually
from lab import REPOSITORY

testinfra_hosts = ["ansible://boards13", "ansible://boards12"]
pytestmark = pytest.mark.real_grafana

SHIPPED = sorted(REPOSITORY.glob("files/dashboards/*.json"))
UIDS = {json.loads(path.read_text())["uid"] for path in SHIPPED}


@pytest.fixture
def asked(password):
    """Return a function from a Grafana to one that returns what its API answers the admin."""

    def asked(grafana):
        def ask(path, **parameters):
            answer = grafana.get(path, params=parameters, auth=("admin", password))
            assert answer.ok, answer.text
            return answer.json()

        return ask

    return asked


@pytest.fixture
def ask(asked, grafana):
    return asked(grafana)


def found(ask):
    return {each["uid"] for each in ask("/api/search", type="dash-db", folderUIDs="batch-jobs")}


def test_every_dashboard_of_the_repository_is_in_the_folder(ask):
    assert eventually(lambda: found(ask) == UIDS)


@pytest.mark.parametrize("uid", sorted(UIDS))
def test_a_dashboard_is_loaded_and_only_its_file_changes_it(ask, uid):
    loaded = ask(f"/api/dashboards/uid/{uid}")
    assert loaded["dashboard"]["panels"]
    assert loaded["meta"]["provisioned"]


def test_a_dashboard_that_is_no_longer_given_leaves_the_folder(copy, asked):
    some = [str(path) for path in SHIPPED[:-1]]
    done = copy.roll_out("grafana", grafana_dashboard_files=some)
    assert done.status == 0, done.message
    ask = asked(copy.grafana)
    assert eventually(lambda: len(found(ask)) == len(UIDS) - 1, timeout_seconds=60)


def test_the_data_source_reaches_prometheus(ask):
    query = "/api/datasources/proxy/uid/batch-jobs-prometheus/api/v1/query"
    assert ask(query, query="vector(42)")["data"]["result"][0]["value"][1] == "42"


def test_the_overview_of_the_jobs_is_the_home_page(ask):
    titles = {json.loads(path.read_text())["title"] for path in SHIPPED}
    assert ask("/api/dashboards/home")["dashboard"]["title"] in titles


@pytest.mark.parametrize("path", ["/api/search", "/api/dashboards/home", "/api/datasources"])
def test_nobody_sees_anything_without_a_password(grafana, path):
    assert grafana.status(path) == 401


def test_people_are_asked_to_log_in(grafana):
    assert grafana.status("/login") == 200


def test_nobody_can_sign_up(grafana):
    user = {"email": "me@example.org", "username": "me", "password": "secret-enough"}
    answer = requests.post(grafana.url + "/api/user/signup/step2", json=user, timeout=10)
    assert answer.status_code in (401, 403, 404)
