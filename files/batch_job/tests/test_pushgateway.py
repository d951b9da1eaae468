"""A real Pushgateway, and stand-ins for answers that it does not give."""

import pytest

from batch_job import metrics
from batch_job import pushgateway as http
from batch_job.gateway import CredentialsError, Gateway, GatewayError, Group, RejectedError
from clients import eventually

GROUP = Group("nightly", "node1")


def families(text):
    return metrics.check_own(text).families


@pytest.fixture
def plain(pushgateway):
    return Gateway(pushgateway.url)


def push(to, text="x 1\n", group=GROUP, replace=False):
    http.push(to, group, families(text), replace)


def test_a_push_that_replaces_leaves_nothing_of_before(pushgateway, plain):
    push(plain, "x 1\ny 1\n")
    push(plain, "x 2\n", replace=True)
    found = pushgateway.values("nightly")
    assert found["x"] == 2
    assert "y" not in found


def test_a_push_that_adds_keeps_what_it_does_not_name(pushgateway, plain):
    push(plain, "x 1\ny 1\n")
    push(plain, "x 2\n")
    found = pushgateway.values("nightly")
    assert (found["x"], found["y"]) == (2, 1)


@pytest.mark.parametrize("job", ["a.b:c", "x" * 200])
@pytest.mark.parametrize("instance", ["", "[::1]", "node1:80"])
def test_any_name_is_a_group_of_its_own(pushgateway, plain, job, instance):
    push(plain, group=Group(job, instance))
    assert pushgateway.values(job, instance)["x"] == 1


def test_a_deleted_group_is_gone_and_no_other(pushgateway, plain):
    push(plain)
    push(plain, group=Group("nightly", ""))
    http.delete(plain, GROUP)
    # It accepts a deletion (202) before it deletes.
    assert eventually(lambda: pushgateway.values("nightly") == {})
    assert pushgateway.values("nightly", instance="")


def test_deleting_what_is_not_there_is_no_error(plain):
    http.delete(plain, GROUP)


def test_groups_are_those_of_jobs(pushgateway, plain):
    push(plain)
    push(plain, group=Group("ci", ""))
    pushgateway.add("other", "x 1\n", instance="node1/disk/sda")
    pushgateway.add("nightly", 'batch_job_x{a="b"} 1\n')
    assert set(http.groups(plain)) == {GROUP, Group("ci", "")}
    assert http.groups(plain)[GROUP]["batch_job_x"] == [({"a": "b"}, 1.0)]


def test_a_url_may_end_in_a_slash(plain):
    slashed = Gateway(plain.url + "/")
    push(slashed)
    assert set(http.groups(slashed)) == {GROUP}


@pytest.mark.parametrize("act", [push, http.groups, lambda to: http.delete(to, GROUP)])
def test_the_right_credentials_open_a_gateway(secure_gateway, act):
    act(secure_gateway)


@pytest.mark.parametrize("act", [push, http.groups, lambda to: http.delete(to, GROUP)])
def test_a_wrong_password_is_an_error_of_credentials(secure_gateway, tmp_path, act):
    (tmp_path / "password").write_text("guessed")
    with pytest.raises(CredentialsError, match="401 Unauthorized: it refuses the credentials"):
        act(secure_gateway)


@pytest.mark.parametrize("field", ["password_file", "ca_file", "token_file"])
def test_a_secret_that_cannot_be_read_is_an_error_of_credentials(secure_gateway, field):
    missing = secure_gateway._replace(**{field: "/does/not/exist"})
    with pytest.raises(CredentialsError, match="No such file"):
        push(missing)


@pytest.mark.parametrize("content", ["", "\n", "one\ntwo\n"])
def test_a_secret_is_one_line(secure_gateway, tmp_path, content):
    (tmp_path / "password").write_text(content)
    with pytest.raises(CredentialsError, match="does not hold one line"):
        push(secure_gateway)


def test_a_certificate_of_an_unknown_authority_is_not_trusted(secure_gateway):
    with pytest.raises(GatewayError, match="CERTIFICATE_VERIFY_FAILED"):
        push(secure_gateway._replace(ca_file=""))


def test_a_client_certificate_that_cannot_be_read_is_an_error_of_credentials(secure_gateway):
    missing = secure_gateway._replace(cert_file="/does/not/exist", key_file="/does/not/exist")
    with pytest.raises(CredentialsError, match="No such file"):
        push(missing)


def test_a_client_certificate_is_taken_along(secure_gateway, authority, tmp_path):
    pem = str(tmp_path / "client.pem")
    authority.issue_cert("client").private_key_and_cert_chain_pem.write_to_path(pem)
    push(secure_gateway._replace(cert_file=pem, key_file=pem))


def test_a_token_is_sent_as_the_bearers(stand_in_gateway, tmp_path):
    (tmp_path / "token").write_text("abc123\n")
    url, seen = stand_in_gateway(200)
    push(Gateway(url, token_file=str(tmp_path / "token")))
    [(method, path, headers)] = seen
    assert (method, path) == ("POST", "/metrics/job/nightly/instance/node1")
    assert headers["Authorization"] == "Bearer abc123"


def test_a_password_is_sent_as_basic_authentication(stand_in_gateway, tmp_path):
    (tmp_path / "password").write_text("secret\n")
    url, seen = stand_in_gateway(200)
    push(Gateway(url, username="me", password_file=str(tmp_path / "password")), replace=True)
    [(method, _path, headers)] = seen
    assert method == "PUT"
    assert headers["Authorization"] == "Basic bWU6c2VjcmV0"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_an_error_and_is_not_followed(stand_in_gateway, status):
    target, seen = stand_in_gateway(200)
    url, _seen = stand_in_gateway(status, {"Location": target})
    with pytest.raises(GatewayError, match=f"answers {status}"):
        push(Gateway(url))
    assert seen == []


@pytest.mark.parametrize("status", [404, 500, 502, 503])
def test_a_gateway_in_trouble_may_take_the_push_later(stand_in_gateway, status):
    url, _seen = stand_in_gateway(status)
    with pytest.raises(GatewayError, match=f"answers {status}") as trouble:
        push(Gateway(url))
    assert trouble.type is GatewayError


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_is_an_error_of_credentials(stand_in_gateway, status):
    url, _seen = stand_in_gateway(status)
    with pytest.raises(CredentialsError):
        push(Gateway(url))


def test_a_push_that_is_too_large_will_never_be_taken(stand_in_gateway):
    url, _seen = stand_in_gateway(413, body=b"too much")
    with pytest.raises(RejectedError, match=r"413.*: too much"):
        push(Gateway(url))


def test_a_rejected_push_has_the_reason_of_the_gateway(pushgateway, plain):
    pushgateway.add("other", "# TYPE x counter\nx 1\n")
    with pytest.raises(RejectedError, match=r"400 Bad Request: .*inconsistent"):
        push(plain, "# TYPE x gauge\nx 1\n")


def test_a_gateway_that_is_down_cannot_be_reached(dead_url):
    with pytest.raises(GatewayError, match=r"cannot be reached: .*refused") as trouble:
        push(Gateway(dead_url))
    assert trouble.type is GatewayError


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b'{"data": [{}]}', b"\xff"])
def test_something_else_that_answers_is_no_pushgateway(stand_in_gateway, body):
    url, _seen = stand_in_gateway(200, body=body)
    with pytest.raises(GatewayError, match="does not answer as a Pushgateway does"):
        http.groups(Gateway(url))
