"""Services, jobs and alerts of the Compose stack. The last tests end it and start it again."""

import os
import re
import subprocess
import time

import pytest
import requests
from playwright.sync_api import expect

from batch_job.states import STATES
from clients import Prometheus, Pushgateway, Webhook, eventually
from lab import compose, compose_plugin, engine

PUSHED = {"job": "from-the-host", "instance": "laptop"}
# Nobody, and who may read Grafana's password.
USERS = {"65534", str(os.getuid() or compose.GRAFANA_USER)}
PUSH = "/metrics/job/from-the-host/instance/laptop"


def ask(stack, service, path="", method="GET", **options):
    answer = requests.request(method, stack.url(service) + path, timeout=10, **options)
    answer.raise_for_status()
    return answer


def query(stack, expression):
    return Prometheus(stack.url("prometheus")).query(expression)


def pushed(stack):
    """Return the series of the push from the host, with its value."""
    labels = ",".join(f'{name}="{text}"' for name, text in PUSHED.items())
    return query(stack, f"some_metric{{{labels}}}")


def told(stack):
    """Return alert and job of each notification."""
    return {
        (alert["labels"]["alertname"], alert["labels"].get("job"))
        for alert in Webhook(stack.url("webhook")).alerts()
        if alert["status"] == "firing"
    }


def running(stack):
    """Return its containers that run."""
    return [each for each in stack.containers() if each.attrs["State"]["Running"]]


@pytest.mark.parametrize("service", ["prometheus", "pushgateway", "alertmanager", "webhook"])
def test_the_command_says_where_each_service_answers(stack, service):
    name = "Notifications" if service == "webhook" else service.capitalize()
    address = re.search(rf"^{name} +(\S+)$", stack.said[0], re.MULTILINE)[1]
    assert address.startswith(stack.url(service))
    assert requests.get(address, timeout=10).ok


def test_grafana_runs_with_a_password_of_its_own_or_is_said_to_be_left_out(stack):
    if "Grafana       is left out: grafana/grafana:" not in stack.said[0]:
        password = (stack.directory / "compose/secrets/grafana_admin_password").read_text()
        assert password in stack.said[0]
        boards = ask(stack, "grafana", "/api/search?type=dash-db", auth=("admin", password)).json()
        assert len(boards) == 4


@pytest.mark.parametrize(
    ("job", "row"),
    [
        ("backup-documents", r"backup-documents +fileserver +fine +\d+s ago"),
        ("release-pipeline", r"release-pipeline +- +fine .* ago"),
        ("migrate-database", r"migrate-database +fileserver +fine .* ago"),
        ("backup-tape", r"backup-tape +fileserver +stuck +never +BatchJobStuck"),
        ("archive-mail", r"archive-mail +fileserver +late +never +BatchJobMissed"),
        ("sync-mirror", r"sync-mirror +fileserver +failing .* BatchJobFailed"),
    ],
)
def test_the_command_shows_what_became_of_each_job(stack, job, row):
    assert re.search(f"^{row}$", stack.said[0], re.MULTILINE), stack.said[0]


@pytest.mark.parametrize(
    ("alert", "job"),
    [
        ("BatchJobFailed", "sync-mirror"),
        ("BatchJobMissed", "archive-mail"),
        ("BatchJobStuck", "backup-tape"),
    ],
)
def test_a_job_that_fails_or_never_runs_or_hangs_is_told(stack, alert, job):
    assert eventually(lambda: (alert, job) in told(stack))
    assert re.search(
        f"^since .* UTC, to webhook: {job} on fileserver ", stack.said[0], re.MULTILINE
    )


def test_the_page_shows_what_became_of_each_job(stack, page):
    page.goto(f"{stack.url('prometheus')}/user/")
    for job, state in (
        ("sync-mirror", "failing"),
        ("archive-mail", "late"),
        ("backup-tape", "stuck"),
    ):
        expect(page.locator(".row", has_text=job)).to_contain_text(state, timeout=30_000)


def test_jobs_that_succeed_are_not_told_of(stack):
    fine = {"backup-documents", "release-pipeline", "migrate-database"}
    assert not fine & {job for _alert, job in told(stack)}


def test_the_services_have_nothing_to_complain_of(stack):
    named = {alert for alert, job in told(stack) if not job}
    assert named <= {"Watchdog"}
    assert query(stack, "up == 0") == []


def test_the_receiver_shows_people_what_they_were_told(stack):
    page = ask(stack, "webhook", headers={"Accept": "text/html"}).text
    assert "<h3>archive-mail on fileserver is late" in page
    assert "/user/runbooks/BatchJobMissed.md" in page


def test_a_runbook_is_served_where_the_notification_says(stack):
    url = Webhook(stack.url("webhook")).alerts()[-1]["annotations"]["runbook_url"]
    assert url.startswith(stack.url("prometheus"))
    assert requests.get(url, timeout=10).text.startswith("# BatchJob")


def test_the_first_line_leads_to_the_page(stack):
    look = next(line for line in stack.said[0].splitlines() if "http://" in line)
    assert look == f"Look:         {stack.url('prometheus')}/user/"
    assert "main.js" in requests.get(look.split()[1], timeout=10).text


