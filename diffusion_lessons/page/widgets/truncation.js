// TruncationExplorer in the page.

import {
  bell,
  ddimStep,
  describe,
  figure,
  fill,
  fixed,
  generatorFor,
  h,
  key,
  Plot,
  shareWithin,
  stepwise,
} from "kit";
import { tradeView } from "./_trade.js";

const SHOWN = 4; // standard deviations of the input, either way

function render({ model, el }) {
  const words = h("p", { class: "dl-soft", "data-part": "kept" });
  const title = ["Each number of the ", key("signal", "input"), " comes from this bell, cut off"];
  const panel = figure("input", title, { below: words });
  const xs = Array.from({ length: 401 }, (_, i) => (i / 200 - 1) * SHOWN);
  const paint = (colours, threshold) => {
    const share = shareWithin(threshold);
    // A very low threshold makes a spike: the axis grows with it.
    const top = Math.max(0.5, 1.1 * (bell(0) / share));
    const plot = new Plot(panel.canvas, colours, {
      x: [-SHOWN, SHOWN],
      y: [0, top],
      xLabel: "a number of the input",
      yLabel: "density",
    });
    const cut = (x) => (Math.abs(x) <= threshold ? bell(x) / share : 0);
    const inside = xs.filter((x) => Math.abs(x) < threshold);
    const edge = [-threshold, ...inside, threshold];
    plot.line(edge, edge.map(cut), { colour: colours.signal, area: 0.2 });
    plot.line(xs, xs.map((x) => bell(x)), { colour: colours.soft, dash: [4, 4], width: 1.5 });
    for (const side of [-threshold, threshold]) {
      plot.vertical(side, colours.signal, { dash: [], width: 2, to: cut(threshold) });
    }
    const percent = fixed(100 * share, share > 0.99 ? 1 : 0);
    const kept = `the cut keeps ${percent}\u00a0% of a normal's draws; the others are drawn again`;
    fill(words, kept, kept);
    describe(panel.canvas, `normal distribution cut at ${threshold}: ${kept}`);
  };
  const steps = model.get("_network")?.steps; // of the walk that makes pictures of noise, if one does
  // The same draws under every threshold, as in truncation.py.
  async function* compute(network, { label, scale }, seed) {
    const [count] = model.get("_shape");
    const latent = steps ? network.size : network.about.latent;
    const z = generatorFor(seed, 0, count).quantiles(count * latent, scale);
    const labels = Array(count).fill(label);
    if (!steps) {
      const pictures = await network.decode(z, labels);
      yield { content: { at: (i) => pictures[i] }, done: 1, of: 1 };
      return;
    }
    const times = network.schedule.times(steps);
    for await (const step of stepwise(ddimStep())(network.guided(labels), z, network.schedule, times)) {
      const done = step.calls + Number(step.t === 0);
      yield { content: { at: (i) => step.x0Hat[i] }, done, of: times.length };
    }
  }
  return tradeView({
    model,
    el,
    label: "Truncation explorer",
    scaleLabel: "threshold",
    knob: "method",
    source: "draws",
    compute,
    extra: { element: panel.element, paint },
  });
}

export default { render };
