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
    description: Like O(files), but their content appears in no diff and no log.
    type: dict
    default: {}
  purge:
    description: Patterns, relative to O(path), of files to remove unless they are given above.
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
      - Group that may read the files; root's if it does not exist yet (check mode). The files are
        those of the user who runs this, as is the group unless it is given.
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
from pathlib import Path, PurePosixPath

from ansible.module_utils.basic import AnsibleModule

# How long a server on trial may take to answer, in seconds; they need a fraction of one.
TRIAL_LIMIT = 30

# Keys of YAML and INI files whose values are secrets; `..._file` only names one.
SECRET_VALUE = re.compile(
    r"^([ -]*\w*(?:password|secret|token|credentials|api_url|(?:api|routing|secret|service)_key)"
    r"(?::| =)).+$",
    re.MULTILINE,
)


def group_id(name: str) -> int | None:
    """Return a group's number, or None when there is no such group."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None


def is_inside(name: str) -> bool:
    """Tell whether a relative path stays below its directory."""
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts


def has_attributes(path: Path, mode: int, gid: int) -> bool:
    """Tell whether a path has the mode, belongs to this user and to the group."""
    found = path.stat()
    owners = (found.st_uid, found.st_gid)
    return stat.S_IMODE(found.st_mode) == mode and owners == (os.geteuid(), gid)


def set_attributes(path: Path, mode: int, gid: int) -> None:
    """Give a path to this user and the group, with the mode."""
    os.chown(path, os.geteuid(), gid)
    path.chmod(mode)


def read(path: Path) -> str | None:
    """Return a file's text, or None when there is no such file."""
    return path.read_bytes().decode("utf-8", "surrogateescape") if path.is_file() else None


def encoded(content: str) -> bytes:
    """Return a text as `read` found it in a file, whatever bytes those were."""
    return content.encode("utf-8", "surrogateescape")


def stage(directory: Path, copy: Path, files: dict[str, str], removed: list[str]) -> None:
    """Make `copy` what the directory will be."""
    if directory.is_dir():
        # Contents, not links: what is written to the copy must not reach what a link points to.
        shutil.copytree(directory, copy, ignore_dangling_symlinks=True, dirs_exist_ok=True)
    for name in removed:
        (copy / name).unlink()
    for name, content in files.items():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes(encoded(content))


def replace_all(directory: Path, files: dict[str, str], mode: int, gid: int) -> None:
    """Write every file beside its target, then move all of them into place."""
    written: list[tuple[Path, Path]] = []
    try:
        for name, content in files.items():
            target = directory / name
            handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=".new-")
            written.append((Path(temporary), target))
            with os.fdopen(handle, "wb") as file:
                file.write(encoded(content))
                file.flush()
                os.fsync(handle)
            set_attributes(Path(temporary), mode, gid)
    except OSError:
        for path, _target in written:
            path.unlink()
        raise
    for path, target in written:
        path.replace(target)


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    """Tell whether a server says anything to an HTTP request.

    That it listens is not enough: servers read their web configuration after that.
    """
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return bool(connection.recv(1))
    except OSError:
        return False


def try_out(argv: list[str], port: int) -> str | None:
    """Start a server, end it once it answers; return what it said if it ended before that."""
    with tempfile.TemporaryFile() as output:
        server = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            limit = time.monotonic() + TRIAL_LIMIT
            while server.poll() is None and time.monotonic() < limit:
                if answers(port):
                    return None
                time.sleep(0.02)
        finally:
            server.kill()
            server.wait()
        output.seek(0)
        said = output.read().decode("utf-8", "replace")
        return said or f"it did not answer within {TRIAL_LIMIT} s, and said nothing"


def shown(content: str | None, is_secret: bool, age: str) -> str:
    """Return what a diff may show of a file's old or new content."""
    if content is None:
        return ""
    if is_secret:
        return f"({age} content, not shown)\n"
    return SECRET_VALUE.sub(r"\1 (not shown)", content)


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
    directory = Path(module.params["path"])
    secret = module.params["secret_files"]
    wanted = {name: str(text) for name, text in {**module.params["files"], **secret}.items()}
    mode = int(module.params["mode"], base=8)
    # Whoever may read the files may search their directories.
    directory_mode = mode | (mode & 0o444) >> 2
    gid = group_id(module.params["group"]) if module.params["group"] else os.getegid()
    if gid is None:
        if not module.check_mode:
            module.fail_json(msg=f"there is no group {module.params['group']!r} on this host")
        gid = 0

    outside = sorted(name for name in wanted if not is_inside(name))
    if outside:
        module.fail_json(msg=f"not below {directory}: {', '.join(outside)}")

    unlisted = {
        str(path.relative_to(directory))
        for pattern in module.params["purge"]
        for path in directory.glob(pattern)
        if path.is_file()
    }
    removed = sorted(unlisted - set(wanted))
    before = {name: read(directory / name) for name in [*wanted, *removed]}
    changed = {name: text for name, text in wanted.items() if before[name] != text}

    parents = {directory / parent for name in wanted for parent in PurePosixPath(name).parents}
    extra = {directory / name for name in module.params["directories"]}
    folders = sorted({directory} | parents | extra)
    unlike = [
        directory / name
        for name in wanted
        if (directory / name).exists() and not has_attributes(directory / name, mode, gid)
    ]
    missing = [folder for folder in folders if not folder.is_dir()]

    with tempfile.TemporaryDirectory(dir=module.tmpdir) as copy:
        if module.params["validate"]:
            stage(directory, Path(copy), wanted, removed)
        for command in module.params["validate"]:
            if module.check_mode and shutil.which(command[0]) is None:
                continue
            port = free_port()
            argv = [word.replace("%s", copy).replace("%p", str(port)) for word in command]
            if any("%p" in word for word in command):
                refusal = try_out(argv, port)
            else:
                status, output, error = module.run_command(argv)
                refusal = output + error if status else None
            if refusal is not None:
                words = refusal.replace(copy, str(directory)).strip()
                name = os.path.basename(command[0])
                module.fail_json(msg=f"{name} refuses it, nothing was changed: {words}")

    pending = module.params["pending"]
    differs = bool(changed or removed or unlike or missing)
    result = {
        "changed": differs or bool(pending and os.path.exists(pending)),
        "changed_files": sorted([*changed, *removed]),
        "diff": [
            {
                "before_header": str(directory / name),
                "after_header": str(directory / name),
                # What is removed may have been a secret, too.
                "before": shown(before[name], name in secret or name in removed, "old"),
                "after": shown(changed.get(name), name in secret, "new"),
            }
            for name in [*changed, *removed]
        ],
    }
    if not module.check_mode:
        try:
            for folder in missing:
                folder.mkdir(parents=True, exist_ok=True)
                set_attributes(folder, directory_mode, gid)
            if pending and differs:
                Path(pending).touch(mode=0o640)
            replace_all(directory, changed, mode, gid)
        except OSError as error:
            module.fail_json(msg=f"writing below {directory} failed: {error}")
        for name in removed:
            (directory / name).unlink()
        for path in unlike:
            set_attributes(path, mode, gid)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
