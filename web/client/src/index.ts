// A client of tidings.v1: `Session` stays connected; `ClientCore` is its rules, without a socket.

export * from "./frames.js";
export { afterClose, delay, type Next } from "./closing.js";
export { ClientCore, type Happening, type Lost } from "./core.js";
export {
  Refused,
  Session,
  newId,
  type Ending,
  type Listener,
  type Options,
  type Socket,
  type State,
} from "./session.js";
