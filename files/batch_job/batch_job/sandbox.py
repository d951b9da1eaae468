"""Finds the options of a unit that may be why its run failed, and what to set instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from batch_job.journal import OF_PROCESSES, OF_SYSTEMD, Runner, answer, messages


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


def hints(unit: str, run: Runner | None = None) -> list[str]:
    """Return a sentence for each symptom in the journal of a unit's latest run.

    Only options that the unit has are named; without one, there is nothing to say.
    """
    run = run or answer
    names = {option for symptom in SYMPTOMS for option in symptom.options.split()}
    shown = run("systemctl", "show", f"--property=InvocationID,{','.join(sorted(names))}", unit)
    properties = dict(line.partition("=")[::2] for line in shown.splitlines())
    journal = messages(properties.get("InvocationID", ""), (OF_PROCESSES, OF_SYSTEMD), run)
    return [
        f"{symptom.text!r} may come from {' and '.join(options)} of its unit: {symptom.cure}"
        for symptom in SYMPTOMS
        if symptom.text in journal and (options := _set(symptom.options.split(), properties))
    ]


def _set(options: Sequence[str], properties: Mapping[str, str]) -> list[str]:
    """Return those of some options that a unit sets; an empty filter is shown as `~`."""
    return [option for option in options if properties.get(option, "") not in {"", "no", "~"}]
