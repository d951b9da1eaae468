"""Finds the options of a unit that may be why its run failed, and what to set instead."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

# A large journal may need seconds.
TIMEOUT_SECONDS = 2
# What a run printed before these is not searched.
MAX_LINES = 1000


class Symptom(NamedTuple):
    """A text in the journal of a run, the options that lead to it, and what to do."""

    text: str
    options: str
    cure: str


MISSING = "create it, or put - before it"
SYMPTOMS = (
    Symptom(
        "Read-only file system",
        "ProtectSystem ProtectHome ReadOnlyPaths ProtectKernelTunables ProtectControlGroups",
        "name the directory in ReadWritePaths, or set false",
    ),
    Symptom(
        # Ansible asks before it writes.
        "not writable",
        "ProtectSystem ProtectHome ReadOnlyPaths",
        "name the directory in ReadWritePaths, or set false",
    ),
    Symptom(
        "Operation not permitted",
        "RestrictNamespaces RestrictSUIDSGID RestrictRealtime SystemCallFilter LockPersonality "
        "ProtectHostname ProtectClock ProtectKernelModules ProtectKernelLogs PrivateDevices "
        "NoNewPrivileges",
        "set false, or an empty SystemCallFilter",
    ),
    Symptom("no new privileges", "NoNewPrivileges", "set false, also for what implies it"),
    Symptom(
        "Permission denied",
        "ProtectHome InaccessiblePaths NoNewPrivileges",
        "set false, or leave the path out",
    ),
    Symptom(
        "No such file or directory",
        "PrivateTmp ProtectHome PrivateDevices TemporaryFileSystem",
        "set false",
    ),
    Symptom(
        "status=226/NAMESPACE",
        "ReadWritePaths ReadOnlyPaths InaccessiblePaths ExecPaths NoExecPaths BindPaths "
        "BindReadOnlyPaths",
        MISSING,
    ),
    Symptom("status=200/CHDIR", "WorkingDirectory", MISSING),
    Symptom("status=217/USER", "User", "create the user, or name another one"),
    Symptom("Failed to load environment files", "EnvironmentFiles", MISSING),
)

Runner = Callable[..., str]


def hints(unit: str, run: Runner | None = None) -> list[str]:
    """Return a sentence for each symptom in the journal of a unit's latest run.

    Only options that the unit has are named; without one, there is nothing to say.
    """
    run = run or _output
    names = {option for symptom in SYMPTOMS for option in symptom.options.split()}
    shown = run("systemctl", "show", f"--property=InvocationID,{','.join(sorted(names))}", unit)
    properties = dict(line.partition("=")[::2] for line in shown.splitlines())
    invocation = properties.get("InvocationID")
    # Messages of the run's processes, and messages of systemd about the run.
    match = (f"_SYSTEMD_INVOCATION_ID={invocation}", "+", f"INVOCATION_ID={invocation}")
    journal = run("journalctl", "--quiet", "--output=cat", f"--lines={MAX_LINES}", *match)
    return [
        f"{symptom.text!r} may come from {' and '.join(options)} of its unit: {symptom.cure}"
        for symptom in SYMPTOMS
        if symptom.text in journal and (options := _set(symptom.options.split(), properties))
    ]


def _set(options: Sequence[str], properties: Mapping[str, str]) -> list[str]:
    """Return those of some options that a unit sets; an empty filter is shown as `~`."""
    return [option for option in options if properties.get(option, "") not in {"", "no", "~"}]


def _output(*command: str) -> str:
    """Return what a command prints; empty if it does not answer."""
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
            errors="replace",
            timeout=TIMEOUT_SECONDS,
            check=False,
            env={"LC_ALL": "C", "PATH": os.defpath},
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
