// Generated from web/client/src by `make client`: change it there.

// The client's end of tidings.v1: what arrived, what to apply, what to acknowledge, where to resume.
//
// Pure: messages in, happenings out. This is the exactly-once part: a stream's events are applied in
// the order of their offsets, each once, and the cursor moves with them. It is the same machine as
// the Python client's (src/tidings/protocol/client.py); both are held to tests/conformance/client.
import { Tallying } from "./proof.js";
import { VERSION, } from "./frames.js";
export const ACK_EVENTS = 64;
export const ACK_BYTES = 32 * 1024;
export const GAP = 4109;
const TAIL_LENGTH = 8;
/** One client's streams, and its commands that have no answer yet. */
export class ClientCore {
    device;
    outbox = new Map();
    /** How many events came that were not applied: repeats, or of streams that were left. */
    duplicates = 0;
    /** How many runs were shown by their proof to be whole. */
    verified = 0;
    #streams = new Map();
    #isConnected = false;
    constructor(device) {
        this.device = device;
    }
    get streams() {
        return [...this.#streams.keys()];
    }
    /** Return the first frame of a connection: who we are and what we have. */
    hello(credentials) {
        this.#isConnected = false;
        for (const reading of this.#streams.values())
            reading.offered = true;
        const subscribe = this.streams.map((stream) => ({ stream, cursor: this.cursor(stream) }));
        return { type: "hello", versions: [VERSION], device: this.device, subscribe, ...credentials };
    }
    /** Return where to resume a stream. */
    cursor(stream) {
        return this.#streams.get(stream)?.cursor ?? "0";
    }
    /** Follow a stream from a cursor, `0` (its start) or `live` (its end); again, to go elsewhere. */
    follow(stream, cursor = "0") {
        const begun = reading(cursor);
        begun.asked = this.#isConnected;
        this.#streams.set(stream, begun);
        return { type: "subscribe", stream, cursor };
    }
    /** Stop following a stream. */
    leave(stream) {
        this.#streams.delete(stream);
        return { type: "unsubscribe", stream };
    }
    /** Keep a command until it is answered; send it now and after every greeting until then. */
    command(command) {
        this.outbox.set(command.id, command);
        return command;
    }
    /** Return the commands to send again after a greeting, in their order. */
    unanswered() {
        return [...this.outbox.values()];
    }
    /** Take a message of the server: a frame, or an array of them. After a `close` the rest of it is
     * left unread; one that cannot be read at all is a gap that nothing can be asked about. */
    receive(message) {
        let said;
        try {
            said = JSON.parse(message);
        }
        catch {
            return [{ kind: "close", code: GAP }];
        }
        const frames = Array.isArray(said) ? said : [said];
        const size = Math.ceil(message.length / Math.max(frames.length, 1));
        const happenings = [];
        for (const frame of frames) {
            if (typeof frame !== "object" || frame === null)
                continue;
            happenings.push(...this.#receiveOne(frame, size));
            if (happenings.at(-1)?.kind === "close")
                break;
        }
        return happenings;
    }
    /** Return the acknowledgement of everything that came and is applied, if there is any to give. */
    acknowledgement() {
        const positions = {};
        for (const [stream, reading] of this.#streams) {
            if (reading.unackedEvents === 0)
                continue;
            positions[stream] = reading.received;
            reading.unackedEvents = reading.unackedBytes = 0;
        }
        return Object.keys(positions).length > 0 ? { type: "ack", positions } : null;
    }
    #receiveOne(frame, size) {
        if ("event_id" in frame)
            return this.#event(frame, size);
        switch (frame.type) {
            case "connection_established":
                return this.#greeted(frame);
            case "ping":
                return [{ kind: "reply", frame: { type: "pong", n: frame.n } }];
            case "accepted":
                return this.#accepted(frame);
            case "error":
                return this.#error(frame);
            case "live":
                return this.#live(frame.stream, frame.offset, frame);
            case "subscribed":
                return this.#subscribed(frame);
            case "reset":
                return this.#lose(frame.stream, frame.why, frame.snapshot);
            case "revoked":
                return this.#lose(frame.stream, "revoked");
            default:
                return [{ kind: "told", frame }];
        }
    }
    #event(event, size) {
        const reading = this.#streams.get(event.stream);
        if (reading === undefined || reading.asked) {
            this.duplicates += 1; // left, or begun anew, while it was on its way
            return [];
        }
        const { last } = reading;
        const first = event.first_offset ?? event.offset;
        if (last !== null && event.offset <= last) {
            this.duplicates += 1;
            return this.#received(reading, event, size);
        }
        if (last !== null && first !== last + 1)
            return this.#gap(event.stream, reading);
        reading.cursor = `${event.epoch}.${event.offset}.${event.event_id.slice(-TAIL_LENGTH)}`;
        reading.last = event.offset;
        reading.resubscribed = false;
        const proof = reading.runs.take(event);
        if (proof === "verified")
            this.verified += 1;
        return [
            { kind: "apply", event },
            ...(proof !== null && proof !== "verified" ? [{ kind: "reply", frame: proof }] : []),
            ...this.#received(reading, event, size),
        ];
    }
    /** Take note that there is something to acknowledge; a repeat, too, fills the window. */
    #received(reading, event, size) {
        reading.received = Math.max(reading.received, event.offset);
        reading.unackedEvents += 1;
        reading.unackedBytes += size;
        if (reading.unackedEvents < ACK_EVENTS && reading.unackedBytes < ACK_BYTES)
            return [];
        const frame = this.acknowledgement();
        return frame ? [{ kind: "reply", frame }] : [];
    }
    /** Ask once for what is missing; if that brings another gap, start the connection anew. */
    #gap(stream, reading) {
        if (reading.resubscribed)
            return [{ kind: "close", code: GAP }];
        reading.resubscribed = true;
        return [this.#subscribe(stream)];
    }
    /** What was received before came on another connection: nothing of it is acknowledged on this.
     * What was followed or left since the hello is subscribed or unsubscribed now. */
    #greeted(frame) {
        this.#isConnected = true;
        const happenings = [{ kind: "greeted", frame }];
        for (const [stream, reading] of this.#streams) {
            reading.received = reading.unackedEvents = reading.unackedBytes = 0;
            reading.resubscribed = false;
            reading.asked = !reading.offered;
            if (!reading.offered)
                happenings.push(this.#subscribe(stream));
        }
        for (const followed of frame.streams)
            happenings.push(...this.#followed(followed));
        return happenings;
    }
    /** Take what became of a stream of the hello, unless it is not wanted any more, or anew. */
    #followed(followed) {
        const { stream } = followed;
        const reading = this.#streams.get(stream);
        if (reading === undefined && followed.ok)
            return [{ kind: "reply", frame: this.leave(stream) }];
        if (reading === undefined || !reading.offered)
            return [];
        if (!followed.ok)
            return this.#lose(stream, followed.code, followed.snapshot);
        this.#begin(reading, followed.from - 1);
        return [];
    }
    #subscribe(stream) {
        return { kind: "reply", frame: { type: "subscribe", stream, cursor: this.cursor(stream) } };
    }
    #accepted(frame) {
        this.outbox.delete(frame.ref);
        const stream = `thread:${frame.thread_id}`;
        if (!this.#streams.has(stream)) {
            const after = frame.offset - 1;
            this.#streams.set(stream, reading(String(after), after));
        }
        return [{ kind: "answered", ref: frame.ref, answer: frame }];
    }
    #error(frame) {
        if (frame.ref !== undefined && this.outbox.delete(frame.ref)) {
            return [{ kind: "answered", ref: frame.ref, answer: frame }];
        }
        if (frame.ref !== undefined && this.#streams.has(frame.ref)) {
            return this.#lose(frame.ref, frame.code);
        }
        return [{ kind: "told", frame }];
    }
    #live(stream, offset, frame) {
        const reading = this.#streams.get(stream);
        if (reading !== undefined && !reading.asked)
            this.#begin(reading, offset);
        return [{ kind: "told", frame }];
    }
    #subscribed(frame) {
        const reading = this.#streams.get(frame.stream);
        if (reading?.asked && reading.cursor === frame.cursor) {
            reading.asked = false;
            this.#begin(reading, frame.from - 1);
        }
        return [{ kind: "told", frame }];
    }
    /** The server has said where a stream begins for us, before its first event came. */
    #begin(reading, after) {
        if (reading.last !== null)
            return;
        reading.last = after;
        reading.cursor = String(after);
    }
    #lose(stream, why, snapshot) {
        this.#streams.delete(stream);
        return [{ kind: "lost", stream, why, snapshot: snapshot ?? null }];
    }
}
function reading(cursor, last = offsetOf(cursor)) {
    return {
        cursor,
        last,
        received: 0,
        offered: false,
        asked: false,
        resubscribed: false,
        unackedEvents: 0,
        unackedBytes: 0,
        runs: new Tallying(),
    };
}
/** Return the offset that a position names; `0` and `live` name none before the server answers. */
function offsetOf(cursor) {
    if (cursor === "0" || cursor === "live")
        return null;
    return Number(cursor.includes(".") ? cursor.split(".")[1] : cursor);
}
