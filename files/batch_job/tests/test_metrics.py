"""Which of a job's own metrics go along, and what a report of a run holds."""

import math
import os

import pytest

from batch_job import metrics
from batch_job.config import Job
from batch_job.gateway import Gateway, Group
from batch_job.outcome import Outcome
from batch_job.pushgateway import push
from batch_job.schedule import Schedule

GOOD = "good 1\n"


def values(own):
    return {sample.name: sample.value for family in own.families for sample in family.samples}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("9lives 1", "not a metric"),
        ("bäckup 1", "not a metric"),
        ('{"my.metric"} 1', "not a metric name"),
        ("batch_job_last_exit_code 0", "not the job's to set"),
        ("batch_job_mine 0", "not the job's to set"),
        ("push_time_seconds 1", "not the job's to set"),
        ("push_failure_time_seconds 1", "not the job's to set"),
        ('x{__name="y"} 1', "not a"),
        ('x{"a.b"="c"} 1', "not a label name"),
        ("good 2", "the same series once more"),
        ("lost\x00 and found", "not a metric line"),
        ("Backup done.", "not a metric line"),
        ("x", "not a metric line"),
        ("x{} ", "not a metric line"),
        ('x{a="b 1', "not a metric line"),
        ("x one", "not a metric line"),
        ("# TYPE x number", "'number' is not a type"),
        ("# TYPE x", "'' is not a type"),
        ("# TYPE x gauge gauge", "is not a type"),
        ("# TYPE 9x gauge", "not a metric name"),
        ("# HELP batch_job_info mine", "not the job's to set"),
        ("# TYPE push_time_seconds gauge", "not the job's to set"),
    ],
)
def test_a_bad_line_is_a_problem_and_the_good_ones_stay(line, reason):
    own = metrics.check_own(f"{GOOD}{line}\nlater 2\n")
    assert values(own) == {"good": 1, "later": 2}
    assert len(own.problems) == 1
    assert own.problems[0].startswith("line 2 is left out: ")
    assert reason in own.problems[0]


def test_a_family_that_goes_beyond_the_limit_is_left_out_whole():
    own = metrics.check_own('y 1\nx{a="1"} 1\nx{a="2"} 1\nz 1\n', max_lines=2)
    assert values(own) == {"y": 1}
    assert own.problems == [
        "line 3 and all after it are left out: the limit is 2 lines, and so is all of x"
    ]


def test_lines_after_the_time_is_over_are_left_out():
    own = metrics.check_own("x 1\n", timeout_seconds=-1)
    assert own == ([], ["line 1 and all after it are left out: the limit is -1 s"])


def test_a_text_of_any_length_can_be_checked():
    lines = [f'x{{a="{number}"}} 1' for number in range(metrics.MAX_OWN_LINES + 1)]
    assert metrics.check_own("\n".join(lines)).problems == []


def test_bad_lines_are_counted_when_there_are_many():
    own = metrics.check_own("bad\n" * 12)
    assert len(own.problems) == 11
    assert own.problems[-1] == "2 more bad lines"


def test_a_second_type_is_a_problem_and_the_first_one_stays():
    own = metrics.check_own("# TYPE x gauge\n# TYPE x counter\nx 1\n")
    assert own.problems == ["line 2 is left out: the type of x once more"]
    assert [family.type for family in own.families] == ["gauge"]


def test_a_series_is_another_one_by_its_labels_alone():
    own = metrics.check_own('x{a="1",b="2"} 1\nx{a="1"} 1\nx{b="2",a="1"} 1\n')
    assert own.problems == ["line 3 is left out: the same series once more"]


@pytest.mark.parametrize("text", ["", "\n\n", "# a remark\n", "#TYPE x y\n", "# EOF\n"])
def test_a_text_without_metrics_is_no_problem(text):
    assert metrics.check_own(text) == ([], [])


@pytest.mark.parametrize(
    ("value", "number"), [("+Inf", math.inf), ("-Inf", -math.inf), ("1e3", 1000), ("-0.5", -0.5)]
)
def test_any_number_is_a_value(value, number):
    assert values(metrics.check_own(f"x {value}\n")) == {"x": number}


