// A server that stops while its client works, and another that takes its place: PID is the first's.
// Who runs this starts the second. Else as live.test.js.

import assert from "node:assert/strict";
import { test } from "node:test";
import { pathToFileURL } from "node:url";

const { Session } = await import(pathToFileURL(`${process.env.CLIENT}/index.js`).href);
const { SERVER, TOKEN, PID } = process.env;

test("a restart of the server is survived, and nothing of the run is lost or told twice", async () => {
  const events = [];
  const states = [];
  let ended;
  const end = new Promise((resolve) => (ended = resolve));
  const session = new Session({
    url: `${SERVER.replace("http", "ws")}/ws`,
    device: "d_restart",
    credentials: async () => ({ token: TOKEN }),
    on: {
      event: (event) => {
        events.push(event);
        if (event.type === "tool_executing" && !states.includes("stopping")) {
          states.push("stopping");
          process.kill(Number(PID), "SIGTERM");
        }
        if (["agent_completed", "agent_failed", "agent_cancelled"].includes(event.type)) ended();
      },
      state: (state) => states.push(state),
    },
  });
  session.open();
  await session.send("chat", { text: "What did we spend?", files: [process.env.FILE] });
  await end;
  session.close();
  assert.deepEqual(events.map(({ offset }) => offset), events.map((_, n) => n + 1));
  assert.equal(events.at(-1).type, "agent_completed");
  assert.equal(session.core.verified, 1);
  const after = states.slice(states.indexOf("stopping"));
  assert.ok(after.includes("moving"), `it was asked to move: ${states}`);
  assert.ok(after.includes("live") || after.at(-1) === "stopped", `${states}`);
});
