// Times: in local time or UTC, whichever is chosen; the other one and how long ago stand in the title.

import { h } from "./dom.js";

let utc = false;
try { utc = localStorage.getItem("times") === "utc"; } catch { /* Local, then. */ }

export const isUtc = () => utc;

export function setUtc(is) {
  utc = is;
  try { localStorage.setItem("times", is ? "utc" : "local"); } catch { /* For this page alone, then. */ }
}

const two = (number) => String(number).padStart(2, "0");

export function stamp(date, inUtc = utc) {
  const get = (part) => (inUtc ? date[`getUTC${part}`]() : date[`get${part}`]());
  const day = `${get("FullYear")}-${two(get("Month") + 1)}-${two(get("Date"))}`;
  return `${day} ${two(get("Hours"))}:${two(get("Minutes"))}:${two(get("Seconds"))}${inUtc ? " UTC" : ""}`;
}

export const clock = (date) => stamp(date).slice(11, 19);

export function span(seconds) {
  const steps = [[86400 * 365, "y"], [86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const left = Math.abs(Math.round(seconds));
  const [unit, word] = steps.find(([unit]) => left >= unit) ?? steps.at(-1);
  return `${Math.floor(left / unit)} ${word}`;
}

export function ago(date) {
  const seconds = (Date.now() - date.getTime()) / 1000;
  return seconds >= 0 ? `${span(seconds)} ago` : `in ${span(seconds)}`;
}

// A moment of the API as an element.
export function moment(text, never = "never") {
  if (text === null || text === undefined || text === "infinity") return h("span", { class: "more" }, never);
  const date = new Date(text);
  if (Number.isNaN(date.getTime())) return h("span", {}, text);
  const title = `${stamp(date, false)} local\n${stamp(date, true)}\n${ago(date)}`;
  return h("time", { datetime: text, title, class: "nowrap" }, stamp(date), " ", h("small", { class: "more" }, `(${ago(date)})`));
}

// For <input type=datetime-local>, which knows no zone: local time.
export const forInput = (date) => stamp(date, false).replace(" ", "T").slice(0, 16);

// As the API takes it.
export const forApi = (date) => date.toISOString().replace(/\.\d+Z$/, "Z");
