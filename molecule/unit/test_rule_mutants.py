"""Mistakes in the rules, one at a time: the rules' cases must notice each of them."""

import hashlib
import json
import re
from collections import Counter, defaultdict
from functools import cache
from pathlib import Path
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
# The case that noticed a mutant in an earlier run is tried first: a case takes a third of a second,
# and an unknown mutant needs four of them.
NOTICED = CACHE / "mutants"

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
    name: str
    document: str
    words: frozenset[str]
    minutes: int


def load(path):
    return yaml.load(path.read_text(), yaml.CSafeLoader)


def words(text):
    return frozenset(re.findall(r"[\w:]{4,}", text))


@cache
def cases(rules):
    """Return the cases of a rule file, each as the JSON of a test file of its own."""
    found = []
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
            single = json.dumps({**document, "tests": [case]})
            found.append(Case(case["name"], single, words(single), minutes))
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


class Memory:
    """What earlier runs found out about the mutants of a rule."""

    def __init__(self, name, rule):
        self.path = NOTICED / f"{name}-{rule.replace(':', '-')}.json"
        try:
            self.known = json.loads(self.path.read_text())
        except (OSError, ValueError):
            self.known = {}
        everything = [*(case.document for case in cases(name)), Path(__file__).read_text()]
        self.cases = hashlib.sha256("".join(everything).encode()).hexdigest()

    def _survival(self, mutant):
        return hashlib.sha256(f"{self.cases}{json.dumps(mutant.rules)}".encode()).hexdigest()

    def survived(self, mutant):
        """Return whether these very cases have not noticed this very mutant."""
        return self.known.get(str(mutant)) == self._survival(mutant)

    def first(self, mutant):
        """Return the name of the case that noticed the mutant."""
        return self.known.get(str(mutant))

    def keep(self, noticed, survivors):
        known = noticed | {str(mutant): self._survival(mutant) for mutant in survivors}
        NOTICED.mkdir(parents=True, exist_ok=True)
        # Complete or absent.
        partial = self.path.with_suffix(".partial")
        partial.write_text(json.dumps(known, indent=1))
        partial.replace(self.path)


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
    done = promtool("check", "rules", "--lint=none", *unnoticed)
    assert done.returncode == 0, done.stdout

    memory = Memory(name, rule)
    noticed = {}
    noticed_by = Counter()
    untried = {
        file: set() if memory.survived(mutant) else set(cases(name))
        for file, mutant in unnoticed.items()
    }
    while any(untried[file] for file in unnoticed):
        # Try the case that is most likely to notice the mutant and takes the least time.
        tries = defaultdict(list)
        for file, mutant in unnoticed.items():
            hints = words(f"{rule} {mutant.expression}")
            case = max(
                untried[file],
                key=lambda case: (
                    case.name == memory.first(mutant),
                    noticed_by[case],
                    rule in case.words,
                    len(hints & case.words) / (case.minutes + 10),
                ),
            )
            untried[file].remove(case)
            tries[case].append(file)
        for case, files in tries.items():
            for start in range(0, len(files), BATCH):
                for file in failing(case, name, files[start : start + BATCH]):
                    noticed[str(unnoticed.pop(file))] = case.name
                    noticed_by[case] += 1
    memory.keep(noticed, unnoticed.values())
    survivors = set(map(str, unnoticed.values()))
    assert survivors == HARMLESS.keys() & set(map(str, found))
