// PredictionExplorer in the page.

import {
  choice,
  clamp,
  combination,
  decode,
  describe,
  figure,
  fill,
  h,
  key,
  math,
  paintNothing,
  paintPicture,
  pictureShape,
  Plot,
  PREDICTIONS,
  scheduleFrom,
  select,
  short,
  slider,
  stage,
  timeline,
} from "kit";

// What each is called, what it is, and the colour and dashes of its curve.
const KINDS = {
  noise: { words: "noise", symbol: "ε", is: "", colour: "noise" },
  x0: { words: "x_0", is: "the clean picture", colour: "signal" },
  v: { words: "v", is: "α ε − σ x_0", colour: "ink" },
  velocity: { words: "velocity", is: "ε − x_0", colour: "ink", dash: [8, 5] },
  score: { words: "score", is: "−ε / σ", colour: "noise" },
};
const NAMES = Object.keys(KINDS);
const BOUNDS = {
  noise: "Read as the picture it is divided by α, which falls to (almost) 0 at T.",
  x0: "Read as noise it is divided by σ, which falls to 0 at t = 0.",
  v: "Nothing small divides it: it is well-behaved at both ends.",
  velocity: "Nothing small divides it: it is well-behaved at both ends.",
  score: "Read as the picture it is divided by α, which falls to (almost) 0 at T.",
};

// The root mean square of what is predicted, if that of x_0 is 1, as that of noise is.
const sizeOf = (alpha, sigma, kind) => Math.hypot(...PREDICTIONS[kind](alpha, sigma));

// How often an error of the source is in the target, each as a share of its own size.
function enlarged(alpha, sigma, source, target) {
  const [, ofSource] = combination(alpha, sigma, source, target);
  if (!Number.isFinite(ofSource)) return Infinity;
  return (Math.abs(ofSource) * sizeOf(alpha, sigma, source)) / sizeOf(alpha, sigma, target);
}

// What a network says that is off by so much of the size of what it predicts.
function answerOf(x0, noise, error, alpha, sigma, kind, off) {
  const [a, b] = PREDICTIONS[kind](alpha, sigma);
  const far = off * sizeOf(alpha, sigma, kind);
  return x0.map((value, i) => a * value + b * noise[i] + far * error[i]);
}

const CURVE = { decades: [-2, 3], ticks: [-2, -1, 0, 1, 2, 3] };
const percent = (share) => `${short(100 * share, 2)}\u00a0%`;
const inWords = (name) => {
  const { words, colour } = KINDS[name];
  const symbol = name === "x0" || name === "v";
  return h("span", { class: `dl-${colour}` }, symbol ? math(words) : `the ${words}`);
};
const named = (name) => (name === "x0" || name === "v" ? math(KINDS[name].words) : KINDS[name].words);

// "1.42 x_t" and "− 1.01 noise", a line each: [number, thing], what is 0 left out.
function terms(parts) {
  const shown = parts.filter(([number]) => number !== 0);
  return shown.map(([number, thing], i) => {
    const sign = number < 0 ? (i ? "− " : "−") : i ? "+ " : "";
    const line = h("span", { class: "dl-line" }, i ? "" : "= ", `${sign}${short(Math.abs(number), 3)} `);
    line.append(thing());
    return line;
  });
}

