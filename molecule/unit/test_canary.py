"""What verify.yml makes of how far its canaries came; the modules' own parts, too.

That they come through real services is shown by the scenario `alerts`.
"""

import pytest

from canary import (
    broken_hops,
    canary_gateways,
    canary_hops,
    firing_canaries,
    hop_table,
    pushed_canaries,
)
from canary_accepted import accepted, seconds
from canary_evaluated import is_complete, look

SENT = {
    "__verify_reached": {"ping": "pong"},
    "__canary_stamp": {"stdout": "100.000"},
    "__canary_push": {"rc": 0, "stderr": "", "delta": "0:00:00.250000"},
}
SEEN = {
    "__canary_evaluation": {
        "canaries": {"web-1": {"scraped": {"push-1": 103.0}, "firing": 105.0}},
        "pushgateways": {"web-1": ["push-1"]},
        "error": "",
    }
}
ALERT = {"accepted": 105.5, "receivers": ["canary"], "state": "active"}
TOLD = {
    "__canary_acceptance": {"canaries": {"web-1": ALERT}, "error": ""},
    "__canary_delivery": {"json": {"web-1": 106.0}},
}


def hops(sent=SENT, seen=SEEN, told=TOLD):
    hostvars = {"web-1": sent, "metrics-1": seen, "alerts-1": told}
    return canary_hops(["web-1"], ["metrics-1"], ["alerts-1"], hostvars)


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


def evaluation(**changes):
    return {"__canary_evaluation": SEEN["__canary_evaluation"] | changes}


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        (
            {"sent": {"__verify_reached": {"unreachable": True, "msg": "no route to host"}}},
            "web-1, pushed, web-1: no route to host",
        ),
        (
            {"sent": SENT | {"__canary_push": {"rc": 0, "stderr": "it is kept", "delta": "0:0:1"}}},
            "web-1, pushed, web-1: it is kept",
        ),
        (
            {"sent": SENT | {"__canary_push": {"rc": 127, "stderr": "", "delta": "0:0:1"}}},
            "web-1, pushed, web-1: exit status 127",
        ),
        (
            {"seen": evaluation(canaries={"web-1": {"scraped": {}}})},
            "web-1, scraped, metrics-1: it does not come from push-1",
        ),
        (
            {"seen": evaluation(canaries={"web-1": {"scraped": {}}}, error="refused")},
            "web-1, scraped, metrics-1: refused",
        ),
        (
            {"seen": evaluation(canaries={"web-1": {"scraped": {"push-1": 103.0}}})},
            "web-1, evaluated, metrics-1: BatchJobCanary does not fire: are the rules loaded?",
        ),
        (
            {"told": TOLD | {"__canary_acceptance": {"canaries": {"web-1": {}}, "error": ""}}},
            "web-1, accepted, alerts-1: the alert did not arrive",
        ),
        (
            {
                "told": TOLD
                | {"__canary_acceptance": {"canaries": {"web-1": ALERT | {"state": "suppressed"}}}}
            },
            "web-1, accepted, alerts-1: the alert is silenced or inhibited",
        ),
        (
            {"told": TOLD | {"__canary_delivery": {"json": {}}}},
            "web-1, delivered, receiver canary: nothing was delivered to the canary's receiver",
        ),
        (
            {
                "told": {
                    "__canary_acceptance": {
                        "canaries": {"web-1": ALERT | {"receivers": ["nobody"]}}
                    },
                    "__canary_delivery": {"json": {}},
                }
            },
            "web-1, delivered, receiver nobody: "
            "it is routed to nobody: Alertmanager was rolled out without its address",
        ),
        (
            {"told": TOLD | {"__canary_delivery": {"status": -1, "msg": "connection refused"}}},
            "web-1, delivered, receiver canary: connection refused",
        ),
    ],
)
def test_a_broken_hop_is_the_last_one_and_named(changed, sentence):
    found = hops(**changed)
    assert broken_hops(found) == [sentence]
    assert hop_table(found)[-1].endswith("BROKEN")