def test_a_push_from_the_host_is_scraped_with_its_labels(stack):
    ask(stack, "pushgateway", PUSH, "PUT", data="# TYPE some_metric gauge\nsome_metric 3.14\n")
    (labels, value), *others = eventually(lambda: pushed(stack))
    assert value == 3.14
    assert labels.items() >= {**PUSHED, "app": "pushgateway", "pushgateway": "pushgateway"}.items()
    assert not others
    assert not any(name.startswith("exported_") for name in labels)


def test_a_rollout_of_this_repository_is_a_job_among_the_others(stack):
    stack.run(
        "ansible-playbook",
        "--inventory=inventories/compose",
        "playbooks/compose.yml",
        ANSIBLE_CALLBACKS_ENABLED="pushgateway",
        PUSHGATEWAY_URL=stack.url("pushgateway"),
    )
    state = 'batch_job:state{job="ansible-compose"}'
    (_labels, value), *others = eventually(lambda: query(stack, state))
    assert (STATES[int(value)].name, others) == ("fine", [])
    hosts = 'ansible_playbook_hosts{job="ansible-compose", state="ok"}'
    assert [found for _, found in query(stack, hosts)] == [2]


def test_when_the_gateway_wrote_its_state_is_known(stack):
    expression = "time() - pushgateway_state_written_timestamp_seconds < 120"
    assert eventually(lambda: query(stack, expression))


def test_no_container_runs_as_root_or_may_become_it(stack):
    found = running(stack)
    assert len(found) >= 9
    for container in found:
        processes = container.top(ps_args="-eo uid,pid,args")["Processes"]
        assert {process[0] for process in processes} <= USERS, container.name
    # Also those that have ended.
    users = {container.attrs["Config"]["User"] for container in stack.containers()}
    assert not users & {"", "0", "0:0", "root"}


def test_no_container_is_privileged_or_can_write_to_its_image(stack):
    for container in stack.containers():
        host = container.attrs["HostConfig"]
        assert not host["Privileged"], container.name
        assert (host["CapAdd"], host["CapDrop"]) == (None, ["ALL"]), container.name
        assert host["SecurityOpt"] == ["no-new-privileges:true"], container.name
        assert host["ReadonlyRootfs"], container.name
        assert host["Memory"] > 0, container.name


CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5)
except ConnectionRefusedError:
    print("refused")
"""


def test_nobody_reaches_a_port_from_another_machine(stack):
    ports = [
        binding["HostIp"]
        for container in stack.containers()
        for bindings in container.attrs["NetworkSettings"]["Ports"].values()
        for binding in bindings or ()
    ]
    assert len(ports) >= 4
    assert set(ports) == {"127.0.0.1"}
    # As another machine would: from a container, to the address that this machine has there.
    [webhook] = [each for each in running(stack) if "webhook" in each.name]
    [network] = webhook.attrs["NetworkSettings"]["Networks"].values()
    tried = [
        webhook.exec_run(["python3", "-c", CONNECT, network["Gateway"], str(port)])
        for port in stack.ports.values()
    ]
    assert {each.output for each in tried} == {b"refused\n"}


def test_compose_by_hand_would_run_the_same_images(stack):
    command = [*compose_plugin.ensure(engine.connect()), "config", "--images"]
    said = subprocess.check_output(command, cwd=stack.directory / "compose", text=True)
    assert set(said.split()) == {each.attrs["Config"]["Image"] for each in stack.containers()}


def test_a_second_start_leaves_what_runs_as_it_is(stack):
    before = {each.name: each.attrs["State"]["StartedAt"] for each in running(stack)}
    stack("up")
    assert {each.name: each.attrs["State"]["StartedAt"] for each in running(stack)} == before


def test_what_was_pushed_and_seen_is_there_after_down_and_up(stack):
    silence = {
        "matchers": [{"name": "job", "value": "nothing", "isRegex": False}],
        "startsAt": "2026-01-01T00:00:00Z",
        "endsAt": "2099-01-01T00:00:00Z",
        "createdBy": "a test",
        "comment": "kept",
    }
    ask(stack, "alertmanager", "/api/v2/silences", "POST", json=silence)
    ended = time.time()
    stack("down")
    assert stack.containers() == []
    stack("up")
    families = Pushgateway(stack.url("pushgateway")).families(**PUSHED)
    assert families["some_metric"][0]["value"] == "3.14"
    silences = ask(stack, "alertmanager", "/api/v2/silences").json()
    assert [each["comment"] for each in silences] == ["kept"]
    history = ask(stack, "prometheus", "/api/v1/query?query=up[30m]").json()["data"]["result"]
    assert min(series["values"][0][0] for series in history) < ended


def test_nothing_is_left_after_clean(stack):
    stack("clean")
    label = {"label": "com.docker.compose.project=batch-jobs-test"}
    client = engine.connect()
    assert stack.containers() == client.volumes.list(filters=label) == []
    assert not (stack.directory / "compose/secrets").exists()
