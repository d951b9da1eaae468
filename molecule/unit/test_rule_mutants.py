"""Mistakes in the rules, one at a time: the rules' cases must notice each of them."""

import hashlib
import json
import re
import warnings
from collections import defaultdict
from functools import cache
from typing import NamedTuple

import pytest
import yaml
from mutants import mutants

from lab import CACHE, REPOSITORY
from programs import promtool

RULES = sorted((REPOSITORY / "files/rules").glob("*.rules.yml"))
CASES = sorted((REPOSITORY / "files/rules/tests").glob("*.test.yml"))
# Mutants for one process.
BATCH = 12
# The cases that are tried first on the mistakes in a rule. All others come after them, so a list
# that is out of date costs nothing but time.
NOTICED_BY = REPOSITORY / "files/rules/tests/noticed_by.yml"
# The verdicts of earlier runs, by content.
VERDICTS = CACHE / "mutants"

# Mistakes that no case can notice, and why.
LAG = "promtool evaluates every group each time, so that the memory of a day never lags behind"
HARMLESS = {
    "batch_job:declared_since_timestamp_seconds, line 4: or on (instance)": LAG,
    "batch_job:declared_since_timestamp_seconds, line 4: or on (job)": LAG,
    "batch_job:declared_since_timestamp_seconds, line 4: without or on (job, instance)"
    " batch_job:declared_since_timestamp_seconds": LAG,
    # Then the completion is later than the start, too, which has ended the run.
    "batch_job:running_since_timestamp_seconds, line 11: (batch_job:last_start_timestamp_seconds"
    " >= batch_job:last_push_timestamp_seconds)": "a start with the latest push",
}


class Case(NamedTuple):
    document: str
    minutes: int


def load(path):
    return yaml.load(path.read_text(), yaml.CSafeLoader)


@cache
def cases(rules):
    """Return the cases of a rule file by name, each as the JSON of a test file of its own."""
    found = {}
    for path in CASES:
        document = load(path)
        if f"../{rules}" not in document["rule_files"]:
            continue
        # `0x5` is six zeros for promtool, and a number for YAML.
        texts = yaml.load(path.read_text(), yaml.CBaseLoader)["tests"]  # noqa: S506
        for case, text in zip(document["tests"], texts, strict=True):
            checks = case.get("alert_rule_test", []) + case.get("promql_expr_test", [])
            minutes = max(int(check["eval_time"].rstrip("ms")) for check in checks)
            case["input_series"] = text["input_series"]
            found[case["name"]] = Case(json.dumps({**document, "tests": [case]}), minutes)
    return found


@cache
def mutants_by_rule():
    """Return the mutants of each rule, by rule file and name of the rule."""
    found = defaultdict(list)
    for path in RULES:
        for mutant in mutants(load(path)):
            found[path.name, mutant.rule].append(mutant)
    return found


def failing(case, name, files):
    """Return the mutants that fail a case, of files that replace the rule file with a name."""
    tests = [file.with_suffix(".test.json") for file in files]
    for file, test in zip(files, tests, strict=True):
        document = case.document.replace(f'"../{name}"', json.dumps(str(file)))
        test.write_text(document.replace('"../', f'"{RULES[0].parent}/'))
    done = promtool("test", "rules", *tests)
    verdicts = re.findall(r"^  (SUCCESS|FAILED):?$", done.stdout, re.MULTILINE)
    return [file for file, verdict in zip(files, verdicts, strict=True) if verdict == "FAILED"]


@cache
def surroundings():
    """Return the version of promtool and all rules: a case may load several files."""
    return promtool("--version").stdout + "".join(path.read_text() for path in RULES)


def digest(file, case):
    """Return a digest of all that decides whether a case notices a mutant."""
    text = "\0".join((surroundings(), file.read_text(), case.document))
    return hashlib.sha256(text.encode()).hexdigest()


def earlier_verdicts(path):
    """Return whether a case has noticed a mutant, by digest; none when the file is damaged."""
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError):
        return {}


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


def test_every_harmless_mistake_is_one_that_a_rule_can_have():
    assert HARMLESS.keys() <= {
        str(mutant) for found in mutants_by_rule().values() for mutant in found
    }


@pytest.mark.parametrize(
    ("name", "rule"), mutants_by_rule(), ids=[rule for _, rule in mutants_by_rule()]
)
def test_the_cases_notice_every_mistake_in_a_rule(name, rule, tmp_path):
    found = mutants_by_rule()[name, rule]
    unnoticed = {tmp_path / f"{number}.json": mutant for number, mutant in enumerate(found)}
    for file, mutant in unnoticed.items():
        file.write_text(json.dumps(mutant.rules))
    listed = load(NOTICED_BY).get(rule, [])
    path = VERDICTS / f"{name}-{rule.replace(':', '-')}.json"
    earlier, verdicts, noticed_by = earlier_verdicts(path), {}, []
    unchecked = list(unnoticed)
    for title, case in sorted(
        cases(name).items(),
        key=lambda item: (
            listed.index(item[0]) if item[0] in listed else len(listed),
            item[1].minutes,
        ),
    ):
        digests = {
            file: digest(file, case)
            for file, mutant in unnoticed.items()
            # The cases of the list are enough to show that a mistake is not harmless.
            if title in listed or str(mutant) not in HARMLESS
        }
        new = [file for file in digests if digests[file] not in earlier]
        if new and unchecked:
            done = promtool("check", "rules", "--lint=none", *unchecked)
            assert done.returncode == 0, done.stdout
            unchecked.clear()
        for start in range(0, len(new), BATCH):
            batch = new[start : start + BATCH]
            failed = failing(case, name, batch)
            earlier |= {digests[file]: file in failed for file in batch}
        verdicts |= {key: earlier[key] for key in digests.values()}
        noticed = [file for file, key in digests.items() if verdicts[key]]
        for file in noticed:
            del unnoticed[file]
        if noticed:
            noticed_by.append(title)
    VERDICTS.mkdir(parents=True, exist_ok=True)
    # Complete or absent.
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(verdicts))
    partial.replace(path)
    if noticed_by != listed:
        warnings.warn(f"{NOTICED_BY.name}, {rule}: {json.dumps(noticed_by)}", stacklevel=1)
    survivors = set(map(str, unnoticed.values()))
    assert survivors == HARMLESS.keys() & set(map(str, found))
