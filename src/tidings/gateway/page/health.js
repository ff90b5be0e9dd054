// The health of the server, for administrators: looked at again every few seconds while one looks.

import * as api from "./api.js";
import { node } from "./nodes.js";

const LOOK_MS = 3_000;
const STATES = { ok: "All is well", degraded: "Degraded", down: "Down" };
const BREAKERS = {
  closed: ["ok", "in use"],
  half_open: ["degraded", "tried again"],
  open: ["down", "rests"],
};
const NODES = { up: "ok", stopping: "degraded", gone: "down" };
const SERVERS = { up: "ok", starting: "degraded", down: "down" };
const REFUSALS = {
  401: "Sign in with the conversations first.",
  403: "This is for administrators of this server.",
};
const byId = (id) => document.getElementById(id);
let looking = false;

async function look() {
  if (looking || document.hidden) return;
  looking = true;
  try {
    if (!api.signedIn()) throw new api.Refused(401, {});
    show(await api.request("GET", "/api/health"));
  } catch (refused) {
    aside(REFUSALS[refused.status] ?? refused.message, refused.status in REFUSALS);
  }
  looking = false;
}

// What was seen last stays, dimmed, while the server does not answer; it goes when one may not look.
function aside(text, isRefused) {
  byId("aside").textContent = text;
  byId("aside").hidden = false;
  document.body.classList.add("stale");
  if (!isRefused) return;
  byId("whole").hidden = true;
  byId("sections").replaceChildren();
}

function show(health) {
  document.body.classList.remove("stale");
  byId("aside").hidden = true;
  byId("whole").hidden = false;
  if (byId("state").textContent !== STATES[health.state]) byId("state").textContent = STATES[health.state];
  byId("state").className = health.state;
  byId("meaning").textContent = health.state === "ok" ? "" : health.meaning;
  byId("looked").textContent = new Date(health.looked_at * 1000).toLocaleTimeString();
  byId("concerns").replaceChildren(...health.concerns.map(concern));
  byId("sections").replaceChildren(...cards(health).filter(Boolean));
}

function concern({ code, state, detail, users }) {
  const item = node("li", "", state);
  item.append(node("strong", code.replaceAll("_", " ")), node("p", detail));
  item.append(node("p", users ? `Users: ${users}` : "Users notice nothing.", "quiet"));
  return item;
}

function cards({ sections, version, up_seconds, looked_at }) {
  const { nodes, tiers, queue, loop, models, agents, tools, tool_servers, parts, checks, spending } = sections;
  return [
    nodes.length > 0 && card("Nodes", nodes.map((one) => nodeRow(one, looked_at, version))),
    card("Data", tiers.map(tier)),
    card("Runs", [
      row("Worked on", queue.running),
      row("Waiting for room", `${queue.ready} of ${queue.queued} queued`),
      row("Waiting for a person", queue.waiting),
      row("One more would wait", seconds(queue.wait_seconds), queue.overload ? "degraded" : ""),
      row("Refused since the start", queue.shed),
    ]),
    card("Models", models.map(({ name, breaker, under_way, fault }) => {
      const [state, word] = BREAKERS[breaker];
      return row(name, [word, under_way ? `${under_way} under way` : "", fault], state);
    })),
    card("Agents, in the last five minutes", agents.map(({ name, well, ended, failed, users }) =>
      row(name, ended ? `${failed} of ${ended} failed${failed ? `, for ${plural(users, "user")}` : ""}` : "no runs", well ? "ok" : "down"))),
    card("Tools", toolRows(tools)),
    tool_servers.length > 0 && card("Tool servers", tool_servers.map(toolServer)),
    card("Parts of the server", parts.map(({ name, restarts, crashed_seconds }) =>
      row(name, restarts ? `begun again ${plural(restarts, "time")}, last ${seconds(crashed_seconds)} ago` : "", restarts ? "degraded" : "ok"))),
    card("This process", [
      row("Connections", sections.connections),
      row("Event loop late by", `${seconds(loop.lag_seconds)}, at most ${seconds(loop.lag_seconds_max)}`),
      row("Stood still", loop.blocks ? `${plural(loop.blocks, "time")}, last at ${loop.last_block}` : "never"),
      row("Outbox late by", seconds(sections.outbox_lag_seconds)),
      row("Clock ahead by", `${Math.round(sections.clock_ahead_seconds * 10) / 10} s`),
      row("Version", version),
      row("Up for", seconds(up_seconds)),
    ]),
    card("Checks", checks.map(({ name, ok, detail }) => row(name, detail, ok ? "ok" : "down"))),
    spending && card(`Spent on ${spending.day}`, [
      row("Users", spending.users),
      row("Tokens", spending.tokens.toLocaleString()),
      row("Dollars", spending.usd.toFixed(2)),
      row("Steps", spending.steps.toLocaleString()),
    ]),
  ];
}

