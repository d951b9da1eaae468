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
    """Return the labels of groups, as `/api/v1/metrics` gives them, of undeclared jobs alone.

    A declared job has `name` and `instance`; groups of anything else than batch jobs are left out.
    """
    known = {(job["name"], job["instance"]) for job in declared}
    return [
        dict(group["labels"]) for group in groups if (jobs := _jobs(group)) and not jobs & known
    ]


def _jobs(group: Mapping[str, Any]) -> set[tuple[str, str]]:
    """Return job and instance of the series of runs in a group.

    The series name an instance that the group may not have.
    """
    return {
        (sample["labels"]["job"], sample["labels"].get("instance", ""))
        for name, family in group.items()
        if name.startswith(PREFIX)
        for sample in family["metrics"]
    }


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
