"""The alert rules as they ship, under promtool."""

import re
import subprocess
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import NamedTuple

import pytest
import yaml

from lab import REPOSITORY, releases
from lab.mutants import mutants

RULES = sorted((REPOSITORY / "files/rules").glob("*.rules.yml"))
CASES = sorted((REPOSITORY / "files/rules/tests").glob("*.test.yml"))
RUNBOOKS = REPOSITORY / "files/runbooks"

# Mistakes that no case can notice, and why.
LAG = "promtool evaluates every group each time, so that the memory of a day never lags behind"
HARMLESS = {
    "batch_jobs.rules.yml": {
        "batch_job:declared_since_timestamp_seconds, line 4: or on (instance)": LAG,
        "batch_job:declared_since_timestamp_seconds, line 4: or on (job)": LAG,
        "batch_job:declared_since_timestamp_seconds, line 4: without or on (job, instance)"
        " batch_job:declared_since_timestamp_seconds": LAG,
    },
}


def promtool(*arguments):
    command = [str(releases.program("promtool")), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@cache
def load(path):
    return yaml.load(path.read_text(), yaml.CSafeLoader)


def alerts():
    rules = (rule for path in RULES for group in load(path)["groups"] for rule in group["rules"])
    return {rule["alert"]: rule for rule in rules if "alert" in rule}


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.name)
def test_the_rules_are_valid(path):
    done = promtool("check", "rules", "--lint-fatal", path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.name)
def test_the_rules_do_what_the_cases_say(path):
    done = promtool("test", "rules", path)
    assert done.returncode == 0, done.stdout + done.stderr


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
    assert {path.stem for path in RUNBOOKS.glob("*.md")} - {"README"} == set(alerts())
    for name, alert in alerts().items():
        assert alert["annotations"]["runbook_url"].endswith("}}/{{ end }}" + name + ".md")


class Case(NamedTuple):
    file: str
    name: str
    words: frozenset[str]
    minutes: int


def words(text):
    return frozenset(re.findall(r"\w{4,}", text))


@cache
def cases_with(rules):
    return [
        Case(
            path.name, case["name"], words(yaml.dump(case, Dumper=yaml.CSafeDumper)), minutes(case)
        )
        for path in CASES
        if f"../{rules}" in load(path)["rule_files"]
        for case in load(path)["tests"]
    ]


def minutes(case):
    """Return how many minutes promtool evaluates."""
    checks = case.get("alert_rule_test", []) + case.get("promql_expr_test", [])
    return max(int(check["eval_time"].rstrip("ms")) for check in checks)


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.name)
def test_the_cases_notice_every_mistake_in_a_rule(path, tmp_path):
    noticed = Counter()

    def is_noticed(mutant, directory):
        hints = words(mutant.expression)

        def likelihood(case):
            return noticed[mutant.rule, case.name], len(hints & case.words) / (case.minutes + 10)

        for case in sorted(cases_with(path.name), key=likelihood, reverse=True):
            run = f"^{re.escape(case.name)}$"
            if promtool("test", "rules", "--run", run, directory / "tests" / case.file).returncode:
                noticed[mutant.rule, case.name] += 1
                return True
        return False

    mistaken = {tmp_path / str(n): mutant for n, mutant in enumerate(mutants(load(path)))}
    for directory, mutant in mistaken.items():
        directory.mkdir()
        for other in {*RULES, path.parent / "tests"} - {path}:
            (directory / other.name).symlink_to(other)
        (directory / path.name).write_text(yaml.dump(mutant.rules, Dumper=yaml.CSafeDumper))
    done = promtool(
        "check", "rules", "--lint=none", *(directory / path.name for directory in mistaken)
    )
    assert done.returncode == 0, done.stderr

    with ThreadPoolExecutor(2) as pool:
        are_noticed = pool.map(is_noticed, mistaken.values(), mistaken)
        unnoticed = {
            str(m) for m, is_ in zip(mistaken.values(), are_noticed, strict=True) if not is_
        }
    assert unnoticed == HARMLESS.get(path.name, {}).keys()
