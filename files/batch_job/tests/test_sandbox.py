"""Options of a unit that a failed run logs as its likely cause."""

import pytest

from batch_job.sandbox import SYMPTOMS, hints


def run_of(journal, **properties):
    """Return what `systemctl show` and `journalctl` print of a run."""

    def run(program, *arguments):
        if program == "journalctl":
            assert "_SYSTEMD_INVOCATION_ID=abc" in arguments
            return journal
        assert arguments[-1] == "batch-job-nightly.service"
        return "".join(f"{name}={value}\n" for name, value in properties.items())

    return run


def hinted(journal, **properties):
    run = run_of(journal, InvocationID="abc", **properties)
    return hints("batch-job-nightly.service", run)


def test_a_symptom_names_the_options_of_the_unit_and_the_cure():
    journal = "tar: /etc/x: Cannot open: Read-only file system\n"
    assert hinted(journal, ProtectSystem="full", ProtectHome="no", PrivateTmp="yes") == [
        "'Read-only file system' may come from ProtectSystem of its unit: "
        "name the directory in ReadWritePaths, or set false"
    ]


@pytest.mark.parametrize("symptom", SYMPTOMS, ids=lambda symptom: symptom.text)
def test_each_option_of_a_symptom_is_named(symptom):
    for option in symptom.options.split():
        (hint,) = hinted(f"x: {symptom.text}", **{option: "yes"})
        assert f"from {option} of its unit: {symptom.cure}" in hint


def test_a_unit_without_a_sandbox_is_told_nothing():
    assert hinted("Operation not permitted", NoNewPrivileges="no", SystemCallFilter="~") == []


def test_a_run_of_another_kind_of_failure_is_told_nothing():
    assert hinted("it failed", ProtectSystem="full") == []


def test_without_systemds_answer_there_is_nothing_to_say():
    assert hints("batch-job-nightly.service", lambda *_command: "") == []
