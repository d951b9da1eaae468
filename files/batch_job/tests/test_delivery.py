"""A report on its way: to gateways that take it, and onto the disk for the others."""

import threading
import time
from types import SimpleNamespace

import pytest

from batch_job import delivery, metrics, spool
from batch_job.config import Job
from batch_job.delivery import Delivery, flush
from batch_job.gateway import CredentialsError, Gateway, GatewayError, Group, RejectedError
from batch_job.host import Host
from batch_job.outcome import Outcome
from batch_job.schedule import Schedule
from batch_job.spool import Report, Spool
from batch_job.state import State

JOB = Job("nightly", schedule=Schedule(max_age=3600))
NOW = time.time()


def own(text, job="nightly", created=None, replace=False):
    families = metrics.check_own(text).families
    return Report(Group(job, "node1"), families, replace, created or time.time())


def end(result, code, ended=NOW, deadline=None):
    outcome = Outcome(ended - 10, ended, 10, result, code)
    is_success = result == "success"
    return Report(
        Group("nightly", "node1"), metrics.end(JOB, outcome, deadline), is_success, time.time()
    )


@pytest.fixture
def waiting(tmp_path):
    return Spool(tmp_path)


@pytest.fixture
def logged():
    return []


@pytest.fixture
def host(waiting, logged, tmp_path):
    """Return a function from URLs, and a stand-in for a push, to the host of these gateways."""

    def host(*urls, push=None):
        transport = {"transport": lambda _gateway: SimpleNamespace(push=push)} if push else {}
        gateways = [Gateway(url) for url in urls]
        return Host("node1", gateways, waiting, State(tmp_path), logged.append, **transport)

    return host


@pytest.fixture
def deliver(host):
    def deliver(report, *urls, push=None, **options):
        return Delivery(host(*urls, push=push), report, **options).start().finish()

    return deliver


@pytest.fixture
def send_kept(host):
    def send_kept(*urls, push=None, **options):
        there = host(*urls, push=push)
        return flush(there, there.gateways, **options)

    return send_kept


def refuse(error):
    def push(gateway, group, families, replace):
        raise error

    return push


def test_a_report_that_arrives_is_not_kept(deliver, waiting, pushgateway, logged):
    assert deliver(own("x 1\n"), pushgateway.url) == []
    assert pushgateway.values("nightly")["x"] == 1
    assert waiting.is_empty()
    assert logged == []


def test_a_report_that_does_not_arrive_is_kept_and_logged_in_one_line(
    deliver, waiting, dead_url, logged
):
    [error] = deliver(own("x 1\n"), dead_url)
    assert isinstance(error, GatewayError)
    assert [kept.url for kept in waiting.kept()] == [dead_url]
    assert len(logged) == 1
    assert logged[0].startswith(f"nightly: {dead_url} cannot be reached: ")
    assert logged[0].endswith("; the report is kept and will be sent later")


def test_a_gateway_that_is_down_costs_the_other_one_nothing(
    deliver, waiting, pushgateway, dead_url
):
    assert len(deliver(own("x 1\n"), dead_url, pushgateway.url)) == 1
    assert pushgateway.values("nightly")["x"] == 1
    assert [kept.url for kept in waiting.kept()] == [dead_url]


def test_kept_and_new_reports_of_a_group_arrive_as_one(deliver, waiting, pushgateway):
    waiting.keep(pushgateway.url, own("x 1\ny 1\n", replace=True, created=NOW - 60))
    pushes = []

    def push(gateway, group, families, replace):
        pushes.append(({family.name for family in families}, replace))

    deliver(own("x 2\n"), pushgateway.url, push=push)
    assert pushes == [({"x", "y", "batch_job_report_delay_seconds"}, True)]
    assert waiting.is_empty()


def test_a_kept_success_outlives_the_failure_after_it(deliver, waiting, pushgateway):
    waiting.keep(pushgateway.url, end("success", 0, NOW - 60, deadline=NOW + 3540))
    deliver(end("exit-code", 3), pushgateway.url)
    found = pushgateway.values("nightly")
    assert found["last_success_timestamp_seconds"] == pytest.approx(NOW - 60)
    assert found["deadline_timestamp_seconds"] == pytest.approx(NOW + 3540)
    assert found["last_exit_code"] == 3
    assert pushgateway.result("nightly") == "exit-code"


