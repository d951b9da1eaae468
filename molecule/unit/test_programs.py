"""Where tests and benchmarks find the services' programs."""

import pytest

import programs
from lab import archives, mirror


@pytest.fixture
def directory(tmp_path, monkeypatch):
    """Return where the lab would unpack programs; PATH has another folder alone."""
    monkeypatch.setattr(programs, "DIRECTORY", tmp_path / "lab")
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    return tmp_path / "lab"


def executable(path):
    path.parent.mkdir(exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_a_program_of_the_lab_comes_before_the_one_on_path(directory):
    on_path = executable(directory.parent / "path" / "thing")
    assert programs.find("thing") == on_path
    executable(directory / "thing")
    assert programs.find("thing") == directory / "thing"


def test_a_missing_program_is_named_with_its_cure(directory):
    with pytest.raises(FileNotFoundError, match="no `thing`: `make lab` puts it into"):
        programs.find("thing")


def test_a_program_that_ends_at_once_is_no_wait(directory, monkeypatch):
    false = executable(directory / "pushgateway")
    false.write_text("#!/bin/sh\nexit 3\n")
    with pytest.raises(ChildProcessError, match="pushgateway ended with status 3"):
        programs.Pushgateway(directory, programs.free_port())


def test_the_newest_of_each_mirrored_program_is_unpacked(directory, tmp_path, monkeypatch):
    monkeypatch.setattr(mirror, "MIRROR", tmp_path / "releases")
    monkeypatch.setattr(mirror, "CACHE", tmp_path)
    monkeypatch.setattr(mirror, "RELEASES", {"tools": ("one", "two")})
    monkeypatch.setattr(mirror, "versions", lambda: {"tools": ["2.0", "1.0"]})
    for version in ("1.0", "2.0"):
        program = tmp_path / version
        program.write_text(version)
        archive = mirror.MIRROR / archives.archive_path("tools", version, "amd64")
        archives.pack(archive, {"one": program, "two": program})
    mirror.unpack_programs()
    assert [programs.find(name).read_text() for name in ("one", "two")] == ["2.0", "2.0"]
