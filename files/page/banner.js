// What is wrong with the watching itself, above all else.

import * as address from "./address.js";
import { html, name } from "./dom.js";
import * as text from "./text.js";

const MAX_AGE = 60;
// What is scraped explains more than these alerts.
const SCRAPED = { gateway: "PushgatewayDown", declarations: "BatchJobDeclarationsMissing" };

/** Return what is wrong, the worst first: `{ level, words, runbook }`. */
function messages({ picture, failure, at }) {
  const items = [];
  if (failure) {
    const since = failure.since ? ` since ${text.clock(failure.since)}` : "";
    const still = picture ? ` What you see is how it was then.` : "";
    items.push({ level: "bad", words: `Prometheus cannot be reached${since}: ${failure.reason}.${still}` });
  }
  if (at !== undefined) {
    const present = html("a", { href: address.link({ ...address.read(), at: undefined }) }, "Show the present");
    items.push({ level: "note", words: [`This is the past: ${text.exact(at)}. `, present] });
  }
  if (!picture) return items;
  const about = (subject) => picture.watching.filter((sample) => sample.metric.about === subject);
  for (const { metric } of about("gateway")) {
    const gateway = name(metric.pushgateway ?? metric.instance ?? "");
    items.push({
      level: "bad",
      words: ["Pushgateway ", gateway, " cannot be scraped: what jobs report there is not seen."],
      runbook: SCRAPED.gateway,
    });
  }
  if (about("declarations").length) {
    const words =
      "Prometheus cannot read the declarations: it does not know of new jobs, and forgets all when it restarts.";
    items.push({ level: "bad", words, runbook: SCRAPED.declarations });
  }
  if (!picture.isNotifying) {
    const words = "Prometheus knows no Alertmanager that answers: nobody is notified.";
    items.push({ level: "bad", words, runbook: "PrometheusCannotNotify" });
  }
  const covered = Object.entries(SCRAPED).filter(([subject]) => about(subject).length).map(([, alert]) => alert);
  for (const { metric } of about("alert")) {
    if (covered.includes(metric.alertname)) continue;
    const where = metric.pushgateway ?? metric.instance;
    const words = [name(metric.alertname), where ? " fires for " : " fires", where && name(where), "."];
    items.push({ level: metric.severity === "critical" ? "bad" : "poor", words, runbook: metric.alertname });
  }
  // The watchdog always fires.
  if (!about("rules").length) {
    const words =
      "Prometheus evaluates no rules now, or not those of this page: what is below may be wrong, and nothing fires.";
    items.push({ level: "bad", words, runbook: "PrometheusRuleFailures" });
  }
  const [age] = about("age");
  // The past was recorded as often as Prometheus liked.
  if (age && at === undefined && Number(age.value[1]) > MAX_AGE) {
    const words = `Prometheus evaluated its rules ${text.duration(Number(age.value[1]))} ago: what you see is as old.`;
    items.push({ level: "bad", words, runbook: "PrometheusRuleFailures" });
  }
  const [silences] = about("silences");
  if (silences) {
    const count = Number(silences.value[1]);
    const are = count === 1 ? "silence is" : "silences are";
    const words = `${count} ${are} in force: some of what fires notifies nobody.`;
    items.push({ level: "note", words });
  }
  return items;
}

export class Banner {
  element = html("div", { class: "banner", role: "status", "aria-label": "Is the watching itself all right?" });

  /** Show what is wrong; nothing moves while it stays the same. */
  show(view) {
    const paragraphs = messages(view).map(({ level, words, runbook }) => {
      const link = runbook && html("a", { href: address.link({ at: view.at, runbook }) }, "What to do");
      return html("p", { class: level }, html("i", { class: "dot" }), html("span", {}, words, link && [" ", link]));
    });
    const fresh = html("div", {}, paragraphs);
    if (fresh.isEqualNode(this.shown)) return;
    this.shown = fresh.cloneNode(true);
    this.element.replaceChildren(...fresh.childNodes);
  }
}
