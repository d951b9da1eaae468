"""`report_pipeline.sh`, and the files of GitLab, GitHub and Jenkins that use it.

The scripts in these files are run as their runners' documentation says: in those shells, with those
variables, and with stand-ins for `make`, `pip` and `python3 -m venv`. Not proven are the runners
themselves: how they read these files, the rules by which they start jobs, Groovy, and that they
call a result what is assumed here.
"""

import functools
import re
import shutil
import subprocess
import time
from collections import namedtuple
from pathlib import Path

import pytest
import yaml

from batch_job.outcome import SUCCESS

CI = Path(__file__).resolve().parents[1] / "ci"
COMMIT = "0123456789abcdef0123456789abcdef01234567"

# What a user of a CI sees: whether the run was good, and the log.
Run = namedtuple("Run", "is_good log")


@pytest.fixture
def workspace(tmp_path, stand_in, batch_job):
    """Return a checkout of somebody's repository, with the examples in it."""
    shutil.copytree(CI, tmp_path / "checkout" / "ci")
    stand_in("make", '#!/bin/sh\n[ "$1" = "${FAILS-}" ] && exit 3\nexit 0\n')
    pip = stand_in("pip", "#!/bin/sh\n")
    stand_in("python3", f"#!/bin/sh\nmkdir -p .venv/bin && cp {pip} {batch_job} .venv/bin\n")
    return tmp_path / "checkout"


class Runner:
    """Runs scripts of a CI in a workspace.

    Settings are what a person tells the CI for the example, in words of the reporters.
    """

    # The jobs by `report_pipeline.sh` and by `batch-job run`, as the gateway calls them.
    release, nightly = "release", "nightly"
    # What this CI calls a run that somebody stops.
    cancelled = "cancelled"

    def __init__(self, workspace, environment, finish, fails="", default_branch="main", **settings):
        self.workspace = workspace
        self._environment = environment
        self._finish = finish
        self._fails = fails
        self._default_branch = default_branch
        self._settings = settings

    def shell(self, command, **variables):
        environment = self._environment(FAILS=self._fails, **variables)
        return self._finish(command, cwd=self.workspace, env=environment, stderr=subprocess.STDOUT)


class GitLab(Runner):
    """Runs a job, and its `after_script` in a shell of its own; settings are variables."""

    release, nightly = "team-shop-release", "team-shop-nightly"
    cancelled = "canceled"

    def __call__(self, job="release", branch="main", tag=None, ended=None):
        found = yaml.safe_load((self.workspace / "ci/gitlab-ci.yml").read_text())[job]
        given = {
            "CI_PROJECT_PATH_SLUG": "team-shop",
            "CI_DEFAULT_BRANCH": self._default_branch,
            "CI_COMMIT_SHORT_SHA": COMMIT[:8],
            "CI_JOB_STARTED_AT": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 90)),
            # Of a merge request, that of the branch, which may be a fork's.
            "CI_COMMIT_REF_NAME": tag or branch or "main",
            # A merge request has none.
            **({"CI_COMMIT_BRANCH": branch} if branch else {}),
            **({"CI_COMMIT_TAG": tag} if tag else {}),
            **self._settings,
        }
        for name, text in found["variables"].items():
            given[name] = re.sub(r"\$(\w+)", lambda match: given[match[1]], text)
        script = self._script(found["script"], given)
        status = ended or ("failed" if script.returncode else "success")
        after = self._script(found.get("after_script", []), {**given, "CI_JOB_STATUS": status})
        assert after.returncode == 0
        return Run(script.returncode == 0, script.stdout + after.stdout)

    def _script(self, lines, variables):
        return self.shell(["bash", "-c", "\n".join(["set -eo pipefail", *lines])], **variables)


