"""What verify.yml makes of the answers of hosts and services.

The scenario `alerts` sends canaries through real services.
"""

import pytest

from canary import (
    accepted_canaries,
    are_fine,
    broken_hops,
    canary_hops,
    firing_canaries,
    hop_table,
    pushed_canaries,
    watched_canaries,
)

SENT = {
    "__canary_stamp": {"stdout": "100.000"},
    "__canary_gateways": ["http://push-1:9091"],
    "__canary_push": {"rc": 0, "stderr": "", "delta": "0:00:00.250000"},
}
DELIVERED = {"json": {"web-1": 106.0}}
REFUSED = {
    "status": -1,
    "url": "http://localhost:9090/api/v1/query",
    "msg": "Status code was -1 and not [200]: Request failed: refused",
}
NO_ROUTE = {"unreachable": True, "msg": "no route to host"}
ALERT = {
    "labels": {"instance": "web-1"},
    # It stands from before.
    "startsAt": "1970-01-01T00:00:51Z",
    "updatedAt": "1970-01-01T00:01:45.500123456Z",
    "receivers": [{"name": "canary"}],
    "status": {"state": "active"},
}


def prometheus(scraped=((103.0, "100.000"),), fired=(105.0,)):
    """Return Prometheus' answer: when it scraped which value of web-1, and when the alert fired."""
    labels = {"instance": "web-1", "__name__": "canary_timestamp_seconds", "pushgateway": "push-1"}
    alert = {"instance": "web-1", "__name__": "ALERTS"}
    result = [
        {"metric": labels, "values": list(scraped)},
        {"metric": alert, "values": [(time, "1") for time in fired]},
    ]
    return {"status": 200, "json": {"data": {"result": result}}}


def alertmanager(*alerts):
    return {"status": 200, "json": list(alerts)}


SEEN, ACCEPTED = prometheus(), alertmanager(ALERT)


def hops(sent=SENT, seen=SEEN, accepted=ACCEPTED, delivered=DELIVERED, targets=("push-1:9091",)):
    hostvars = {"web-1": sent}
    pushed = pushed_canaries(["web-1"], hostvars, targets)
    hostvars["metrics-1"] = {"__canaries_scraped": watched_canaries(seen, pushed, "metrics-1")}
    firing = firing_canaries(["metrics-1"], hostvars)
    hostvars["alerts-1"] = {
        "__canaries_accepted": accepted_canaries(accepted, firing, "alerts-1"),
        "__canary_delivery": delivered,
    }
    groups = {"prometheus": ["metrics-1"], "alertmanager": ["alerts-1"]}
    return canary_hops(["web-1"], groups, hostvars)


def test_the_table_shows_each_hop_with_its_latency():
    assert hop_table(hops()) == [
        "CANARY OF  HOP        WHERE            LATENCY",
        "web-1      pushed     web-1            0.25 s",
        "web-1      scraped    metrics-1        3.00 s",
        "web-1      evaluated  metrics-1        2.00 s",
        "web-1      accepted   alerts-1         0.50 s",
        "web-1      delivered  receiver canary  0.50 s",
    ]
    assert broken_hops(hops()) == []


def test_a_gateway_that_pushes_to_itself_has_no_latency():
    sent = {"__canary_stamp": SENT["__canary_stamp"], "__canary_request": {"status": 200}}
    found = hops(sent=sent, targets=["push-1:9091", "push-2:9091"])
    assert hop_table(found)[1].split() == ["web-1", "pushed", "web-1", "-"]
    assert broken_hops(found) == []


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"sent": {"__canary_stamp": NO_ROUTE}}, "web-1, pushed, web-1: no route to host"),
        ({"sent": {"__canary_stamp": {}}}, "web-1, pushed, web-1: the host cannot be reached"),
        (
            {"sent": SENT | {"__canary_push": {"rc": 0, "stderr": "it is kept", "delta": "0:0:1"}}},
            "web-1, pushed, web-1: it is kept",
        ),
        (
            {"sent": SENT | {"__canary_push": {"rc": 127, "stderr": "", "delta": "0:0:1"}}},
            "web-1, pushed, web-1: exit status 127",
        ),
        (
            {"sent": {"__canary_stamp": {"stdout": "100.000"}, "__canary_request": REFUSED}},
            f"web-1, pushed, web-1: {REFUSED['msg']}",
        ),
        (
            {"sent": {"__canary_stamp": {"stdout": "100.000"}}},
            "web-1, pushed, web-1: it was not tried",
        ),
        ({"seen": prometheus((), ())}, "web-1, scraped, metrics-1: it does not come from push-1"),
        (
            {"seen": REFUSED},
            "web-1, scraped, metrics-1: "
            "http://localhost:9090 does not answer: Request failed: refused",
        ),
        ({"seen": NO_ROUTE}, "web-1, scraped, metrics-1: no route to host"),
        (
            {"seen": prometheus(fired=())},
            "web-1, evaluated, metrics-1: BatchJobCanary does not fire: are the rules loaded?",
        ),
        ({"accepted": alertmanager()}, "web-1, accepted, alerts-1: the alert did not arrive"),
        (
            {"accepted": alertmanager(ALERT | {"status": {"state": "suppressed"}})},
            "web-1, accepted, alerts-1: the alert is silenced or inhibited",
        ),
        (
            {"delivered": {"json": {}}},
            "web-1, delivered, receiver canary: nothing was delivered to the canary's receiver",
        ),
        (
            {
                "accepted": alertmanager(ALERT | {"receivers": [{"name": "nobody"}]}),
                "delivered": {"json": {}},
            },
            "web-1, delivered, receiver nobody: "
            "it is routed to nobody: Alertmanager was rolled out without its address",
        ),
        (
            {"delivered": {"status": -1, "msg": "connection refused"}},
            "web-1, delivered, receiver canary: connection refused",
        ),
    ],
)
def test_a_broken_hop_is_the_last_one_and_named(changed, sentence):
    found = hops(**changed)
    assert broken_hops(found) == [sentence]
    assert hop_table(found)[-1].endswith("BROKEN")


