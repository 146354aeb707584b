// Shows what strangers call themselves: bounded, apart from what stands around it, and with nothing invisible in it.

import { h } from "./dom.js";

// Control and format characters, line ends, what looks like nothing, and what turns text around.
const ODD = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cn}\u034F\u115F\u1160\u17B4\u17B5\u180B-\u180F\u2800\u3164\uFFA0\uFFFC\uFFFD]|[\u00A0\u1680\u2000-\u200A\u202F\u205F\u3000]|\p{Variation_Selector}|^ +| +$| {2,}/gu;
const SHOWN = 96;
const WHOLE = 2048;

const code = (char) => `U+${char.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
const name = (odd) => (odd[0] === " " ? "␣".repeat(Math.min(odd.length, 8)) : code(odd));
const bytes = (text) => new TextEncoder().encode(text).length;

// The text with odd characters written out: for titles and labels, which cannot have elements.
export function plain(text, max = SHOWN) {
  const cut = [...String(text).slice(0, max * 2)].slice(0, max).join("");
  const shown = cut.replace(ODD, (odd) => `⟨${name(odd)}⟩`);
  return cut.length < text.length ? `${shown}… (${bytes(text).toLocaleString()} bytes)` : shown;
}

// The text as an element.
export function shown(text, max = SHOWN) {
  if (text === null || text === undefined) return h("span", { class: "more" }, "none");
  if (text === "") return h("span", { class: "more" }, "empty");
  const cut = [...text.slice(0, max * 2)].slice(0, max).join("");
  const parts = [];
  let end = 0;
  for (const odd of cut.matchAll(ODD)) {
    parts.push(cut.slice(end, odd.index), h("span", { class: "odd" }, name(odd[0])));
    end = odd.index + odd[0].length;
  }
  parts.push(cut.slice(end));
  const is_cut = cut.length < text.length;
  const more = is_cut ? h("span", { class: "more" }, `… ${bytes(text).toLocaleString()} bytes`) : null;
  return h("bdi", { class: "id", title: is_cut || parts.length > 1 ? plain(text, WHOLE) : null }, parts, more);
}

// The refused list keeps 256 bytes of a name; one that was cut names nobody.
export const isCut = (text) => typeof text === "string" && text.endsWith("…") && bytes(text) >= 253;

export const count = (number) => Number(number ?? 0).toLocaleString();

export function plural(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

export function size(number) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = number, unit = 0;
  while (value >= 1000 && unit < units.length - 1) { value /= 1000; unit += 1; }
  return `${value < 10 && unit ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}
