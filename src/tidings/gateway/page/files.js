// The files that go along with the next question: sent as they are chosen, left out by a click.

import { request } from "./api.js";
import { node } from "./nodes.js";

const byId = (id) => document.getElementById(id);

export class Files {
  #files = [];
  #trouble;

  // `trouble` shows what went wrong, or that nothing did.
  constructor(trouble) {
    this.#trouble = trouble;
    byId("upload").onchange = async ({ target }) => {
      trouble({ message: "" });
      for (const file of [...target.files]) await this.#upload(file);
      target.value = "";
    };
  }

  // The ids of those that the server has.
  get ready() {
    return this.#files.filter(({ id }) => id).map(({ id }) => id);
  }

  // Somebody else may sign in.
  clear() {
    this.#files = [];
    this.#show();
  }

  async #upload(file) {
    const entry = { name: file.name, id: null };
    this.#files.push(entry);
    this.#show();
    const form = new FormData();
    form.append("file", file, file.name);
    try {
      entry.id = (await request("POST", "/api/files", form)).file_id;
    } catch (problem) {
      this.#drop(entry);
      this.#trouble({ message: `${file.name}: ${problem.message}` });
    }
    this.#show();
  }

  #drop(entry) {
    this.#files = this.#files.filter((other) => other !== entry);
    this.#show();
  }

  #show() {
    byId("files").replaceChildren(...this.#files.map((entry) => this.#item(entry)));
  }

  #item(entry) {
    const item = node("li");
    const name = node("bdi", entry.name);
    name.title = entry.name;
    const drop = node("button", "×");
    drop.type = "button";
    drop.ariaLabel = `Leave out ${entry.name}`;
    drop.onclick = () => this.#drop(entry);
    item.append(name, entry.id ? "" : " …", drop);
    return item;
  }
}
