"""The page in a real browser: on the made-up week, and on answers that no week has."""

import json
import subprocess
from collections import Counter
from datetime import datetime
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

import pytest
import yaml
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from batch_job import metrics
from batch_job.gateway import Gateway, Group
from batch_job.pushgateway import push
from batch_job.states import NUMBERS, STATES
from lab import REPOSITORY
from preview import browsing
from preview.jobs import DAY, HOUR, JOBS, NOW, ORIGIN, OUTAGE, UNREAD

JOB = {job.name: job for job in JOBS}
RUNBOOKS = sorted((REPOSITORY / "files/runbooks").glob("*.md"))
SEVERITIES = ("critical", "warning")
# What only these queries contain.
WATCHING, FACTS = '"about", "now"', "batch_job_info"
BERLIN = ZoneInfo("Europe/Berlin")
# Whatever somebody may push as the name of a job.
HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "\"quotes' and \\backslashes\\ `and` ${more}",
    "\u202egnp.exe\u202c",
    "שלום",
    "a\nnew line\tand \x1b[31m colour",
    "long " * 2000,
    "a|b.*(c)[d]{e}^$",
]


def rows(page):
    return page.get_by_role("table", name="Jobs").locator(".row")


def names(page):
    return rows(page).locator(".name").all_text_contents()


def address_of(request):
    """Return the address of a request, as if all were sent by GET."""
    return f"{request.url}?{request.post_data}" if request.post_data else request.url


def answered(samples):
    """Return an answer of Prometheus to an instant query."""
    result = [{"metric": labels, "value": [NOW, str(value)]} for labels, value in samples]
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}})


def answer_with(page, jobs, *, asked=None, **special):
    """Answer what the first look asks with jobs of these names and hosts; the rest is Prometheus'.

    `asked` collects all queries. Words in a query, such as `alertmanagers`, have special answers.
    """
    labels = [{"job": name, "instance": host} for name, host in jobs]
    columns = {
        WATCHING: [({"about": "now"}, NOW), ({"about": "rules"}, 1)],
        "(batch_job:state)": [(each, n % len(STATES)) for n, each in enumerate(labels)],
        "batch_job:contact": [
            ({**each, "owner": f"team-{len(each['instance'])}"}, 1) for each in labels
        ],
        "batch_job:last_success_timestamp": [(each, NOW - 60 * n) for n, each in enumerate(labels)],
        "batch_job:deadline": [(each, NOW + HOUR + n) for n, each in enumerate(labels)],
        "(batch_job:last_duration_seconds)": [
            (each, 10 + n % 100) for n, each in enumerate(labels)
        ],
        "(batch_job:backup_size_bytes)": [],
    } | special
    bodies = {words: answered(samples) for words, samples in columns.items()}

    def answer(route):
        parameters = parse_qs(urlsplit(address_of(route.request)).query)
        query = parameters.get("query", [""])[0]
        if asked is not None:
            asked.append(query or route.request.url)
        body = next((body for words, body in bodies.items() if words in query), None)
        if body is None:
            route.continue_()
        else:
            route.fulfill(body=body, content_type="application/json")

    page.route("**/api/v1/**", answer)


def refreshed(page):
    """Let 16 seconds pass for a page with a clock of its own."""
    page.clock.run_for(16_000)


# The first look, after the made-up week
def test_tiles_count_the_jobs_in_each_state(show):
    page = show()
    counts = Counter(job.state for job in JOBS)
    wanted = [f"{counts[state.name]} {state.name}" for state in reversed(STATES)]
    expect(page.locator(".tile")).to_have_text(wanted)
    expect(page.locator(".headline")).to_have_text("8 of 17 jobs need attention.")
    expect(page.locator(".banner .bad")).to_have_count(0)
    expect(page).to_have_title("(8) Batch jobs")


def test_the_worst_stand_first(show):
    page = show()
    worst_first = sorted(
        JOBS, key=lambda job: (-NUMBERS[job.state], SEVERITIES.index(job.severity), job.name)
    )
    expect(rows(page).locator(".state")).to_have_text([job.state for job in worst_first])
    assert names(page) == [job.name for job in worst_first]


