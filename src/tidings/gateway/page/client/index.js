// Generated from web/client/src by `make client`: change it there.

// A client of tidings.v1: `Session` stays connected; `ClientCore` is its rules, without a socket.
export * from "./frames.js";
export { afterClose, delay } from "./closing.js";
export { ClientCore } from "./core.js";
export { Refused, Session, newId, } from "./session.js";
