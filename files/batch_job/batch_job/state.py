"""What this host remembers of its jobs' latest runs, for `batch-job status` and between verbs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from batch_job.spool import write

SYSTEM_DIRECTORY = Path("/var/lib/batch-job")


def default_directory() -> Path:
    """Return where a user's reports and memories are kept: root's are the system's."""
    if os.geteuid() == 0:
        return SYSTEM_DIRECTORY
    home = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return Path(home, "batch-job")


class State:
    """A directory with one file for each job."""

    def __init__(self, directory: Path) -> None:
        """Remember the directory; it is created when there is something to remember."""
        self._directory = directory / "jobs"

    def read(self, job: str) -> dict[str, Any]:
        """Return what is remembered of a job, if anything."""
        try:
            found = json.loads((self._directory / f"{job}.json").read_bytes())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def update(self, job: str, **values: Any) -> None:
        """Remember more of a job, if it is not known yet. Raises OSError."""
        before = self.read(job)
        known = {**before, **values}
        if known != before:
            write(self._directory / f"{job}.json", json.dumps(known).encode(), durable=False)

    def jobs(self) -> list[str]:
        """Return the names of all jobs of which something is remembered."""
        return sorted(path.stem for path in self._directory.glob("*.json"))

    def forget(self, job: str) -> None:
        """Remember nothing of a job. Raises OSError."""
        (self._directory / f"{job}.json").unlink(missing_ok=True)
