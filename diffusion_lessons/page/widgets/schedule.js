// ScheduleExplorer in the page.

import {
  clamp,
  decode,
  describe,
  figure,
  fill,
  h,
  key,
  math,
  niceTicks,
  niceValues,
  paintPicture,
  pictureShape,
  Plot,
  SCHEDULES,
  select,
  short,
  slider,
  stage,
  timeline,
} from "kit";

const KINDS = [
  ["linear", "linear (DDPM)"],
  ["cosine", "cosine (improved DDPM)"],
  ["vp", "variance-preserving (DDGAN)"],
];
const SHOTS = 9;

function render({ model, el }) {
  const image = decode(model.get("_image"), Float32Array);
  const noise = decode(model.get("_noise"), Float32Array);
  const { channels, rows, columns } = pictureShape(model.get("_shape"));

  const view = stage({
    model,
    el,
    label: "Noise schedule explorer",
    watch: ["kind", "T", "beta_1", "beta_T", "t"],
    paint,
  });

  const time = timeline({
    view,
    name: "t",
    label: "time",
    symbol: "t",
    max: model.get("T"),
    seconds: () => 6,
    show: (t) => `${t} of ${model.get("T")}`,
  });
  const kind = select({
    name: "kind",
    label: "schedule",
    options: KINDS,
    onInput: (value) => view.set({ kind: value }),
  });
  const length = slider({
    name: "T",
    label: "steps",
    symbol: "T",
    values: niceValues(2, 4000, true),
    onInput: (T) => {
      time.stop();
      // Stay at the same part of the way.
      view.set({ T, t: Math.round((model.get("t") / model.get("T")) * T) });
    },
  });
  const first = slider({
    name: "beta_1",
    label: "first noise",
    symbol: "β_1",
    values: niceValues(1e-6, 0.9),
    show: (x) => short(x, 2),
    speak: (x) => String(Number(x.toPrecision(3))),
    onInput: (value) => view.set({ beta_1: value }),
  });
  const final = slider({
    name: "beta_T",
    label: "last noise",
    symbol: "β_T",
    values: niceValues(1e-4, 0.99),
    show: (x) => short(x, 2),
    speak: (x) => String(Number(x.toPrecision(3))),
    onInput: (value) => view.set({ beta_T: value }),
  });

  const beta = figure("beta", [key("noise", "Noise added"), " by one step, ", math("β_t")]);
  const kept = figure("alpha_bar", [key("signal", "Signal left"), " (variance), ", math("ᾱ_t")]);
  const ratio = figure("log_snr", [key("result", "Signal to noise"), ", log ", math("ᾱ_t / (1 − ᾱ_t)")]);
  const now = figure("x_t", [key("result", "picture"), " ", math("x_t"), " at ", math("t")], {
    kind: "picture",
  });
  now.canvas.classList.add("dl-edge-result");
  const shots = Array.from({ length: SHOTS }, (_, i) => {
    const canvas = h("canvas", { class: "dl-picture", role: "img", "data-part": `shot-${i}` });
    const caption = h("figcaption");
    return { canvas, caption, element: h("figure", { class: "dl-figure" }, canvas, caption) };
  });
  const verdict = h("p", { class: "dl-note", "data-part": "left" });
  view.root.append(
    h(
      "div",
      { class: "dl-controls" },
      kind.element,
      length.element,
      first.element,
      final.element,
    ),
    h("div", { class: "dl-panels" }, beta.element, kept.element, ratio.element),
    h("div", { class: "dl-below" }, time.element),
    h(
      "div",
      { class: "dl-row" },
      now.element,
      h(
        "div",
        {},
        h("p", { class: "dl-title" }, "The whole way, with the same noise"),
        h("div", { class: "dl-film" }, ...shots.map((shot) => shot.element)),
      ),
    ),
    verdict,
  );

  // Computed once for each setting, not for each repaint.
  let curves = {};
  function update() {
    const settings = ["kind", "T", "beta_1", "beta_T"].map((name) => model.get(name));
    if (curves.settings === settings.join()) return curves;
    const [kind, T, beta_1, beta_T] = settings;
    const made = SCHEDULES[kind](T, ...(kind === "linear" ? [beta_1, beta_T] : []));
    const { alphaBar, beta, logSnr } = made;
    curves = { alphaBar, times: Float64Array.from(alphaBar, (_, t) => t), beta, logSnr };
    curves.settings = settings.join();
    return curves;
  }

  const pictureAt = (a) => {
    const [keep, add] = [Math.sqrt(a), Math.sqrt(1 - a)];
    return (i) => keep * image[i] + add * noise[i];
  };

  function draw(target, colours, { values, colour, y, from, label, t, digits, side, area = 0, words }) {
    const T = values.length - 1;
    const plot = new Plot(target.canvas, colours, {
      x: [0, T],
      y,
      xTicks: niceTicks(0, T, 4).filter(Number.isInteger),
      xLabel: "time t",
    });
    const xs = curves.times.subarray(from);
    plot.line(xs, values.subarray(from), { colour: colours[colour], width: 2.5, area });
    plot.vertical(t, colours.soft);
    const shown = Math.max(t, from);
    const value = values[shown];
    if (Number.isFinite(value)) plot.dot(shown, clamp(value, ...y), colours[colour]);
    const place = clamp(plot.Y(clamp(value, ...y)) - 12, plot.box.top + 12, plot.box.bottom - 8);
    plot.tag(`${label} = ${short(value, digits)}`, t, place, {
      side, // where the curve is not
      colour: colours.ink,
      size: 13,
      halo: true,
    });
    describe(
      target.canvas,
      `${words} from ${short(values[from], 3)} at the start to ${short(values[T], 3)} at the end; ` +
        `${short(value, 3)} at time ${shown} of ${T}`,
    );
  }

  function paint(colours) {
    const T = model.get("T");
    const t = clamp(model.get("t"), 0, T);
    const linear = model.get("kind") === "linear";
    const { alphaBar, beta: noiseAdded, logSnr: ratios } = update();

    kind.sync(model.get("kind"));
    length.sync(T);
    first.sync(model.get("beta_1"), linear);
    final.sync(model.get("beta_T"), linear);
    time.range(0, T);
    time.sync(t);

    const top = 1.12 * Math.max(...noiseAdded.subarray(1));
    const shared = { t, digits: 3 };
    draw(beta, colours, {
      ...shared,
      values: noiseAdded,
      colour: "noise",
      y: [0, Math.min(top, 1.05)],
      from: 1,
      label: t ? "β_t" : "β_1",
      side: "left",
      words: "beta rises",
    });
    draw(kept, colours, {
      ...shared,
      values: alphaBar,
      colour: "signal",
      y: [0, 1.05],
      from: 0,
      label: "ᾱ_t",
      area: 0.12,
      words: "alpha bar falls",
    });
    draw(ratio, colours, {
      ...shared,
      values: ratios,
      colour: "result",
      y: [-12, 12],
      from: 1,
      label: t ? "log SNR" : "log SNR at 1",
      words: "the log of signal to noise falls",
    });

    paintPicture(now.canvas, rows, columns, pictureAt(alphaBar[t]), { channels });
    describe(now.canvas, `the picture at time ${t} of ${T}`);
    // Captions last: a canvas asks for its size, and each new text would have the page laid out anew.
    const at = shots.map((_, i) => Math.round((i / (SHOTS - 1)) * T));
    shots.forEach(({ canvas }, i) => {
      paintPicture(canvas, rows, columns, pictureAt(alphaBar[at[i]]), { channels });
      describe(canvas, `the picture at time ${at[i]}`);
    });
    shots.forEach(({ caption }, i) => fill(caption, at[i], String(at[i])));

    const left = Math.sqrt(alphaBar[T]);
    fill(
      verdict,
      `${left}`,
      "At the end, ",
      math("√ᾱ_T"),
      " = ",
      h("span", { class: "dl-number dl-signal" }, short(left, 2)),
      ` of the picture is left. ${
        left < 0.02
          ? "That is as good as pure noise."
          : left < 0.1
            ? "A trace of the picture remains."
            : "Pure noise is then the wrong place to start from."
      }`,
    );
  }

  return view.end;
}

export default { render };
