// DiscriminatorExplorer in the page.

import {
  clamp,
  decode,
  describe,
  figure,
  fill,
  fixed,
  h,
  inflate,
  key,
  math,
  Plot,
  select,
  slider,
  stage,
  timeline,
} from "kit";

const [REACH, SIDE, SHOWN] = [2.7, 45, 80]; // as in discriminator.py, like the thousandths below
const percent = (share) => `${fixed(100 * share, 0)}\u00a0%`;

function render({ model, el }) {
  const counts = model.get("_counts");
  const updates = model.get("_updates");
  const [noisy, real, fake] = ["_x_t", "_true", "_made"].map((name) =>
    Float32Array.from(decode(model.get(name), Int16Array), (n) => n / 1000),
  );
  let greys = null; // what the discriminator says, a byte each
  const view = stage({
    model,
    el,
    label: "Discriminator explorer",
    watch: ["moment", "t", "point"],
    paint,
  });
  inflate(model.get("_answers")).then((bytes) => {
    greys = bytes;
    view.repaint();
  });
  const moment = timeline({
    view,
    name: "moment",
    label: "updates so far",
    max: counts.moment - 1,
    seconds: () => 1.2 * counts.moment,
    show: (i) => String(updates[i]),
    speak: (i) => `after ${updates[i]} updates`,
  });
  const time = slider({
    name: "t",
    label: "time",
    symbol: "t",
    min: 1,
    max: counts.t,
    show: (t) => `${t} of ${counts.t}`,
    onInput: (t) => view.set({ t }),
  });
  const which = select({
    name: "point",
    label: "noisy point",
    options: Array.from({ length: counts.point }, (_, i) => [i, i + 1]),
    onInput: (i) => view.set({ point: Number(i) }),
  });
  const plane = figure("plane", [
    "Shaded where ",
    math("D"),
    " takes ",
    math("x_s"),
    " for made; ",
    key("data", "true"),
    " and ",
    key("result", "made"),
    " ",
    math("x_s"),
    " for one ",
    math("x_t"),
  ]);
  plane.canvas.classList.add("dl-whole-plane");
  const note = h("p", { class: "dl-note", "data-part": "note" });
  view.root.append(
    moment.element,
    h("div", { class: "dl-below dl-controls" }, time.element, which.element),
    h("div", { class: "dl-panels" }, plane.element, note),
  );

  function paint(colours) {
    const at = clamp(model.get("moment"), 0, counts.moment - 1);
    const t = clamp(model.get("t"), 1, counts.t);
    const k = clamp(model.get("point"), 0, counts.point - 1);
    moment.sync(at);
    time.sync(t);
    which.sync(String(k));
    const one = (t - 1) * counts.point + k; // of all t and points
    const every = at * counts.t * counts.point + one;
    const [x, y] = noisy.subarray(2 * one, 2 * one + 2);
    const some = (points, i) => points.subarray(2 * SHOWN * i, 2 * SHOWN * (i + 1));

    const limits = [-REACH, REACH];
    const plot = new Plot(plane.canvas, colours, { x: limits, y: limits, square: true });
    if (greys) {
      const from = every * SIDE * SIDE;
      plot.shade(SIDE, SIDE, (i) => 0.55 * (1 - greys[from + i] / 255), colours.ink);
    }
    plot.scatter(some(real, one), { colour: colours.data, radius: 2.5 });
    plot.scatter(some(fake, every), { colour: colours.result, radius: 2.5 });
    plot.dot(x, y, colours.ink);
    plot.write("x_t", plot.X(x), plot.Y(y) - 11, { align: "center", colour: colours.ink, halo: true });

    const right = percent(model.get("_right")[at][t - 1]);
    const after = `After ${updates[at]} update${updates[at] === 1 ? "" : "s"}`;
    fill(
      note,
      every,
      `${after} `,
      math("D"),
      " judges ",
      h("span", { class: "dl-number" }, right),
      " of all pairs at ",
      math("t"),
      ` = ${t} rightly; guessing would be 50\u00a0%. Shown are `,
      math("x_s"),
      " at ",
      math("s"),
      ` = ${t - 1}${t === 1 ? ", which are clean points." : "."}`,
    );
    describe(
      plane.canvas,
      `plane of x s at time ${t - 1}, ${after.toLowerCase()}, beside x t at ` +
        `${fixed(x, 1)}, ${fixed(y, 1)}; right in ${right}`,
    );
  }

  return view.end;
}

export default { render };
