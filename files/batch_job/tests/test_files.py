"""Files of other users, who may have prepared them for a reporter that is root."""

import signal
import subprocess
import sys

import pytest

from batch_job import files

LEASE = """
import fcntl, signal, sys
signal.signal(signal.SIGIO, signal.SIG_IGN)
file = open(sys.argv[1], "r+")
fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print("leased", flush=True)
sys.stdin.read()
"""


def test_a_leased_file_does_not_block(tmp_path):
    path = tmp_path / "leased"
    path.write_text("x 1\n")
    command = [sys.executable, "-c", LEASE, path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"leased\n"
        signal.alarm(5)
        with pytest.raises(OSError, match="leased: Resource temporarily unavailable"):
            files.read(path, 10)
        signal.alarm(0)
        other.communicate()
    assert files.read(path, 2) == b"x "


def test_a_write_that_fails_leaves_nothing_behind(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="Is a directory"):
        files.write(tmp_path / "taken", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
