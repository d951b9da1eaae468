"""The inventories that operators start from, rolled out as they are to a host of the lab."""

import json
import re

import pytest
import trustme
import yaml

from clients import eventually
from lab import REPOSITORY, nodes

testinfra_hosts = ["ansible://fresh"]

INVENTORIES = REPOSITORY / "inventories"
# Everything else is what the inventory says; these say that its hosts are a node of the lab.
LAB = json.loads(nodes.inventory_file("molecule").read_text())
NODE = {**LAB["lab"]["vars"], **LAB["_meta"]["hostvars"]["fresh"], "site_address": "localhost"}
QUICK = {"prometheus_global": {"scrape_interval": "2s", "evaluation_interval": "2s"}}


def targets(host):
    url = "http://localhost:9090/api/v1/targets?state=active"
    found = json.loads(host.check_output(f"curl --silent {url}"))["data"]["activeTargets"]
    return {target["labels"]["job"]: target["health"] for target in found}


ALL_UP = dict.fromkeys(("pushgateway", "alertmanager", "prometheus", "declared_jobs"), "up")


def on(copy):
    """Return the variables of the lab for a copy."""
    return {**NODE, "ansible_host": copy.container}


def test_the_local_inventory_makes_a_site_that_only_its_host_can_reach(copy, rollout):
    done = rollout(inventory=INVENTORIES / "local", variables=on(copy))
    assert done.status == 0, done.message
    assert eventually(lambda: targets(copy.host) == ALL_UP, timeout_seconds=60)
    listening = copy.host.check_output("ss --listening --tcp --numeric --no-header").splitlines()
    addresses = {line.split()[3].rpartition(":")[0] for line in listening if ":90" in line}
    assert addresses == {"127.0.0.1"}


EXAMPLE = INVENTORIES / "production/group_vars/all/vault.yml.example"
UNFILLED = yaml.safe_load(EXAMPLE.read_text())


@pytest.fixture
def vault():
    """Fill in the production inventory's vault as its example asks for."""
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    return {
        **{name: re.sub("change.me", "filled-in-4f1c", text) for name, text in UNFILLED.items()},
        "vault_pushgateway_password": "correct horse",
        "vault_grafana_admin_password": "battery staple",
        # bcrypt of the above, with few rounds.
        "vault_pushgateway_password_hash": (
            "$2b$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e"
        ),
        "vault_pushgateway_certificate": certificate.cert_chain_pems[0].bytes().decode(),
        "vault_pushgateway_key": certificate.private_key_pem.bytes().decode(),
        "vault_ca_certificate": authority.cert_pem.bytes().decode(),
    }


# Who hears of which alert: its name (of all that ship), severity and owner.
ROUTES = {
    ("critical", "dba"): "on-call,database",
    ("warning", "dba"): "database",
    ("info", "dba"): "database",
    ("critical", "developers"): "on-call,chat",
    ("critical", "ops"): "on-call,operations",
    ("warning", "ops"): "operations",
    ("info", ""): "operations",
    ("critical", ""): "on-call,operations",
}
FIXED = {"Watchdog": "watchdog", "BatchJobCanary": "canary", "BatchJobFollows": "nobody"}
ALERTS = sorted(path.stem for path in (REPOSITORY / "files/runbooks").glob("*.md"))
RECEIVERS = {
    f"alertname={alert} severity={severity}" + (f" owner={owner}" if owner else ""): FIXED.get(
        alert, receiver
    )
    for alert in ALERTS
    for (severity, owner), receiver in ROUTES.items()
}


def receivers(host):
    """Return to whom Alertmanager's own tool says that each alert would go."""
    config = "--config.file=/etc/alertmanager/alertmanager.yml"
    script = "".join(
        f"/opt/alertmanager/amtool config routes test {config} {labels}\n" for labels in RECEIVERS
    )
    return dict(zip(RECEIVERS, host.check_output(script).splitlines(), strict=True))


# Certificates are public.
PUBLIC = {"vault_pushgateway_certificate", "vault_ca_certificate"}
# Prints where a secret is: in a file that others than root and its group can read, in what Ansible
# may have left behind, in what processes show of themselves, or in the journal. Debian's list of
# packages has our passwords by chance.
SEARCH = """
find / -xdev -path /var/lib/apt/lists -prune -o -type f -perm -o=r -print0 |
  xargs -0 grep -lF -f /root/secrets --
find /root/.ansible /tmp /var/tmp -xdev -type f -print0 | xargs -0r grep -lF -f /root/secrets --
grep -lF -f /root/secrets /proc/[0-9]*/cmdline /proc/[0-9]*/environ
journalctl --no-pager --all | grep -F -f /root/secrets
"""


def secrets(vault):
    """Return a line of each secret; of a key, one in its middle."""
    return [
        text.splitlines()[len(text.splitlines()) // 2]
        for name, text in vault.items()
        if name not in PUBLIC
    ]


def search(host, lines):
    """Return where any of the lines is found on a host."""
    # By a command of its own, whose process has ended by then.
    host.check_output("umask 077; cat > /root/secrets <<'END'\n" + "\n".join(lines) + "\nEND")
    return host.run(f"{{ {SEARCH} }} 2> /dev/null").stdout.splitlines()


def test_the_production_inventory_makes_a_secured_site_once_its_vault_is_filled(
    copy, rollout, vault
):
    # One node cannot be two hosts with jobs.
    limit = "--limit=!database.example.org"
    site = {"inventory": INVENTORIES / "production", "variables": {**on(copy), **QUICK, **vault}}
    process = rollout("--diff", "-vvv", limit, wait=False, **site)
    printed = "".join(process.communicate())
    assert process.returncode == 0, printed[-3000:]
    hidden = secrets(vault)
    assert [line for line in hidden if line in printed] == []
    assert eventually(lambda: targets(copy.host) == ALL_UP, timeout_seconds=60)
    assert copy.host.run("curl --silent --fail --insecure https://localhost:9091/metrics").rc == 22

    assert copy.host.run("curl --silent --fail localhost:3000/api/health").rc == 0
    assert copy.host.run("curl --silent --fail localhost:3000/api/org").rc == 22

    # Through TLS and past the passwords: the report on the state, a canary, each alert's route.
    assert copy.host.run("systemctl start pushgateway-state.service").rc == 0
    site["variables"] |= {"verify_senders": ["files.example.org"]}
    canary = rollout(playbook="verify.yml", **site)
    assert canary.status == 0, canary.message
    assert receivers(copy.host) == RECEIVERS

    assert search(copy.host, hidden) == []
    copy.host.check_output(f"echo '{hidden[0]}' > /etc/leak && chmod 0644 /etc/leak")
    assert search(copy.host, hidden) == ["/etc/leak"]


def test_the_production_inventory_names_all_secrets_that_nobody_filled_in(rollout):
    done = rollout(inventory=INVENTORIES / "production", variables={**NODE, **UNFILLED})
    assert done.status != 0
    assert f"Fill in the vault: {', '.join(UNFILLED)}" in done.message
    assert not any(done.changed(host) for host in done.report["stats"])


def test_the_production_inventory_names_the_secret_that_is_missing(rollout):
    done = rollout(inventory=INVENTORIES / "production", variables=NODE)
    assert done.status != 0
    assert "vault_" in done.message
    assert "is undefined" in done.message
    assert not any(done.changed(host) for host in done.report["stats"])
