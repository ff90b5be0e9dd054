// What the end of a connection asks of a client: its code says what to do, jitter says when.

export const BACKOFF_MS = 500;
export const BACKOFF_MS_MAX = 30_000;

/** `resume`: come back. `token`: come back with fresh credentials. `snapshot`: take snapshots, then
 * come back. `upgrade`: this client is too old. `stop`: do not come back like this. */
export type Next = "resume" | "token" | "snapshot" | "upgrade" | "stop";

const CODES: { readonly [code: number]: Next } = {
  1000: "stop",
  1003: "stop",
  1007: "stop",
  1009: "stop",
  4201: "token",
  4202: "snapshot",
  4203: "upgrade",
};

/** Return what a close code asks for; one that is not known by the range it is in. */
export function afterClose(code: number): Next {
  const next = CODES[code];
  if (next !== undefined) return next;
  if (code >= 4400 && code < 4500) return "stop";
  return code >= 4200 && code < 4300 ? "token" : "resume";
}

/** Return how long to wait after so many failures in a row: anything up to twice the last limit. */
export function delay(failures: number, random: () => number = Math.random): number {
  return random() * Math.min(BACKOFF_MS_MAX, BACKOFF_MS * 2 ** failures);
}

/** Return the milliseconds that an overloaded server asks to wait, from the reason of its close. */
export function retryAfter(reason: string): number {
  const asked = /^retry_after_ms=(\d{1,6})$/.exec(reason);
  return asked ? Number(asked[1]) : 0;
}
