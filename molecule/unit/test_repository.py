"""The files that people expect of a repository agree with this one."""

import json
import re
import subprocess
import tomllib

import pytest
import yaml

import batch_job
from lab import REPOSITORY

RENOVATE = json.loads((REPOSITORY / "renovate.json").read_text())
ROLES = sorted(path.parent.parent for path in REPOSITORY.glob("roles/*/meta/main.yml"))
PINNED_BY_ROLES = [
    (role, name.removesuffix("_version"), version)
    for role in ROLES
    for name, version in yaml.safe_load((role / "defaults/main.yml").read_text()).items()
    if name.endswith("_version")
]


def found_by_renovate(path):
    """Return the versions that Renovate's own patterns find in a file, by dependency."""
    text = path.read_text()
    versions = {}
    for manager in RENOVATE["customManagers"]:
        files = [pattern.strip("/") for pattern in manager["managerFilePatterns"]]
        if any(re.search(file, str(path.relative_to(REPOSITORY))) for file in files):
            for pattern in manager["matchStrings"]:
                for match in re.finditer(pattern.replace("(?<", "(?P<"), text):
                    name = match.groupdict().get("depName") or manager["depNameTemplate"]
                    versions.setdefault(name, []).append(match["currentValue"])
    return versions


def commands(target):
    """Return what make would run for a target."""
    argv = ["make", "--dry-run", "--assume-old=.venv/ready-dev", *target]
    done = subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_roles_pin_versions():
    assert {name for _, name, _ in PINNED_BY_ROLES} >= {"grafana", "prometheus", "pushgateway"}


@pytest.mark.parametrize("file", ["defaults/main.yml", "README.md"])
@pytest.mark.parametrize(
    ("role", "name", "version"), PINNED_BY_ROLES, ids=[name for _, name, _ in PINNED_BY_ROLES]
)
def test_renovate_finds_the_version_that_a_role_installs(role, name, version, file):
    versions = found_by_renovate(role / file)
    assert [version] == versions.get(name, versions.get(f"{name}/{name}"))


def test_renovate_finds_the_images_of_the_compose_stack():
    path = REPOSITORY / "compose/.env"
    images = [line.partition("=")[2] for line in path.read_text().splitlines() if "_IMAGE=" in line]
    assert images == [f"{name}:{tag}" for name, (tag,) in found_by_renovate(path).items()]


def test_renovate_finds_every_version_in_the_lab_but_those_that_are_old_on_purpose():
    missed = {}
    for path in REPOSITORY.glob("molecule/lab/**/*.py"):
        lines = [line for line in path.read_text().splitlines() if "PREVIOUS" not in line]
        pinned = re.findall(r'"(\d+\.\d+\.\d+)"', "\n".join(lines))
        found = [version for versions in found_by_renovate(path).values() for version in versions]
        if pinned != found:
            missed[path.name] = (pinned, found)
    assert not missed


@pytest.mark.parametrize("path", sorted(REPOSITORY.glob("*.txt")), ids=lambda path: path.name)
def test_renovate_reads_the_list_of_python_packages(path):
    ours = RENOVATE["pip_requirements"]["managerFilePatterns"][0].strip("/")
    # Its default, from docs.renovatebot.com/modules/manager/pip_requirements.
    default = r"(^|/)[\w-]*requirements([-.]\w+)?\.(txt|pip)$"
    assert re.search(f"{default}|{ours}", path.name)


def test_renovate_may_propose_what_is_pinned():
    pinned = {f"{name}/{name}": version for _, name, version in PINNED_BY_ROLES}
    for image, (tag,) in found_by_renovate(REPOSITORY / "compose/.env").items():
        pinned[image] = tag
    for path in REPOSITORY.glob("*.txt"):
        lines = path.read_text().splitlines()
        pinned |= dict(line.split("==") for line in lines if "==" in line)
    limits = {
        name: rule["allowedVersions"].strip("/")
        for rule in RENOVATE["packageRules"]
        if "allowedVersions" in rule
        for name in rule["matchPackageNames"]
    }
    assert limits
    assert [name for name, limit in limits.items() if not re.search(limit, pinned[name])] == []


def test_the_hooks_run_what_make_lint_runs():
    hooks = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text())["repos"][0][
        "hooks"
    ]
    entries = [hook["entry"].removeprefix("make --silent ") for hook in hooks]
    assert commands(entries) == commands(["lint"])


def test_continuous_integration_runs_make_test():
    github = yaml.safe_load((REPOSITORY / ".github/workflows/test.yml").read_text())
    gitlab = yaml.safe_load((REPOSITORY / ".gitlab-ci.yml").read_text())
    steps = [step.get("run") for job in github["jobs"].values() for step in job["steps"]]
    assert "make test" in steps
    assert "make test" in gitlab["test"]["script"]


def test_the_newest_version_in_the_changelog_is_that_of_the_package():
    changelog = (REPOSITORY / "CHANGELOG.md").read_text()
    versions = re.findall(r"^## \[(\d.*)\] - \d{4}-\d\d-\d\d$", changelog, re.MULTILINE)
    assert versions[0] == batch_job.__version__


def test_everything_is_under_one_licence():
    metas = [yaml.safe_load((role / "meta/main.yml").read_text()) for role in ROLES]
    package = tomllib.loads((REPOSITORY / "files/batch_job/pyproject.toml").read_text())
    named = {meta["galaxy_info"]["license"] for meta in metas} | {
        package["project"]["license"]["text"]
    }
    assert named == {"Apache-2.0"}
    licence = (REPOSITORY / "LICENSE").read_text()
    assert "Apache License\n                           Version 2.0" in licence
    assert "END OF TERMS AND CONDITIONS" in licence


@pytest.mark.parametrize("path", sorted(REPOSITORY.glob("*.md")), ids=lambda path: path.name)
def test_documented_make_commands_exist(path):
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    text = path.read_text()
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE)) <= targets
    parts = [f"molecule/{name}/molecule.yml" for name in re.findall(r"SCENARIO=([a-z]+)", text)]
    parts += re.findall(r"TESTS=([\w/.]+)", text)
    assert [part for part in parts if not (REPOSITORY / part).exists()] == []


def test_text_files_follow_editorconfig():
    argv = ["git", "ls-files", "-z", ":!*.png", ":!Makefile"]
    tracked = subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    paths = [REPOSITORY / name for name in tracked.stdout.split("\0")]
    strays = re.compile(rb"[ \t\r]$|^ *\t|[^\n]\Z", re.MULTILINE)
    assert not [path for path in paths if path.is_file() and strays.search(path.read_bytes())]
