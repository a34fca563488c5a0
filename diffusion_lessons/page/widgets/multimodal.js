// MultimodalExplorer in the page.

import {
  bell,
  between,
  clamp,
  decode,
  describe,
  figure,
  fill,
  fixed,
  GaussianMixture,
  h,
  key,
  math,
  NoiseSchedule,
  Plot,
  posteriorWeights,
  select,
  slider,
  softmax,
  stage,
  timeline,
} from "kit";
import { likelihood, twoTimes } from "./_back.js";

// The bumps of q(x_s | x_t) for a mixture on a line.
function bumps({ means, stds, weights }, xt, s, t, schedule) {
  const { alpha: r, sigma } = between(s, t, schedule); // x_t = r x_s + sigma noise
  const b = sigma ** 2;
  const each = means.map((mean, k) => {
    const middle = schedule.alpha[s] * mean;
    const v = (schedule.alpha[s] * stds[k]) ** 2 + schedule.sigma[s] ** 2;
    const seen = r * r * v + b;
    const precision = 1 / v + (r * r) / b;
    return {
      log: Math.log(weights[k]) - 0.5 * ((xt - r * middle) ** 2 / seen + Math.log(seen)),
      mean: (middle / v + (r * xt) / b) / precision,
      std: 1 / Math.sqrt(precision),
    };
  });
  const shares = softmax(each.map(({ log }) => log));
  return each.map(({ mean, std }, k) => ({ weight: shares[k], mean, std }));
}

// q(x_s | x_t, x_0) as [mean, std]; DDPM's step has the mean guess in place of x_0.
function given(x0, xt, s, t, schedule) {
  const { ofX0, ofXt, std } = posteriorWeights(t, s, schedule);
  return [ofX0 * x0 + ofXt * xt, std];
}

// The mean of x_s is the same for the true curve and for the bell beside it.
const meanOf = (parts) => parts.reduce((sum, { weight, mean }) => sum + weight * mean, 0);

// The deviation of the true curve.
function stdOf(parts) {
  const squares = parts.map(({ weight, mean, std }) => ({ weight, mean: mean ** 2 + std ** 2 }));
  return Math.sqrt(meanOf(squares) - meanOf(parts) ** 2);
}

// q(x_s), the prior, at each of the places.
function priorAt(xs, { means, stds, weights }, s, schedule) {
  const mixture = new GaussianMixture({ means: means.map((mean) => [mean]), stds, weights });
  const logs = mixture.logJoint(xs, s, schedule);
  const K = means.length;
  return xs.map((_, i) => logs.subarray(i * K, i * K + K).reduce((sum, log) => sum + Math.exp(log), 0));
}

// The area that two densities share, on an even grid.
function shared(p, q, step) {
  let sum = 0;
  for (let i = 0; i < p.length; i++) sum += Math.min(p[i], q[i]);
  return sum * step;
}

const EDGE = 3.5; // of the axis, as SPAN in multimodal.py
const GRID = Float64Array.from({ length: 2401 }, (_, i) => -6 + i / 200);

// The film of s from t - 1 down to 0, and the slider of t.
function downToZero({ model, view, T }) {
  const steps = () => Math.min(model.get("stride"), model.get("t"));
  const earlier = () => model.get("t") - steps();
  const stride = timeline({
    view,
    name: "stride",
    label: "back to time",
    symbol: "s",
    min: 1,
    max: model.get("t"),
    seconds: () => 7,
    get: steps,
    show: () => `${earlier()}, ${steps()} back from t = ${model.get("t")}`,
  });
  const time = slider({
    name: "t",
    label: "from time",
    symbol: "t",
    min: 2,
    max: T,
    show: (t) => `${t} of ${T}`,
    onInput: (t) => view.set({ t }),
  });
  return { time, stride, earlier };
}

