// The form of a ban or an exemption: made, or changed with an eye on what others change meanwhile.

import { ApiError, call, get, isAdmin, query, session } from "./api.js";
import { button, debounce, field, fill, h, select, toast } from "./dom.js";
import { form } from "./dialog.js";
import { plural, shown } from "./text.js";
import { forApi, forInput, moment } from "./time.js";

export const KINDS = [
  ["clientid", "Client identifier"], ["username", "User name"], ["peerhost", "Address"], ["peerhost_net", "Network"],
  ["clientid_re", "Client identifiers (pattern)"], ["username_re", "User names (pattern)"], ["peerhost_re", "Addresses (pattern)"],
  ["cert_cn", "Certificate (common name)"], ["cert_sha256", "Certificate (SHA-256)"], ["tls_ja4", "TLS fingerprint (JA4)"],
];
const HINTS = {
  clientid: "sensor-17", username: "alice", peerhost: "203.0.113.7", peerhost_net: "203.0.113.0/24 or 2001:db8::/48",
  clientid_re: "^bot-[0-9]+$", username_re: "^guest", peerhost_re: "^10\\.0\\.", cert_cn: "device-4711", cert_sha256: "64 hexadecimal digits", tls_ja4: "t13d1516h2_8daaf6152771_02713d6af862",
};
export const SHORTCUTS = [["5 min", 300], ["1 h", 3600], ["1 d", 86400], ["7 d", 604800], ["30 d", 2592000], ["Never", 0]];

// When it ends: shortcuts, or a moment of one's own.
function ending(until) {
  const isNever = until === "infinity";
  const input = h("input", { type: "datetime-local", value: isNever ? "" : forInput(new Date(until)) });
  const note = h("p", { class: "hint", "aria-live": "polite" });
  let chosen = until;
  const show = () => fill(note, chosen === "infinity" ? "It never ends by itself." : ["Ends ", moment(chosen)]);
  const buttons = SHORTCUTS.map(([label, seconds]) => button(label, () => {
    chosen = seconds ? forApi(new Date(Date.now() + seconds * 1000)) : "infinity";
    input.value = seconds ? forInput(new Date(chosen)) : "";
    show();
  }, "small"));
  input.addEventListener("input", () => {
    chosen = input.value ? forApi(new Date(input.value)) : "infinity";
    show();
  });
  show();
  const box = h("fieldset", { class: "field" }, h("legend", {}, "Ends"), h("div", { class: "row" }, buttons), field("At (local time)", input), note);
  return { box, get value() { return chosen; } };
}

// Says while somebody types whether it can be, and whom it would be about.
function preview(list, kind, who, matching) {
  const box = h("div", { class: "hint", "aria-live": "polite", id: "preview" });
  let turn = 0;
  const look = async () => {
    const mine = ++turn;
    if (!who.value) { fill(box, "Type a name to see whom it would be about."); who.setCustomValidity(""); return; }
    try {
      const body = { as: kind.value, who: who.value, ...(matching.value && kind.value.endsWith("_re") ? { match: matching.value } : {}) };
      const { body: told } = await call("POST", `/api/v5/${list}/preview`, { body });
      if (mine !== turn) return;
      const some = told.sample.slice(0, 5).flatMap((id, index) => [index ? ", " : "", shown(id, 32)]);
      const exempt = told.exempt ? `, ${told.exempt} of them exempt` : "";
      fill(box, h("strong", {}, `Would match ${told.matches.toLocaleString()} of the ${plural(told.inside, "client")} inside now${exempt}`), told.matches ? [": ", some, told.matches > 5 ? ", …" : ""] : ".",
        told.complete ? null : " (there was no time to look at all of them)", told.who === who.value ? null : [" Written ", shown(told.who), "."],
        told.exists ? " It is on the list already." : null);
      who.removeAttribute("aria-invalid");
    } catch (error) {
      if (mine !== turn) return;
      fill(box, h("span", { class: "error" }, error.message));
      if (error.status === 400) who.setAttribute("aria-invalid", "true");
    }
  };
  return { box, look: debounce(look, 250) };
}

const pathOf = (list, row) => `/api/v5/${list}/${row.as}/${encodeURIComponent(row.who)}`;
// A longer name has no room in a path.
const fits = (row) => pathOf("exemptions", row).length < 16_000;

async function latest(list, row) {
  if (!fits(row)) return { row, tag: null };
  const { body, headers } = await call("GET", pathOf(list, row));
  return { row: body, tag: headers.get("etag") };
}

