// A client that stays connected: it comes back with jitter, resumes from its cursors, acknowledges,
// repeats unanswered commands, and moves to another server without a pause when its own is drained.
// The rules are in core.ts; this carries them out over sockets.

import { ClientCore, type Happening, type Lost } from "./core.js";
import { afterClose, delay, retryAfter, type Next } from "./closing.js";
import {
  SUBPROTOCOL,
  type Accepted,
  type ClientFrame,
  type CommandType,
  type ConnectionEstablished,
  type Credentials,
  type ErrorFrame,
  type Mismatch,
  type Payload,
  type ServerFrame,
  type StreamEvent,
} from "./frames.js";

export const ACK_MS = 200;
export const GREETING_MS = 10_000;
export const HEALTHY_MS = 60_000;
export const SILENCE_CHECK_MS = 5_000;

/** `connecting`: for the first time or again; `moving`: live, and about to change the server;
 * `offline`: waiting for the next try; `stopped`: it will not come back by itself. */
export type State = "connecting" | "live" | "moving" | "offline" | "stopped";

/** Why a session is over. `upgrade`: this client is too old for the server. */
export interface Ending {
  readonly code: number;
  readonly reason: string;
  readonly next: Next;
}

/** What the session tells. Every function is called at once, in the order of what happened. */
export interface Listener {
  /** Apply the next event; each is told once. */
  event(event: StreamEvent): void;
  /** A command was answered; `send` tells the same to who sent it. */
  answered?(ref: string, answer: Accepted | ErrorFrame): void;
  greeted?(frame: ConnectionEstablished): void;
  /** A stream is not followed any more: take its snapshot, if there is one, and follow again. */
  lost?(lost: Lost): void;
  /** A run's proof failed: what was applied of it is not what happened. */
  mismatch?(report: Mismatch): void;
  /** A frame that the session need not act on, as an error that answers no command. */
  told?(frame: ServerFrame): void;
  state?(state: State): void;
  ended?(ending: Ending): void;
}

/** As much of a WebSocket as is needed; that of browsers, and of Node from 22 on, fits. */
export interface Socket {
  readonly readyState: number;
  send(text: string): void;
  close(code?: number, reason?: string): void;
  addEventListener(type: string, listener: (event: { data: string; code: number; reason: string }) => void): void;
}

export interface Options {
  /** `ws://host:port/ws`. */
  readonly url: string;
  /** Names this client among its user's; a second session of the same name ends the first. */
  readonly device: string;
  /** Return fresh credentials, for every connection anew; null: nobody is signed in any more. */
  readonly credentials: () => Promise<Credentials | null>;
  readonly on: Listener;
  readonly socket?: new (url: string, protocol: string) => Socket;
  readonly random?: () => number;
}

/** A command that the server refused, or that has no answer because the session is over. */
export class Refused extends Error {
  readonly code: string;
  readonly retryable: boolean;

  constructor(code: string, message: string, retryable: boolean) {
    super(message);
    this.code = code;
    this.retryable = retryable;
  }
}

const OPEN = 1;

/** A client of one server. `open` it; it stays connected until it is closed or sent away. */
export class Session {
  readonly core: ClientCore;
  readonly #options: Options;
  readonly #on: Listener;
  readonly #random: () => number;
  readonly #answers = new Map<string, { resolve(receipt: Accepted): void; reject(why: Refused): void }>();
  /** The socket that has been greeted, and the one that has not been yet. */
  #current: Socket | null = null;
  #dialled: Socket | null = null;
  #attempt = 0;
  #failures = 0;
  #isOpen = false;
  #heardAt = 0;
  #silenceMs = Infinity;
  #dialling: Timer;
  #acking: Timer;
  #healthy: Timer;
  #watching: Timer;

  constructor(options: Options) {
    this.core = new ClientCore(options.device);
    this.#options = options;
    this.#on = options.on;
    this.#random = options.random ?? Math.random;
  }

