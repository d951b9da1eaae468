"""The alert rules as they ship, under promtool."""

import os
import re
import subprocess
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import NamedTuple

import pytest
import yaml

from lab import REPOSITORY
from lab.mutants import mutants
from programs import find

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
    command = [str(find("promtool")), *map(str, arguments)]
    # Its garbage is not worth collecting so often.
    environment = os.environ | {"GOGC": "400"}
    return subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


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


def test_mutants_are_made_of_operators_not_of_what_looks_like_one():
    expression = """# a > b or c
rate(a{b!="or"}[5m]) > bool 0 and on (c, d) max(e) or f"""
    rules = {"groups": [{"name": "g", "rules": [{"record": "r", "expr": expression, "for": "1m"}]}]}
    assert [mutant.mistake for mutant in mutants(rules)] == [
        "without for",
        'line 2: rate(a{b!="or"}[5m]) < bool 0 and on (c, d) max(e) or f',
        'line 2: rate(a{b!="or"}[5m]) > bool 0 and on (d) max(e) or f',
        'line 2: rate(a{b!="or"}[5m]) > bool 0 and on (c) max(e) or f',
        "line 2: without and on (c, d) max(e)",
        "line 2: without or f",
        'line 1: without # a > b or c rate(a{b!="or"}[5m]) > bool 0 and on (c, d) max(e) or',
    ]


class Case(NamedTuple):
    file: str
    name: str
    words: frozenset[str]
    minutes: int


def words(text):
    return frozenset(re.findall(r"[\w:]{4,}", text))


def minutes(case):
    checks = case.get("alert_rule_test", []) + case.get("promql_expr_test", [])
    return max(int(check["eval_time"].rstrip("ms")) for check in checks)


@cache
def cases_with(rules):
    return [
        Case(path.name, case["name"], words(yaml.dump(case, Dumper=yaml.CDumper)), minutes(case))
        for path in CASES
        if f"../{rules}" in load(path)["rule_files"]
        for case in load(path)["tests"]
    ]


def failing(batch):
    """Return a case, and those of the directories whose rules fail it."""
    case, directories = batch
    files = [directory / "tests" / case.file for directory in directories]
    done = promtool("test", "rules", "--run", f"^{re.escape(case.name)}$", *files)
    verdicts = re.findall(r"^  (SUCCESS|FAILED):?$", done.stdout, re.MULTILINE)
    return case, [
        d for d, verdict in zip(directories, verdicts, strict=True) if verdict == "FAILED"
    ]


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.name)
def test_the_cases_notice_every_mistake_in_a_rule(path, tmp_path):
    unnoticed = {tmp_path / str(n): mutant for n, mutant in enumerate(mutants(load(path)))}
    for directory, mutant in unnoticed.items():
        directory.mkdir()
        for other in {*RULES, path.parent / "tests"} - {path}:
            (directory / other.name).symlink_to(other)
        (directory / path.name).write_text(yaml.dump(mutant.rules, Dumper=yaml.CDumper))
    done = promtool("check", "rules", "--lint=none", *(each / path.name for each in unnoticed))
    assert done.returncode == 0, done.stdout

    noticed_by = Counter()
    untried = {directory: set(cases_with(path.name)) for directory in unnoticed}
    while any(untried[directory] for directory in unnoticed):
        # Each mutant meets the case that is most likely to notice it, and costs least.
        tries = defaultdict(list)
        for directory, mutant in unnoticed.items():
            hints = words(f"{mutant.rule} {mutant.expression}")
            case = max(
                untried[directory],
                key=lambda case: (
                    noticed_by[mutant.rule, case],
                    mutant.rule in case.words,
                    len(hints & case.words) / (case.minutes + 20),
                ),
            )
            untried[directory].remove(case)
            tries[case].append(directory)
        batches = [
            (case, directories[n : n + 8])
            for case, directories in tries.items()
            for n in range(0, len(directories), 8)
        ]
        with ThreadPoolExecutor(2) as pool:
            for case, directories in pool.map(failing, batches):
                for directory in directories:
                    noticed_by[unnoticed.pop(directory).rule, case] += 1
    assert {*map(str, unnoticed.values())} == HARMLESS.get(path.name, {}).keys()
