"""Filters: which groups of a Pushgateway nobody declares, and how they are addressed."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

# Metrics of a run; a group without one is not a batch job's.
PREFIX = "batch_job_"

Labels = dict[str, str]


def undeclared_groups(
    groups: Iterable[Mapping[str, Any]], declared: Iterable[Mapping[str, Any]]
) -> list[Labels]:
    """Return the labels of groups, as `/api/v1/metrics` gives them, that hold undeclared jobs.

    A declared job has `name` and `instance`; groups of anything else than batch jobs are left out.
    """
    known = {(job["name"], job["instance"]) for job in declared}
    return [
        dict(group["labels"])
        for group in groups
        if any(name.startswith(PREFIX) for name in group)
        and (group["labels"]["job"], group["labels"].get("instance", "")) not in known
    ]


def group_path(labels: Labels) -> str:
    """Return the path of a group; https://github.com/prometheus/pushgateway#url explains it."""
    first = {"job": labels["job"]}
    return "/metrics" + "".join(
        f"/{name}/{quote(value, safe='')}"
        if value and "/" not in value
        else f"/{name}@base64/{base64.urlsafe_b64encode(value.encode()).decode() or '='}"
        for name, value in {**first, **labels}.items()
    )


class FilterModule:
    """Makes the filters known to Ansible."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {"group_path": group_path, "undeclared_groups": undeclared_groups}
