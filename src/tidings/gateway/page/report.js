// A report over the page, in a frame that may neither run nor fetch anything; and its files.

import * as api from "./api.js";
import { node, save } from "./nodes.js";

const byId = (id) => document.getElementById(id);
// The one place where text becomes markup.
const boxed = window.trustedTypes?.createPolicy("report", { createHTML: (html) => html }) ?? {
  createHTML: (html) => html,
};

// Show a report; `trouble(problem)` hears why it cannot be shown or saved.
export async function openReport(id, trouble) {
  const address = `/api/reports/${encodeURIComponent(id)}`;
  shown("");
  byId("saves").replaceChildren(...["html", "md", "json"].map((format) => {
    const keep = node("button", `Save ${format}`);
    keep.type = "button";
    keep.onclick = () => saveReport(address, id, format).catch(trouble);
    return keep;
  }));
  byId("report").showModal();
  try {
    shown(await api.text(`${address}?format=html`));
  } catch (problem) {
    byId("report").close();
    trouble(problem);
  }
}

// A frame without a report is a white sheet, also in the dark: until there is one it is not shown.
function shown(html) {
  byId("report-wait").hidden = html !== "";
  byId("report-frame").srcdoc = boxed.createHTML(html);
}

async function saveReport(address, id, format) {
  save([await api.text(`${address}?format=${format}`)], `${id}.${format}`);
}

byId("close-report").onclick = () => byId("report").close();
