"""The dashboards: their JSON, and the answers to their queries after a made-up week of jobs.

The scenario `grafana` loads them into Grafana, if it can be fetched.
"""

import ast
import json
import re
from collections import Counter
from itertools import combinations, pairwise
from statistics import median
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from batch_job import outcome
from batch_job.states import NUMBERS, RESULTS, STATES
from dashboards import page_states, queries
from dashboards.__main__ import DASHBOARDS, DIRECTORY, PAGE, render
from lab import REPOSITORY
from preview import evaluation, page, week
from preview.jobs import DAY, HOUR, JOBS, LENGTH, NOW, ORIGIN, OUTAGE, UNREAD
from programs import prometheus

register_default_plugins()

BOARDS = {name: page.load(name) for name in DASHBOARDS}
PANELS = [(name, panel) for name, board in BOARDS.items() for panel in board["panels"]]
GRAFANA = {"__interval", "__rate_interval", "__range", "__url_time_range", "__data", "__all"}
PACKAGE = DIRECTORY / "dashboards"
JOB = {(job.name, job.instance): job for job in JOBS}
VARIABLES = {
    "state": ">= 0",
    "owner": ".*",
    "gateway": ".*",
    "job": "backup-etc",
    "instance": "files",
}


def every(*types):
    """Parametrize a test with the panels of some types; of all, if none is named."""
    found = [(name, panel) for name, panel in PANELS if not types or panel["type"] in types]
    names = [f"{name.removesuffix('.json')}: {panel['title']}" for name, panel in found]
    return pytest.mark.parametrize(("board", "panel"), found, ids=names)


every_board = pytest.mark.parametrize("name", DASHBOARDS)


def panel_of(board, title):
    found = [panel for panel in BOARDS[board]["panels"] if panel["title"] == title]
    assert len(found) == 1, title
    return found[0]


def strings(document):
    """Yield every string in a document."""
    if isinstance(document, dict):
        for value in document.values():
            yield from strings(value)
    elif isinstance(document, list):
        for value in document:
            yield from strings(value)
    elif isinstance(document, str):
        yield document


def variables_of(board):
    return {variable["name"] for variable in board["templating"]["list"]}


@every_board
def test_the_committed_json_is_what_the_generator_writes(name):
    assert (DIRECTORY / name).read_text() == render(name)


def test_the_page_calls_states_as_the_generator_writes_them():
    assert (PAGE / "states.js").read_text() == page_states.render()


def test_there_is_no_json_without_a_generator():
    assert {path.name for path in DIRECTORY.glob("*.json")} == set(DASHBOARDS)


@every_board
def test_a_dashboard_survives_the_models_of_the_sdk(name):
    committed = json.loads((DIRECTORY / name).read_text())
    loaded = json.loads(json.dumps(Dashboard.from_json(committed), cls=JSONEncoder))
    # The SDK's annotations lack two fields of the Prometheus data source.
    for annotation in committed["annotations"].get("list", []):
        for key in ("titleFormat", "useValueForTime"):
            annotation.pop(key)
    assert loaded == committed


def test_uids_are_those_that_others_link_to():
    uids = {name: board["uid"] for name, board in BOARDS.items()}
    assert uids == {
        "batch_jobs.json": "batch-jobs",
        "job_detail.json": "batch-job",
        "pushgateway.json": "pushgateway",
        "ci_pipelines.json": "ci-pipelines",
    }


