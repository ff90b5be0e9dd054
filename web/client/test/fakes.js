// A server's end of sockets, for tests that need to say when what happens.

export const DRAINED = { type: "drain", reconnect_within_ms: [0, 1000] };

export const event = (offset) => ({
  type: "notice",
  event_id: `e_${String(offset).padStart(20, "0")}`,
  stream: "thread:t1",
  epoch: "k3f9",
  offset,
  timestamp: "2026-01-01T00:00:00.000Z",
  payload: {},
});

/** The sockets a session has opened, oldest first: a test says what comes over them. */
export function network() {
  const sockets = [];
  class FakeSocket {
    readyState = 0;
    sent = [];
    closedWith = null;
    #listeners = new Map();

    constructor(url, protocol) {
      this.url = url;
      this.protocol = protocol;
      sockets.push(this);
    }

    addEventListener(type, listener) {
      this.#listeners.set(type, listener);
    }

    send(text) {
      this.sent.push(JSON.parse(text));
    }

    close(code = 1005) {
      this.closedWith ??= code;
      this.readyState = 3;
    }

    // -- what the network does ------------------------------------------------------------------

    opened() {
      this.readyState = 1;
      this.#listeners.get("open")({});
    }

    says(...frames) {
      for (const frame of frames) this.#listeners.get("message")({ data: JSON.stringify(frame) });
    }

    /** Greet; by default every stream goes on from where the hello says. */
    greets(streams) {
      if (this.readyState === 0) this.opened();
      streams ??= this.sent[0].subscribe.map(({ stream, cursor }) => {
        const from = cursor === "0" ? 1 : Number(cursor.split(".")[1]) + 1;
        return { stream, ok: true, from, head: from };
      });
      this.says({
        type: "connection_established",
        version: 1,
        connection_id: "k_1",
        user_id: "u_1",
        heartbeat: { interval_seconds: 20, timeout_seconds: 10 },
        limits: {},
        streams,
      });
    }

    breaks(code = 1006, reason = "") {
      this.readyState = 3;
      this.#listeners.get("close")({ code, reason });
    }
  }
  return { sockets, FakeSocket, last: () => sockets.at(-1) };
}