class GitHub(Runner):
    """Runs the steps of a job, those of the composite action included.

    Settings are variables and secrets, which reach a step by expressions alone.
    """

    def __call__(self, job="release", branch="main", tag=None, ended=None):
        document = yaml.safe_load((self.workspace / "ci/github/workflow.yml").read_text())
        self.context = {
            "github.ref_name": tag or branch or "12/merge",
            "github.ref_type": "tag" if tag else "branch",
            # Of a pull request, that of the branch, which may be a fork's.
            "github.head_ref": "" if tag or branch else "main",
            "github.sha": COMMIT,
            "github.event.repository.default_branch": self._default_branch,
            "vars.PUSHGATEWAY_URL": self._settings.get("PUSHGATEWAY_URL", ""),
            "vars.PUSHGATEWAY_CA_FILE": self._settings.get("BATCH_JOB_CA_FILE", ""),
            "secrets.PUSHGATEWAY_CURL_CONFIG": self._content("CURL_CONFIG"),
            "secrets.PUSHGATEWAY_PASSWORD": self._content("BATCH_JOB_PASSWORD_FILE"),
            "job.status": "success",
        }
        (self.workspace / "github_env").touch()
        is_good, log = True, ""
        for step in document["jobs"][job]["steps"]:
            if not is_good and "always()" not in step.get("if", ""):
                continue
            done = self._step(step)
            log += "".join(each.stdout for each in done)
            if any(each.returncode for each in done) and not step.get("continue-on-error"):
                is_good = False
            self.context["job.status"] = ended or ("success" if is_good else "failure")
        return Run(is_good, log)

    def _content(self, setting):
        return Path(self._settings[setting]).read_text() if setting in self._settings else ""

    def _step(self, step):
        if step.get("uses") == "./ci/github":
            action = yaml.safe_load((self.workspace / "ci/github/action.yml").read_text())
            inputs = {name: each["default"] for name, each in action["inputs"].items()}
            inputs |= {name: self._text(text) for name, text in step.get("with", {}).items()}
            self.context |= {f"inputs.{name}": text for name, text in inputs.items()}
            chosen = [each for each in action["runs"]["steps"] if self._text(each["if"]) == "true"]
            return [done for each in chosen for done in self._step(each)]
        if "run" not in step:
            return []
        script = self.workspace / "step.sh"
        script.write_text(step["run"])
        options = ["--noprofile", "--norc", "-eo", "pipefail"] if "shell" in step else ["-e"]
        noted = (self.workspace / "github_env").read_text().splitlines()
        variables = {
            "GITHUB_ENV": self.workspace / "github_env",
            "GITHUB_ACTION_PATH": self.workspace / "ci/github",
            "RUNNER_TEMP": self.workspace,
            **dict(line.split("=", 1) for line in noted),
            **{name: self._text(text) for name, text in step.get("env", {}).items()},
        }
        return [self.shell(["bash", *options, script], **variables)]

    def _text(self, text):
        """Replace expressions by their values."""

        def written(match):
            value = self._value(match[1])
            return str(value).lower() if isinstance(value, bool) else value

        return re.sub(r"\$\{\{ (.*?) \}\}", written, text)

    def _value(self, expression):
        """Return what names, texts and operators amount to; the first operator binds least."""
        if " || " in expression:
            values = [self._value(each) for each in expression.split(" || ")]
            return next(filter(None, values), values[-1])
        if " && " in expression:
            values = [self._value(each) for each in expression.split(" && ")]
            return next((value for value in values if not value), values[-1])
        left, operator, right = re.fullmatch(r"(\S+)(?: ([=!]=) (\S+))?", expression).groups()
        if operator:
            # GitHub ignores case here.
            are_equal = self._value(left).lower() == self._value(right).lower()
            return are_equal == (operator == "==")
        return left[1:-1] if left.startswith("'") else self.context[left]


class Jenkins(Runner):
    """Runs the `sh` steps of a stage, and those of its `post`.

    Settings are entries of `environment`, or else credentials, where the file asks for them.
    """

    cancelled = "ABORTED"

    def __call__(self, job="release", branch="main", tag=None, ended=None):
        text = (self.workspace / "ci/Jenkinsfile").read_text()
        environment = text[text.index("environment {") : text.index("stages {")]
        stage = text[text.index(f"stage('{job.title()}')") :].split("stage('")[1]
        given = dict(re.findall(r"^ +(\w+) = '(.*)'", environment, re.MULTILINE))
        settings = {"DEFAULT_BRANCH": self._default_branch, **self._settings}
        names = re.findall(r"(\w+) = '", environment) + re.findall(r"variable: '(\w+)'", stage)
        given |= {name: settings[name] for name in names if name in settings}
        given |= {"BRANCH_NAME": tag or branch or "PR-12", "GIT_COMMIT": COMMIT}
        given |= {"TAG_NAME": tag} if tag else {}
        # Of a pull request, that of the branch, which may be a fork's.
        given |= {} if tag or branch else {"CHANGE_BRANCH": "main"}
        steps, _, post = stage.partition("post {")
        done = [self._sh(script, given) for script in self._scripts(steps)]
        is_good = not any(each.returncode for each in done)
        for name, value in re.findall(r'"(\w+)=\$\{currentBuild\.(\w+)\}"', post):
            now = {
                "currentResult": ended or ("SUCCESS" if is_good else "FAILURE"),
                "startTimeInMillis": int((time.time() - 90) * 1000),
            }
            given[name] = now[value]
        reported = [self._sh(script, given) for script in self._scripts(post)]
        assert not any(each.returncode for each in reported)
        return Run(is_good, "".join(each.stdout for each in [*done, *reported]))

    def _scripts(self, text):
        for long, short in re.findall(r"\bsh (?:'''(.*?)'''|'(.*?)'\n)", text, re.DOTALL):
            yield (long or short).replace("\\\\", "\\")

    def _sh(self, script, variables):
        return self.shell(["sh", "-xec", script], **variables)


