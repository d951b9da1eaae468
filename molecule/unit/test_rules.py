"""The alert rules as they ship, under promtool."""

import subprocess

import pytest
import yaml

from lab import REPOSITORY, releases

RULES = sorted((REPOSITORY / "files/rules").glob("*.rules.yml"))
CASES = sorted((REPOSITORY / "files/rules/tests").glob("*.test.yml"))


def promtool(*arguments):
    command = [str(releases.program("promtool")), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.name)
def test_the_rules_are_valid(path):
    done = promtool("check", "rules", "--lint-fatal", path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.name)
def test_the_rules_do_what_the_cases_say(path):
    done = promtool("test", "rules", path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_is_quiet():
    alerts = {
        rule["alert"]
        for path in RULES
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }
    checks = [
        check
        for path in CASES
        for case in yaml.safe_load(path.read_text())["tests"]
        for check in case["alert_rule_test"]
    ]
    fires = {check["alertname"] for check in checks if check["exp_alerts"]}
    quiet = {check["alertname"] for check in checks if not check["exp_alerts"]}
    assert fires == alerts
    # The watchdog is never quiet, that is its purpose.
    assert quiet == alerts - {"Watchdog"}
