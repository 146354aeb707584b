// Calls of the API. A call that finds nobody logged in waits for a login and is made again, so that nothing of a form
// is lost; nothing that changes something is made again by itself for any other reason.

export class ApiError extends Error {
  constructor(status, code, message, body = null) {
    super(message);
    Object.assign(this, { status, code, body });
  }
}

export const session = { name: "", role: "", kind: "", csrf: "", node: "", version: "" };
export const isAdmin = () => session.role === "administrator";

let askForLogin = async () => false;
let tellReachable = () => {};

export function onLogin(ask) { askForLogin = ask; }
export function onReachable(tell) { tellReachable = tell; }

async function send(method, path, { body, type, headers = {}, signal } = {}) {
  const isJson = body !== undefined && type === undefined;
  const head = { "x-csrf-token": session.csrf || "-", accept: "application/json", ...headers };
  if (body !== undefined) head["content-type"] = type ?? "application/json";
  let answer;
  try {
    answer = await fetch(path, { method, headers: head, body: isJson ? JSON.stringify(body) : body, signal, credentials: "same-origin", cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    tellReachable(false);
    const unsure = method === "GET" ? "" : "; whether this was done is not known: look before you do it again";
    throw new ApiError(0, "UNREACHABLE", `the proxy does not answer${unsure}`);
  }
  tellReachable(true);
  return answer;
}

async function told(answer) {
  const text = await answer.text();
  const isJson = (answer.headers.get("content-type") ?? "").startsWith("application/json");
  let body = null;
  try { body = isJson && text ? JSON.parse(text) : text; } catch { body = text; }
  if (answer.ok) return { body, headers: answer.headers, status: answer.status };
  throw new ApiError(answer.status, body?.code ?? String(answer.status), body?.message ?? `the proxy answers ${answer.status}`, body);
}

export async function call(method, path, options = {}) {
  const answer = await send(method, path, options);
  if (answer.status === 401 && (await askForLogin())) return told(await send(method, path, options));
  return told(answer);
}

export const get = async (path, options) => (await call("GET", path, options)).body;

// Who is logged in; false where nobody is.
export async function whoami() {
  const answer = await send("GET", "/dashboard/session");
  if (answer.status === 204) return false;
  Object.assign(session, (await told(answer)).body);
  return true;
}

export async function logIn(username, password) {
  const answer = await send("POST", "/dashboard/session", { body: { username, password } });
  Object.assign(session, (await told(answer)).body);
}

export async function logOut() {
  await told(await send("DELETE", "/dashboard/session"));
}

// A query of what is set.
export function query(values) {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    if (value !== "" && value !== null && value !== undefined) params.append(name, value);
  }
  const text = params.toString();
  return text ? `?${text}` : "";
}
