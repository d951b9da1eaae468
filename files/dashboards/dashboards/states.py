"""The states of a job, as the rule `batch_job:state` numbers them: the worst has the highest."""

from typing import NamedTuple

# Colours that also people with a colour vision deficiency tell apart: Okabe and Ito,
# https://jfly.uni-koeln.de/color/
BLUE, SKY, GREEN, ORANGE = "#0072B2", "#56B4E9", "#009E73", "#E69F00"
VERMILION, PURPLE, YELLOW = "#D55E00", "#CC79A7", "#F0E442"
# These are not theirs, but differ as much.
INDIGO, SILVER, GREY = "#5A40E0", "#E0E0E0", "#999999"


class State(NamedTuple):
    """A state, its colour, and what a person should know of it."""

    name: str
    color: str
    meaning: str


STATES = (
    State("fine", GREEN, "the latest run succeeded, in time"),
    State("waiting", SKY, "no run has ended yet, and none is due"),
    State("undeclared", SILVER, "it reports, but nobody declared it, so it is not missed"),
    State("wrong clock", INDIGO, "it reports times in the future and would never be late"),
    State("shrunk", BLUE, "its backup holds too little"),
    State("unreported", YELLOW, "no gateway knows it"),
    State("late", ORANGE, "no success came in time"),
    State("stuck", PURPLE, "a run is over its allowed time"),
    State("failing", VERMILION, "the latest run failed"),
)
NUMBERS = {state.name: number for number, state in enumerate(STATES)}

# How a run can end, as `batch_job_last_result` words it.
RESULTS = {
    "success": GREEN,
    "exit-code": VERMILION,
    "signal": PURPLE,
    "timeout": ORANGE,
    "oom-kill": BLUE,
    "start-failed": INDIGO,
}