def test_no_number_is_a_value_too():
    assert math.isnan(values(metrics.check_own("x NaN\n"))["x"])


@pytest.mark.parametrize("text", ["x 1", "x 1\r\n", "\tx  1 \n"])
def test_the_ends_of_lines_do_not_matter(text):
    assert metrics.check_own(text).problems == []
    assert values(metrics.check_own(text)) == {"x": 1}


@pytest.mark.parametrize("character", ["\x0c", "\x1c", "\x85", "\u2028"])
def test_a_line_ends_only_where_it_ends_for_a_gateway(character):
    own = metrics.check_own(f'x{{path="a{character}b"}} 1\n')
    assert own.problems == []
    assert own.families[0].samples[0].labels == {"path": f"a{character}b"}


def test_a_family_written_in_two_places_is_joined_under_its_type():
    own = metrics.check_own('x{a="1"} 1\ny 1\n# HELP x why\n# TYPE x gauge\nx{a="2"} 2\n')
    text = metrics.render(own.families)
    assert text.startswith(
        '# HELP x why\n# TYPE x gauge\nx{a="1"} 1.0\nx{a="2"} 2.0\n# HELP y \n# TYPE y untyped\n'
    )


SIZE = "backup_size_bytes 4096.0\n"
HELP = "# HELP backup_size_bytes Size of the backup.\n"


@pytest.mark.parametrize(
    ("comment", "comments"),
    [
        ("", f"{HELP}# TYPE backup_size_bytes gauge\n"),
        ("# TYPE backup_size_bytes untyped\n", f"{HELP}# TYPE backup_size_bytes untyped\n"),
        (
            "# HELP backup_size_bytes Mine.\n",
            "# HELP backup_size_bytes Mine.\n# TYPE backup_size_bytes gauge\n",
        ),
    ],
)
def test_the_size_of_a_backup_is_a_gauge_unless_the_job_declares_another_type(comment, comments):
    assert metrics.render(metrics.check_own(comment + SIZE).families) == comments + SIZE


HISTOGRAM = """\
# HELP took_seconds How long each took.
# TYPE took_seconds histogram
took_seconds_bucket{le="1"} 1
took_seconds_bucket{le="+Inf"} 2
took_seconds_sum 3.5
took_seconds_count 2
"""
SUMMARY = """\
# TYPE size_bytes summary
size_bytes{quantile="0.5"} 10
size_bytes_sum 30
size_bytes_count 3
"""
# Counters with and without the suffix that the client library wants them to have.
COUNTERS = """\
# TYPE files_total counter
files_total 7
# TYPE errors counter
errors 1
# TYPE rows counter
rows_total 2
untyped_total 3
"""


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (HISTOGRAM, {"took_seconds"}),
        (SUMMARY, {"size_bytes"}),
        (COUNTERS, {"files_total", "errors", "rows_total", "untyped_total"}),
        ("x NaN\ny +Inf", {"x", "y"}),
        ('x{a="\\\\ \\n \\" ä"} 1\n# HELP x \\\\ \\n\n', {"x"}),
    ],
)
def test_a_real_pushgateway_takes_what_was_checked(pushgateway, text, names):
    own = metrics.check_own(text)
    assert own.problems == []
    push(Gateway(pushgateway.url), Group("nightly", "node1"), own.families, replace=True)
    assert names <= set(pushgateway.families("nightly"))


def test_all_series_of_a_family_without_a_type_arrive(pushgateway):
    own = metrics.check_own('x{a="1"} 1\nx{a="2"} 2\n')
    push(Gateway(pushgateway.url), Group("nightly", "node1"), own.families, replace=True)
    assert len(pushgateway.families("nightly")["x"]) == 2


@pytest.mark.parametrize("text", [HISTOGRAM, SUMMARY, COUNTERS, 'x{a="1"} 1\nx{a="2"} 2\n'])
def test_what_was_checked_survives_being_kept(text):
    rendered = metrics.render(metrics.check_own(text).families)
    assert metrics.render(metrics.parse(rendered)) == rendered


def test_what_a_job_wrote_is_read(tmp_path):
    (tmp_path / "own").write_text(GOOD)
    assert values(metrics.read_own(tmp_path / "own")) == {"good": 1}


