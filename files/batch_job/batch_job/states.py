"""The states of a job, in the order of their numbers in `batch_job:state`: the worst is last."""

from __future__ import annotations

from typing import NamedTuple

# Colours that people with a colour vision deficiency can tell apart: Okabe and Ito,
# https://jfly.uni-koeln.de/color/
BLUE, SKY, GREEN, ORANGE = "#0072B2", "#56B4E9", "#009E73", "#E69F00"
VERMILION, PURPLE, YELLOW = "#D55E00", "#CC79A7", "#F0E442"
# Not part of their palette, but as different.
INDIGO, SILVER, GREY, SLATE, LIME = "#5A40E0", "#E0E0E0", "#999999", "#5C5C5C", "#BBDD77"


class State(NamedTuple):
    """A state, its colour, and its meaning for people."""

    name: str
    color: str
    meaning: str


STATES = (
    State("fine", GREEN, "the latest run succeeded, in time"),
    State("waiting", SKY, "no run has ended yet, and none is due"),
    State("paused", SLATE, "it is switched off, or paused until a day, and not watched"),
    State("warned", LIME, "it ended with a warning, is slow, or its failure is tolerated"),
    State("undeclared", SILVER, "it reports, but nobody declared it, so it is not missed"),
    State("wrong clock", INDIGO, "it reports times in the future and would never be late"),
    State("shrunk", BLUE, "its backup holds too little"),
    State("unreported", YELLOW, "no gateway has its latest report"),
    State("late", ORANGE, "no success came in time"),
    State("stuck", PURPLE, "a run is over its allowed time"),
    State("failing", VERMILION, "the latest run failed"),
)
NUMBERS = {state.name: number for number, state in enumerate(STATES)}

# The results of a run, as in `batch_job_last_result`.
RESULTS = {
    "success": GREEN,
    "warning": LIME,
    "exit-code": VERMILION,
    "signal": PURPLE,
    "timeout": ORANGE,
    "oom-kill": BLUE,
    "start-failed": INDIGO,
}