// Opens the form: of `row` to change it, of `draft` to make one. Resolves true when something was saved.
export async function editBan({ list, row = null, draft = {} }) {
  const what = list === "banned" ? "ban" : "exemption";
  let tag = null, was = draft;
  if (row) {
    try {
      ({ row: was, tag } = await latest(list, row));
    } catch (error) {
      toast(error.status === 404 ? `Somebody has removed this ${what} meanwhile.` : error.message);
      return error.status === 404;
    }
  }
  const kind = select(KINDS, was.as ?? "clientid", { disabled: Boolean(row) });
  const who = h("input", { value: was.who ?? "", required: true, disabled: Boolean(row), spellcheck: "false", autocomplete: "off", autofocus: !row && !was.who, "aria-describedby": "preview" });
  const matching = select([["search", "any part of the name"], ["full", "the whole name"]], was.match ?? "search");
  const reason = h("input", { value: was.reason ?? "", maxlength: 4000, autofocus: Boolean(row || was.who) });
  const ends = ending(was.until ?? "infinity");
  const live = row ? null : preview(list, kind, who, matching);
  const matchField = field("Has to match", matching);
  const adapt = () => {
    matchField.hidden = !kind.value.endsWith("_re");
    who.placeholder = HINTS[kind.value] ?? "";
    live?.look();
  };
  for (const control of [kind, who, matching]) control.addEventListener("input", adapt);
  adapt();
  const clash = h("div");

  const save = async () => {
    const body = { reason: reason.value, until: ends.value };
    if (kind.value.endsWith("_re")) body.match = matching.value;
    if (!row) {
      try {
        await call("POST", `/api/v5/${list}`, { body: { ...body, as: kind.value, who: who.value, by: session.name || "dashboard" } });
      } catch (error) {
        if (error.code !== "ALREADY_EXISTS") throw error;
        throw new Error(`There is such a ${what} already, ${told(error.message)}. Close this and edit that one.`);
      }
      toast(`The ${what} holds.`);
      return true;
    }
    if (!fits(was)) {
      await call("POST", `/api/v5/${list}/bulk?mode=put`, { body: [{ ...body, as: was.as, who: was.who, by: was.by, at: was.at }] });
    } else {
      try {
        await call("PATCH", pathOf(list, was), { body, headers: tag ? { "if-match": tag } : {} });
      } catch (error) {
        if (error.status === 404) throw new Error(`Somebody has removed this ${what} meanwhile. What you have typed is still here.`);
        if (!(error instanceof ApiError) || error.status !== 412) throw error;
        const now = await latest(list, was);
        tag = now.tag;
        fill(clash, h("div", { class: "error", role: "alert" }, h("p", {}, `Somebody else has changed this ${what} while this form was open. Nothing was saved. It says now:`),
          h("dl", { class: "facts" }, h("dt", {}, "Reason"), h("dd", {}, shown(now.row.reason)), h("dt", {}, "Ends"), h("dd", {}, moment(now.row.until)), h("dt", {}, "By"), h("dd", {}, shown(now.row.by))),
          h("p", {}, "Save once more to put yours in its place, or cancel to leave it.")));
        return false;
      }
    }
    toast(`The ${what} is changed.`);
    return true;
  };
  const title = row ? `Edit ${what}` : list === "banned" ? "Ban" : "Exempt";
  const done = await form(title, [
    field("Kind", kind), field(row ? "Whom" : "Whom", row ? [who] : who), matchField, live?.box, field("Reason", reason), ends.box, clash,
  ], row ? "Save" : title, save, { onclose: () => live?.look.stop() });
  return Boolean(done);
}

function told(message) {
  try {
    const { by, until } = JSON.parse(message);
    return `by ${by}, until ${until}`;
  } catch { return "as the list shows"; }
}

// Makes a ban longer, from now or from its end.
export async function extend(list, rows) {
  const time = select([["5m", "5 minutes"], ["1h", "1 hour"], ["1d", "1 day"], ["7d", "7 days"], ["30d", "30 days"]], "1d");
  const log = h("div");
  const done = await form(rows.length === 1 ? "Extend" : `Extend ${rows.length}`, [field("By", time), log], "Extend", async () => {
    const failed = [];
    for (const row of rows) {
      try {
        await call("PATCH", pathOf(list, row), { body: { extend: time.value } });
      } catch (error) {
        if (error.status === 0) throw error;
        failed.push(h("li", {}, shown(row.who, 40), `: ${error.message}`));
      }
    }
    toast(`${plural(rows.length - failed.length, "end")} moved.`);
    if (!failed.length) return true;
    fill(log, h("div", { class: "error", role: "alert" }, h("ul", {}, failed)));
    rows = [];
    return false;
  });
  return Boolean(done) || log.childNodes.length > 0;
}

export { get, isAdmin, query };