// One that is up and not well shows so; what is away there is among its concerns.
function nodeRow({ name, role, is_this, state, version, heard_at, room, running, connections, concerns }, now, own) {
  const facts = [is_this ? `${role}, this one` : role];
  const age = Math.max(0, Math.round(now - heard_at));
  if (state === "gone") return row(name, [...facts, `gone, heard ${age < 120 ? `${age} s` : seconds(age)} ago`], NODES[state]);
  if (state !== "up") facts.push(state);
  facts.push(`heard ${age} s ago`);
  if (room > 0) facts.push(`${running} of ${room} runs`);
  if (role !== "worker") facts.push(plural(connections, "connection"));
  if (version !== own) facts.push(`version ${version}`);
  facts.push(...concerns.map(({ code }) => code.replaceAll("_", " ")));
  return row(name, facts, state === "up" && concerns.length > 0 ? "degraded" : NODES[state]);
}

function tier({ name, state, detail, latency_seconds, lag_seconds, meaning }) {
  const facts = [detail];
  if (latency_seconds !== null) facts.push(seconds(latency_seconds));
  if (lag_seconds !== null) facts.push(`${seconds(lag_seconds)} behind`);
  if (state !== "ok") facts.push(meaning);
  return row(name, facts, state);
}

// Nearly all of them are well nearly always: those are counted, the others shown.
function toolRows(tools) {
  const troubled = tools.filter(({ resting_users, trying_users }) => resting_users + trying_users > 0);
  const rows = troubled.map(({ name, resting_users, trying_users }) =>
    row(name, `rests for ${plural(resting_users, "user")}, tried again for ${trying_users}`, "degraded"));
  return [...rows, row(plural(tools.length - troubled.length, "tool"), "in use", "ok")];
}

function toolServer({ name, state, fault, tools, changed, restarts }) {
  const facts = [`${plural(tools.length, "tool")} accepted`, fault];
  if (changed.length) facts.push(`changed, not called: ${changed.join(", ")}`);
  if (restarts) facts.push(`begun again ${plural(restarts, "time")}`);
  return row(name, facts, changed.length && state === "up" ? "degraded" : SERVERS[state]);
}

function card(title, rows) {
  const table = node("table");
  table.append(...rows);
  const made = node("section", "", "card");
  made.append(node("h3", title), table);
  return made;
}

function row(name, facts, state = "") {
  const made = node("tr");
  const head = node("th", name, state && `mark ${state}`);
  head.scope = "row";
  made.append(head, node("td", [facts].flat().filter((fact) => fact || fact === 0).join(" · ")));
  return made;
}

function seconds(value) {
  if (value <= 0) return "0 s";
  if (value < 0.001) return "under 1 ms";
  if (value < 1) return `${Math.ceil(value * 1000)} ms`;
  if (value < 120) return `${value.toFixed(value < 10 ? 1 : 0)} s`;
  if (value < 7200) return `${Math.round(value / 60)} min`;
  return value < 172_800 ? `${Math.round(value / 3600)} h` : `${Math.round(value / 86_400)} days`;
}

const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

document.onvisibilitychange = look;
setInterval(look, LOOK_MS);
look();
