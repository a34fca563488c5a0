// ---------------------------------------------------------------- GuidanceExplorer

const render = ({ model, el }) =>
  tradeView({
    model,
    el,
    label: "Guidance explorer",
    scaleLabel: "scale",
    knob: "guidance",
    source: "noise",
  });

export { onCurve };
export default { render };
