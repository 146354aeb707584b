// How it is at the door: now, and of late.

import { get } from "./api.js";
import { button, chip, empty, fill, h } from "./dom.js";
import { chart } from "./charts.js";
import { count, plural, shown, size } from "./text.js";
import { ago, moment, span } from "./time.js";

export const OUTCOMES = [
  ["admitted", "Admitted"], ["banned", "Banned"], ["rate_limited", "Rate limited"],
  ["malformed", "Malformed"], ["upstream_down", "Broker down"], ["other", "Without CONNECT"],
];
const SPANS = [["15m", "15 minutes"], ["6h", "6 hours"], ["24h", "24 hours"]];

// Puts what is told each second where the history has it, so that it need not be asked for again.
function follow(history, before, pulse) {
  const passed = (pulse.now - before.now) / 1000;
  if (passed <= 0 || passed > 30 || before.started_at !== pulse.started_at) return;
  const at = Math.floor(pulse.now / history.step) * history.step;
  let point = history.points.at(-1);
  if (!point || point.at < at) {
    point = { at, watched: 0, sessions: 0, bans: 0, detections: 0 };
    for (const [key] of OUTCOMES) point[key] = 0;
    history.points.push(point);
  }
  point.watched += passed;
  for (const key of [...OUTCOMES.map(([key]) => key), "detections"]) {
    point[key] += Math.max(0, pulse.counted[key] - before.counted[key]);
  }
  point.sessions = Math.max(point.sessions, pulse.counted.sessions);
}

export const overview = {
  title: "Overview",
  async show(main, context) {
    const span_ = () => (SPANS.some(([key]) => key === context.params.get("span")) ? context.params.get("span") : "15m");
    const rate = (point, key) => (point.watched > 0 ? point[key] / point.watched : 0);
    const flow = chart("Connections per second", OUTCOMES.map(([key, label]) => ({ key, label })), rate, "per second");
    const inside = chart("Live sessions", [{ key: "sessions", label: "Sessions" }], (point, key) => point[key], "sessions", "low");
    const found = chart("Detections", [{ key: "detections", label: "Found" }], (point, key) => point[key], "in a step", "low");
    const tiles = h("dl", { class: "tiles" });
    const spans = h("div", { class: "row", role: "group", "aria-label": "How far back" });
    const bans = h("div"), detections = h("div"), brokers = h("div"), doors = h("div"), top = h("div", { class: "grid wide" });
    fill(main,
      h("div", { class: "head" }, h("h1", {}, "Overview"), spans),
      tiles,
      h("div", { class: "grid" },
        h("section", { class: "card wide" }, flow.figure),
        h("section", { class: "card" }, inside.figure), h("section", { class: "card" }, found.figure),
        h("section", { class: "card" }, h("h2", {}, "Active bans"), bans),
        h("section", { class: "card" }, h("h2", {}, "Detections"), detections),
        h("section", { class: "card" }, h("h2", {}, "Brokers"), brokers),
        h("section", { class: "card" }, h("h2", {}, "Listeners"), doors), top));

    let history = null, before = null, wanted = 0;
    const draw = () => {
      if (!history) return;
      const now = before?.now ?? history.now;
      const to = Math.max(now, history.points.at(-1)?.at ?? 0) + history.step;
      const from = to - history.span;
      history.points = history.points.filter((point) => point.at + history.step > from);
      const data = { points: history.points, step: history.step, from, to };
      for (const one of [flow, inside, found]) one.update(data);
    };
    const load = async () => {
      const turn = ++wanted;
      fill(spans, SPANS.map(([key, label]) => button(label, () => context.set({ span: key === "15m" ? "" : key }), "small", { "aria-pressed": String(key === span_()) })));
      const told = await get(`/api/v5/history?span=${span_()}`, { signal: context.signal });
      if (turn !== wanted) return;
      history = {
        now: Date.parse(told.now), span: told.span_seconds * 1000, step: told.step_seconds * 1000,
        points: told.points.map((point) => ({ ...point, at: Date.parse(point.at), watched: point.watched_seconds })),
      };
      draw();
    };
    context.onUpdate(load);
    await load();

    let seconds = 0;
    context.onPulse((pulse) => {
      // Whoever was away for long is told what has come meanwhile.
      if (before && (pulse.now - before.now > 30_000 || before.started_at !== pulse.started_at)) load().catch(() => {});
      else if (before && history) follow(history, before, pulse);
      const passed = before ? (pulse.now - before.now) / 1000 : 0;
      const tile = (label, value, note) => h("div", { class: "tile" }, h("dt", {}, label), h("dd", {}, value, note && h("small", {}, ` ${note}`)));
      const each = (key) => (passed > 0 ? `${count(Math.round(Math.max(0, pulse.counted[key] - before.counted[key]) / passed))}/s` : "–");
      fill(tiles, tile("Live sessions", count(pulse.counted.sessions)), tile("Admitted", each("admitted")), tile("Banned", each("banned")),
        tile("Active bans", count(pulse.counted.bans)), tile("Connections", count(pulse.connections)),
        tile("Running", span(pulse.uptime_seconds), pulse.state === "running" ? size(pulse.resident_bytes) : pulse.state));
      before = pulse;
      draw();
      drawBans(bans, pulse);
      drawDetections(detections, pulse);
      drawBrokers(brokers, pulse);
      drawDoors(doors, pulse);
      if (seconds++ % 5 === 0) drawTop(top, context).catch(() => {});
    });
  },
};

