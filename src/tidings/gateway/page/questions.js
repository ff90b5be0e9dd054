// What a run asks of a person: an answer, or leave for a call with exactly these arguments.

import { node } from "./nodes.js";

// A box for `input_required`; `send(type, payload)` carries the answer.
export function question(runId, { request_id, question: asked, schema }, send) {
  const answer = (value) => send("answer", { run_id: runId, request_id, value });
  const box = boxed(asked);
  const choices = choicesOf(schema);
  if (choices) box.append(...choices.map((choice) => button(String(choice), () => answer(choice))));
  else box.append(field(schema, answer));
  return box;
}

// A box for `approval_required`: what would be called, word for word.
export function approval(runId, { call_id, tool, arguments: given, arguments_hash, reason }, send) {
  const decide = (decision) => send("approve", { run_id: runId, call_id, decision, arguments_hash });
  const box = boxed(`May it call ${tool}? ${reason ?? ""}`);
  box.append(
    node("pre", JSON.stringify(given, null, 2)),
    button("Allow", () => decide("allow")),
    button("Deny", () => decide("deny")),
  );
  return box;
}

// Close a box, wherever the answer came from.
export function settle(box, outcome) {
  const isHere = box.contains(document.activeElement);
  for (const control of box.querySelectorAll("button, input")) control.remove();
  box.classList.add("settled");
  box.append(node("p", outcome, "quiet"));
  if (!isHere) return;
  box.tabIndex = -1; // who has answered by keyboard goes on from here
  box.focus();
}

function boxed(text) {
  const box = node("form", "", "asks");
  box.append(node("p", text));
  return box;
}

function button(label, act) {
  const made = node("button", label);
  made.type = "button";
  made.onclick = act;
  return made;
}

function field(schema, answer) {
  const line = node("div", "", "line");
  const input = node("input");
  input.ariaLabel = "Your answer";
  if (schema?.type !== "string" && schema?.type) input.placeholder = JSON.stringify(sample(schema));
  const submit = () => answer(read(schema, input.value));
  input.onkeydown = (key) => {
    if (key.key !== "Enter" || key.isComposing) return;
    key.preventDefault();
    submit();
  };
  line.append(input, button("Answer", submit));
  return line;
}

function choicesOf(schema) {
  if (Array.isArray(schema?.enum)) return schema.enum;
  return schema?.type === "boolean" ? [true, false] : null;
}

// What an answer of this shape looks like.
function sample(schema) {
  if (schema.enum) return schema.enum[0];
  const made = { integer: 1, number: 1.5, boolean: true, array: [], object: {} }[schema.type] ?? "…";
  for (const [name, inner] of Object.entries(schema.properties ?? {})) made[name] = sample(inner);
  return made;
}

// Text is text; of any other shape the server says whether it fits.
function read(schema, text) {
  if (schema?.type === "string") return text;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
