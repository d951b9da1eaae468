"""Filters: secret files whose names change with their content."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

DIRECTORY = "/etc/prometheus/"


def with_digest(name: str, content: str) -> str:
    """Return the name of the copy of a secret file that has this content."""
    return f"{name}-{hashlib.sha256(content.encode()).hexdigest()[:12]}"


def digest_files(secret_files: Mapping[str, str], *configs: Any) -> dict[str, str]:
    """Return the copies of those secret files that the configurations read, by name."""
    unchanged = name_by_digest(configs, {})
    return {
        with_digest(name, str(content)): str(content)
        for name, content in secret_files.items()
        if name_by_digest(configs, {name: content}) != unchanged
    }


def name_by_digest(config: Any, secret_files: Mapping[str, str]) -> Any:
    """Return a configuration that names the copies instead of the secret files."""
    if isinstance(config, Mapping):
        return {
            key: _renamed(value, secret_files)
            if _is_file(key, value)
            else name_by_digest(value, secret_files)
            for key, value in config.items()
        }
    if isinstance(config, list | tuple):
        return [name_by_digest(item, secret_files) for item in config]
    return config


def _is_file(key: Any, value: Any) -> bool:
    # Certificates and keys are read at each connection, and must not vanish before the reload.
    is_read_once = str(key).endswith("_file") and key not in ("ca_file", "cert_file", "key_file")
    return isinstance(value, str) and is_read_once


def _renamed(path: str, secret_files: Mapping[str, str]) -> str:
    name = path.removeprefix(DIRECTORY)
    if name not in secret_files:
        return path
    return path.removesuffix(name) + with_digest(name, str(secret_files[name]))


class FilterModule:
    """Makes the filters known to Ansible."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {"digest_files": digest_files, "name_by_digest": name_by_digest}
