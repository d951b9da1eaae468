#!/usr/bin/python
"""Ansible module: a directory of configuration files that a program accepts as a whole."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: config_directory
short_description: Put configuration files in place once a program accepts all of them
description:
  - Writes a set of files below one directory in one call, with subdirectories as needed.
  - A copy of the directory is changed first and shown to the programs in O(validate). If one
    of them refuses it, nothing is changed. This holds in check mode, too.
  - Each file is replaced atomically, and only after all of them have been written beside
    their targets, so that a full disk changes nothing.
options:
  path:
    description: The directory. Created if missing, like directories below it, with the mode of
      its files plus the right to search.
    type: path
    required: true
  files:
    description: Content of each file, by its path relative to O(path).
    type: dict
    default: {}
  secret_files:
    description:
      - Like O(files), but their content appears in no diff and no log.
      - Their names are kept in C(.secret-files) below O(path). One that is no longer given is
        removed, unless somebody else put it there.
    type: dict
    default: {}
  purge:
    description: Patterns, relative to O(path), of files to remove unless they are given above; with
      their directories, if those are empty then and the pattern has a C(*) for them.
    type: list
    elements: str
    default: []
  directories:
    description: Directories, relative to O(path), that must exist even when they are empty.
    type: list
    elements: str
    default: []
  mode:
    description: Mode of the files.
    type: str
    default: "0640"
  group:
    description:
      - Group that may read the files and search their directories; root's if it does not exist
        yet (check mode). The files are those of the user who runs this, as is the group unless it
        is given.
    type: str
  pending:
    description:
      - A file that is created before the first change. While it is there, the module reports a
        change. The handler that makes the program read the files removes it, so that a rollout
        which was interrupted before the handler ran is caught up with by the next one.
    type: path
  validate:
    description:
      - Commands, each a list of arguments, in which C(%s) stands for the directory to check.
      - A command passes with status 0.
      - A command in which C(%p) appears, which stands for a free port, is a server on trial. It
        passes as soon as it answers HTTP on that port of 127.0.0.1, be it with a refusal, and is
        ended then. If it ends on its own, it is refused.
      - In check mode a command whose program is not installed yet is left out.
    type: list
    elements: list
    default: []
author: The maintainers of this repository
"""

EXAMPLES = r"""
- name: Configure Prometheus
  config_directory:
    path: /etc/prometheus
    files:
      prometheus.yml: "{{ lookup('template', 'prometheus.yml.j2') }}"
      rules/batch_jobs.rules.yml: "{{ lookup('file', 'batch_jobs.rules.yml') }}"
    purge: ["rules/*"]
    group: prometheus
    pending: /etc/prometheus/.reload-pending
    validate:
      - [/opt/prometheus/promtool, check, config, "%s/prometheus.yml"]
"""

RETURN = r"""
changed_files:
  description: Files written or removed, relative to the directory.
  type: list
  elements: str
  returned: always
"""

import grp
import os
import re
import shutil
import socket
import stat
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ansible.module_utils.basic import AnsibleModule

# Lists the secret files that the last call wrote.
NAMES_FILE = ".secret-files"

# Of root, on a host with systemd.
MEMORY = "/run"

# Servers on trial need a fraction of a second.
TRIAL_TIMEOUT_SECONDS = 30

PARALLEL_WRITES = 8

