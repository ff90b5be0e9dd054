// What a conversation told before its log begins: pages of its history, newest first, as asked for.

import * as api from "./api.js";
import { node } from "./nodes.js";

const PAGE_EVENTS = 500;

export class Past {
  // `show(runId, events)` shows a run, whole and oldest first; those of a page from the last to the first.
  constructor(threadId, show) {
    this.address = `/api/threads/${encodeURIComponent(threadId)}/history?limit=${PAGE_EVENTS}`;
    this.show = show;
    this.before = null;
    this.missing = 0;
    this.begun = [];
    this.note = node("p", "What was said is below. Earlier steps are in the history.", "notice");
    this.note.role = "status";
    this.more = node("button", "Show earlier steps");
    this.more.type = "button";
    this.more.onclick = () => this.load();
    this.root = node("div", "", "past");
    this.root.append(this.note, this.more);
  }

  async load() {
    this.more.disabled = true;
    try {
      const until = this.before === null ? "" : `&before=${this.before}`;
      const page = await api.request("GET", this.address + until);
      if (this.root.isConnected) this.take(page);
    } catch (problem) {
      this.note.textContent = problem.message;
    }
    this.more.disabled = false;
  }

  // A run whose beginning is on an older page waits for it.
  take({ events, before, missing }) {
    const found = Map.groupBy([...events, ...this.begun], ({ run_id }) => run_id);
    this.begun = [];
    for (const [runId, told] of [...found].reverse()) {
      if (told[0].type === "message_received") this.show(runId, told);
      else this.begun.unshift(...told);
    }
    this.before = before;
    this.missing += missing;
    if (before === null) this.end();
  }

  end() {
    this.more.remove();
    if (this.missing) this.note.textContent = `${this.missing} earlier steps are no longer kept; what was said is.`;
    else this.root.remove();
  }
}
