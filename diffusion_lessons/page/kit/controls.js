// Controls with their labels. Each has `element` and `sync(value)`, which shows a value.

import { h, math, newId } from "./elements.js";

// A native range input with its label and its value in words. `values` lists the positions of a
// slider that is not evenly spaced, or is a function that does. `show` writes the readout, `speak` what is read aloud.
export function slider({ name, label, symbol, min, max, step = 1, values, show, speak, onInput }) {
  const id = newId();
  const input = h("input", { type: "range", id, "data-name": name });
  const readout = h("output", { for: id, class: "dl-readout" });
  const element = h(
    "div",
    { class: "dl-slider" },
    h("label", { for: id }, label, " ", symbol ? math(symbol) : null),
    readout,
    input,
  );
  const write = show ?? String;
  const listed = typeof values === "function" ? values : () => values;
  const nearest = (value) => {
    const list = listed();
    let best = 0;
    for (let i = 1; i < list.length; i++) {
      if (Math.abs(list[i] - value) < Math.abs(list[best] - value)) best = i;
    }
    return best;
  };
  const range = (low, high) => {
    if (values) [low, high] = [0, listed().length - 1];
    Object.assign(input, { min: low, max: high, step: values ? 1 : step });
  };
  range(min, max);
  input.addEventListener("input", () => {
    const position = Number(input.value);
    onInput(values ? listed()[position] : position);
  });
  return {
    element,
    input,
    range,
    // Show a value, which may be one that the slider itself cannot reach.
    sync(value, enabled = true) {
      if (values && Number(input.max) !== listed().length - 1) range();
      const position = String(values ? nearest(value) : value);
      if (input.value !== position) input.value = position;
      input.disabled = !enabled;
      element.classList.toggle("dl-off", !enabled);
      const text = write(value);
      if (readout.textContent !== text) readout.textContent = text;
      input.setAttribute("aria-valuetext", (speak ?? write)(value));
    },
  };
}

export function select({ name, label, options, onInput }) {
  const id = newId();
  const input = h("select", { id, "data-name": name });
  for (const [value, text] of options) input.append(h("option", { value }, text));
  input.addEventListener("change", () => onInput(input.value));
  const element = h("div", { class: "dl-select" }, h("label", { for: id }, label), input);
  return { element, input, sync: (value) => input.value !== value && (input.value = value) };
}

// One of a few, as radio buttons in a row; `options` are [value, words].
export function choice({ name, label, options, onInput }) {
  const group = newId();
  const inputs = options.map(([value]) =>
    h("input", { type: "radio", name: group, "data-name": name, value, onchange: () => onInput(value) }),
  );
  const row = options.map(([, words], i) => h("label", {}, inputs[i], h("span", {}, words)));
  return {
    element: h("fieldset", { class: "dl-either" }, h("legend", {}, label), h("div", {}, ...row)),
    sync: (chosen) => inputs.forEach((input) => (input.checked = input.value === String(chosen))),
  };
}

export function button(text, onClick, attributes = {}) {
  return h("button", { type: "button", class: "dl-button", onclick: onClick, ...attributes }, text);
}

// One of several pictures, chosen with radio buttons that look like the pictures. `width` is that of
// a picture in CSS pixels.
export function pictureChoice({ count, label, onInput, each = "picture", width = 28 }) {
  const name = newId();
  const canvases = [];
  const inputs = [];
  const element = h("div", { class: "dl-choice", role: "radiogroup", "aria-label": label });
  for (let i = 0; i < count; i++) {
    inputs.push(
      h("input", {
        type: "radio",
        name,
        value: i,
        "aria-label": `${each} ${i + 1} of ${count}`,
        onchange: () => onInput(i),
      }),
    );
    const style = `width: ${width}px`;
    canvases.push(h("canvas", { class: "dl-thumb", style, "aria-hidden": "true" }));
    element.append(h("label", {}, inputs[i], canvases[i]));
  }
  return {
    element,
    canvases,
    sync: (chosen) => inputs.forEach((input, i) => (input.checked = i === chosen)),
  };
}