# Keys of YAML and INI files whose values are secrets; `..._file` only names one.
SECRET_VALUE = re.compile(
    r"^([ -]*\w*(?:password|secret|token|credentials|api_url|(?:api|routing|secret|service)_key)"
    r"(?::| =)).+$",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Access:
    """Who may read the files: mode of a file and of a directory, number of the group."""

    file_mode: int
    directory_mode: int
    gid: int

    def fits(self, path: Path) -> bool:
        """Return whether a file has the mode, this user and the group."""
        status = path.stat()
        owners = (status.st_uid, status.st_gid)
        return stat.S_IMODE(status.st_mode) == self.file_mode and owners == (os.geteuid(), self.gid)

    def give(self, path: Path) -> None:
        """Give a path to this user and the group, with the mode."""
        os.chown(path, os.geteuid(), self.gid)
        path.chmod(self.directory_mode if path.is_dir() else self.file_mode)


@dataclass(frozen=True)
class Plan:
    """What the directory shall hold, and what has to change for that."""

    directory: Path
    access: Access
    wanted: dict[str, str]
    # Content of every file that is wanted or removed, None where there is none.
    old: dict[str, str | None]
    written: dict[str, str]
    removed: list[str]
    # Files with another owner or mode, directories of another group.
    misfits: list[Path]
    # Of files that are removed, if patterns stand for the folders.
    removable_folders: set[Path]
    missing_folders: list[Path]

    @property
    def changed_files(self) -> list[str]:
        """Return the names of files that are written or removed."""
        return [*self.written, *self.removed]

    @property
    def is_needed(self) -> bool:
        """Return whether anything has to change."""
        return bool(self.changed_files or self.misfits or self.missing_folders)


def access(module: AnsibleModule) -> Access:
    """Return who may read the files; ends the module when the group does not exist."""
    mode = int(module.params["mode"], base=8)
    # Who may read the files may search their directories.
    directory_mode = mode | (mode & 0o444) >> 2
    group = module.params["group"]
    try:
        gid = grp.getgrnam(group).gr_gid if group else os.getegid()
    except KeyError:
        if not module.check_mode:
            module.fail_json(msg=f"there is no group {group!r} on this host")
        gid = 0
    return Access(mode, directory_mode, gid)


def is_inside(name: str) -> bool:
    """Return whether a relative path stays below its directory."""
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts


def read(path: Path) -> str | None:
    """Return a file's text, or None when there is no such file."""
    return path.read_bytes().decode("utf-8", "surrogateescape") if path.is_file() else None


def encoded(content: str) -> bytes:
    """Return a text as `read` got it from a file, whatever bytes those were."""
    return content.encode("utf-8", "surrogateescape")


def compare(module: AnsibleModule) -> Plan:
    """Compare the directory with the parameters; ends the module for a path outside of it."""
    directory = Path(module.params["path"])
    secrets = module.params["secret_files"]
    given = {**module.params["files"], **secrets}
    if secrets:
        given[NAMES_FILE] = "".join(f"{name}\n" for name in sorted(secrets))
    wanted = {name: str(text) for name, text in given.items()}
    outside = sorted(name for name in wanted if not is_inside(name))
    if outside:
        module.fail_json(msg=f"not below {directory}: {', '.join(outside)}")
    purged = {
        str(path.relative_to(directory))
        for pattern in module.params["purge"]
        for path in directory.glob(pattern)
        if path.is_file()
    }
    former = (read(directory / NAMES_FILE) or "").splitlines()
    if former and not secrets:
        purged.add(NAMES_FILE)
    purged |= {name for name in former if is_inside(name) and (directory / name).is_file()}
    removed = sorted(purged - set(wanted))
    parents = {directory / parent for name in wanted for parent in PurePosixPath(name).parents}
    extra = {directory / name for name in module.params["directories"]}
    readers = access(module)
    paths = [directory / name for name in wanted]
    folders = sorted({directory} | parents | extra)
    # Without a group, a directory of another program's keeps its own.
    strangers = [
        folder
        for folder in folders
        if module.params["group"] and folder.is_dir() and folder.stat().st_gid != readers.gid
    ]
    old = {name: read(directory / name) for name in [*wanted, *removed]}
    return Plan(
        directory=directory,
        access=readers,
        wanted=wanted,
        old=old,
        written={name: text for name, text in wanted.items() if old[name] != text},
        removed=removed,
        misfits=[path for path in paths if path.exists() and not readers.fits(path)] + strangers,
        removable_folders={
            path.parent
            for pattern in module.params["purge"]
            if "*" in str(PurePosixPath(pattern).parent)
            for path in directory.glob(pattern)
        }
        - set(folders),
        missing_folders=[folder for folder in folders if not folder.is_dir()],
    )


def stage(plan: Plan, copy: Path) -> None:
    """Make `copy` what the directory will be."""
    if plan.directory.is_dir():
        # Contents, not links: what is written to the copy must not reach what a link points to.
        shutil.copytree(plan.directory, copy, ignore_dangling_symlinks=True, dirs_exist_ok=True)
    for name in plan.removed:
        (copy / name).unlink()
    for name, content in plan.wanted.items():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes(encoded(content))


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    """Return whether a server answers an HTTP request.

    That it listens is not enough: servers read their web configuration after that.
    """
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return bool(connection.recv(1))
    except OSError:
        return False


def try_out(argv: list[str], port: int) -> str | None:
    """Start a server, end it once it answers; return its output if it ended before that."""
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            deadline = time.monotonic() + TRIAL_TIMEOUT_SECONDS
            while server.poll() is None and time.monotonic() < deadline:
                if answers(port):
                    return None
                time.sleep(0.02)
        finally:
            server.kill()
            server.wait()
        log.seek(0)
        output = log.read().decode("utf-8", "replace")
        return output or f"it did not answer within {TRIAL_TIMEOUT_SECONDS} s, and printed nothing"


def refusal(module: AnsibleModule, command: list[str], copy: str) -> str | None:
    """Return why a command refuses the copy of the directory, None when it passes."""
    port = free_port()
    argv = [word.replace("%s", copy).replace("%p", str(port)) for word in command]
    if any("%p" in word for word in command):
        return try_out(argv, port)
    status, output, error = module.run_command(argv)
    return output + error if status else None


def validate(module: AnsibleModule, plan: Plan) -> None:
    """Show a copy of the directory to each program; ends the module when one refuses it."""
    if not module.params["validate"]:
        return
    # In memory if possible: faster for hundreds of files, and secrets do not reach the disk.
    folder = MEMORY if os.access(MEMORY, os.W_OK) else module.tmpdir
    with tempfile.TemporaryDirectory(dir=folder) as copy:
        stage(plan, Path(copy))
        for command in module.params["validate"]:
            if module.check_mode and shutil.which(command[0]) is None:
                continue
            reason = refusal(module, command, copy)
            if reason is not None:
                reason = reason.replace(copy, str(plan.directory)).strip()
                program = os.path.basename(command[0])
                module.fail_json(msg=f"{program} refuses it, nothing was changed: {reason}")


def printable(content: str | None, is_secret: bool, age: str) -> str:
    """Return what a diff may show of a file's old or new content."""
    if content is None:
        return ""
    if is_secret:
        return f"({age} content, not shown)\n"
    return SECRET_VALUE.sub(r"\1 (not shown)", content)


def diff(plan: Plan, secret_names: set[str]) -> list[dict[str, str]]:
    """Return what Ansible shows with --diff."""
    return [
        {
            "before_header": str(plan.directory / name),
            "after_header": str(plan.directory / name),
            # A removed file may have been a secret, too.
            "before": printable(plan.old[name], name in {*secret_names, *plan.removed}, "old"),
            "after": printable(plan.written.get(name), name in secret_names, "new"),
        }
        for name in plan.changed_files
    ]


def replace_all(plan: Plan) -> None:
    """Write every file beside its target, then move all of them into place."""
    temporaries: list[tuple[Path, Path]] = []

    def write(name: str) -> None:
        target = plan.directory / name
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=".new-")
        temporaries.append((Path(temporary), target))
        with os.fdopen(handle, "wb") as file:
            file.write(encoded(plan.written[name]))
            file.flush()
            os.fsync(handle)
        plan.access.give(Path(temporary))

    try:
        # A disk takes a quarter of the time for files that are made durable together.
        with ThreadPoolExecutor(PARALLEL_WRITES) as pool:
            list(pool.map(write, plan.written))
    except OSError:
        for path, _target in temporaries:
            path.unlink()
        raise
    for path, target in temporaries:
        path.replace(target)