def test_a_row_has_the_numbers_of_the_latest_run(show):
    page = show(text="backup-home")
    run = list(JOB["backup-home"].runs())[-1]
    ended = datetime.fromtimestamp(ORIGIN + run.start + run.seconds, BERLIN)
    cells = ["warned", "backup-home", "files", "ops", f"today {ended:%H:%M} 5 h ago", "in 21 h"]
    cells += [f"{run.seconds / 60:.0f} min (41 min)", f"{run.size / 2**30:.1f} GiB"]
    expect(rows(page).locator("[role=cell]:not(.days)")).to_have_text(cells)
    hover = f"{ended:%a, %d %b %Y, %H:%M} CET ({ended.astimezone(ZoneInfo('UTC')):%H:%M} UTC)"
    expect(rows(page).locator("time")).to_have_attribute("title", hover)


def test_bars_are_the_worst_state_of_each_of_the_readers_days(show):
    page = show(text="verify-restore")
    days = rows(page).locator(".bars title")
    # Its sixth and its eighth run fail, on Wednesday and Friday at 7 o'clock.
    wanted = [
        "Fri 13 Nov: waiting",
        *(f"{day} Nov: fine" for day in ("Sat 14", "Sun 15", "Mon 16")),
    ]
    wanted += [
        "Tue 17 Nov: fine",
        *(f"{day} Nov: failing" for day in ("Wed 18", "Thu 19", "Fri 20")),
    ]
    expect(days).to_have_text([text.replace(" ", " ", 1) for text in wanted])
    expect(rows(page).locator(".bars .unknown")).to_have_count(30 - len(wanted))


def test_the_night_of_the_outage_is_a_column(show):
    page = show()
    expect(rows(page).locator(".bars")).to_have_count(len(JOBS))
    day = datetime.fromtimestamp(ORIGIN + OUTAGE[1], BERLIN)
    late = rows(page).filter(has_text="files").locator("title", has_text=f"{day:%a %d %b}: late")
    expect(late).to_have_count(2)


def test_filters_are_in_the_address_and_a_link_shows_the_same(show):
    page = show()
    page.locator(".tile", has_text="failing").click()
    assert names(page) == ["deploy", "verify-restore"]
    page.locator("#owner").select_option("ops")
    assert names(page) == ["verify-restore"]
    shared = page.url
    page.locator(".tile", has_text="failing").click()
    assert names(page) != ["verify-restore"]
    page.get_by_role("button", name="Clear filters").click()
    assert len(names(page)) == len(JOBS)
    page.goto(shared)
    assert names(page) == ["verify-restore"]
    expect(page.locator("#owner")).to_have_value("ops")
    expect(page.locator("[aria-pressed=true]")).to_have_text("1 failing")
    expect(page.locator(".shown")).to_have_text("1 of 17 jobs")


def test_text_finds_jobs_hosts_and_owners(show):
    page = show()
    page.get_by_label("Find").fill("files backup")
    assert names(page) == ["backup-home", "backup-etc"]
    page.get_by_label("Find").fill("FINANCE")
    assert names(page) == ["close-books", "send-invoices"]
    page.get_by_label("Find").fill("no such job")
    expect(page.locator(".empty")).to_contain_text("Clear a filter")
    page.get_by_label("Find").fill("")


def test_a_column_sorts_and_sorts_in_reverse_with_the_unknown_last(show):
    page = show()
    page.get_by_role("button", name="Size").click()
    sizes = ["backup-home", "backup-database", "backup-mail", "backup-etc"]
    assert names(page)[:4] == sizes
    page.get_by_role("button", name="Size").click()
    assert names(page)[:4] == sizes[::-1]
    head = page.get_by_role("columnheader", name="Size")
    expect(head).to_have_attribute("aria-sort", "descending")


