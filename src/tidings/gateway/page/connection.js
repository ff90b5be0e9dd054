// The page's connection: tickets for credentials, and a device that is this tab.

import * as api from "./api.js";
import { Session, newId } from "./client/index.js";

const DEVICE = "tidings.device";

export function connect(on) {
  const url = `${location.origin.replace(/^http/, "ws")}/ws`;
  return new Session({ url, device: device(), credentials, on });
}

// A fresh ticket for every connection; null when nobody is signed in any more.
async function credentials() {
  try {
    const { ticket } = await api.request("POST", "/api/ws-ticket");
    return { ticket };
  } catch (refused) {
    if (refused.status === 401) return null;
    throw refused;
  }
}

// A tab keeps its name when it is loaded again. A copy of a tab has the storage of the other, and
// would end the other's connection under its name: it gets its own.
function device() {
  const [loaded] = performance.getEntriesByType("navigation");
  const kept = loaded?.type === "reload" ? sessionStorage.getItem(DEVICE) : null;
  const name = kept ?? `d_${newId()}`;
  sessionStorage.setItem(DEVICE, name);
  return name;
}