def test_a_job_that_wrote_nothing_is_no_problem(tmp_path):
    assert metrics.read_own(tmp_path / "missing") == ([], [])


def link(path):
    (path.parent / "target").write_text(GOOD)
    path.symlink_to("target")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (link, "not a plain file"),
        (os.mkfifo, "not a plain file"),
        (os.mkdir, "not a plain file"),
        (lambda path: path.write_bytes(b"#" * (metrics.MAX_OWN_BYTES + 1)), "larger than 1048576"),
    ],
)
def test_only_a_plain_file_of_a_sane_size_is_read(tmp_path, make, reason):
    make(tmp_path / "own")
    own = metrics.read_own(tmp_path / "own")
    assert own.families == []
    assert len(own.problems) == 1
    assert own.problems[0].startswith(f"{tmp_path}/own: ")
    assert reason in own.problems[0]


def test_the_largest_file_is_read(tmp_path):
    content = GOOD.encode()
    (tmp_path / "own").write_bytes(content + b"#" * (metrics.MAX_OWN_BYTES - len(content)))
    assert values(metrics.read_own(tmp_path / "own")) == {"good": 1}


def test_a_line_that_is_not_utf8_is_a_problem_with_the_name_of_the_file(tmp_path):
    (tmp_path / "own").write_bytes(GOOD.encode() + b"b\xe4d 1\n")
    own = metrics.read_own(tmp_path / "own")
    assert values(own) == {"good": 1}
    assert own.problems[0].startswith(f"{tmp_path}/own, line 2 is left out: ")


JOB = Job("nightly", "ops", "critical", "backup", Schedule(max_age=93784, max_runtime=60))


def contract(families):
    names = {
        sample.name: sample.value
        for family in metrics.parse(metrics.render(families))
        for sample in family.samples
    }
    return {name[len("batch_job_") :]: value for name, value in names.items()}


def test_a_success_reports_everything():
    outcome = Outcome(100, 130, 29.5, "success", 0, 1.5, 4096)
    assert contract(metrics.end(JOB, outcome, 500)) == {
        "info": 1,
        "unit_info": 1,
        "max_runtime_seconds": 60,
        "grace_seconds": 1800,
        "last_start_timestamp_seconds": 100,
        "last_completion_timestamp_seconds": 130,
        "last_success_timestamp_seconds": 130,
        "last_exit_code": 0,
        "last_result": 1,
        "last_duration_seconds": 29.5,
        "last_cpu_seconds": 1.5,
        "last_max_rss_bytes": 4096,
        "deadline_timestamp_seconds": 500,
    }


@pytest.mark.parametrize("result", ["exit-code", "signal", "timeout", "oom-kill", "start-failed"])
def test_a_failure_reports_neither_a_success_nor_a_deadline(result):
    found = contract(metrics.end(JOB, Outcome(100, 130, 30, result, 1), 500))
    assert "last_success_timestamp_seconds" not in found
    assert "deadline_timestamp_seconds" not in found


@pytest.mark.parametrize(
    ("schedule", "text"),
    [
        (Schedule(), ""),
        (Schedule(max_age=93784), "within 1d 2h 3min 4s"),
        (Schedule("daily", max_age=5), "daily"),
        (Schedule("daily", "Europe/Berlin"), "daily Europe/Berlin"),
    ],
)
def test_the_info_names_declaration_and_schedule(schedule, text):
    info = metrics.declaration(JOB._replace(schedule=schedule))[0].samples[0]
    assert info.labels == {
        "owner": "ops",
        "severity": "critical",
        "kind": "backup",
        "schedule": text,
    }


def test_a_job_without_a_limit_may_run_for_ever():
    assert contract(metrics.start(Job("x"), 100))["max_runtime_seconds"] == math.inf


def test_of_a_family_that_both_have_the_newer_one_is_merged():
    older, newer = metrics.check_own("x 1\ny 1\n"), metrics.check_own("x 2\n")
    merged = metrics.merge(older.families, newer.families)
    assert {family.name: family.samples[0].value for family in merged} == {"x": 2, "y": 1}
