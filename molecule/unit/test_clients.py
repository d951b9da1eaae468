"""What all tests wait with."""

import pytest

from clients import eventually


def test_eventually_reports_the_latest_value():
    with pytest.raises(TimeoutError, match="last seen: \\[\\]"):
        eventually(list, timeout_seconds=0)
    assert eventually(iter([0, 0, 7]).__next__, timeout_seconds=5) == 7
