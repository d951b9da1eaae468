// The rows of the table. Only those that can be seen are in the document, however many jobs there are.

import * as address from "./address.js";
import { bars, summary } from "./bars.js";
import { html, mark, name, write } from "./dom.js";
import { isOverdue, stateOf } from "./jobs.js";
import * as text from "./text.js";

// Rows above and below those that can be seen: for the tabulator key, and against flicker.
const SPARE = 8;
const MAX_PRINTED = 1000;

/** A row of the table that shows a job. */
class Row {
  constructor(job) {
    this.state = html("span", { class: "word" });
    this.link = html("a", { class: "name" }, name(job.name));
    const host = job.host ? name(job.host) : html("span", { class: "none" }, "no host");
    this.owner = html("div", { role: "cell", class: "owner" });
    this.success = html("time");
    this.ago = html("small");
    this.due = html("div", { role: "cell", class: "due number" });
    this.duration = html("span");
    this.usual = html("small");
    this.size = html("div", { role: "cell", class: "size number" });
    this.days = html("div", { role: "cell", class: "days" });
    this.element = html(
      "div",
      { role: "row", class: "row", click: (event) => this.#open(event) },
      html("div", { role: "cell", class: "state" }, html("i", { class: "dot" }), this.state),
      html("div", { role: "cell", class: "job" }, this.link),
      html("div", { role: "cell", class: "host" }, host),
      this.owner,
      html("div", { role: "cell", class: "success number" }, this.success, " ", this.ago),
      this.due,
      html("div", { role: "cell", class: "duration number" }, this.duration, " ", this.usual),
      this.size,
      this.days,
    );
  }

  /** Open the job by a click anywhere, unless that selects text. */
  #open(event) {
    if (!event.target.closest("a") && !getSelection().toString()) this.link.click();
  }

  /** Show a job as it is now. */
  update(job, number, past, at) {
    this.job = job;
    const state = stateOf(job.state);
    this.element.style.setProperty("--state", state.color);
    this.element.style.setProperty("--number", number);
    mark(this.element, "aria-rowindex", String(number + 2));
    write(this.state, state.name);
    mark(this.state, "title", state.meaning);
    mark(this.link, "href", address.link({ at, job: job.name, host: job.host || undefined }));
    if (this.shownOwner !== job.owner) {
      this.owner.replaceChildren(job.owner ? name(job.owner, 30) : html("span", { class: "none" }, "nobody"));
      this.shownOwner = job.owner;
    }
    write(this.duration, job.duration === undefined ? "–" : text.duration(job.duration));
    write(this.usual, past.usual === undefined ? "" : `(${text.duration(past.usual)})`);
    mark(this.usual, "title", past.usual === undefined ? null : "the median of a week");
    write(this.size, job.size === undefined ? "–" : text.bytes(job.size));
    mark(this.size, "title", job.size === undefined ? null : `${job.size} bytes`);
    const days = summary(past.days);
    if (this.shownDays !== days) {
      this.days.replaceChildren(bars(past.days));
      this.shownDays = days;
    }
  }

  /** Show what changes with time alone. */
  tick(now) {
    const { success, due } = this.job;
    write(this.success, success === undefined ? "never" : text.moment(success, now));
    mark(this.success, "title", success === undefined ? null : text.exact(success));
    write(this.ago, success === undefined ? "" : ago(now - success));
    const isLate = isOverdue(this.job, now);
    mark(this.due, "data-late", isLate ? "" : null);
    mark(this.due, "title", due === undefined ? null : text.exact(due));
    write(this.due, dueText(this.job, now));
  }
}

/** Return how long ago something was, or in how long it will be. */
export const ago = (seconds) => (seconds < 0 ? `in ${text.roughly(-seconds)}` : `${text.roughly(seconds)} ago`);

/** Return when a success of a job is due, as a countdown. */
export function dueText(job, now) {
  if (job.due === undefined) return "–";
  if (job.due >= now) return `in ${text.countdown(job.due - now)}`;
  return isOverdue(job, now) ? `${text.roughly(now - job.due)} over` : "–";
}