def test_a_kept_failure_does_not_outlive_the_success_after_it(deliver, waiting, pushgateway):
    waiting.keep(pushgateway.url, own("stale 1\n", created=NOW - 60))
    deliver(own("x 1\n", replace=True), pushgateway.url)
    assert "stale" not in pushgateway.values("nightly")
    assert waiting.is_empty()


def test_a_report_has_its_delay(deliver, waiting, pushgateway):
    waiting.keep(pushgateway.url, own("x 1\n", job="late", created=time.time() - 100))
    deliver(own("x 1\n", job="direct"), pushgateway.url)
    assert 100 <= pushgateway.values("late")["report_delay_seconds"] < 130
    assert 0 <= pushgateway.values("direct")["report_delay_seconds"] < 10


def test_a_clock_that_was_set_back_makes_no_report_early(deliver, pushgateway):
    deliver(own("x 1\n", created=time.time() + 1000), pushgateway.url)
    assert pushgateway.values("nightly")["report_delay_seconds"] == 0


def test_a_gateway_that_hangs_costs_a_job_no_more_than_the_limit(deliver, waiting, logged):
    forever = threading.Event()

    def hang(gateway, group, families, replace):
        forever.wait(20)

    [error] = deliver(own("x 1\n"), "http://one", push=hang, timeout_seconds=0.1)
    forever.set()
    assert "took more than 0.1 s" in str(error)
    assert len(waiting.kept()) == 1


def test_rejected_metrics_without_a_report_of_a_run_are_dropped(deliver, waiting, logged):
    [_error] = deliver(own("x 1\n"), "http://one", push=refuse(RejectedError("no")))
    assert waiting.is_empty()
    assert logged == ["nightly: no; the report is dropped"]


def test_wrong_credentials_may_be_right_later(deliver, waiting, logged):
    deliver(own("x 1\n"), "http://one", push=refuse(CredentialsError("who?")))
    assert len(waiting.kept()) == 1
    assert logged == ["nightly: who?; the report is kept and will be sent later"]


def test_metrics_that_make_a_gateway_reject_a_report_are_left_out(deliver, pushgateway, logged):
    pushgateway.add("other", "# TYPE size gauge\nsize 1\n")
    report = end("success", 0)
    clash = metrics.check_own("# TYPE size summary\nsize_sum 1\nsize_count 1\n").families
    assert deliver(report._replace(families=[*report.families, *clash]), pushgateway.url) == []
    assert pushgateway.result("nightly") == "success"
    assert "size" not in pushgateway.values("nightly")
    assert len(logged) == 1
    assert "inconsistent" in logged[0]
    assert 'size is also in {instance="node1",job="other"}' in logged[0]
    assert logged[0].endswith("; left out: size")


def test_only_the_metrics_that_collide_are_left_out(deliver, pushgateway, logged):
    pushgateway.add("other", "# TYPE size gauge\nsize 1\n# TYPE files summary\nfiles_sum 1\n")
    clash = own("backup_size_bytes 1\n# TYPE size summary\nsize_sum 1\nsize_count 1\nfiles_sum 1\n")
    report = end("success", 0)
    deliver(report._replace(families=[*report.families, *clash.families]), pushgateway.url)
    assert pushgateway.values("nightly")["backup_size_bytes"] == 1
    assert logged[0].endswith("; left out: size, files_sum")


@pytest.mark.parametrize("kind", ["untyped", "counter"])
def test_a_report_takes_on_the_types_that_a_stranger_gave_to_its_metrics(
    deliver, pushgateway, logged, waiting, kind
):
    success = "batch_job_last_success_timestamp_seconds"
    pushgateway.add("stranger", f"# TYPE {success} {kind}\n{success} 1\n")
    assert deliver(end("success", 0), pushgateway.url) == []
    assert pushgateway.values("nightly")["last_success_timestamp_seconds"] == pytest.approx(NOW)
    assert f'{success} is also in {{instance="node1",job="stranger"}}; ' in logged[0]
    assert logged[0].endswith(f"; {success} is sent as {kind} from now on")
    # So the gateway has nothing to refuse.
    deliver(end("success", 0), pushgateway.url)
    assert len(logged) == 1
    # What was learned is no obstacle once the stranger's group is gone.
    pushgateway.wipe()
    pushgateway.add("other", f"# TYPE {success} gauge\n{success} 1\n")
    assert deliver(end("success", 0), pushgateway.url) == []
    assert logged[1].endswith(f"; {success} is sent as gauge from now on")
    assert waiting.is_empty()


