// What detection sees: who is near a limit, what was found and why; and why somebody is let in or refused.

import { call, get } from "./api.js";
import { button, chip, empty, field, fill, h, select } from "./dom.js";
import { ban, exempt, lift } from "./actions.js";
import { refresh, table } from "./table.js";
import { count, isCut, plain, plural, shown } from "./text.js";
import { moment, span } from "./time.js";
import { whatIf } from "./whatif.js";

const EVENTS = { ban: ["banned", "bad"], would_ban: ["would be banned (shadow)", "warn"], hush: ["not answered any more", "bad"], would_hush: ["would not be answered (shadow)", "warn"], duplicates: ["several clients, one identifier", "warn"] };
const words = (text) => text.replaceAll("_", " ");

function evidence(told) {
  if (!told || typeof told !== "object") return "–";
  const list = (name, items) => (items?.length ? [h("dt", {}, name), h("dd", {}, items.map((item, index) => [index ? ", " : "", shown(String(item), 48)]))] : null);
  const blame = told.blame ? Object.entries(told.blame).filter(([, n]) => n > 0).map(([who, n]) => `${who} ${n}`).join(", ") : "";
  return h("details", {}, h("summary", {}, told.limit ? `${told.count} of ${told.limit} in ${span(told.window_seconds)}` : told.count ? plural(told.count, "time") : "evidence"),
    h("dl", { class: "facts" }, list("Addresses", told.addresses), list("Clients", told.client_ids),
      blame ? [h("dt", {}, "Whose fault"), h("dd", {}, blame)] : null, told.residents ? [h("dt", {}, "Residents"), h("dd", {}, count(told.residents))] : null));
}

export const watch = {
  title: "Detection",
  async show(main, context) {
    const near = h("div"), effects = h("div"), found = h("div");
    const pick = select([["", "all"]], "", { onchange: () => context.set({ detector: pick.value }) });
    const event = select([["", "all"], ...Object.entries(EVENTS).map(([key, [label]]) => [key, label])], context.params.get("event") ?? "", { onchange: () => context.set({ event: event.value }) });
    fill(main, h("div", { class: "head" }, h("h1", {}, "Detection")),
      h("section", { class: "card" }, h("h2", {}, "Near a limit now"), near),
      h("section", { class: "card" }, h("h2", {}, "With these limits, within the last hour"), effects),
      whatIf(context),
      h("section", { class: "card" }, h("h2", {}, "Found"), h("div", { class: "filters" }, h("label", {}, "Detector", pick), h("label", {}, "What", event)), found));
    const again = () => load().catch((error) => { if (error.name !== "AbortError" && error.status !== 0) fill(found, h("div", { class: "error", role: "alert" }, error.message)); });
    const done = async (work) => { if (await work) again(); };
    const buttons = (row) => {
      if (isCut(row.who)) return h("span", { class: "more" }, "the name is too long to act on here");
      const label = (what) => ({ "aria-label": `${what}: ${plain(row.who, 40)}` });
      return h("div", { class: "row" }, button("Ban", () => done(ban(row.as, row.who)), "small", label("Ban")), button("Exempt", () => done(exempt(row.as, row.who)), "small", label("Exempt")),
        row.event === "ban" ? button("Lift", () => done(lift("banned", row.as, row.who)), "small", label("Lift")) : null);
    };
    const last = context.isAdmin ? [{ label: "", cell: buttons }] : [];
    async function load() {
      const [watched, told] = await Promise.all([get("/api/v5/detections/watch?limit=50", { signal: context.signal }), get("/api/v5/detections", { signal: context.signal })]);
      refresh(near, () => watched.data.length ? table({
        caption: "Near a limit", rows: watched.data, columns: [
          { label: "Who", cell: (row) => [`${row.as} `, shown(row.who, 60)] }, { label: "Detector", cell: (row) => [words(row.detector), " ", row.shadow ? chip("shadow", "warn") : null] },
          { label: "Zone", cell: (row) => shown(row.zone, 24) },
          { label: "How near", cell: (row) => [h("progress", { max: row.limit, value: row.count, "aria-label": `${row.count} of ${row.limit}` }), ` ${row.count} of ${row.limit} in ${span(row.window_seconds)}`] },
          { label: "Last", cell: (row) => moment(row.last_at) }, { label: "Evidence", cell: (row) => evidence({ addresses: row.addresses, client_ids: row.client_ids }) }, ...last],
      }) : h("p", { class: "hint" }, "Nobody is half-way to a limit. Whoever flaps, guesses or floods is seen here before it is banned."));
      const rows = Object.entries(watched.last_hour).filter(([, one]) => one.banned + one.would_ban > 0);
      fill(effects, rows.length ? h("dl", { class: "facts" }, rows.map(([name, one]) => [h("dt", {}, words(name)), h("dd", {}, `${plural(one.banned, "client")} banned`, one.would_ban ? `, ${count(one.would_ban)} would have been (shadow)` : "")]))
        : h("p", { class: "hint" }, "Nobody was banned and nobody would have been. Set shadow = true on a detector to see what it would do before it does it."),
      watched.complete ? null : h("p", { class: "hint" }, "There were more findings than are remembered: at least so many."));
      const detectors = Object.keys(watched.last_hour);
      const wanted = context.params.get("detector") ?? "", wantedEvent = context.params.get("event") ?? "";
      if (pick.options.length === 1) fill(pick, h("option", { value: "" }, "all"), detectors.map((name) => h("option", { value: name }, words(name))));
      pick.value = wanted;
      event.value = wantedEvent;
      const fits = told.data.filter((row) => (!wanted || row.detector === wanted) && (!wantedEvent || row.event === wantedEvent));
      refresh(found, () => fits.length ? [table({
        caption: "Found", rows: fits.slice(0, 200), columns: [
          { label: "When", cell: (row) => moment(row.at) }, { label: "Who", cell: (row) => [`${row.as} `, shown(row.who, 60)] }, { label: "Detector", cell: (row) => words(row.detector) },
          { label: "What", cell: (row) => chip(...(EVENTS[row.event] ?? [row.event])) }, { label: "Until", cell: (row) => (row.until ? moment(row.until) : row.hush_time_seconds ? `for ${span(row.hush_time_seconds)}` : "–") },
          { label: "Offence", num: true, cell: (row) => row.offence ?? "–" }, { label: "Evidence", cell: (row) => evidence(row.evidence) }, ...last],
      }), h("p", { class: "hint" }, fits.length > 200 ? `The newest 200 of ${count(fits.length)}.` : plural(fits.length, "finding"))]
        : empty("Nothing was found", "[flapping_detect] enable = true in the config file bans clients that come and go too often; docs/DETECTION.md has the other detectors."));
    }
    context.onUpdate(again);
    await load();
    let seconds = 0;
    context.onPulse(() => { if (++seconds % 3 === 0) again(); });
  },
};

