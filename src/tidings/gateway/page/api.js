// HTTP: who is signed in, and requests that renew their token by themselves.

const KEPT = "tidings.session";
let held = JSON.parse(sessionStorage.getItem(KEPT) ?? "null");
let renewing = null;

export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail ?? "The server did not answer.");
    this.status = status;
    this.code = problem.code ?? "unavailable";
  }
}

export const signedIn = () => held !== null;

export async function signIn(username, password) {
  hold(await send("POST", "/api/login", { username, password }));
}

export async function signOut() {
  const leaving = request("POST", "/api/logout").catch(() => {});
  await leaving;
  hold(null);
}

export function forget() {
  hold(null);
}

// One renewal at a time: a refresh token is good once.
export function renew() {
  renewing ??= send("POST", "/api/refresh", { refresh_token: held?.refresh_token ?? "" })
    .then(hold)
    .catch((refused) => {
      if (refused.status === 401) hold(null);
      throw refused;
    })
    .finally(() => { renewing = null; });
  return renewing;
}

export async function request(method, path, body) {
  if (renewing) await renewing;
  try {
    return await send(method, path, body, held?.access_token);
  } catch (refused) {
    if (refused.code !== "token_invalid" || !held) throw refused;
    await renew();
    return send(method, path, body, held.access_token);
  }
}

export const accessToken = () => held?.access_token;

export async function text(path) {
  return (await request("GET", path, undefined)).text;
}

function hold(credentials) {
  held = credentials;
  if (credentials) sessionStorage.setItem(KEPT, JSON.stringify(credentials));
  else sessionStorage.removeItem(KEPT);
}

async function send(method, path, body, token) {
  const headers = token ? { authorization: `Bearer ${token}` } : {};
  if (body !== undefined && !(body instanceof FormData)) {
    headers["content-type"] = "application/json";
    body = JSON.stringify(body);
  }
  let answer;
  try {
    answer = await fetch(path, { method, headers, body, cache: "no-store", credentials: "omit" });
  } catch {
    throw new Refused(0, { detail: "The server cannot be reached." });
  }
  if (answer.status === 204) return null;
  const type = answer.headers.get("content-type") ?? "";
  if (!answer.ok) throw new Refused(answer.status, type.includes("json") ? await answer.json() : {});
  return type.startsWith("application/json") && !path.startsWith("/api/reports/")
    ? answer.json()
    : { text: await answer.text() };
}
