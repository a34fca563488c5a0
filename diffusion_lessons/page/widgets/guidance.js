// GuidanceExplorer in the page.

import { stepwise, ddimStep, pictureShape, widgetNoise } from "kit";
import { tradeView } from "./_trade.js";

function render({ model, el }) {
  const [count, ...shape] = model.get("_shape");
  const x_T = widgetNoise(model, count * pictureShape(shape).size);
  const ways = model.get("_network")?.ways ?? {};
  async function* compute(network, { method, label, scale }) {
    const guided = network.guided(Array(count).fill(label), ways[method] === "none" ? 1 : scale);
    const times = network.schedule.times(model.get("_steps"));
    for await (const step of stepwise(ddimStep())(guided, x_T(), network.schedule, times)) {
      const done = step.calls + Number(step.t === 0);
      yield { content: { at: (i) => step.x0Hat[i] }, done, of: times.length };
    }
  }
  return tradeView({
    model,
    el,
    label: "Guidance explorer",
    scaleLabel: "scale",
    knob: "guidance",
    source: "noise",
    compute,
    able: ({ method }) => method in ways,
  });
}

export default { render };
