"""The threat model in SECURITY.md is what the scenarios `services` and `fresh` ask for."""

import yaml

from lab import REPOSITORY

DOORS = yaml.safe_load((REPOSITORY / "molecule/doors.yml").read_text())


def row(door):
    """Return a door's line of the table."""
    keys = ("port", "request", "gain", "defaults", "closed", "production")
    cells = [f"`{door[key]}`" if key == "request" else str(door.get(key, "-")) for key in keys]
    return f"| {' | '.join(cells)} |"


def test_the_table_of_doors_has_the_answers_that_are_tested():
    lines = (REPOSITORY / "SECURITY.md").read_text().splitlines()
    begin = lines.index("| port | request | what it gives | defaults | closed | production |") + 2
    rows = [row(door) for door in DOORS]
    assert lines[begin : begin + len(rows)] == rows, "\n".join(["SECURITY.md should have", *rows])
    assert not lines[begin + len(rows)]
