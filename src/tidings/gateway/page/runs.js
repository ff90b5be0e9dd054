// A run as it is shown: agents nested, tools with arguments and durations, the answer as written.

import { markdown } from "./markdown.js";
import { node } from "./nodes.js";
import { approval, question, settle } from "./questions.js";
import { whole } from "./results.js";
import { values } from "./values.js";

export class RunView {
  // `openReport(id)` shows a report; `send(type, payload)` carries a command; `fetched(path)` brings
  // what the server has there.
  constructor(runId, openReport, send, fetched) {
    this.runId = runId;
    this.openReport = openReport;
    this.send = send;
    this.fetched = fetched;
    this.asked = new Map();
    this.over = false;
    this.agents = new Map();
    this.tools = new Map();
    this.message = null;
    this.earlier = new Map();
    this.text = "";
    this.isTyped = false;
    this.painting = 0;
    this.status = node("strong", "Waiting");
    this.status.role = "status";
    this.thought = node("span", "", "quiet");
    this.bar = node("progress");
    this.bar.ariaLabel = "Progress";
    this.bar.max = 1;
    this.bar.value = 0;
    this.steps = node("details", "", "steps");
    this.steps.open = true;
    this.steps.append(node("summary", "Steps"));
    this.answer = node("div", "", "answer");
    this.end = node("div", "", "end");
    this.root = node("article", "", "run");
    const head = node("div", "", "head");
    this.unask = node("button", "Take back", "unask");
    this.unask.type = "button";
    this.unask.hidden = true;
    this.unask.onclick = () => this.send("stop_agent", { run_id: this.runId });
    head.append(this.status, this.thought, this.unask);
    this.questions = node("div", "", "questions");
    this.questions.ariaLive = "polite";
    this.root.append(head, this.end, this.bar, this.steps, this.questions, this.answer);
  }

  take({ type, agent, payload, timestamp }) {
    this[type]?.(payload, agent, timestamp);
  }

  // So many runs of the conversation come before it: it can be taken back, and they go on.
  behind(place) {
    this.unask.hidden = place === 0;
  }

  agent_started(payload, agent) {
    this.status.textContent = "Working";
    const group = this.group(agent, this.steps, payload.task_description);
    const plan = node("ol", "", "plan");
    plan.append(...(payload.plan ?? []).map((step) => node("li", step)));
    if (plan.children.length) group.append(plan);
  }

  subagent_started(payload, agent) {
    const parent = this.agents.get(payload.parent) ?? this.steps;
    this.group(agent, parent, payload.task_description);
  }

  subagent_completed(payload, agent) {
    const group = this.inside(agent);
    group.classList.add(payload.ok === false ? "failed" : "done");
    if (payload.summary) group.append(node("p", payload.summary, payload.ok === false ? "bad" : ""));
  }

  agent_thinking(payload, agent) {
    this.thought.textContent = payload.reasoning ?? "";
    if (typeof payload.progress === "number") this.bar.value = Math.max(this.bar.value, payload.progress);
    this.inside(agent).append(node("p", payload.reasoning ?? "", "quiet"));
  }

  tool_executing(payload, agent) {
    const box = node("details", "", "tool busy");
    const line = node("summary");
    const mark = node("span", "●", "mark");
    const after = node("span", payload.purpose ? ` ${payload.purpose}` : "", "quiet");
    line.append(mark, node("code", payload.tool), after);
    box.append(line, node("pre", JSON.stringify(payload.arguments ?? {}, null, 2)));
    this.tools.set(payload.call_id, { box, mark, after });
    this.inside(agent).append(box);
  }

  tool_completed(payload) {
    const tool = this.tools.get(payload.call_id);
    if (!tool) return;
    tool.box.classList.remove("busy");
    tool.box.classList.toggle("bad", payload.ok === false);
    tool.mark.textContent = payload.ok === false ? "✕" : "✓";
    tool.after.textContent = ` ${spent(payload.duration_ms)}`;
    const said = payload.summary || payload.error?.message;
    if (said) tool.box.firstChild.append(node("span", ` ${said}`));
    const stored = payload.result?.stored;
    if (stored) tool.box.append(whole(payload.call_id, stored, this.fetched));
  }

  input_required(payload) {
    this.ask(payload.request_id, question(this.runId, payload, this.send));
  }