/** The rows of all jobs that the filters leave. */
export class Rows {
  #rows = new Map();
  #jobs = [];

  /** `onShow` is called with the jobs that can be seen. */
  constructor(onShow) {
    this.onShow = onShow;
    this.element = html("div", { role: "rowgroup", class: "rows", keydown: (event) => this.#move(event) });
    // Both happen many times for one picture.
    const redraw = () => {
      this.frame ??= requestAnimationFrame(() => {
        this.frame = undefined;
        this.draw();
      });
    };
    addEventListener("scroll", redraw, { passive: true });
    addEventListener("resize", redraw, { passive: true });
    addEventListener("beforeprint", () => this.draw(MAX_PRINTED));
    addEventListener("afterprint", redraw);
  }

  /** Show jobs in their order. */
  show(jobs, { past, now, at }) {
    this.#jobs = jobs;
    this.view = { past, now, at };
    this.element.style.setProperty("--rows", jobs.length);
    this.draw();
  }

  /** Draw the rows that can be seen. */
  draw(printed) {
    if (!this.view || !this.element.isConnected) return;
    const [first, last] = printed ? [0, printed] : this.#seen();
    const shown = this.#jobs.slice(first, last).map((job, index) => [job, first + index]);
    const focused = this.#focused();
    if (focused >= 0 && (focused < first || focused >= last)) {
      // Whoever scrolls does not lose the place of the keyboard.
      shown.splice(focused < first ? 0 : shown.length, 0, [this.#jobs[focused], focused]);
    }
    const keys = new Set(shown.map(([job]) => job.key));
    for (const [key, row] of this.#rows) {
      if (keys.has(key)) continue;
      row.element.remove();
      this.#rows.delete(key);
    }
    let place = this.element.firstElementChild;
    for (const [job, number] of shown) {
      const row = this.#rows.get(job.key) ?? new Row(job);
      this.#rows.set(job.key, row);
      row.update(job, number, this.view.past.of(job), this.view.at);
      row.tick(this.view.now());
      if (row.element === place) place = place.nextElementSibling;
      else this.element.insertBefore(row.element, place);
    }
    this.onShow(shown.map(([job]) => job));
  }

  /** Show what changes with time alone. */
  tick() {
    for (const row of this.#rows.values()) row.tick(this.view.now());
  }

  /** Focus the row of a job, if the filters leave it. */
  focus(key) {
    this.#focusNumber(this.#jobs.findIndex((job) => job.key === key));
  }

  #rowHeight() {
    return parseFloat(getComputedStyle(this.element).getPropertyValue("--row"));
  }

  #seen() {
    const height = this.#rowHeight();
    const above = -this.element.getBoundingClientRect().top;
    const first = Math.floor(above / height) - SPARE;
    const last = Math.ceil((above + innerHeight) / height) + SPARE;
    return [Math.max(0, Math.min(first, this.#jobs.length)), Math.max(0, last)];
  }

  #focused() {
    const element = this.element.contains(document.activeElement) && document.activeElement.closest(".row");
    return element ? this.#jobs.findIndex((job) => this.#rows.get(job.key)?.element === element) : -1;
  }

  #move(event) {
    const number = this.#focused();
    const target = {
      ArrowDown: number + 1,
      ArrowUp: number - 1,
      Home: 0,
      End: this.#jobs.length - 1,
    }[event.key];
    if (target === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    this.#focusNumber(target);
  }

  #focusNumber(number) {
    const job = this.#jobs[number];
    if (!job) return;
    const height = this.#rowHeight();
    const top = this.element.getBoundingClientRect().top + number * height;
    // The header of the table covers the first rows.
    if (top < 2 * height || top + 2 * height > innerHeight) scrollBy(0, top - innerHeight / 2);
    this.draw();
    this.#rows.get(job.key)?.link.focus({ preventScroll: true });
  }
}
