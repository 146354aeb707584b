// The lists: bans, and exemptions, which have the same table.

import { call, get, query } from "./api.js";
import { button, chip, empty, fill, h, toast } from "./dom.js";
import { confirm } from "./dialog.js";
import { KINDS, editBan, extend } from "./banform.js";
import { importList } from "./importer.js";
import { lift } from "./actions.js";
import { filters, table } from "./table.js";
import { count, plain, plural, shown } from "./text.js";
import { forApi, moment } from "./time.js";

const STATUS = { active: ["active", "good"], expired: ["expired", "warn"], deleting_soon: ["deleting soon", "bad"] };
const kindName = (kind) => KINDS.find(([key]) => key === kind)?.[1] ?? kind;
const LIMIT = 50;

const WINDOWS = { ended: [null, 0], "1h": [0, 3600], "1d": [0, 86400], "7d": [0, 604800], "30d": [0, 2592000] };

// What the address asks for, as the API is asked for it.
function asked(params, isBans) {
  const get = (name) => params.get(name) ?? "";
  const text = get("text"), mode = get("mode") || "contains";
  const wanted = {
    view: "full", limit: LIMIT, as: get("as"), status: get("status"), source: get("source"), by: get("by"),
    sort: get("sort") || (isBans ? "at" : "who"), order: get("order") || (get("sort") || !isBans ? "asc" : "desc"), cursor: get("cursor"),
  };
  if (text) wanted[{ contains: "text", exact: "who", regex: "like_who" }[mode] ?? "text"] = text;
  const ends = get("ends");
  if (ends === "never") wanted.gte_until = "infinity";
  else if (WINDOWS[ends]) {
    // In whole minutes, so that the next page asks for the same.
    const now = Math.floor(Date.now() / 60_000) * 60_000;
    const [from, to] = WINDOWS[ends];
    if (from !== null) wanted.gte_until = forApi(new Date(now + from * 1000));
    wanted.lte_until = forApi(new Date(now + to * 1000));
  }
  return wanted;
}

