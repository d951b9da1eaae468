"""Durations as people write and read them."""

import pytest

from batch_job.durations import duration, spoken


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("26h", 26 * 3600),
        ("1h 30min", 5400),
        ("1h30min", 5400),
        ("90min", 5400),
        (" 5 s ", 5),
        ("5sec", 5),
        ("1d", 86400),
        ("2w", 14 * 86400),
    ],
)
def test_durations_are_those_of_systemd(text, seconds):
    assert duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "0h", "5", "5x", "-1h", "1.5h", "h", "1h 5", "1h,5min", "1H", "1month"]
)
def test_what_is_no_time_is_no_duration(text):
    with pytest.raises(ValueError, match="is not a duration"):
        duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (45.9, "45s"), (-60, "1min"), (93784, "1d 2h"), (86405, "1d 5s")],
)
def test_durations_are_spoken_in_their_largest_units(seconds, text):
    assert spoken(seconds) == text


def test_a_schedule_is_spoken_exactly():
    assert spoken(93784, words=4) == "1d 2h 3min 4s"
