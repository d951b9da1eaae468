"""What root sees of the jobs of other users, who may have put anything there."""

import json
import os
import pwd
import time

import pytest

from batch_job import metrics, users
from batch_job.gateway import Group
from batch_job.spool import Report, Spool
from batch_job.state import State
from batch_job.status import table

UID = os.geteuid() or 12345
NOW = 1_800_000_000.0
ENDED = {"started": NOW - 60, "ended": NOW, "result": "exit-code", "exit_code": 3}


class Home:
    """A user's home, and what root finds there."""

    def __init__(self, directory):
        self.path = directory / "alice"
        self.state = self.path.joinpath(*users.DIRECTORY)
        (self.state / "jobs").mkdir(parents=True)
        self.user = pwd.struct_passwd(["alice", "x", UID, UID, "", str(self.path), "/bin/sh"])
        self.messages = []

    def write(self, content, name="nightly.json", folder="jobs"):
        (self.state / folder).mkdir(exist_ok=True)
        (self.state / folder / name).write_text(content)

    def jobs(self, **options):
        if os.geteuid() == 0:
            os.chown(self.state, UID, UID)
        return users.jobs([self.user], self.messages.append, **options)


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


def test_what_a_reporter_remembers_and_keeps_is_found(home):
    State(home.state).update("nightly", **ENDED, schedule=[1])
    report = Report(Group("hourly", ""), metrics.check_own("x 1\n").families, True, NOW)
    Spool(home.state).keep("http://one", report)
    assert home.jobs() == [("alice", "hourly", {}, 1), ("alice", "nightly", ENDED, 0)]
    assert home.messages == []


def test_a_user_without_jobs_is_not_named(home, tmp_path):
    home.state.rename(tmp_path / "away")
    assert users.jobs([home.user], home.messages.append) == []
    assert home.messages == []


@pytest.mark.parametrize("part", [".local", ".local/state", ".local/state/batch-job"])
def test_a_link_in_a_home_is_named_and_not_followed(home, tmp_path, part):
    home.write(json.dumps(ENDED))
    (home.path / part).rename(tmp_path / "away")
    (home.path / part).symlink_to(tmp_path / "away")
    assert home.jobs() == []
    name = os.path.basename(part)
    assert home.messages == [f"{home.state}: {name} is a link, which is not followed"]


def test_a_file_that_is_a_link_or_waits_for_a_writer_is_left_alone(home, tmp_path):
    (tmp_path / "foreign.json").write_text(json.dumps(ENDED))
    (home.state / "jobs/nightly.json").symlink_to(tmp_path / "foreign.json")
    os.mkfifo(home.state / "jobs/hourly.json")
    began = time.monotonic()
    assert home.jobs() == []
    assert time.monotonic() - began < 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory to somebody else")
def test_a_directory_of_somebody_else_is_left_alone(home):
    home.write(json.dumps(ENDED))
    assert len(home.jobs()) == 1
    os.chown(home.state, 0, 0)
    assert users.jobs([home.user], home.messages.append) == []


@pytest.mark.parametrize(
    ("content", "memory"),
    [
        ("[", None),
        ("[1]", None),
        ("[" * 100_000, None),
        ('"' + "x" * users.MAX_FILE_BYTES + '"', None),
        ('{"started": "x", "ended": [], "deadline": 1e999}', {}),
        ('{"started": -1, "ended": NaN, "deadline": 1e17}', {}),
        ('{"result": "\\u001b[2J", "exit_code": 0}', {}),
        ('{"result": "success", "exit_code": "\\u001b[2J"}', {}),
        ('{"result": ["success"], "exit_code": 0, "started": 5}', {"started": 5}),
        ('{"output": "\\u001b[2Jpassword=x"}', {"output": "password=***"}),
        ('{"output": ["x"]}', {}),
    ],
)
def test_what_no_reporter_writes_is_not_shown(home, content, memory):
    home.write(content)
    home.write("{}", "other.json")
    other = ("alice", "other", {}, 0)
    assert home.jobs() == ([other] if memory is None else [("alice", "nightly", memory, 0), other])
    table({}, State(home.path), [], NOW, home.jobs())


def test_a_name_that_no_job_has_is_not_shown(home):
    home.write("{}", "\x1b[2J.json")
    home.write('{"job": "a b"}', "x.json", "spool")
    home.write('{"job": {"a": 1}}', "y.json", "spool")
    assert home.jobs() == []


def test_the_number_of_files_and_of_users_is_limited(home, monkeypatch):
    monkeypatch.setattr(users, "MAX_FILES", 2)
    for number in range(4):
        home.write("{}", f"{number}.json")
    assert len(home.jobs()) == 2
    monkeypatch.setattr(users, "MAX_USERS", 0)
    assert home.jobs() == []
    assert home.messages == ["of 1 users, the first 0 were searched for jobs"]


def test_a_home_that_does_not_answer_is_waited_for_no_longer_than_the_limit(home, monkeypatch):
    monkeypatch.setattr(users, "_jobs_of", lambda _user, _log: time.sleep(5) or [])
    began = time.monotonic()
    assert home.jobs(timeout_seconds=0.2) == []
    assert time.monotonic() - began < 2
    assert home.messages == ["reading the homes of other users took more than 0.2 s"]


def test_root_is_no_other_user(home):
    home.user = pwd.struct_passwd(["root", "x", 0, 0, "", str(home.path), "/bin/sh"])
    home.write(json.dumps(ENDED))
    assert users.jobs([home.user], home.messages.append) == []


def test_the_table_names_the_user_of_each_job(home):
    home.write(json.dumps(ENDED))
    state = State(home.path)
    state.update("backup", started=NOW)
    rows = table(dict.fromkeys(["nightly", "backup"]), state, [], NOW, home.jobs()).splitlines()
    assert [(row.split()[0], row.split()[-1]) for row in rows] == [
        ("JOB", "USER"),
        ("backup", "root"),
        ("nightly", "alice"),
    ]
    assert "exit-code (3)" in rows[2]