  approval_required(payload) {
    this.ask(payload.call_id, approval(this.runId, payload, this.send));
  }

  request_settled(payload) {
    const box = this.asked.get(payload.request_id);
    const { outcome, value } = payload;
    if (box && outcome === "answered" && typeof value === "object") settle(box, "answered", value);
    else if (box) settle(box, outcome === "answered" ? `answered: ${JSON.stringify(value)}` : outcome);
    this.asked.delete(payload.request_id);
    this.waiting();
  }

  ask(id, box) {
    this.asked.set(id, box);
    this.thought.textContent = "";
    this.questions.append(box);
    this.waiting();
  }

  // The run goes on when the last of what it asks is answered.
  waiting() {
    const open = this.asked.size;
    const many = open > 1 ? `: ${open} questions` : "";
    this.status.textContent = open ? `Waiting for you${many}` : "Working";
  }

  notice(payload, agent) {
    const where = this.agents.size ? this.inside(agent) : this.steps;
    where.append(node("p", payload.message ?? payload.code, "notice"));
  }

  // An attempt after a crash writes its own message: the newest counts, the others are kept.
  answer_delta(payload) {
    if (payload.message_id !== this.message) {
      if (this.text) this.earlier.set(this.message, this.text);
      this.text = "";
    }
    this.message = payload.message_id;
    this.text += payload.text;
    this.painting ||= requestAnimationFrame(() => this.paint());
  }

  agent_completed(payload) {
    this.finish(payload.status === "degraded" ? "Done, with limits" : "Done");
    const shown = this.text;
    this.text = payload.answer ?? this.text;
    this.isTyped = payload.output !== undefined;
    if (payload.incomplete?.includes(this.message)) this.earlier.set(this.message, shown);
    this.cutOff(payload.incomplete);
    this.paint();
    for (const { message } of payload.reasons ?? []) this.end.append(node("p", message, "notice"));
    if (payload.report_id) {
      const open = node("button", "Open the report");
      open.type = "button";
      open.onclick = () => this.openReport(payload.report_id);
      this.end.append(open);
    }
    const score = payload.quality?.score;
    if (typeof score === "number") this.end.append(node("span", `quality ${score.toFixed(2)}`, "quiet"));
  }

  agent_failed(payload) {
    this.finish("Failed");
    this.partial(payload);
    this.end.append(node("span", payload.message ?? payload.code, "bad"));
  }

  agent_cancelled(payload) {
    this.finish("Stopped");
    this.partial(payload);
    if (payload.message) this.end.append(node("span", payload.message, "notice"));
  }

  // What there was of an answer, marked as such; also after a reload.
  partial(payload) {
    this.text = payload.partial_answer ?? this.text;
    this.paint();
    this.cutOff(payload.incomplete);
    if (this.text) this.answer.prepend(node("p", "Cut off: this answer is incomplete.", "notice cut"));
  }

  // Text that was shown before another took its place.
  cutOff(messages = []) {
    for (const text of messages.map((id) => this.earlier.get(id)).filter(Boolean)) {
      const box = node("details", "", "cut");
      box.append(node("summary", "A text that was cut off: incomplete", "notice"), markdown(text));
      this.end.after(box);
    }
  }

  finish(word) {
    this.over = true;
    this.status.textContent = word;
    this.thought.textContent = "";
    this.bar.hidden = this.unask.hidden = true;
    this.steps.open = false;
    for (const { box } of this.tools.values()) box.classList.remove("busy");
    for (const box of this.asked.values()) settle(box, "no longer asked");
    this.asked.clear();
  }

  paint() {
    cancelAnimationFrame(this.painting);
    this.painting = 0;
    this.answer.replaceChildren((this.isTyped && values(this.text)) || markdown(this.text));
  }

  group(agent, parent, task) {
    const group = node("div", "", "agent");
    const title = node("p");
    title.append(node("span", (agent ?? "agent").replaceAll("_", " "), "name"));
    if (task) title.append(node("span", ` — ${task}`, "quiet"));
    group.append(title);
    parent.append(group);
    this.agents.set(agent, group);
    return group;
  }

  inside(agent) {
    return this.agents.get(agent) ?? this.agents.values().next().value ?? this.steps;
  }
}

function spent(ms) {
  if (typeof ms !== "number") return "";
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}
