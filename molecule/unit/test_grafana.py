"""Grafana without a node: the lab's packages, and what inventory and role make of variables."""

import configparser
import json
import re
import stat
import subprocess

import jinja2
import pytest
import requests

from lab import REPOSITORY
from lab.offline import grafana

TEMPLATES = REPOSITORY / "roles/grafana/templates"


@pytest.fixture
def ini():
    """Return a function that renders grafana.ini as the role does and returns it, read."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 (no page of the web)
    )
    environment.filters["comment"] = lambda text: f"# {text}"
    environment.tests["search"] = lambda value, pattern: bool(re.search(pattern, str(value)))
    template = environment.get_template("etc/grafana/grafana.ini.j2")

    def render(**config):
        parsed = configparser.RawConfigParser()
        parsed.read_string(template.render(__grafana_config=config, ansible_managed="managed"))
        return parsed

    return render


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (True, "true"),
        (3000, "3000"),
        ("Main Org.", "Main Org."),
        ("s3cr#t;", '"""s3cr#t;"""'),
        ('"""s3cr#t"""', '"""s3cr#t"""'),
        ("$__file{/etc/grafana/secrets/x}", "$__file{/etc/grafana/secrets/x}"),
    ],
)
def test_a_value_is_written_as_grafana_reads_it(ini, value, written):
    assert ini(server={"key": value})["server"]["key"] == written


def test_an_empty_section_is_left_out(ini):
    assert ini(**{"auth.anonymous": {"enabled": False}, "dashboards": {}}).sections() == [
        "auth.anonymous"
    ]


def test_the_stand_in_has_the_packages_paths(tmp_path):
    tree = tmp_path / "tree"
    grafana.write_package(tree, "1.2.3")
    files = {
        str(path.relative_to(tree)): stat.S_IMODE(path.stat().st_mode)
        for path in tree.rglob("*")
        if path.is_file()
    }
    assert files["usr/share/grafana/bin/grafana"] == files["DEBIAN/postinst"] == 0o755
    assert files["usr/lib/systemd/system/grafana-server.service"] == 0o644
    assert "Version: 1.2.3\n" in (tree / "DEBIAN/control").read_text()


def test_another_version_of_the_stand_in_has_a_folder_of_its_own(monkeypatch):
    before = grafana.folder()
    monkeypatch.setattr(grafana, "version", lambda: "1.2.3")
    assert grafana.folder() != before
    assert grafana.folder().parent == before.parent


def test_a_repository_that_cannot_be_reached_is_named_with_the_reason(monkeypatch):
    def refuse(url, **options):
        raise requests.ConnectionError("no such host")

    monkeypatch.setattr(requests, "get", refuse)
    assert grafana.why_unreachable() == (
        "https://apt.grafana.com/dists/stable/InRelease cannot be fetched: no such host"
    )


def test_the_role_is_told_nothing_where_the_real_grafana_is_used(monkeypatch):
    monkeypatch.setattr(grafana, "missing", str)
    assert grafana.variables("http://mirror:8000") == {}


PROMETHEUS = {
    "prometheus_listen_address": "10.0.0.1:9999",
    "prometheus_external_url": "https://example.org/prom/",
    "prometheus_web_config": {"tls_server_config": {"cert_file": "tls.crt"}},
}


@pytest.mark.parametrize(
    ("others", "url"),
    [
        ({}, "http://localhost:9090"),
        ({"prometheus": {"hosts": {"p": {}, "q": {}}}}, "http://p:9090"),
        ({"prometheus": {"hosts": {"p": PROMETHEUS}}}, "https://p:9999/prom"),
    ],
    ids=["none", "plain", "TLS below a path"],
)
def test_grafana_asks_the_first_prometheus_of_the_inventory(tmp_path, others, url):
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(json.dumps({"grafana": {"hosts": {"g": {}}}, **others}))
    command = ["ansible", "--playbook-dir", str(REPOSITORY / "playbooks"), "-i", str(inventory)]
    shown = subprocess.check_output(
        [*command, "g", "-m", "debug", "-a", "var=grafana_prometheus_url"], text=True
    )
    assert shown.split()[-1] == url
