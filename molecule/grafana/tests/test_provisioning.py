"""What Grafana is given to read: every key is one that it documents, of the right type.

Grafana ignores a key that it does not know, so a misspelt one is seen only here.
"""

import pytest
import yaml

testinfra_hosts = ["ansible://boards13", "ansible://boards12"]

# https://grafana.com/docs/grafana/latest/administration/provisioning/
DATASOURCES = {
    "apiVersion": int,
    "prune": bool,
    "deleteDatasources": [{"name": str, "orgId": int}],
    "datasources": [
        {
            "name": str,
            "type": str,
            "access": str,
            "orgId": int,
            "uid": str,
            "url": str,
            "user": str,
            "database": str,
            "basicAuth": bool,
            "basicAuthUser": str,
            "withCredentials": bool,
            "isDefault": bool,
            # https://grafana.com/docs/grafana/latest/datasources/prometheus/configure/
            "jsonData": {
                "httpMethod": str,
                "manageAlerts": bool,
                "prometheusType": str,
                "prometheusVersion": str,
                "cacheLevel": str,
                "timeInterval": str,
                "queryTimeout": str,
                "tlsAuth": bool,
                "tlsAuthWithCACert": bool,
                "tlsSkipVerify": bool,
                "serverName": str,
            },
            "secureJsonData": {
                "tlsCACert": str,
                "tlsClientCert": str,
                "tlsClientKey": str,
                "basicAuthPassword": str,
            },
            "version": int,
            "editable": bool,
        }
    ],
}
PROVIDERS = {
    "apiVersion": int,
    "providers": [
        {
            "name": str,
            "orgId": int,
            "folder": str,
            "folderUid": str,
            "type": str,
            "disableDeletion": bool,
            "updateIntervalSeconds": int,
            "allowUiUpdates": bool,
            "options": {"path": str, "foldersFromFilesStructure": bool},
        }
    ],
}


def complaints(found, documented, where=""):
    """Return what in a document is unknown or of another type than documented."""
    if isinstance(documented, dict) and isinstance(found, dict):
        return [
            complaint
            for key, value in found.items()
            for complaint in (
                complaints(value, documented[key], f"{where}.{key}")
                if key in documented
                else [f"{where}.{key} is unknown"]
            )
        ]
    if isinstance(documented, list) and isinstance(found, list):
        return [c for each in found for c in complaints(each, documented[0], where)]
    return [] if type(found) is documented else [f"{where} is {found!r}"]


def read(host, kind):
    path = f"/etc/grafana/provisioning/{kind}/batch_jobs.yaml"
    return yaml.safe_load(host.check_output("runuser --user=grafana -- cat %s", path))


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ({"apiVersion": 1, "prune": "yes"}, [".prune is 'yes'"]),
        (
            {"datasources": [{"jsonData": {"httpmethod": "GET"}}]},
            [".datasources.jsonData.httpmethod is unknown"],
        ),
        ({"datasources": {}}, [".datasources is {}"]),
    ],
)
def test_the_check_finds_what_grafana_would_ignore(document, complaint):
    assert complaints(document, DATASOURCES) == complaint


def test_the_data_source_says_only_what_grafana_documents(host):
    assert complaints(read(host, "datasources"), DATASOURCES) == []


def test_the_folder_says_only_what_grafana_documents(host):
    assert complaints(read(host, "dashboards"), PROVIDERS) == []


def test_the_data_source_is_the_sites_prometheus_at_its_own_pace(host):
    (source,) = read(host, "datasources")["datasources"]
    assert (source["uid"], source["type"]) == ("batch-jobs-prometheus", "prometheus")
    assert source["jsonData"]["timeInterval"] == "2s"
    assert host.check_output("curl --silent --fail %s/-/ready", source["url"])


def test_the_folder_holds_what_its_path_holds_and_no_more(host):
    (provider,) = read(host, "dashboards")["providers"]
    assert (provider["folder"], provider["folderUid"]) == ("Batch jobs", "batch-jobs")
    assert (provider["disableDeletion"], provider["allowUiUpdates"]) == (False, False)
    assert host.check_output("runuser --user=grafana -- ls %s", provider["options"]["path"])
