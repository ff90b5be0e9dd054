// What users notice of the server's health, in a line above the conversation.

import { request } from "./api.js";

const LOOK_MS = 15_000;
const byId = (id) => document.getElementById(id);

export class Condition {
  #timer = 0;

  // Look now, and from time to time while the page is in view.
  begin() {
    clearInterval(this.#timer);
    this.#timer = setInterval(() => document.hidden || this.look(), LOOK_MS);
    this.look();
  }

  end() {
    clearInterval(this.#timer);
    this.#show({ notices: [], admin: false });
  }

  async look() {
    try {
      this.#show(await request("GET", "/api/status"));
    } catch {
      // The connection's own word says that the server cannot be reached.
    }
  }

  #show({ notices, admin }) {
    const said = [...new Set(notices.map(({ message }) => message))].join(" ");
    if (byId("condition").textContent !== said) byId("condition").textContent = said;
    byId("condition").hidden = said === "";
    byId("health").hidden = !admin;
  }
}