@every_board
def test_panels_are_numbered_once_and_do_not_overlap(name):
    panels = BOARDS[name]["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = Counter()
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells.update(
            (place["x"] + column, place["y"] + row)
            for column in range(place["w"])
            for row in range(place["h"])
        )
    assert set(cells.values()) == {1}
    # There are no holes.
    assert len(cells) == 24 * (1 + max(row for _, row in cells))


@every_board
def test_every_variable_that_is_used_is_defined(name):
    board = BOARDS[name]
    used = {
        match[1] or match[2]
        for text in strings(board)
        # The words in which an empty panel advises may name variables of shells.
        if "BATCH_JOB_METRICS" not in text
        for match in re.finditer(r"\$(?:\{(\w+)[^}]*\}|(\w+))", text)
    }
    assert used <= variables_of(board) | GRAFANA
    assert variables_of(board) <= used, "defined, and never used"


def test_links_lead_to_dashboards_and_to_variables_that_these_have():
    by_uid = {board["uid"]: board for board in BOARDS.values()}
    links = {text for board in BOARDS.values() for text in strings(board) if text.startswith("/d/")}
    for link in links:
        url = urlsplit(link)
        target = by_uid[url.path.removeprefix("/d/")]
        given = {
            key.removeprefix("var-") for key in parse_qs(url.query, True) if key.startswith("var-")
        }
        given |= set(re.findall(r"\$\{(\w+):queryparam\}", url.query))
        assert given <= variables_of(target), link
    assert {urlsplit(link).path for link in links} >= {
        "/d/batch-jobs",
        "/d/batch-job",
        "/d/pushgateway",
    }


@every()
def test_a_panel_says_what_it_shows_and_what_to_do_when_it_is_empty(board, panel):
    assert panel["title"]
    assert re.fullmatch(r"[A-Z][^.]+\.", panel["description"]), "one sentence"
    assert len(panel["fieldConfig"]["defaults"]["noValue"]) > 4
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


@every("table", "timeseries", "state-timeline")
def test_the_words_of_an_empty_panel_stay_out_of_its_cells_gaps_and_tooltips(board, panel):
    # For a chart, an empty text would be a 0.
    gap = {"id": "noValue", "value": ""} if panel["type"] == "table" else {"id": "noValue"}
    assert panel["fieldConfig"]["overrides"][0]["properties"] == [gap]


@every("state-timeline")
def test_states_over_time_have_a_legend(board, panel):
    assert panel["fieldConfig"]["defaults"]["color"]["mode"] == "fixed"
    assert panel["options"]["legend"]["showLegend"]


@every("table")
def test_a_table_has_columns_that_fit_a_page_of_1280_pixels(board, panel):
    titles = evaluation.columns(panel)
    assert len(titles) == len(set(titles)) > 1
    looks = [evaluation.options(panel, title) for title in titles]
    assert sum(look.get("custom.width") or look["custom.minWidth"] for look in looks) < 1200


@every("stat", "timeseries", "state-timeline", "bargauge")
def test_every_value_has_a_unit(board, panel):
    names = [target["legendFormat"] for target in panel["targets"]]
    assert all(evaluation.options(panel, name).get("unit") for name in names)


def test_a_dashboard_opens_with_the_default_prometheus():
    for board in BOARDS.values():
        (source,) = (each for each in board["templating"]["list"] if each["type"] == "datasource")
        assert source["current"]["value"] == "default"


@every()
def test_a_panel_of_numbers_and_states_does_not_rely_on_colour_alone(board, panel):
    for mappings in find(panel["fieldConfig"], "mappings"):
        assert all(option["text"] for each in mappings for option in each["options"].values())


def find(document, key):
    """Yield every value of a key in a document, also where an override names it."""
    if isinstance(document, dict):
        if document.get("id") == key:
            yield document["value"]
        for name, value in document.items():
            if name == key:
                yield value
            yield from find(value, key)
    elif isinstance(document, list):
        for value in document:
            yield from find(value, key)


def test_selectors_and_metrics_are_named_in_one_module_only():
    named = re.compile(r"batch_job:|ALERTS|\bup\{|_seconds\b|_bytes\{|_total\b")
    for module in set(PACKAGE.glob("*.py")) - {PACKAGE / "queries.py"}:
        tree = ast.parse(module.read_text())
        nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Constant)]
        docstring = ast.get_docstring(tree, clean=False)
        texts = {node.value for node in nodes if isinstance(node.value, str)} - {docstring}
        assert not [text for text in texts if named.search(text)], module.name