# The watching itself
def test_a_gateway_that_was_down_stands_above_all(show):
    page = show(at=f"{ORIGIN + 3 * DAY + 15.2 * HOUR:.0f}")
    banner = page.locator(".banner .bad")
    expect(banner).to_contain_text("Pushgateway push-b cannot be scraped")
    banner.get_by_role("link", name="What to do").click()
    expect(page.get_by_role("heading", level=2)).to_have_text("PushgatewayDown")
    expect(page.locator(".runbook h3").first).to_have_text("Meaning")


def test_unread_declarations_stand_above_all(show):
    page = show(at=f"{ORIGIN + sum(UNREAD) / 2:.0f}")
    expect(page.locator(".banner .bad")).to_contain_text("cannot read the declarations")
    page.get_by_role("link", name="Show the present").click()
    # The week is over, and nothing has come since.
    expect(page.locator(".empty")).to_contain_text("No jobs. Declare one")
    expect(page.locator(".banner")).to_contain_text("evaluates no rules")
    expect(page.locator(".banner")).to_contain_text("nobody is notified")


def test_silences_and_old_data_are_named(fresh, url):
    watching = [
        ({"about": "now"}, NOW),
        ({"about": "silences", "state": "active"}, 3),
        ({"about": "age"}, 200),
        ({"about": "alert", "alertname": "CertificateExpires", "instance": "push-a"}, 1),
    ]
    answer_with(fresh, [("nightly", "a")], **{WATCHING: watching})
    fresh.goto(url)
    expect(fresh.locator(".banner")).to_contain_text("3 silences are in force")
    expect(fresh.locator(".banner")).to_contain_text("rules 3 min ago")
    expect(fresh.locator(".banner")).to_contain_text("CertificateExpires fires for push-a.")


def test_the_picture_stays_when_prometheus_goes_away(fresh, url):
    fresh.clock.install(time=NOW)
    answer_with(fresh, [("nightly", "a")])
    fresh.goto(url)
    expect(rows(fresh)).to_have_count(1)
    row = rows(fresh).element_handle()
    away = fresh.locator(".banner", has_text="Prometheus cannot be reached since 10:00")
    fresh.route("**/api/v1/**", lambda route: route.abort())
    refreshed(fresh)
    expect(away).to_contain_text("no connection. What you see is how it was then.")
    expect(rows(fresh)).to_have_count(1)
    fresh.unroute("**/api/v1/**")
    answer_with(fresh, [("nightly", "a"), ("weekly", "a")])
    refreshed(fresh)
    expect(away).to_have_count(0)
    expect(rows(fresh)).to_have_count(2)
    assert row.evaluate("row => row.isConnected"), "a refresh replaces no row"


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (401, "Unauthorized", "wants a password"),
        (404, "404 page not found", "A proxy has to forward it beside /user/"),
        (200, "<html>Sign in", "sign in: reload"),
        (503, '{"status": "error", "error": "query queue is full"}', "query queue is full"),
    ],
)
def test_what_keeps_the_page_from_prometheus_is_named(fresh, url, status, body, words):
    fresh.route("**/api/v1/**", lambda route: route.fulfill(status=status, body=body))
    fresh.goto(url)
    expect(fresh.locator(".banner .bad")).to_contain_text(words)


def test_a_proxy_forwards_the_page_with_the_api_or_the_page_names_what_is_missing(fresh, proxy):
    fresh.goto(browsing.address(f"{proxy}/jobs/user/"))
    expect(fresh.locator(".headline")).to_have_text("8 of 17 jobs need attention.")
    fresh.goto(f"{proxy}/half/user/")
    missing = "/half/api/v1/ is not there. A proxy has to forward it beside /half/user/"
    expect(fresh.locator(".banner .bad")).to_contain_text(missing)
    fresh.goto(f"{proxy}/sandbox/user/")
    expect(fresh.locator("noscript p")).to_contain_text("as Grafana's data source proxy does")
    expect(fresh.locator("noscript p")).to_be_visible()
    expect(fresh.locator(".waiting")).to_be_hidden()


