// The socket: says hello with a ticket, applies events once, acknowledges, answers pings, comes
// back after a break, and repeats every command until it is answered.

import * as api from "./api.js";
import { Reading, afterClose, delay } from "./stream.js";

const ACK_MS = 200;
const ACK_EVENTS = 64;
const HEALTHY_MS = 60_000;
const DEVICE = "tidings.device";

export class Link {
  // on: {event(event), accepted(receipt), refused(error), state(word), lost(stream), ended()}
  constructor(on) {
    this.on = on;
    this.readings = new Map();
    this.outbox = new Map();
    this.socket = null;
    this.attempt = 0;
    this.timer = 0;
    this.acking = 0;
    this.unacked = 0;
    this.closed = false;
    this.asked = new Set();
    this.device = sessionStorage.getItem(DEVICE) ?? `d_${token()}`;
    sessionStorage.setItem(DEVICE, this.device);
  }

  follow(stream, cursor = "0") {
    this.readings.set(stream, new Reading(cursor));
    this.write({ type: "subscribe", stream, cursor });
  }

  leave(stream) {
    if (this.readings.delete(stream)) this.write({ type: "unsubscribe", stream });
  }

  command(type, payload) {
    const frame = { type, id: token(), payload };
    this.outbox.set(frame.id, frame);
    this.write(frame);
    return frame.id;
  }

  async open() {
    clearTimeout(this.timer);
    if (this.closed || this.socket) return;
    this.on.state("connecting");
    let ticket;
    try {
      ({ ticket } = await api.request("POST", "/api/ws-ticket"));
    } catch (refused) {
      if (refused.status === 401) this.end();
      else this.again();
      return;
    }
    if (this.closed || this.socket) return;
    const socket = new WebSocket(`${location.origin.replace(/^http/, "ws")}/ws`, "tidings.v1");
    this.socket = socket;
    this.ready = false;
    socket.onopen = () => socket.send(JSON.stringify(this.hello(ticket)));
    socket.onmessage = ({ data }) => { if (this.socket === socket) this.receive(data); };
    socket.onclose = ({ code }) => { if (this.socket === socket) this.broke(code); };
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
    clearTimeout(this.acking);
    this.socket?.close(1000);
    this.socket = null;
  }

  hello(ticket) {
    this.asked.clear();
    this.unacked = 0;
    const subscribe = [...this.readings].map(([stream, { cursor }]) => ({ stream, cursor }));
    return { type: "hello", versions: [1], ticket, device: this.device, subscribe };
  }

  receive(data) {
    const frames = JSON.parse(data);
    for (const frame of Array.isArray(frames) ? frames : [frames]) this.one(frame);
  }

  one(frame) {
    if (frame.event_id) return this.event(frame);
    switch (frame.type) {
      case "connection_established": return this.greeted(frame);
      case "accepted": return this.accepted(frame);
      case "error": return this.error(frame);
      case "ping": return this.write({ type: "pong", n: frame.n });
      case "auth_expiring":
        return void api.renew()
          .then(() => this.write({ type: "auth", token: api.accessToken() }))
          .catch(() => {});
      case "reset": return this.lose(frame.stream);
      case "revoked": return this.leave(frame.stream);
    }
  }

  event(event) {
    if (!this.readings.has(event.stream)) {
      this.readings.set(event.stream, new Reading());
      this.readings.get(event.stream).last = event.offset - 1;
    }
    const reading = this.readings.get(event.stream);
    const verdict = reading.take(event);
    if (verdict === "gap") this.gap(event.stream, reading);
    if (verdict !== "apply") return;
    this.asked.delete(event.stream);
    this.on.event(event);
    this.unacked += 1;
    if (this.unacked >= ACK_EVENTS) this.acknowledge();
    else this.acking ||= setTimeout(() => this.acknowledge(), ACK_MS);
  }

  // Ask once for what is missing; if that brings another gap, start the connection anew.
  gap(stream, { cursor }) {
    if (this.asked.has(stream)) return this.socket?.close(4109);
    this.asked.add(stream);
    this.write({ type: "subscribe", stream, cursor });
  }

  acknowledge() {
    clearTimeout(this.acking);
    this.acking = 0;
    this.unacked = 0;
    const positions = {};
    for (const [stream, { last }] of this.readings) if (last > 0) positions[stream] = last;
    this.write({ type: "ack", positions });
  }

  greeted({ streams }) {
    this.ready = true;
    this.healthy = setTimeout(() => { this.attempt = 0; }, HEALTHY_MS);
    this.on.state("live");
    for (const { stream, ok } of streams) if (!ok) this.lose(stream);
    for (const frame of this.outbox.values()) this.write(frame);
  }

  accepted(receipt) {
    this.outbox.delete(receipt.ref);
    const stream = `thread:${receipt.thread_id}`;
    if (!this.readings.has(stream)) {
      this.readings.set(stream, new Reading());
      this.readings.get(stream).last = receipt.offset - 1;
    }
    this.on.accepted(receipt);
  }

  error(error) {
    if (!this.outbox.delete(error.ref) && this.readings.has(error.ref)) this.lose(error.ref);
    else this.on.refused(error);
  }

  lose(stream) {
    this.readings.delete(stream);
    this.on.lost(stream);
  }

  broke(code) {
    this.socket = null;
    this.ready = false;
    clearTimeout(this.healthy);
    const then = afterClose(code);
    if (then === "stay") return this.on.state("stopped");
    if (then === "renew") {
      api.renew().then(() => this.again(), ({ status }) => (status === 401 ? this.end() : this.again()));
    } else this.again();
  }

  again() {
    if (this.closed) return;
    this.on.state("offline");
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.open(), delay(this.attempt));
    this.attempt += 1;
  }

  end() {
    this.close();
    this.on.ended();
  }

  write(frame) {
    if (this.ready && this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(frame));
  }
}

function token() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
