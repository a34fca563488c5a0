// StepsExplorer in the page.

import {
  clamp,
  computed,
  describe,
  fill,
  generatorFor,
  h,
  inflate,
  key,
  math,
  nearest,
  niceValues,
  paintNothing,
  paintTiles,
  pictureColumns,
  pictureShape,
  short,
  slider,
  stage,
  thin,
  timeline,
  widgetNoise,
} from "kit";

const rising = (a, b) => a - b;
const FRAMES = 7; // pictures of a walk, its two ends included

// A stored part as content: the walk's times, and by frame the greys of x and of x0_hat, each a
// function of the pixel.
async function unpacked(part, start, size) {
  const [finished, film] = await Promise.all([inflate(part.finished), inflate(part.film)]);
  const end = part.times.length - 1;
  const last = (i) => finished[i] / 127.5 - 1;
  const cut = (k) => (i) => film[k * size + i] / 127.5 - 1;
  const x = (k) => (k === 0 ? start : k === end ? last : cut(k - 1));
  return { ...part, x, x0: (k) => (k === end ? last : cut(end - 1 + k)), finished: last };
}

// The same walk, computed here.
async function* walked(network, { steps, eta }, x_T, generator, about) {
  const { schedule } = network;
  const times = schedule.times(steps);
  const frames = thin(steps + 1, FRAMES);
  const [x, x0] = [[], []]; // of the frames
  const begun = performance.now();
  let visited = 0;
  const walk = network.sampler("ddim", eta);
  for await (const step of walk(network.described(about), x_T, schedule, times, generator)) {
    const k = frames.indexOf(visited++);
    if (k >= 0) [x[k], x0[k]] = [step.x, step.x0Hat];
    // Until a moment is reached, the best guess stands for it.
    const at = (seen) => (frame) => (i) => (seen[frame] ?? step.x0Hat)[i];
    const content = {
      times: frames.map((frame) => times[frame]),
      x: at(x),
      x0: at(x0),
      finished: (i) => step.x0Hat[i],
      seconds: (performance.now() - begun) / 1000,
    };
    yield { content, done: step.calls + Number(step.t === 0), of: steps + 1 };
  }
}

