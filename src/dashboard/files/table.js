// Tables: sorted by the server, with rows that can be chosen, and pages that are asked for one by one.

import { button, fill, h, select } from "./dom.js";
import { plain } from "./text.js";

// `columns`: [{label, sort, num, cell(row)}]. `sort`: {by, order, set(by, order)}. `choice`: a Set of keys, with `key(row)`
// and `name(row)`; `onchoice` is told when it changes.
export function table({ caption, columns, rows, sort, choice = null, key = null, name = null, onchoice = () => {}, choosable = () => true }) {
  const head = columns.map(({ label, sort: by, num }) => {
    const state = by && sort?.by === by ? (sort.order === "desc" ? "descending" : "ascending") : null;
    const next = by && sort?.by === by && sort.order !== "desc" ? "desc" : "asc";
    const text = by && sort ? h("button", { type: "button", onclick: () => sort.set(by, next) }, label) : label || h("span", { class: "sr" }, "Actions");
    return h("th", { scope: "col", class: num ? "num" : null, "aria-sort": state }, text);
  });
  const open = choice ? rows.filter(choosable) : [];
  const all = choice && h("input", { type: "checkbox", "aria-label": "Choose all rows of this page" });
  const boxes = [];
  const mark = () => {
    const chosen = open.filter((row) => choice.has(key(row))).length;
    all.checked = open.length > 0 && chosen === open.length;
    all.indeterminate = chosen > 0 && chosen < open.length;
    onchoice();
  };
  const body = rows.map((row) => {
    const line = h("tr", {});
    if (choice) {
      const box = choosable(row) ? h("input", { type: "checkbox", "aria-label": `Choose ${plain(name(row), 40)}`, checked: choice.has(key(row)) }) : null;
      const show = () => line.classList.toggle("chosen", choice.has(key(row)));
      box?.addEventListener("change", () => {
        choice[box.checked ? "add" : "delete"](key(row));
        show();
        mark();
      });
      boxes.push([row, box, show]);
      show();
      line.append(h("td", {}, box));
    }
    for (const { label, num, cell } of columns) line.append(h("td", { class: num ? "num" : null, "data-label": label || null }, h("div", {}, cell(row))));
    return line;
  });
  if (choice) {
    all.addEventListener("change", () => {
      for (const [row, box, show] of boxes) {
        if (!box) continue;
        choice[all.checked ? "add" : "delete"](key(row));
        box.checked = all.checked;
        show();
      }
      mark();
    });
    mark();
  }
  return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption },
    h("table", { class: "cards" }, h("caption", { class: "sr" }, caption),
      h("thead", {}, h("tr", {}, choice && h("th", { scope: "col" }, all), head)), h("tbody", {}, body)));
}

// Puts a new table in the place of the old one, unless somebody is reading something in it just now. The focus stays
// on what it was on.
export function refresh(box, make) {
  const marked = getSelection();
  const isReading = box.querySelector("details[open]") || (!marked.isCollapsed && box.contains(marked.anchorNode));
  if (document.querySelector("dialog[open]") || isReading) return;
  const focused = box.contains(document.activeElement) ? document.activeElement : null;
  const name = (element) => element.getAttribute("aria-label") ?? element.textContent;
  const left = box.querySelector(".scroll")?.scrollLeft ?? 0;
  fill(box, make());
  const scroll = box.querySelector(".scroll");
  if (left && scroll) scroll.scrollLeft = left;
  if (!focused) return;
  const same = [...box.querySelectorAll("button, a, input, summary")].find((one) => name(one) === name(focused));
  (same ?? scroll ?? document.getElementById("main")).focus();
}

// Fields that filter a list. What is in them stands in the address.
export function filters(context, list) {
  const form = h("form", { class: "filters", role: "search", onsubmit: (event) => { event.preventDefault(); apply(); } });
  const controls = new Map();
  const apply = () => {
    const changes = { cursor: "", page: "" };
    for (const [name, control] of controls) changes[name] = control.value;
    context.set(changes);
  };
  for (const { name, label, options, size = 14, type = "search", hint } of list) {
    const value = context.params.get(name) ?? "";
    const control = options ? select(options, value, { onchange: apply }) : h("input", { type, size, value, placeholder: hint ?? null, onchange: apply, spellcheck: "false", autocomplete: "off" });
    controls.set(name, control);
    form.append(h("label", {}, label, control));
  }
  form.append(h("div", { class: "row" }, h("button", { type: "submit" }, "Filter"),
    button("Reset", () => {
      const changes = { cursor: "", page: "" };
      for (const name of controls.keys()) changes[name] = "";
      context.set(changes);
    }, "quiet")));
  return { form, show() { for (const [name, control] of controls) if (control !== document.activeElement) control.value = context.params.get(name) ?? ""; } };
}

// Pages by number.
export function pager(context, meta) {
  const last = Math.max(1, Math.ceil(meta.count / meta.limit));
  const to = (page) => context.set({ page: page === 1 ? "" : page });
  return h("div", { class: "pages" }, button("Previous", () => to(meta.page - 1), "", { disabled: meta.page <= 1 }),
    h("span", {}, `Page ${meta.page.toLocaleString()} of ${last.toLocaleString()}, ${meta.count.toLocaleString()} in all`),
    button("Next", () => to(meta.page + 1), "", { disabled: !meta.hasnext }));
}