# One job
def test_a_job_has_its_runs_its_limits_and_what_fires(show):
    page = show(job="verify-restore", host="files")
    runs = list(JOB["verify-restore"].runs())
    page.locator("summary", has_text=f"All {len(runs) - 1} runs").click()
    results = page.locator(".runs tbody td:nth-child(2)")
    # The fifth was in the night of the outage, and is not known.
    expect(results).to_have_text(["exit-code (3)", "success", "exit-code (3)", *["success"] * 4])
    expect(page.locator(".runs circle")).to_have_count(5)
    expect(page.locator(".runs path")).to_have_count(2)
    expect(page).to_have_title("verify-restore: batch jobs")
    facts = page.locator(".facts")
    expect(facts).to_contain_text("Allowed duration2 h")
    expect(facts).to_contain_text("Next success duetoday 09:30 30 min over")
    expect(page.locator(".alerts h4")).to_have_text(
        ["BatchJobFailed warning", "BatchJobMissed warning"]
    )


def test_a_runbook_names_the_job_in_its_commands(show):
    page = show(job="backup-mail", host="mail")
    page.locator("summary", has_text="What to do").click()
    expect(page.locator(".runbook h5")).to_have_text(
        ["Meaning", "Impact", "Diagnosis", "Mitigation"]
    )
    expect(page.locator(".runbook")).to_contain_text("journalctl --unit batch-job-backup-mail")


def test_a_job_that_nobody_declared_shows_how(show):
    page = show(job="export-legacy", host="oldhost")
    snippet = page.locator(".declare pre").inner_text()
    [job] = yaml.safe_load(snippet)["batch_job_jobs"]
    assert job == {"name": "export-legacy", "owner": "OWNER", "max_age": "37h"}


def test_a_job_has_the_words_of_its_alerts_and_its_unit(fresh, url):
    job = {"job": "nightly", "instance": "a"}
    facts = [
        ({"__name__": "ALERTS", "alertname": "BatchJobFailed", **job}, 1),
        ({"__name__": "batch_job:unit_info", "unit": "it's.service", **job}, 1),
        ({"__name__": "batch_job_last_output", "output": "<b>full</b>\nexit", **job}, 1),
    ]
    states = [(job, 9)]
    answer_with(
        fresh,
        [("nightly", "a")],
        **{"(batch_job:state)": states, FACTS: facts},
    )
    alert = {"labels": {"alertname": "BatchJobFailed", **job}, "activeAt": "2026-11-20T08:00:00Z"}

    def describe(words):
        document = {"status": "success", "data": {"alerts": [{**alert, "annotations": words}]}}
        fresh.route("**/api/v1/alerts", lambda route: route.fulfill(json=document))

    fresh.clock.install(time=NOW)
    describe({"description": "It ended an hour ago."})
    fresh.goto(f"{url}#job=nightly&host=a")
    expect(fresh.locator(".words")).to_have_text("Since today 09:00. It ended an hour ago.")
    expect(fresh.locator(".facts pre")).to_have_text("<b>full</b>\nexit")
    fresh.locator("summary", has_text="What to do").click()
    expect(fresh.locator(".runbook")).to_contain_text("Meaning")
    describe({"description": "It ended two hours ago."})
    refreshed(fresh)
    expect(fresh.locator(".words")).to_contain_text("two hours")
    # What somebody reads stays open.
    expect(fresh.locator(".runbook")).to_be_visible()
    expect(fresh.locator(".job-view pre").last).to_have_text(
        "journalctl --unit 'it'\\''s.service' -n 50\nbatch-job status"
    )


def test_the_keyboard_is_enough(show):
    page = show()
    expect(rows(page)).to_have_count(len(JOBS))
    page.keyboard.press("/")
    expect(page.get_by_label("Find")).to_be_focused()
    page.get_by_role("link", name="deploy").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=2)).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("link", name="deploy")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("link", name="verify-restore")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=2)).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("link", name="verify-restore")).to_be_focused()
    page.keyboard.press("End")
    expect(rows(page).last.get_by_role("link")).to_be_focused()


