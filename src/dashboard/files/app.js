// The frame: who is logged in, which view is shown, and the feed that tells every second how it is.

import { ApiError, isAdmin, logIn, logOut, onLogin, onReachable, session, whoami } from "./api.js";
import { byId, button, field, fill, h, toast } from "./dom.js";
import { open } from "./dialog.js";
import { isUtc, setUtc } from "./time.js";
import { overview } from "./overview.js";
import { bans, exemptions } from "./bans.js";
import { refused } from "./refused.js";
import { clients } from "./clients.js";
import { explain, watch } from "./watch.js";
import { settings } from "./settings.js";

const VIEWS = { "": overview, bans, exemptions, refused, clients, watch, explain, settings };
const main = byId("main");

// One view is shown at a time. What it is given ends with it.
let shown = null;

function here() {
  const name = location.pathname.replace(/^\/dashboard\/?/, "");
  return { name, params: new URLSearchParams(location.search) };
}

const address = (name, params) => {
  const text = params ? new URLSearchParams([...new URLSearchParams(params)].filter(([, value]) => value !== "")).toString() : "";
  return `/dashboard/${name}${text ? `?${text}` : ""}`;
};

export function go(name, params, { replace = false, state = null } = {}) {
  history[replace ? "replaceState" : "pushState"](state, "", address(name, params));
  show();
}

function show() {
  const { name, params } = here();
  const view = VIEWS[name];
  if (shown?.name === name && shown.update) {
    shown.params = params;
    shown.update(params);
    return;
  }
  shown?.controller.abort();
  listeners.clear();
  const controller = new AbortController();
  shown = { name, params, controller, update: null };
  const mine = shown;
  drawNav(name);
  document.title = `${view?.title ?? "Not found"} · mqtt-bouncer`;
  if (!view) {
    fill(main, h("div", { class: "empty" }, h("h1", {}, "There is no such page"), h("p", {}, h("a", { href: "/dashboard/" }, "To the overview"))));
    return;
  }
  const context = {
    signal: controller.signal,
    get params() { return mine.params; },
    // Changes what the address says: what is empty is taken out of it.
    set(changes, options) {
      const next = new URLSearchParams(mine.params);
      for (const [key, value] of Object.entries(changes)) {
        if (value === "" || value === null || value === undefined) next.delete(key);
        else next.set(key, value);
      }
      go(name, next, options);
    },
    onUpdate(update) { mine.update = update; },
    onPulse(listener) {
      listeners.add(listener);
      if (latest) listener(latest);
    },
    go,
    isAdmin: isAdmin(),
  };
  fill(main);
  Promise.resolve(view.show(main, context)).catch((error) => {
    if (error.name !== "AbortError") fill(main, h("h1", {}, view.title), h("div", { class: "error", role: "alert" }, error.message));
  });
}

// Links inside of the page load nothing anew.
document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href^='/dashboard']");
  if (!link || event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey || link.target || link.hasAttribute("download")) return;
  const url = new URL(link.href);
  event.preventDefault();
  const isOther = url.pathname !== location.pathname;
  go(url.pathname.replace(/^\/dashboard\/?/, ""), url.searchParams);
  byId("nav").classList.remove("open");
  byId("menu").setAttribute("aria-expanded", "false");
  if (isOther) main.focus();
});
addEventListener("popstate", show);
byId("menu").addEventListener("click", () => {
  const isOpen = byId("nav").classList.toggle("open");
  byId("menu").setAttribute("aria-expanded", String(isOpen));
});

// One letter after "g" goes to a view; "/" goes to the first field of a list.
let before = "";
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]") || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
  const letters = { o: "", b: "bans", x: "exemptions", r: "refused", c: "clients", w: "watch", e: "explain", s: "settings" };
  if (before === "g" && event.key in letters) {
    go(letters[event.key]);
    main.focus();
  } else if (event.key === "/") {
    const search = main.querySelector("input[type=search]");
    if (search) { event.preventDefault(); search.focus(); }
  }
  before = event.key;
});

function drawNav(current) {
  const link = ([name, view]) =>
    h("a", { href: address(name), "aria-current": name === current ? "page" : null }, view.title);
  fill(byId("nav"), Object.entries(VIEWS).map(link));
}

// The feed. It is closed while nobody looks at the page, and tried again for as long as it takes.
const listeners = new Set();
let latest = null, feed = null, retry = null;
const live = h("span", { class: "live", role: "status" }, "not connected");

function setLive(isOn, text) {
  live.classList.toggle("on", isOn);
  if (live.textContent !== text) fill(live, text);
}

