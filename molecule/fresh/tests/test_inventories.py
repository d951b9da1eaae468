"""The inventories that operators start from, rolled out as they are to a host of the lab."""

import json
import re
import shlex
import shutil
import subprocess
from collections import Counter
from subprocess import PIPE
from urllib.parse import quote

import pytest
import yaml
from ansible.parsing.vault import VaultLib, VaultSecret

from clients import eventually
from doors import Stranger, expected
from guard import guard_login
from lab import REPOSITORY, nodes

testinfra_hosts = ["ansible://fresh"]

INVENTORIES = REPOSITORY / "inventories"
# Everything else is what the inventory says; these say that its hosts are a node of the lab.
LAB = json.loads(nodes.inventory_file("molecule").read_text())
NODE = {**LAB["lab"]["vars"], **LAB["_meta"]["hostvars"]["fresh"], "site_address": "localhost"}
QUICK = {"prometheus_global": {"scrape_interval": "2s", "evaluation_interval": "2s"}}
FAILED_SCRAPES = "/var/lib/prometheus/failed_scrapes.log"


TLS_PORTS = (9090, 9091, 9093)


def targets(host, get="curl --silent http://localhost:9090/api/v1/targets"):
    found = json.loads(host.check_output(get))["data"]["activeTargets"]
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


VAULT_PASSWORD = "open sesame"


@pytest.fixture
def production(tmp_path, rollout):
    """Return a copy of the production inventory with its secrets, as an operator gets them."""
    inventory = shutil.copytree(INVENTORIES / "production", tmp_path / "mine")
    (tmp_path / "password").write_text(VAULT_PASSWORD)
    done = rollout(
        f"--vault-password-file={tmp_path}/password",
        inventory=inventory,
        variables={"site_address": "localhost"},
        playbook="secrets.yml",
    )
    assert done.status == 0, done.message
    return inventory


def opened(inventory):
    """Return what is in the vault of an inventory."""
    keyring = VaultLib([("default", VaultSecret(VAULT_PASSWORD.encode()))])
    vault = inventory / "group_vars/all/vault.yml"
    return yaml.safe_load(keyring.decrypt(vault.read_bytes()))


