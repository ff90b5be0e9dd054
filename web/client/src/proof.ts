// The proof of a run: its last event says how many critical events there were, with a checksum over
// them. A client that has applied a run from its beginning computes the same, and reports when it
// differs: then something was lost, doubled or changed on the way, and nothing else would tell.

import type { Mismatch, StreamEvent, Tally } from "./frames.js";

const BEGINS = "message_received";
const COUNTED = new Set(["agent_started", "agent_thinking", "tool_executing", "tool_completed"]);
const ENDS = new Set(["agent_completed", "agent_failed", "agent_cancelled"]);

const POLYNOMIAL = 0xedb88320;
const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ POLYNOMIAL : value >>> 1;
  return value >>> 0;
});
const utf8 = new TextEncoder();

/** Go on with a CRC-32 (that of zlib), which begins with 0. */
export function crc32(text: string, before = 0): number {
  let value = ~before >>> 0;
  for (const byte of utf8.encode(text)) {
    value = (value >>> 8) ^ (TABLE[(value ^ byte) & 0xff] as number);
  }
  return ~value >>> 0;
}

/** The runs of one stream that were applied from their beginning and have not ended. */
export class Tallying {
  readonly #runs = new Map<string, { count: number; crc: number }>();

  /** Take the next applied event; at the end of a run, return what its proof shows. */
  take(event: StreamEvent): Mismatch | "verified" | null {
    const id = event.run_id;
    if (id === undefined) return null;
    if (event.type === BEGINS) this.#runs.set(id, { count: 0, crc: 0 });
    const run = this.#runs.get(id);
    if (run === undefined) return null;
    if (COUNTED.has(event.type)) {
      run.count += 1;
      run.crc = crc32(`${event.offset} ${event.event_id} ${event.type}\n`, run.crc);
    }
    if (!ENDS.has(event.type)) return null;
    this.#runs.delete(id);
    const expected = event.payload["proof"] as Tally | undefined;
    if (expected === undefined) return null;
    const got = { count: run.count, digest: run.crc.toString(16).padStart(8, "0") };
    if (expected.count === got.count && expected.digest === got.digest) return "verified";
    return { type: "mismatch", stream: event.stream, run_id: id, expected, got };
  }
}
