"""The password of the admin: asked for, kept, changed, and never shown."""

import pytest

NODE = "boards13"
testinfra_hosts = [f"ansible://{NODE}"]

CLI = "/usr/share/grafana/bin/grafana cli --homepath=/usr/share/grafana"
RESET = f"{CLI} --config=/etc/grafana/grafana.ini admin reset-admin-password --password-from-stdin"
OTHER = 'a "new" one: %d $HOME'
WATCH = "while :; do cat /proc/[0-9]*/cmdline; sleep 0.01; done > /root/seen 2> /dev/null"


def test_the_password_of_the_vault_opens_and_no_other_does(grafana, password):
    assert grafana.status("/api/org", password) == 200
    assert [grafana.status("/api/org", wrong) for wrong in ("admin", "")] == [401, 401]


def test_a_password_that_was_changed_by_hand_is_put_back(host, grafana, password, rollout):
    host.check_output(f"echo by-hand-instead | runuser --user=grafana -- {RESET}")
    assert grafana.status("/api/org", password) == 401
    done = rollout("--limit", NODE, "--tags", "grafana")
    assert (done.status, done.changed(NODE)) == (0, 1), done.message
    assert grafana.status("/api/org", password) == 200


@pytest.mark.parametrize("bad", ["", "admin", "1234567"])
def test_a_password_that_is_none_is_refused_before_anything_changes(rollout, bad):
    done = rollout(variables={"grafana_admin_password": bad, "prometheus_log_level": "debug"})
    assert done.status != 0
    assert "grafana_admin_password is missing, or shorter than 8 characters" in done.message
    assert not any(done.changed(host) for host in done.report["stats"])


@pytest.fixture(scope="module")
def changed(host, rollout):
    """Roll another password out, while the arguments of all processes are written down."""
    watch = "systemd-run --quiet --collect --unit=watch-arguments --property=RuntimeMaxSec=120"
    host.check_output(f"{watch} sh -c '{WATCH}'")
    variables = {"grafana_admin_password": OTHER}
    done = rollout("--limit", NODE, "--tags", "grafana", "--diff", "-vvv", variables=variables)
    host.check_output("systemctl stop watch-arguments")
    assert done.status == 0, done.message
    yield done
    restored = rollout("--limit", NODE, "--tags", "grafana")
    assert restored.status == 0, restored.message


def test_another_password_is_set_once(changed, grafana, password, rollout):
    assert grafana.status("/api/org", OTHER) == 200
    assert grafana.status("/api/org", password) == 401
    again = rollout("--limit", NODE, variables={"grafana_admin_password": OTHER})
    assert (again.status, again.changed(NODE)) == (0, 0)


def test_the_password_is_not_in_the_output(changed):
    assert "(new content, not shown)" in changed.diff
    assert OTHER not in changed.diff.replace("\\", "")


def test_the_password_is_not_in_the_list_of_processes(host, changed):
    arguments = host.check_output("tr '\\0' '\\n' < /root/seen | sort --unique")
    assert "--password-from-stdin" in arguments
    assert OTHER not in arguments


def test_the_password_is_not_in_the_journal(host, changed):
    assert OTHER not in host.check_output("journalctl --no-pager --output=cat").replace("\\", "")


def test_the_password_is_in_no_file_that_everybody_can_read(host, changed):
    own = "/etc/grafana/secrets/admin_password"
    find = f"find / -xdev -type f -size -1000k -not -path '/usr/*' -exec grep -lF '{OTHER}' {{}} +"
    assert own in host.run(find).stdout.splitlines()
    assert host.run(find.replace("-size", "-perm /o+r -size")).stdout == ""
