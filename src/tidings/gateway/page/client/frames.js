// Generated from web/client/src by `make client`: change it there.

// The frames of tidings.v1 as types: what a client sends, what a server sends, and events.
// docs/protocol.md says what they mean. A server may add fields; a client ignores those it does not
// know.
export const VERSION = 1;
export const SUBPROTOCOL = "tidings.v1";
