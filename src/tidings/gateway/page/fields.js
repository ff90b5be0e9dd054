// Fields for an answer of a schema, and the value that somebody has written in them.

import { node } from "./nodes.js";

const CHOICES = { boolean: [true, false] };
const WORDS = new Map([[true, "Yes"], [false, "No"]]);
let made = 0;

// The few answers that there are, where one button each will do; else null.
export function choicesOf(schema) {
  return Array.isArray(schema?.enum) ? schema.enum : (CHOICES[schema?.type] ?? null);
}

export const wordOf = (choice) => WORDS.get(choice) ?? String(choice);

// Return a node to write in, and `value()`: what was written, or undefined where that is nothing.
export function fieldsOf(schema, isRequired = true) {
  if (choicesOf(schema)) return choice(choicesOf(schema), isRequired);
  if (schema?.type === "object" && Object.keys(schema.properties ?? {}).length > 0) return record(schema, isRequired);
  if (schema?.type === "array" && schema.items?.type === "string" && !schema.items.enum) return lines(isRequired);
  if (schema?.type === "integer" || schema?.type === "number") return number(schema.type, isRequired);
  return text(schema, isRequired);
}

// What may be left out is left out whole, if nothing is written in it.
function record(schema, isRequired) {
  const wanted = new Set(isRequired ? schema.required : []);
  const parts = Object.entries(schema.properties).map(([name, inner]) => [name, fieldsOf(inner, wanted.has(name))]);
  const box = node("div", "", "fields");
  for (const [name, part] of parts) box.append(labelled(name, schema.properties[name], part.box, wanted.has(name)));
  const value = () => {
    const written = parts.map(([name, part]) => [name, part.value()]).filter(([, inner]) => inner !== undefined);
    return written.length || isRequired ? Object.fromEntries(written) : undefined;
  };
  return { box, value };
}

function labelled(name, { title, description }, box, isRequired) {
  const isGroup = box.className === "fields";
  const part = node(isGroup ? "fieldset" : "p");
  const label = node(isGroup ? "legend" : "label", title ?? name.replaceAll("_", " "));
  if (!isRequired) label.append(node("span", " (may be left out)", "quiet"));
  part.append(label);
  const control = isGroup ? part : box;
  if (!isGroup) label.htmlFor = control.id;
  if (description) {
    const more = node("small", description, "quiet");
    more.id = newId();
    control.setAttribute("aria-describedby", more.id);
    part.append(more);
  }
  part.append(box);
  return part;
}

function choice(choices, isRequired) {
  const box = control("select", isRequired);
  box.append(node("option", "—"), ...choices.map((each) => node("option", wordOf(each))));
  box.options[0].value = "";
  choices.forEach((_, place) => (box.options[place + 1].value = place));
  return { box, value: () => (box.value === "" ? undefined : choices[box.value]) };
}

function number(type, isRequired) {
  const box = control("input", isRequired);
  box.type = "number";
  box.step = type === "integer" ? "1" : "any";
  return { box, value: () => (box.value === "" ? undefined : box.valueAsNumber) };
}

function lines(isRequired) {
  const box = control("textarea", isRequired);
  box.rows = 3;
  box.placeholder = "One on each line";
  const value = () => {
    const written = box.value.split("\n").map((line) => line.trim()).filter(Boolean);
    return written.length || isRequired ? written : undefined;
  };
  return { box, value };
}

// Text is text; for any other shape it is read as JSON, and the server says whether it fits.
function text(schema, isRequired) {
  const box = control("input", isRequired);
  const isText = schema?.type === "string";
  if (!isText && schema?.type) box.placeholder = JSON.stringify(sample(schema));
  return { box, value: () => (box.value === "" && !isRequired ? undefined : isText ? box.value : read(box.value)) };
}

function read(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

// What an answer of this shape looks like.
function sample(schema) {
  if (schema.enum) return schema.enum[0];
  if (schema.type === "array") return schema.items ? [sample(schema.items)] : [];
  const made = { integer: 1, number: 1.5, boolean: true, object: {} }[schema.type] ?? "…";
  for (const [name, inner] of Object.entries(schema.properties ?? {})) made[name] = sample(inner);
  return made;
}

function control(kind, isRequired) {
  const box = node(kind);
  box.id = newId();
  box.required = isRequired;
  return box;
}

const newId = () => `field-${(made += 1)}`;
