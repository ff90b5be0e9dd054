// What a run asks of a person: an answer, or leave for a call with exactly these arguments.

import { choicesOf, fieldsOf, wordOf } from "./fields.js";
import { node } from "./nodes.js";
import { valueOf } from "./values.js";

// A box for `input_required`; `send(type, payload)` carries the answer.
export function question(runId, { request_id, question: asked, schema }, send) {
  const answer = (value) => send("answer", { run_id: runId, request_id, value });
  const box = boxed(asked);
  const choices = choicesOf(schema);
  if (choices) box.append(...choices.map((choice) => button(wordOf(choice), () => answer(choice))));
  else write(box, schema, asked, answer);
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
export function settle(box, outcome, value) {
  const isHere = box.contains(document.activeElement);
  for (const control of box.querySelectorAll("button, .reply")) control.remove();
  box.classList.add("settled");
  box.append(node("p", outcome, "quiet"));
  if (value !== undefined) box.append(valueOf(value));
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

// The browser sees that what must be there is; the server, that the whole fits.
function write(box, schema, asked, answer) {
  const fields = fieldsOf(schema);
  const reply = node("div", "", fields.box.className === "fields" ? "reply" : "reply line");
  if (fields.box.className !== "fields") fields.box.ariaLabel = asked;
  if ((schema?.type ?? "string") === "string") fields.box.required = false; // no words are an answer, too
  reply.append(fields.box, node("button", "Answer"));
  box.append(reply);
  box.onsubmit = (submitted) => {
    submitted.preventDefault();
    answer(fields.value());
  };
}
