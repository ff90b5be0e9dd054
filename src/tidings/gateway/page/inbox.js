// The inbox: what ended while no device of the user's was there to see it.

import { request } from "./api.js";
import { Drawer } from "./drawer.js";
import { entry } from "./nodes.js";

const SHOWN = 20;
const ENDS = {
  completed: "done",
  degraded: "done, with limits",
  failed: "failed",
  cancelled: "stopped",
};
const byId = (id) => document.getElementById(id);

export class Inbox {
  #open;
  #isLoading = false;
  #isStale = false;
  #drawer = new Drawer(byId("bell"), byId("inbox"));

  // `open` shows a conversation.
  constructor(open) {
    this.#open = open;
  }

  // Show what the server has now; asked again meanwhile, it is asked for once more.
  async load() {
    this.#isStale = true;
    if (this.#isLoading) return;
    this.#isLoading = true;
    while (this.#isStale) {
      this.#isStale = false;
      try {
        this.#show(await request("GET", `/api/inbox?limit=${SHOWN}`));
      } catch {
        break; // the next greeting asks again
      }
    }
    this.#isLoading = false;
  }

  // Forget what was shown: somebody else may sign in.
  clear() {
    this.#show({ items: [], unread: 0 });
    this.#drawer.turn(false);
  }

  #show({ items, unread }) {
    byId("unread").textContent = unread || "";
    byId("unread").ariaLabel = `${unread} unread`;
    byId("unread").hidden = unread === 0;
    byId("items").replaceChildren(...items.map((item) => this.#entry(item)));
    byId("nothing").hidden = items.length > 0;
  }

  #entry(item) {
    const when = new Date(item.created_at).toLocaleString();
    const more = `${ENDS[item.status] ?? item.status} · ${when}`;
    return entry(item.title, more, () => this.#choose(item), item.read ? "read" : "");
  }

  async #choose({ item_id, thread_id }) {
    this.#drawer.turn(false);
    this.#open(thread_id);
    await request("POST", `/api/inbox/${encodeURIComponent(item_id)}/read`).catch(() => {});
    await this.load();
  }
}
