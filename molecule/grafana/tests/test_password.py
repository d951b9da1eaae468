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


def test_a_password_that_was_changed_by_hand_is_put_back(copy, password):
    copy.host.check_output(f"echo by-hand-instead | runuser --user=grafana -- {RESET}")
    assert copy.grafana.status("/api/org", password) == 401
    done = copy.roll_out("grafana")
    assert (done.status, done.changed(NODE)) == (0, 1), done.message
    assert copy.grafana.status("/api/org", password) == 200


@pytest.mark.parametrize("bad", ["", "admin", "1234567"])
def test_a_password_that_is_none_is_refused_before_anything_changes(rollout, bad):
    done = rollout(variables={"grafana_admin_password": bad, "prometheus_log_level": "debug"})
    assert done.status != 0
    assert "grafana_admin_password is missing, or shorter than 8 characters" in done.message
    assert not any(done.changed(host) for host in done.report["stats"])


@pytest.fixture(scope="module")
def changed(copied):
    """Boot the copy to which another password is rolled out."""
    with copied(NODE) as copy:
        yield copy


@pytest.fixture(scope="module")
def output(changed):
    """Roll another password out, while the arguments of all processes are written down."""
    watch = "systemd-run --quiet --collect --unit=watch-arguments --property=RuntimeMaxSec=120"
    changed.host.check_output(f"{watch} sh -c '{WATCH}'")
    done = changed.roll_out("grafana", "--diff", "-vvv", grafana_admin_password=OTHER)
    changed.host.check_output("systemctl stop watch-arguments")
    assert done.status == 0, done.message
    return done.diff


def test_another_password_is_set_once(changed, output, password):
    assert changed.grafana.status("/api/org", OTHER) == 200
    assert changed.grafana.status("/api/org", password) == 401
    again = changed.roll_out("grafana", grafana_admin_password=OTHER)
    assert (again.status, again.changed(NODE)) == (0, 0)


def test_the_password_is_not_in_the_output(output):
    assert "(new content, not shown)" in output
    assert OTHER not in output.replace("\\", "")


def test_the_password_is_not_in_the_list_of_processes(changed, output):
    arguments = changed.host.check_output("tr '\\0' '\\n' < /root/seen | sort --unique")
    assert "--password-from-stdin" in arguments
    assert OTHER not in arguments


def test_the_password_is_not_in_the_journal(changed, output):
    journal = changed.host.check_output("journalctl --no-pager --output=cat")
    assert OTHER not in journal.replace("\\", "")


def test_the_password_is_in_no_file_that_everybody_can_read(changed, output):
    own = "/etc/grafana/secrets/admin_password"
    find = f"find / -xdev -type f -size -1000k -not -path '/usr/*' -exec grep -lF '{OTHER}' {{}} +"
    assert own in changed.host.run(find).stdout.splitlines()
    assert changed.host.run(find.replace("-size", "-perm /o+r -size")).stdout == ""
