// A job's runs over time, as a small chart.

import { html, svg } from "./dom.js";
import { moment } from "./text.js";

const MARGIN = { left: 70, right: 12, top: 10, bottom: 22 };
const HEIGHT = 150;
const RADIUS = 3.2;
const DAY = 86400;
// What an axis counts in.
const LADDERS = {
  seconds: [1, 60, 3600, 86400, 604800],
  bytes: [1, 1024, 1024 ** 2, 1024 ** 3, 1024 ** 4],
};

/** Return round values from 0 to the top of an axis. */
function ticks(top, unit) {
  const scale = LADDERS[unit].findLast((each) => each <= top) ?? 1;
  const rough = top / scale / 4;
  const magnitude = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * magnitude).find((each) => each >= rough) * scale;
  return Array.from({ length: Math.floor(top / step) + 1 }, (_, number) => number * step);
}

/** Return where the days of the reader's calendar begin, as many as there is room for. */
function days(start, end, width) {
  const first = new Date(start * 1000);
  const every = Math.max(1, Math.ceil(((end - start) / DAY / width) * 80));
  const found = [];
  for (let number = 1; ; number += every) {
    const time = new Date(first.getFullYear(), first.getMonth(), first.getDate() + number) / 1000;
    if (time >= end) return found;
    found.push(time);
  }
}

/**
 * Return a chart of points `{ time, value, color, title, isBad }`.
 *
 * `limits` are lines `{ value, title }`; a limit far above all points is left out.
 */
export function chart({ title, points, limits, start, end, unit, write, width }) {
  const highest = Math.max(...points.map((point) => point.value));
  const near = limits.filter((limit) => limit.value <= 3 * highest);
  const top = 1.08 * Math.max(highest, ...near.map((limit) => limit.value)) || 1;
  const x = (time) => MARGIN.left + ((time - start) / (end - start)) * (width - MARGIN.left - MARGIN.right);
  const y = (value) => HEIGHT - MARGIN.bottom - (value / top) * (HEIGHT - MARGIN.top - MARGIN.bottom);
  const across = (value, look) =>
    svg("line", { class: look, x1: MARGIN.left, x2: width - MARGIN.right, y1: y(value), y2: y(value) });
  const grid = ticks(top, unit).map((value) => [
    across(value, "grid"),
    svg("text", { x: MARGIN.left - 8, y: y(value) + 4, "text-anchor": "end" }, write(value)),
  ]);
  const axis = days(start, end, width).map((time) => [
    svg("line", { class: "grid", x1: x(time), x2: x(time), y1: HEIGHT - MARGIN.bottom, y2: HEIGHT - MARGIN.bottom + 4 }),
    svg("text", { x: x(time), y: HEIGHT - 5, "text-anchor": "middle" }, moment(time, end).replace(/,? ?00:00/, "")),
  ]);
  const lines = near.map((limit) => [
    across(limit.value, "limit"),
    svg("text", { class: "limit", x: width - MARGIN.right, y: y(limit.value) - 4, "text-anchor": "end" }, limit.title),
  ]);
  const shapes = points.map((point) => shape(x(point.time), y(point.value), point));
  const stems = points.map((point) =>
    svg("line", { class: "stem", x1: x(point.time), x2: x(point.time), y1: y(0), y2: y(point.value), stroke: point.color }),
  );
  const label = `${title}: ${points.length} runs, the latest ${write(points.at(-1).value)}`;
  const drawing = svg("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": label }, grid, axis, lines, stems, shapes);
  return html("figure", { class: "chart" }, html("figcaption", {}, title), drawing);
}

/** Return a dot; a run that did not succeed is a diamond. */
function shape(x, y, { color, title, isBad }) {
  const words = svg("title", {}, title);
  if (!isBad) return svg("circle", { cx: x, cy: y, r: RADIUS, fill: color }, words);
  const r = RADIUS * 1.6;
  return svg("path", { d: `M${x} ${y - r}l${r} ${r}l${-r} ${r}l${-r} ${-r}z`, fill: color }, words);
}
