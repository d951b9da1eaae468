"""Routes by severity and owner, as Alertmanager's configuration wants them."""

from routes import notification_routes

SEVERITIES = [
    {"name": "critical", "receiver": "on-call", "group_wait": "10s"},
    {"name": "info", "repeat_interval": "3d"},
]
CRITICAL = {"matchers": ['severity = "critical"'], "group_wait": "10s"}
INFO = {"matchers": ['severity = "info"'], "repeat_interval": "3d"}


def test_a_receiver_of_a_severity_hears_of_it_besides_the_others():
    assert notification_routes(SEVERITIES, {"dba": "database"}) == [
        {"receiver": "on-call", **CRITICAL, "continue": True},
        {"receiver": "database", "matchers": ['owner = "dba"'], "routes": [CRITICAL, INFO]},
        CRITICAL,
        INFO,
    ]


def test_nothing_given_is_no_route():
    assert notification_routes([], {}) == []


def test_an_owner_with_quotes_stays_one_owner():
    (route,) = notification_routes([], {'the "A" team': "chat"})
    assert route["matchers"] == ['owner = "the \\"A\\" team"']
