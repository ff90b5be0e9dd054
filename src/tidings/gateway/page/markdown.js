// A small safe part of Markdown, built as nodes. No text ever becomes markup.

const FENCE = /^```/;
const HEADING = /^(#{1,4})\s+(.*)$/;
const BULLET = /^\s*[-*]\s+(.*)$/;
const NUMBER = /^\s*\d+[.)]\s+(.*)$/;
const QUOTE = /^>\s?(.*)$/;
const ROW = /^\s*\|(.*)\|\s*$/;
const RULE = /^\s*\|?[\s:|-]+\|?\s*$/;
const ESCAPE = /\\([!-/:-@[-`{-~])|&(lt|gt|amp|quot);/g;
const INLINE = new RegExp(
  [
    /(\\[!-/:-@[-`{-~]|&(?:lt|gt|amp|quot);)/,
    /`([^`]+)`/,
    /\*\*((?:\\.|[^*\\])+)\*\*/,
    /\*((?:\\.|[^*\\\s])(?:\\.|[^*\\])*)\*/,
    /\[((?:\\.|[^\]\\])+)\]\(([^)\s]+)[^)]*\)/,
  ].map((part) => part.source).join("|"),
  "g",
);
const NAMED = { lt: "<", gt: ">", amp: "&", quot: '"' };

export function markdown(text) {
  const out = document.createDocumentFragment();
  const lines = text.split("\n");
  let at = 0;
  const while_ = (pattern) => {
    const taken = [];
    for (let match; at < lines.length && (match = pattern.exec(lines[at])); at += 1) taken.push(match[1]);
    return taken;
  };
  while (at < lines.length) {
    const line = lines[at];
    let match;
    if (!line.trim()) at += 1;
    else if (FENCE.test(line)) out.append(code(lines, () => (at += 1), () => at));
    else if ((match = HEADING.exec(line))) {
      out.append(made(`h${Math.min(match[1].length + 2, 5)}`, match[2]));
      at += 1;
    } else if (BULLET.test(line)) out.append(list("ul", while_(BULLET)));
    else if (NUMBER.test(line)) out.append(list("ol", while_(NUMBER)));
    else if (QUOTE.test(line)) out.append(made("blockquote", while_(QUOTE).join(" ")));
    else if (ROW.test(line)) out.append(table(while_(ROW)));
    else {
      const paragraph = [];
      while (at < lines.length && lines[at].trim() && (paragraph.length === 0 || !starts(lines[at]))) {
        paragraph.push(lines[at].trim());
        at += 1;
      }
      out.append(made("p", paragraph.join(" ")));
    }
  }
  return out;
}

const starts = (line) => [FENCE, HEADING, BULLET, NUMBER, QUOTE, ROW].some((p) => p.test(line));

function code(lines, step, where) {
  const body = [];
  for (step(); where() < lines.length && !FENCE.test(lines[where()]); step()) body.push(lines[where()]);
  step();
  const pre = document.createElement("pre");
  pre.append(document.createElement("code"));
  pre.firstChild.textContent = body.join("\n");
  return pre;
}

function list(kind, items) {
  const node = document.createElement(kind);
  node.append(...items.map((item) => made("li", item)));
  return node;
}

function table(rows) {
  const right = split(rows.find((row) => RULE.test(row)) ?? "").map((mark) => mark.endsWith(":"));
  const node = document.createElement("table");
  rows.filter((row) => !RULE.test(row)).map(split).forEach((row, number) => {
    const line = document.createElement("tr");
    line.append(...row.map((cell) => made(number === 0 ? "th" : "td", cell)));
    right.forEach((is, at) => line.children[at]?.classList.toggle("figure", is));
    node.append(line);
  });
  const scroll = document.createElement("div");
  scroll.className = "scroll";
  scroll.append(node);
  return scroll;
}

// An escaped bar does not end its cell.
function split(row) {
  const cells = [""];
  for (const [piece] of row.matchAll(/\\.|[^]/g)) {
    if (piece === "|") cells.push("");
    else cells[cells.length - 1] += piece;
  }
  return cells.map((cell) => cell.trim());
}

function made(kind, text) {
  const node = document.createElement(kind);
  let end = 0;
  for (const match of text.matchAll(INLINE)) {
    node.append(text.slice(end, match.index), inline(match));
    end = match.index + match[0].length;
  }
  node.append(text.slice(end));
  return node;
}

function inline([, escaped, mono, bold, slanted, label, address]) {
  if (escaped) return document.createTextNode(literal(escaped));
  if (mono) return plain("code", mono);
  if (bold) return made("strong", bold);
  if (slanted) return made("em", slanted);
  return link(literal(label), address);
}

// What is escaped is meant as it stands: names from the data must not become markup.
const literal = (text) => text.replace(ESCAPE, (_, mark, name) => mark ?? NAMED[name]);

// A link shows where it leads; anything but the web is text.
function link(label, address) {
  let url;
  try {
    url = new URL(address);
  } catch {
    return document.createTextNode(label);
  }
  if (!["https:", "http:"].includes(url.protocol)) return document.createTextNode(label);
  const node = plain("a", label === address ? label : `${label} (${url.host})`);
  node.href = url.href;
  node.target = "_blank";
  node.rel = "noopener noreferrer nofollow";
  return node;
}

function plain(kind, text) {
  const node = document.createElement(kind);
  node.textContent = text;
  return node;
}
