// Who was turned away lately, why, and what can be done about it with one click.

import { call, get, query } from "./api.js";
import { button, chip, empty, fill, h, toast } from "./dom.js";
import { confirm } from "./dialog.js";
import { ban, exempt, lift, networkOf } from "./actions.js";
import { filters, pager, refresh, table } from "./table.js";
import { count, isCut, plain, shown } from "./text.js";
import { moment } from "./time.js";
import { KINDS } from "./banform.js";

const words = (reason) => reason.replaceAll("_", " ");

export const refused = {
  title: "Refused",
  async show(main, context) {
    let isLive = true, turn = 0, meta = null;
    const box = h("div"), pages = h("div");
    const fields = filters(context, [
      { name: "like_clientid", label: "Client identifier" }, { name: "like_username", label: "User name" },
      { name: "like_peerhost", label: "Address" }, { name: "like_reason", label: "Reason" },
      { name: "as", label: "Banned by", options: [["", "all"], ...KINDS] },
    ]);
    const live = button("Pause", () => {
      isLive = !isLive;
      fill(live, isLive ? "Pause" : "Go on");
      if (isLive) again();
    });
    const exact = h("div", { class: "row" });
    const clear = async () => {
      if (!(await confirm("Forget all refused clients?", h("p", {}, "The list begins anew. No ban changes."), "Forget"))) return;
      try { await call("DELETE", "/api/v5/refused"); toast("The list is empty."); again(); } catch (error) { toast(error.message); }
    };
    fill(main, h("div", { class: "head" }, h("h1", {}, "Refused clients"), h("div", { class: "row" }, live, context.isAdmin ? button("Forget all…", clear, "bad") : null)), fields.form, exact, box, pages);

    const done = async (work) => { if (await work) again(); };
    const actions = (row) => {
      const isKnown = row.clientid && !isCut(row.clientid);
      const name = plain(row.clientid || row.peerhost, 40);
      const [kind, who] = isKnown ? ["clientid", row.clientid] : row.others ? ["peerhost_net", networkOf(row.peerhost)] : ["peerhost", row.peerhost];
      const label = (what) => ({ "aria-label": `${what}: ${name}` });
      const isLiftable = row.as && row.who && !isCut(row.who);
      return h("div", { class: "row" },
        isLiftable ? button("Lift", () => done(lift("banned", row.as, row.who)), "small", { ...label("Lift"), title: `Lift the ban of ${row.as} ${plain(row.who, 60)}` }) : null,
        row.as ? null : button("Ban", () => done(ban(kind, who)), "small", { ...label("Ban"), title: `Ban ${kind} ${plain(who, 60)}` }),
        button("Ban network", () => done(ban("peerhost_net", networkOf(row.peerhost))), "small", label("Ban network")),
        button("Exempt", () => done(exempt(kind, who)), "small", label("Exempt")),
        button("Forget", () => forget(row), "small quiet", label("Forget")));
    };
    const forget = async (row) => {
      try { await call("DELETE", `/api/v5/refused/${row.id}`); } catch (error) { if (error.status !== 404) return toast(error.message); }
      again();
    };
    const columns = [
      { label: "Client", sort: "clientid", cell: (row) => [shown(row.clientid), row.others ? chip("and others") : null] },
      { label: "User", sort: "username", cell: (row) => (row.username === null ? "–" : shown(row.username, 40)) },
      { label: "Address", sort: "peerhost", cell: (row) => h("a", { href: `/dashboard/refused?peerhost=${encodeURIComponent(row.peerhost)}`, class: "code" }, row.peerhost) },
      { label: "Reason", sort: "reason", cell: (row) => chip(words(row.reason), row.connack === null ? "warn" : "bad") },
      { label: "By", sort: "who", cell: (row) => (row.as ? [`${row.as} `, isCut(row.who) ? shown(row.who, 60) : h("a", { href: `/dashboard/bans?${new URLSearchParams({ as: row.as, text: row.who, mode: "exact" })}` }, shown(row.who, 60))] : row.connack === null ? "–" : `the broker (code ${row.connack})`) },
      { label: "Came last", sort: "last_at", cell: (row) => moment(row.last_at) },
      { label: "Times", sort: "count", num: true, cell: (row) => count(row.count) },
      { label: "Why", cell: (row) => h("a", { href: `/dashboard/explain?${new URLSearchParams({ ...(row.clientid && !isCut(row.clientid) ? { clientid: row.clientid } : {}), ...(row.username && !isCut(row.username) ? { username: row.username } : {}), ...(row.others ? {} : { peer: row.peerhost }) })}` }, "Explain") },
      ...(context.isAdmin ? [{ label: "", cell: actions }] : []),
    ];
    const NAMES = ["like_clientid", "like_username", "like_peerhost", "like_reason", "as", "clientid", "peerhost", "net", "sort", "order", "page"];
    async function load() {
      const mine = ++turn;
      fields.show();
      const wanted = Object.fromEntries(NAMES.map((name) => [name, context.params.get(name) ?? ""]));
      const only = ["clientid", "peerhost", "net"].filter((name) => wanted[name]);
      fill(exact, only.map((name) => button(`${name}: ${plain(wanted[name], 40)} ✕`, () => context.set({ [name]: "", page: "" }), "small", { "aria-label": `Do not filter by ${name} ${plain(wanted[name], 40)} any more` })));
      const told = await get(`/api/v5/refused${query({ ...wanted, limit: 50 })}`, { signal: context.signal });
      if (mine !== turn) return;
      meta = told.meta;
      const sort = { by: wanted.sort || "last_at", order: wanted.order || (wanted.sort ? "asc" : "desc"), set: (by, order) => context.set({ sort: by, order, page: "" }) };
      const isFiltered = NAMES.slice(0, 8).some((name) => wanted[name]);
      refresh(box, () => told.data.length
        ? table({ caption: "Refused clients", columns, rows: told.data, sort })
        : isFiltered ? empty("Nothing fits this filter", "Reset it to see everybody who was turned away lately.")
          : empty("Nobody was turned away lately", "Clients that a ban, a limit or the broker refuses are listed here, until they get in or have not come for a while."));
      fill(pages, told.data.length ? pager(context, meta) : null);
    }
    const fail = (error) => { if (error.name !== "AbortError" && error.status !== 0) fill(box, h("div", { class: "error", role: "alert" }, error.message)); };
    const again = () => load().catch(fail);
    context.onUpdate(again);
    await load().catch(fail);
    let seconds = 0, before = null;
    context.onPulse((pulse) => {
      const { banned, rate_limited, malformed, upstream_down, admitted } = pulse.counted;
      const now = `${banned} ${rate_limited} ${malformed} ${upstream_down} ${admitted}`;
      // What the broker refuses comes a moment after it was let in.
      if (isLive && (now !== before || ++seconds % 5 === 0)) again();
      before = now;
    });
  },
};
