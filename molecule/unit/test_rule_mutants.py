"""Mistakes in the rules, one at a time: the rules' cases must notice each of them."""

import hashlib
import json
import re
from collections import Counter, defaultdict
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
# What earlier runs have found out, by content. A case takes a third of a second, and a mutant that
# nothing is known of needs four.
FOUND = CACHE / "mutants"

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


@cache
def version():
    return promtool("--version").stdout


def digest(mutant, *documents):
    """Return a digest of everything that decides whether test files notice a mutant."""
    parts = [version(), json.dumps(mutant.rules), *documents]
    return hashlib.sha256("".join(parts).encode()).hexdigest()


class Memory:
    """What earlier runs found out about the mutants of a rule: who noticed which, if anybody."""

    def __init__(self, name, rule):
        self.path = FOUND / f"{name}-{rule.replace(':', '-')}.json"
        self.cases = {case.name: case.document for case in cases(name)}
        try:
            self.found = json.loads(self.path.read_text())
        except (OSError, ValueError):
            self.found = {}

    def first(self, mutant):
        """Return the name of the case that noticed the mutant, when it or the case was another."""
        return self.found.get(str(mutant), {}).get("case")

    def is_known(self, mutant):
        """Return whether this very case has noticed this very mutant, or none of all."""
        known = self.found.get(str(mutant), {})
        return known.get("digest") == self._digest(mutant, known.get("case"))

    def keep(self, found, noticed_by):
        """Store for each mutant the name of the case that noticed it, or None."""
        content = {
            str(mutant): {"case": case, "digest": self._digest(mutant, case)}
            for mutant, case in ((mutant, noticed_by.get(str(mutant))) for mutant in found)
        }
        FOUND.mkdir(parents=True, exist_ok=True)
        # Complete or absent.
        partial = self.path.with_suffix(".partial")
        partial.write_text(json.dumps(content, indent=1))
        partial.replace(self.path)

    def _digest(self, mutant, case):
        documents = self.cases.values() if case is None else [self.cases.get(case, "")]
        return digest(mutant, *documents)


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
    memory = Memory(name, rule)
    noticed_by = {str(each): memory.first(each) for each in found if memory.is_known(each)}
    unnoticed = {
        tmp_path / f"{number}.json": mutant
        for number, mutant in enumerate(found)
        if str(mutant) not in noticed_by
    }
    for file, mutant in unnoticed.items():
        file.write_text(json.dumps(mutant.rules))
    if unnoticed:
        done = promtool("check", "rules", "--lint=none", *unnoticed)
        assert done.returncode == 0, done.stdout

    times = Counter()
    untried = {file: set(cases(name)) for file in unnoticed}
    while any(untried[file] for file in unnoticed):
        # Try the case that is most likely to notice the mutant and takes the least time.
        tries = defaultdict(list)
        for file, mutant in unnoticed.items():
            hints = words(f"{rule} {mutant.expression}")
            first = memory.first(mutant)
            case = max(
                untried[file],
                key=lambda case: (
                    case.name == first,
                    times[case],
                    rule in case.words,
                    len(hints & case.words) / (case.minutes + 10),
                ),
            )
            untried[file].remove(case)
            tries[case].append(file)
        for case, files in tries.items():
            for start in range(0, len(files), BATCH):
                for file in failing(case, name, files[start : start + BATCH]):
                    noticed_by[str(unnoticed.pop(file))] = case.name
                    times[case] += 1
    memory.keep(found, noticed_by)
    survivors = {str(mutant) for mutant in found if noticed_by.get(str(mutant)) is None}
    assert survivors == HARMLESS.keys() & set(map(str, found))
