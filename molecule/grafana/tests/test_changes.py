"""Rolling out again: other versions, other dashboards, and what is refused."""

from pathlib import Path

import yaml

from lab import REPOSITORY, nodes, role_default
from lab.offline import grafana as packages

NODE = "boards12"
testinfra_hosts = [f"ansible://{NODE}"]

SHIPPED = sorted(str(path) for path in REPOSITORY.glob("files/dashboards/*.json"))
KEY = "/etc/apt/keyrings/batch-jobs-grafana.asc"
CURRENT = packages.version()


def installed(host):
    return host.check_output("dpkg-query --show --showformat '${Version}' grafana")


def dashboards(host):
    return host.check_output("ls /etc/grafana/dashboards/batch_jobs").split()


def test_a_rollback_is_one_variable_and_no_upgrade_of_packages_undoes_it(copy):
    done = copy.roll_out("grafana", grafana_version=packages.PREVIOUS)
    assert done.status == 0, done.message
    assert copy.grafana.get("/api/health").json()["version"] == packages.PREVIOUS
    assert "grafana" not in copy.host.check_output("apt-get --simulate dist-upgrade")
    assert installed(copy.host) == packages.PREVIOUS


def test_packages_that_another_key_signed_are_not_installed(copy):
    forged = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n-----END PGP PUBLIC KEY BLOCK-----\n"
    copy.host.check_output("rm -f /var/lib/apt/lists/*dists_stable*")
    variables = {"grafana_repository_key": forged, "grafana_version": packages.PREVIOUS}
    done = copy.roll_out("grafana", **variables)
    assert done.status != 0
    assert installed(copy.host) == CURRENT


def test_the_key_is_fetched_from_where_it_is_published(copy):
    source = packages.variables(nodes.MIRROR_URL)
    published = role_default("grafana_repository_key")
    url = f"{source['grafana_repository_url']}/key.asc" if source else published
    copy.host.check_output(f"rm {KEY}")
    for mode, present in (["--check"], False), ([], True):
        done = copy.roll_out("grafana", *mode, grafana_repository_key=url)
        assert done.status == 0, done.message
        assert copy.host.file(KEY).exists == present
    key = copy.host.file(KEY).content_string
    assert key.strip() == copy.host.check_output(f"curl --silent {url}")


def test_another_dashboard_comes_and_goes_without_a_restart_and_check_mode_shows_it(
    copy, dashboard
):
    pid = copy.host.service("grafana-server").systemd_properties["MainPID"]
    before = dashboards(copy.host)
    more = [*SHIPPED, dashboard("mine")]
    checked = copy.roll_out("grafana", "--check", "--diff", grafana_dashboard_files=more)
    assert checked.status == 0, checked.message
    assert checked.changed(NODE) == 1
    assert "Title of mine" in checked.diff
    assert dashboards(copy.host) == before
    assert copy.roll_out("grafana", grafana_dashboard_files=more).status == 0
    assert "mine.json" in dashboards(copy.host)
    assert copy.roll_out("grafana", grafana_dashboard_files=SHIPPED).status == 0
    assert dashboards(copy.host) == [Path(path).name for path in SHIPPED]
    assert copy.host.service("grafana-server").systemd_properties["MainPID"] == pid


def test_a_configuration_that_ends_grafana_fails_the_rollout_with_its_last_words(copy):
    broken = {"grafana_config": {"server": {"http_port": "no-port"}}}
    done = copy.roll_out("grafana", **broken, grafana_ready={"retries": 5})
    assert done.status != 0
    assert f"grafana-server {CURRENT} is not ready" in done.message
    assert "no-port" in done.message


def test_check_mode_on_a_rolled_out_host_predicts_no_change(rollout):
    checked = rollout("--limit", NODE, "--check", "--diff")
    assert (checked.status, checked.changed(NODE)) == (0, 0), checked.diff


def test_a_prometheus_with_tls_and_a_password_is_described_by_the_inventory(copy):
    secure = {"basicAuthPassword": "$__file{/etc/grafana/secrets/prometheus_password}"}
    variables = {
        "grafana_datasource": {
            "basicAuth": True,
            "basicAuthUser": "grafana",
            "jsonData": {"tlsAuthWithCACert": True},
            "secureJsonData": secure,
        },
        "grafana_secret_files": {"secrets/prometheus_password": "hunter22"},
    }
    done = copy.roll_out("grafana", "--diff", **variables)
    assert done.status == 0, done.message
    assert "hunter22" not in done.diff
    path = "/etc/grafana/provisioning/datasources/batch_jobs.yaml"
    (source,) = yaml.safe_load(copy.host.file(path).content_string)["datasources"]
    assert source["secureJsonData"] == secure
    assert source["jsonData"]["httpMethod"] == "POST"