# Many jobs, and hostile ones
def test_ten_thousand_jobs_are_as_many_queries_and_a_screen_of_rows(fresh, url):
    jobs = [(f"job-{number:05}", f"host-{number % 50}") for number in range(10_000)]
    asked = []
    answer_with(fresh, jobs, asked=asked)
    with fresh.expect_request(lambda request: "quantile_over_time" in address_of(request)):
        fresh.goto(url)
    expect(fresh.locator(".shown")).to_have_text("10000 jobs")
    assert len(asked) == 10
    assert len(max(asked, key=len)) < 3000
    assert rows(fresh).count() < 60
    rows(fresh).first.get_by_role("link").focus()
    fresh.keyboard.press("End")
    expect(fresh.get_by_role("link", name="job-09999")).to_be_focused()
    assert rows(fresh).count() < 60
    fresh.get_by_label("Find").fill("host-22 job-07")
    expect(rows(fresh)).to_have_count(20)
    expect(rows(fresh).first).to_contain_text("job-07")


def test_whatever_somebody_pushes_is_text(live, pushgateway, eventually):
    gateway = Gateway(pushgateway.url)
    failed = [
        metrics.gauge("last_exit_code", 1),
        metrics.gauge("unit_info", 1, {"unit": HOSTILE[0]}),
    ]
    for name in HOSTILE:
        push(gateway, Group(name, name), failed, replace=True)
    dialogs, errors = [], []
    live.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    live.on("pageerror", lambda error: errors.append(error))
    states = "../api/v1/query?query=batch_job:state"
    eventually(lambda: len(live.request.get(states).json()["data"]["result"]) == len(HOSTILE))
    live.goto("")
    expect(rows(live).locator(".state")).to_have_text(["failing"] * len(HOSTILE))
    shown = set(names(live))
    assert shown >= {*HOSTILE[:2], "\\u202egnp.exe\\u202c"}
    assert "a\\u000anew line\\u0009and \\u001b[31m colour" in shown
    assert max(map(len, shown)) < 100
    for link in [link.get_attribute("href") for link in rows(live).get_by_role("link").all()]:
        live.goto(link)
        # Prometheus understood the queries that name it.
        expect(live.locator(".alerts h4").first).to_contain_text("BatchJobFailed")
        expect(live.locator(".job-view h3").last).to_have_text("To look further")
    expect(live.locator("main img")).to_have_count(0)
    expect(live.locator(".banner")).not_to_contain_text("cannot be reached")
    expect(live.locator(".banner")).to_contain_text("nobody is notified")
    assert (dialogs, errors) == ([], [])


def test_a_long_name_is_there_on_demand(fresh, url):
    name = "long " * 2000
    answer_with(fresh, [(name, "a")])
    fresh.goto(url)
    rows(fresh).get_by_role("link").click()
    fresh.locator("h2 summary").click()
    expect(fresh.locator("h2 details > bdi")).to_have_text(name.strip())


def test_commands_and_yaml_keep_the_text_that_they_quote(show):
    page = show()
    quote = """texts => import("./text.js").then(
        (text) => texts.map((each) => [text.shellWord(each), text.yamlText(each)]))"""
    texts = [*HOSTILE, "", "yes", "12", "it's", "\u202e'\\", "batch-job-a.service"]
    for text, (word, scalar) in zip(texts, page.evaluate(quote, texts), strict=True):
        done = subprocess.run(
            ["bash", "-c", f"printf '%s.' {word}"], capture_output=True, check=True
        )
        assert done.stdout.decode() == f"{text}."
        assert yaml.safe_load(scalar) == text
        assert (word + scalar).isprintable()


