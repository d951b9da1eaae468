"""The Compose stack as it is written: valid, pinned, confined, closed to others."""

import json
import os
import stat
import subprocess

import pytest
import yaml

from lab import REPOSITORY, compose, compose_plugin, engine, role_default, service_images
from lab.service_images import Images

SERVICES = sorted(yaml.safe_load((compose.DIRECTORY / "compose.yaml").read_text())["services"])
GENERATED = str(compose.GENERATED)


@pytest.fixture(scope="module")
def stack():
    """Return the stack as Compose understands it."""
    options = [f"--file={compose.FILE}", "--profile=*", "config", "--format=json"]
    command = [*compose_plugin.ensure(engine.connect()), *options]
    environment = {name: text for name, text in os.environ.items() if not name.endswith("_PORT")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def service(stack, request):
    """Return one service of it."""
    return stack["services"][request.param]


every_service = pytest.mark.parametrize("service", SERVICES, indirect=True)


@pytest.mark.parametrize("name", ["pushgateway", "prometheus", "alertmanager"])
def test_compose_runs_the_versions_that_the_roles_install(stack, name):
    image = stack["services"][name]["image"]
    assert image == f"prom/{name}:v{role_default(f'{name}_version')}"


def test_compose_runs_the_grafana_that_the_role_installs(stack):
    version = role_default("grafana_version")
    assert stack["services"]["grafana"]["image"] == f"grafana/grafana:{version}"


def test_every_image_is_pinned_and_named_once(stack):
    images = {service["image"] for service in stack["services"].values()}
    assert images == set(service_images.pinned().values())
    assert all(any(map(str.isdigit, image.partition(":")[2])) for image in images)


@every_service
def test_a_service_may_do_nothing_that_it_need_not(service):
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "devices", "network_mode", "pid"} & set(service)
    assert service["user"].split(":")[0] not in ("0", "root")
    assert 0 < int(service["mem_limit"]) <= 512 << 20


@every_service
def test_a_service_asks_its_neighbours_without_the_proxies_of_this_machine(service):
    environment = service["environment"]
    names = ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")
    assert {environment[name] for name in names} == {""}


def test_the_ports_are_the_known_ones_and_open_to_this_machine_only(stack):
    ports = [port for service in stack["services"].values() for port in service.get("ports", [])]
    assert {port["host_ip"] for port in ports} == {"127.0.0.1"}
    assert sorted(int(port["published"]) for port in ports) == [3000, 8080, 9090, 9091, 9093]


@every_service
def test_what_a_service_mounts_of_the_repository_is_there_and_cannot_be_changed(service):
    binds = [each for each in service.get("volumes", []) if each["type"] == "bind"]
    assert all(each["read_only"] for each in binds)
    ours = [each["source"] for each in binds if not each["source"].startswith(GENERATED)]
    assert all(os.path.exists(source) for source in ours)


@every_service
def test_a_mount_that_has_not_been_written_yet_is_an_error(service):
    binds = [each for each in service.get("volumes", []) if each["type"] == "bind"]
    written = [each for each in binds if each["source"].startswith(GENERATED)]
    assert not any(each["bind"].get("create_host_path") for each in written)


@pytest.mark.parametrize(
    ("name", "folder"),
    [("prometheus", "rules"), ("prometheus", "runbooks"), ("grafana", "dashboards")],
)
def test_the_files_that_roles_lay_down_are_mounted_as_they_are(stack, name, folder):
    sources = [each["source"] for each in stack["services"][name]["volumes"]]
    assert str(REPOSITORY / "files" / folder) in sources


def test_all_declared_jobs_have_a_service_but_the_one_that_never_runs(stack):
    variables = REPOSITORY / "inventories" / "compose" / "group_vars"
    here = yaml.safe_load((variables / "batch_job.yml").read_text())["batch_job_jobs"]
    elsewhere = yaml.safe_load((variables / "prometheus.yml").read_text())["batch_job_external"]
    declared = {job["name"] for job in [*here, *elsewhere]}
    assert declared - set(stack["services"]) == {"archive-mail"}


@every_service
def test_nothing_starts_before_what_it_needs_is_ready(service):
    conditions = {need["condition"] for need in service.get("depends_on", {}).values()}
    assert conditions <= {"service_healthy", "service_completed_successfully"}


@pytest.mark.parametrize(
    "service", ["pushgateway", "prometheus", "alertmanager", "webhook", "grafana"], indirect=True
)
def test_what_listens_has_a_health_check(service):
    port = str(service["ports"][0]["target"])
    assert port in " ".join(service["healthcheck"]["test"])


def test_nobody_but_its_owner_can_read_the_password_that_is_made_up_once(tmp_path, monkeypatch):
    password = tmp_path / "secrets" / "grafana_admin_password"
    monkeypatch.setattr(compose, "PASSWORD", password)
    compose.write_password()
    first = password.read_text()
    compose.write_password()
    assert password.read_text() == first
    assert len(first) >= 20
    assert stat.S_IMODE(password.stat().st_mode) == 0o600
    assert password.stat().st_uid == (os.getuid() or compose.GRAFANA_USER)
    assert stat.S_IMODE(password.parent.stat().st_mode) == 0o700


def test_a_password_of_ones_own_is_kept_and_closed_to_others(tmp_path, monkeypatch):
    password = tmp_path / "grafana_admin_password"
    password.write_text("my own")
    password.chmod(0o644)
    monkeypatch.setattr(compose, "PASSWORD", password)
    compose.write_password()
    assert password.read_text() == "my own"
    assert stat.S_IMODE(password.stat().st_mode) == 0o600
    assert password.stat().st_uid != 0


@pytest.fixture
def override(tmp_path, monkeypatch):
    """Return a function that writes the override and returns what the stack is with it."""
    monkeypatch.setattr(compose, "PASSWORD", tmp_path / "password")
    monkeypatch.setattr(compose, "OVERRIDE", tmp_path / "override.yaml")
    compose.write_password()

    def write(stand_ins=None, has_grafana=True):
        compose.write_override(Images(stand_ins or {}, has_grafana, True, []))
        command = compose.command(engine.connect(), "config", "--format=json")
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["services"]

    return write


def test_what_replaces_an_image_replaces_it_in_each_service_and_nothing_else(override, stack):
    changed = {
        name: service["image"]
        for name, service in override({"PYTHON_IMAGE": "mine:1"}).items()
        if service["image"] != stack["services"][name]["image"]
    }
    original = stack["services"]["webhook"]["image"]
    users = {name for name, each in stack["services"].items() if each["image"] == original}
    assert changed == dict.fromkeys(users - {"migrate-database"}, "mine:1")


def test_grafana_runs_as_who_may_read_its_password(override):
    assert override()["grafana"]["user"] == f"{os.getuid() or 472}:0"


def test_without_an_image_of_grafana_the_rest_runs(override):
    assert set(override(has_grafana=False)) == set(override()) - {"grafana"}
