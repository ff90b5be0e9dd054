// The core does what tests/conformance/client says. The vectors come as JSON, written out, in the
// file that VECTORS names; CLIENT is the folder of the compiled client.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { pathToFileURL } from "node:url";

const { ClientCore, afterClose } = await import(
  pathToFileURL(`${process.env.CLIENT}/index.js`).href
);
const vectors = JSON.parse(readFileSync(process.env.VECTORS, "utf8"));

for (const vector of vectors) {
  test(`${vector.file}: ${vector.name}`, () => {
    const core = new ClientCore("d1");
    for (const { stream, cursor } of vector.follow ?? [{ stream: "thread:t1" }]) {
      core.follow(stream, cursor);
    }
    vector.steps.forEach((step, at) => check(core, step, `step ${at + 1}`));
  });
}

function check(core, step, place) {
  const before = { duplicates: core.duplicates, verified: core.verified };
  const happenings = take(core, step);
  const of = (kind) => happenings.filter((happening) => happening.kind === kind);
  assert.deepEqual(
    of("apply").map(({ event }) => [event.stream, event.offset]),
    step.apply === "all" ? offered(step) : (step.apply ?? []),
    `${place}: applied`,
  );
  matches(of("reply").map(({ frame }) => frame), step.sends ?? [], `${place}: sent`);
  matches(of("answered").map(({ ref, answer }) => ({ ...answer, ref })), step.answered ?? [], `${place}: answered`);
  matches(of("lost"), step.lost ?? [], `${place}: lost`);
  assert.deepEqual(of("close").map(({ code }) => code), [step.close ?? []].flat(), `${place}: closed`);
  assert.equal(core.duplicates - before.duplicates, step.drop ?? 0, `${place}: dropped`);
  assert.equal(core.verified - before.verified, step.verified ?? 0, `${place}: verified`);
  if (step.next) assert.equal(afterClose(step.closed), step.next, `${place}: ${step.closed}`);
}

function take(core, step) {
  const sent = (...frames) => frames.filter(Boolean).map((frame) => ({ kind: "reply", frame }));
  if (step.receive_text) return core.receive(step.receive_text);
  if (step.messages) return step.messages.flatMap((message) => received(core, message));
  if (step.connect) return sent(core.hello({ token: "t" }));
  if (step.command) return sent(core.command(step.command));
  if (step.follow) return sent(core.follow(step.follow.stream, step.follow.cursor));
  if (step.leave) return sent(core.leave(step.leave));
  if (step.ack_due) return sent(core.acknowledgement());
  assert.ok(step.closed, `a step that is not known: ${JSON.stringify(step)}`);
  return [];
}

/** Receive; with a greeting the unanswered commands go out, as the session does it. */
function received(core, message) {
  return core.receive(JSON.stringify(message)).flatMap((happening) => {
    const again = happening.kind === "greeted" ? core.unanswered() : [];
    return [happening, ...again.map((frame) => ({ kind: "reply", frame }))];
  });
}

const offered = ({ messages }) => messages.flat().map(({ stream, offset }) => [stream, offset]);

/** Objects match by the fields that the pattern names. */
function matches(got, pattern, place) {
  if (Array.isArray(pattern)) {
    assert.equal(got.length, pattern.length, `${place}: ${JSON.stringify(got)}`);
    pattern.forEach((one, at) => matches(got[at], one, place));
  } else if (pattern !== null && typeof pattern === "object") {
    for (const [name, one] of Object.entries(pattern)) matches(got?.[name], one, `${place}.${name}`);
  } else assert.deepEqual(got, pattern, place);
}