# Runbooks
RENDER = """markdown => import("./markdown.js").then(({ render }) => {
  const box = document.createElement("div");
  box.append(...render(markdown, { linkTo: (target) => (/^[A-Z]/.test(target) ? "#x" : null) }));
  for (const each of box.querySelectorAll("code, pre")) each.replaceWith(" ");
  const count = (tag) => box.querySelectorAll(tag).length;
  return { text: box.textContent, html: box.innerHTML, sections: count("h4"),
           tables: count("table"), links: count("a") };
})"""


@pytest.mark.parametrize("path", RUNBOOKS, ids=lambda path: path.stem)
def test_runbooks_are_rendered_whole(show, path):
    markdown = path.read_text()
    rendered = show().evaluate(RENDER, markdown)
    assert rendered["sections"] == 4
    assert not set("`|[]") & set(rendered["text"]), rendered["text"]
    assert "**" not in rendered["text"]
    assert rendered["tables"] == markdown.count("|---|\n")
    assert rendered["links"] == markdown.count("](")


def test_markdown_from_elsewhere_makes_no_markup_and_no_script(show):
    markdown = "# <b>A</b>\n\n<img src=x onerror=alert(1)> [x](javascript:void) [`y`](data:,x)"
    rendered = show().evaluate(RENDER, markdown)
    assert rendered["html"] == (
        "<h3>&lt;b&gt;A&lt;/b&gt;</h3>"
        "<p>&lt;img src=x onerror=alert(1)&gt; <span>x</span> <span> </span></p>"
    )


# For everybody
@pytest.mark.parametrize(
    ("size", "scheme"), [(browsing.WIDE, "light"), (browsing.PHONE, "dark")], ids=["wide", "phone"]
)
def test_axe_finds_nothing_and_nothing_is_wider_than_the_screen(chromium, url, size, scheme):
    page = browsing.open_page(chromium, size, scheme)
    shown = {
        "list": ({}, ".bars"),
        "job": ({"job": "verify-restore", "host": "files"}, ".chart"),
        "runbook": ({"runbook": "BatchJobFailed"}, ".runbook h3"),
    }
    for fields, ready in shown.values():
        page.goto(browsing.address(url, **fields))
        expect(page.locator(ready).first).to_be_visible()
        violations = Axe().run(page).response["violations"]
        assert not [f"{each['id']}: {each['nodes'][0]['html']}" for each in violations]
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    page.context.close()


def test_no_row_is_wider_than_its_table_on_any_screen(show):
    page = show()
    expect(rows(page).locator(".bars")).to_have_count(len(JOBS))
    over = {}
    for width in range(320, 1300, 20):
        page.set_viewport_size({"width": width, "height": 600})
        over[width] = rows(page).first.evaluate("row => row.scrollWidth - row.clientWidth")
    page.set_viewport_size({"width": 1280, "height": 800})
    assert not any(over.values()), over


def test_nothing_comes_from_elsewhere_and_no_script_is_inline(fresh, url):
    elsewhere, errors = [], []
    fresh.on(
        "request",
        lambda request: (
            request.url.startswith(url.rstrip("user/")) or elsewhere.append(request.url)
        ),
    )
    fresh.on("console", lambda message: message.type == "error" and errors.append(message.text))
    fresh.goto(browsing.address(url))
    expect(fresh.locator(".row .bars").first).to_be_visible()
    assert (elsewhere, errors) == ([], [])
    fresh.evaluate(
        """const script = document.createElement("script");
        script.text = "window.harm = 1";
        document.body.append(script);"""
    )
    assert fresh.evaluate("window.harm") is None


def test_print_has_every_row_and_no_controls(show):
    page = show()
    expect(rows(page)).to_have_count(len(JOBS))
    # A sheet of A4, upright, without its margins.
    page.set_viewport_size({"width": 718, "height": 1000})
    page.emulate_media(media="print")
    expect(page.get_by_label("Find")).to_be_hidden()
    expect(rows(page).last).to_be_visible()
    over = rows(page).first.evaluate("row => row.scrollWidth - row.clientWidth")
    page.emulate_media(media="screen")
    page.set_viewport_size({"width": 1280, "height": 800})
    assert over <= 0
