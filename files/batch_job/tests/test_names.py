"""Names that people give to jobs and hosts."""

import pytest

from batch_job.names import instance_name, job_name


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
