"""Remembers the latest run of each job, for `batch-job status` and between verbs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from batch_job import files

SYSTEM_DIRECTORY = Path("/var/lib/batch-job")
MAX_FILE_BYTES = 1 << 20


def default_directory() -> Path:
    """Return the state directory of this user; root's is the system's."""
    if os.geteuid() == 0:
        return SYSTEM_DIRECTORY
    for home in (os.environ.get("XDG_STATE_HOME", ""), os.path.expanduser("~/.local/state")):
        # Not in the working directory of a job whose user has no home.
        if os.path.isabs(home):
            return Path(home, "batch-job")
    return SYSTEM_DIRECTORY


class State:
    """A directory with one file for each job, and one for what was learned of gateways."""

    def __init__(self, directory: Path) -> None:
        """Use a directory, which is created with the first file."""
        self._directory = directory / "jobs"
        self._types = directory / "types.json"

    def read(self, job: str) -> dict[str, Any]:
        """Return the memory of a job; empty when there is none or it is damaged."""
        return _read(self._directory / f"{job}.json")

    def update(self, job: str, **values: Any) -> None:
        """Add values to the memory of a job. Raises OSError."""
        before = self.read(job)
        memory = {**before, **values}
        if memory != before:
            files.write(self._directory / f"{job}.json", json.dumps(memory).encode(), durable=False)

    def types(self, url: str) -> dict[str, str]:
        """Return the types that metrics have at a gateway, where it has refused ours."""
        types = _read(self._types).get(url)
        return types if isinstance(types, dict) else {}

    def learn_types(self, url: str, types: dict[str, str]) -> None:
        """Remember these types, too. Raises OSError."""
        memory = {**_read(self._types), url: {**self.types(url), **types}}
        files.write(self._types, json.dumps(memory).encode(), durable=False)

    def jobs(self) -> list[str]:
        """Return the names of all jobs that have a memory."""
        return sorted(path.stem for path in self._directory.glob("*.json"))

    def forget(self, job: str) -> None:
        """Remove the memory of a job. Raises OSError."""
        (self._directory / f"{job}.json").unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any]:
    """Return the content of a file; empty when there is none or it is damaged."""
    try:
        memory = json.loads(files.read(path, MAX_FILE_BYTES))
    except (OSError, ValueError):
        return {}
    return memory if isinstance(memory, dict) else {}
