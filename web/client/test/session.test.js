// The session over sockets and time that the test controls: when it comes back, when it moves, when
// it stops. CLIENT is the folder of the compiled client.

import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";
import { pathToFileURL } from "node:url";

import { DRAINED, event, network } from "./fakes.js";

const page = new EventTarget();
globalThis.addEventListener = page.addEventListener.bind(page);
globalThis.removeEventListener = page.removeEventListener.bind(page);
const { Session } = await import(pathToFileURL(`${process.env.CLIENT}/index.js`).href);

let net, session, seen, tickets;

beforeEach(() => {
  mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"] });
  net = network();
  seen = { offsets: [], states: [], lost: [], ended: null };
  tickets = 0;
});

afterEach(() => {
  session.close();
  mock.timers.reset();
});

/** Open a session that waits as long as it ever would, times `share`. */
async function opened({ share = 1, stream = "thread:t1", ...options } = {}) {
  session = new Session({
    url: "ws://server/ws",
    device: "d1",
    credentials: async () => ({ ticket: `ticket-${(tickets += 1)}` }),
    socket: net.FakeSocket,
    random: () => share,
    on: {
      event: ({ offset }) => seen.offsets.push(offset),
      state: (state) => seen.states.push(state),
      lost: (lost) => seen.lost.push(lost),
      ended: (ending) => (seen.ended = ending),
    },
    ...options,
  });
  session.follow(stream);
  session.open();
  await settled();
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

async function pass(ms) {
  mock.timers.tick(ms);
  await settled();
}

/** Fail the newest attempt, and return after how long the next one is made. */
async function pauseAfter(code = 1006, reason = "") {
  const before = net.sockets.length;
  net.last().breaks(code, reason);
  for (let waited = 0; waited <= 40_000; waited += 100) {
    if (net.sockets.length > before) return waited;
    await pass(100);
  }
  return Infinity;
}

test("it says hello with what it has, and applies what comes", async () => {
  await opened();
  assert.equal(net.last().protocol, "tidings.v1");
  net.last().greets();
  net.last().says(event(1), [event(2), event(3)], event(2));
  assert.deepEqual(seen.offsets, [1, 2, 3]);
  assert.deepEqual(net.last().sent[0], {
    type: "hello",
    versions: [1],
    device: "d1",
    subscribe: [{ stream: "thread:t1", cursor: "0" }],
    ticket: "ticket-1",
  });
});

test("what is applied is acknowledged after 200 ms, together", async () => {
  await opened();
  net.last().greets();
  net.last().says(event(1), event(2));
  await pass(199);
  assert.equal(net.last().sent.length, 1);
  await pass(1);
  assert.deepEqual(net.last().sent.slice(1), [{ type: "ack", positions: { "thread:t1": 2 } }]);
});

test("it waits longer after each failure, up to 30 s, and gets a fresh ticket each time", async () => {
  await opened();
  const pauses = [];
  for (let n = 0; n < 8; n += 1) pauses.push(await pauseAfter());
  assert.deepEqual(pauses, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
  net.last().opened();
  assert.equal(net.last().sent[0].ticket, "ticket-9");
});

test("only a minute of health makes failures forgotten", async () => {
  await opened();
  assert.equal(await pauseAfter(), 500);
  net.last().greets();
  await pass(59_000);
  net.last().says({ type: "ping", n: 1 });
  assert.equal(await pauseAfter(), 1000);
  net.last().greets();
  await pass(29_000);
  net.last().says({ type: "ping", n: 1 });
  await pass(29_000);
  net.last().says({ type: "ping", n: 1 });
  await pass(2_000);
  assert.equal(await pauseAfter(), 500);
});

test("an overloaded server is left alone for as long as it asks", async () => {
  await opened({ share: 0 });
  assert.equal(await pauseAfter(4107, "retry_after_ms=7000"), 7000);
});

test("it stops when it is told to, and says so to who waits for an answer", async () => {
  await opened();
  net.last().greets();
  const answer = session.send("chat", { text: "Hello" });
  net.last().breaks(4403, "origin");
  await assert.rejects(answer, { code: "session_ended" });
  assert.deepEqual(seen.ended, { code: 4403, reason: "origin", next: "stop" });
  await pass(60_000);
  assert.equal(net.sockets.length, 1);
});

test("nobody signed in: it stops", async () => {
  await opened({ credentials: async () => null });
  assert.equal(seen.ended.code, 4401);
  assert.equal(net.sockets.length, 0);
});

test("credentials that cannot be had now are asked for again", async () => {
  let asked = 0;
  await opened({
    credentials: async () => {
      if ((asked += 1) < 3) throw new Error("offline");
      return { token: "t" };
    },
  });
  await pass(500);
  await pass(1000);
  assert.equal(net.sockets.length, 1);
});

test("an expired token is renewed, and streams go on from their cursors", async () => {
  await opened({ share: 0 });
  net.last().greets();
  net.last().says(event(1));
  await pauseAfter(4201);
  net.last().opened();
  const { ticket, subscribe } = net.last().sent[0];
  assert.equal(ticket, "ticket-2");
  assert.deepEqual(subscribe, [{ stream: "thread:t1", cursor: "k3f9.1.00000001" }]);
});

test("invalid cursors are given up for snapshots", async () => {
  await opened({ share: 0 });
  net.last().greets();
  await pauseAfter(4202);
  assert.deepEqual(seen.lost.map(({ stream, snapshot }) => [stream, snapshot]), [
    ["thread:t1", "/api/threads/t1/snapshot"],
  ]);
  net.last().opened();
  assert.deepEqual(net.last().sent[0].subscribe, []);
});

test("a command is sent once on a connection, and again on the next until it is answered", async () => {
  await opened({ share: 0 });
  const answer = session.send("chat", { text: "Hello" }, "m1");
  net.last().greets();
  await pauseAfter();
  net.last().greets();
  const sent = (socket) => socket.sent.filter(({ id }) => id === "m1").length;
  assert.deepEqual(net.sockets.map(sent), [1, 1]);
  net.last().says({ type: "accepted", ref: "m1", run_id: "r1", thread_id: "t1", offset: 1 });
  assert.equal((await answer).run_id, "r1");
  await pauseAfter();
  net.last().greets();
  assert.equal(sent(net.last()), 0);
});

test("a gap twice closes with 4109 and resumes", async () => {
  await opened({ share: 0 });
  const first = net.last();
  first.greets();
  first.says(event(1), [event(3), event(4)]);
  assert.equal(first.closedWith, 4109);
  await pass(0);
  net.last().greets();
  net.last().says(event(2));
  first.says(event(3));
  assert.deepEqual(seen.offsets, [1, 2]);
});

test("a server that is silent too long is given up", async () => {
  await opened({ share: 0 });
  const first = net.last();
  first.greets();
  await pass(30_000);
  assert.equal(first.closedWith, null);
  await pass(5_000);
  assert.equal(first.closedWith, 1005);
  await pass(0);
  assert.equal(net.sockets.length, 2);
});

test("a connection that is not greeted in ten seconds is given up", async () => {
  await opened({ share: 0 });
  net.last().opened();
  await pass(10_000);
  await pass(0);
  assert.equal(net.sockets.length, 2);
});

test("drained, it has another connection open before it leaves the old one", async () => {
  await opened({ share: 0.5 });
  const [old] = net.sockets;
  old.greets();
  old.says(event(1), DRAINED);
  assert.equal(seen.states.at(-1), "moving");
  await pass(499);
  assert.equal(net.sockets.length, 1);
  await pass(1);
  const next = net.last();
  old.says(event(2));
  assert.equal(old.closedWith, null);
  next.opened();
  assert.equal(old.closedWith, 1000);
  assert.equal(next.sent[0].subscribe[0].cursor, "k3f9.2.00000002");
  old.says(event(3));
  assert.deepEqual(seen.offsets, [1, 2]);
  next.greets();
  next.says(event(3));
  old.breaks(1000);
  await pass(200);
  assert.deepEqual(next.sent.slice(1), [{ type: "ack", positions: { "thread:t1": 3 } }]);
  assert.deepEqual(seen.offsets, [1, 2, 3]);
  assert.deepEqual(seen.states.slice(-2), ["moving", "live"]);
});

test("drained, with no other server to be had, it leaves and comes back later", async () => {
  await opened({ share: 0 });
  const [old] = net.sockets;
  old.greets();
  old.says(DRAINED);
  await pass(0);
  net.last().breaks(1006);
  assert.equal(old.closedWith, 1000);
  assert.equal(seen.states.at(-1), "offline");
  await pass(0);
  assert.equal(net.sockets.length, 3);
});

test("the old connection may end first, for any reason, while the next is being opened", async () => {
  await opened({ share: 0 });
  const [old] = net.sockets;
  old.greets();
  old.says(DRAINED);
  await pass(0);
  old.breaks(4100, "the server stops");
  assert.equal(seen.ended, null);
  net.last().greets();
  assert.equal(seen.states.at(-1), "live");
  assert.equal(net.sockets.length, 2);
});

test("when the network is back it tries at once", async () => {
  await opened();
  for (let n = 0; n < 5; n += 1) await pauseAfter();
  net.last().breaks();
  const before = net.sockets.length;
  page.dispatchEvent(new Event("online"));
  await settled();
  assert.equal(net.sockets.length, before + 1);
});

test("a listener that fails does not keep the next event back", async () => {
  const raised = [];
  globalThis.reportError = (error) => raised.push(error.message);
  await opened({
    on: {
      event: ({ offset }) => {
        seen.offsets.push(offset);
        if (offset === 1) throw new Error("of the application");
      },
    },
  });
  net.last().greets();
  net.last().says([event(1), event(2)]);
  assert.deepEqual(seen.offsets, [1, 2]);
  assert.deepEqual(raised, ["of the application"]);
});
