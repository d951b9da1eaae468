"""Write every dashboard as JSON: `python -m dashboards`."""

import json
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from dashboards import batch_jobs, ci_pipelines, job_detail, pushgateway

DIRECTORY = Path(__file__).parents[1]
DASHBOARDS = {
    "batch_jobs.json": batch_jobs.build,
    "job_detail.json": job_detail.build,
    "pushgateway.json": pushgateway.build,
    "ci_pipelines.json": ci_pipelines.build,
}


def render(name: str) -> str:
    """Return a dashboard as the text of its file."""
    made = DASHBOARDS[name]().build()
    return json.dumps(made, cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    for name in DASHBOARDS:
        (DIRECTORY / name).write_text(render(name))
