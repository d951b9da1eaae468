"""A job's keys, defaults and words: one place each, and what cannot read it says the same."""

import ast
import json
import re
import subprocess

import pytest
import units
import yaml

import inventory
from batch_job import config, names, outcome, sandbox, states
from batch_job.schedule import Schedule
from dashboards import queries
from lab import REPOSITORY

SPECS = REPOSITORY / "roles/batch_job/meta/argument_specs.yml"
RUNBOOK = REPOSITORY / "files/runbooks/BatchJobFailed.md"
REPORTERS = REPOSITORY / "files/reporters"
EXAMPLES = [
    path
    for path in sorted(REPORTERS.rglob("*.*"))
    if not {"tests", "__pycache__"} & set(path.parts)
    and "batch_job_last_result" in path.read_text()
]
JOB = inventory.job_options(is_external=False)


@pytest.mark.parametrize(("type_", "value"), [("str", "a"), ("int", 3), ("list", ["a", "b"])])
def test_a_key_of_the_specs_alone_reaches_the_reporter_which_refuses_it(
    type_, value, tmp_path, monkeypatch
):
    specs = yaml.safe_load(SPECS.read_text())
    job = specs["argument_specs"]["main"]["options"]["batch_job_jobs"]["options"]
    job["tolerate"] = {"type": type_, "description": "What one run may do."}
    copy = tmp_path / "argument_specs.yml"
    copy.write_text(yaml.dump(specs, sort_keys=False))
    for plugin in (inventory, units):
        monkeypatch.setattr(plugin, "SPECS", copy)

    jobs = [{"name": "nightly", "max_age": "1h", "tolerate": value}]
    assert inventory.declared_jobs(jobs, "web-1")
    for name, content in units.declaration_files(jobs).items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(content)
    with pytest.raises(config.ConfigError, match="there is no tolerate"):
        config.declared_jobs(tmp_path)


MISSPELT = [{"name": "nightly", "max_agee": "1h"}]


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("batch_job_jobs", MISSPELT, "there is no max_agee; did you mean max_age?"),
        ("batch_job_external", MISSPELT, "there is no max_agee; did you mean max_age?"),
        ("batch_job_unit_options", {"Type": "exec"}, "Type is the role''s own"),
    ],
)
def test_a_bad_value_is_named_although_others_variables_read_it(variable, value, message):
    extra = json.dumps({variable: value})
    done = subprocess.run(
        [
            "ansible-playbook",
            "-i",
            "inventories/local",
            "-e",
            extra,
            "playbooks/check_inventory.yml",
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert message in done.stdout + done.stderr


def test_every_key_of_a_job_is_read_by_the_reporter_or_named_as_not_for_it():
    assert config.READERS.keys() | units.NOT_DECLARED == JOB.keys()
    assert config.READERS.keys().isdisjoint(units.NOT_DECLARED)


def test_every_key_of_a_declaration_has_a_place_in_the_reporters_job():
    fields = {*config.Job._fields, *Schedule._fields} - {"schedule", "is_damaged"}
    assert fields == config.READERS.keys()


def test_defaults_of_the_specs_are_the_reporters():
    declared = {key: option["default"] for key, option in JOB.items() if "default" in option}
    assert declared.pop("enabled") is declared.pop("catch_up") is True
    reporters = config.Job("nightly")._asdict() | Schedule()._asdict()
    assert {key: config.read_value(key, text) for key, text in declared.items()} == {
        key: reporters[key] for key in declared
    }
    given = {key for key in config.READERS if reporters.get(key) and key != "name"}
    assert given == declared.keys()


def test_a_job_that_tells_no_severity_alerts_with_the_default_one():
    rules = (REPOSITORY / "files/rules/batch_jobs.rules.yml").read_text()
    set_severities = re.findall(r'"severity", "(\w+)"', rules)
    assert set_severities
    assert set(set_severities) == {JOB["severity"]["default"]}


def test_severities_are_the_same_wherever_they_are_listed():
    alertmanager = inventory.role_arguments(str(REPOSITORY / "roles"))["alertmanager"]
    tree = ast.parse((REPORTERS / "ansible/pushgateway.py").read_text())
    callback = next(
        yaml.safe_load(node.value.value)["options"]
        for node in tree.body
        if isinstance(node, ast.Assign) and node.targets[0].id == "DOCUMENTATION"
    )
    for option in (
        JOB["severity"],
        inventory.job_options(is_external=True)["severity"],
        alertmanager["alertmanager_severities"]["options"]["name"],
        callback["severity"],
    ):
        assert option["choices"] == list(names.SEVERITIES)
    assert tuple(rank.split()[1] for rank in queries.SEVERITIES) == names.SEVERITIES
    assert callback["severity"]["default"] == JOB["severity"]["default"]


def test_the_dashboards_have_a_colour_for_every_result():
    assert tuple(states.RESULTS) == outcome.RESULTS


def test_the_runbook_explains_every_result_of_a_failure():
    explained = re.findall(r"^   - `([a-z-]+)[ `]", RUNBOOK.read_text(), re.MULTILINE)
    assert sorted([*explained, outcome.SUCCESS, outcome.WARNING]) == sorted(outcome.RESULTS)


@pytest.mark.parametrize("symptom", sandbox.SYMPTOMS, ids=lambda symptom: symptom.text)
def test_readme_and_runbook_have_every_symptom_of_a_sandbox(symptom):
    readme = (SPECS.parents[1] / "README.md").read_text()
    (row,) = re.findall(rf"^\| `{re.escape(symptom.text)}`.*", readme, re.MULTILINE)
    # The property has another name than the option.
    options = symptom.options.replace("EnvironmentFiles", "EnvironmentFile").split()
    assert set(options) <= set(re.findall(r"`(\w+)`", row))
    assert f"\n| `{symptom.text}`" in RUNBOOK.read_text()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_reports_no_result_of_its_own(path):
    word = r'"([a-z-]+)"' if path.suffix == ".py" else r"\bresult=([a-z-]+)"
    lines = re.findall(r'\bresult ?= ?["a-z].*', path.read_text())
    results = {result for line in lines for result in re.findall(word, line)}
    assert outcome.SUCCESS in results
    assert results <= set(outcome.RESULTS)