function render({ model, el }) {
  const schedule = new NoiseSchedule({ alphaBar: decode(model.get("_alpha_bar"), Float64Array) });
  const { T } = schedule;
  const mixture = {
    means: model.get("_means"),
    stds: model.get("_stds"),
    weights: model.get("_weights"),
  };
  const view = stage({
    model,
    el,
    label: "Multimodal explorer",
    watch: ["t", "stride", "x_t", "component", "bayes"],
    paint,
  });
  const bayes = Boolean(model.get("bayes")); // not there in what older versions stored
  const { time, stride, earlier } = bayes
    ? downToZero({ model, view, T })
    : twoTimes({ model, view, T, label: "the step," });
  const noisy = slider({
    name: "x_t",
    label: "noisy value",
    symbol: "x_t",
    min: -3,
    max: 3,
    step: 0.05,
    show: (x) => fixed(x, 2),
    onInput: (x) => view.set({ x_t: x }),
  });
  const clean = select({
    name: "component",
    label: "clean value x₀",
    options: mixture.means.map((mean, k) => [k, fixed(mean, 2)]),
    onInput: (k) => view.set({ component: Number(k) }),
  });
  const known = [
    ...["Where ", math("x_s"), " was: ", key("data", "truly"), " ", math("q(x_s | x_t)"), "; "],
    ...[key("ink", "as DDPM draws it", "dl-dashed"), "; "],
    ...[key("signal", "if the clean value is known", "dl-dotted"), " ", math("q(x_s | x_t, x_0)")],
  ];
  const product = [
    ...[key("signal", "all values at s", "dl-dashed"), " ", math("q(x_s)")],
    ...[" × ", key("noise", "leading to the dot", "dl-dotted"), " ", math("q(x_t | x_s)")],
    ...[" → ", key("result", "where the dot was", "dl-solid"), " ", math("q(x_s | x_t)"), "; "],
    ...["thin: the nearest Gaussian"],
  ];
  const chart = figure("curves", bayes ? product : known);
  chart.canvas.classList.add("dl-wide");
  const note = h("p", { class: "dl-note", "data-part": "note" });
  const [film, ...others] = bayes ? [stride, time, noisy] : [time, stride, noisy, clean];
  view.root.append(
    film.element,
    h("div", { class: "dl-below dl-controls" }, ...others.map(({ element }) => element)),
    h("div", { class: "dl-panels" }, chart.element),
    note,
  );

  function paint(colours) {
    const [t, xt, component] = [clamp(model.get("t"), 2, T), model.get("x_t"), model.get("component")];
    const s = earlier();
    time.sync(t);
    if (bayes) stride.range(1, t);
    stride.sync(bayes ? t - s : model.get("stride"));
    noisy.sync(xt);
    clean.sync(String(component));
    const parts = bumps(mixture, xt, s, t, schedule);
    const middle = meanOf(parts);
    const width = bayes ? stdOf(parts) : given(0, xt, s, t, schedule)[1];
    const density = (x) => parts.reduce((sum, { weight, mean, std }) => sum + weight * bell(x, mean, std), 0);
    const share = shared(GRID.map(density), GRID.map((x) => bell(x, middle, width)), GRID[1] - GRID[0]);
    const other = bayes ? likelihood(xt, s, t, schedule) : given(mixture.means[component], xt, s, t, schedule);

    // A bump may be narrower than a pixel: sample around each one too.
    const places = new Set();
    for (let i = 0; i <= 400; i++) places.add(EDGE * (i / 200 - 1));
    for (const [mean, std] of [other, [middle, width], ...parts.map((part) => [part.mean, part.std])]) {
      for (let i = -48; i <= 48; i++) places.add(clamp(mean + (i / 12) * std, -EDGE, EDGE));
    }
    const xs = Float64Array.from(places).sort();
    const truth = xs.map(density);
    const gauss = xs.map((x) => bell(x, middle, width));
    const third = xs.map((x) => bell(x, ...other));
    const prior = bayes ? priorAt(xs, mixture, s, schedule) : [];
    const top = Math.max(...gauss, ...truth, ...prior);
    const plot = new Plot(chart.canvas, colours, {
      x: [-EDGE, EDGE],
      y: [0, 1.15 * top],
      xLabel: `x_s, the value at time s = ${s}`,
      yLabel: "density",
    });
    if (bayes) {
      plot.line(xs, gauss, { colour: colours.ink, width: 1.2 });
      plot.line(xs, prior, { colour: colours.signal, dash: [8, 4], width: 2.2, area: 0.06 });
      plot.line(xs, truth, { colour: colours.result, width: 3, area: 0.18 });
      plot.line(xs, third, { colour: colours.noise, dash: [2, 3], width: 2.2 });
    } else {
      plot.line(xs, third, { colour: colours.signal, dash: [2, 3], width: 2 });
      plot.line(xs, truth, { colour: colours.data, width: 3, area: 0.18 });
      plot.line(xs, gauss, { colour: colours.ink, dash: [8, 4], width: 2.5 });
    }
    plot.dot(xt, 0, colours.ink);
    plot.write("x_t", plot.X(xt), plot.Y(0) - 11, { align: "center", colour: colours.ink, halo: true });
    const percent = `${Math.round(100 * share)}\u00a0%`;
    const whose = bayes ? "the Gaussian" : "DDPM's bell";
    fill(
      note,
      [t, s, xt, component].join(),
      `The truth and ${whose} share `,
      h("span", { class: `dl-number dl-${bayes ? "result" : "data"}` }, percent),
      bayes
        ? " of their area."
        : " of their area. With the clean value known it is always one bell, of the same width as DDPM's.",
    );
    describe(
      chart.canvas,
      `densities of x s at time ${s}: the truth and ${whose} share ${percent}; the latter has mean ` +
        `${fixed(middle, 2)} and standard deviation ${fixed(width, 2)}`,
    );
  }

  return view.end;
}

export { bumps, given, meanOf, priorAt, shared, stdOf };
export default { render };
