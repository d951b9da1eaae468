"""Write every dashboard as JSON, and what the page shares with them: `python -m dashboards`."""

import json
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from dashboards import batch_jobs, ci_pipelines, job_detail, page_states, pushgateway

DIRECTORY = Path(__file__).parents[1]
PAGE = DIRECTORY.parent / "page"
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
    (PAGE / "states.js").write_text(page_states.render())
