// The chat page: sign in, upload, ask, watch, read. The conversation on the screen is made from its
// log: after a reload from the start, after a break from the cursor. Where the log cannot go on it
// is made from a snapshot.

import { Agents } from "./agents.js";
import * as api from "./api.js";
import { newId } from "./client/index.js";
import { Condition } from "./condition.js";
import { connect } from "./connection.js";
import { Earlier } from "./earlier.js";
import { Files } from "./files.js";
import { Inbox } from "./inbox.js";
import { node } from "./nodes.js";
import * as outbox from "./outbox.js";
import { Past } from "./past.js";
import { openReport } from "./report.js";
import { RunView } from "./runs.js";

const THREAD = "tidings.thread";
const RETRY_MS = 2_000;
const TEXT_CHARACTERS_MAX = 20_000;
const STATES = {
  connecting: "connecting",
  live: "live",
  moving: "server restarts",
  offline: "offline",
  stopped: "stopped",
  away: "database away",
};
const ENDINGS = {
  4203: "This page is older than the server. Reload it.",
  4409: "This conversation goes on in another window. Reload to have it here.",
  4418: "This page is older than the server. Reload it.",
};
const byId = (id) => document.getElementById(id);

let session = null;
let link = "connecting";
let thread = sessionStorage.getItem(THREAD);
let runs = new Map();
let pending = null;
let stopping = null;
let restoring = 0;
let renewed = false;
let following = true;
let seen = 0;
const doubted = new Set();
const agents = new Agents();
const files = new Files(trouble);
const inbox = new Inbox(turnTo);
const earlier = new Earlier(turnTo);
const condition = new Condition(turned);
const fetched = (path) => api.request("GET", path);

function show() {
  const inside = api.signedIn();
  byId("login").hidden = inside;
  for (const id of ["talk", "composer", "nav", "link"]) byId(id).hidden = !inside;
  if (inside) enter();
  else leave();
}

function leave() {
  condition.end();
  agents.clear();
  outbox.forget();
  byId("login").elements.username.focus();
}

function enter() {
  clear();
  session = connect({ event, answered, greeted, lost, mismatch, told, state, ended });
  if (thread) session.follow(`thread:${thread}`);
  session.open();
  outbox.unanswered().forEach(sendAgain);
  condition.begin();
  byId("question").focus();
}

function clear() {
  clearTimeout(restoring);
  runs = new Map();
  pending = stopping = null;
  byId("log").replaceChildren();
  byId("welcome").hidden = thread !== null;
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
  if (said.stream.startsWith("user:")) {
    if (said.type === "inbox_item") inbox.load();
    return;
  }
  if (said.thread_id !== thread) return;
  agents.heard(said);
  if (said.type === "message_received") following = true;
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
  const view = new RunView(run_id, showReport, command, fetched);
  runs.set(run_id, view);
  byId("log").append(node("p", payload.text, "said"), view.root);
}

function runOf(id) {
  return runs.get(id);
}

function answered(ref, answer) {
  outbox.drop(ref);
  if (ref === stopping) stopping = null;
  if (ref === pending) {
    pending = null;
    if (answer.type === "accepted") asked(answer.thread_id);
  }
  if (answer.type === "error") trouble(answer);
  if (answer.code === "storage_unavailable") condition.look();
  controls();
}

function asked(threadId) {
  if (thread !== threadId) remember(threadId);
  byId("question").value = "";
  grow();
}

function told(frame) {
  if (frame.type === "error") trouble(frame);
}

function state(word) {
  link = word;
  showLink();
  if (word === "live" || word === "offline") condition.look();
}

// The database is away, or back: then the next try to connect need not wait.
function turned() {
  showLink();
  if (condition.isAway || link !== "offline") return;
  session.close();
  session.open();
}

// Without its database the server keeps connections and has nothing to say on them.
function showLink() {
  const word = condition.isAway && link !== "stopped" ? "away" : link;
  if (byId("link").textContent !== STATES[word]) byId("link").textContent = STATES[word];
  byId("link").classList.toggle("live", word === "live");
}

// What was asked for from its start begins later than that: the rest is in the snapshot.
function greeted({ user_id, streams }) {
  renewed = false;
  const own = `user:${user_id}`;
  if (!streams.some(({ stream }) => stream === own)) session.follow(own, "live");
  inbox.load();
  agents.load();
  const ours = streams.find(({ stream }) => stream === `thread:${thread}`);
  if (!ours?.ok || ours.from === 1 || byId("log").children.length) return;
  session.leave(ours.stream);
  restore(thread);
}

function lost({ stream, snapshot }) {
  if (stream.startsWith("user:")) session.follow(stream, "live");
  if (stream !== `thread:${thread}`) return;
  if (snapshot) restore(thread);
  else gone();
}

// A run did not reach us whole: read it again, once.
function mismatch({ stream, run_id }) {
  if (stream !== `thread:${thread}` || doubted.has(run_id)) return;
  doubted.add(run_id);
  clear();
  session.follow(stream);
}