function view(list, title) {
  const isBans = list === "banned";
  const what = isBans ? "ban" : "exemption";
  return {
    title,
    async show(main, context) {
      const chosen = new Map();
      const choice = { has: (key) => chosen.has(key), add: (key) => chosen.set(key, rows.find((row) => keyOf(row) === key)), delete: (key) => chosen.delete(key) };
      const keyOf = (row) => `${row.as} ${row.who}`;
      let rows = [], turn = 0, trail = [];
      const box = h("div"), pages = h("div", { class: "pages" }), many = h("div", { class: "row", role: "group", "aria-label": "With the chosen rows" });
      const fields = filters(context, [
        { name: "text", label: "Text", size: 20 },
        { name: "mode", label: "How", options: [["", "contains"], ["exact", "exactly"], ["regex", "pattern"]] },
        { name: "as", label: "Kind", options: [["", "all"], ...KINDS] },
        { name: "status", label: "Status", options: [["", "all"], ...Object.entries(STATUS).map(([key, [label]]) => [key, label])] },
        { name: "ends", label: "Ends", options: [["", "whenever"], ["ended", "has ended"], ["1h", "within 1 h"], ["1d", "within 1 d"], ["7d", "within 7 d"], ["30d", "within 30 d"], ["never", "never"]] },
        { name: "source", label: "From", options: [["", "everywhere"], ["run_time", "run time"], ["file", "config file"]] },
      ]);
      const again = () => load().catch(fail);
      const make = async () => { if (await editBan({ list })) again(); };
      const bring = async () => { if (await importList(list)) again(); };
      const exported = h("a", { class: "button", download: `${isBans ? "bans" : "exemptions"}.jsonl` }, "Export");
      const clear = async () => {
        const sure = await confirm(`Remove all ${title.toLowerCase()}?`, [h("p", {}, `Every ${what} that was made at run time goes, whatever the filter shows. Those of the config file stay.`),
          h("p", { class: "hint" }, "Export them first if you may want them back.")], "Remove all", { typed: isBans ? "lift all bans" : "remove all exemptions" });
        if (!sure) return;
        try {
          await call("DELETE", `/api/v5/${list}`);
          toast(`All ${title.toLowerCase()} of run time are removed.`);
        } catch (error) { toast(`Nothing was removed: ${error.message}`); }
        chosen.clear();
        context.set({ cursor: "" });
        again();
      };
      const tools = context.isAdmin
        ? [button(isBans ? "Ban…" : "Exempt…", make, "main"), button("Import…", bring), exported, button("Remove all…", clear, "bad")] : [exported];
      fill(main, h("div", { class: "head" }, h("h1", {}, title), h("div", { class: "row" }, tools)), fields.form, many, box, pages);

      const showMany = () => {
        if (!chosen.size) return fill(many);
        fill(many, h("strong", {}, `${count(chosen.size)} chosen`), button("Extend…", async () => { if (await extend(list, [...chosen.values()])) { chosen.clear(); again(); } }),
          button("Remove…", removeMany, "bad"), button("Choose none", () => { chosen.clear(); draw(); }, "quiet"));
      };
      const removeMany = async () => {
        const all = [...chosen.values()];
        const sure = await confirm(`Remove ${plural(all.length, what)}?`, h("ul", {}, all.slice(0, 8).map((row) => h("li", {}, `${row.as} `, shown(row.who, 40))), all.length > 8 ? h("li", {}, "…") : null), "Remove");
        if (!sure) return;
        let removed = 0;
        const failed = [];
        for (const row of all) {
          try {
            await call("POST", `/api/v5/${list}/remove`, { body: { as: row.as, who: row.who } });
            removed += 1;
          } catch (error) {
            if (error.status !== 404) failed.push(`${plain(row.who, 30)}: ${error.message}`);
            if (error.status === 0) break;
          }
        }
        toast(`${plural(removed, what)} removed.${failed.length ? ` Not removed: ${failed.slice(0, 3).join("; ")}` : ""}`);
        chosen.clear();
        again();
      };
      const change = async (work) => { if (await work) again(); };
      const buttons = (row) => {
        if (row.source === "file") return h("span", { class: "more" }, "config file");
        const label = plain(row.who, 40);
        return h("div", { class: "row" },
          button("Edit", () => change(editBan({ list, row })), "small", { "aria-label": `Edit ${label}` }),
          button("Extend", () => change(extend(list, [row])), "small", { "aria-label": `Extend ${label}`, disabled: row.until === "infinity" }),
          button(isBans ? "Lift" : "Remove", () => change(lift(list, row.as, row.who)), "small bad", { "aria-label": `${isBans ? "Lift" : "Remove"} ${label}` }));
      };
      const columns = [
        { label: "Who", sort: "who", cell: (row) => [shown(row.who), row.match === "full" ? chip("whole name") : null] },
        { label: "Kind", sort: "as", cell: (row) => kindName(row.as) },
        { label: "Reason", sort: "reason", cell: (row) => shown(row.reason, 60) },
        { label: "By", sort: "by", cell: (row) => shown(row.by, 30) },
        { label: "Since", sort: "at", cell: (row) => moment(row.at) },
        { label: "Expires", sort: "until", cell: (row) => moment(row.until) },
        { label: "Status", sort: "status", cell: (row) => chip(...(STATUS[row.status] ?? [row.status])) },
        ...(isBans ? [{ label: "Hits", sort: "hits", num: true, cell: (row) => count(row.hits) }, { label: "Last hit", sort: "last_hit", cell: (row) => moment(row.last_hit) }] : []),
        ...(context.isAdmin ? [{ label: "", cell: buttons }] : []),
      ];
      let meta = {};
      function draw() {
        const wanted = asked(context.params, isBans);
        const isFiltered = ["text", "as", "status", "ends", "source"].some((name) => context.params.get(name));
        const sort = { by: wanted.sort, order: wanted.order, set: (sort, order) => context.set({ sort, order, cursor: "" }) };
        if (rows.length) {
          fill(box, table({ caption: title, columns, rows, sort, choice: context.isAdmin ? choice : null, key: keyOf, name: (row) => row.who, onchoice: showMany, choosable: (row) => row.source !== "file" }));
        } else if (isFiltered || context.params.get("cursor")) {
          fill(box, empty("Nothing fits this filter", "Reset it to see everything. A pattern is searched in the name; \"exactly\" wants all of it."));
        } else {
          fill(box, isBans
            ? empty("Nobody is banned", context.isAdmin ? "Ban somebody by client identifier, user name, address, network or pattern, or import a list of EMQX, TBMQ or plain names." : "An administrator can ban somebody here.", "Detection bans by itself: [flapping_detect] in the config file switches it on.")
            : empty("Nobody is exempt", "Whoever is exempt is let in whatever bans there are: gateways, your own devices, your monitoring."));
        }
        const all = meta.count === undefined || meta.count === null ? "" : `, ${count(meta.count)} in all`;
        fill(pages, context.params.get("cursor") ? [button("First page", () => { trail = []; context.set({ cursor: "" }); }), button("Previous", () => context.set({ cursor: trail.pop() ?? "" }))] : null,
          h("span", {}, `${plural(rows.length, "row")}${all}`),
          meta.next_cursor ? button("Next", () => { trail.push(context.params.get("cursor") ?? ""); context.set({ cursor: meta.next_cursor }); }) : null);
        showMany();
      }
      const fail = (error) => {
        if (error.name === "AbortError") return;
        fill(pages);
        fill(box, h("div", { class: "error", role: "alert" }, error.message));
      };
      async function load() {
        const mine = ++turn;
        const wanted = asked(context.params, isBans);
        exported.href = `/api/v5/${list}/export${query({ ...wanted, view: "", limit: "", sort: "", order: "", cursor: "" })}`;
        fields.show();
        const told = await get(`/api/v5/${list}${query(wanted)}`, { signal: context.signal });
        if (mine !== turn) return;
        ({ data: rows, meta } = told);
        draw();
      }
      context.onUpdate(again);
      await load().catch(fail);
    },
  };
}

export const bans = view("banned", "Bans");
export const exemptions = view("exemptions", "Exemptions");