const facts = (rows) => h("dl", { class: "facts" }, rows.map(([name, ...value]) => [h("dt", {}, name), h("dd", {}, value)]));

function drawBans(box, pulse) {
  const kinds = Object.entries(pulse.bans).filter(([, counts]) => counts.active + counts.expired + counts.deleting_soon > 0);
  if (!kinds.length) {
    fill(box, h("p", { class: "hint" }, "Nobody is banned. ", h("a", { href: "/dashboard/bans" }, "Ban somebody"), ", or switch detection on in the config file."));
    return;
  }
  fill(box, facts(kinds.map(([kind, counts]) => {
    const ended = counts.expired + counts.deleting_soon;
    return [kind, h("a", { href: `/dashboard/bans?as=${kind}` }, count(counts.active)), ended ? h("span", { class: "more" }, ` and ${count(ended)} ended`) : null];
  })));
}

function drawDetections(box, pulse) {
  const found = Object.entries(pulse.detections).filter(([, one]) => one.bans + one.shadow > 0);
  const lost = pulse.lost_findings ? h("p", { class: "error" }, `${count(pulse.lost_findings)} findings came to nothing because there were too many.`) : null;
  if (!found.length) {
    fill(box, h("p", { class: "hint" }, "Nothing was found since the start. ", h("a", { href: "/dashboard/watch" }, "Who is near a limit?")), lost);
    return;
  }
  fill(box, facts(found.map(([name, one]) => [name, h("a", { href: `/dashboard/watch?detector=${name}` }, plural(one.bans, "ban")), one.shadow ? ` and ${count(one.shadow)} in shadow` : ""])), lost);
}

function drawBrokers(box, pulse) {
  if (!pulse.upstreams.length) return fill(box, h("p", { class: "hint" }, "No broker is configured."));
  fill(box, facts(pulse.upstreams.map((one) => {
    const kind = one.is_drained ? "warn" : one.health === "up" ? "good" : one.is_usable ? "warn" : "bad";
    return [h("span", { class: "code" }, one.server), chip(one.is_drained ? "drained" : one.health, kind), ` ${plural(one.live_connections, "connection")}`,
      one.ejections ? `, left alone ${plural(one.ejections, "time")}` : ""];
  })));
}

function drawDoors(box, pulse) {
  const doors = Object.entries(pulse.listeners);
  fill(box, facts(doors.map(([name, one]) => {
    const ends = one.certificate_ends_at;
    const days = ends ? (ends * 1000 - pulse.now) / 86_400_000 : null;
    const mark = ends ? chip(`certificate ends ${ago(new Date(ends * 1000))}`, days < 3 ? "bad" : days < 21 ? "warn" : "good") : null;
    return [name, `${count(one.live_connections)} of ${count(one.max_connections)} connections `, mark];
  })));
}

async function drawTop(box, context) {
  const told = await get("/api/v5/refused/top?limit=8", { signal: context.signal });
  const list = (title, rows, cell, link) => h("section", { class: "card" }, h("h2", {}, title), rows.length
    ? h("ol", {}, rows.map((row) => h("li", {}, h("a", { href: link(row) }, cell(row)), " ", h("span", { class: "more" }, `${plural(row.count, "time")}, last ${ago(new Date(row.last_at))}`))))
    : h("p", { class: "hint" }, "Nobody was turned away lately."));
  const to = (params) => `/dashboard/refused?${new URLSearchParams(params)}`;
  fill(box,
    list("Most refused clients", told.clients, (row) => shown(row.clientid, 40), (row) => to({ clientid: row.clientid })),
    list("Most refused addresses", told.addresses, (row) => shown(row.peerhost), (row) => to({ peerhost: row.peerhost })),
    list("Most refused networks", told.networks, (row) => shown(row.network), (row) => to({ net: row.network })));
}