function listen() {
  clearTimeout(retry);
  feed?.close();
  feed = null;
  if (document.hidden || !session.role) return;
  feed = new EventSource("/dashboard/feed");
  feed.addEventListener("pulse", (event) => {
    tell(true);
    setLive(true, "live");
    const pulse = JSON.parse(event.data);
    if (latest && pulse.started_at !== latest.started_at) toast("The proxy was started anew.");
    latest = pulse;
    for (const listener of listeners) listener(pulse);
  });
  feed.addEventListener("error", () => {
    setLive(false, "connecting…");
    feed.close();
    // Whether it is the proxy that is gone or the login, a call finds out.
    retry = setTimeout(async () => {
      try {
        if (await whoami()) listen();
        else if (await ask()) listen();
      } catch { retry = setTimeout(listen, 2000); }
    }, 1000);
  });
}
document.addEventListener("visibilitychange", listen);

function tell(isReachable) {
  const text = isReachable ? "" : "The proxy does not answer. What is shown is old; this page goes on trying.";
  if (byId("banner").textContent !== text) fill(byId("banner"), text);
  if (!isReachable) setLive(false, "not connected");
}
onReachable(tell);

function loginForm(done) {
  const name = h("input", { autocomplete: "username", required: true, autofocus: true, value: session.name });
  const password = h("input", { type: "password", autocomplete: "current-password", required: true });
  const error = h("div", { class: "error", role: "alert" });
  const submit = h("button", { type: "submit", class: "main" }, "Log in");
  const onsubmit = async (event) => {
    event.preventDefault();
    submit.disabled = true;
    fill(error);
    try {
      await logIn(name.value, password.value);
      done();
    } catch (problem) {
      fill(error, problem instanceof ApiError && problem.status === 401 ? "This user name and password do not go together." : problem.message);
      password.value = "";
      password.focus();
    } finally { submit.disabled = false; }
  };
  return h("form", { onsubmit }, field("User name", name), field("Password", password), error, h("div", { class: "ends" }, submit));
}

// Asks for a login over whatever is shown, which stays as it is.
let asking = null;
function ask() {
  if (!session.name && !shown) return false;
  asking ??= (async () => {
    const was = `${session.name} ${session.role}`;
    const done = await open("Log in again", (close) => [
      h("p", {}, "The login has ended, by time or because the proxy was started anew. What you have typed is still here."),
      loginForm(() => close(true)),
    ]);
    asking = null;
    if (done) {
      drawTools();
      listen();
      if (was !== `${session.name} ${session.role}`) toast(`Logged in as ${session.name}, ${session.role}.`);
    }
    return Boolean(done);
  })();
  return asking;
}
onLogin(ask);

function drawTools() {
  const root = document.documentElement;
  const isDark = () => (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const theme = button(isDark() ? "Light" : "Dark", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try { localStorage.setItem("theme", root.dataset.theme); } catch { /* For this page alone, then. */ }
    fill(theme, isDark() ? "Light" : "Dark");
  }, "quiet", { title: "Switch between light and dark" });
  const times = button(isUtc() ? "UTC" : "Local time", () => {
    setUtc(!isUtc());
    fill(times, isUtc() ? "UTC" : "Local time");
    if (shown) shown.update = null;
    if (shown) shown.name = null;
    show();
  }, "quiet", { title: "Switch between local time and UTC", "aria-pressed": null });
  const out = async () => {
    try { await logOut(); } catch { /* Whoever is not logged in any more is out as well. */ }
    location.assign("/dashboard/");
  };
  const who = session.kind === "user" ? [h("span", { class: "live-user" }, `${session.name} (${session.role})`), button("Log out", out, "quiet")] : h("span", {}, session.role);
  fill(byId("tools"), live, times, theme, who);
  fill(byId("node"), session.node === "mqtt-bouncer" ? "" : session.node);
}

function begin() {
  drawTools();
  show();
  listen();
}

async function start() {
  let isIn = false;
  try {
    isIn = await whoami();
  } catch (error) {
    fill(main, h("div", { class: "empty" }, h("h1", {}, "Nobody answers"), h("p", {}, error.message), button("Try again", () => location.reload())));
    return;
  }
  if (isIn) return begin();
  document.title = "Log in · mqtt-bouncer";
  fill(main, h("div", { class: "card login" }, h("h1", {}, "Log in"), h("p", { class: "hint" }, "With a user of the API. The log of the proxy's first start has the password of admin; mqtt-bouncer users passwd sets a new one."), loginForm(begin)));
  main.querySelector("input").focus();
}

start();
