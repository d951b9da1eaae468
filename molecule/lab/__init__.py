"""A Linux lab on one machine: systemd nodes, a release mirror and a webhook receiver.

The demo, the molecule scenarios and the benchmarks roll out to it. Everything the lab
creates carries the label `batch-job-lab`, and nothing without that label is touched.
"""

from __future__ import annotations

from pathlib import Path

import yaml

import programs

REPOSITORY = Path(__file__).resolve().parents[2]
CACHE = programs.DIRECTORY.parent
LABEL = "batch-job-lab"


class LabError(Exception):
    """Something the lab needs is missing; the message says what and how to get it."""


def role_default(variable: str) -> str:
    """Return the default of a role's variable, whose name begins with the role's."""
    role = variable.partition("_")[0]
    defaults = REPOSITORY / "roles" / role / "defaults" / "main.yml"
    return str(yaml.safe_load(defaults.read_text())[variable])
