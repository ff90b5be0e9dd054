// The frames of tidings.v1 as types: what a client sends, what a server sends, and events.
// docs/protocol.md says what they mean. A server may add fields; a client ignores those it does not
// know.

export const VERSION = 1;
export const SUBPROTOCOL = "tidings.v1";

/** One entry of a stream. `offset` counts from 1 without holes; with `first_offset` it stands for
 * the pieces of one answer from there to `offset`, joined. `type` may be one this client does not
 * know. */
export interface StreamEvent {
  readonly type: string;
  readonly event_id: string;
  readonly stream: string;
  readonly epoch: string;
  readonly offset: number;
  readonly first_offset?: number;
  readonly timestamp: string;
  readonly run_id?: string;
  readonly thread_id?: string;
  readonly agent?: string;
  readonly payload: Payload;
}

// What an event carries is for the application to read; docs/protocol.md lists it by type.
export type Payload = { readonly [name: string]: unknown };

/** How many critical events a run has had, and a checksum over them. */
export interface Tally {
  readonly count: number;
  readonly digest: string;
}

/** Who is speaking: a ticket, which is good once and for 30 s, or an access token. */
export type Credentials = { readonly ticket: string } | { readonly token: string };

export interface Subscription {
  readonly stream: string;
  readonly cursor: string;
}

export interface Hello extends Partial<Record<"ticket" | "token", string>> {
  readonly type: "hello";
  readonly versions: readonly number[];
  readonly device: string;
  readonly subscribe: readonly Subscription[];
}

export type CommandType = "start_agent" | "user_message" | "chat" | "stop_agent" | "answer" | "approve";

/** A request that is carried out once, however often it is sent: `id` is the client's. */
export interface Command {
  readonly type: CommandType;
  readonly id: string;
  readonly payload: Payload;
}

export interface Mismatch {
  readonly type: "mismatch";
  readonly stream: string;
  readonly run_id: string;
  readonly expected: Tally;
  readonly got: Tally;
}

export type ClientFrame =
  | Hello
  | Command
  | Mismatch
  | ({ readonly type: "subscribe" } & Subscription)
  | { readonly type: "unsubscribe"; readonly stream: string }
  | { readonly type: "ack"; readonly positions: { readonly [stream: string]: number } }
  | ({ readonly type: "auth" } & Credentials)
  | { readonly type: "pong"; readonly n: number };

/** What became of a subscription in `hello`. */
export type Followed =
  | { readonly stream: string; readonly ok: true; readonly from: number; readonly head: number }
  | {
      readonly stream: string;
      readonly ok: false;
      readonly code: string;
      readonly message: string;
      readonly snapshot?: string;
    };

export interface ConnectionEstablished {
  readonly type: "connection_established";
  readonly version: number;
  readonly connection_id: string;
  readonly user_id: string;
  readonly heartbeat: { readonly interval_seconds: number; readonly timeout_seconds: number };
  readonly limits: { readonly [name: string]: number };
  readonly token_expires_at?: number;
  readonly streams: readonly Followed[];
}

/** The command `ref` is durable; its first event stands at `offset` of the thread. */
export interface Accepted {
  readonly type: "accepted";
  readonly ref: string;
  readonly run_id: string;
  readonly thread_id: string;
  readonly offset: number;
  readonly duplicate?: boolean;
}

/** Something was not done; `ref` is the id of a command, or the stream of a `subscribe`. */
export interface ErrorFrame {
  readonly type: "error";
  readonly ref?: string;
  readonly code: string;
  readonly message: string;
  readonly retryable?: boolean;
  readonly retry_after_ms?: number;
  readonly got?: string;
  readonly did_you_mean?: string;
}

export interface Reset {
  readonly type: "reset";
  readonly stream: string;
  readonly why: "retention" | "diverged" | "deleted";
  readonly snapshot?: string;
}

/** A `subscribe` from this cursor is carried out: what comes now begins at `from`. */
export interface Subscribed {
  readonly type: "subscribed";
  readonly stream: string;
  readonly cursor: string;
  readonly from: number;
}

export type ServerFrame =
  | ConnectionEstablished
  | Accepted
  | ErrorFrame
  | Reset
  | Subscribed
  | { readonly type: "live"; readonly stream: string; readonly offset: number }
  | { readonly type: "ping"; readonly n: number }
  | { readonly type: "auth_expiring"; readonly in_seconds: number }
  | { readonly type: "drain"; readonly reconnect_within_ms: readonly [number, number] }
  | { readonly type: "revoked"; readonly stream: string };