def test_no_query_is_spelled_twice():
    spelled = {
        name: value
        for name, value in vars(queries).items()
        if name.isupper() and isinstance(value, str)
    }
    twice = Counter(spelled.values())
    assert [name for name, value in spelled.items() if twice[value] > 1] == []
    # Each is used outside of its definition.
    lines = [line for path in PACKAGE.glob("*.py") for line in path.read_text().splitlines()]
    uses = Counter(word for line in lines for word in re.findall(r"\w+", line))
    uses -= Counter(line.split()[0] for line in lines if re.match(r"\w+ = ", line))
    assert [name for name in spelled if not uses[name]] == []


def test_the_states_are_those_that_the_rule_numbers():
    text = (REPOSITORY / "files/rules/batch_jobs.rules.yml").read_text()
    rules = [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
    expression = next(rule["expr"] for rule in rules if rule.get("record") == "batch_job:state")
    numbers = dict(re.findall(r'(\d+) \* ALERTS\{alertname=~?"([^"]+)"', expression))
    assert {alert: STATES[int(number)].name for number, alert in numbers.items()} == {
        "BatchJobFailed": "failing",
        "BatchJobStuck": "stuck",
        "BatchJobMissed": "late",
        "BatchJobUnreported|BatchJobReportRejected": "unreported",
        "BackupShrunk|BackupEmpty": "shrunk",
        "BatchJobClockSkew": "wrong clock",
        "BatchJobUndeclared": "undeclared",
        "BatchJobWarned|BatchJobSlow": "warned",
    }
    assert STATES[0].name == "fine"
    assert STATES[1].name == "waiting"
    assert STATES[2].name == "paused"


def test_every_result_of_a_run_has_its_colour():
    known = {
        value for name, value in vars(outcome).items() if name.isupper() and isinstance(value, str)
    }
    assert set(RESULTS) == known
    assert len(set(RESULTS.values())) == len(RESULTS)


# Machado, Oliveira, Fernandes 2009, severity 1, on linear RGB.
DEFICIENCIES = {
    "none": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
}


def lab_color(color, deficiency):
    """Return a colour as it is seen, in CIE L*a*b*."""
    parts = [int(color[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    seen = [
        max(0, sum(a * b for a, b in zip(row, linear, strict=True)))
        for row in DEFICIENCIES[deficiency]
    ]
    matrix = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
    white = (0.9505, 1.0, 1.089)
    x, y, z = (
        sum(a * b for a, b in zip(row, seen, strict=True)) / top
        for row, top in zip(matrix, white, strict=True)
    )
    f = [each ** (1 / 3) if each > 0.008856 else 7.787 * each + 16 / 116 for each in (x, y, z)]
    return 116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_states_differ_in_colour_for_everyone(deficiency):
    seen = {state.name: lab_color(state.color, deficiency) for state in STATES}
    differences = {
        pair: sum((a - b) ** 2 for a, b in zip(seen[pair[0]], seen[pair[1]], strict=True)) ** 0.5
        for pair in combinations(seen, 2)
    }
    # A difference of 2.3 can just be noticed.
    assert min(differences.values()) > 15, min(differences, key=differences.get)


@pytest.fixture(scope="module")
def server():
    with week.serving() as found:
        yield found


@pytest.fixture(scope="module")
def view(server):
    """Return a function from a dashboard, and variables, to the view in which it opens."""

    def open_at(name, end=NOW, **variables):
        return page.view_of(BOARDS[name], server.url, end, week.INTERVAL, VARIABLES | variables)

    return open_at


@pytest.fixture(scope="module")
def answers(view):
    """Return a function from a dashboard and a panel's title to the answers it shows."""

    def ask(name, title, **options):
        found = view(name, **options)
        panel = panel_of(name, title)
        return [series for target in panel["targets"] for series in found.ask(target)]

    return ask


@pytest.fixture(scope="module")
def values(answers):
    """Return a function like `answers`, which returns the last values by their names."""
    return lambda *arguments, **options: {
        series.name: series.last for series in answers(*arguments, **options)
    }


@pytest.fixture(scope="module")
def rows(answers):
    """Return a function like `answers`, which returns the rows of a table."""
    return lambda name, title, **options: evaluation.rows(
        panel_of(name, title), answers(name, title, **options)
    )


# Nothing fires on the chosen job now.
EMPTY = {("job_detail.json", "Alerts")}


@every()
def test_every_query_is_answered_in_words_and_rows_that_people_understand(view, board, panel):
    answers = {target["refId"]: view(board).ask(target) for target in panel["targets"]}
    unanswered = [ref for ref, series in answers.items() if not series]
    assert unanswered == [] or (board, panel["title"]) in EMPTY
    found = [series for answer in answers.values() for series in answer]
    if panel["type"] == "table":
        # Rows are joined by labels alone.
        assert not [series.labels for series in found if "__name__" in series.labels]
        # A job without a host is never joined with one that has a host.
        key = "pushgateway" if panel["title"] == "Gateways" else "row"
        assert len(answers) == 1 or all(series.labels.get(key) for series in found)
    else:
        assert not [series.name for series in found if "=" in series.name]


@every()
def test_every_query_is_one_that_an_empty_prometheus_understands(empty, board, panel):
    view = page.view_of(BOARDS[board], empty.url, NOW, 15, VARIABLES)
    assert all(isinstance(view.ask(target), list) for target in panel["targets"])


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    directory = tmp_path_factory.mktemp("empty")
    (directory / "prometheus.yml").write_text("{}")
    with prometheus(directory) as found:
        yield found


def test_variables_offer_what_there_is(view):
    offered = {
        variable["name"]: view(name).values(variable)
        for name, board in BOARDS.items()
        for variable in board["templating"]["list"]
        if variable["type"] == "query"
    }
    assert offered == {
        "owner": sorted({job.owner for job in JOBS if job.owner}),
        "job": sorted({job.name for job in JOBS}),
        "instance": ["files"],
        "gateway": list(week.GATEWAYS),
    }


# The home


def test_the_home_counts_the_jobs_in_each_state(values):
    expected = Counter(job.state for job in JOBS)
    assert values("batch_jobs.json", "Jobs by state") == expected
    assert min(expected.values()) > 0
    assert set(expected) == {state.name for state in STATES}


def test_the_home_counts_the_jobs_of_some_owners_alone(values):
    counted = values("batch_jobs.json", "Jobs by state", owner="(dba|finance)")
    expected = Counter(job.state for job in JOBS if job.owner in ("dba", "finance"))
    assert counted == {state.name: expected[state.name] for state in STATES}


def test_the_home_has_one_row_a_job_with_its_state(rows):
    found = rows("batch_jobs.json", "Jobs, worst first")
    assert {
        (row["Job"], row["Host"]): (STATES[int(row["State"])].name, row["Owner"]) for row in found
    } == {key: (job.state, job.owner) for key, job in JOB.items()}
    assert len(found) == len(JOBS)


def test_the_home_sorts_jobs_by_state_then_by_how_overdue_they_are(rows):
    found = rows("batch_jobs.json", "Jobs, worst first")
    states = [row["State"] for row in found]
    assert states == sorted(states, reverse=True)
    for state in set(states):
        due = [row["Next due"] for row in found if row["State"] == state and "Next due" in row]
        assert due == sorted(due)


def test_a_row_shows_the_latest_run(rows):
    found = {(row["Job"], row["Host"]): row for row in rows("batch_jobs.json", "Jobs, worst first")}
    job = JOB["backup-home", "files"]
    latest = list(job.runs())[-1]
    row = found["backup-home", "files"]
    assert row["Last success"] == pytest.approx(LENGTH - latest.start - latest.seconds)
    assert row["Next due"] == pytest.approx(job.deadline(latest.start + 1) - LENGTH)
    assert row["Last duration"] == pytest.approx(latest.seconds)
    # It ended with a warning.
    assert row["Exit code"] == 3
    assert row["Size"] == pytest.approx(latest.size, rel=1e-6)
    assert row["Of usual"] == pytest.approx(latest.seconds / usual_in_each_hour(job), rel=0.001)
    assert found["verify-restore", "files"]["Exit code"] == 3
    assert found["backup-database", "database"]["Next due"] < 0
    # Nothing is known of this job.
    assert found["renew-certificates", "proxy"].keys() == {"State", "Job", "Host", "Owner"}


def usual_in_each_hour(job):
    """Return the median of what the latest run had taken, an hour ago, two hours ago, ..."""
    runs = finished(job.name, job.instance, since=0)
    latest = [max(end for end in runs if end <= LENGTH - n * HOUR) for n in range(7 * 24)]
    return median(runs[end].seconds for end in latest)


@pytest.mark.parametrize("state", [state.name for state in STATES])
def test_a_click_on_a_count_shows_those_jobs(rows, state):
    panel = panel_of("batch_jobs.json", "Jobs by state")
    links = evaluation.options(panel, state)["links"]
    (chosen,) = parse_qs(urlsplit(links[0]["url"]).query)["var-state"]
    options = next(
        each["options"]
        for each in BOARDS["batch_jobs.json"]["templating"]["list"]
        if each["name"] == "state"
    )
    assert {option["value"]: option["text"] for option in options}[chosen] == state
    found = rows("batch_jobs.json", "Jobs, worst first", state=chosen)
    assert {(row["Job"], row["Host"]) for row in found} == {
        key for key, job in JOB.items() if job.state == state
    }


def test_a_bad_night_is_a_column_of_the_week(answers):
    found = {series.name: dict(series.points) for series in answers("batch_jobs.json", "The week")}
    assert set(found) == {f"{job.name} {job.instance}".strip() for job in JOBS}
    late = NUMBERS["late"]
    nightly = {
        f"{job.name} {job.instance}"
        for job in JOBS
        if OUTAGE[0] < 4 * DAY + job.at < OUTAGE[1] and job.every == DAY and job.is_declared
    }

    def late_at(time):
        return {name for name, points in found.items() if points[ORIGIN + time] == late}

    assert late_at(4 * DAY + 12 * HOUR) == nightly
    assert len(nightly) > 3
    assert late_at(3 * DAY + 12 * HOUR) == late_at(5 * DAY + 12 * HOUR) == set()


def test_the_home_says_when_it_cannot_be_believed(values):
    assert values("batch_jobs.json", "Can this be believed?") == {
        "gateways down": 0, "declarations unread": 0, "own alerts": 0,
    }  # fmt: skip
    down = values("batch_jobs.json", "Can this be believed?", end=ORIGIN + 3 * DAY + 15.3 * HOUR)
    assert down == {"gateways down": 1, "declarations unread": 0, "own alerts": 1}
    unread = values("batch_jobs.json", "Can this be believed?", end=ORIGIN + UNREAD[1] - HOUR)
    assert unread == {"gateways down": 0, "declarations unread": 1, "own alerts": 1}
    unknown = values("batch_jobs.json", "Can this be believed?", end=ORIGIN - HOUR)
    assert unknown == {"gateways down": 0, "declarations unread": 1, "own alerts": 0}


def test_alerts_are_listed_with_the_worst_first_and_lead_to_their_runbooks(rows):
    found = rows("batch_jobs.json", "Alerts")
    told = {(row["Alert"], row["Job"], row["Host"]) for row in found}
    assert told >= {
        ("BatchJobMissed", "backup-database", "database"),
        ("BatchJobFailed", "deploy", ""),
    }
    assert len(told) == len(found) == 11
    assert found[0]["Job"] == "backup-database"
    severities = [row["Severity"] for row in found]
    assert severities == ["3 critical"] + ["2 warning"] * 8 + ["1 info"] * 2
    assert {row["url"] for row in found} == {"http://metrics:9090/user/runbooks"}
    ages = {(row["Alert"], row["Job"]): row["For"] for row in found}
    deadline = JOB["backup-database", "database"].deadline(5 * DAY + 3 * HOUR)
    assert ages["BatchJobMissed", "backup-database"] == pytest.approx(
        LENGTH - deadline, abs=week.INTERVAL
    )


# A job


def finished(name, instance, since=LENGTH - 7 * DAY):
    """Return the runs of a job that were reported in the last days, by when they ended."""
    job = JOB[name, instance]
    return {
        run.start + run.seconds: run
        for run in job.runs()
        if since < run.start + run.seconds < LENGTH and not OUTAGE[0] < run.start < OUTAGE[1]
    }


@pytest.mark.parametrize(
    ("job", "instance"),
    [
        ("backup-etc", "files"),
        ("verify-restore", "files"),
        ("import-prices", "shop"),
        ("deploy", ""),
    ],
)
def test_each_run_is_a_point_with_its_result_and_duration(answers, job, instance):
    found = answers("job_detail.json", "Runs", job=job, instance=instance)
    points = sorted(
        (time, series.name, value)
        for series in found
        if series.query == "runs"
        for time, value in series.points
    )
    runs = finished(job, instance)
    assert [(name, value) for _, name, value in points] == [
        (run.result, pytest.approx(run.seconds)) for run in runs.values()
    ]
    for (time, _, _), end in zip(points, runs, strict=True):
        # At the next point of the chart after the scrape that saw it.
        assert 0 <= time - ORIGIN - end < week.INTERVAL + 1200


def test_runs_are_shown_below_what_is_allowed(values):
    shown = values("job_detail.json", "Runs")
    assert shown["allowed"] == 2 * HOUR
    usual = median(run.seconds for run in finished("backup-etc", "files").values())
    assert shown["usual"] == pytest.approx(usual, rel=0.05)
    assert shown["usual"] != shown["success"]
    assert "allowed" not in values("job_detail.json", "Runs", job="build", instance="")


def test_a_job_is_late_where_its_success_is_older_than_its_deadline_allows(answers):
    found = {
        series.query: dict(series.points)
        for series in answers("job_detail.json", "Deadline against success")
    }
    state = {
        time: value
        for series in answers("job_detail.json", "State")
        for time, value in series.points
    }
    shared = found["age"].keys() & found["late"].keys() & state.keys()
    assert len(shared) > 600
    for time in shared:
        over = found["age"][time] - found["late"][time]
        if abs(over) > 2 * week.INTERVAL and state[time] != NUMBERS["failing"]:
            assert (state[time] == NUMBERS["late"]) == (over > 0)


def test_sizes_costs_and_their_limits_are_those_of_the_runs(answers):
    runs = list(finished("backup-etc", "files").values())
    sizes = {series.name: series for series in answers("job_detail.json", "Backup size")}
    succeeded = [run.size for run in runs if run.size]
    # A failed run keeps the size before it.
    assert {value for _, value in sizes["size"].points} == {round(size) for size in succeeded} | {
        round(list(JOB["backup-etc", "files"].runs())[1].size)
    }
    assert sizes["usual, at least"].last < sizes["usual, at most"].last
    replaced = [run.size for run in JOB["backup-etc", "files"].runs() if run.size][:-1]
    assert sizes["half of the usual"].last == pytest.approx(median(replaced) / 2, rel=0.02)
    assert sizes["least declared"].last == 1 << 20
    cpu = answers("job_detail.json", "CPU time")[0].points
    assert [value for _, value in cpu] == [pytest.approx(run.seconds * 0.4) for run in runs]
    memory = answers("job_detail.json", "Peak memory")[0].points
    assert len(memory) == len(runs)


def test_failures_and_alerts_are_marked_where_they_happened(view):
    marks = list(page.marks_of(BOARDS["job_detail.json"], view("job_detail.json")))
    moments = [mark.begin for mark in marks if mark.begin == mark.end]
    failed = [end for end, run in finished("backup-etc", "files").items() if run.exit_code]
    assert moments == [pytest.approx(ORIGIN + end) for end in failed]
    assert len(failed) == 1
    spans = [(mark.begin - ORIGIN, mark.end - ORIGIN) for mark in marks if mark.end > mark.begin]
    # It failed and was then late, and was late again after the outage.
    assert len(spans) == 3
    assert any(begin < 4 * DAY + 12 * HOUR < end for begin, end in spans)


def test_the_summary_of_a_job_counts_its_runs(values):
    found = values("job_detail.json", "$job $instance")
    runs = finished("backup-etc", "files")
    assert found["state"] == NUMBERS["fine"]
    assert found["runs"] == len(runs)
    assert found["success rate"] == pytest.approx(1 - 1 / len(runs))
    job = JOB["backup-etc", "files"]
    assert found["next due in"] == pytest.approx(job.deadline(LENGTH - HOUR) - LENGTH)
    assert found["since last success"] == pytest.approx(LENGTH - list(runs)[-1])
    assert found["last duration"] == pytest.approx(list(runs.values())[-1].seconds)
    assert found["exit code"] == 0


# Gateways


def test_each_gateway_has_a_row(rows):
    found = {row["Gateway"]: row for row in rows("pushgateway.json", "Gateways")}
    hosts = [job for job in JOBS if job.instance and job.state != "unreported"]
    assert {name: row["Groups"] for name, row in found.items()} == {
        "push-a": len(JOBS) - 1, "push-b": len(hosts)}  # fmt: skip
    assert {round(row["Rejected pushes"]) for row in found.values()} == {0, 5}
    assert found["push-b"]["Rejected pushes"] == pytest.approx(5, abs=0.3)
    assert {row["Up"] for row in found.values()} == {1}
    assert {row["Running for"] for row in found.values()} == {LENGTH + 9 * DAY}
    # close-books was registered at the beginning and has not run since.
    assert found["push-a"]["Oldest push"] == pytest.approx(LENGTH - week.INTERVAL)
    assert {row["State written"] for row in found.values()} == {60}


def test_a_gateway_that_was_down_is_seen(answers):
    found = answers("pushgateway.json", "Up", end=ORIGIN + 3 * DAY + 16 * HOUR)
    assert {series.name: min(value for _, value in series.points) for series in found} == {
        "push-a": 1, "push-b": 0}  # fmt: skip


def test_accepted_and_rejected_pushes_are_counted(answers):
    hours = 6
    told = [job for job in JOBS for time, _, _ in week.reports(job) if time > LENGTH - hours * HOUR]
    expected = {"push-a": len(told), "push-b": sum(bool(job.instance) for job in told)}
    for title, counts in (
        ("Pushes", expected),
        ("Rejected pushes", {"push-b": 5}),
        ("HTTP errors", {"push-b push 400": 5}),
    ):
        found = {
            series.name: sum(value for _, value in series.points) * week.INTERVAL
            for series in answers("pushgateway.json", title)
        }
        assert found == {name: pytest.approx(count, rel=0.25) for name, count in counts.items()}


def test_a_job_whose_latest_push_was_rejected_is_listed(rows):
    found = rows("pushgateway.json", "Jobs whose latest push was rejected")
    assert found == [
        {"Job": "statistics", "Host": "shop", "Since": pytest.approx(2 * HOUR + 32 * 60)}
    ]


# Pipelines


def test_pipelines_are_compared_by_their_runs(rows):
    found = rows("ci_pipelines.json", "Pipelines, failing first")
    order = [(-row["State"], row["Success rate"]) for row in found if "Success rate" in row]
    assert order == sorted(order)
    assert found[0]["Pipeline"] == "deploy"
    assert {row["Pipeline"] for row in found} == {job.name for job in JOBS if job.kind == "ci"}
    for row in found:
        ends = finished(row["Pipeline"], row["Host"])
        runs = list(ends.values())
        good = sum(run.result == "success" for run in runs)
        assert row["Runs"] == pytest.approx(len(runs), abs=2)
        if runs:
            assert row["Success rate"] == pytest.approx(good / len(runs), abs=0.02)
            usual = median(run.seconds for run in runs)
            assert row["Usual duration"] == pytest.approx(usual, rel=0.05)
            assert row["Slowest"] == pytest.approx(max(run.seconds for run in runs))
        codes = [run.exit_code for run in runs]
        flips = sum(a != b for a, b in pairwise(codes))
        assert row["Flips"] == pytest.approx(flips, abs=1)
        failed = [end for end, run in ends.items() if run.exit_code]
        if failed:
            assert row["Last failure"] == pytest.approx(LENGTH - failed[-1])
        else:
            assert "Last failure" not in row


def test_pipelines_are_summed_up(values):
    runs = [
        run for job in JOBS if job.kind == "ci" for run in finished(job.name, job.instance).values()
    ]
    found = values("ci_pipelines.json", "All pipelines")
    assert found["failing now"] == 1
    assert found["pipelines"] == 4
    assert found["runs"] == pytest.approx(len(runs), abs=5)
    good = sum(run.result == "success" for run in runs) / len(runs)
    assert found["success rate"] == pytest.approx(good, abs=0.02)


def test_without_pipelines_their_number_is_zero(empty):
    view = page.view_of(BOARDS["ci_pipelines.json"], empty.url, NOW, 15, VARIABLES)
    targets = panel_of("ci_pipelines.json", "All pipelines")["targets"]
    found = {series.name: series.last for target in targets for series in view.ask(target)}
    assert found == {"failing now": 0, "pipelines": 0, "runs": 0}


def test_the_slowest_and_the_flakiest_are_named(values):
    slowest = values("ci_pipelines.json", "Slowest")
    assert max(slowest, key=slowest.get) == "integration runner"
    flakiest = values("ci_pipelines.json", "Flakiest")
    assert max(flakiest, key=flakiest.get) == "integration runner"
    assert "release" not in flakiest


def test_success_rates_follow_the_days(answers):
    found = {
        series.name: dict(series.points)
        for series in answers("ci_pipelines.json", "Success rate of the day before")
    }
    assert set(found) == {"build", "integration runner", "deploy"} | ({"release"} & set(found))
    assert all(0 <= value <= 1 for points in found.values() for value in points.values())
    points = {
        series.name: len(series.points)
        for series in answers("ci_pipelines.json", "Duration of each run")
    }
    assert points["build"] > points["integration runner"] > points["deploy"] > points["release"]


# The preview


@every_board
def test_a_preview_shows_every_panel_with_its_values(view, name):
    text = page.page(BOARDS[name], view(name), 1280)
    for panel in BOARDS[name]["panels"]:
        assert f"<h2>{view(name).fill_in(panel['title'])}</h2>" in text
    assert "preview, not Grafana" in text
    if name == "batch_jobs.json":
        assert text.count(">failing<") == 1 + 2 + 1  # its count, two rows, the legend


@pytest.mark.parametrize(
    ("value", "unit", "decimals", "text"),
    [
        (0.25, "s", 1, "250.0 ms"),
        (59, "s", 0, "59 s"),
        (-1800, "s", 1, "-30.0 mins"),
        (7200, "s", 1, "2.0 hours"),
        (86400, "s", 0, "1 day"),
        (1536, "bytes", 1, "1.5 KiB"),
        (0.833, "percentunit", 0, "83%"),
        (float("inf"), "s", 0, "∞"),
    ],
)
def test_the_preview_shows_values_with_units_as_grafana_does(value, unit, decimals, text):
    assert evaluation.spoken(value, unit, decimals) == text
