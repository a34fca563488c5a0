// GuidanceExplorer in the page.

import { tradeView } from "./_trade.js";

const render = ({ model, el }) =>
  tradeView({
    model,
    el,
    label: "Guidance explorer",
    scaleLabel: "scale",
    knob: "guidance",
    source: "noise",
  });

export default { render };
