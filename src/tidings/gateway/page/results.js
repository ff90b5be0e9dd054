// What tools found: of a large result its event has the beginning, and the server keeps the whole.

import { node, save } from "./nodes.js";

const CHARACTERS_MAX = 200_000;

// A button that fetches the whole of a result and shows it; `fetched(path)` brings it.
export function whole(callId, { path, bytes }, fetched) {
  const box = node("div", "", "whole");
  const open = node("button", `Show all of it (${size(bytes)})`);
  open.type = "button";
  open.onclick = async () => {
    open.disabled = true;
    try {
      box.replaceChildren(...shown(callId, await fetched(path)));
    } catch (problem) {
      open.disabled = false;
      box.replaceChildren(open, node("span", ` ${problem.message}`, "bad"));
    }
  };
  box.append(open);
  return box;
}

function shown(callId, { result, error }) {
  const text = written(result ?? error);
  const keep = node("button", "Save");
  keep.type = "button";
  keep.onclick = () => save([text], `${callId}.txt`);
  const made = [node("pre", text.slice(0, CHARACTERS_MAX)), keep];
  if (text.length > CHARACTERS_MAX) made.push(node("span", " Save it to read the rest.", "quiet"));
  return made;
}

// As people read it: text as text, a table line by line, and facts by name.
function written(result) {
  if (!result?.summary) return JSON.stringify(result, null, 2);
  const { summary, content, table, facts = [], notes = [] } = result;
  const parts = [summary];
  if (content) parts.push(content);
  if (table) parts.push(lines(table));
  if (facts.length) parts.push(facts.map((fact) => `${fact.label ?? fact.id}\t${fact.value}`).join("\n"));
  parts.push(...notes);
  return parts.join("\n\n");
}

function lines({ columns, rows }) {
  const cell = (value) => (value === null ? "" : String(value));
  const all = [columns.map((column) => column.label || column.name), ...rows];
  return all.map((row) => row.map(cell).join("\t")).join("\n");
}

function size(bytes) {
  if (bytes < 1024) return `${bytes} bytes`;
  return bytes < 1024 ** 2 ? `${(bytes / 1024).toFixed(1)} KiB` : `${(bytes / 1024 ** 2).toFixed(1)} MiB`;
}
