"""Units and declarations out of jobs, and the reporter in one file."""

import json
import subprocess
import sys
import zipfile

import pytest
from ansible.errors import AnsibleFilterError
from reporter_sources import sources
from units import (
    calendar_expressions,
    credentials,
    declaration_files,
    directories,
    enabled_jobs,
    marked_files,
    scheduled_jobs,
    systemd_command,
    unit_options,
    with_defaults,
)


@pytest.mark.parametrize(
    ("argv", "command"),
    [
        (["/bin/true"], '"/bin/true"'),
        (["sh", "-c", "one\ntwo"], '"sh" "-c" "one\\ntwo"'),
        (["sh", "-c", "echo $HOME 50%"], '"sh" "-c" "echo $$HOME 50%%"'),
        (["a", 'say "hi"', "back\\slash"], '"a" "say \\"hi\\"" "back\\\\slash"'),
        (["a", "one\r\ntwo\t\x1b"], '"a" "one\\x0d\\ntwo\\x09\\x1b"'),
        (["a", "{{.Names}}", "${#files[@]}"], '"a" "{{.Names}}" "$${#files[@]}"'),
    ],
)
def test_a_command_is_quoted_so_that_systemd_changes_nothing(argv, command):
    assert systemd_command(argv) == command


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("tar --create", "not a list"),
        ([], "not a list"),
        (["-/bin/true"], "systemd reads its first letter"),
        ([""], "systemd reads its first letter"),
        (["chmod", 420], "command, word 2: YAML reads it as 420; put quotes around it"),
        (["a", "\0"], "command, word 2: no program can be given a NUL character"),
    ],
)
def test_what_is_no_command_is_refused(argv, message):
    with pytest.raises(AnsibleFilterError, match=message):
        systemd_command(argv)


def test_an_environment_is_given_to_the_command_alone():
    assert systemd_command(["x"], {"A": "b c"}) == '"/usr/bin/env" "--" "A=b c" "x"'
    assert systemd_command(["x"], {}) == '"x"'


def test_options_become_lines_and_a_list_repeats_its_option():
    options = {"Nice": 10, "PrivateTmp": False, "ReadWritePaths": ["/srv", "/mnt"]}
    assert unit_options(options) == [
        "Nice=10",
        "PrivateTmp=false",
        "ReadWritePaths=/srv",
        "ReadWritePaths=/mnt",
    ]


@pytest.mark.parametrize(
    "options", [{"UMask": 63}, {"RuntimeDirectoryMode": 493}, {"Nice": None}, {"Nice": [None]}]
)
def test_an_option_that_yaml_changed_is_refused(options):
    with pytest.raises(AnsibleFilterError, match=r"unit_options, .*put quotes around it"):
        unit_options(options)


@pytest.mark.parametrize("options", [{"nice": 1}, {"Nice=1\nUser": 2}, {"Nice": "1\nUser=root"}])
def test_an_option_cannot_become_another_line(options):
    with pytest.raises(AnsibleFilterError):
        unit_options(options)


def test_a_credential_is_a_file_below_the_configuration_or_elsewhere():
    files = {"token": "token", "key": "/root/50%.key"}
    assert credentials(files) == ["token:/etc/batch-job/token", "key:/root/50%%.key"]


GATEWAYS = [{"url": "https://one"}, {"url": "file:///a%20b/50%25"}, {"url": "http://file:1"}]


def test_a_unit_may_write_to_the_directories_among_the_gateways():
    assert directories(GATEWAYS) == ['"-/a b/50%%"']


def test_a_directory_is_given_no_credentials():
    found = with_defaults([*GATEWAYS, {"url": "http://x", "ca_file": "its"}], {"ca_file": "ca"})
    assert [each.get("ca_file") for each in found] == ["ca", None, "ca", "its"]


def test_a_marked_text_is_split_into_its_files():
    text = "\n=====> a.service\n[Unit]\n\n=====> b.timer\n[Timer]\n"
    assert marked_files(text) == {"a.service": "[Unit]\n\n", "b.timer": "[Timer]\n"}


