"""The module that installs a release: verified, whole, or not at all."""

import hashlib
import os
import platform
import subprocess

import pytest

from lab import archives
from release_archive import ARCHITECTURES

ARCHITECTURE = ARCHITECTURES[platform.machine()]
FOLDER = f"thing-1.0.linux-{ARCHITECTURE}"


@pytest.fixture
def mirror(tmp_path):
    """Make a mirror, a directory as an air-gapped host has it, with one release."""
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\necho it runs\n")
    archive = tmp_path / "mirror" / archives.archive_path("thing", "1.0", ARCHITECTURE)
    archives.pack(archive, {"thing": program})
    archives.write_checksums(archive.parent)
    return archive


@pytest.fixture
def install(run_module, mirror, tmp_path):
    module = run_module("release_archive")

    def run(**changes):
        arguments = {
            "name": "thing",
            "version": "1.0",
            "base_url": f"file://{tmp_path}/mirror/",
            "dest": str(tmp_path / "opt"),
        }
        return module(**{**arguments, **changes})

    return run


@pytest.fixture
def opt(tmp_path):
    return tmp_path / "opt"


def test_a_release_is_unpacked_and_runs(install, opt):
    done = install()
    assert done["changed"]
    assert done["directory"] == str(opt / FOLDER)
    assert subprocess.check_output([f"{done['directory']}/thing"]) == b"it runs\n"
    assert os.listdir(opt) == [FOLDER]


def test_what_is_installed_needs_no_mirror(install, mirror):
    install()
    mirror.unlink()
    assert install()["changed"] is False


def test_a_pinned_digest_stands_in_for_the_list(install, mirror):
    digest = hashlib.sha256(mirror.read_bytes()).hexdigest()
    assert install(checksum=f"sha256:{digest.upper()}")["changed"]


def test_a_pinned_digest_that_is_none_is_refused_in_check_mode_too(install):
    assert "'md5:1' is not sha256" in install(check=True, checksum="md5:1")["msg"]


def test_a_page_in_place_of_the_list_is_told(install, mirror):
    (mirror.parent / "sha256sums.txt").write_text("<html>please log in</html>\n")
    assert "does not list" in install()["msg"]


def test_a_list_that_names_other_archives_is_told(install, mirror):
    (mirror.parent / "sha256sums.txt").write_text("0" * 64 + "  other.tar.gz\n")
    assert f"does not list {FOLDER}.tar.gz" in install()["msg"]


def truncated(mirror):
    mirror.write_bytes(mirror.read_bytes()[:-20])


def one_byte(mirror):
    content = bytearray(mirror.read_bytes())
    content[-1] ^= 1
    mirror.write_bytes(content)


def absent(mirror):
    mirror.unlink()


def not_an_archive(mirror):
    mirror.write_text("<html>please log in</html>")
    archives.write_checksums(mirror.parent)


def another_folder(mirror):
    other = mirror.parent / "other-2.0.tar.gz"
    archives.pack(other, {"other": mirror})
    other.rename(mirror)
    archives.write_checksums(mirror.parent)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (truncated, "has the wrong checksum, nothing was installed"),
        (one_byte, "has the wrong checksum, nothing was installed"),
        (absent, "cannot download"),
        (not_an_archive, "cannot unpack"),
        (another_folder, "holds no folder " + FOLDER),
    ],
)
def test_a_damaged_release_is_told_and_leaves_nothing_behind(install, opt, mirror, damage, message):
    damage(mirror)
    done = install()
    assert done["failed"]
    assert message in done["msg"]
    assert os.listdir(opt) == []


def test_check_mode_tells_and_installs_nothing(install, opt):
    assert install(check=True)["changed"]
    assert not opt.exists()
