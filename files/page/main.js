// Asks Prometheus again and again, and shows what the address wants.

import * as address from "./address.js";
import { Unreachable } from "./api.js";
import { Banner } from "./banner.js";
import { html, name, write } from "./dom.js";
import { JobView } from "./job.js";
import { isBad, keyOf, look } from "./jobs.js";
import { Overview } from "./overview.js";
import { runbookOf } from "./runbooks.js";
import * as text from "./text.js";

const REFRESH_MILLISECONDS = 15_000;
const TICK_MILLISECONDS = 1000;

const main = document.getElementById("main");
const asOf = document.getElementById("as-of");
const banner = new Banner();
const overview = new Overview(() => draw());
const jobView = new JobView();
main.before(banner.element);

let picture;
let failure;
let timer;
let refreshes = 0;
let shown = {};
// Where the list was left, for the way back.
let listed = { hash: "#", scroll: 0 };

/** Return what time it is for Prometheus; the reader's clock may be wrong. */
function now() {
  return picture.at ?? picture.now + (performance.now() - picture.received) / 1000;
}

async function refresh() {
  clearTimeout(timer);
  const number = ++refreshes;
  const { at } = address.read();
  const answer = await look(at).catch((error) => error);
  // Somebody wants another time by now.
  if (number !== refreshes) return;
  if (answer instanceof Error) fail(answer);
  else {
    picture = { ...answer, at, received: performance.now(), wall: Date.now() / 1000 };
    failure = undefined;
  }
  timer = setTimeout(() => document.hidden || refresh(), REFRESH_MILLISECONDS);
  draw();
}

function fail(error) {
  if (!(error instanceof Unreachable)) console.error(error);
  const reason = error instanceof Unreachable ? error.message : "its answer makes no sense to this page";
  failure = { reason, since: picture?.wall };
}

/** Show what there is, as the address wants it. */
function draw() {
  const fields = address.read();
  banner.show({ picture, failure, at: fields.at });
  if (!picture) return;
  document.title = titleOf(fields);
  write(asOf, `as of ${text.clock(picture.now)}`);
  asOf.title = text.exact(picture.now);
  if (fields.runbook !== undefined) place("runbook", fields.runbook, () => runbookPage(fields));
  else if (fields.job !== undefined) {
    place("job", keyOf(fields.job, fields.host ?? ""), () => jobView.element);
    jobView.show(picture, fields, back(fields), now).then(focusHeading, (error) => {
      fail(error);
      banner.show({ picture, failure, at: fields.at });
    });
  } else {
    const isBack = shown.view !== "list";
    place("list", "", () => overview.element);
    overview.show(picture, fields, now);
    if (isBack && shown.left) restore(shown.left);
    listed.hash = location.hash || "#";
  }
}

/** Return the title of the window, for tabs and bookmarks. */
function titleOf({ job, runbook }) {
  const subject = job ?? runbook;
  if (subject !== undefined) return `${name(subject).textContent}: batch jobs`;
  const bad = picture.jobs.filter(isBad).length;
  return bad ? `(${bad}) Batch jobs` : "Batch jobs";
}

/** Put a view into the page unless it is there. */
function place(view, key, build) {
  if (shown.view === view && shown.key === key) return;
  if (shown.view === "list") listed.scroll = scrollY;
  shown = { view, key, left: shown.view && (shown.view === "list" ? undefined : shown), isFresh: true };
  main.replaceChildren(build());
  if (view !== "list") scrollTo(0, 0);
}

/** Whoever comes back finds the list where it was left, and the job that was open. */
function restore(left) {
  scrollTo(0, listed.scroll);
  overview.rows.draw();
  if (left.view === "job") overview.rows.focus(left.key);
}

function focusHeading() {
  if (!shown.isFresh) return;
  shown.isFresh = false;
  // Readers of screens begin at the title; a first visit begins at the top.
  if (shown.left || listed.hash !== "#") main.querySelector("h2")?.focus({ preventScroll: true });
}

const back = ({ at }) => (listed.hash === "#" ? address.link({ at }) : listed.hash);

function runbookPage(fields) {
  return html(
    "article",
    { class: "job-view" },
    html(
      "header",
      {},
      html("a", { class: "back", href: back(fields) }, "All jobs"),
      html("h2", { tabindex: "-1" }, name(fields.runbook)),
    ),
    runbookOf(fields.runbook, { level: 2, at: fields.at }),
  );
}

function tick() {
  if (!picture || address.read().at !== undefined) return;
  if (shown.view === "list") overview.tick();
  if (shown.view === "job") jobView.tick();
}

addEventListener("hashchange", () => {
  if (picture && address.read().at === picture.at) draw();
  else refresh();
});
document.addEventListener("visibilitychange", () => document.hidden || refresh());
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && shown.view === "list" && !/^(INPUT|SELECT)$/.test(document.activeElement.tagName)) {
    event.preventDefault();
    overview.text.focus();
  } else if (event.key === "Escape" && shown.view !== "list" && picture) {
    location.hash = back(address.read());
  }
});
setInterval(tick, TICK_MILLISECONDS);
refresh();
