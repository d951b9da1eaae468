// What to do about an alert.

import * as address from "./address.js";
import { runbook } from "./api.js";
import { html, name } from "./dom.js";
import { render } from "./markdown.js";

const HARMLESS = /^[\w.:@-]+$/;

/** Return the address of a link in a runbook: another runbook, or a page elsewhere. */
function linkTo(target, at) {
  const other = /^([A-Za-z]+)\.md(?:#.*)?$/.exec(target);
  if (other) return address.link({ at, runbook: other[1] });
  return /^https?:\/\//.test(target) ? target : null;
}

/** Put the name and the host of a job where a runbook's commands have JOB and HOST. */
function filler({ name: jobName = "", host = "" } = {}) {
  const labels = { JOB: jobName, HOST: host };
  return (code) => code.replace(/\b(JOB|HOST)\b/g, (word) => (HARMLESS.test(labels[word]) ? labels[word] : word));
}

/**
 * Return an element that holds the runbook of an alert once it has come.
 *
 * `level` is that of the heading above it. The commands name a job if one is given.
 */
export function runbookOf(alert, { level, job, at }) {
  const element = html("div", { class: "runbook" }, html("p", { class: "none" }, "Reading …"));
  runbook(alert).then((markdown) => {
    // Its first heading is the name of the alert, which stands above already.
    const body = markdown?.replace(/^# .*\n/, "");
    const folder = html("code", {}, "runbooks/");
    const missing = ["There is no runbook of ", name(alert), " beside this page, in ", folder, "."];
    const options = { linkTo: (target) => linkTo(target, at), fill: filler(job), level };
    element.replaceChildren(...(body ? render(body, options) : [html("p", {}, missing)]));
  });
  return element;
}
