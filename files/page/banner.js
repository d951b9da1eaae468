// What is wrong with the watching itself, above all else.

import * as address from "./address.js";
import { html, name } from "./dom.js";
import * as text from "./text.js";

const MAX_AGE = 60;
// Said better by what is scraped itself.
const SAID = { gateway: "PushgatewayDown", declarations: "BatchJobDeclarationsMissing" };

/** Return what is wrong, the worst first: `{ level, words, runbook }`. */
function messages({ picture, failure, at }) {
  const found = [];
  if (failure) {
    const since = failure.since ? ` since ${text.clock(failure.since)}` : "";
    const still = picture ? ` What you see is how it was then.` : "";
    found.push({ level: "bad", words: `Prometheus cannot be reached${since}: ${failure.reason}.${still}` });
  }
  if (at !== undefined) {
    const present = html("a", { href: address.link({ ...address.read(), at: undefined }) }, "Show the present");
    found.push({ level: "note", words: [`This is the past: ${text.exact(at)}. `, present] });
  }
  if (!picture) return found;
  const about = (subject) => picture.watching.filter((sample) => sample.metric.about === subject);
  for (const { metric } of about("gateway")) {
    const gateway = name(metric.pushgateway ?? metric.instance ?? "");
    found.push({
      level: "bad",
      words: ["Pushgateway ", gateway, " cannot be scraped: what jobs report there is not seen."],
      runbook: SAID.gateway,
    });
  }
  if (about("declarations").length) {
    const words = "Prometheus cannot read the declarations: it does not know of new jobs, and forgets all when it restarts.";
    found.push({ level: "bad", words, runbook: SAID.declarations });
  }
  if (!picture.isNotifying) {
    const words = "Prometheus knows no Alertmanager that answers: nobody is notified.";
    found.push({ level: "bad", words, runbook: "PrometheusCannotNotify" });
  }
  const said = Object.entries(SAID).filter(([subject]) => about(subject).length).map(([, alert]) => alert);
  for (const { metric } of about("alert")) {
    if (said.includes(metric.alertname)) continue;
    const where = metric.pushgateway ?? metric.instance;
    const words = [name(metric.alertname), where ? " fires for " : " fires", where && name(where), "."];
    found.push({ level: metric.severity === "critical" ? "bad" : "poor", words, runbook: metric.alertname });
  }
  const [age] = about("age");
  // The past was recorded as often as Prometheus liked.
  if (age && at === undefined && Number(age.value[1]) > MAX_AGE) {
    const words = `Prometheus evaluated its rules ${text.duration(Number(age.value[1]))} ago: the states below are as old.`;
    found.push({ level: "bad", words, runbook: "PrometheusRuleFailures" });
  }
  const [silences] = about("silences");
  if (silences) {
    const count = Number(silences.value[1]);
    const words = `${count} ${count === 1 ? "silence is" : "silences are"} in force: some of what fires notifies nobody.`;
    found.push({ level: "note", words });
  }
  return found;
}

export class Banner {
  element = html("div", { class: "banner", role: "status", "aria-label": "Is the watching itself all right?" });

  /** Show what is wrong; nothing moves while it stays the same. */
  show(view) {
    const items = messages(view).map(({ level, words, runbook }) => {
      const link = runbook && html("a", { href: address.link({ at: view.at, runbook }) }, "What to do");
      return html("p", { class: level }, html("i", { class: "dot" }), html("span", {}, words, link && [" ", link]));
    });
    const fresh = html("div", {}, items);
    if (fresh.isEqualNode(this.shown)) return;
    this.shown = fresh.cloneNode(true);
    this.element.replaceChildren(...fresh.childNodes);
  }
}
