// Renders the Markdown of runbooks: headings, paragraphs, lists, tables, code, links, emphasis.
// It builds nodes, never markup.

import { html } from "./dom.js";

const ITEM = /^( *)([-*]|\d+\.) +/;
const INDENT = /^ */;
const RULE = /^\|?[\s|:-]+\|[\s|:-]*$/;
const INLINE = /`([^`]+)`|\[([^\]]*)\]\(([^()\s]*)\)|\*\*([^*]+)\*\*|\*([^*\s][^*]*)\*/g;

/**
 * Return the nodes of a text.
 *
 * `linkTo` gives a link its address, or null for none; `fill` changes code;
 * `level` is that of a heading with one #.
 */
export function render(markdown, { linkTo = () => null, fill = (code) => code, level = 3 } = {}) {
  const inline = (text) => spans(text, { linkTo, fill });
  return blocks(markdown.replaceAll("\r\n", "\n").split("\n"), { inline, fill, level });
}

const indentOf = (line) => INDENT.exec(line)[0].length;
const isBlank = (line) => !line.trim();

function blocks(lines, options) {
  const { inline, fill, level } = options;
  const nodes = [];
  let rest = lines;
  // Each takes its lines from the beginning of the rest.
  const take = (number) => {
    const taken = rest.slice(0, number);
    rest = rest.slice(number);
    return taken;
  };
  const takeWhile = (matches) => {
    const end = rest.findIndex((line, number) => !matches(line, number));
    return take(end < 0 ? rest.length : end);
  };
  while (rest.length) {
    const [line] = rest;
    if (isBlank(line)) take(1);
    else if (/^#{1,6} /.test(line)) {
      const [, marks, title] = /^(#+) +(.*)$/.exec(take(1)[0]);
      nodes.push(html(`h${Math.min(6, marks.length + level - 1)}`, {}, inline(title)));
    } else if (line.startsWith("```")) {
      take(1);
      const code = takeWhile((each) => !each.startsWith("```"));
      take(1);
      nodes.push(codeBlock(code, fill));
    } else if (indentOf(line) >= 4) {
      const code = takeWhile((each) => isBlank(each) || indentOf(each) >= 4);
      nodes.push(codeBlock(code.map((each) => each.slice(4)), fill));
    } else if (ITEM.test(line)) {
      nodes.push(list(takeWhile((each, number) => !number || isInList(each, rest, number)), options));
    } else if (line.startsWith("|")) {
      nodes.push(table(takeWhile((each) => each.startsWith("|")), inline));
    } else {
      const paragraph = takeWhile((each, number) => !number || continues(each));
      nodes.push(html("p", {}, inline(paragraph.join(" "))));
    }
  }
  return nodes;
}

/** Return whether a line goes on with a paragraph. */
const continues = (line) => !isBlank(line) && !ITEM.test(line) && !/^(#{1,6} |```|\|)/.test(line);

/** Return whether a line belongs to the list at the beginning: an item, or indented, or wrapped. */
function isInList(line, lines, number) {
  if (isBlank(line)) {
    const next = lines.slice(number).find((each) => !isBlank(each));
    return next !== undefined && (indentOf(next) >= 2 || ITEM.test(next));
  }
  return ITEM.test(line) || indentOf(line) >= 2 || (!isBlank(lines[number - 1]) && continues(line));
}

function list(lines, options) {
  const [, margin, mark] = ITEM.exec(lines[0]);
  const items = [];
  for (const line of lines) {
    const match = ITEM.exec(line);
    if (match && match[1].length <= margin.length) {
      const width = match[0].length;
      items.push({ lines: [line.slice(width)], width });
    } else {
      const { lines: own, width } = items.at(-1);
      own.push(line.slice(Math.min(indentOf(line), width)));
    }
  }
  const attributes = /\d/.test(mark) ? { start: parseInt(mark) } : {};
  const children = items.map((item) => {
    const nodes = blocks(item.lines, options);
    // An item of one paragraph needs no space around it.
    const isPlain = nodes[0]?.tagName === "P";
    return html("li", {}, isPlain ? [...nodes[0].childNodes] : nodes[0], nodes.slice(1));
  });
  return html(/\d/.test(mark) ? "ol" : "ul", attributes, children);
}

function cells(line) {
  const inner = line.trim().replace(/^\||\|$/g, "");
  return inner.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
}

function table(lines, inline) {
  const [head, ...body] = lines.filter((line) => !RULE.test(line)).map(cells);
  const row = (tag) => (texts) => html("tr", {}, texts.map((text) => html(tag, {}, inline(text))));
  const content = [html("thead", {}, row("th")(head ?? [])), html("tbody", {}, body.map(row("td")))];
  return html("div", { class: "scroll", tabindex: "0" }, html("table", {}, content));
}

function codeBlock(lines, fill) {
  return html("pre", {}, html("code", {}, fill(lines.join("\n").trimEnd())));
}

function spans(text, { linkTo, fill }) {
  const nodes = [];
  let end = 0;
  for (const match of text.matchAll(INLINE)) {
    nodes.push(text.slice(end, match.index));
    end = match.index + match[0].length;
    const [, code, label, target, strong, emphasis] = match;
    if (code !== undefined) nodes.push(html("code", {}, fill(code)));
    else if (strong !== undefined) nodes.push(html("strong", {}, spans(strong, { linkTo, fill })));
    else if (emphasis !== undefined) nodes.push(html("em", {}, spans(emphasis, { linkTo, fill })));
    else {
      const href = linkTo(target);
      const words = spans(label, { linkTo, fill });
      nodes.push(href === null ? html("span", {}, words) : html("a", { href }, words));
    }
  }
  nodes.push(text.slice(end));
  return nodes.filter((node) => node !== "");
}
