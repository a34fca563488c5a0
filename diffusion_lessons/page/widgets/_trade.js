// Fidelity against diversity, what GuidanceExplorer and TruncationExplorer share (`_trade.py`):
// samples of one class at one scale, and the measured curves with the chosen scale on them.

import {
  computed,
  describe,
  figure,
  fill,
  fixed,
  h,
  inflate,
  key,
  nearest,
  paintNothing,
  paintTiles,
  pictureShape,
  Plot,
  select,
  slider,
  stage,
} from "kit";

// Where a scale lies on a measured curve of rising [scale, recall, precision]: between its
// neighbours, in proportion; null beyond the curve's ends.
function onCurve(points, scale) {
  const after = points.findIndex((point) => point[0] >= scale);
  if (after < 0 || (after === 0 && points[0][0] > scale)) return null;
  if (points[after][0] === scale) return points[after].slice(1);
  const [low, high] = [points[after - 1], points[after]];
  const share = (scale - low[0]) / (high[0] - low[0]);
  return [1, 2].map((k) => (1 - share) * low[k] + share * high[k]);
}

// `label` names the widget, `scaleLabel` its scale, `knob` what the lines of the plot are, `source`
// what the samples have in common; `extra` may be a panel { element, paint(colours, scale) } beside
// them. `compute(network, choice, seed)` draws in the page what it is `able(choice)` to.
export function tradeView({
  model,
  el,
  label: title,
  scaleLabel,
  knob,
  source,
  extra,
  compute,
  able = () => true,
}) {
  const methods = model.get("_methods");
  const classes = model.get("_classes");
  const names = model.get("_names") ?? []; // widgets stored by earlier versions have none
  const called = (label) => names[label] ?? `class ${label}`;
  const scales = model.get("_scales");
  const curves = model.get("_curves");
  const [count, ...shape] = model.get("_shape");
  const look = pictureShape(shape);
  const { rows, columns } = look;
  // Pictures in colour are larger, for there is more to see in them.
  const [most, side] = look.channels > 1 ? [3, 140] : [extra ? 4 : 8, 84];
  const across = Math.min(count, most);
  const down = Math.ceil(count / across);
  const chosen = () => ({
    method: model.get("method"),
    label: model.get("label"),
    scale: model.get("scale"),
  });
  // A scale that lies between those given is one for the page alone.
  const between = Array.from({ length: 101 }, (_, i) => {
    const value = scales[0] + ((scales.at(-1) - scales[0]) * i) / 100;
    return Number(value.toPrecision(3));
  });
  const anyScale = [...new Set([...scales, ...between])].sort((a, b) => a - b);

  const view = stage({
    model,
    el,
    label: title,
    watch: ["method", "label", "scale"],
    paint,
  });
  let parts = null;
  const method = select({
    name: "method",
    label: knob,
    options: methods.map((name) => [name, name]),
    onInput: (name) => view.set({ method: name }),
  });
  const label = select({
    name: "label",
    label: "class asked for",
    options: classes.map((k) => [k, names[k] ?? k]),
    onInput: (k) => view.set({ label: Number(k) }),
  });
  const scale = slider({
    name: "scale",
    label: scaleLabel,
    values: () => (parts?.free() && able(chosen()) ? anyScale : scales),
    onInput: (value) => view.set({ scale: value }),
  });
  const samples = figure("samples", [key("result", "Samples"), `, from the same ${source} each time`]);
  Object.assign(samples.canvas.style, {
    height: "auto",
    maxWidth: `${side * across}px`,
    aspectRatio: `${across * columns} / ${down * rows}`,
  });
  const drawn = Object.keys(curves).length > 0;
  const plane = figure("curves", [
    Object.keys(curves).length > 1
      ? `Measured: each line is a ${knob}, each point a ${scaleLabel}; `
      : `Measured: each point is a ${scaleLabel}; `,
    key("result", "here"),
    " is the one chosen",
  ]);
  plane.canvas.classList.add("dl-wide");
  const note = h("p", { class: "dl-note", "data-part": "note" });

  parts = computed({
    model,
    view,
    watch: ["method", "label", "scale"],
    chosen,
    // For a kernel: the other scales, then the other classes of this method, then the other methods.
    others() {
      const { method, label, scale } = chosen();
      const first = (values, value) => [value, ...values.filter((other) => other !== value)];
      return first(methods, method).flatMap((way) =>
        first(classes, label).flatMap((k) =>
          nearest(scales, scale).map((value) => ({ method: way, label: k, scale: value })),
        ),
      );
    },
    // Parts are counted by method, then class, then scale.
    index({ method, label, scale }) {
      const [way, k, value] = [methods.indexOf(method), classes.indexOf(label), scales.indexOf(scale)];
      return value < 0 ? -1 : (way * classes.length + k) * scales.length + value;
    },
    unpack: async (part) => {
      const greys = await inflate(part.pictures);
      return { at: (i) => greys[i] / 127.5 - 1 };
    },
    able,
    compute,
    renewLabel: "New noise",
    partName({ method, label, scale }) {
      const name = methods.length > 1 ? `, ${method}` : "";
      return `${called(label)}${name}, ${scaleLabel} ${scale}`;
    },
  });

  const choice = methods.length > 1 ? [method.element] : [];
  view.root.append(
    h("div", { class: "dl-controls" }, ...choice, label.element, scale.element),
    parts.row,
    h("div", { class: extra ? "dl-panels" : "dl-below" }, samples.element, extra?.element),
    ...(drawn ? [h("div", { class: "dl-below" }, plane.element), note] : []),
  );

  function paint(colours) {
    const [name, k, value] = ["method", "label", "scale"].map((trait) => model.get(trait));
    method.sync(name);
    label.sync(String(k));
    scale.sync(value);
    const part = parts.get(chosen());
    view.root.dataset.ready = Boolean(part) && parts.ready(chosen());
    const what = `${count} samples, asked for ${called(k)}, ${name}, ${scaleLabel} ${value}`;
    if (part) {
      paintTiles(samples.canvas, look, count, across, (k, i) => part.at(k * look.size + i));
    } else paintNothing(samples.canvas, colours);
    describe(samples.canvas, `${part ? "" : "not computed yet: "}${what}`);
    if (drawn) paintCurves(colours, name, value);
    extra?.paint(colours, value);
  }

  function paintCurves(colours, name, value) {
    const every = Object.values(curves).flat();
    const range = (k) => {
      const values = every.map((point) => point[k]);
      const [low, high] = [Math.min(...values), Math.max(...values)];
      const room = Math.max(0.06 * (high - low), 0.005);
      return [Math.max(low - room, 0), Math.min(high + room, 1)];
    };
    const plot = new Plot(plane.canvas, colours, {
      x: range(1),
      y: range(2),
      xLabel: "recall (diversity)",
      yLabel: "precision (fidelity)",
    });
    const dashes = [[], [8, 4], [2, 3], [10, 3, 2, 3]];
    Object.entries(curves).forEach(([other, points], i) => {
      const mine = other === name;
      const colour = mine ? colours.signal : colours.soft;
      const [xs, ys] = [1, 2].map((k) => points.map((point) => point[k]));
      plot.line(xs, ys, { colour, dash: dashes[i % dashes.length], width: mine ? 2.5 : 1.5 });
      plot.scatter(xs.flatMap((x, j) => [x, ys[j]]), { colour, radius: mine ? 3 : 2 });
      const end = points.length - 1;
      plot.tag(other, xs[end], plot.Y(ys[end]) - 8, { colour, halo: true });
    });
    const measured = curves[name] && onCurve(curves[name], value);
    if (!measured) {
      fill(note, `${name} ${value}`, `At ${scaleLabel} ${value} this ${knob} was not measured.`);
      describe(plane.canvas, "recall and precision of all that was measured");
      return;
    }
    plot.dot(...measured, colours.result, 7);
    fill(
      note,
      `${name} ${value}`,
      `At ${scaleLabel} ${value}: precision `,
      h("span", { class: "dl-number dl-result" }, fixed(measured[1], 2)),
      ", recall ",
      h("span", { class: "dl-number dl-result" }, fixed(measured[0], 2)),
      ".",
    );
    describe(
      plane.canvas,
      `at ${scaleLabel} ${value} ${name} has precision ${fixed(measured[1], 2)} and recall ${fixed(measured[0], 2)}`,
    );
  }

  return view.end;
}
