// VectorExplorer in the page.

import {
  clamp,
  ddimStep,
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
  pointing,
  select,
  slider,
  stage,
  timeline,
} from "kit";

const REACH = 3; // of the axes, as in vector.py

// At points x, y, x, y, ... the denoiser's arrows, alpha x0_hat - x_t, and the classifier's,
// scale sigma^2 grad log p(label | x_t).
function arrowsAt(mixture, schedule, t, points, label, scale) {
  const variance = schedule.sigma[t] ** 2;
  return {
    denoiser: mixture.score(points, t, schedule).map((slope) => variance * slope),
    classifier: mixture
      .classGradient([label], points, t, schedule)
      .map((slope) => scale * variance * slope),
  };
}

// One step of DDIM without noise, for all points.
function stepAll(points, mixture, schedule, t, s, label, scale) {
  const { denoiser, classifier } = arrowsAt(mixture, schedule, t, points, label, scale);
  const x0Hat = points.map((x, i) => (x + denoiser[i] + classifier[i]) / schedule.alpha[t]);
  return ddimStep(0)(points, x0Hat, t, s, schedule).mean;
}

function render({ model, el }) {
  const times = model.get("times");
  const last = times.length - 1;
  // The schedule of the times shown alone: frame 0, noise, is its T.
  const schedule = new NoiseSchedule({ alphaBar: [...model.get("_alpha_bar")].reverse() });
  const timeOf = (frame) => last - frame;
  const mixture = new GaussianMixture({
    means: model.get("_means"),
    stds: model.get("_stds"),
    weights: model.get("_weights"),
  });
  const start = decode(model.get("_start"), Float32Array);

  const view = stage({
    model,
    el,
    label: "Guidance arrows explorer",
    watch: ["label", "scale", "frame", "x", "y"],
    paint,
  });
  const label = select({
    name: "label",
    label: "class asked for",
    options: mixture.means.map((_, k) => [k, k]),
    onInput: (k) => view.set({ label: Number(k) }),
  });
  const scale = slider({
    name: "scale",
    label: "scale",
    symbol: "s",
    min: 0,
    max: 10,
    step: 0.5,
    onInput: (value) => view.set({ scale: value }),
  });
  const place = ["x", "y"].map((name) =>
    slider({
      name,
      label: name === "x" ? "the point, across" : "the point, up",
      min: -REACH,
      max: REACH,
      step: 0.1,
      show: (value) => fixed(value, 1),
      onInput: (value) => view.set({ [name]: value }),
    }),
  );
  const time = timeline({
    view,
    name: "frame",
    label: "from noise to data, time",
    symbol: "t",
    max: last,
    seconds: () => 4,
    show: (frame) => `t = ${times[frame]}`,
    speak: (frame) => `time ${times[frame]}`,
  });
  const plane = figure("plane", [
    "At the point: the ",
    key("signal", "denoiser's arrow"),
    ", ",
    math("s"),
    " times the ",
    key("class", "classifier's"),
    ", and their ",
    key("result", "sum"),
  ]);
  plane.canvas.classList.add("dl-square");
  const note = h("p", { class: "dl-note", "data-part": "note" });
  view.root.append(
    h("div", { class: "dl-controls" }, label.element, scale.element),
    h("div", { class: "dl-controls dl-below" }, ...place.map(({ element }) => element)),
    h("div", { class: "dl-below" }, time.element),
    h("div", { class: "dl-panels" }, plane.element, note),
  );

  // The whole walk, anew when the guidance changes: some thousand points take a few milliseconds.
  let walk = { key: null, frames: [] };
  function points(frame, k, s) {
    const choice = `${k} ${s}`;
    if (walk.choice !== choice) walk = { choice, frames: [start] };
    while (walk.frames.length <= frame) {
      const i = walk.frames.length;
      const [from, to] = [timeOf(i - 1), timeOf(i)];
      walk.frames.push(stepAll(walk.frames[i - 1], mixture, schedule, from, to, k, s));
    }
    return walk.frames[frame];
  }

  let plot = null;
  // For the mouse and the finger; the sliders do the same by keyboard.
  const move = (event) => {
    const box = plane.canvas.getBoundingClientRect();
    const { left, right, top, bottom } = plot.box;
    const across = (event.clientX - box.left - left) / (right - left);
    const up = (bottom - (event.clientY - box.top)) / (bottom - top);
    const near = (share) => clamp(Number((REACH * (2 * share - 1)).toFixed(1)), -REACH, REACH);
    view.set({ x: near(across), y: near(up) });
  };
  pointing(plane.canvas, { move, ...view.keeping("x", "y") });

  function paint(colours) {
    const [k, s, frame, x, y] = ["label", "scale", "frame", "x", "y"].map((name) => model.get(name));
    const now = clamp(frame, 0, last);
    const t = timeOf(now);
    label.sync(String(k));
    scale.sync(s);
    place[0].sync(x);
    place[1].sync(y);
    time.sync(now);

    const limits = [-REACH, REACH];
    plot = new Plot(plane.canvas, colours, { x: limits, y: limits, square: true });
    const root = schedule.alpha[t];
    mixture.means.forEach(([mx, my], i) => {
      const mine = i === k;
      const where = { x: root * mx, y: root * my, width: mine ? 2.5 : 1, dash: mine ? [] : [3, 4] };
      const colour = mine ? colours.class : colours.soft;
      plot.circle(2 * root * mixture.stds[i], colour, where);
      plot.write(String(i), plot.X(root * mx), plot.Y(root * my) + 4, { align: "center", colour, halo: true });
    });
    plot.scatter(points(now, k, s), { colour: colours.soft, radius: 1.8, alpha: 0.8 });

    const { denoiser, classifier } = arrowsAt(mixture, schedule, t, [x, y], k, s);
    const share = mixture.classPosterior([x, y], t, schedule)[k];
    const tip = [x + denoiser[0], y + denoiser[1]];
    const end = [tip[0] + classifier[0], tip[1] + classifier[1]];
    plot.arrow([x, y], tip, { colour: colours.signal });
    plot.arrow(tip, end, { colour: colours.class });
    plot.arrow([x, y], end, { colour: colours.result, width: 4 });
    plot.dot(x, y, colours.ink, 5);
    const about = `At the point the classifier gives class ${k} the probability ${fixed(share, 2)}`;
    const pair = (point, look) =>
      h("span", { class: `dl-number ${look}` }, `(${fixed(point[0], 2)}, ${fixed(point[1], 2)})`);
    fill(
      note,
      [k, s, now, x, y].join(),
      `${about}. The denoiser would go to `,
      pair(tip, "dl-signal"),
      "; guided, it goes to ",
      pair(end, "dl-result"),
      ".",
    );
    describe(
      plane.canvas,
      `plane at time ${times[now]} with the points of class ${k} at scale ${s}; at ${fixed(x, 1)}, ` +
        `${fixed(y, 1)} the sum of the arrows ends at ${fixed(end[0], 2)}, ${fixed(end[1], 2)}`,
    );
  }

  return view.end;
}

export { arrowsAt, stepAll };
export default { render };