def test_a_report_that_a_stranger_makes_impossible_is_kept_until_that_is_over(
    deliver, send_kept, pushgateway, logged, waiting
):
    success = "batch_job_last_success_timestamp_seconds"
    pushgateway.add("stranger", f"# TYPE {success} summary\n{success}_sum 1\n{success}_count 1\n")
    waiting.keep(pushgateway.url, own("x 1\n", job="other"))
    [error] = deliver(end("success", 0), pushgateway.url)
    assert isinstance(error, RejectedError)
    assert f'{success} is also in {{instance="node1",job="stranger"}}; ' in logged[0]
    assert logged[0].endswith("; the report is kept and will be sent later")
    # It does not stand in the way of other reports.
    assert send_kept(pushgateway.url) == 1
    assert logged[1].endswith("; the report waits until that is mended")
    pushgateway.wipe()
    assert send_kept(pushgateway.url) == 1
    assert pushgateway.result("nightly") == "success"


def test_a_report_that_cannot_be_kept_is_logged_in_one_line(host, dead_url, logged):
    full = host(dead_url)._replace(spool=Spool(spool.Path("/dev/null/x")))
    Delivery(full, own("x 1\n")).start().finish()
    assert len(logged) == 1
    assert "the report is lost, it cannot be kept: " in logged[0]


def test_a_report_that_is_dropped_to_make_room_is_logged(
    deliver, waiting, dead_url, logged, monkeypatch
):
    monkeypatch.setattr(spool, "MAX_SPOOL_BYTES", 1)
    waiting.keep(dead_url, own("x 1\n", job="old", created=1))
    deliver(own("x 1\n"), dead_url)
    assert logged[1:] == ["old: its kept report is dropped, there are too many"]
    assert [kept.report.group.job for kept in waiting.kept()] == ["nightly"]


def test_a_report_is_sent_past_a_spool_that_is_locked(
    deliver, waiting, pushgateway, logged, monkeypatch
):
    monkeypatch.setattr(spool, "LOCK_TIMEOUT_SECONDS", 0.1)
    waiting.keep(pushgateway.url, own("x 1\n", job="other"))
    with waiting.sending(pushgateway.url):
        assert deliver(own("x 1\n"), pushgateway.url) == []
    assert pushgateway.values("nightly")["x"] == 1
    assert len(waiting.kept()) == 1
    assert len(logged) == 1
    assert logged[0].startswith("the kept reports cannot be sent: ")


def test_a_flush_sends_the_oldest_first(send_kept, waiting):
    waiting.keep("http://one", own("x 1\n", job="second", created=2))
    waiting.keep("http://one", own("x 1\n", job="first", created=1))
    sent = []
    count = send_kept("http://one", push=lambda _g, group, _f, _r: sent.append(group.job))
    assert (count, sent) == (2, ["first", "second"])
    assert waiting.is_empty()


def test_a_flush_leaves_reports_for_other_gateways(send_kept, waiting):
    waiting.keep("http://one", own("x 1\n"))
    assert send_kept("http://two") == 0
    assert len(waiting.kept()) == 1


def test_a_flush_asks_a_gateway_that_fails_only_once(send_kept, waiting, logged):
    waiting.keep("http://one", own("x 1\n", job="a", created=1))
    waiting.keep("http://one", own("x 1\n", job="b", created=2))
    refused = refuse(GatewayError("down"))
    assert send_kept("http://one", push=refused) == 0
    assert logged == ["a: down; the report waits for it"]
    assert len(waiting.kept()) == 2


def test_a_flush_logs_wrong_credentials(send_kept, waiting, logged):
    waiting.keep("http://one", own("x 1\n"))
    refused = refuse(CredentialsError("who?"))
    send_kept("http://one", push=refused)
    assert logged == ["nightly: who?; the report waits for its credentials"]


def test_a_flush_drops_rejected_metrics_without_a_report_of_a_run(send_kept, waiting, logged):
    waiting.keep("http://one", own("x 1\n"))
    refused = refuse(RejectedError("no"))
    assert send_kept("http://one", push=refused) == 0
    assert logged == ["nightly: no; the report is dropped"]
    assert waiting.is_empty()


def test_a_flush_ends_at_its_limit(send_kept, waiting):
    waiting.keep("http://one", own("x 1\n"))
    push = refuse(AssertionError("too late"))
    assert send_kept("http://one", push=push, deadline=time.monotonic() - 1) == 0
    assert len(waiting.kept()) == 1


def test_a_report_may_take_a_few_seconds():
    assert delivery.REPORT_TIMEOUT_SECONDS <= 5
