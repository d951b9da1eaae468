"""The module that replaces a directory of configuration only when a program accepts all of it."""

import os
import subprocess
import sys

import pytest


@pytest.fixture
def configure(run_module, tmp_path):
    module = run_module("config_directory")

    def run(**arguments):
        return module(path=str(tmp_path / "etc"), **arguments)

    return run


@pytest.fixture
def etc(tmp_path):
    return tmp_path / "etc"


def modes(etc):
    return {path.name: oct(path.stat().st_mode & 0o777) for path in [etc, *etc.rglob("*")]}


REFUSE_BAD = [["true"], ["sh", "-c", "! grep -r bad %s"]]


def test_files_are_written_once_with_their_directories(configure, etc):
    files = {"main.yml": "a\n", "rules/one.yml": "b\n"}
    assert configure(files=files)["changed"]
    assert (etc / "rules/one.yml").read_text() == "b\n"
    assert modes(etc) == {"etc": "0o750", "main.yml": "0o640", "rules": "0o750", "one.yml": "0o640"}
    again = configure(files=files)
    assert (again["changed"], again["changed_files"]) == (False, [])


def test_other_modes_make_directories_that_can_be_searched(configure, etc):
    configure(files={"units/x.service": "a\n"}, mode="0644")
    assert modes(etc) == {"etc": "0o755", "units": "0o755", "x.service": "0o644"}


def test_a_folder_that_a_pattern_stands_for_goes_with_its_last_file(configure, etc):
    (etc / "b.d").mkdir(parents=True)
    (etc / "b.d/theirs").write_text("x")
    files = {"a.d/ours": "1", "b.d/ours": "2", "rules/ours": "3"}
    purge = ["*.d/ours", "rules/*"]
    configure(files=files, purge=purge)
    removed = configure(purge=purge)
    assert removed["changed_files"] == sorted(files)
    assert sorted(path.name for path in etc.rglob("*")) == ["b.d", "rules", "theirs"]
    assert not configure(purge=purge)["changed"]


def test_a_mode_that_somebody_changed_is_put_back(configure, etc):
    configure(files={"main.yml": "a\n"})
    (etc / "main.yml").chmod(0o666)
    assert configure(files={"main.yml": "a\n"})["changed"]
    assert modes(etc)["main.yml"] == "0o640"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to any group")
def test_another_group_gets_the_directories_too(configure, etc):
    arguments = {"files": {"jobs/a.json": "{}\n"}, "directories": ["empty"]}
    configure(**arguments)
    assert configure(**arguments, group="daemon")["changed"]
    assert {path.group() for path in [etc, *etc.rglob("*")]} == {"daemon"}
    assert not configure(**arguments, group="daemon")["changed"]


@pytest.mark.parametrize("check", [False, True])
def test_what_the_program_refuses_changes_nothing(configure, etc, check):
    configure(files={"main.yml": "good\n", "old.yml": "good\n"})
    refused = configure(
        check=check,
        files={"main.yml": "better\n", "rules/new.yml": "bad\n"},
        purge=["old.yml"],
        validate=REFUSE_BAD,
    )
    assert refused["failed"]
    assert "refuses it, nothing was changed" in refused["msg"]
    assert f"{etc}/rules/new.yml:bad" in refused["msg"]
    assert (etc / "main.yml").read_text() == "good\n"
    assert sorted(path.name for path in etc.iterdir()) == ["main.yml", "old.yml"]


def test_what_others_put_there_is_checked_too(configure, etc):
    configure(files={"main.yml": "good\n"})
    (etc / "theirs.yml").write_text("bad\n")
    assert configure(files={"main.yml": "good\n"}, validate=REFUSE_BAD)["failed"]


def test_check_mode_shows_the_change_and_makes_none(configure, etc):
    configure(files={"main.yml": "old\n", "gone.yml": "x\n"})
    shown = configure(check=True, files={"main.yml": "new\n"}, purge=["*.yml"])
    assert shown["changed_files"] == ["gone.yml", "main.yml"]
    assert [(each["before"], each["after"]) for each in shown["diff"]] == [
        ("old\n", "new\n"),
        ("(old content, not shown)\n", ""),
    ]
    assert (etc / "main.yml").read_text() == "old\n"
    assert (etc / "gone.yml").exists()


def test_check_mode_leaves_out_a_program_that_is_not_installed_yet(configure, etc):
    missing = [["/does/not/exist", "%s"]]
    assert configure(check=True, files={"main.yml": "a\n"}, validate=missing)["changed"]
    assert configure(files={"main.yml": "a\n"}, validate=missing)["failed"]
    assert not etc.exists()


def test_a_server_on_trial_passes_once_it_answers(configure):
    server = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "%p"]
    assert configure(files={"main.yml": "a\n"}, validate=[server])["changed"]


LISTEN_AND_GIVE_UP = """
import socket, sys, time
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
time.sleep(0.7)
sys.exit("no such key")
"""


def test_a_server_on_trial_is_refused_when_it_gives_up_after_it_began_to_listen(configure, etc):
    done = configure(
        files={"main.yml": "a\n"}, validate=[[sys.executable, "-c", LISTEN_AND_GIVE_UP, "%p"]]
    )
    assert "refuses it, nothing was changed: no such key" in done["msg"]
    assert not etc.exists()


