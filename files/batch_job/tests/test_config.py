"""What the files below the configuration directory may say."""

import json
import os

import pytest

from batch_job.config import ConfigError, Job, declared_job, declared_jobs, load
from batch_job.gateway import Gateway, check_gateway
from batch_job.schedule import Schedule


@pytest.fixture
def write(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return tmp_path

    return write


def test_without_a_file_there_is_no_gateway_and_the_instance_is_the_host(tmp_path):
    assert load(tmp_path / "missing") == (os.uname().nodename, ())


def test_the_file_names_instance_and_gateways(write):
    gateway = {"url": "https://one", "username": "me", "password_file": "/p", "ca_file": "/ca"}
    found = load(write("config.json", {"instance": "node1", "gateways": [gateway]}))
    assert found == ("node1", (Gateway(**gateway),))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "Expecting"),
        ("[]", "not an object"),
        ({"gatway": []}, "there is no gatway"),
        ({"gateways": [{"url": "http://one", "pasword": "x"}]}, "pasword"),
        ({"gateways": [{"url": "one:9091"}]}, "is not a URL"),
        ({"gateways": [{}]}, "url"),
        ({"gateways": 1}, "not iterable"),
        ({"instance": "a/b"}, "is not an instance"),
        ({"instance": 1}, "expected string"),
    ],
)
def test_a_configuration_that_means_nothing_is_refused_by_its_path(write, content, reason):
    directory = write("config.json", content)
    with pytest.raises(ConfigError, match=rf"config\.json: .*{reason}"):
        load(directory)


def test_a_configuration_that_is_no_text_is_refused_by_its_path(tmp_path):
    (tmp_path / "config.json").write_bytes(b'{"instance": "\xff"}')
    with pytest.raises(ConfigError, match=r"config\.json: "):
        load(tmp_path)


@pytest.mark.parametrize(
    "gateway",
    [
        Gateway("http://one"),
        Gateway("https://one:9091/below", cert_file="c", key_file="k"),
        Gateway("http://one", username="u", password_file="p"),
        Gateway("http://one", token_file="t"),
        Gateway("file:///var/lib/prometheus/node-exporter"),
    ],
)
def test_a_gateway_needs_only_a_url(gateway):
    check_gateway(gateway)


@pytest.mark.parametrize(
    ("gateway", "reason"),
    [
        (Gateway("ftp://one"), "is not a URL"),
        (Gateway("http://"), "is not a URL"),
        (Gateway(""), "is not a URL"),
        (Gateway("http://me:secret@one"), "belong into files"),
        (Gateway("http://me@one"), "belong into files"),
        (Gateway("https://one", cert_file="c"), "needs both, cert_file and key_file"),
        (Gateway("https://one", key_file="k"), "needs both, cert_file and key_file"),
        (Gateway("http://one", username="u"), "needs both, username and password_file"),
        (Gateway("http://one", password_file="p"), "needs both, username and password_file"),
        (Gateway("http://one", "", "", "", "u", "p", "t"), "not both"),
        (Gateway("file:x"), "is not a directory's URL"),
        (Gateway("file://x"), "is not a directory's URL"),
        (Gateway("file://host/x"), "is not a directory's URL"),
        (Gateway("file:///"), "is not a directory's URL"),
        (Gateway("file:///x?y"), "is not a directory's URL"),
        (Gateway("file:///x%00"), "is not a directory's URL"),
        (Gateway("file:///x", token_file="t"), "takes no credentials"),
        (Gateway("file:///x", ca_file="c"), "takes no credentials"),
    ],
)
def test_a_gateway_that_cannot_be_asked_is_refused(gateway, reason):
    with pytest.raises(ValueError, match=reason) as refusal:
        check_gateway(gateway)
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize(
    ("url", "directory"),
    [("file:///a%20b/c", "/a b/c"), ("file:///a/b/", "/a/b/"), ("http://one/below", "")],
)
def test_a_file_url_is_a_directory(url, directory):
    assert Gateway(url).directory == directory


def test_a_declaration_is_read_with_its_durations(write):
    content = {
        "name": "nightly",
        "owner": "ops",
        "severity": "critical",
        "kind": "backup",
        "on_calendar": "daily",
        "timezone": "UTC",
        "randomized_delay": "5min",
        "max_runtime": "2h",
        "grace": "1min",
        "max_age": "26h",
    }
    job = declared_job(write("jobs/nightly.json", content), "nightly")
    schedule = Schedule("daily", "UTC", 300, 7200, 60, 26 * 3600)
    assert job == Job("nightly", "ops", "critical", "backup", schedule)


def test_an_undeclared_job_has_the_defaults(tmp_path):
    assert declared_job(tmp_path, "x") == Job("x", "", "warning", "batch", Schedule(grace=1800))


def test_all_declared_jobs_are_found_by_name(write):
    write("jobs/b.json", {})
    write("jobs/a.json", {"max_age": "1h"})
    directory = write("jobs/README", "")
    assert list(declared_jobs(directory)) == ["a", "b"]


def test_no_directory_declares_no_jobs(tmp_path):
    assert declared_jobs(tmp_path / "missing") == {}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"name": "other"}, "it declares 'other'"),
        ({"severity": "page"}, "severity is one of info, warning, critical"),
        ({"grace": "soon"}, "grace: 'soon' is not a duration"),
        ({"max_runtime": 5}, "max_runtime is a text"),
        ({"max_age": "0h"}, "max_age: '0h' is not a duration"),
        ({"ownr": "ops"}, "ownr"),
        ({"on_calendar": 5}, "on_calendar"),
        ({"owner": ["ops"]}, "owner"),
    ],
)
def test_a_declaration_that_means_nothing_is_refused_by_its_path(write, content, reason):
    directory = write("jobs/nightly.json", content)
    with pytest.raises(ConfigError, match=rf"jobs/nightly\.json: .*{reason}"):
        declared_jobs(directory)


def test_a_file_whose_name_is_no_jobs_name_is_refused(write):
    with pytest.raises(ConfigError, match="is not a name"):
        declared_jobs(write("jobs/a b.json", {}))
