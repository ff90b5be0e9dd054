// Whom a question goes to: chosen where there is a choice. A conversation goes on with the agent
// that it was last asked of, and a new one begins with the one that is shown.

import { request } from "./api.js";
import { node } from "./nodes.js";

const byId = (id) => document.getElementById(id);

export class Agents {
  #welcome = byId("welcome").textContent;
  #known = [];
  #chosen = null;
  #last = null;

  constructor() {
    byId("agent").onchange = ({ target }) => {
      this.#chosen = target.value;
      this.#show();
    };
  }

  // The one to ask; null: whom the server asks.
  get asked() {
    return this.#known.length ? this.#current().name : this.#last;
  }

  // Bring those that there are now.
  async load() {
    try {
      this.#known = (await request("GET", "/api/agents")).agents;
    } catch {
      return; // the next greeting asks again
    }
    const options = this.#known.map(({ name, well }) => {
      const option = node("option", well ? spoken(name) : `${spoken(name)} (fails often now)`);
      option.value = name;
      return option;
    });
    byId("agent").replaceChildren(...options);
    this.#show();
  }

  // A question is asked in the conversation, on whichever device: the next is for the same agent,
  // not for the one that stands in for it.
  heard({ type, payload }) {
    if (type === "message_received") {
      this.#last = payload.agent;
      this.#chosen = null;
    } else if (payload.code === "agent_stands_in") {
      this.#last = payload.instead_of;
    } else return;
    this.#show();
  }

  // Another conversation is shown, or an empty page.
  turn(isNew) {
    this.#chosen = isNew ? this.asked : null;
    this.#last = null;
    this.#show();
  }

  // Somebody else may sign in.
  clear() {
    this.#known = [];
    this.#chosen = this.#last = null;
    this.#show();
  }

  #current() {
    const named = (wanted) => this.#known.find(({ name }) => name === wanted);
    return named(this.#chosen) ?? named(this.#last) ?? this.#known.find((agent) => agent.default);
  }

  #show() {
    const { name = "", description = "", default: isDefault = true } = this.#current() ?? {};
    byId("welcome").textContent = isDefault ? this.#welcome : description;
    byId("agent").value = name;
    byId("agent-does").textContent = description;
    byId("whom").hidden = this.#known.length < 2;
  }
}

function spoken(name) {
  return name.replaceAll("_", " ");
}