// An address for documents, which nobody has (RFC 5737).
const NOWHERE = "192.0.2.1";

const rule = (one) => [chip(one.as), " ", shown(one.who, 120), h("div", { class: "hint" }, "by ", shown(one.by, 40), one.reason ? [": ", shown(one.reason, 120)] : null, ", until ", moment(one.until))];

export const explain = {
  title: "Explain",
  async show(main, context) {
    const value = (name) => context.params.get(name) ?? "";
    const inputs = {
      clientid: h("input", { value: value("clientid"), spellcheck: "false", autocomplete: "off" }), username: h("input", { value: value("username"), spellcheck: "false", autocomplete: "off" }),
      peer: h("input", { value: value("peer"), placeholder: "203.0.113.7", spellcheck: "false", autocomplete: "off" }),
    };
    const result = h("div", { "aria-live": "polite" });
    const onsubmit = (event) => {
      event.preventDefault();
      const changes = Object.fromEntries(Object.entries(inputs).map(([name, input]) => [name, input.value]));
      context.set(changes);
      if (!Object.values(changes).some(Boolean)) load();
    };
    fill(main, h("div", { class: "head" }, h("h1", {}, "Explain")), h("form", { class: "card", onsubmit },
      h("p", { class: "hint" }, "Would this client be let in? Every rule about it is named, those that have ended included."),
      field("Client identifier", inputs.clientid), field("User name", inputs.username), field("Address", inputs.peer), h("button", { type: "submit", class: "main" }, "Explain")), result);
    async function load() {
      const asked = {};
      for (const [name, input] of Object.entries(inputs)) {
        if (document.activeElement !== input) input.value = value(name);
        if (value(name)) asked[name] = value(name);
      }
      const isAnywhere = !asked.peer;
      if (!Object.keys(asked).length) return fill(result, h("p", { class: "hint" }, "Type at least one of the three."));
      try {
        const { body } = await call("POST", "/api/v5/explain", { body: { ...asked, peer: asked.peer ?? NOWHERE }, signal: context.signal });
        const again = async (work) => { if (await work) load(); };
        const list = (title, rules, name) => h("section", { class: "card" }, h("h2", {}, `${title} (${rules.length})`), rules.length
          ? h("ul", {}, rules.map((one) => h("li", {}, rule(one), context.isAdmin ? button(name === "banned" ? "Lift" : "Remove", () => again(lift(name, one.as, one.who)), "small", { "aria-label": `${name === "banned" ? "Lift" : "Remove"} ${one.as} ${plain(one.who, 40)}` }) : null)))
          : h("p", { class: "hint" }, "None is about it."));
        const isIn = body.verdict === "admit";
        fill(result, h("section", { class: "card" }, h("h2", {}, "Verdict"), isAnywhere ? h("p", { class: "hint" }, `No address was given: asked as if it came from ${NOWHERE}, where nobody is.`) : null, h("p", {}, chip(isIn ? "let in" : "refused", isIn ? "good" : "bad"), isIn ? ` and taken to ${body.upstream}${body.route === null ? "" : ` by route ${body.route}`}` : [" by ", rule(body.ban)]),
          context.isAdmin && asked.clientid ? h("div", { class: "row" }, button("Ban this client", () => again(ban("clientid", asked.clientid)), "small"), button("Exempt this client", () => again(exempt("clientid", asked.clientid)), "small")) : null),
        h("div", { class: "grid" }, list("Bans", body.bans, "banned"), list("Exemptions", body.exemptions, "exemptions")),
        body.evidence.length ? h("section", { class: "card" }, h("h2", {}, "Evidence"), body.evidence.map((one) => [h("p", {}, chip(one.as), " ", shown(one.who), ` ${plural(one.offences, "offence")}`), evidence(one.finding?.evidence)])) : null);
      } catch (error) {
        if (error.name !== "AbortError") fill(result, h("div", { class: "error", role: "alert" }, error.message));
      }
    }
    context.onUpdate(load);
    await load();
  },
};
