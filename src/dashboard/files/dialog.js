// Dialogs: modal, closed by Escape, with the focus back where it was when they close.

import { button, fill, h } from "./dom.js";

// Opens a dialog. `build(close)` gives what is in it; resolves with what `close` is given, or null.
export function open(title, build, { onclose, busy = () => false } = {}) {
  return new Promise((resolve) => {
    const before = document.activeElement;
    const heading = h("h2", { id: `d${++opened}` }, title);
    const dialog = h("dialog", { "aria-labelledby": heading.id });
    let result = null;
    const close = (value = null) => {
      result = value;
      dialog.close();
    };
    dialog.addEventListener("cancel", (event) => { if (busy()) event.preventDefault(); });
    dialog.addEventListener("close", () => {
      dialog.remove();
      before?.isConnected && before.focus?.();
      onclose?.();
      resolve(result);
    });
    fill(dialog, heading, build(close, dialog));
    document.body.append(dialog);
    dialog.showModal();
    (dialog.querySelector("[autofocus]") ?? dialog.querySelector("input, select, textarea, button"))?.focus();
  });
}
let opened = 0;

// Asks whether something is to be done. With `typed`, that word has to be typed first.
export function confirm(title, text, action, { typed = "", kind = "bad" } = {}) {
  return open(title, (close) => {
    const yes = h("button", { type: "submit", class: kind, disabled: Boolean(typed) }, action);
    const word = h("input", { id: "typed", autocomplete: "off", autofocus: true, oninput: () => { yes.disabled = word.value !== typed; } });
    const ask = typed ? h("div", { class: "field" }, h("label", { for: "typed" }, `Type ${typed} to go on`), word) : null;
    const submit = (event) => {
      event.preventDefault();
      if (!typed || word.value === typed) close(true);
    };
    return h("form", { onsubmit: submit }, h("div", {}, text), ask,
      h("div", { class: "ends" }, button("Cancel", () => close(null)), yes));
  });
}

// A form in a dialog: `save` is called on submit; what it throws is shown, and the form stays as it is.
export function form(title, fields, saveLabel, save, more = {}) {
  return open(title, (close, dialog) => {
    const error = h("div", { class: "error", role: "alert" });
    const submit = h("button", { type: "submit", class: "main" }, saveLabel);
    const onsubmit = async (event) => {
      event.preventDefault();
      submit.disabled = true;
      fill(error);
      try {
        const done = await save(dialog);
        if (done !== false) close(done ?? true);
      } catch (problem) {
        fill(error, problem.message);
      } finally {
        submit.disabled = false;
      }
    };
    return h("form", { onsubmit }, fields, error, h("div", { class: "ends" }, button("Cancel", () => close(null)), submit));
  }, more);
}
