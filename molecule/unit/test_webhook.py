"""The webhook receiver of the demos: what comes in is kept, and shown to programs and people."""

import subprocess
import sys

import pytest
import requests

from clients import eventually
from lab import REPOSITORY
from programs import free_port

ALERT = {
    "status": "firing",
    "labels": {"alertname": "BatchJobFailed"},
    "annotations": {"summary": "<script>alert(1)</script>", "runbook_url": "http://x/a.md"},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Yield the address of a receiver, and its log."""
    port = free_port()
    program = REPOSITORY / "compose" / "webhook" / "webhook.py"
    log = tmp_path_factory.mktemp("webhook") / "log"
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, program, str(port)], stdout=output)
    url = f"http://127.0.0.1:{port}"
    eventually(lambda: requests.get(url, timeout=5))
    yield url, log
    process.kill()
    process.wait()


@pytest.fixture
def url(server, request):
    """Return a list of the test's own."""
    return f"{server[0]}/{request.node.name}"


def page(url):
    return requests.get(url, headers={"Accept": "text/html,*/*"}, timeout=5).text


def tell(url, receiver="operations", alerts=(ALERT,)):
    message = {"receiver": receiver, "alerts": list(alerts)}
    return requests.post(url, json=message, timeout=5)


def test_programs_get_what_came_in_as_it_was_the_oldest_first(url):
    tell(url, receiver="first", alerts=[ALERT])
    tell(url, receiver="second", alerts=[])
    kept = requests.get(url, timeout=5).json()
    assert [each["receiver"] for each in kept] == ["first", "second"]
    assert kept[0]["alerts"] == [ALERT]


def test_people_see_the_newest_first(url):
    tell(url, receiver="first", alerts=[ALERT])
    tell(url, receiver="second", alerts=[ALERT])
    shown = page(url)
    assert shown.index("to second") < shown.index("to first")
    assert '<a href="http://x/a.md">' in shown


def test_what_an_alert_says_is_shown_and_not_executed(url):
    tell(url, receiver="<b>", alerts=[ALERT])
    assert "&lt;script&gt;alert(1)" in page(url)
    assert "<script>" not in page(url)
    assert "to <b>" not in page(url)


def test_a_page_without_notifications_says_so(url):
    assert "Nobody was told anything yet." in page(url)


def test_a_link_leads_to_no_script(url):
    notes = {**ALERT["annotations"], "runbook_url": "javascript:alert(1)"}
    tell(url, alerts=[{**ALERT, "annotations": notes}])
    assert "<p>javascript:alert(1)</p>" in page(url)


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_pages_of_others_can_neither_tell_nor_forget(url, method):
    tell(url)
    message = {"receiver": "operations", "alerts": []}
    headers = {"Origin": "http://elsewhere.example"}
    answer = requests.request(method, url, json=message, headers=headers, timeout=5)
    assert answer.status_code == 403
    assert len(requests.get(url, timeout=5).json()) == 1


@pytest.mark.parametrize(
    "body",
    [
        "{",
        "[1]",
        "1",
        '{"receiver": "x"}',
        '{"receiver": "x", "alerts": null}',
        '{"receiver": "x", "alerts": [{"status": "firing"}]}',
        '{"receiver": null, "alerts": []}',
        '{"receiver": "\\ud800", "alerts": []}',
    ],
)
def test_what_is_no_notification_is_refused(url, body):
    assert requests.post(url, data=body, timeout=5).status_code == 400
    assert requests.get(url, timeout=5).json() == []


def test_what_is_forgotten_is_gone_and_the_rest_is_not(url):
    tell(url, receiver="one")
    tell(url + "/other", receiver="another")
    requests.delete(url, timeout=5)
    assert requests.get(url, timeout=5).json() == []
    assert len(requests.get(url + "/other", timeout=5).json()) == 1


def test_each_alert_is_logged_in_a_line(server, url):
    tell(url, alerts=[{**ALERT, "annotations": {"summary": "it failed"}}])
    assert eventually(lambda: " UTC firing it failed\n" in server[1].read_text(), 5)
