"""The alert rules as they ship, under promtool."""

import re
from functools import cache

import pytest
import yaml

from batch_job.states import STATES
from dashboards.queries import WATCHERS
from lab import REPOSITORY
from programs import promtool

RULES = sorted((REPOSITORY / "files/rules").glob("*.rules.yml"))
CASES = sorted((REPOSITORY / "files/rules/tests").glob("*.test.yml"))
RUNBOOKS = REPOSITORY / "files/runbooks"


@cache
def load(path):
    return yaml.load(path.read_text(), yaml.CSafeLoader)


def alerts():
    rules = (rule for path in RULES for group in load(path)["groups"] for rule in group["rules"])
    return {rule["alert"]: rule for rule in rules if "alert" in rule}


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.name)
def test_the_rules_are_valid(path):
    done = promtool("check", "rules", "--lint-fatal", path)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.name)
def test_the_rules_do_what_the_cases_say(path):
    done = promtool("test", "rules", path)
    assert done.returncode == 0, done.stdout


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_is_quiet():
    fires, quiet = set(), set()
    for case in (case for path in CASES for case in load(path)["tests"]):
        checks = case.get("alert_rule_test", [])
        firing = {check["alertname"] for check in checks if check["exp_alerts"]}
        fires |= firing
        quiet |= {check["alertname"] for check in checks} - firing
    assert fires == set(alerts())
    # The watchdog is never quiet, that is its purpose.
    assert quiet == set(alerts()) - {"Watchdog"}


def test_every_alert_says_what_is_wrong():
    for name, alert in alerts().items():
        assert alert["annotations"].keys() == {"summary", "description", "runbook_url"}, name


def test_every_alert_has_a_runbook_and_every_runbook_an_alert():
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == set(alerts())
    for name, alert in alerts().items():
        assert alert["annotations"]["runbook_url"].endswith("}}/{{ end }}" + name + ".md")


def test_the_page_and_the_dashboards_count_every_alert_on_the_watching_itself():
    watchers = load(REPOSITORY / "files/rules/watchers.rules.yml")["groups"]
    names = {rule["alert"] for group in watchers for rule in group["rules"] if "alert" in rule}
    pattern = WATCHERS.removeprefix('alertname=~"').removesuffix('"')
    assert {name for name in alerts() if re.fullmatch(pattern, name)} == names - {"Watchdog"}


def test_the_readme_lists_every_alert_and_which_are_only_information():
    text = (REPOSITORY / "README.md").read_text()
    rows = re.findall(
        r"^\| ((?:`\w+`(?:, )?)+) \| (.+) \|$", text.partition("### Be told")[2], re.M
    )
    listed = {name: when for names, when in rows for name in re.findall(r"\w+", names)}
    silent = {"BatchJobExplained", "BatchJobFollows", "BatchJobCanary"}
    assert listed.keys() == alerts().keys() - silent
    information = {
        name
        for name, alert in alerts().items()
        if "info" in alert.get("labels", {}).get("severity", "")
    }
    assert {name for name, when in listed.items() if "(info)" in when} == information - silent


def test_runbooks_call_the_states_of_jobs_as_the_page_and_the_dashboards_do():
    (rule,) = (
        rule
        for group in load(REPOSITORY / "files/rules/batch_jobs.rules.yml")["groups"]
        for rule in group["rules"]
        if rule.get("record") == "batch_job:state"
    )
    named = re.findall(r'(\d+) \* ALERTS\{alertname=~?"([^"]+)"', rule["expr"])
    assert len(named) == 8
    for number, names in named:
        word = f"call the job `{STATES[int(number)].name}`."
        for name in names.split("|"):
            assert word in (RUNBOOKS / f"{name}.md").read_text(), name


def test_the_table_of_recording_rules_names_each_with_its_sources_and_its_memory():
    path = REPOSITORY / "files/rules/batch_jobs.rules.yml"
    rows = re.findall(r"^# \| (:\S+) +\| (.+?) +\| (.+?) +\|$", path.read_text(), re.MULTILINE)
    rules = [rule for group in load(path)["groups"] for rule in group["rules"] if "record" in rule]
    assert [f"batch_job{name}" for name, _, _ in rows] == [rule["record"] for rule in rules]
    for (name, sources, memory), rule in zip(rows, rules, strict=True):
        used = set(re.findall(r"[\w:]+", rule["expr"]))
        named = re.findall(r"\w*[:_]\w+", f"{sources} {memory}")
        assert {re.sub("^[:_]", r"batch_job\g<0>", metric) for metric in named} <= used, name
        if memory == "-":
            assert rule["record"] not in used, name
        else:
            assert used & {rule["record"], "batch_job:remembered"}, name
