// Whom other limits would have banned within the last hour: tried before they are written into the config file.

import { call } from "./api.js";
import { button, field, fill, h, select } from "./dom.js";
import { table } from "./table.js";
import { count, plural, shown } from "./text.js";
import { moment } from "./time.js";

// Each detector that bans, with the numbers that are recommended for it.
const DETECTORS = [
  ["by_clientid", 15, "1m"], ["by_username", 60, "1m"], ["by_peerhost", 60, "1m"], ["by_network", 100, "1m"], ["by_ja4", 100, "1m"],
  ["auth_failures", 10, "10m"], ["malformed", 100, "1m"], ["connect_timeouts", 30, "1m"], ["connection_rate", 600, "1m"], ["duplicates", 3, "10m"],
];
const words = (text) => text.replaceAll("_", " ");

function line([name, most, window]) {
  const label = (what) => ({ "aria-label": `${what}: ${words(name)}` });
  const events = h("input", { type: "number", min: 0, max: 1000000, value: most, disabled: true, ...label("Events") });
  const within = h("input", { size: 6, value: window, disabled: true, ...label("Within") });
  const mode = select([["", "as it is"], ["on", "with these limits"], ["off", "off"]], "", { ...label("What"), onchange: () => { events.disabled = within.disabled = mode.value !== "on"; } });
  const row = h("tr", {}, h("td", {}, words(name)), h("td", {}, mode), h("td", {}, events), h("td", {}, within));
  return { name, row, get wish() { return mode.value === "on" ? { max_count: Number(events.value), window_time: within.value.trim() } : mode.value === "off" ? null : undefined; } };
}

function outcome(told) {
  const since = told.complete ? "in the last hour" : "since then";
  const parts = Object.entries(told.by_detector).map(([name, many]) => `${words(name)} ${count(many)}`).join(", ");
  return [
    h("p", {}, h("strong", {}, `With these limits, ${plural(told.would_ban, "client")} would have been banned ${since}`), parts ? `: ${parts}.` : "."),
    h("p", { class: "hint" }, `${plural(told.events, "event")} looked at. `, told.complete ? null : ["Not more is known than since ", moment(told.since), ". "], "Whoever was banned meanwhile could do nothing more: of laxer limits than those in force this is the least they would have done."),
    told.data.length ? table({
      caption: "Would have been banned", rows: told.data, columns: [
        { label: "When", cell: (row) => moment(row.at) }, { label: "Who", cell: (row) => [`${row.as} `, shown(row.who, 60)] },
        { label: "Detector", cell: (row) => words(row.detector) }, { label: "Zone", cell: (row) => shown(row.zone, 24) }],
    }) : null,
    told.would_ban > told.data.length ? h("p", { class: "hint" }, `The first ${count(told.data.length)} of them.`) : null,
  ];
}

export function whatIf(context) {
  const lines = DETECTORS.map(line);
  const zone = h("input", { size: 12, maxlength: 256, placeholder: "all" });
  const answer = h("div", { id: "what-if", "aria-live": "polite" });
  const ask = button("Try these limits", () => tell(), "main");
  async function tell() {
    const detectors = {};
    for (const { name, wish } of lines) if (wish !== undefined) detectors[name] = wish;
    ask.disabled = true;
    fill(answer, h("p", { class: "hint" }, "Looking at the last hour…"));
    try {
      const { body } = await call("POST", "/api/v5/detections/what-if", { body: { detectors, ...(zone.value ? { zone: zone.value } : {}) }, signal: context.signal });
      fill(answer, outcome(body));
    } catch (error) {
      if (error.name !== "AbortError") fill(answer, h("div", { class: "error", role: "alert" }, error.message));
    }
    ask.disabled = false;
  }
  return h("section", { class: "card" }, h("h2", {}, "With other limits"),
    h("p", { class: "hint" }, "Type the limits that you have in mind, also of detectors that are off, and see whom they would have banned. Nothing is changed: the config file has the limits."),
    h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Other limits" }, h("table", {}, h("caption", { class: "sr" }, "Other limits"),
      h("thead", {}, h("tr", {}, ["Detector", "What", "Events", "Within"].map((label) => h("th", { scope: "col" }, label)))), h("tbody", {}, lines.map(({ row }) => row)))),
    h("div", { class: "row" }, field("Only in zone", zone), ask), answer);
}