function render({ model, el }) {
  const allSteps = model.get("_all_steps");
  const allEtas = model.get("_all_etas");
  const [count, ...shape] = model.get("_shape");
  const look = pictureShape(shape);
  const { rows, columns } = look;
  const size = count * look.size;
  const anySteps = [...new Set([...allSteps, ...niceValues(1, model.get("_T"), true)])].sort(rising);
  const anyEta = [...new Set([...allEtas, ...Array.from({ length: 21 }, (_, i) => i / 20)])].sort(rising);
  const chosen = () => ({ steps: model.get("steps"), eta: model.get("eta") });

  const view = stage({
    model,
    el,
    label: "Steps and eta explorer",
    watch: ["steps", "eta", "walk"],
    paint,
  });

  const x_T = widgetNoise(model, size);
  // What a notebook of version 0.2 stored of it.
  let coarse = null;
  if (model.get("_start")) inflate(model.get("_start")).then((greys) => (coarse = greys));
  const start = (i) => (coarse ? coarse[i] / 127.5 - 1 : x_T()[i]);

  const inRow = (eta) => nearest(allSteps, model.get("steps")).map((steps) => ({ steps, eta }));
  const parts = computed({
    model,
    view,
    watch: ["steps", "eta"],
    chosen,
    shown: () => inRow(model.get("eta")),
    others: () => nearest(allEtas, model.get("eta")).flatMap(inRow),
    index({ steps, eta }) {
      const [row, column] = [allEtas.indexOf(eta), allSteps.indexOf(steps)];
      return row < 0 || column < 0 ? -1 : row * allSteps.length + column;
    },
    unpack: (part) => unpacked(part, start, size),
    compute: (network, choice, seed) =>
      walked(network, choice, x_T(), generatorFor(seed, 1, count), model.get("_network")),
    renewLabel: "New noise",
    partName: ({ steps, eta }) => `${steps} steps, η = ${eta}`,
  });

  // Before the pictures of a new noise are there, a walk has only its two ends.
  const times = () => parts.get(chosen())?.times ?? [0, 0];
  const last = () => times().length - 1;
  const frame = () => Math.round(clamp(model.get("walk"), 0, 1) * last());

  const counts = slider({
    name: "steps",
    label: "number of steps",
    values: () => (parts.free() ? anySteps : allSteps),
    onInput: (steps) => view.set({ steps }),
  });
  const amount = slider({
    name: "eta",
    label: "noise drawn on the way,",
    symbol: "η",
    values: () => (parts.free() ? anyEta : allEtas),
    onInput: (eta) => view.set({ eta }),
  });
  const time = timeline({
    view,
    name: "walk",
    label: "from noise to data, time",
    symbol: "t",
    max: last(),
    seconds: () => 1 + last() / 2,
    get: frame,
    set: (value, options) => view.set({ walk: value / last() }, options),
    show: (value) => `t = ${times()[value]}`,
    speak: (value) => `time ${times()[value]}, frame ${value + 1} of ${last() + 1}`,
  });
  const grid = pictureColumns({
    count,
    labels: model.get("labels"),
    rows: [["x", "result"], ["x0_hat", "signal"]],
  });
  const strips = allSteps.map((steps, i) => {
    const canvas = h("canvas", { role: "img", "data-part": `finished-${i}` });
    canvas.style.aspectRatio = `${columns} / ${count * rows}`;
    const style = `max-width: ${count > 8 ? 40 : 74}px`;
    const element = h("figure", { style }, h("figcaption", {}, String(steps)), canvas);
    // For the mouse; the slider does the same by keyboard.
    element.addEventListener("click", () => view.set({ steps }));
    return { canvas, element };
  });
  const note = h("p", { class: "dl-note", "data-part": "note" });

  view.root.append(
    h("div", { class: "dl-controls" }, counts.element, amount.element),
    parts.row,
    h("div", { class: "dl-below" }, time.element),
    h(
      "p",
      { class: "dl-row" },
      h("span", {}, "above: ", key("result", "pictures"), " ", math("x_t"), " now"),
      h("span", {}, "below: ", key("signal", "expected"), " clean picture ", math("x̂_0")),
    ),
    grid.element,
    h(
      "p",
      { class: "dl-title dl-below" },
      key("result", "Finished pictures"),
      " after so many steps, from the same noise",
    ),
    h("div", { class: "dl-strips" }, ...strips.map(({ element }) => element)),
    note,
  );

  function paint(colours) {
    const [steps, eta] = [model.get("steps"), model.get("eta")];
    counts.sync(steps);
    amount.sync(eta);
    time.range(0, last());
    time.sync(frame());

    strips.forEach(({ canvas, element }, i) => {
      const pair = parts.get({ steps: allSteps[i], eta });
      element.classList.toggle("dl-chosen", allSteps[i] === steps);
      const words = `${allSteps[i]} steps, eta ${eta}`;
      if (pair) paintTiles(canvas, look, count, 1, (k, i) => pair.finished(k * look.size + i));
      else paintNothing(canvas, colours);
      describe(canvas, `${pair ? "" : "not computed yet: "}finished pictures after ${words}`);
    });

    const part = parts.get(chosen());
    view.root.dataset.ready = Boolean(part) && parts.ready(chosen());
    if (!part) {
      grid.clear(colours);
      fill(note, "none", "These pictures are not computed yet for this noise.");
      return;
    }
    const now = frame();
    const when = `at time ${part.times[now]} of a walk in ${steps} steps, eta ${eta}`;
    grid.paint("x", shape, part.x(now), `x t ${when}`);
    grid.paint("x0_hat", shape, part.x0(now), `expected clean picture ${when}`);

    fill(
      note,
      [steps, eta, part.seconds].join(),
      h("span", { class: "dl-number dl-signal" }, String(steps)),
      ` network ${steps === 1 ? "call" : "calls"}, `,
      h("span", { class: "dl-number dl-signal" }, `${short(part.seconds, 2)} s`),
      ` for ${count === 1 ? "the picture" : `all ${count} pictures`} where this was computed. `,
      math("η"),
      ` = ${eta}: ${
        eta === 0
          ? "no noise is drawn on the way, so the starting noise decides everything."
          : eta === 1
            ? "as much noise is drawn at each step as DDPM draws."
            : "part of the noise is kept, part is drawn anew at each step."
      }`,
    );
  }

  return view.end;
}

export default { render };
