"""What people write: names and durations."""

import pytest

from batch_job.values import duration, instance_name, job_name, spoken


@pytest.mark.parametrize("name", ["nightly", "a:b", "a.b-c_d", "0", "_x", "x" * 200])
def test_a_name_is_taken_as_it_is(name):
    assert job_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "..", ".", "-x", ":x", "a/b", "a b", "a\n", "ä", "a@b", "x" * 201]
)
def test_what_a_gateway_or_systemd_would_not_take_is_no_name(name):
    with pytest.raises(ValueError, match="is not a name"):
        job_name(name)


@pytest.mark.parametrize("name", ["", "node1", "node1.example.org:9100", "[::1]", "x" * 253])
def test_hosts_addresses_and_nothing_are_instances(name):
    assert instance_name(name) == name


@pytest.mark.parametrize("name", ["a/b", "..", "a b", "a\n", "x" * 254])
def test_what_cannot_be_a_host_is_no_instance(name):
    with pytest.raises(ValueError, match="is not an instance"):
        instance_name(name)


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
