// The session against a real server: SERVER is its address, TOKEN a user's, CLIENT the folder of the
// compiled client. Where the connection has to break, a relay between the two breaks it.

import assert from "node:assert/strict";
import { connect, createServer } from "node:net";
import { after, test } from "node:test";
import { pathToFileURL } from "node:url";

const { Refused, Session } = await import(pathToFileURL(`${process.env.CLIENT}/index.js`).href);
const { SERVER, TOKEN } = process.env;
const ENDS = new Set(["agent_completed", "agent_failed", "agent_cancelled"]);
const SECONDS_MAX = 60;

const opened = [];
after(() => opened.forEach((one) => one.close()));

/** A client that keeps what it is told, and can be waited for. */
class Client {
  events = [];
  states = [];
  mismatches = [];
  ending = null;
  #waiting = [];

  constructor({ server = SERVER, device = "d_node", token = TOKEN } = {}) {
    const keep = (list) => (one) => {
      list.push(one);
      this.#look();
    };
    this.session = new Session({
      url: `${server.replace("http", "ws")}/ws`,
      device,
      credentials: async () => ({ token }),
      random: () => Math.random() / 10, // the same rules, ten times as fast
      on: {
        event: keep(this.events),
        state: keep(this.states),
        mismatch: keep(this.mismatches),
        ended: (ending) => {
          this.ending = ending;
          this.#look();
        },
      },
    });
    this.session.open();
    opened.push(this.session);
  }

  until(holds, what) {
    return new Promise((resolve, reject) => {
      const limit = setTimeout(() => reject(new Error(`never: ${what}`)), SECONDS_MAX * 1000);
      this.#waiting.push(() => {
        const found = holds();
        if (found) {
          clearTimeout(limit);
          resolve(found);
        }
        return found;
      });
      this.#look();
    });
  }

  async ask(text, extra = {}) {
    const receipt = await this.session.send("chat", { text, ...extra });
    await this.until(() => this.run(receipt).some(({ type }) => ENDS.has(type)), "the end of the run");
    return receipt;
  }

  run({ run_id }) {
    return this.events.filter((event) => event.run_id === run_id);
  }

  #look() {
    this.#waiting = this.#waiting.filter((isDone) => !isDone());
  }
}

/** Relay to the server, and cut each connection after it has brought so many bytes, and some more
 * each time: a message may be longer. */
function relay(bytes) {
  let cuts = 0;
  const server = createServer((near) => {
    const { hostname, port } = new URL(SERVER);
    const far = connect({ host: hostname, port });
    let left = bytes * (1 + cuts / 2);
    const cut = () => {
      near.destroy();
      far.destroy();
    };
    near.on("error", cut).on("close", cut);
    far.on("error", cut).on("close", cut);
    near.pipe(far);
    far.on("data", (data) => {
      near.write(data.subarray(0, left));
      left -= data.length;
      if (left > 0) return;
      cuts += 1;
      near.end(cut);
    });
  });
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => {
      opened.push(server);
      resolve({ address: `http://127.0.0.1:${server.address().port}`, cuts: () => cuts });
    });
  });
}

function checkWhole(events) {
  assert.equal(events[0].type, "message_received");
  assert.ok(ENDS.has(events.at(-1).type));
  const first = events[0].offset;
  assert.deepEqual(events.map(({ offset }) => offset), events.map((_, n) => first + n));
}

test("a run reaches it whole and in order, and its proof says so", async () => {
  const client = new Client();
  const receipt = await client.ask("hi");
  checkWhole(client.run(receipt));
  assert.equal(receipt.offset, 1);
  assert.equal(client.session.core.verified, 1);
});

test("cut again and again, it applies every event once and the command is carried out once", async () => {
  const { address, cuts } = await relay(1_200);
  const client = new Client({ server: address, device: "d_cut" });
  const receipt = await client.ask("hi");
  checkWhole(client.run(receipt));
  assert.ok(cuts() >= 2, `${cuts()} cuts`);
  assert.equal(client.session.core.verified, 1);
  assert.deepEqual(client.mismatches, []);
  assert.equal(client.events.filter(({ type }) => type === "message_received").length, 1);
});

test("from a kept cursor it gets the rest and nothing else", async () => {
  const first = new Client({ device: "d_first" });
  const { thread_id } = await first.ask("hi");
  const stream = `thread:${thread_id}`;
  const cursor = first.session.core.cursor(stream);
  const reached = first.events.at(-1).offset;
  first.session.close();
  const second = new Client({ device: "d_second" });
  second.session.follow(stream, cursor);
  await second.ask("hi again", { thread_id });
  assert.equal(second.events[0].offset, reached + 1);
  checkWhole(second.events);
});

test("a refused command says why", async () => {
  const client = new Client({ device: "d_refused" });
  const asked = client.session.send("user_message", { thread_id: "t_unknown", text: "hi" });
  await assert.rejects(asked, (why) => why instanceof Refused && why.code === "not_found");
});

test("who is not known is sent away and does not come back", async () => {
  const client = new Client({ device: "d_stranger", token: "nonsense" });
  const { code, next } = await client.until(() => client.ending, "the end");
  assert.deepEqual([code, next], [4401, "stop"]);
});

test("a second session of the same device ends the first", async () => {
  const first = new Client({ device: "d_twin" });
  await first.until(() => first.states.includes("live"), "live");
  const twin = new Client({ device: "d_twin" });
  await twin.until(() => twin.states.includes("live"), "live");
  assert.equal((await first.until(() => first.ending, "the end")).code, 4409);
});
