// The exactly-once part: a stream's events are applied in the order of their offsets, each once,
// and the cursor moves with them. Pure; the same rules as the Python client's.

export class Reading {
  constructor(cursor = "0") {
    this.cursor = cursor;
    this.last = cursor === "0" ? 0 : Number(cursor.split(".")[1]);
    this.duplicates = 0;
  }

  // What to do with an event: "apply" it (the cursor has moved), "drop" it, or mind the "gap".
  take(event) {
    const first = event.first_offset ?? event.offset;
    if (event.offset <= this.last) {
      this.duplicates += 1;
      return "drop";
    }
    if (first > this.last + 1) return "gap";
    this.last = event.offset;
    this.cursor = `${event.epoch}.${event.offset}.${event.event_id.slice(-8)}`;
    return "apply";
  }
}

export const BACKOFF_MS = 500;
export const BACKOFF_MS_MAX = 30_000;

// Full jitter: anywhere between at once and twice as late as last time.
export function delay(attempt, random = Math.random) {
  return random() * Math.min(BACKOFF_MS_MAX, BACKOFF_MS * 2 ** attempt);
}

// What a close code asks of us: come back, come back with fresh credentials, or stay away.
export function afterClose(code) {
  if (code === 4401 || code === 4201) return "renew";
  if (code >= 4400 && code < 4500) return "stay";
  return "resume";
}
