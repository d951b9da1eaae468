"""What a gateway must be told of a job before it runs."""

from __future__ import annotations

from typing import Any, NamedTuple

from prometheus_client.metrics_core import Metric

from batch_job import metrics
from batch_job.config import Job

INFO = metrics.PREFIX + "info"
DEADLINE = metrics.PREFIX + "deadline_timestamp_seconds"
LAST_SUCCESS = metrics.PREFIX + "last_success_timestamp_seconds"


class Registration(NamedTuple):
    """What to add to a job's group; nothing when the gateway knows it all."""

    families: list[Metric]
    sets_deadline: bool


def registration(
    job: Job, deadline: float | None, known: dict[str, Any], now: float, is_new: bool = False
) -> Registration:
    """Compare a declaration with what a gateway's API tells of the group.

    A job that is not new keeps a deadline that has passed, so that what is overdue stays overdue
    until it succeeds, and any deadline if its schedule did not change. A job that reports its
    successes by plain pushes is left alone where its age alone says when it is due: each of its
    pushes would take away what is registered.
    """
    if job.schedule.max_age and LAST_SUCCESS in known and INFO not in known:
        return Registration([], False)
    declared = metrics.declaration(job)
    changed = [family for family in declared if _told(family) != _known(known, family.name)]
    same_schedule = all(
        family.name == INFO and _schedule(_told(family)) == _schedule(_known(known, family.name))
        for family in changed
    )
    stands = _known(known, DEADLINE)
    is_kept = stands and not is_new and (same_schedule or stands[0][1] < now)
    if deadline is None or is_kept:
        return Registration(changed, False)
    return Registration([*declared, metrics.gauge("deadline_timestamp_seconds", deadline)], True)


Samples = list[tuple[dict[str, str], float]]


def _told(family: Metric) -> Samples:
    """Return labels and values of a family that would be pushed."""
    return [(dict(sample.labels), float(sample.value)) for sample in family.samples]


def _known(known: dict[str, Any], name: str) -> Samples:
    """Return labels and values of a family that the API told, without those of the group."""
    return [
        (
            {
                label: value
                for label, value in sample["labels"].items()
                if label not in metrics.GROUPING_LABELS
            },
            float(sample["value"]),
        )
        for sample in known.get(name, {}).get("metrics", [])
    ]


def _schedule(samples: Samples) -> str:
    """Return the schedule that a job's info names."""
    return samples[0][0].get("schedule", "") if samples else ""
