// Takes in a file: first as a dry run, whose report is shown, and then in whole or not at all.

import { call, query } from "./api.js";
import { button, chip, field, fill, h, select, toast } from "./dom.js";
import { open } from "./dialog.js";
import { KINDS } from "./banform.js";
import { count, plain, plural, size } from "./text.js";

const FORMATS = [["jsonl", "JSON lines (ours)"], ["emqx-csv", "EMQX: CSV"], ["emqx-json", "EMQX: JSON"], ["tbmq-json", "TBMQ: JSON"], ["plain", "Plain: a name a line"]];

// What a file most likely is.
async function guess(file) {
  const start = (await file.slice(0, 4096).text()).trimStart();
  if (/\.csv$/i.test(file.name)) return "emqx-csv";
  if (start.startsWith("[") || start.startsWith("{")) {
    if (/"(blockedClients|clientType|regexMatchTarget|blockedClientType|expirationTime)"/.test(start)) return "tbmq-json";
    return start.startsWith("[") || /^\{\s*"(data|meta)"/.test(start) ? "emqx-json" : "jsonl";
  }
  return "plain";
}

// Resolves true when something was taken in.
export function importList(list) {
  const what = list === "banned" ? "bans" : "exemptions";
  let isBusy = false, file = null;
  return open(`Import ${what}`, (close) => {
    const picker = h("input", { type: "file", class: "sr", id: "file", "aria-label": "File to import" });
    const drop = h("div", { class: "drop" }, h("p", {}, "Drag a file here"), h("label", { for: "file", class: "button" }, "or choose one"), picker);
    const format = select(FORMATS, "jsonl"), kind = select(KINDS, "clientid");
    const mode = select([["put", "change it"], ["add", "refuse the file"]], "put");
    const expired = h("input", { type: "checkbox", id: "expired" });
    const kindField = field("Names of the plain list are", kind);
    const report = h("div", { "aria-live": "polite" });
    const go = h("button", { type: "button", class: "main", disabled: true }, "Import");
    const cancel = button("Cancel", () => close(null));
    const path = (isDry) => `/api/v5/${list}/import${query({ format: format.value, mode: mode.value, as: format.value === "plain" ? kind.value : "", keep_expired: expired.checked ? "true" : "", dry_run: isDry ? "true" : "" })}`;
    const send = (isDry) => call("POST", path(isDry), { body: file, type: "application/octet-stream" });
    const busy = (is) => {
      isBusy = is;
      for (const control of [format, kind, mode, expired, picker, cancel]) control.disabled = is;
    };

    async function tryOut() {
      kindField.hidden = format.value !== "plain";
      go.disabled = true;
      if (!file) return;
      fill(report, h("p", { class: "hint" }, `Reading ${plain(file.name, 60)}, ${size(file.size)}…`));
      busy(true);
      try {
        const { body } = await send(true);
        const isGood = body.mistakes_in_all === 0 && body.records > 0;
        fill(report, h("h3", {}, `Dry run of ${plain(file.name, 60)}`), h("p", {}, chip(isGood ? "can be taken in" : "cannot be taken in", isGood ? "good" : "bad"), ` ${plural(body.records, "record")}: ${count(body.added)} new, ${count(body.changed)} changed, ${count(body.records - body.added - body.changed - body.mistakes_in_all)} as they are, ${plural(body.mistakes_in_all, "mistake")}.`),
          body.mistakes_in_all ? [h("p", {}, "A file is taken in whole or not at all. Correct these:"), h("ul", { class: "error" }, body.mistakes.slice(0, 20).map((mistake) => h("li", {}, plain(mistake, 300)))), body.mistakes_in_all > 20 ? h("p", {}, `… and ${count(body.mistakes_in_all - 20)} more.`) : null] : null);
        go.disabled = !isGood;
      } catch (error) {
        fill(report, h("div", { class: "error", role: "alert" }, plain(error.message, 400)));
      } finally { busy(false); }
    }
    async function take(picked) {
      if (!picked || isBusy) return;
      file = picked;
      format.value = await guess(file);
      await tryOut();
    }
    picker.addEventListener("change", () => take(picker.files[0]));
    for (const name of ["dragover", "dragenter"]) drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
    drop.addEventListener("dragleave", () => drop.classList.remove("over"));
    drop.addEventListener("drop", (event) => {
      event.preventDefault();
      drop.classList.remove("over");
      take(event.dataTransfer.files[0]);
    });
    for (const control of [format, kind, mode, expired]) control.addEventListener("change", tryOut);
    go.addEventListener("click", async () => {
      go.disabled = true;
      busy(true);
      try {
        const { body } = await send(false);
        toast(`${count(body.added)} added, ${count(body.changed)} changed.`);
        isBusy = false;
        close(true);
      } catch (error) {
        fill(report, h("div", { class: "error", role: "alert" }, plain(error.message, 400)));
      } finally { busy(false); }
    });
    kindField.hidden = true;
    return [drop, h("div", { class: "filters" }, h("label", {}, "Form", format), h("label", {}, "What is there already", mode), kindField),
      h("label", { class: "check" }, expired, "take in what has ended, too"), report, h("div", { class: "ends" }, cancel, go)];
  }, { busy: () => isBusy });
}
