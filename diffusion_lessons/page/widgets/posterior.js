// PosteriorExplorer in the page.

import {
  bell,
  clamp,
  decode,
  describe,
  figure,
  fill,
  fixed,
  h,
  key,
  math,
  NoiseSchedule,
  Plot,
  posteriorWeights,
  slider,
  stage,
} from "kit";
import { likelihood, twoTimes } from "./_back.js";

// Prior, likelihood and posterior of x_s as bells [mean, std].
function threeBells(x0, xt, s, t, schedule) {
  const { ofX0, ofXt, std } = posteriorWeights(t, s, schedule);
  return {
    prior: [schedule.alpha[s] * x0, schedule.sigma[s]],
    likelihood: likelihood(xt, s, t, schedule),
    posterior: [ofX0 * x0 + ofXt * xt, std],
    ofX0,
    ofXt,
  };
}

const SPAN = [-4, 4];
const BELLS = { prior: ["signal", [8, 4]], likelihood: ["noise", [2, 3]], posterior: ["result", []] };

function render({ model, el }) {
  const schedule = new NoiseSchedule({ alphaBar: decode(model.get("_alpha_bar"), Float64Array) });
  const { T } = schedule;
  const view = stage({
    model,
    el,
    label: "Posterior explorer",
    watch: ["x_0", "x_t", "t", "stride"],
    paint,
  });

  const number = (name, label, symbol) =>
    slider({
      name,
      label,
      symbol,
      min: -3,
      max: 3,
      step: 0.05,
      show: (x) => fixed(x, 2),
      speak: (x) => x.toFixed(2),
      onInput: (x) => view.set({ [name]: x }),
    });
  const clean = number("x_0", "clean value", "x_0");
  const noisy = number("x_t", "noisy value", "x_t");
  const { time, stride, earlier } = twoTimes({ model, view, T, label: "stride" });

  const title = [
    ...[key("signal", "prior", "dl-dashed"), " ", math("q(x_s | x_0)")],
    ...[" × ", key("noise", "likelihood", "dl-dotted"), " ", math("q(x_t | x_s)")],
    ...[" → ", key("result", "posterior", "dl-solid"), " ", math("q(x_s | x_t, x_0)")],
  ];
  const chart = figure("bells", title);
  chart.canvas.classList.add("dl-wide");
  const result = h("p", { class: "dl-note", "data-part": "mean" });
  view.root.append(
    time.element,
    h("div", { class: "dl-below dl-controls" }, stride.element, clean.element, noisy.element),
    h("div", { class: "dl-panels" }, chart.element),
    result,
  );

  function paint(colours) {
    const [x0, xt] = [model.get("x_0"), model.get("x_t")];
    const t = clamp(model.get("t"), 2, T);
    const s = earlier();
    const bells = threeBells(x0, xt, s, t, schedule);
    const [mean, std] = bells.posterior;
    clean.sync(x0);
    noisy.sync(xt);
    time.sync(t);
    stride.sync(model.get("stride"));

    // A bell may be narrower than a pixel: sample around each one too.
    const places = new Set();
    for (let i = 0; i <= 400; i++) places.add(SPAN[0] + (i / 400) * (SPAN[1] - SPAN[0]));
    for (const name of Object.keys(BELLS)) {
      const [centre, width] = bells[name];
      for (let i = -60; i <= 60; i++) places.add(clamp(centre + (i / 12) * width, ...SPAN));
    }
    const xs = [...places].sort((a, b) => a - b);
    const heights = {};
    let top = 0;
    for (const name of Object.keys(BELLS)) {
      heights[name] = xs.map((x) => bell(x, ...bells[name]));
      top = Math.max(top, ...heights[name]);
    }
    const plot = new Plot(chart.canvas, colours, {
      x: SPAN,
      y: [0, 1.12 * top],
      xTicks: [-4, -3, -2, -1, 0, 1, 2, 3, 4],
      xLabel: `x_s, the value at time s = ${s}`,
      yLabel: "density",
    });
    for (const [name, [colour, dash]] of Object.entries(BELLS)) {
      const isProduct = name === "posterior";
      const style = { colour: colours[colour], dash, width: isProduct ? 3 : 2.2, area: isProduct ? 0.16 : 0.06 };
      plot.line(xs, heights[name], style);
    }
    plot.vertical(mean, colours.result, { to: bell(0, 0, std) });
    for (const [x, colour, name] of [
      [x0, "signal", "x_0"],
      [xt, "noise", "x_t"],
    ]) {
      plot.dot(x, 0, colours[colour]);
      plot.write(name, plot.X(x), plot.Y(0) - 11, {
        align: "center",
        colour: colours[colour],
        size: 13,
        halo: true,
      });
    }
    plot.dot(mean, bell(0, 0, std), colours.result, 4);
    plot.tag(`μ̃ = ${fixed(mean)}, σ̃ = ${fixed(std)}`, mean, plot.box.top + 4, {
      base: "top",
      colour: colours.ink,
      size: 13,
      halo: true,
    });
    describe(
      chart.canvas,
      `three bell curves over x s at time ${s}: prior around ${fixed(bells.prior[0], 2)}, ` +
        `likelihood around ${fixed(bells.likelihood[0], 2)}, posterior with mean ${fixed(mean)} ` +
        `and standard deviation ${fixed(std)}`,
    );
    fill(
      result,
      [x0, xt, t, s].join(),
      math("μ̃"),
      ` = ${fixed(bells.ofX0)} · `,
      h("span", { class: "dl-signal" }, math("x_0")),
      ` + ${fixed(bells.ofXt)} · `,
      h("span", { class: "dl-noise" }, math("x_t")),
      " = ",
      h("span", { class: "dl-number dl-result" }, fixed(mean)),
      ", standard deviation ",
      math("σ̃"),
      " = ",
      h("span", { class: "dl-number dl-result" }, fixed(std)),
    );
  }

  return view.end;
}

export { threeBells };
export default { render };