  /** Connect, and stay connected. */
  open(): void {
    if (this.#isOpen) return;
    this.#isOpen = true;
    this.#failures = 0;
    for (const [target, type] of WAKING) target?.addEventListener(type, this.#wake);
    this.#watching = setInterval(() => this.#checkSilence(), SILENCE_CHECK_MS);
    void this.#dial();
  }

  /** Leave for good; cursors and unanswered commands stay, for `open`. */
  close(): void {
    this.#acknowledge();
    this.#leave(1000, "");
    this.#on.state?.("stopped");
  }

  /** Follow a stream from a cursor, `0` (its start) or `live` (its end). */
  follow(stream: string, cursor = "0"): void {
    this.#write(this.core.follow(stream, cursor));
  }

  /** Stop following a stream. */
  leave(stream: string): void {
    this.#write(this.core.leave(stream));
  }

  /** Have a command accepted, however often the connection is cut meanwhile; rejects with Refused. */
  send(type: CommandType, payload: Payload, id = newId()): Promise<Accepted> {
    const answer = new Promise<Accepted>((resolve, reject) => this.#answers.set(id, { resolve, reject }));
    this.#write(this.core.command({ type, id, payload }));
    return answer;
  }

  // -- connections ------------------------------------------------------------------------------

  async #dial(): Promise<void> {
    clearTimeout(this.#dialling);
    const attempt = (this.#attempt += 1);
    if (this.#current === null) this.#on.state?.("connecting");
    let credentials: Credentials | null;
    try {
      credentials = await this.#options.credentials();
    } catch {
      if (attempt === this.#attempt) this.#failed(1006, "no credentials");
      return;
    }
    if (attempt !== this.#attempt) return;
    if (credentials === null) return this.#end({ code: 4401, reason: "signed out", next: "stop" });
    this.#connect(credentials);
  }

  #connect(credentials: Credentials): void {
    const Kind = this.#options.socket ?? (globalThis.WebSocket as NonNullable<Options["socket"]>);
    const socket = new Kind(this.#options.url, SUBPROTOCOL);
    this.#dialled = socket;
    socket.addEventListener("open", () => this.#hello(socket, credentials));
    socket.addEventListener("message", ({ data }) => this.#heard(socket, data));
    socket.addEventListener("close", ({ code, reason }) => this.#closed(socket, code, reason));
    socket.addEventListener("error", () => {}); // a close follows
    this.#dialling = setTimeout(() => this.#closed(socket, 1006, "no greeting"), GREETING_MS);
  }

  /** Now that this connection is open, and not before, another one is left: it ends where this one
   * begins, so that they do not overlap. */
  #hello(socket: Socket, credentials: Credentials): void {
    if (socket !== this.#dialled) return;
    this.#current?.close(1000);
    this.#current = null;
    send(socket, this.core.hello(credentials));
  }

  #heard(socket: Socket, data: string): void {
    if (socket !== this.#current && socket !== this.#dialled) return;
    this.#heardAt = Date.now();
    for (const happening of this.core.receive(data)) this.#take(socket, happening);
    if (socket === this.#current) this.#acknowledgeSoon();
  }

  #take(socket: Socket, happening: Happening): void {
    switch (happening.kind) {
      case "apply":
        return told(() => this.#on.event(happening.event));
      case "reply":
        send(socket, happening.frame);
        if (happening.frame.type === "mismatch") this.#on.mismatch?.(happening.frame);
        return;
      case "answered":
        return this.#answered(happening.ref, happening.answer);
      case "greeted":
        return this.#greeted(socket, happening.frame);
      case "lost":
        return told(() => this.#on.lost?.(happening));
      case "close":
        socket.close(happening.code);
        return this.#closed(socket, happening.code, "");
      case "told":
        return this.#told(happening.frame);
    }
  }

  /** The connection stands: what the last one left open is sent again. */
  #greeted(socket: Socket, frame: ConnectionEstablished): void {
    clearTimeout(this.#dialling);
    this.#current = socket;
    this.#dialled = null;
    this.#silenceMs = (frame.heartbeat.interval_seconds + frame.heartbeat.timeout_seconds) * 1000;
    clearTimeout(this.#healthy);
    this.#healthy = setTimeout(() => (this.#failures = 0), HEALTHY_MS);
    this.#on.state?.("live");
    this.#on.greeted?.(frame);
    for (const command of this.core.unanswered()) send(socket, command);
  }

  #told(frame: ServerFrame): void {
    if (frame.type === "drain") this.#move(frame.reconnect_within_ms);
    if (frame.type === "auth_expiring") void this.#renew();
    this.#on.told?.(frame);
  }

  /** The server stops: open the next connection at a random time in its window. */
  #move([from, to]: readonly [number, number]): void {
    if (this.#dialled !== null) return;
    this.#on.state?.("moving");
    clearTimeout(this.#dialling);
    this.#dialling = setTimeout(() => void this.#dial(), from + this.#random() * (to - from));
  }

  async #renew(): Promise<void> {
    const socket = this.#current;
    const credentials = await this.#options.credentials().catch(() => null);
    if (credentials && socket && socket === this.#current) send(socket, { type: "auth", ...credentials });
  }

  #closed(socket: Socket, code: number, reason: string): void {
    if (socket === this.#current) {
      this.#current = null;
      clearTimeout(this.#healthy);
      if (this.#dialled === null) this.#failed(code, reason);
    } else if (socket === this.#dialled) {
      this.#dialled = null;
      socket.close();
      this.#failed(code, reason);
    }
  }

  /** There is no connection, or no next one: act on the code, and come back later if it allows. */
  #failed(code: number, reason: string): void {
    clearTimeout(this.#dialling);
    this.#attempt += 1;
    this.#current?.close(1000);
    this.#current = null;
    const next = afterClose(code);
    if (next === "stop" || next === "upgrade") return this.#end({ code, reason, next });
    if (next === "snapshot") this.#loseAll();
    this.#on.state?.("offline");
    const pause = retryAfter(reason) + delay(this.#failures, this.#random);
    this.#failures += 1;
    this.#dialling = setTimeout(() => void this.#dial(), pause);
  }

  #loseAll(): void {
    for (const stream of this.core.streams) {
      this.core.leave(stream);
      const snapshot = stream.startsWith("thread:") ? `/api/threads/${stream.slice(7)}/snapshot` : null;
      told(() => this.#on.lost?.({ kind: "lost", stream, why: "cursor_invalid", snapshot }));
    }
  }

  #end(ending: Ending): void {
    this.#leave(1000, "");
    for (const { reject } of this.#answers.values()) {
      reject(new Refused("session_ended", `The session is over (${ending.code}).`, false));
    }
    this.#answers.clear();
    this.core.outbox.clear();
    this.#on.state?.("stopped");
    this.#on.ended?.(ending);
  }

  #leave(code: number, reason: string): void {
    this.#isOpen = false;
    this.#attempt += 1;
    for (const [target, type] of WAKING) target?.removeEventListener(type, this.#wake);
    for (const timer of [this.#dialling, this.#acking, this.#healthy]) clearTimeout(timer);
    clearInterval(this.#watching);
    const sockets = [this.#current, this.#dialled];
    this.#current = this.#dialled = null;
    for (const socket of sockets) socket?.close(code, reason);
  }

  // -- on a connection --------------------------------------------------------------------------

  #answered(ref: string, answer: Accepted | ErrorFrame): void {
    const waiting = this.#answers.get(ref);
    this.#answers.delete(ref);
    if (answer.type === "accepted") waiting?.resolve(answer);
    else waiting?.reject(new Refused(answer.code, answer.message, answer.retryable ?? false));
    told(() => this.#on.answered?.(ref, answer));
  }

  /** A page that is not seen gets its timers late: it acknowledges at once. */
  #acknowledgeSoon(): void {
    if (globalThis.document?.hidden) this.#acknowledge();
    else this.#acking ??= setTimeout(() => this.#acknowledge(), ACK_MS);
  }

  #acknowledge(): void {
    clearTimeout(this.#acking);
    this.#acking = undefined;
    if (this.#current === null) return;
    const frame = this.core.acknowledgement();
    if (frame !== null) this.#write(frame);
  }

  #write(frame: ClientFrame): void {
    if (this.#current !== null) send(this.#current, frame);
  }

  // -- time -------------------------------------------------------------------------------------

  /** A server that says nothing for so long is gone, whatever the socket believes. */
  #checkSilence(): void {
    const socket = this.#current;
    if (socket === null || Date.now() - this.#heardAt <= this.#silenceMs) return;
    socket.close();
    this.#closed(socket, 1006, "silence");
  }

  /** The network or the page is back: one try at once, instead of waiting. */
  readonly #wake = (): void => {
    if (globalThis.document?.hidden) return;
    if (this.#isOpen && this.#current === null && this.#dialled === null) void this.#dial();
  };
}

type Timer = ReturnType<typeof setTimeout> | undefined;

const WAKING: readonly (readonly [EventTarget | undefined, string])[] = [
  [typeof globalThis.addEventListener === "function" ? globalThis : undefined, "online"],
  [globalThis.document, "visibilitychange"],
];

/** Send; what a cut swallows is sent again after the reconnect. */
function send(socket: Socket, frame: ClientFrame): void {
  if (socket.readyState === OPEN) socket.send(JSON.stringify(frame));
}

/** A listener that fails does not keep the next event from being told. */
function told(tell: () => void): void {
  try {
    tell();
  } catch (error) {
    if (typeof reportError === "function") reportError(error);
    else
      queueMicrotask(() => {
        throw error;
      });
  }
}

/** Return an id for a command or a device: 32 hexadecimal digits. */
export function newId(): string {
  const bytes = globalThis.crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
