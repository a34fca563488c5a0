// StepsExplorer in the page.

import {
  clamp,
  computed,
  describe,
  fill,
  h,
  inflate,
  key,
  math,
  paintNothing,
  paintPicture,
  pictureColumns,
  short,
  slider,
  stage,
  timeline,
} from "kit";

const LEVELS = 12; // greys of a film, as in steps.py

function render({ model, el }) {
  const allSteps = model.get("_all_steps");
  const allEtas = model.get("_all_etas");
  const [count, rows, columns] = model.get("_shape");
  const size = count * rows * columns;
  const indexOf = (steps, eta) => allEtas.indexOf(eta) * allSteps.length + allSteps.indexOf(steps);
  const chosen = () => indexOf(model.get("steps"), model.get("eta"));

  const view = stage({
    model,
    el,
    label: "Steps and eta explorer",
    watch: ["steps", "eta", "walk", "_start"],
    paint,
  });

  // Before the pictures of a new noise are there, a walk has only its two ends.
  const times = () => model.get(`_part_${chosen()}`)?.times ?? [0, 0];
  const last = () => times().length - 1;
  const frame = () => Math.round(clamp(model.get("walk"), 0, 1) * last());

  const counts = slider({
    name: "steps",
    label: "number of steps",
    values: allSteps,
    onInput: (steps) => view.set({ steps }),
  });
  const amount = slider({
    name: "eta",
    label: "noise drawn on the way,",
    symbol: "η",
    values: allEtas,
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

  const unpack = async (part) => ({
    ...part,
    finished: await inflate(part.finished),
    film: await inflate(part.film),
  });
  const parts = computed({
    model,
    view,
    count: allSteps.length * allEtas.length,
    watch: ["steps", "eta"],
    // First the chosen pair, then those that the sliders reach soonest.
    distance(k) {
      const [row, column] = [Math.floor(k / allSteps.length), k % allSteps.length];
      return (
        2 * Math.abs(row - allEtas.indexOf(model.get("eta"))) +
        Math.abs(column - allSteps.indexOf(model.get("steps")))
      );
    },
    unpack,
    renewLabel: "New noise",
    partName: (k) => `${allSteps[k % allSteps.length]} steps, η = ${allEtas[Math.floor(k / allSteps.length)]}`,
  });

  let start = null; // x_T: { value, greys }
  function startingNoise() {
    const value = model.get("_start");
    if (start?.value !== value) {
      const entry = (start = { value, greys: null });
      inflate(value).then((greys) => {
        entry.greys = greys;
        view.repaint();
      });
    }
    return start.greys;
  }

  view.root.append(
    h("div", { class: "dl-controls" }, counts.element, amount.element),
    h("div", { class: "dl-row" }, parts.renew, parts.progress),
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
      const pair = parts.get(indexOf(allSteps[i], eta));
      element.classList.toggle("dl-chosen", allSteps[i] === steps);
      const words = `${allSteps[i]} steps, eta ${eta}`;
      if (pair) paintPicture(canvas, count * rows, columns, (k) => pair.finished[k] / 127.5 - 1);
      else paintNothing(canvas, colours);
      describe(canvas, `${pair ? "" : "not computed yet: "}finished pictures after ${words}`);
    });

    const part = parts.get(chosen());
    const noise = startingNoise();
    view.root.dataset.ready = Boolean(part && noise);
    if (!part || !noise) {
      grid.clear(colours);
      fill(note, "none", "These pictures are not computed yet for this noise.");
      return;
    }
    const now = frame();
    const end = last();
    const cut = (greys, k) => {
      const values = greys.subarray(k * size, (k + 1) * size);
      return (i) => (2 * values[i]) / (LEVELS - 1) - 1;
    };
    const finished = (i) => part.finished[i] / 127.5 - 1;
    const x = now === 0 ? cut(noise, 0) : now === end ? finished : cut(part.film, now - 1);
    const x0 = now === end ? finished : cut(part.film, end - 1 + now);
    const when = `at time ${part.times[now]} of a walk in ${steps} steps, eta ${eta}`;
    grid.paint("x", [rows, columns], x, `x t ${when}`);
    grid.paint("x0_hat", [rows, columns], x0, `expected clean picture ${when}`);

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
