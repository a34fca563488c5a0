// AttentionExplorer in the page.

import {
  clamp,
  decode,
  describe,
  figure,
  fill,
  fixed,
  h,
  key,
  math,
  paintNothing,
  pointing,
  select,
  slider,
  stage,
} from "kit";
import { passes } from "./_network.js";

// How much the query looks at each key: softmax of q k / sqrt(width).
function looks(q, keys, places, width) {
  const logits = new Float64Array(places);
  let top = -Infinity;
  for (let j = 0; j < places; j++) {
    let dot = 0;
    for (let c = 0; c < width; c++) dot += q[c] * keys[j * width + c];
    logits[j] = dot / Math.sqrt(width);
    top = Math.max(top, logits[j]);
  }
  let total = 0;
  for (let j = 0; j < places; j++) total += logits[j] = Math.exp(logits[j] - top);
  return logits.map((value) => value / total);
}

// Over how many places weights spread: as many as an even look with the same entropy.
function spread(weights) {
  let entropy = 0;
  for (const w of weights) if (w > 0) entropy -= w * Math.log(w);
  return Math.exp(entropy);
}

function render({ model, el }) {
  const stages = model.get("_stages");
  const numbers = decode(model.get("_numbers"), Int8Array);
  const scales = decode(model.get("_scales"), Float32Array);
  const passCount = model.get("_times").length * model.get("_shape")[0];
  const heads = Math.min(...stages.map((stage) => stage.heads));

  const view = stage({
    model,
    el,
    label: "Attention explorer",
    watch: ["picture", "t", "head", "row", "column"],
    paint,
  });
  const pass = passes({ model, view });
  const { rows, columns } = pass;

  // Where each stage's numbers and scales begin.
  let [start, startScale] = [0, 0];
  for (const one of stages) {
    one.places = one.size[0] * one.size[1];
    one.block = one.heads * one.places * one.width; // of queries, and again of keys
    Object.assign(one, { start, startScale });
    start += passCount * 2 * one.block;
    startScale += passCount * 2 * one.heads;
  }
  function weightsOf(one, place, head) {
    const at = one.start + pass.index() * 2 * one.block;
    const scale = one.startScale + pass.index() * 2 * one.heads;
    const each = head === 0 ? Array.from({ length: one.heads }, (_, i) => i) : [head - 1];
    const mean = new Float64Array(one.places);
    for (const i of each) {
      const from = at + (i * one.places + place) * one.width;
      const unit = scales[scale + i] * scales[scale + one.heads + i];
      const q = Float64Array.from(numbers.subarray(from, from + one.width), (value) => value * unit);
      const keys = at + one.block + i * one.places * one.width;
      const weights = looks(q, numbers.subarray(keys, keys + one.places * one.width), one.places, one.width);
      for (let j = 0; j < one.places; j++) mean[j] += weights[j] / each.length;
    }
    return mean;
  }

  const head = select({
    name: "head",
    label: "head",
    options: Array.from({ length: heads + 1 }, (_, i) => [i, i ? `head ${i}` : "mean of all"]),
    onInput: (value) => view.set({ head: Number(value) }),
  });
  const place = ["row", "column"].map((name) =>
    slider({
      name,
      label: name === "row" ? "the pixel, down" : "the pixel, across",
      min: 0,
      max: (name === "row" ? rows : columns) - 1,
      onInput: (value) => view.set({ [name]: value }),
    }),
  );
  const noisy = figure("x_t", [key("signal", "the pixel"), " in ", math("x_t"), ": click or drag"]);
  const panels = stages.map(({ size }, i) =>
    figure(`look-${i}`, [key("result", "where it looks"), ` at ${size[0]} × ${size[1]}`], {
      below: h("p", { class: "dl-soft", "data-part": `spread-${i}` }),
    }),
  );
  for (const { canvas } of [noisy, ...panels]) canvas.classList.add("dl-map");
  view.root.append(
    pass.controls,
    h("div", { class: "dl-controls dl-below" }, head.element, ...place.map(({ element }) => element)),
    h("div", { class: "dl-panels" }, noisy.element, ...panels.map(({ element }) => element)),
  );

  const move = (event) => {
    const box = event.currentTarget.getBoundingClientRect();
    const at = (share, count) => clamp(Math.floor(share * count), 0, count - 1);
    view.set({
      row: at((event.clientY - box.top) / box.height, rows),
      column: at((event.clientX - box.left) / box.width, columns),
    });
  };
  for (const { canvas } of [noisy, ...panels]) {
    pointing(canvas, { move, ...view.keeping("row", "column") });
  }

  // A frame around one cell of a grid.
  function mark(canvas, [down, across], row, column, colour) {
    const ctx = canvas.getContext("2d"); // its unit is a CSS pixel still
    const [high, wide] = [canvas.clientHeight / down, canvas.clientWidth / across];
    ctx.strokeStyle = colour;
    ctx.lineWidth = 2.5;
    ctx.strokeRect(column * wide - 1, row * high - 1, wide + 2, high + 2);
  }

  function paint(colours) {
    const [k, row, column] = ["head", "row", "column"].map((name) => model.get(name));
    head.sync(String(k));
    place[0].sync(row);
    place[1].sync(column);
    if (!pass.ready()) {
      for (const { canvas } of [noisy, ...panels]) paintNothing(canvas, colours);
      return;
    }
    pass.paintPicture(noisy.canvas, "x_t");
    mark(noisy.canvas, [rows, columns], row, column, colours["signal-on-black"]);
    describe(noisy.canvas, `noisy picture at time ${model.get("t")}, pixel in row ${row}, column ${column} marked`);
    stages.forEach((one, i) => {
      const { size, places } = one;
      const [r, c] = [Math.floor((row * size[0]) / rows), Math.floor((column * size[1]) / columns)];
      const weights = weightsOf(one, r * size[1] + c, k);
      const top = Math.max(...weights);
      const { canvas } = panels[i];
      pass.paintPicture(canvas, "x_t");
      const ctx = canvas.getContext("2d");
      const [high, wide] = [canvas.clientHeight / size[0], canvas.clientWidth / size[1]];
      ctx.globalAlpha = 0.72;
      ctx.fillStyle = "black";
      ctx.fillRect(0, 0, canvas.clientWidth, canvas.clientHeight);
      ctx.fillStyle = colours["result-on-black"];
      weights.forEach((weight, j) => {
        ctx.globalAlpha = (0.95 * weight) / top;
        ctx.fillRect((j % size[1]) * wide, Math.floor(j / size[1]) * high, wide + 0.5, high + 0.5);
      });
      ctx.globalAlpha = 1;
      mark(canvas, size, r, c, colours["signal-on-black"]);
      let near = 0;
      for (let y = Math.max(r - 1, 0); y <= Math.min(r + 1, size[0] - 1); y++) {
        for (let x = Math.max(c - 1, 0); x <= Math.min(c + 1, size[1] - 1); x++) {
          near += weights[y * size[1] + x];
        }
      }
      const wideness = spread(weights);
      const over = wideness < 9.95 ? fixed(wideness, 1) : String(Math.round(wideness));
      const words = `spread over about ${over} of ${places} places; ${Math.round(100 * near)}\u00a0% on itself and its neighbours`;
      const below = panels[i].element.querySelector("p");
      fill(below, words, words);
      describe(canvas, `attention at ${size[0]} by ${size[1]}: ${words}`);
    });
  }

  return view.end;
}

export { looks, spread };
export default { render };
