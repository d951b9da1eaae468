"""The lab's logic: what is missing on a machine, and what the mirror holds."""

import hashlib
import socket
import subprocess
import tarfile

import pytest

from lab import (
    LabError,
    archives,
    compose_plugin,
    console,
    engine,
    mirror,
    nodes,
    preflight,
    scenarios,
)
from lab.offline import debian


def test_an_old_python_is_named_with_its_version():
    assert "this is 3.9" in next(preflight.missing_python((3, 9), has_ensurepip=True))
    assert list(preflight.missing_python((3, 11), has_ensurepip=True)) == []


def test_a_python_without_venv_is_told_the_package():
    assert "apt-get install python3-venv" in next(
        preflight.missing_python((3, 11), has_ensurepip=False)
    )


@pytest.mark.parametrize(
    ("reachable", "docker_host", "is_root", "has_apt", "has_cli", "words"),
    [
        (True, None, False, False, True, None),
        (False, None, True, True, False, None),
        (True, None, True, True, False, None),
        (False, None, False, True, False, "add yourself to the `docker` group"),
        (False, None, True, False, False, "Install it"),
        (False, "tcp://elsewhere:2375", True, True, True, "DOCKER_HOST=tcp://elsewhere:2375"),
        (True, None, False, True, False, "its command line is missing"),
    ],
)
def test_a_missing_engine_is_told_only_where_the_lab_cannot_install_one(
    reachable, docker_host, is_root, has_apt, has_cli, words
):
    told = list(preflight.missing_engine(reachable, docker_host, is_root, has_apt, has_cli))
    assert told == [] if words is None else words in told[0]


def test_a_port_that_is_in_use_is_named_with_its_service():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        (problem,) = preflight.taken_ports({port: "Prometheus"})
        assert f"Port {port} (Prometheus) is in use" in problem
    assert list(preflight.taken_ports({port: "Prometheus"})) == []


def test_the_ports_of_compose_are_those_of_its_file_unless_the_environment_says_others(monkeypatch):
    monkeypatch.setenv("GRAFANA_PORT", "3001")
    ports = preflight.compose_ports()
    assert ports[9090] == "Prometheus, PROMETHEUS_PORT"
    assert 3001 in ports
    assert 3000 not in ports


@pytest.mark.parametrize(("umask", "problems"), [(0o022, 0), (0o027, 1), (0o077, 1)])
def test_a_clone_that_containers_cannot_read_is_told(tmp_path, umask, problems):
    for folder in preflight.MOUNTED:
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder).chmod(0o755)
    (tmp_path / "files/rules").chmod(0o777 & ~umask)
    assert len(list(preflight.closed_folders(tmp_path))) == problems


@pytest.mark.parametrize(
    ("packaged", "upstream"),
    [("3.5.3+ds1-6", "3.5.3"), ("1.11.0-1+b6", "1.11.0"), ("1:0.33.1~rc1-2", "0.33.1")],
)
def test_debian_versions_are_read_as_upstreams(packaged, upstream):
    assert debian.upstream_version(packaged) == upstream


@pytest.fixture
def archive(tmp_path):
    program = tmp_path / "program"
    program.write_bytes(b"#!/bin/sh\necho it runs\n")
    path = tmp_path / archives.archive_path("thing", "1.2.3", "amd64")
    archives.pack(path, {"thing": program})
    return path


def test_a_packed_release_has_upstreams_layout(archive):
    assert archive.parts[-5:] == (
        "thing",
        "releases",
        "download",
        "v1.2.3",
        "thing-1.2.3.linux-amd64.tar.gz",
    )
    with tarfile.open(archive) as packed:
        member = packed.getmember("thing-1.2.3.linux-amd64/thing")
        assert (member.mode, member.uname) == (0o755, "root")


def test_the_checksums_are_those_that_sha256sum_accepts(archive):
    archives.write_checksums(archive.parent)
    checked = subprocess.run(
        ["sha256sum", "--check", "sha256sums.txt"], cwd=archive.parent, check=False
    )
    assert checked.returncode == 0
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert (archive.parent / "sha256sums.txt").read_text() == f"{digest}  {archive.name}\n"


def test_the_compose_plugin_is_version_2():
    command = compose_plugin.ensure(engine.connect())
    version = subprocess.check_output([*command, "version", "--short"], text=True)
    assert version.lstrip("v").startswith("2.")


def test_a_program_that_no_role_installs_is_no_variable_of_the_inventory():
    versions = {name: ["1.0.0"] for name in mirror.RELEASES}
    variables = nodes.inventory(nodes.Lab("x", ()), versions, {})["lab"]["vars"]
    found = {name for name in variables if name.endswith("_version")}
    assert found == {"prometheus_version", "alertmanager_version", "pushgateway_version"}


def test_a_mirror_that_lacks_a_new_program_gets_that_one_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(mirror, "INDEX", tmp_path / "mirror.json")
    others = {name: ["1.0.0"] for name in mirror.RELEASES if name != "node_exporter"}
    mirror._write_index(mirror.DEBIAN_SOURCE, others)
    asked = []

    def repack(client, image, names, folder):
        asked.append(list(names))
        return {name: ["2.0.0"] for name in names}

    monkeypatch.setattr(debian, "repack", repack)
    monkeypatch.setattr(mirror, "unpack_programs", lambda: None)
    assert mirror.ensure(None, "") == {**others, "node_exporter": ["2.0.0"]}
    assert mirror.ensure(None, "")["node_exporter"] == ["2.0.0"]
    assert asked == [["node_exporter"]]


def test_the_inventory_gives_nodes_by_container_and_the_newest_versions():
    lab = nodes.Lab("x", (nodes.Node("a"),))
    repository = {"grafana_repository_url": "http://mirror:8000/grafana"}
    found = nodes.inventory(lab, {"pushgateway": ["1.11.2", "1.11.0"]}, repository)
    assert found["_meta"]["hostvars"]["a"]["ansible_host"] == "batch-job-lab-x-a"
    assert found["lab"]["vars"]["pushgateway_version"] == "1.11.2"
    assert found["lab"]["vars"]["grafana_repository_url"] == "http://mirror:8000/grafana"


def test_a_command_that_fails_is_told_with_its_last_words():
    with pytest.raises(LabError, match="exit status 3:\nso sorry"):
        console.run(["sh", "-c", "echo so sorry; exit 3"])


@pytest.mark.parametrize("name", scenarios.names())
def test_a_scenario_starts_only_nodes_of_the_lab(name):
    nodes_of_the_lab = {node.name for node in nodes.LABS["molecule"].nodes}
    assert scenarios.hosts(name) <= nodes_of_the_lab
    assert scenarios.hosts(name) or name == "compose"


def test_no_node_belongs_to_two_scenarios():
    names = [host for name in scenarios.names() for host in scenarios.hosts(name)]
    assert sorted(names) == sorted(node.name for node in nodes.LABS["molecule"].nodes)


def test_a_scenario_ends_with_the_step_that_fails(monkeypatch, tmp_path):
    commands = {"converge": ["true"], "idempotence": ["false"], "verify": ["touch", "verified"]}
    monkeypatch.setattr(scenarios, "command", lambda _scenario, step, _arguments: commands[step])
    monkeypatch.setattr(scenarios, "REPOSITORY", tmp_path)
    steps = scenarios.run("jobs", [], None)
    assert [(step.name, step.status) for step in steps] == [("converge", 0), ("idempotence", 1)]
    assert not (tmp_path / "verified").exists()
    assert scenarios.table({"jobs": steps}).startswith("jobs  failed in 0 s  converge 0 s")