@pytest.fixture(params=[GitLab, GitHub, Jenkins], ids=lambda runner: runner.__name__)
def runner(request, workspace, environment, finish):
    """Return a function from settings to a CI that has them."""
    return functools.partial(request.param, workspace, environment, finish)


@pytest.fixture
def script(environment, finish, pushgateway):
    """Run the script itself."""

    def run(shell=("sh",), words=(), **variables):
        given = {
            "PUSHGATEWAY_URL": pushgateway.url,
            "PIPELINE": "release",
            "RESULT": "success",
            "STARTED": int(time.time()) - 90,
            "BRANCH": "main",
            "DEFAULT_BRANCH": "main",
            "COMMIT": COMMIT,
            **variables,
        }
        return finish([*shell, CI / "report_pipeline.sh", *words], env=environment(**given))

    return run


@pytest.fixture
def pipeline(pushgateway):
    """Return what the gateway holds of a pipeline."""

    def values(job="release"):
        return pushgateway.values(job, instance="")

    return values


def info(pushgateway, job="release"):
    """Return the labels of the one series that has many values."""
    return pushgateway.families(job, instance="")["ci_pipeline_info"][0]["labels"]


def test_a_success_says_all_that_the_contract_asks_for(script, pipeline, pushgateway, shell):
    done = script(shell=shell, MAX_RUNTIME_SECONDS=3600)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    found = pipeline()
    assert pushgateway.result("release", instance="") == SUCCESS
    assert (found["last_exit_code"], found["max_runtime_seconds"]) == (0, 3600)
    assert found["last_success_timestamp_seconds"] == found["last_completion_timestamp_seconds"]
    assert found["last_duration_seconds"] == pytest.approx(90, abs=5)


@pytest.mark.parametrize(
    ("word", "result", "code"),
    [
        *[(word, "success", 0) for word in ("success", "SUCCESS")],
        ("success-with-warnings", "warning", 0),
        *[(word, "exit-code", 1) for word in ("failed", "failure", "FAILURE", "UNSTABLE")],
        *[(word, "timeout", 124) for word in ("timedout", "timed_out")],
    ],
)
def test_each_ci_has_its_own_words_for_a_result(script, pipeline, pushgateway, word, result, code):
    script(RESULT=word)
    assert pushgateway.result("release", instance="") == result
    assert pipeline()["last_exit_code"] == code
    assert ("last_success_timestamp_seconds" in pipeline()) == (code == 0)


@pytest.mark.parametrize("before", ["success", "failure"])
@pytest.mark.parametrize("word", ["canceled", "cancelled", "ABORTED"])
def test_a_cancelled_run_is_as_good_or_bad_as_the_one_before(
    script, pipeline, pushgateway, word, before
):
    script(RESULT=before)
    code = pipeline()["last_exit_code"]
    script(RESULT=word, MAX_RUNTIME_SECONDS=3600)
    assert pipeline()["last_exit_code"] == code
    assert pushgateway.result("release", instance="") == "signal"


def test_a_run_that_was_cancelled_for_its_length_has_failed(script, pipeline, pushgateway):
    script(RESULT="ABORTED", MAX_RUNTIME_SECONDS=60)
    assert pushgateway.result("release", instance="") == "timeout"
    assert pipeline()["last_exit_code"] == 124


def test_a_run_that_was_left_out_is_not_reported(script, pipeline):
    assert "it is called skipped" in script(RESULT="skipped").stderr
    assert pipeline() == {}


def test_a_failure_keeps_the_last_success(script, pipeline):
    script()
    before = pipeline()["last_success_timestamp_seconds"]
    script(RESULT="failed")
    assert pipeline()["last_success_timestamp_seconds"] == before


@pytest.mark.parametrize(
    "started", ["1795420800", "1795420800123", "2026-11-23T08:00:00Z", "2026-11-23 08:00:00"]
)
def test_the_start_may_be_written_in_several_ways(script, pipeline, started, shell):
    script(shell=shell, STARTED=started, TZ="UTC")
    assert pipeline()["last_start_timestamp_seconds"] == 1795420800


