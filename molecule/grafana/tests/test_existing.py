"""A Grafana that was there before is only given what it shows."""

import pytest
import yaml

testinfra_hosts = ["ansible://boards12"]

UNIT = "/etc/systemd/system/grafana-server.service.d"
# Names the secret files that are the role's.
SECRETS = "/etc/grafana/.secret-files"
DATASOURCE = "/etc/grafana/provisioning/datasources/batch_jobs.yaml"


@pytest.fixture
def existing(copy):
    """Make a host's Grafana somebody else's, without a trace of the role's configuration."""
    copy.host.check_output("echo '; theirs' >> /etc/grafana/grafana.ini")
    copy.host.check_output(f"rm -r {UNIT} {DATASOURCE} {SECRETS} && systemctl daemon-reload")
    copy.host.check_output("systemctl restart grafana-server")
    return copy


def test_its_configuration_unit_and_password_are_left_alone(existing, password):
    host = existing.host
    pid = host.service("grafana-server").systemd_properties["MainPID"]
    provisioned = {"grafana_mode": "provisioned", "grafana_admin_password": ""}
    done = existing.roll_out("grafana", **provisioned)
    assert done.status == 0, done.message
    assert host.file("/etc/grafana/grafana.ini").contains("^; theirs")
    assert not host.file(UNIT).exists
    assert existing.grafana.status("/api/org", password) == 200

    (source,) = yaml.safe_load(host.file(DATASOURCE).content_string)["datasources"]
    assert (source["name"], source["isDefault"]) == ("Prometheus of batch jobs", False)
    assert host.service("grafana-server").systemd_properties["MainPID"] != pid
    again = existing.roll_out("grafana", **provisioned)
    assert (again.status, again.changed("boards12")) == (0, 0)
