// What users notice of the server's health, in a line above the conversation; and whether the server
// reaches its database, which an open connection does not tell.

import { request } from "./api.js";

const LOOK_MS = 15_000;
const LOOK_UNWELL_MS = 5_000;
const AWAY = "The server cannot reach its database now. What is on the screen stays; the rest comes when it is back.";
const byId = (id) => document.getElementById(id);

export class Condition {
  isAway = false;
  #timer = 0;
  #isLooking = false;
  #isWatching = false;
  #changed;

  // `changed` hears that the database is away, or back.
  constructor(changed) {
    this.#changed = changed;
    document.addEventListener("visibilitychange", () => document.hidden || !this.#isWatching || this.look());
  }

  // Look from time to time while the page is in view, more often while something is not well.
  begin() {
    this.#isWatching = true;
    this.#later();
  }

  end() {
    this.#isWatching = false;
    clearTimeout(this.#timer);
    this.#show({ notices: [], admin: false });
  }

  async look() {
    if (this.#isLooking) return;
    this.#isLooking = true;
    const found = await this.#ask();
    this.#isLooking = false;
    if (!this.#isWatching) return;
    if (found) this.#show(found);
    this.#later();
  }

  // Null: nothing is known, and what is shown stays. Of a server that cannot be reached the
  // connection's own word says so.
  async #ask() {
    try {
      return await request("GET", "/api/status");
    } catch ({ code, status }) {
      if (code === "storage_unavailable") return { isAway: true, notices: [{ message: AWAY }] };
      return status === 0 ? { notices: [] } : null;
    }
  }

  #later() {
    clearTimeout(this.#timer);
    const isWell = byId("condition").textContent === "";
    this.#timer = setTimeout(() => (document.hidden ? this.#later() : this.look()), isWell ? LOOK_MS : LOOK_UNWELL_MS);
  }

  // An administrator stays one while nobody can say so.
  #show({ notices, admin, isAway = false }) {
    const said = [...new Set(notices.map(({ message }) => message))].join(" ");
    if (byId("condition").textContent !== said) byId("condition").textContent = said;
    if (admin !== undefined) byId("health").hidden = !admin;
    if (isAway === this.isAway) return;
    this.isAway = isAway;
    this.#changed();
  }
}