def test_a_date_that_knows_no_t_understands_the_start_as_well(script, pipeline, stand_in):
    stand_in(
        "date", f'#!/bin/sh\ncase $* in *T*) exit 1 ;; esac\nexec {shutil.which("date")} "$@"\n'
    )
    assert script(STARTED="2026-11-23T08:00:00Z", TZ="Asia/Tokyo").stderr == ""
    assert pipeline()["last_start_timestamp_seconds"] == 1795420800


@pytest.mark.parametrize("started", ["", "yesterday or so"])
def test_a_start_that_is_no_time_costs_the_duration_alone(script, pipeline, started):
    assert "is not a time" in script(STARTED=started).stderr
    assert "last_duration_seconds" not in pipeline()
    assert pipeline()["last_exit_code"] == 0


@pytest.mark.parametrize("branch", ["feature/x", "v1.2.3", "", "mai"])
def test_a_branch_of_somebodys_work_is_not_reported(script, pushgateway, branch):
    done = script(BRANCH=branch, RESULT="failure", BRANCHES="release-1")
    assert done.returncode == 0
    assert "this run is not reported" in done.stderr
    assert "ci_pipeline_info" not in pushgateway.exposed()


def test_a_long_lived_branch_is_a_pipeline_of_its_own(script, pipeline, pushgateway):
    script(BRANCHES="release/1 release/2")
    script(BRANCH="release/2", BRANCHES="release/1 release/2", RESULT="failure")
    assert pipeline()["last_exit_code"] == 0
    assert pipeline("release:release-2")["last_exit_code"] == 1
    assert info(pushgateway, "release:release-2")["branch"] == "release/2"


@pytest.mark.parametrize("result", ["failure", "success"])
def test_all_other_branches_are_one_pipeline_that_never_counts_as_failing(
    script, pipeline, pushgateway, result
):
    script(BRANCH="feature/x", OTHER_BRANCHES="yes", RESULT=result)
    assert pipeline() == {}
    assert "last_exit_code" not in pipeline("release:other")
    assert pipeline("release:other")["last_duration_seconds"] == pytest.approx(90, abs=5)
    assert info(pushgateway, "release:other")["branch"] == "other"


def test_the_commit_is_on_one_series_that_the_next_run_replaces(script, pushgateway):
    script(COMMIT="ffffffffffff")
    script(RESULT="failure")
    assert pushgateway.exposed().count('commit="') == 1
    assert info(pushgateway)["commit"] == "01234567"


def test_the_declaration_says_that_it_is_a_pipeline(script, pushgateway):
    script(OWNER='the "best"\nteam')
    labels = pushgateway.families("release", instance="")["batch_job_info"][0]["labels"]
    assert labels["kind"] == "ci"
    assert labels["owner"] == 'the "best"\nteam'


@pytest.mark.parametrize("branch", ["größe", 'a"b', "[m]ain", "-n"])
def test_any_branch_arrives_as_it_is(script, pushgateway, branch):
    script(BRANCH=branch, DEFAULT_BRANCH=branch)
    assert info(pushgateway)["branch"] == branch


def test_a_run_that_sees_no_variables_is_not_reported(script):
    done = script(PUSHGATEWAY_URL="")
    assert done.returncode == 0
    assert "there is no PUSHGATEWAY_URL" in done.stderr


def test_a_success_is_reported_with_duration_branch_and_commit(runner, pushgateway):
    ci = runner(PUSHGATEWAY_URL=pushgateway.url)
    assert ci().is_good
    assert pushgateway.result(ci.release, instance="") == SUCCESS
    assert 0 <= pushgateway.values(ci.release, instance="")["last_duration_seconds"] < 100
    labels = info(pushgateway, ci.release)
    assert (labels["branch"], labels["commit"]) == ("main", COMMIT[:8])


def test_a_failure_is_reported_and_stays_one(runner, pushgateway):
    ci = runner(PUSHGATEWAY_URL=pushgateway.url, fails="release")
    assert not ci().is_good
    assert pushgateway.values(ci.release, instance="")["last_exit_code"] == 1


def test_what_somebody_cancels_is_reported_as_that(runner, pushgateway):
    ci = runner(PUSHGATEWAY_URL=pushgateway.url)
    ci(ended=ci.cancelled)
    assert pushgateway.result(ci.release, instance="") == "signal"
    assert "last_exit_code" not in pushgateway.values(ci.release, instance="")


