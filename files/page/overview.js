// The first look: how many jobs are in each state, and a row for each job.

import * as address from "./address.js";
import { html, mark, name, write } from "./dom.js";
import { ORDERS, Past, isBad, matcher, sorted, stateOf } from "./jobs.js";
import { Rows } from "./rows.js";
import { STATES } from "./states.js";

const WORST_FIRST = STATES.map((state, number) => ({ ...state, number })).reverse();
// Past is asked for when scrolling and typing pause.
const PAUSE_MILLISECONDS = 150;
// What filters call those without an owner or a host.
const NOBODY = "";

export class Overview {
  #past = new Past();
  #picture;

  /** `onChange` is called when somebody changes a filter or the order. */
  constructor(onChange) {
    const change = (fields) => {
      address.change(fields);
      onChange();
    };
    this.headline = html("p", { class: "headline" });
    this.tiles = WORST_FIRST.map((state) => new Tile(state, () => change({ state: toggled(state.name) })));
    this.text = html("input", {
      type: "search",
      id: "text",
      placeholder: "job, host or owner",
      autocomplete: "off",
      spellcheck: "false",
      input: () => change({ text: this.text.value || undefined }),
    });
    this.owner = new Choice("owner", "Owner", "nobody", change);
    this.host = new Choice("host", "Host", "no host", change);
    this.order = html(
      "select",
      { id: "order", change: () => change({ sort: this.order.value === "state" ? undefined : this.order.value }) },
      Object.entries(ORDERS).map(([value, { title }]) => html("option", { value }, title)),
    );
    this.clear = html("button", { type: "button", class: "plain" }, "Clear filters");
    this.clear.addEventListener("click", () => {
      change({ state: undefined, owner: undefined, host: undefined, text: undefined });
      this.text.focus();
    });
    this.shown = html("p", { class: "shown", role: "status" });
    this.headers = Object.entries(ORDERS).map(([order, { title }]) => new Header(order, title, change));
    this.rows = new Rows((jobs) => this.#learn(jobs));
    this.empty = html("div", { class: "empty", hidden: true });
    const days = html("div", { role: "columnheader", class: "days" }, "Thirty days");
    const head = html("div", { role: "row", class: "head" }, this.headers.map((header) => header.element), days);
    this.table = html(
      "div",
      { role: "table", class: "table", "aria-label": "Jobs" },
      html("div", { role: "rowgroup" }, head),
      this.rows.element,
    );
    const look = { class: "tiles", role: "group", "aria-label": "Jobs by state" };
    const tiles = html("div", look, this.tiles.map((tile) => tile.element));
    this.element = html(
      "section",
      { class: "overview", "aria-label": "All jobs" },
      this.headline,
      tiles,
      html(
        "div",
        { class: "filters", role: "search", "aria-label": "Filter jobs" },
        html("label", {}, html("span", {}, "Find"), this.text),
        this.owner.element,
        this.host.element,
        html("label", { class: "order" }, html("span", {}, "Order"), this.order),
        this.clear,
        this.shown,
      ),
      this.table,
      this.empty,
    );
  }

  /** Show a picture of all jobs as the address wants it. */
  show(picture, fields, now) {
    const { at, state, text, owner, host, sort = "state" } = fields;
    if (this.#picture !== picture || this.sort !== sort) {
      this.ordered = sorted(picture.jobs, sort);
      this.sort = sort;
    }
    if (this.#picture !== picture) {
      this.#picture = picture;
      write(this.headline, headline(picture.jobs));
      this.owner.offer(picture.jobs.map((job) => job.owner));
      this.host.offer(picture.jobs.map((job) => job.host));
    }
    const states = new Set(split(state));
    const matching = this.ordered.filter(matcher(fields));
    const jobs = states.size ? matching.filter((job) => states.has(stateOf(job.state).name)) : matching;
    for (const tile of this.tiles) {
      const count = matching.filter((job) => job.state === tile.number).length;
      tile.show(count, states.has(tile.name));
    }
    if (document.activeElement !== this.text) this.text.value = text ?? "";
    this.owner.choose(owner);
    this.host.choose(host);
    this.order.value = sort;
    for (const header of this.headers) header.show(sort);
    this.clear.hidden = ![state, owner, host, text].some((filter) => filter !== undefined);
    const all = counted(picture.jobs);
    write(this.shown, jobs.length === picture.jobs.length ? all : `${jobs.length} of ${all}`);
    mark(this.table, "aria-rowcount", String(jobs.length + 1));
    this.table.hidden = !jobs.length;
    this.#explain(picture, jobs);
    this.at = at;
    this.now = now;
    this.rows.show(jobs, { past: this.#past, now, at });
  }

  tick() {
    this.rows.tick();
  }

  #explain(picture, jobs) {
    this.empty.hidden = jobs.length > 0;
    if (jobs.length) return;
    const words = picture.jobs.length
      ? ["No job is like that. Clear a filter above."]
      : [
          "No jobs. Declare one in the inventory, in ",
          html("code", {}, "batch_job_jobs"),
          ", and roll it out, or push a report to a Pushgateway; it appears within a minute.",
        ];
    this.empty.replaceChildren(html("p", {}, words));
  }

  #learn(jobs) {
    clearTimeout(this.timer);
    const at = this.at;
    this.timer = setTimeout(async () => {
      try {
        if ((await this.#past.learn(jobs, this.now(), at)) && at === this.at) this.rows.draw();
      } catch {
        // The next refresh reports what is wrong.
      }
    }, PAUSE_MILLISECONDS);
  }
}

const split = (state) => (state ? state.split(",") : []);
const counted = (jobs) => `${jobs.length} ${jobs.length === 1 ? "job" : "jobs"}`;

function headline(jobs) {
  const bad = jobs.filter(isBad).length;
  if (!jobs.length) return "";
  if (!bad) return jobs.length === 1 ? "The job is fine." : `All ${jobs.length} jobs are fine.`;
  return `${bad} of ${counted(jobs)} ${bad === 1 ? "needs" : "need"} attention.`;
}

/** Return the states that the address selects when one is switched on or off. */
function toggled(state) {
  const states = new Set(split(address.read().state));
  if (!states.delete(state)) states.add(state);
  return states.size ? [...states].join(",") : undefined;
}

/** How many jobs are in a state; pressed, the table shows these. */
class Tile {
  constructor({ name, number, color, meaning }, onPress) {
    this.name = name;
    this.number = number;
    this.count = html("b");
    const attributes = { type: "button", class: "tile", title: meaning, "--state": color, click: onPress };
    this.element = html("button", attributes, this.count, " ", html("span", {}, html("i", { class: "dot" }), name));
  }

  show(count, isPressed) {
    write(this.count, String(count));
    mark(this.element, "data-none", count ? null : "");
    mark(this.element, "aria-pressed", String(isPressed));
  }
}

/** A choice of one of the texts that jobs have. */
class Choice {
  constructor(field, title, nobody, onChange) {
    this.nobody = nobody;
    this.select = html("select", { id: field });
    this.select.addEventListener("change", () => {
      const { selectedIndex: index } = this.select;
      onChange({ [field]: index ? this.values[index - 1] : undefined });
    });
    this.values = [];
    this.select.append(html("option", {}, "all"));
    this.element = html("label", {}, html("span", {}, title), this.select);
  }

  offer(texts) {
    const values = [...new Set(texts)].sort();
    if (values.join("\n") === this.values.join("\n") && values.length === this.values.length) return;
    this.values = values;
    const options = values.map((value) => html("option", {}, value === NOBODY ? this.nobody : name(value).textContent));
    this.select.replaceChildren(html("option", {}, "all"), ...options);
  }

  choose(value) {
    // What the address names may be gone: then nothing is left, and the choice is empty.
    this.select.selectedIndex = value === undefined ? 0 : this.values.indexOf(value) + 1 || -1;
  }
}

/** The head of a column, which sorts by it; once more, in reverse. */
class Header {
  constructor(order, title, onChange) {
    this.order = order;
    const press = () => {
      const next = this.current === order ? `-${order}` : order;
      onChange({ sort: next === "state" ? undefined : next });
    };
    this.element = html(
      "div",
      { role: "columnheader", class: order },
      html("button", { type: "button", click: press }, title, html("span", { class: "arrow", "aria-hidden": "true" })),
    );
  }

  show(sort) {
    this.current = sort;
    const direction = sort === this.order ? "ascending" : sort === `-${this.order}` ? "descending" : null;
    mark(this.element, "aria-sort", direction);
  }
}
