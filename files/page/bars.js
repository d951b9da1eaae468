// The worst state of each of the last days, as bars: the worse, the higher.

import { svg } from "./dom.js";
import { DAYS, stateOf } from "./jobs.js";
import { STATES } from "./states.js";
import { day as dayName } from "./text.js";

const STEP = 5;
const HEIGHT = 20;
const LEAST = 5;

const heightOf = (state) => LEAST + ((HEIGHT - LEAST) * Math.min(state, STATES.length)) / (STATES.length - 1);

/** Return what the bars show as a sentence. */
export function summary(days) {
  const seen = days.filter((day) => day.state !== undefined);
  if (!seen.length) return "nothing is known of its last days";
  const bad = seen.filter((day) => day.state > 0);
  const fine = `${seen.length - bad.length} of ${seen.length} days fine`;
  const list = bad.slice(-5).map((day) => `${dayName(day.time)} ${stateOf(day.state).name}`);
  return [fine, ...list].join(", ");
}

/** Return the bars of a job's days. */
export function bars(days) {
  const size = { viewBox: `0 0 ${DAYS * STEP} ${HEIGHT}`, preserveAspectRatio: "none" };
  return svg("svg", { class: "bars", role: "img", "aria-label": summary(days), ...size }, days.map(bar));
}

function bar({ time, state }, number) {
  const place = { x: number * STEP, width: STEP - 1 };
  if (state === undefined) return svg("rect", { ...place, y: HEIGHT - 1, height: 1, class: "unknown" });
  const height = heightOf(state);
  const title = svg("title", {}, `${dayName(time)}: ${stateOf(state).name}`);
  return svg("rect", { ...place, y: HEIGHT - height, height, fill: stateOf(state).color }, title);
}