def test_the_reporter_is_told_what_was_declared_and_no_more():
    job = {"name": "a", "command": ["true"], "grace": "1h", "timezone": None}
    assert json.loads(declaration_files([job])["jobs/a.json"]) == {"name": "a", "grace": "1h"}


def test_the_expressions_of_a_list_become_one_text():
    (content,) = declaration_files([{"name": "a", "on_calendar": ["daily", "Sat 9:00"]}]).values()
    assert json.loads(content)["on_calendar"] == "daily; Sat 9:00"


@pytest.mark.parametrize("text", [" daily\t", ["daily "]])
def test_space_around_an_expression_is_no_part_of_it(text):
    assert calendar_expressions(text) == ["daily"]
    (content,) = declaration_files([{"name": "a", "on_calendar": text}]).values()
    assert json.loads(content)["on_calendar"] == "daily"


@pytest.mark.parametrize(("enabled", "is_kept"), [(True, True), ("yes", True), ("no", False)])
def test_a_job_that_is_switched_off_is_left_out(enabled, is_kept):
    assert bool(enabled_jobs([{"name": "a", "enabled": enabled}])) is is_kept


@pytest.mark.parametrize(
    ("keys", "is_scheduled"),
    [
        ({"on_calendar": "daily"}, True),
        ({"every": "6h"}, True),
        ({"on_boot": "15min"}, True),
        ({"every": None, "max_age": "6h"}, False),
        ({"every": "6h", "command": None}, False),
        ({"every": "6h", "enabled": False}, False),
    ],
)
def test_a_timer_starts_a_job_with_a_command_and_a_schedule(keys, is_scheduled):
    assert bool(scheduled_jobs([{"name": "a", "command": ["true"], **keys}])) is is_scheduled


@pytest.fixture
def zipapp(run_module, tmp_path):
    """Return a function that builds the reporter into one file, and the file."""
    path = tmp_path / "batch-job"
    module = run_module("python_zipapp")

    def build(check=False, **changes):
        return module(check=check, path=str(path), sources={**sources(), **changes})

    return build, path


def test_the_reporter_runs_from_one_file_without_its_library_installed(zipapp):
    build, path = zipapp
    assert build()["changed"]
    help_text = subprocess.run(
        [sys.executable, "-IS", str(path), "--help"], capture_output=True, text=True, check=True
    )
    assert "Reports runs of batch jobs" in help_text.stdout
    assert path.stat().st_mode & 0o777 == 0o755


def test_building_the_same_sources_again_changes_nothing(zipapp):
    build, path = zipapp
    build()
    before = path.read_bytes()
    assert not build()["changed"]
    assert path.read_bytes() == before


def test_one_changed_source_is_named(zipapp):
    build, _path = zipapp
    build()
    assert build(**{"batch_job/names.py": "X = 1\n"})["changed_files"] == ["batch_job/names.py"]


def test_check_mode_builds_nothing(zipapp):
    build, path = zipapp
    assert build(check=True)["changed"]
    assert not path.exists()


@pytest.mark.parametrize("check", [False, True])
def test_users_and_groups_that_the_host_lacks_are_named_before_anything_changes(run_module, check):
    module = run_module("python_zipapp")
    done = module(check, path="/nowhere/x", sources={}, users=["root", "u1", "u2"], groups=["g1"])
    assert done["msg"].startswith("there is no user 'u1', no user 'u2', no group 'g1' here")


def test_a_source_with_a_syntax_error_leaves_what_was_there(zipapp):
    build, path = zipapp
    build()
    before = path.read_bytes()
    assert "building" in build(**{"batch_job/names.py": "def"})["msg"]
    assert path.read_bytes() == before


def test_another_pythons_compiled_files_are_built_anew(zipapp):
    build, path = zipapp
    build()
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {**entries, "compiled_by": b"another\n"}.items():
            archive.writestr(name, content)
    path.chmod(0o755)
    assert build()["changed_files"] == ["compiled_by"]


def test_a_damaged_file_is_built_anew(zipapp):
    build, path = zipapp
    build()
    path.write_bytes(path.read_bytes()[:1000])
    assert build()["changed"]
    assert not build()["changed"]
