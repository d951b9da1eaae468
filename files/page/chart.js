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
  const scale = LADDERS[unit].findLast((size) => size <= top) ?? 1;
  const rough = top / scale / 4;
  const magnitude = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * magnitude).find((size) => size >= rough) * scale;
  return Array.from({ length: Math.floor(top / step) + 1 }, (_, number) => number * step);
}

/** Return where the days of the reader's calendar begin, as many as there is room for. */
function days(start, end, width) {
  const first = new Date(start * 1000);
  const every = Math.max(1, Math.ceil(((end - start) / DAY / width) * 80));
  const times = [];
  for (let number = 1; ; number += every) {
    const time = new Date(first.getFullYear(), first.getMonth(), first.getDate() + number) / 1000;
    if (time >= end) return times;
    times.push(time);
  }
}

/**
 * Return a chart of points `{ time, value, color, title, isBad }`.
 *
 * `lines` are `{ value, title, look }`; one far above all points is left out.
 */
export function chart({ title, points, lines, start, end, unit, write, width }) {
  const highest = Math.max(...points.map((point) => point.value));
  const near = lines.filter((line) => line.value <= 3 * highest);
  const top = 1.08 * Math.max(highest, ...near.map((line) => line.value)) || 1;
  const x = (time) => MARGIN.left + ((time - start) / (end - start)) * (width - MARGIN.left - MARGIN.right);
  const y = (value) => HEIGHT - MARGIN.bottom - (value / top) * (HEIGHT - MARGIN.top - MARGIN.bottom);
  const across = (value, look) =>
    svg("line", { class: look, x1: MARGIN.left, x2: width - MARGIN.right, y1: y(value), y2: y(value) });
  const upright = (time, low, high, look) => svg("line", { x1: x(time), x2: x(time), y1: low, y2: high, ...look });
  const grid = ticks(top, unit).map((value) => [
    across(value, "grid"),
    svg("text", { x: MARGIN.left - 8, y: y(value) + 4, "text-anchor": "end" }, write(value)),
  ]);
  const axis = days(start, end, width).map((time) => [
    upright(time, y(0), y(0) + 4, { class: "grid" }),
    svg("text", { x: x(time), y: HEIGHT - 5, "text-anchor": "middle" }, moment(time, end).replace(/,? ?00:00/, "")),
  ]);
  const named = near.map(({ value, title: words, look }) => [
    across(value, look),
    svg("text", { class: look, x: width - MARGIN.right, y: y(value) - 4, "text-anchor": "end" }, words),
  ]);
  const shapes = points.map((point) => shape(x(point.time), y(point.value), point));
  const stems = points.map(({ time, value, color }) =>
    upright(time, y(0), y(value), { class: "stem", stroke: color }),
  );
  const label = `${title}: ${points.length} runs, the latest ${write(points.at(-1).value)}`;
  const look = { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": label };
  const drawing = svg("svg", look, grid, axis, stems, named, shapes);
  return html("figure", { class: "chart" }, html("figcaption", {}, title), drawing);
}

/** Return a dot; a run that did not succeed is a diamond. */
function shape(x, y, { color, title, isBad }) {
  const words = svg("title", {}, title);
  if (!isBad) return svg("circle", { cx: x, cy: y, r: RADIUS, fill: color }, words);
  const r = RADIUS * 1.6;
  return svg("path", { d: `M${x} ${y - r}l${r} ${r}l${-r} ${r}l${-r} ${-r}z`, fill: color }, words);
}
