// A typed answer as people read it: fields by name, like records as a table, what is nested folded.
// All of it is text, whatever it says; what is folded is made when it is opened.

import { node } from "./nodes.js";

const FENCED = /^```json\n([^]*)\n```$/;
const ENTRIES_MAX = 100; // of one list or record; the JSON has all
const COLUMNS_MAX = 12;
const OPEN_ENTRIES_MAX = 20;
const TITLE_CHARACTERS_MAX = 80;

// Return what an answer that is nothing but JSON says, with the JSON itself; else null.
export function values(answer) {
  const json = FENCED.exec(answer)?.[1];
  const value = json === undefined ? undefined : parsed(json);
  if (value === undefined) return null;
  const box = valueOf(value);
  box.append(original(json));
  return box;
}

// Return a value as people read it.
export function valueOf(value) {
  const box = node("div", "", "values");
  box.append(shown(value, 0));
  return box;
}

// A number that this browser cannot hold stays as it is written.
function parsed(json) {
  try {
    return JSON.parse(json, (_, value, context) =>
      Number.isInteger(value) && !Number.isSafeInteger(value) ? (context?.source ?? value) : value);
  } catch {
    return undefined;
  }
}

function shown(value, depth) {
  if (isScalar(value)) return said("p", value);
  if (size(value) === 0) return node("p", "(none)", "quiet");
  if (!Array.isArray(value)) return record(value, depth);
  const columns = columnsOf(value);
  if (columns) return table(columns, value);
  return value.every(isScalar) ? list(value) : entries(value, depth);
}

function record(value, depth) {
  const fields = node("dl");
  for (const [name, inner] of Object.entries(value).slice(0, ENTRIES_MAX)) {
    const field = node("dd");
    field.append(fieldOf(inner, depth));
    fields.append(node("dt", spoken(name)), field);
  }
  return cut(fields, value);
}

function fieldOf(value, depth) {
  if (isScalar(value)) return said("span", value);
  if (size(value) === 0) return node("span", "(none)", "quiet");
  if (Array.isArray(value) && value.every(isScalar) && value.length <= OPEN_ENTRIES_MAX) return list(value);
  return fold(counted(value), value, depth);
}

// Records without anything nested have columns; null: it is no list of such.
function columnsOf(rows) {
  if (!rows.every((row) => !isScalar(row) && !Array.isArray(row) && Object.values(row).every(isScalar))) return null;
  const columns = [...new Set(rows.flatMap(Object.keys))];
  return columns.length > 0 && columns.length <= COLUMNS_MAX ? columns : null;
}

function table(columns, rows) {
  const isFigure = (column) => rows.every((row) => row[column] == null || typeof row[column] === "number");
  const figures = new Set(columns.filter(isFigure));
  const line = (cells) => {
    const made = node("tr");
    made.append(...cells);
    return made;
  };
  const head = columns.map((column) => {
    const cell = node("th", spoken(column), figures.has(column) ? "figure" : "");
    cell.scope = "col";
    return cell;
  });
  const cells = (row) => columns.map((column) => {
    const cell = said("td", Object.hasOwn(row, column) ? row[column] : null);
    if (figures.has(column)) cell.classList.add("figure");
    return cell;
  });
  const made = node("table");
  made.append(line(head), ...rows.slice(0, ENTRIES_MAX).map((row) => line(cells(row))));
  const scroll = node("div", "", "scroll");
  scroll.append(made);
  return cut(scroll, rows);
}

function list(items) {
  const made = node("ul");
  made.append(...items.slice(0, ENTRIES_MAX).map((item) => said("li", item)));
  return cut(made, items);
}

function entries(items, depth) {
  const made = node("div", "", "entries");
  items.slice(0, ENTRIES_MAX).forEach((item, place) => {
    if (isScalar(item)) made.append(said("p", item));
    else made.append(fold(`${place + 1}. ${titleOf(item)}`, item, items.length > OPEN_ENTRIES_MAX ? depth + 1 : depth));
  });
  return cut(made, items);
}

// What is small stands open at first; what lies deeper, when somebody opens it.
function fold(title, value, depth) {
  const box = node("details");
  const make = () => box.append(shown(value, depth + 1));
  box.append(node("summary", title));
  box.open = depth === 0 && size(value) <= OPEN_ENTRIES_MAX;
  if (box.open) make();
  else box.addEventListener("toggle", make, { once: true });
  return box;
}

// Say that there is more than is shown.
function cut(made, value) {
  const more = size(value) - ENTRIES_MAX;
  if (more <= 0) return made;
  const both = document.createDocumentFragment();
  both.append(made, node("p", `${more.toLocaleString("en")} more are in the JSON.`, "notice"));
  return both;
}

function original(json) {
  const box = node("details", "", "original");
  const line = node("div", "", "line");
  const copy = node("button", "Copy");
  const outcome = node("span", "", "quiet");
  copy.type = "button";
  outcome.role = "status";
  copy.onclick = async () => {
    try {
      await navigator.clipboard.writeText(json);
      outcome.textContent = "Copied.";
    } catch {
      outcome.textContent = "The browser does not let the page copy: select the text.";
    }
  };
  line.append(copy, outcome);
  box.append(node("summary", "As JSON"), line, node("pre", json));
  return box;
}

function titleOf(item) {
  const named = Object.values(item).find((inner) => isScalar(inner) && inner !== null && inner !== "");
  return named === undefined ? counted(item) : written(named).slice(0, TITLE_CHARACTERS_MAX);
}

function counted(value) {
  const word = Array.isArray(value) ? ["entry", "entries"] : ["field", "fields"];
  return `${size(value).toLocaleString("en")} ${word[size(value) === 1 ? 0 : 1]}`;
}

function said(kind, value) {
  return node(kind, written(value), value === null || value === "" ? "quiet" : "");
}

const SPOKEN = new Map([[null, "—"], ["", "(empty)"], [true, "yes"], [false, "no"]]);
const written = (value) => SPOKEN.get(value) ?? String(value);
const spoken = (name) => name.replaceAll("_", " ");
const isScalar = (value) => value === null || typeof value !== "object";
const size = (value) => Object.keys(value).length;