def test_a_group_that_is_not_there_is_an_error_unless_it_may_come_yet(configure, etc):
    arguments = {"files": {"main.yml": "a\n"}, "group": "nobody-of-that-name"}
    assert "there is no group 'nobody-of-that-name'" in configure(**arguments)["msg"]
    assert not etc.exists()
    assert configure(check=True, **arguments)["changed"]


def test_only_what_matches_a_pattern_is_purged(configure, etc):
    configure(files={"main.yml": "a\n", "rules/one.yml": "b\n", "rules/two.yml": "c\n"})
    done = configure(files={"rules/one.yml": "b\n"}, purge=["rules/*"])
    assert done["changed_files"] == ["rules/two.yml"]
    assert (etc / "main.yml").exists()
    assert not (etc / "rules/two.yml").exists()


def test_a_change_is_reported_until_the_handler_says_that_it_was_read(configure, etc):
    pending = etc / "pending"
    arguments = {"files": {"main.yml": "a\n"}, "pending": str(pending)}
    assert configure(check=True, **arguments)["changed"]
    assert not pending.exists()
    assert configure(**arguments)["changed"]
    assert configure(**arguments)["changed"]
    pending.unlink()
    assert not configure(**arguments)["changed"]
    assert not pending.exists()


def test_what_is_refused_leaves_nothing_to_be_read(configure, etc):
    etc.mkdir()
    refused = {"files": {"main.yml": "a\n"}, "validate": [["false"]]}
    assert configure(**refused, pending=str(etc / "pending"))["failed"]
    assert not (etc / "pending").exists()


def test_a_secret_is_written_and_never_shown(configure, etc):
    done = configure(secret_files={"token": "s3cr3t-value\n"})
    assert (etc / "token").read_text() == "s3cr3t-value\n"
    assert "s3cr3t-value" not in str(done)
    assert done["diff"][0]["after"] == "(new content, not shown)\n"


def test_a_secret_among_the_settings_is_not_shown(configure):
    text = "global:\n  smtp_auth_password: hunter2\nurls:\n- api_url: https://x/T0P\n  to: me\n"
    text += "[smtp]\npassword = hunter2\nhost = mail\n"
    shown = configure(check=True, files={"main.yml": text})["diff"][0]["after"]
    assert "hunter2" not in shown
    assert "T0P" not in shown
    assert "to: me" in shown
    assert "host = mail" in shown


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("validate", [[["true"]], [["false"]]])
def test_what_a_link_points_to_is_never_written(configure, etc, tmp_path, check, validate):
    for name in ("real", "real_rules"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file.yml").write_text("original\n")
    etc.mkdir()
    (etc / "main.yml").symlink_to(tmp_path / "real/file.yml")
    (etc / "rules").symlink_to(tmp_path / "real_rules")
    configure(check=check, files={"main.yml": "new\n", "x.yml": "x\n"}, validate=validate)
    configure(check=True, files={"rules/file.yml": "new\n"}, validate=validate)
    assert (tmp_path / "real/file.yml").read_text() == "original\n"
    assert (tmp_path / "real_rules/file.yml").read_text() == "original\n"


@pytest.mark.parametrize("name", ["../elsewhere", "/etc/elsewhere", "a/../../b", ""])
def test_nothing_is_written_outside_the_directory(configure, tmp_path, name):
    assert "not below" in configure(files={name: "x"})["msg"]
    assert os.listdir(tmp_path) == []


@pytest.fixture
def small_disk(etc):
    """Put the directory on a file system of 64 KiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    etc.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(etc)], check=True)
    yield
    subprocess.run(["umount", str(etc)], check=True)


def test_a_full_disk_leaves_every_file_as_it_was(small_disk, configure, etc):
    configure(files={"main.yml": "old\n"})
    done = configure(files={"main.yml": "new\n", "rules.yml": "x" * 100_000})
    assert "No space left on device" in done["msg"]
    assert (etc / "main.yml").read_text() == "old\n"
    assert os.listdir(etc) == ["main.yml"]


def test_a_secret_file_that_is_no_longer_given_is_removed(configure, etc):
    configure(secret_files={"secrets/old": "a\n", "secrets/kept": "b\n"})
    (etc / "secrets/of-somebody-else").write_text("c\n")
    changed = configure(secret_files={"secrets/kept": "b\n"})["changed_files"]
    assert {path.name for path in (etc / "secrets").iterdir()} == {"kept", "of-somebody-else"}
    assert changed == [".secret-files", "secrets/old"]
    assert not configure(secret_files={"secrets/kept": "b\n"})["changed"]


def test_the_last_secret_file_leaves_no_list_behind(configure, etc):
    configure(files={"main.yml": "a\n"}, secret_files={"password": "a\n"})
    configure(files={"main.yml": "a\n"})
    assert [path.name for path in etc.iterdir()] == ["main.yml"]


def test_a_secret_that_becomes_an_open_file_stays(configure, etc):
    configure(secret_files={"ca.crt": "a\n", "password": "b\n"})
    configure(files={"ca.crt": "a\n"}, secret_files={"password": "b\n"})
    assert (etc / "ca.crt").read_text() == "a\n"
