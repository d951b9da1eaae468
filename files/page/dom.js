// Builds elements. Whatever comes from outside is text, never markup.

import * as text from "./text.js";

const SVG = "http://www.w3.org/2000/svg";

function furnish(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (name.startsWith("--")) element.style.setProperty(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child != null && child !== false));
  return element;
}

/** Return an HTML element; functions listen to events, names that begin with `--` are properties of CSS. */
export const html = (tag, attributes = {}, ...children) =>
  furnish(document.createElement(tag), attributes, children);

/** Return an SVG element. */
export const svg = (tag, attributes = {}, ...children) =>
  furnish(document.createElementNS(SVG, tag), attributes, children);

/** Set the text of an element unless it has it. */
export function write(element, content) {
  if (element.textContent !== content) element.textContent = content;
}

/** Set an attribute of an element unless it has it; null removes it. */
export function mark(element, name, value) {
  if (value === null) element.removeAttribute(name);
  else if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/** Return a name that somebody chose: isolated, cut, and with escapes for what cannot be seen. */
export function name(chosen, limit) {
  const { pieces, isCut } = text.parts(chosen, limit);
  const nodes = pieces.map((part) => (part.hidden ? html("span", { class: "escape" }, part.text) : part.text));
  return html("bdi", {}, nodes, isCut && "…");
}

/** Return the name in full, on demand if it is long. */
export function fullName(chosen, limit = 200) {
  if (!text.parts(chosen, limit).isCut) return name(chosen, limit);
  const summary = html("summary", {}, name(chosen, limit));
  return html("details", { class: "full" }, summary, name(chosen, Infinity));
}

/** Return a time, in the reader's zone, with UTC on hover. */
export function time(seconds, now) {
  const attributes = { title: text.exact(seconds) };
  return html("time", attributes, text.moment(seconds, now));
}