def carry_out(plan: Plan, pending: Path | None) -> None:
    """Make the directory what was planned. Raises OSError."""
    for folder in plan.missing_folders:
        folder.mkdir(parents=True, exist_ok=True)
        plan.access.give(folder)
    if pending and plan.is_needed:
        pending.touch(mode=0o640)
    replace_all(plan)
    for name in plan.removed:
        (plan.directory / name).unlink()
        folder = (plan.directory / name).parent
        if folder in plan.removable_folders and not any(folder.iterdir()):
            folder.rmdir()
    for path in plan.misfits:
        plan.access.give(path)


def main() -> None:
    """Read, compare, validate, stop in check mode, write."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "files": {"type": "dict", "default": {}},
            "secret_files": {"type": "dict", "default": {}, "no_log": True},
            "purge": {"type": "list", "elements": "str", "default": []},
            "directories": {"type": "list", "elements": "str", "default": []},
            "mode": {"type": "str", "default": "0640"},
            "group": {"type": "str"},
            "pending": {"type": "path"},
            "validate": {"type": "list", "elements": "list", "default": []},
        },
        supports_check_mode=True,
    )
    plan = compare(module)
    validate(module, plan)
    pending = Path(module.params["pending"]) if module.params["pending"] else None
    result = {
        "changed": plan.is_needed or bool(pending and pending.exists()),
        "changed_files": sorted(plan.changed_files),
    }
    # The diff of hundreds of files takes a third of a second.
    if module._diff:
        result["diff"] = diff(plan, set(module.params["secret_files"]))
    if not module.check_mode:
        try:
            carry_out(plan, pending)
        except OSError as error:
            module.fail_json(msg=f"writing below {plan.directory} failed: {error}")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
