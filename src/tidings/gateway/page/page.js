// The chat page: sign in, upload, ask, watch, read. The conversation on the screen is always made
// from its log: after a reload from the start, after a break from the cursor.

import * as api from "./api.js";
import { Link } from "./link.js";
import { RunView, node } from "./runs.js";

const THREAD = "tidings.thread";
const byId = (id) => document.getElementById(id);
// The one place where text becomes markup: a frame that may neither run nor fetch anything.
const boxed = window.trustedTypes?.createPolicy("report", { createHTML: (html) => html }) ?? {
  createHTML: (html) => html,
};

let link = null;
let thread = sessionStorage.getItem(THREAD);
let runs = new Map();
let files = [];
let pending = null;
let stopping = null;

function show() {
  const inside = api.signedIn();
  byId("login").hidden = inside;
  for (const id of ["talk", "composer", "nav", "link"]) byId(id).hidden = !inside;
  if (inside) enter();
  else byId("login").elements.username.focus();
}

function enter() {
  clear();
  link = new Link({ event, accepted, refused, state, lost, ended });
  if (thread) link.follow(`thread:${thread}`);
  link.open();
  byId("question").focus();
}

function clear() {
  runs = new Map();
  pending = stopping = null;
  byId("log").replaceChildren();
  byId("trouble").textContent = "";
  controls();
}

function remember(id) {
  thread = id;
  if (id) sessionStorage.setItem(THREAD, id);
  else sessionStorage.removeItem(THREAD);
}

// -- what the server says ---------------------------------------------------------------------

function event(said) {
  if (said.thread_id !== thread) return;
  const following = said.type === "message_received" || atEnd();
  if (said.type === "message_received") heard(said);
  else runOf(said.run_id)?.take(said);
  controls();
  if (following) reveal(said);
}

// While it works its last line is in view; when it is done the beginning of its answer.
function reveal({ type, run_id }) {
  if (type === "agent_completed") runOf(run_id)?.root.scrollIntoView();
  else window.scrollTo({ top: document.body.scrollHeight });
}

function heard({ run_id, payload }) {
  const view = new RunView(run_id, openReport);
  runs.set(run_id, view);
  byId("log").append(node("p", payload.text, "said"), view.root);
}

function runOf(id) {
  return runs.get(id);
}

function accepted({ ref, thread_id }) {
  if (ref === stopping) stopping = null;
  if (ref !== pending) return;
  pending = null;
  if (thread !== thread_id) remember(thread_id);
  byId("question").value = "";
  grow();
  controls();
}

function refused({ ref, message }) {
  if (ref === pending) pending = null;
  if (ref === stopping) stopping = null;
  byId("trouble").textContent = message;
  controls();
}

function state(word) {
  byId("link").textContent = word;
  byId("link").classList.toggle("live", word === "live");
}

// Our place in the stream is gone: build the conversation again from its start, or begin another.
async function lost(stream) {
  if (stream !== `thread:${thread}`) return;
  try {
    await api.request("GET", `/api/threads/${encodeURIComponent(thread)}`);
    clear();
    link.follow(stream);
  } catch (problem) {
    if (problem.status !== 404) return;
    remember(null);
    clear();
  }
}

function ended() {
  api.forget();
  show();
}

// -- what the user does -----------------------------------------------------------------------

byId("login").onsubmit = async (submitted) => {
  submitted.preventDefault();
  const form = submitted.target;
  byId("login-error").textContent = "";
  try {
    await api.signIn(form.elements.username.value, form.elements.password.value);
    form.reset();
    show();
  } catch (problem) {
    byId("login-error").textContent = problem.message;
  }
};

byId("leave").onclick = async () => {
  link.close();
  await api.signOut();
  remember(null);
  files = [];
  listFiles();
  clear();
  show();
};

byId("fresh").onclick = () => {
  if (thread) link.leave(`thread:${thread}`);
  remember(null);
  clear();
  byId("question").focus();
};

byId("composer").onsubmit = (submitted) => {
  submitted.preventDefault();
  const text = byId("question").value.trim();
  if (!text || pending) return;
  byId("trouble").textContent = "";
  const ready = files.filter((file) => file.id && file.chosen).map((file) => file.id);
  const payload = { user_request: text, files: ready };
  if (thread) payload.thread_id = thread;
  pending = link.command("start_agent", payload);
  controls();
};

byId("question").onkeydown = (key) => {
  if (key.key !== "Enter" || key.shiftKey || key.isComposing) return;
  key.preventDefault();
  byId("composer").requestSubmit();
};
byId("question").oninput = grow;

byId("stop").onclick = () => {
  const open = [...runs.values()].findLast((view) => !view.over);
  if (open) stopping = link.command("stop_agent", { run_id: open.runId });
  controls();
};

byId("upload").onchange = async ({ target }) => {
  for (const file of [...target.files]) await upload(file);
  target.value = "";
};

async function upload(file) {
  const entry = { name: file.name, id: null, chosen: true };
  files.push(entry);
  listFiles();
  const form = new FormData();
  form.append("file", file, file.name);
  try {
    const stored = await api.request("POST", "/api/files", form);
    entry.id = stored.file_id;
  } catch (problem) {
    files = files.filter((other) => other !== entry);
    byId("trouble").textContent = `${file.name}: ${problem.message}`;
  }
  listFiles();
}

function listFiles() {
  byId("files").replaceChildren(...files.map((file) => {
    const item = node("li", file.id ? file.name : `${file.name} …`);
    const drop = node("button", "×");
    drop.type = "button";
    drop.ariaLabel = `Leave out ${file.name}`;
    drop.onclick = () => {
      files = files.filter((other) => other !== file);
      listFiles();
    };
    item.append(drop);
    return item;
  }));
}

// -- the report -------------------------------------------------------------------------------

async function openReport(id) {
  const address = `/api/reports/${encodeURIComponent(id)}`;
  byId("report-frame").srcdoc = boxed.createHTML("");
  byId("saves").replaceChildren(...["html", "md", "json"].map((format) => {
    const save = node("button", `Save ${format}`);
    save.type = "button";
    save.onclick = () => saveReport(address, id, format).catch(trouble);
    return save;
  }));
  byId("report").showModal();
  try {
    byId("report-frame").srcdoc = boxed.createHTML(await api.text(`${address}?format=html`));
  } catch (problem) {
    byId("report").close();
    trouble(problem);
  }
}

async function saveReport(address, id, format) {
  const blob = new Blob([await api.text(`${address}?format=${format}`)]);
  const save = node("a");
  save.href = URL.createObjectURL(blob);
  save.download = `${id}.${format}`;
  save.click();
  setTimeout(() => URL.revokeObjectURL(save.href), 10_000);
}

byId("close-report").onclick = () => byId("report").close();

// -- small things -----------------------------------------------------------------------------

function trouble(problem) {
  byId("trouble").textContent = problem.message;
}

function controls() {
  const open = [...runs.values()].some((view) => !view.over);
  byId("stop").hidden = !open;
  byId("stop").disabled = stopping !== null;
  byId("ask").disabled = pending !== null;
}

function grow() {
  const box = byId("question");
  box.style.height = "auto";
  box.style.height = `${box.scrollHeight + 2}px`;
}

function atEnd() {
  return window.innerHeight + window.scrollY >= document.body.scrollHeight - 80;
}

show();
