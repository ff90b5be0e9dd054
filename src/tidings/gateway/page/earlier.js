// Earlier conversations: looked up when their list is opened, the newest first.

import { request } from "./api.js";
import { Drawer } from "./drawer.js";
import { entry } from "./nodes.js";

const SHOWN = 50;
const byId = (id) => document.getElementById(id);

export class Earlier {
  #open;
  #drawer = new Drawer(byId("show-earlier"), byId("earlier"));

  // `open` shows a conversation.
  constructor(open) {
    this.#open = open;
    this.#drawer.opened = () => this.#load();
  }

  // Forget what was shown: somebody else may sign in.
  clear() {
    this.#show([]);
    this.#drawer.turn(false);
  }

  async #load() {
    try {
      this.#show((await request("GET", `/api/threads?limit=${SHOWN}`)).threads);
    } catch (problem) {
      byId("none-earlier").textContent = problem.message;
    }
  }

  #show(threads) {
    byId("conversations").replaceChildren(...threads.map((thread) => this.#entry(thread)));
    byId("none-earlier").hidden = threads.length > 0;
    byId("none-earlier").textContent = "There is none yet.";
  }

  #entry({ thread_id, title, created_at }) {
    return entry(title, new Date(created_at).toLocaleString(), () => {
      this.#drawer.turn(false);
      this.#open(thread_id);
    });
  }
}