// Our place in the log is gone, or its beginning: show what is kept, and go on behind that.
async function restore(id) {
  let kept;
  try {
    kept = await api.request("GET", `/api/threads/${encodeURIComponent(id)}/snapshot`);
  } catch (problem) {
    if (id !== thread) return;
    if (problem.status === 404) gone();
    else restoring = setTimeout(() => restore(id), RETRY_MS);
    return;
  }
  if (id !== thread) return;
  clear();
  const isOpen = new Set(kept.open_events.map(({ run_id }) => run_id));
  const closed = kept.messages.filter(({ run_id }) => !isOpen.has(run_id));
  const ended = new Set(closed.map(({ run_id }) => run_id));
  const past = new Past(id, (runId, told) => {
    if (ended.has(runId) || !runs.has(runId)) recall(past.root, runId, told);
  });
  byId("log").append(past.root);
  for (const said of [...closed, ...kept.open_events]) event({ ...said, stream: `thread:${id}`, thread_id: id });
  session.follow(`thread:${id}`, kept.cursor);
}

// Show a run of the past with its steps: where its end is shown already, or before all others.
function recall(before, runId, [asked, ...told]) {
  const view = new RunView(runId, showReport, command, fetched);
  const shown = runs.get(runId);
  if (shown) shown.root.replaceWith(view.root);
  else before.after(node("p", asked.payload.text, "said"), view.root);
  runs.set(runId, view);
  for (const said of told) view.take(said);
}

function gone() {
  remember(null);
  clear();
  trouble({ message: "This conversation is no longer there." });
}

// A session that the server has ended may be renewed; else somebody must sign in again.
async function ended({ code }) {
  pending = stopping = null;
  controls();
  if (code !== 4401) {
    trouble({ message: ENDINGS[code] ?? `The server closed the connection (${code}). Reload the page.` });
    return;
  }
  try {
    if (renewed) throw new api.Refused(401, {});
    renewed = true;
    await api.renew();
    session.open();
  } catch (problem) {
    if (problem.status === 401) api.forget();
    show();
  }
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
  session.close();
  await api.signOut();
  remember(null);
  files.clear();
  clear();
  inbox.clear();
  earlier.clear();
  show();
};

byId("fresh").onclick = () => turnTo(null);

// Show another conversation, or an empty page for a new one.
function turnTo(id) {
  if (thread) session.leave(`thread:${thread}`);
  remember(id);
  agents.turn(id === null);
  clear();
  if (id) session.follow(`thread:${id}`);
  byId("question").focus();
}

byId("composer").onsubmit = (submitted) => {
  submitted.preventDefault();
  const text = byId("question").value.trim();
  if (!text || pending) return;
  const long = [...text].length;
  if (long > TEXT_CHARACTERS_MAX) {
    const most = TEXT_CHARACTERS_MAX.toLocaleString("en");
    trouble({ message: `This has ${long.toLocaleString("en")} characters; ${most} is the most. Long data go into a file.` });
    return;
  }
  const payload = { user_request: text, files: files.ready };
  if (thread) payload.thread_id = thread;
  if (agents.asked) payload.agent = agents.asked;
  pending = command("start_agent", payload);
  controls();
};

byId("question").onkeydown = (key) => {
  if (key.key !== "Enter" || key.shiftKey || key.isComposing) return;
  key.preventDefault();
  byId("composer").requestSubmit();
};
byId("question").oninput = grow;

byId("stop").onclick = () => {
  const [working] = openRuns();
  if (working) stopping = command("stop_agent", { run_id: working.runId });
  controls();
};

// Send a command and return its id; `answered` hears what became of it.
function command(type, payload) {
  const id = newId();
  byId("trouble").textContent = "";
  outbox.keep({ id, type, payload });
  session.send(type, payload, id).catch(() => {});
  return id;
}

// After a reload: a question stands in its box again until it is answered.
function sendAgain({ id, type, payload }) {
  session.send(type, payload, id).catch(() => {});
  if (type !== "start_agent") return;
  pending = id;
  byId("question").value = payload.user_request;
  grow();
  controls();
}

// -- small things -----------------------------------------------------------------------------

function showReport(id) {
  openReport(id, trouble);
}

function trouble(problem) {
  byId("trouble").textContent = problem.message;
}

function controls() {
  const open = openRuns();
  open.forEach((view, place) => view.behind(place));
  byId("stop").hidden = !open.length;
  byId("stop").disabled = stopping !== null;
  byId("ask").disabled = pending !== null;
}

// A conversation has one run at a time, in the order of its messages: the first works, others wait.
function openRuns() {
  return [...runs.values()].filter((view) => !view.over);
}

function grow() {
  const box = byId("question");
  box.style.height = "auto";
  box.style.height = `${box.scrollHeight + 2}px`;
}

// The end stays in view until somebody scrolls up. What grows below is no reason to stop.
window.onscroll = () => {
  const isAtEnd = window.innerHeight + window.scrollY >= document.body.scrollHeight - 80;
  following = isAtEnd || (following && window.scrollY >= seen);
  seen = window.scrollY;
};

show();
