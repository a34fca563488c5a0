// BoundExplorer in the page.

import { bell, describe, figure, fill, fixed, h, key, math, Plot, slider, stage } from "kit";

// A model that draws z from N(0, 1) and x from N(z, noise^2): log p(x), the posterior of z, and for
// a guess q the logarithms of p(x, z) / q(z) at `places`, the ELBO and the gap. All in nats.
function boundOf(x, noise, mean, std, places) {
  const logBell = (value, middle, width) =>
    -0.5 * (((value - middle) / width) ** 2 + Math.log(2 * Math.PI)) - Math.log(width);
  const total = 1 + noise ** 2;
  const posterior = { mean: x / total, std: noise / Math.sqrt(total) };
  const logP = logBell(x, 0, Math.sqrt(total));
  const ratio = (std / posterior.std) ** 2;
  const gap = 0.5 * (ratio - 1 - Math.log(ratio) + ((mean - posterior.mean) / posterior.std) ** 2);
  const logRatios = places.map((place) => {
    const z = mean + std * place;
    return logP + logBell(z, posterior.mean, posterior.std) - logBell(z, mean, std);
  });
  return { posterior, logP, gap, elbo: logP - gap, logRatios };
}

const SPAN = [-3, 3];
const GRID = Float64Array.from({ length: 601 }, (_, i) => SPAN[0] + i / 100);

function render({ model, el }) {
  const [x, noise] = [model.get("_x"), model.get("_noise")];
  const view = stage({ model, el, label: "Bound explorer", watch: ["mean", "std"], paint });
  const control = (name, label, min) =>
    slider({
      name,
      label,
      min,
      max: 2,
      step: 0.05,
      show: (value) => fixed(value, 2),
      onInput: (value) => view.set({ [name]: value }),
    });
  const mean = control("mean", "mean of the guess q", -2);
  const std = control("std", "its standard deviation", 0.1);
  const bells = figure("bells", [
    ...["The latent: ", key("signal", "the guess", "dl-dashed"), " ", math("q(z)"), " and "],
    ...[key("result", "the posterior", "dl-solid"), " ", math("p(z | x)")],
  ]);
  const log = figure("log", [
    ...[key("signal", "Ratios"), " ", math("w"), " on the logarithm's curve; the bar falls from "],
    ...[key("result", "log p(x)"), " to ", key("signal", "the average of log w")],
  ]);
  const note = h("p", { class: "dl-note", "data-part": "note" });
  view.root.append(
    h("div", { class: "dl-controls" }, mean.element, std.element),
    h("div", { class: "dl-panels" }, bells.element, log.element),
    note,
  );

  function paint(colours) {
    const q = { mean: model.get("mean"), std: model.get("std") };
    mean.sync(q.mean);
    std.sync(q.std);
    const bound = boundOf(x, noise, q.mean, q.std, model.get("_places"));
    const { posterior, logP, gap, elbo, logRatios } = bound;

    const heights = [q, posterior].map((g) => Array.from(GRID, (z) => bell(z, g.mean, g.std)));
    const top = 1.12 * Math.max(...heights.flat());
    const left = new Plot(bells.canvas, colours, { x: SPAN, y: [0, top], xLabel: "z", yLabel: "density" });
    left.line(GRID, heights[1], { colour: colours.result, area: 0.12 });
    left.line(GRID, heights[0], { colour: colours.signal, dash: [8, 4] });

    const p = Math.exp(logP);
    const [low, high] = [logP - 4, logP + 1.2];
    const right = new Plot(log.canvas, colours, {
      x: [0, 3 * p],
      y: [low, high],
      xLabel: "w = p(x, z) / q(z)",
      yLabel: "log w",
    });
    const ws = Array.from({ length: 300 }, (_, i) => (3 * p * (i + 1)) / 300);
    right.line(ws, ws.map(Math.log), { colour: colours.soft, width: 1.5 });
    right.scatter(logRatios.flatMap((each) => [Math.exp(each), each]), { colour: colours.signal, radius: 3.5 });
    right.vertical(p, colours.ink, { dash: [], width: 3, from: Math.max(elbo, low), to: logP });
    right.dot(p, logP, colours.result);
    right.write("log p(x)", right.X(p) - 9, right.Y(logP) - 9, { align: "right", colour: colours.result, halo: true });
    if (elbo > low) {
      right.dot(p, elbo, colours.signal);
      right.write("ELBO", right.X(p) + 10, right.Y(elbo) + 14, { colour: colours.signal, halo: true });
    }
    fill(
      note,
      [q.mean, q.std].join(),
      "log p(x) = ",
      h("span", { class: "dl-number dl-result" }, fixed(logP)),
      ", ELBO ",
      h("span", { class: "dl-number dl-signal" }, fixed(elbo)),
      ", gap ",
      h("span", { class: "dl-number" }, fixed(gap)),
      ` nats, the divergence of the guess from the posterior N(${fixed(posterior.mean, 2)}, ${fixed(posterior.std, 2)}²)`,
    );
    describe(
      bells.canvas,
      `the guess, a bell around ${fixed(q.mean, 2)} of width ${fixed(q.std, 2)}, and the posterior around ` +
        `${fixed(posterior.mean, 2)} of width ${fixed(posterior.std, 2)}`,
    );
    describe(log.canvas, `log p of x is ${fixed(logP)}, the bound ${fixed(elbo)}, the gap between them ${fixed(gap)}`);
  }

  return view.end;
}

export { boundOf };
export default { render };