@pytest.mark.parametrize(
    "branch", ["feature/$(touch owned)", "`touch owned`", '"; touch owned; "', None]
)
def test_a_branch_of_others_is_neither_reported_nor_run(runner, pushgateway, workspace, branch):
    ci = runner(PUSHGATEWAY_URL=pushgateway.url)
    assert "this run is not reported" in ci(branch=branch).log
    assert "ci_pipeline_info" not in pushgateway.exposed()
    assert not (workspace / "owned").exists()


def test_a_tag_that_is_called_like_the_default_branch_is_not_reported(runner, pushgateway):
    ci = runner(PUSHGATEWAY_URL=pushgateway.url)
    assert "this run is not reported" in ci(branch=None, tag="main").log
    assert pushgateway.exposed() == ""


@pytest.mark.parametrize("job", ["release", "nightly"])
@pytest.mark.parametrize("branch", ["release/größe-100%", "\"'`$(touch${IFS}owned)"])
def test_any_default_branch_is_reported_as_it_is(runner, pushgateway, workspace, job, branch):
    ci = runner(PUSHGATEWAY_URL=pushgateway.url, default_branch=branch)
    assert ci(job, branch=branch).is_good
    assert info(pushgateway, getattr(ci, job))["branch"] == branch
    assert not (workspace / "owned").exists()


def test_the_action_of_github_has_an_owner_and_more_branches(
    workspace, environment, finish, pushgateway
):
    file = workspace / "ci/github/workflow.yml"
    more = ["pipeline: größe a", 'owner: the "best" team', "branches: release/1"]
    file.write_text(file.read_text().replace("pipeline: release", "\n          ".join(more)))
    github = GitHub(workspace, environment, finish, PUSHGATEWAY_URL=pushgateway.url)
    github(branch="release/1")
    found = pushgateway.families("größe a:release-1", instance="")
    assert found["batch_job_info"][0]["labels"]["owner"] == 'the "best" team'


def test_a_gateway_may_be_below_a_path(runner, prefixed_pushgateway):
    ci = runner(PUSHGATEWAY_URL=f"{prefixed_pushgateway.url}/")
    ci()
    assert prefixed_pushgateway.result(ci.release, instance="") == SUCCESS


def test_a_dead_gateway_fails_no_pipeline(runner, dead_url):
    done = runner(PUSHGATEWAY_URL=dead_url)()
    assert done.is_good
    assert "could not be reported" in done.log


def test_a_password_comes_from_a_secret_and_is_in_no_log(runner, secure_pushgateway, curl_config):
    secure_pushgateway.wipe()
    ci = runner(PUSHGATEWAY_URL=secure_pushgateway.url, CURL_CONFIG=curl_config)
    done = ci()
    assert secure_pushgateway.result(ci.release, instance="") == SUCCESS
    assert "correct horse" not in done.log
    assert not (ci.workspace / "pushgateway.curl").exists()


@pytest.mark.parametrize(("fails", "result"), [("", "success"), ("nightly", "exit-code")])
def test_batch_job_reports_the_same_and_the_deadline(
    runner, secure_pushgateway, secure_gateway, fails, result
):
    secure_pushgateway.wipe()
    ci = runner(
        PUSHGATEWAY_URL=secure_gateway.url,
        BATCH_JOB_CA_FILE=secure_gateway.ca_file,
        BATCH_JOB_USERNAME=secure_gateway.username,
        BATCH_JOB_PASSWORD_FILE=secure_gateway.password_file,
        fails=fails,
    )
    for path in ("github/workflow.yml", "Jenkinsfile"):
        file = ci.workspace / "ci" / path
        file.write_text(file.read_text().replace("batch-jobs", secure_gateway.username))
    done = ci("nightly")
    assert done.is_good == (result == SUCCESS)
    assert secure_pushgateway.result(ci.nightly, instance="") == result
    labels = info(secure_pushgateway, ci.nightly)
    assert (labels["branch"], labels["commit"]) == ("main", COMMIT[:8])
    due = "deadline_timestamp_seconds" in secure_pushgateway.values(ci.nightly, instance="")
    assert due == (result == SUCCESS)
    assert "correct horse" not in done.log
    assert not (ci.workspace / "pushgateway.password").exists()


def test_batch_job_reports_where_nobody_asks_for_a_password(runner, pushgateway):
    ci = runner(PUSHGATEWAY_URL=pushgateway.url)
    done = ci("nightly")
    assert done.is_good
    assert "batch-job:" not in done.log
    assert pushgateway.result(ci.nightly, instance="") == SUCCESS


def test_batch_job_is_good_where_the_gateway_is_dead(runner, dead_url):
    done = runner(PUSHGATEWAY_URL=dead_url)("nightly")
    assert done.is_good
    assert "cannot be reached" in done.log