def test_a_gateway_that_is_not_scraped_is_named_though_the_canary_comes_through_another():
    found = hops(seen=evaluation(pushgateways={"web-1": ["push-1", "push-2"]}))
    assert broken_hops(found) == ["web-1, scraped, metrics-1: it does not come from push-2"]
    assert found[-1][1] == "delivered"


def test_a_canary_that_node_exporter_does_not_expose_is_told():
    found = hops(seen=evaluation(pushgateways={"web-1": ["", "push-1"]}))
    assert broken_hops(found) == ["web-1, scraped, metrics-1: it does not come from node_exporter"]


@pytest.mark.parametrize(
    ("urls", "gateways"),
    [
        (["http://push-1:9091"], ["push-1"]),
        (["file:///files"], [""]),
        (["file:///files", "http://push-1:9091"], ["", "push-1"]),
        ([], ["push-1"]),
    ],
)
def test_a_canary_comes_by_the_gateways_of_its_host(urls, gateways):
    variables = {"batch_job_instance": "a", "__canary_gateways": urls}
    assert canary_gateways(["web-1"], {"web-1": variables}, ["push-1:9091"]) == {"a": gateways}


def test_a_canary_that_nobody_may_receive_ends_in_alertmanager():
    found = hops(told=TOLD | {"__canary_delivery": {"skipped": True}})
    assert [hop[1] for hop in found][-1] == "accepted"
    assert broken_hops(found) == []


def test_hosts_left_out_by_limit_are_no_failure_but_no_host_at_all_is():
    assert hops(sent={}) == []
    assert broken_hops([]) == ["no host took part"]


def test_only_what_was_pushed_is_waited_for():
    kept = SENT | {"__canary_push": {"rc": 0, "stderr": "it is kept"}}
    hostvars = {"web-1": SENT | {"batch_job_instance": "w"}, "web-2": kept}
    assert pushed_canaries(["web-1", "web-2"], hostvars) == {"w": "100.000"}


def test_of_two_watchers_the_first_to_fire_counts():
    later = evaluation(canaries={"web-1": {"scraped": {}, "firing": 107.0}})
    assert firing_canaries(["a", "b"], {"a": later, "b": SEEN}) == {"web-1": 105.0}


def series(metric, *values):
    return {"metric": metric, "values": list(values)}


def test_an_older_canary_and_its_alert_are_not_taken_for_the_new_one():
    metric = {"instance": "web-1", "pushgateway": "push-1"}
    answers = {
        "canary": [series(metric, (50.0, "49.5"), (103.0, "100.000"), (105.0, "100.000"))],
        "ALERTS": [series({"instance": "web-1"}, (51.0, "1"), (104.0, "1"), (106.0, "1"))],
    }
    state = look(lambda expression: answers[expression[:6]], {"web-1": 100.0})
    assert state == {"web-1": {"scraped": {"push-1": 103.0}, "firing": 104.0}}
    assert is_complete(state, {"web-1": ["push-1"]})
    assert not is_complete(state, {"web-1": ["push-1", "push-2"]})
    assert is_complete(state, {})


def test_an_alert_is_accepted_once_it_was_updated_however_long_it_stands():
    alert = {
        "labels": {"instance": "web-1"},
        "startsAt": "1970-01-01T00:00:51Z",
        "updatedAt": "1970-01-01T00:01:45.250123456Z",
        "receivers": [{"name": "canary"}],
        "status": {"state": "active"},
    }
    assert accepted([alert], {"web-1": 107.0}) == {"web-1": {}}
    (found,) = accepted([alert], {"web-1": 104.0}).values()
    assert found == {"accepted": 105.250123456, "receivers": ["canary"], "state": "active"}


def test_alertmanagers_times_are_read_with_any_number_of_digits():
    assert seconds("1970-01-01T00:00:01Z") == 1.0
    assert seconds("1970-01-01T00:00:01.5Z") == 1.5
