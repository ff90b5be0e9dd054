// The inbox: what ended while no device of the user's was there to see it.

import { request } from "./api.js";
import { node } from "./nodes.js";

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

  // `open` shows a conversation.
  constructor(open) {
    this.#open = open;
    byId("bell").onclick = () => this.#turn(byId("inbox").hidden);
    byId("inbox").onkeydown = ({ key }) => {
      if (key !== "Escape") return;
      this.#turn(false);
      byId("bell").focus();
    };
    document.addEventListener("click", ({ target }) => {
      if (!target.closest("#inbox, #bell")) this.#turn(false);
    });
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
    this.#turn(false);
  }

  #turn(isOpen) {
    byId("inbox").hidden = !isOpen;
    byId("bell").ariaExpanded = String(isOpen);
  }

  #show({ items, unread }) {
    byId("unread").textContent = unread || "";
    byId("unread").ariaLabel = `${unread} unread`;
    byId("unread").hidden = unread === 0;
    byId("items").replaceChildren(...items.map((item) => this.#entry(item)));
    byId("nothing").hidden = items.length > 0;
  }

  #entry(item) {
    const choice = node("button", "", item.read ? "read" : "");
    choice.type = "button";
    const when = new Date(item.created_at).toLocaleString();
    choice.append(node("span", item.title), node("small", `${ENDS[item.status] ?? item.status} · ${when}`));
    choice.onclick = () => this.#choose(item);
    const entry = node("li");
    entry.append(choice);
    return entry;
  }

  async #choose({ item_id, thread_id }) {
    this.#turn(false);
    this.#open(thread_id);
    await request("POST", `/api/inbox/${encodeURIComponent(item_id)}/read`).catch(() => {});
    await this.load();
  }
}
