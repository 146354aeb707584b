// The config that runs, what the file says differently, and how detection is set.

import { call, get } from "./api.js";
import { button, chip, fill, h, toast } from "./dom.js";
import { confirm } from "./dialog.js";
import { count, plain, plural } from "./text.js";
import { moment } from "./time.js";

const list = (title, lines) => (lines?.length ? [h("h3", {}, title), h("ul", {}, lines.map((line) => h("li", { class: "code" }, plain(line, 400))))] : null);

function orders(told) {
  const hasNothing = !told.changes.length && !told.after_restart.length && !told.opened.length && !told.closed.length && !told.put && !told.removed;
  if (hasNothing) return h("p", { class: "hint" }, "The file says what runs.");
  return [list("Options", told.changes), list("Only after a restart", told.after_restart), list("Listeners opened or moved", told.opened), list("Listeners closed or moved", told.closed),
    told.put || told.removed ? h("p", {}, `Bans and exemptions of the file: ${count(told.put)} new or changed, ${count(told.removed)} gone.`) : null];
}

const mistakes = (error) => h("div", { class: "error", role: "alert" }, h("p", {}, error.message), h("ul", {}, (error.body?.mistakes ?? []).map((line) => h("li", { class: "code" }, plain(line, 400)))));

export const settings = {
  title: "Settings",
  async show(main, context) {
    const state = h("div"), differs = h("div"), detectors = h("div"), options = h("div"), outcome = h("div", { "aria-live": "polite" });
    const find = h("input", { type: "search", value: context.params.get("option") ?? "", oninput: () => drawOptions(), onchange: () => context.set({ option: find.value }, { replace: true }) });
    const onlySet = h("input", { type: "checkbox", onchange: () => drawOptions() });
    const reload = async () => {
      if (!(await confirm("Read the config file again?", h("p", {}, "A file with mistakes changes nothing. A good one drops no session but those that it bans."), "Reload", { kind: "main" }))) return;
      try {
        const { body } = await call("POST", "/api/v5/reload");
        toast("The file is in use.");
        fill(outcome, h("div", { class: "good" }, "Done."), orders(body));
      } catch (error) { fill(outcome, mistakes(error)); }
      load(false);
    };
    fill(main, h("div", { class: "head" }, h("h1", {}, "Settings"), h("div", { class: "row" }, h("a", { class: "button", href: "/api-docs/", target: "_blank", rel: "noopener" }, "API"), button("Look again", () => load(true)), context.isAdmin ? button("Reload…", reload, "main") : null)),
      outcome,
      h("div", { class: "grid" }, h("section", { class: "card" }, h("h2", {}, "Process"), state), h("section", { class: "card" }, h("h2", {}, "What the file says differently"), differs)),
      h("section", { class: "card" }, h("h2", {}, "Detectors"), detectors),
      h("section", { class: "card" }, h("h2", {}, "Config that runs"), h("div", { class: "filters" }, h("label", {}, "Find", find), h("label", { class: "check" }, onlySet, "only what the file sets")), options));
    let config = null;
    function drawOptions() {
      if (!config) return;
      const wanted = find.value.toLowerCase();
      const rows = Object.entries(config.options).filter(([name, option]) => (!onlySet.checked || option.source === "file") && name.toLowerCase().includes(wanted));
      fill(options, rows.length ? h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Options" }, h("table", {}, h("caption", { class: "sr" }, "Options"), h("thead", {}, h("tr", {}, ["Option", "Value", "From"].map((label) => h("th", { scope: "col" }, label)))),
        h("tbody", {}, rows.map(([name, option]) => h("tr", {}, h("td", { class: "code" }, name), h("td", { class: "code" }, plain(typeof option.value === "string" ? option.value : JSON.stringify(option.value), 300)), h("td", {}, option.source === "file" ? chip("file", "good") : chip("default"))))))) : h("p", { class: "hint" }, "No option is called so."),
      h("p", { class: "hint" }, `${plural(rows.length, "option")}; secrets are shown as …. The file has ${plural(config.bans, "ban")} and ${plural(config.exemptions, "exemption")}.`));
    }
    async function load(isAsked) {
      if (isAsked) fill(outcome);
      const get_ = (path) => get(path, { signal: context.signal });
      const diff = get_("/api/v5/config/diff").then((told) => fill(differs, orders(told)), (error) => { if (error.name !== "AbortError") fill(differs, mistakes(error)); });
      const [status, running, watched] = await Promise.all([get_("/api/v5/status"), get_("/api/v5/config"), get_("/api/v5/detections/watch?limit=1000")]);
      config = running;
      const last = status.last_reload;
      const facts = [["Node", plain(status.node)], ["Version", status.version], ["Process", status.pid], ["Started", moment(status.started_at)], ["Config file", plain(status.config, 200)], ["Data", plain(status.data_dir ?? "nowhere: bans are lost when it stops", 200)],
        ["API", status.admin ?? "–"], ["Last reload", last ? [chip(last.ok ? "in use" : "not used", last.ok ? "good" : "bad"), " ", moment(last.at), ` ${plain(last.message, 200)}`] : "none since the start"]];
      fill(state, h("dl", { class: "facts" }, facts.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])));
      const rows = Object.entries(watched.last_hour).map(([name, one]) => {
        const near = watched.data.filter((row) => row.detector === name).length;
        const effect = one.banned + one.would_ban ? `${plural(one.banned, "client")} banned, ${count(one.would_ban)} would have been banned` : "nobody";
        return h("tr", {}, h("td", {}, name.replaceAll("_", " ")), h("td", {}, effect), h("td", { class: "num" }, count(near)));
      });
      fill(detectors, h("p", { class: "hint" }, "With the limits that are set, within the last hour (a detector in shadow bans nobody, and one that is off finds nobody):"), h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Detectors" }, h("table", {}, h("caption", { class: "sr" }, "Detectors"), h("thead", {}, h("tr", {}, ["Detector", "Within the last hour", "Near its limit now"].map((label) => h("th", { scope: "col" }, label)))), h("tbody", {}, rows))),
        h("p", {}, h("a", { href: "/dashboard/watch" }, "Who, and why, and what other limits would do"), " · ", h("a", { href: "/dashboard/settings?option=flapping" }, "The limits of flapping"), " · ", h("a", { href: "/dashboard/settings?option=detect" }, "All of detection")));
      drawOptions();
      await diff;
    }
    context.onUpdate(() => { if (document.activeElement !== find) { find.value = context.params.get("option") ?? ""; drawOptions(); } });
    await load(true);
  },
};
