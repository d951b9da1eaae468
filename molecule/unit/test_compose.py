"""Compose as it ships: valid, pinned, and closed to others. No image is pulled here."""

import json
import os
import stat
import subprocess

import pytest

from lab import REPOSITORY, compose_plugin, demo_grafana, engine, grafana, image, nodes


@pytest.fixture(scope="module")
def service():
    """Return Grafana's service as Compose understands the demo's files."""
    client = engine.connect()
    compose = compose_plugin.ensure(client, image.ensure(client, nodes.NEWEST))
    files = [f"--file={file}" for file in demo_grafana.FILES]
    done = subprocess.run(
        [*compose, *files, "--profile=grafana", "config", "--format=json"],
        env=os.environ | demo_grafana.SITE | {"OWNER": str(demo_grafana.owner())},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["services"]["grafana"]


def test_compose_runs_the_version_that_the_role_installs(service):
    assert service["image"] == f"grafana/grafana:{grafana.default('grafana_version')}"
    assert demo_grafana.version() == grafana.default("grafana_version")


def test_grafana_is_reached_from_this_machine_only_and_may_do_nothing_it_need_not(service):
    assert {port["host_ip"] for port in service["ports"]} == {"127.0.0.1"}
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert not service["user"].startswith("0:")


def test_what_compose_mounts_is_there(service):
    sources = [volume["source"] for volume in service["volumes"] if volume["type"] == "bind"]
    assert len(sources) == 3
    assert all(os.path.exists(source) for source in sources)
    assert str(REPOSITORY / "files" / "dashboards") in sources


def test_nobody_but_its_owner_can_read_the_password_that_is_made_up_once(tmp_path, monkeypatch):
    password = tmp_path / "secrets" / "grafana_admin_password"
    monkeypatch.setattr(demo_grafana, "PASSWORD", password)
    demo_grafana.write_password()
    first = password.read_text()
    demo_grafana.write_password()
    assert password.read_text() == first
    assert len(first) >= 20
    assert stat.S_IMODE(password.stat().st_mode) == 0o600
    assert password.stat().st_uid == demo_grafana.owner() != 0
    assert stat.S_IMODE(password.parent.stat().st_mode) == 0o700