def test_a_gateway_that_is_not_scraped_is_named_though_the_canary_comes_through_another():
    found = hops(targets=["push-1:9091", "push-2:9091"])
    assert broken_hops(found) == ["web-1, scraped, metrics-1: it does not come from push-2"]
    assert found[-1][1] == "delivered"


def test_a_canary_that_node_exporter_does_not_expose_is_told():
    found = hops(sent=SENT | {"__canary_gateways": ["file:///files", "http://push-1:9091"]})
    assert broken_hops(found) == ["web-1, scraped, metrics-1: it does not come from node_exporter"]


def test_a_service_that_was_not_asked_or_is_not_there_is_told():
    sent = {"web-1": SENT, "metrics-1": {}}
    (broken,) = broken_hops(canary_hops(["web-1"], {"prometheus": ["metrics-1"]}, sent))
    assert broken == "web-1, scraped, metrics-1: it was not asked"
    assert broken_hops(canary_hops(["web-1"], {}, sent)) == [
        "web-1, scraped, -: there is no Prometheus"
    ]
    seen = {"hops": [["scraped", "metrics-1", 3.0]], "firing": 105.0}
    sent["metrics-1"] = {"__canaries_scraped": {"web-1": seen}}
    (broken,) = broken_hops(canary_hops(["web-1"], {"prometheus": ["metrics-1"]}, sent))
    assert broken == "web-1, accepted, -: there is no Alertmanager"


@pytest.mark.parametrize(
    ("urls", "gateways"),
    [
        (["http://push-1:9091"], ["push-1"]),
        (["file:///files"], [""]),
        (["file:///files", "http://push-1:9091"], ["", "push-1"]),
        ([], ["push-1"]),
        (None, []),
    ],
)
def test_a_canary_comes_by_the_gateways_of_its_host(urls, gateways):
    sent = SENT | {"batch_job_instance": "a", "__canary_gateways": urls}
    pushed = pushed_canaries(["web-1"], {"web-1": sent}, ["push-1:9091"])
    assert pushed == {"a": {"stamp": 100.0, "gateways": gateways}}


def test_a_canary_that_nobody_may_receive_ends_in_alertmanager():
    found = hops(delivered={"skipped": True})
    assert [hop[1] for hop in found][-1] == "accepted"
    assert broken_hops(found) == []


def test_hosts_left_out_by_limit_are_no_failure_but_no_host_at_all_is():
    assert hops(sent={}) == []
    assert broken_hops([]) == ["no host took part"]


def test_only_what_was_pushed_is_waited_for():
    kept = SENT | {"__canary_push": {"rc": 0, "stderr": "it is kept"}}
    assert list(pushed_canaries(["a", "b"], {"a": SENT, "b": kept}, [])) == ["a"]


def test_of_two_watchers_the_first_to_fire_counts():
    watched = {
        host: {"__canaries_scraped": {"web-1": {"hops": [], "firing": time}}}
        for host, time in {"a": 107.0, "b": 105.0, "c": None}.items()
    }
    assert firing_canaries(["a", "b", "c"], watched) == {"web-1": 105.0}


def test_an_older_canary_and_its_alert_are_not_taken_for_the_new_one():
    response = prometheus(
        ((50.0, "49.5"), (103.0, "100.0"), (105.0, "100.0")), (51.0, 104.0, 106.0)
    )
    pushed = {"web-1": {"stamp": 100.0, "gateways": ["push-1"]}}
    watched = watched_canaries(response, pushed, "metrics-1")
    hops = [["scraped", "metrics-1", 3.0], ["evaluated", "metrics-1", 1.0]]
    assert watched == {"web-1": {"hops": hops, "firing": 104.0}}
    assert are_fine(watched)
    assert watched_canaries(response, {"web-2": pushed["web-1"]}, "metrics-1") == {
        "web-2": {
            "hops": [["scraped", "metrics-1", "it does not come from push-1"]],
            "firing": None,
        }
    }
    pushed["web-1"]["gateways"].append("push-2")
    assert not are_fine(watched_canaries(response, pushed, "metrics-1"))


def test_an_alert_is_accepted_once_it_was_updated_however_long_it_stands():
    assert not are_fine(accepted_canaries(alertmanager(ALERT), {"web-1": 107.0}, "alerts-1"))
    assert accepted_canaries(alertmanager(ALERT), {"web-1": 105.0}, "alerts-1") == {
        "web-1": {
            "hops": [["accepted", "alerts-1", pytest.approx(0.5, abs=0.001)]],
            "accepted": pytest.approx(105.5, abs=0.001),
            "receivers": ["canary"],
        }
    }


@pytest.mark.parametrize(
    ("text", "seconds"), [("01Z", 1.0), ("01.5Z", 1.5), ("01.25012345Z", 1.25)]
)
def test_alertmanagers_times_are_read_with_any_number_of_digits(text, seconds):
    alert = ALERT | {"updatedAt": f"1970-01-01T00:00:{text}"}
    (canary,) = accepted_canaries(alertmanager(alert), {"web-1": 1.0}, "alerts-1").values()
    assert canary["accepted"] == pytest.approx(seconds, abs=0.001)