function render({ model, el }) {
  const { channels, rows, columns } = pictureShape(model.get("_shape"));
  const show = (canvas, at) => paintPicture(canvas, rows, columns, at, { channels });
  const numbers = (name) => Float64Array.from(decode(model.get(name), Float32Array));
  const [x0, noise, error] = ["_x_0", "_noise", "_error"].map(numbers);
  const configs = model.get("_schedules");
  const schedules = Object.fromEntries(
    Object.entries(configs).map(([name, config]) => [name, scheduleFrom(config)]),
  );
  const { T } = Object.values(schedules)[0];

  const view = stage({
    model,
    el,
    label: "Prediction explorer",
    watch: ["t", "schedule", "predicted", "off"],
    paint,
  });
  const time = timeline({
    view,
    name: "t",
    label: "time",
    symbol: "t",
    min: 1,
    max: T,
    seconds: () => 6,
    show: (t) => `${t} of ${T}`,
  });
  const path = select({
    name: "schedule",
    label: "schedule",
    options: Object.keys(schedules).map((name) => [name, name]),
    onInput: (schedule) => view.set({ schedule }),
  });
  const off = slider({
    name: "off",
    label: "its answer is off by",
    min: 0,
    max: 20,
    show: (value) => `${value}\u00a0%`,
    onInput: (value) => view.set({ off: value }),
  });
  const predicted = choice({
    name: "predicted",
    label: "The network predicts",
    options: NAMES.map((name) => [name, named(name)]),
    onInput: (value) => view.set({ predicted: value }),
  });

  const cell = (part, caption, is, colour) => {
    const formula = h("p", { class: "dl-formula" });
    const error = h("p", { class: "dl-soft" });
    const title = [...caption, h("br"), h("span", { class: "dl-soft" }, is)];
    const made = figure(part, title, { kind: "picture", below: formula });
    made.element.append(error);
    made.canvas.classList.add(`dl-edge-${colour}`);
    return { ...made, formula, error };
  };
  const given = cell("x_t", [key("ink", "noisy picture"), " ", math("x_t")], "what it sees", "ink");
  const cells = Object.fromEntries(
    NAMES.map((name) => {
      const { words, symbol, is, colour } = KINDS[name];
      const edge = name === "noise" || name === "x0" ? colour : "ink";
      const caption = [h("span", { class: `dl-key dl-${edge}` }, name === "x0" ? math(words) : words)];
      if (symbol) caption.push(" ", math(symbol));
      const what = name === "x0" ? is : is ? math(is) : "what was added";
      return [name, cell(name, caption, what, edge)];
    }),
  );
  const scale = h("p", { class: "dl-soft", "data-part": "scale" });

  const inX0 = figure("in_x0", ["Error of ", math("x_0"), " ÷ error of the answer, both as shares"]);
  const inNoise = figure("in_noise", ["Error of the noise ÷ error of the answer, both as shares"]);
  const legend = h(
    "p",
    { class: "dl-title dl-below" },
    "Predicted: ",
    ...[key("noise", "noise or score", "dl-solid"), ", ", key("signal", "x₀", "dl-solid"), ", "],
    ...[key("ink", "v", "dl-solid"), ", ", key("ink", "velocity", "dl-dashed")],
  );
  const note = h("p", { class: "dl-note", "data-part": "note" });
  view.root.append(
    time.element,
    h("div", { class: "dl-below" }, predicted.element),
    h("div", { class: "dl-below dl-controls" }, off.element, path.element),
    h("div", { class: "dl-names" }, given.element, ...NAMES.map((name) => cells[name].element)),
    scale,
    note,
    legend,
    h("div", { class: "dl-panels" }, inX0.element, inNoise.element),
  );

  // Computed once for each schedule, not for each repaint.
  const curves = {};
  function curvesOf(name) {
    const { alpha, sigma } = schedules[name];
    curves[name] ??= Object.fromEntries(
      ["x0", "noise"].map((target) => [
        target,
        Object.fromEntries(
          NAMES.map((source) => [
            source,
            alpha.map((a, t) => Math.log10(t ? enlarged(a, sigma[t], source, target) : NaN)),
          ]),
        ),
      ]),
    );
    return curves[name];
  }

  function draw({ canvas }, colours, target, t, source, name) {
    const ofSources = curvesOf(name)[target];
    const plot = new Plot(canvas, colours, {
      x: [0, T],
      y: CURVE.decades,
      yTicks: CURVE.ticks,
      yText: (power) => `×${short(10 ** power, 1)}`,
      xLabel: "time t",
    });
    const times = Float64Array.from({ length: T + 1 }, (_, i) => i);
    // The chosen one last, above the others.
    for (const kind of [...NAMES.filter((other) => other !== source), source]) {
      const { colour, dash } = KINDS[kind];
      const width = kind === source ? 4 : 1.5;
      plot.line(times, ofSources[kind], { colour: colours[colour], dash, width });
    }
    plot.vertical(t, colours.soft);
    const value = 10 ** ofSources[source][t];
    const y = clamp(Math.log10(value), ...CURVE.decades);
    plot.dot(t, y, colours[KINDS[source].colour]);
    const place = clamp(plot.Y(y) - 12, plot.box.top + 14, plot.box.bottom - 8);
    plot.tag(value === Infinity ? "not determined" : `×${short(value, 2)}`, t, place, {
      side: target === "x0" ? "left" : "right",
      colour: colours.ink,
      size: 13,
      halo: true,
    });
    const what = target === "x0" ? "x 0" : "the noise";
    describe(
      canvas,
      value === Infinity
        ? `at time ${t} of ${T} ${what} cannot be read off a predicted ${source}`
        : `how often an error is in ${what}, over time, for each prediction; of a predicted ${source} ` +
            `${short(value, 2)} times at time ${t} of ${T}`,
    );
  }

  function paint(colours) {
    const t = clamp(model.get("t"), 1, T);
    const [name, source, far] = ["schedule", "predicted", "off"].map((trait) => model.get(trait));
    const schedule = schedules[name];
    const [alpha, sigma] = [schedule.alpha[t], schedule.sigma[t]];
    time.sync(t);
    path.sync(name);
    off.sync(far);
    predicted.sync(source);

    const answer = answerOf(x0, noise, error, alpha, sigma, source, far / 100);
    const x_t = x0.map((value, i) => alpha * value + sigma * noise[i]);
    const state = [t, name, source, far].join();
    show(given.canvas, (i) => x_t[i]);
    describe(given.canvas, `x t at time ${t} of ${T}`);
    fill(
      given.formula,
      state,
      ...terms([
        [alpha, () => math("x_0")],
        [sigma, () => h("span", { class: "dl-noise" }, "noise")],
      ]),
    );
    for (const kind of NAMES) {
      const { canvas, element, formula, error: line } = cells[kind];
      const [ofXt, ofAnswer] = combination(alpha, sigma, source, kind);
      const known = Number.isFinite(ofAnswer);
      const grey = kind === "score" ? sigma : 1;
      if (known) show(canvas, (i) => grey * (ofXt * x_t[i] + ofAnswer * answer[i]));
      else paintNothing(canvas, colours);
      element.classList.toggle("dl-said", kind === source);
      const share = (far / 100) * enlarged(alpha, sigma, source, kind);
      const error = !known ? "" : far ? `off by ${percent(share)}` : "exact";
      fill(line, state, error);
      if (kind === source) fill(formula, state, h("b", {}, "the network's answer"));
      else if (!known) fill(formula, state, "not determined: nothing of the picture is in what is known");
      else
        fill(
          formula,
          state,
          ...terms([
            [ofXt, () => math("x_t")],
            [ofAnswer, () => h("span", { class: `dl-${KINDS[source].colour}` }, named(source))],
          ]),
        );
      const words = kind === "x0" ? "x 0" : kind;
      describe(
        canvas,
        !known
          ? `${words} cannot be read off a predicted ${source} at time ${t}`
          : kind === source
            ? `${words}, the network's answer, ${error}`
            : `${words}: ${short(ofXt, 3)} x t ${ofAnswer < 0 ? "minus" : "plus"} ` +
              `${short(Math.abs(ofAnswer), 3)} ${source}, ${error}`,
      );
    }
    fill(
      scale,
      state,
      "Black is −1, white 1; of the score ",
      math("−1/σ"),
      " and ",
      math("1/σ"),
      `, here ±${short(1 / sigma, 3)}.`,
    );
    draw(inX0, colours, "x0", t, source, name);
    draw(inNoise, colours, "noise", t, source, name);

    const counted = far || 1; // without an error there would be nothing to say
    const ends = ["x0", "noise"].filter((target) => target !== source);
    const said = ends.map((target) => {
      const share = enlarged(alpha, sigma, source, target);
      if (share === Infinity) return ["does not determine ", inWords(target)];
      const number = h("span", { class: "dl-number" }, percent((share * counted) / 100));
      return ["is off by ", number, " in ", inWords(target)];
    });
    fill(
      note,
      state,
      ...["At ", math("t"), ` = ${t} an answer that is off by ${counted}\u00a0% in `, inWords(source), " "],
      ...said.flatMap((words, i) => (i ? [" and ", ...words] : words)),
      `. ${BOUNDS[source]}`,
    );
  }

  return view.end;
}

export { answerOf, enlarged };
export default { render };
