"""Every role's defaults, argument_specs and README say the same."""

import re

import pytest
import role_readme
import yaml

from lab import REPOSITORY

ROLES = sorted(path.parent.parent.name for path in REPOSITORY.glob("roles/*/meta/main.yml"))


def options(role):
    specs = REPOSITORY / "roles" / role / "meta" / "argument_specs.yml"
    return yaml.safe_load(specs.read_text())["argument_specs"]["main"]["options"]


def defaults(role):
    return yaml.safe_load((REPOSITORY / "roles" / role / "defaults" / "main.yml").read_text())


def test_there_are_roles():
    assert {"daemon", "pushgateway", "prometheus", "alertmanager"} <= set(ROLES)


@pytest.mark.parametrize("role", ROLES)
def test_every_argument_is_required_or_has_a_default(role):
    optional = {name for name, option in options(role).items() if not option.get("required")}
    assert set(defaults(role)) == optional


@pytest.mark.parametrize("role", ROLES)
def test_the_readme_tells_the_arguments_as_they_are(role):
    readme = REPOSITORY / "roles" / role / "README.md"
    assert role_readme.render(role, readme.read_text()) == readme.read_text(), "run `make docs`"


def test_defaults_in_the_specs_are_those_of_the_tasks_that_wait_for_a_service():
    tasks = "".join(path.read_text() for path in REPOSITORY.glob("roles/daemon/tasks/*.yml"))
    used = dict(re.findall(r"daemon_ready\.(\w+) \| default\((?!omit)(\w+)\)", tasks))
    assert used
    for role in {*ROLES} - {"batch_job", "pushgateway_guard"}:
        ready = options(role)[f"{role}_ready"]["options"]
        assert used == {
            key: yaml.dump(option["default"]).split()[0]
            for key, option in ready.items()
            if "default" in option
        }


@pytest.mark.parametrize("role", ROLES)
def test_no_description_repeats_a_default(role):
    """A nested option has a `default:` of its own, which the README's table shows."""
    specs = (REPOSITORY / "roles" / role / "meta" / "argument_specs.yml").read_text()
    assert not re.findall(r"\(.* by default\)", specs)


def test_a_rollout_needs_no_collection_beside_ansible_core():
    folders = ("roles", "playbooks", "inventories")
    paths = [path for folder in folders for path in REPOSITORY.glob(f"{folder}/**/*.y*ml")]
    assert paths
    modules = r"\b(?:community|ansible)\.(?!builtin)[a-z]+\.[a-z_0-9]+"
    uses = {str(path): re.findall(modules, path.read_text()) for path in paths}
    assert {path: names for path, names in uses.items() if names} == {}
