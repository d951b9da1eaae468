"""Lookup: the sources of `batch-job` and of the parts of prometheus_client that it uses."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

DOCUMENTATION = r"""
name: reporter_sources
short_description: Sources of batch-job and of the parts of prometheus_client that it uses
description: Returns one dict, from file names to texts, for the module C(python_zipapp).
author: The maintainers of this repository
"""

PACKAGE = Path(__file__).resolve().parents[3] / "files" / "batch_job"
LIBRARY = "prometheus_client"
# What exposes, parses and pushes. The library's own `__init__` would import all the rest.
MODULES = (
    "asgi.py",
    "exposition.py",
    "metrics_core.py",
    "openmetrics/__init__.py",
    "openmetrics/exposition.py",
    "parser.py",
    "registry.py",
    "samples.py",
    "utils.py",
    "validation.py",
)
LICENCES = ("LICENSE", "NOTICE")


def sources() -> dict[str, str]:
    """Return the texts by file name.

    Raises AnsibleLookupError when the library is not installed in the version that is pinned.
    """
    pinned = re.findall(rf'"{LIBRARY}==([^"]+)"', (PACKAGE / "pyproject.toml").read_text())[0]
    try:
        library = distribution(LIBRARY)
    except PackageNotFoundError:
        library = None
    if library is None or library.version != pinned:
        raise AnsibleLookupError(
            f"the reporter is built with {LIBRARY} {pinned}, which is not installed beside Ansible"
            " (`make venv` installs it)"
        )
    found = {f"batch_job/{path.name}": path for path in PACKAGE.glob("batch_job/*.py")}
    found["__main__.py"] = PACKAGE / "batch_job" / "__main__.py"
    for name in MODULES:
        found[f"{LIBRARY}/{name}"] = Path(str(library.locate_file(f"{LIBRARY}/{name}")))
    for file in library.files or []:
        if file.name in LICENCES:
            found[f"{LIBRARY}/{file.name}"] = Path(str(file.locate()))
    return {
        f"{LIBRARY}/__init__.py": "",
        **{name: path.read_text() for name, path in found.items()},
    }


class LookupModule(LookupBase):  # type: ignore[misc]
    """Makes the lookup known to Ansible."""

    def run(self, terms: Any, variables: Any = None, **kwargs: Any) -> list[dict[str, str]]:
        """Return the dict; there are no terms."""
        del terms, variables, kwargs
        return [sources()]