def filled(vault):
    """Fill in the secrets that only an operator has."""
    own = {name: value for name, value in vault.items() if value == "change me"}
    return {name: f"https://example.org/filled-in-4f1c-{name}" for name in own}


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
FIXED = {
    "Watchdog": "watchdog",
    "BatchJobCanary": "canary",
    "BatchJobExplained": "nobody",
    "BatchJobFollows": "nobody",
}
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
    users = [user for accounts in vault["vault_accounts"].values() for user in accounts]
    keys = [pair["key"] for pair in vault["vault_certificates"].values()]
    return [
        *(user[part] for user in users for part in ("password", "hash")),
        *(key.splitlines()[len(key.splitlines()) // 2] for key in [vault["vault_ca_key"], *keys]),
        vault["vault_grafana_admin_password"],
        *vault["vault_guard_keys"],
        *filled(vault).values(),
    ]


def search(host, lines):
    """Return where any of the lines is found on a host."""
    # By a command of its own, whose process has ended by then.
    host.check_output("umask 077; cat > /root/secrets <<'END'\n" + "\n".join(lines) + "\nEND")
    return host.run(f"{{ {SEARCH} }} 2> /dev/null").stdout.splitlines()


def test_the_production_inventory_makes_a_closed_site_once_its_secrets_are_made(
    copy, rollout, production
):
    # One node cannot be two hosts with jobs.
    arguments = ["--limit=!database.example.org", f"--vault-password-file={production}/../password"]
    vault = opened(production)
    site = {"inventory": production, "variables": {**on(copy), **QUICK, **filled(vault)}}
    process = rollout("--diff", "-vvv", *arguments, wait=False, **site)
    printed = "".join(process.communicate())
    assert process.returncode == 0, printed[-3000:]
    hidden = secrets(vault)
    assert [line for line in hidden if line in printed] == []
    accounts = vault["vault_accounts"]
    [account] = accounts["prometheus"]
    get = (
        f"curl --silent --fail --cacert /etc/prometheus/secrets/ca.crt --user "
        f"{account['username']}:{account['password']} https://localhost:9090/api/v1/targets"
    )
    assert eventually(lambda: targets(copy.host, get) == ALL_UP, timeout_seconds=60)
    declared = copy.host.check_output(get.replace("api/v1/targets", "user/declared_jobs.prom"))
    assert (
        'certificate_expiry_timestamp_seconds{instance="push.example.org",file="secrets/tls'
        in declared
    )
    for port in (9090, 9091, 9093):
        # 22: the answer is an error; 52 and 56: no answer to http.
        assert copy.host.run(f"curl -s -f --insecure https://localhost:{port}/metrics").rc == 22
        assert copy.host.run(f"curl -s -f http://localhost:{port}/metrics").rc != 0
    address = copy.host.check_output("hostname --ip-address").split()[0]
    nobody = Stranger(
        lambda command: copy.host.run(f"runuser -u nobody -- {command}").stdout, address, TLS_PORTS
    )
    outside = Stranger(
        lambda command: subprocess.run(shlex.split(command), stdout=PIPE, text=True).stdout,
        address,
        TLS_PORTS,
    )
    wrong = {"username": account["username"], "password": "wrong"}
    for stranger, login in ((nobody, None), (outside, None), (outside, wrong)):
        assert stranger.answers("production", login) == expected("production")
    # The password of the jobs opens nothing else, and Prometheus' does not push.
    for service, port, request in (
        ("pushgateway", 9090, "GET /api/v1/query?query=up"),
        ("pushgateway", 9093, "POST /api/v2/silences"),
        ("prometheus", 9091, "DELETE /metrics/job/stranger/instance/debian13"),
        ("alertmanager", 9091, "GET /api/v1/metrics"),
    ):
        assert outside.ask(port, request, login=accounts[service][0]) == 401

    # Through TLS and past the passwords: the report on the state, a canary, each alert's route.
    assert copy.host.run("systemctl start pushgateway-state.service").rc == 0
    site["variables"] |= {"verify_senders": ["files.example.org"]}
    canary = rollout(arguments[1], playbook="verify.yml", **site)
    assert canary.status == 0, canary.message
    assert receivers(copy.host) == RECEIVERS

    assert search(copy.host, hidden) == []
    copy.host.check_output(f"echo '{hidden[0]}' > /etc/leak && chmod 0644 /etc/leak")
    assert search(copy.host, hidden) == ["/etc/leak"]


# Each run is a job of its own, so that a report that is lost is seen.
TICKS = """
i=0
while [ ! -e /run/enough ]; do
  i=$((i+1)); echo $i > /run/ticks
  /usr/local/bin/batch-job run --job tick-$i -- true
  sleep 5
done
"""


GUARD = """
pushgateway_guard:
  children:
    pushgateway:
"""


def test_a_rotation_of_all_secrets_loses_no_report_and_locks_nobody_out(copy, rollout, production):
    with (production / "hosts.yml").open("a") as hosts:
        hosts.write(GUARD)
    limit = "--limit=!database.example.org"
    password = f"--vault-password-file={production}/../password"
    often = QUICK["prometheus_global"] | {"scrape_failure_log_file": FAILED_SCRAPES}
    variables = {**on(copy), "prometheus_global": often, **filled(opened(production))}

    def roll_out():
        done = rollout(limit, password, inventory=production, variables=variables)
        assert done.status == 0, done.message

    def rotate(**parts):
        site = {"inventory": production, "variables": {"site_address": "localhost", **parts}}
        assert rollout(password, playbook="secrets.yml", **site).changed("localhost") == 1
        roll_out()

    def login(service):
        account = opened(production)["vault_accounts"][service][0]
        return (
            f"curl --silent --fail --cacert /etc/{service}/secrets/ca.crt "
            f"--user {account['username']}:{account['password']} "
        )

    def guarded(instance):
        """Push as a job host; return the exit status of curl, 22 if that was refused."""
        account = guard_login(opened(production)["vault_guard_keys"], "host", "files.example.org")
        return copy.host.run(
            f"echo 'x 1' | curl --silent --fail --cacert /etc/pushgateway/secrets/ca.crt "
            f"--user {account['username']}:{account['password']} --data-binary @- "
            f"https://localhost:9191/metrics/job/own/instance/{instance}"
        ).rc

    def answer(query):
        url = f"https://localhost:9090/api/v1/query?query={quote(query)}"
        return json.loads(copy.host.check_output(login("prometheus") + url))["data"]["result"]

    def groups():
        url = "https://localhost:9091/api/v1/metrics"
        data = json.loads(copy.host.check_output(login("pushgateway") + url))["data"]
        return {group["labels"]["job"] for group in data}

    roll_out()
    old = login("pushgateway")
    assert [guarded("files.example.org"), guarded("database.example.org")] == [0, 22]
    assert eventually(lambda: len(answer('up{job="pushgateway"} == 1')) == 1, timeout_seconds=60)
    copy.host.check_output(f"cat > /root/ticks <<'END'\n{TICKS}END")
    copy.host.check_output("systemd-run --unit=ticks sh /root/ticks")
    rotate(renew=["passwords", "certificates", "ca"])
    metrics = "https://localhost:9091/metrics"
    assert copy.host.run(old + metrics).rc == 0
    rotate(retire=["passwords", "ca"])
    assert copy.host.run(old + metrics).rc == 22
    copy.host.check_output("touch /run/enough")
    assert eventually(lambda: not copy.host.service("ticks").is_running, timeout_seconds=15)
    ticks = int(copy.host.check_output("cat /run/ticks"))
    assert ticks > 5
    copy.host.check_output("systemctl start flush-batch-job-reports.service")
    assert {f"tick-{number + 1}" for number in range(ticks)} <= groups()
    # In each of the two rollouts, one scrape of a target may still come with what is not valid any
    # more. A service that restarts, or is slow, refuses nobody.
    lines = copy.host.check_output(f"cat {FAILED_SCRAPES}").splitlines()
    refused = Counter(
        (entry.get("target"), entry["msg"])
        for entry in map(json.loads, lines)
        if not re.search("connection refused|deadline exceeded|EOF|reset by peer", entry["msg"])
    )
    assert max(refused.values(), default=0) <= 2, refused


def test_the_production_inventory_names_all_secrets_that_nobody_filled_in(rollout, production):
    done = rollout(
        f"--vault-password-file={production}/../password", inventory=production, variables=NODE
    )
    assert done.status != 0
    assert f"Fill in the vault: {', '.join(sorted(filled(opened(production))))}" in done.message
    assert not any(done.changed(host) for host in done.report["stats"])


def test_the_production_inventory_names_the_secret_that_is_missing(rollout):
    done = rollout(inventory=INVENTORIES / "production", variables=NODE)
    assert done.status != 0
    assert "vault_" in done.message
    assert "is undefined" in done.message
    assert not any(done.changed(host) for host in done.report["stats"])
