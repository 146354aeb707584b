// Makes elements. Text is only ever a text node: nothing that a stranger has chosen can become markup.

const SVG = "http://www.w3.org/2000/svg";

function make(element, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked" || name === "indeterminate") element[name] = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  add(element, children);
  return element;
}

function add(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) element.append(child);
  }
}

export const h = (tag, props, ...children) => make(document.createElement(tag), props, children);
export const s = (tag, props, ...children) => make(document.createElementNS(SVG, tag), props, children);

// Shows these in place of what an element shows.
export function fill(element, ...children) {
  element.replaceChildren();
  add(element, children);
  return element;
}

export const byId = (id) => document.getElementById(id);

// Tells, for some seconds, what has been done.
export function toast(text) {
  const box = h("div", { class: "toast" }, text);
  byId("toasts").append(box);
  setTimeout(() => box.remove(), 6000);
}

export function button(label, onclick, kind = "", more = {}) {
  return h("button", { type: "button", class: kind, onclick, ...more }, label);
}

// A field with its label above it.
export function field(label, control, ...more) {
  const id = control.id || (control.id = `f${++fields}`);
  return h("div", { class: "field" }, h("label", { for: id }, label), control, more);
}
let fields = 0;

export function select(options, value, props = {}) {
  const options_ = options.map(([key, label]) => h("option", { value: key, selected: key === value }, label));
  return h("select", props, options_);
}

export const chip = (text, kind = "") => h("span", { class: `chip ${kind}` }, text);

export function debounce(work, wait) {
  let timer;
  const later = (...args) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...args), wait);
  };
  later.stop = () => clearTimeout(timer);
  return later;
}

// What an empty list says, and what to do about it.
export const empty = (title, ...hints) =>
  h("div", { class: "empty" }, h("h2", {}, title), hints.map((hint) => h("p", {}, hint)));
