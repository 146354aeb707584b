// Who is inside.

import { get, query } from "./api.js";
import { button, chip, empty, fill, h } from "./dom.js";
import { ban, kick, networkOf } from "./actions.js";
import { filters, pager, refresh, table } from "./table.js";
import { open } from "./dialog.js";
import { plain, shown, size } from "./text.js";
import { moment } from "./time.js";

const VERSIONS = { 3: "3.1", 4: "3.1.1", 5: "5.0" };
const NAMES = ["like_clientid", "like_username", "like_ip_address", "proto_ver", "listener", "sort", "order", "page"];

function details(row) {
  const tls = row.tls_facts ?? {};
  const facts = [
    ["Client", shown(row.clientid, 2048)], ["User", shown(row.username, 512)], ["Address", `${row.ip_address}, port ${row.port}`], ["By way of", row.via ?? "–"],
    ["Listener", `${plain(row.listener)} (zone ${plain(row.zone)})`], ["Broker", plain(row.upstream)], ["MQTT", VERSIONS[row.proto_ver]],
    ["Keep Alive", `${row.keepalive} s`], ["Clean start", row.clean_start ? "yes" : "no"], ["Since", moment(row.connected_at)],
    ["From it", size(row.recv_oct)], ["For it", size(row.send_oct)], ["TLS", row.tls ? `${tls.version ?? ""} ${tls.cipher ?? "yes"}` : "no"],
    ...(row.tls_facts ? [["JA4", tls.ja4], ["Server name", shown(tls.server_name)], ["Certificate", shown(tls.cert_dn)], ["Certificate ends", moment(tls.cert_not_after, "–")]] : []),
  ];
  return open("Client", (close) => [h("dl", { class: "facts" }, facts.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])), h("div", { class: "ends" }, button("Close", () => close()))]);
}

export const clients = {
  title: "Inside",
  async show(main, context) {
    let turn = 0, isLive = true;
    const box = h("div"), pages = h("div");
    const fields = filters(context, [
      { name: "like_clientid", label: "Client identifier" }, { name: "like_username", label: "User name" }, { name: "like_ip_address", label: "Address" },
      { name: "proto_ver", label: "MQTT", options: [["", "all"], ...Object.entries(VERSIONS)] }, { name: "listener", label: "Listener", size: 8 },
    ]);
    const live = button("Pause", () => {
      isLive = !isLive;
      fill(live, isLive ? "Pause" : "Go on");
      if (isLive) again();
    });
    fill(main, h("div", { class: "head" }, h("h1", {}, "Clients inside"), live), fields.form, box, pages);
    const done = async (work) => { if (await work) again(); };
    const actions = (row) => {
      const name = plain(row.clientid || row.ip_address, 40);
      const label = (what) => ({ "aria-label": `${what}: ${name}` });
      const [kind, who] = row.clientid ? ["clientid", row.clientid] : ["peerhost", row.ip_address];
      return h("div", { class: "row" },
        button("Kick", () => done(kick(row.clientid)), "small", { ...label("Kick"), disabled: !row.clientid }),
        button("Ban", () => done(ban(kind, who)), "small bad", label("Ban")),
        button("Ban address", () => done(ban("peerhost", row.ip_address)), "small", label("Ban address")),
        button("Ban network", () => done(ban("peerhost_net", networkOf(row.ip_address))), "small", label("Ban network")));
    };
    const columns = [
      { label: "Client", sort: "clientid", cell: (row) => [shown(row.clientid), row.connected ? null : chip("the broker has not answered", "warn")] },
      { label: "User", sort: "username", cell: (row) => (row.username === null ? "–" : shown(row.username, 40)) },
      { label: "Address", sort: "ip_address", cell: (row) => h("span", { class: "code" }, row.ip_address) },
      { label: "MQTT", sort: "proto_ver", cell: (row) => VERSIONS[row.proto_ver] ?? row.proto_ver },
      { label: "Listener", sort: "listener", cell: (row) => [shown(row.listener, 24), row.tls ? chip("TLS", "good") : null] },
      { label: "Broker", sort: "upstream", cell: (row) => h("span", { class: "code" }, row.upstream) },
      { label: "Since", sort: "connected_at", cell: (row) => moment(row.connected_at) },
      { label: "From it", sort: "recv_oct", num: true, cell: (row) => size(row.recv_oct) },
      { label: "For it", sort: "send_oct", num: true, cell: (row) => size(row.send_oct) },
      { label: "", cell: (row) => h("div", { class: "row" }, button("More", () => details(row), "small quiet", { "aria-label": `More of ${plain(row.clientid, 40)}` }), context.isAdmin ? actions(row) : null) },
    ];
    async function load() {
      const mine = ++turn;
      fields.show();
      const wanted = Object.fromEntries(NAMES.map((name) => [name, context.params.get(name) ?? ""]));
      const told = await get(`/api/v5/clients${query({ ...wanted, limit: 50 })}`, { signal: context.signal });
      if (mine !== turn) return;
      const sort = { by: wanted.sort, order: wanted.order || "asc", set: (by, order) => context.set({ sort: by, order, page: "" }) };
      const isFiltered = NAMES.slice(0, 5).some((name) => wanted[name]);
      refresh(box, () => told.data.length
        ? table({ caption: "Clients inside", columns, rows: told.data, sort })
        : isFiltered ? empty("Nobody inside fits this filter", "Reset it to see everybody.") : empty("Nobody is inside", "Point a client at one of the listeners; whoever the broker lets in is listed here."));
      fill(pages, told.data.length ? pager(context, told.meta) : null);
    }
    const fail = (error) => { if (error.name !== "AbortError" && error.status !== 0) fill(box, h("div", { class: "error", role: "alert" }, error.message)); };
    const again = () => load().catch(fail);
    context.onUpdate(again);
    await load().catch(fail);
    let seconds = 0, before = null;
    context.onPulse((pulse) => {
      const now = `${pulse.counted.sessions} ${pulse.counted.admitted}`;
      if (isLive && (now !== before || ++seconds % 5 === 0)) again();
      before = now;
    });
  },
};
