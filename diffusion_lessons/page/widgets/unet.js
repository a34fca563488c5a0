// UNetExplorer in the page.

import {
  clamp,
  describe,
  figure,
  fill,
  h,
  key,
  math,
  newId,
  paintNothing,
  paintPicture,
  stage,
} from "kit";
import { passes } from "./_network.js";

const WAY = {
  input: "the way in",
  down: "on the way down",
  middle: "in the middle",
  up: "on the way up",
  output: "the answer",
};
const FACE = { input: "signal", down: "signal", middle: "soft", up: "signal" };

function sayStage({ kind, channels, size, resamples, skip, heads, shown }, prediction) {
  const place = `${channels} ${channels === 1 ? "channel" : "channels"} of ${size[0]} × ${size[1]}`;
  if (kind === "output") {
    const name = prediction === "x0" ? "x₀" : prediction;
    return `The predicted ${name}, ${size[0]} × ${size[1]}, at the picture's own size.`;
  }
  const what =
    kind === "input"
      ? "A convolution takes the picture in"
      : resamples
        ? `A block ${WAY[kind]} that only changes the resolution`
        : `A residual block ${WAY[kind]}`;
  const more = [
    heads ? `, then attention with ${heads} ${heads === 1 ? "head" : "heads"}` : "",
    skip == null ? "" : "; its input is joined by the box at the other end of its arc",
  ].join("");
  const some = shown.length < channels ? ` Shown: the ${shown.length} that vary most.` : "";
  return `${what}${more}: ${place}.${some}`;
}

function render({ model, el }) {
  const stages = model.get("_stages");
  const prediction = model.get("_prediction") ?? "noise"; // older versions stored none
  const say = (one) => sayStage(one, prediction);
  const face = ({ kind }) => FACE[kind] ?? (prediction === "noise" ? "noise" : "soft");
  const view = stage({
    model,
    el,
    label: "U-Net explorer",
    watch: ["stage", "picture", "t"],
    paint,
  });
  const pass = passes({ model, view });
  let maps = null;
  pass.unpack("_maps", (bytes) => (maps = bytes));
  // Where each stage's numbers begin, and how many each pass has.
  const blocks = stages.map(({ shown, size }) => shown.length * size[0] * size[1]);
  const passCount = model.get("_times").length * pass.count;
  const starts = blocks.map((_, i) =>
    blocks.slice(0, i).reduce((sum, block) => sum + block * passCount, 0),
  );

  // The network: a column for each stage, arcs above for the skip connections.
  const name = newId();
  const tallest = Math.max(...stages.map(({ size }) => size[0]));
  const inputs = [];
  const columns = stages.map((one, i) => {
    const { channels, size, heads } = one;
    inputs.push(
      h("input", {
        type: "radio",
        name,
        value: i,
        "aria-label": `box ${i + 1} of ${stages.length}: ${say(one)}`,
        onchange: () => view.set({ stage: i }),
      }),
    );
    const high = `height: ${Math.round(20 + (size[0] / tallest) * 64)}px`;
    const box = h(
      "span",
      { class: `dl-box dl-box-${face(one)}`, style: high, "aria-hidden": "true" },
      heads ? h("span", { class: "dl-eye" }) : null,
    );
    const words = h("span", { class: "dl-soft", "aria-hidden": "true" }, `${channels}`, h("br"), `${size[0]}²`);
    return h("label", {}, inputs[i], h("span", { class: "dl-stand" }, box), words);
  });
  const arcs = stages.flatMap(({ skip }, i) => {
    if (skip == null) return [];
    const [from, to] = [skip + 0.5, i + 0.5];
    const high = 6 + (34 * (to - from)) / stages.length;
    return [`M ${from} 40 C ${from} ${40 - high * 1.3}, ${to} ${40 - high * 1.3}, ${to} 40`];
  });
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", `0 0 ${stages.length} 41`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  for (const d of arcs) {
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("d", d);
    path.setAttribute("vector-effect", "non-scaling-stroke");
    svg.append(path);
  }
  const network = h(
    "div",
    { class: "dl-network dl-meaning" },
    svg,
    h("div", { class: "dl-stages", role: "radiogroup", "aria-label": "stage of the network" }, ...columns),
  );

  const noisy = figure("x_t", [key("ink", "in"), ": ", math("x_t")], { kind: "picture" });
  const guess = figure("x0_hat", [key("result", "out"), ", as a picture: ", math("x̂_0")], {
    kind: "picture",
  });
  const grid = figure("maps", ["Its ", key("signal", "feature maps"), ": grey is 0, white positive"]);
  grid.canvas.classList.add("dl-maps");
  const note = h("p", { class: "dl-note", "data-part": "note" });
  view.root.append(
    pass.controls,
    network,
    note,
    h("div", { class: "dl-sides" }, noisy.element, grid.element, guess.element),
  );

  function paint(colours) {
    const chosen = clamp(model.get("stage"), 0, stages.length - 1);
    inputs.forEach((input, i) => (input.checked = i === chosen));
    fill(note, String(chosen), say(stages[chosen]));
    if (!pass.ready()) {
      for (const { canvas } of [noisy, grid, guess]) paintNothing(canvas, colours);
      return;
    }
    const when = `at time ${model.get("t")}`;
    pass.paintPicture(noisy.canvas, "x_t");
    pass.paintPicture(guess.canvas, "x0_hat");
    describe(noisy.canvas, `noisy picture ${when}`);
    describe(guess.canvas, `what the network makes of it ${when}`);

    const { shown, size } = stages[chosen];
    const [rows, cols] = size;
    const across = shown.length > 4 ? Math.ceil(shown.length / Math.ceil(shown.length / 6)) : shown.length;
    const down = Math.ceil(shown.length / across);
    const gap = 1; // a column and a row of paper between two maps
    const [tall, wide] = [down * (rows + gap) - gap, across * (cols + gap) - gap];
    Object.assign(grid.canvas.style, {
      aspectRatio: `${wide} / ${tall}`,
      maxWidth: `${Math.min(across * 96, 576)}px`,
    });
    const from = starts[chosen] + pass.index() * blocks[chosen];
    paintPicture(grid.canvas, tall, wide, (i) => {
      const [row, column] = [Math.floor(i / wide), i % wide];
      const map = Math.floor(row / (rows + gap)) * across + Math.floor(column / (cols + gap));
      const [y, x] = [row % (rows + gap), column % (cols + gap)];
      if (map >= shown.length || y === rows || x === cols) return 0;
      return maps[from + (map * rows + y) * cols + x] / 127.5 - 1;
    });
    // What is no map is cut out, down to the page.
    const ctx = grid.canvas.getContext("2d"); // its unit is a CSS pixel still
    const rest = down * across - shown.length;
    const [u, v] = [grid.canvas.clientWidth / wide, grid.canvas.clientHeight / tall];
    const cut = (x, y, w, hh) => ctx.clearRect(x * u, y * v, w * u, hh * v);
    for (let k = 1; k < across; k++) cut(k * (cols + gap) - gap, 0, gap, tall);
    for (let k = 1; k < down; k++) cut(0, k * (rows + gap) - gap, wide, gap);
    if (rest) cut((across - rest) * (cols + gap) - gap, tall - rows, rest * (cols + gap), rows);
    describe(grid.canvas, `${shown.length} feature maps of box ${chosen + 1}, ${when}`);
  }

  return view.end;
}

export { sayStage };
export default { render };
