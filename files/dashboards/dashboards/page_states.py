"""What the page in `files/page` shares with the dashboards, as a module of JavaScript."""

import json

from batch_job.states import RESULTS, STATES
from dashboards.queries import WATCHERS

HEADER = "// Written by `make dashboards`, from files/batch_job/batch_job/states.py."


def constant(name: str, documentation: str, value: object) -> str:
    """Return the declaration of a constant that other modules import."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return f"// {documentation}\nexport const {name} = {text};\n"


def render() -> str:
    """Return the module as the text of its file."""
    states = [state._asdict() for state in STATES]
    parts = (
        constant(
            "STATES", "A job's states; the place of each is its number, the worst last.", states
        ),
        constant("RESULTS", "The results of a run, and their colours.", RESULTS),
        constant("WATCHERS", "Selects the alerts on monitoring itself.", WATCHERS),
    )
    return "\n".join((HEADER, *parts))
