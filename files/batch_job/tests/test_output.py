"""The last lines of a failed run, as they may be shown to others."""

import time

import pytest

from batch_job import journal
from batch_job.output import MAX_CHARACTERS, MAX_SEARCHED_CHARACTERS, last_lines

PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nIBAAKC\n-----END RSA PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("1\n2\n3\n4\n", "2\n3\n4"),
        ("one\n\n  \n\ttwo \n", "one\ntwo"),
        ("10 %\r50 %\rno space left\n", "10 %\n50 %\nno space left"),
        ("\x1b[1;31mred\x1b[0m \x1b]0;title\x07\x00nul \u202egpj.exe", "red nul gpj.exe"),
        ("batch-job: try 1 of 2 ended with 7\nreal\n", "real"),
        ("<!channel> @here <@U1> me@example.org", "< !channel> @ here < @U1> me@example.org"),
        ("\x1b[31m\n", ""),
    ],
)
def test_what_is_left_are_the_last_lines_with_words(text, shown):
    assert last_lines(text, 3) == shown


def test_it_is_cut_at_its_beginning():
    shown = last_lines("a " * 500 + "the end", 1)
    assert len(shown) == MAX_CHARACTERS
    assert (shown[0], shown[-7:]) == ("…", "the end")


@pytest.mark.parametrize(
    "text",
    [
        "mysqldump --password=hunter2 db",
        "restic --token hunter2 backup",
        'DB_PASSWORD: "hunter2"',
        "{'api_key': 'hunter2', 'n': 1}",
        "AWS_SECRET_ACCESS_KEY=hun/ter2+x=",
        "cannot open https://bob:hunter2@git.example.org/x",
        "Authorization: Bearer hunter2.x-y",
        "ghp_hunter2abcdefgh is expired",
        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b",
        "key wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY1 is not valid",
        "secret_id=" + "hunter2" * 100,
        PEM,
    ],
)
def test_what_looks_like_a_secret_is_masked(text):
    shown = last_lines(text, 3)
    assert "***" in shown
    assert not [part for part in ("hunter2", "9f86", "wJal", "KEY1", "IBAA") if part in shown]


@pytest.mark.parametrize(
    "text",
    [
        "tar: /var/lib/Backups/2026-11-27/Dump_of_all.tar.gz: Cannot open: No space left on device",
        'FATAL:  password authentication failed for user "bob"',
        "restic --password-file /etc/restic/key",
        "see https://example.org:8443/a?b=1",
    ],
)
def test_what_looks_like_none_stays(text):
    assert last_lines(text, 3) == text


@pytest.mark.parametrize(
    "text", ["password", "-", "://", "-----BEGIN ", "--a-", "\x1b]", "\x1b[", "secret=", 'token "']
)
def test_no_text_takes_long(text):
    started = time.process_time()
    last_lines(text * MAX_SEARCHED_CHARACTERS, 3)
    assert time.process_time() - started < 2


@pytest.mark.parametrize(("is_started", "fields"), [(True, 1), (False, 2)])
def test_a_run_that_did_not_start_has_the_words_of_systemd(is_started, fields):
    # A stand-in: the scenario `jobs` asks a real journal.
    def run(program, *words):
        assert program == "journalctl"
        return (
            "" if words == ("--sync",) else f"{len([word for word in words if '=abc' in word])}\n"
        )

    assert journal.output("abc", 3, is_started, run) == str(fields)
