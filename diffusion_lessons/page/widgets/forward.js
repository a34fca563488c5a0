// ForwardExplorer in the page.

import {
  bell,
  button,
  clamp,
  decode,
  describe,
  figure,
  fill,
  fixed,
  h,
  histogram,
  key,
  math,
  normals,
  paintPicture,
  pictureChoice,
  pictureShape,
  Plot,
  stage,
  timeline,
} from "kit";

const mix = (x0, noise, a) => {
  const [signal, rest] = [Math.sqrt(a), Math.sqrt(1 - a)];
  return (i) => signal * x0[i] + rest * noise[i];
};

const BINS = 40;
const RANGE = [-4, 4];
const GRID = Float64Array.from({ length: 161 }, (_, i) => -4 + i / 20);

function render({ model, el }) {
  const alphaBar = decode(model.get("_alpha_bar"), Float64Array);
  const images = decode(model.get("_images"), Float32Array);
  const points = decode(model.get("_points"), Float32Array);
  const [count, ...shape] = model.get("_shape");
  const { channels, rows, columns, size } = pictureShape(shape);
  const show = (canvas, at) => paintPicture(canvas, rows, columns, at, { channels });
  const T = alphaBar.length - 1;

  // Decoded once, again only when another noise has arrived.
  const kept = {};
  const noiseOf = (name) => {
    const value = model.get(name);
    if (kept[name]?.value !== value) kept[name] = { value, numbers: decode(value, Float32Array) };
    return kept[name].numbers;
  };

  const view = stage({
    model,
    el,
    label: "Forward noising explorer",
    watch: ["t", "image", "draw", "_noise", "_point_noise"],
    paint,
  });

  const time = timeline({
    view,
    name: "t",
    label: "time",
    symbol: "t",
    max: T,
    seconds: () => 6,
    show: (t) => `${t} of ${T}`,
  });
  const choice = pictureChoice({
    count,
    label: "picture",
    onInput: (image) => view.set({ image }),
  });
  const again = button(
    "New noise",
    () => {
      const draw = model.get("draw") + 1;
      const seed = Math.imul(model.get("_seed") + 1, 65537) + draw;
      view.set({
        draw,
        _noise: new DataView(normals(size, seed).buffer),
        _point_noise: new DataView(normals(points.length, seed + 0x5bd1e995).buffer),
      });
    },
    { "data-name": "noise" },
  );

  const picture = (part, colour, words, symbol) => {
    const made = figure(part, [key(colour, words), " ", math(symbol)], { kind: "picture" });
    made.canvas.classList.add(`dl-edge-${colour}`);
    return made;
  };
  const clean = picture("x_0", "signal", "picture", "x_0");
  const noise = picture("noise", "noise", "noise", "ε");
  const noisy = picture("x_t", "result", "noisy picture", "x_t");
  const sign = (colour) => h("span", { class: `dl-sign dl-number dl-${colour}` });
  const signs = { signal: sign("signal"), noise: sign("noise") };
  const sum = h(
    "div",
    { class: "dl-sum" },
    h("div", { class: "dl-term" }, signs.signal, clean.element),
    h("div", { class: "dl-term" }, h("span", { class: "dl-sign" }, "+"), signs.noise, noise.element),
    h("div", { class: "dl-term" }, h("span", { class: "dl-sign" }, "="), noisy.element),
  );

  const bar = (...colours) => {
    const parts = colours.map((colour) => h("span", { class: `dl-fill-${colour}` }));
    const number = h("span", { class: "dl-number" });
    return { parts, number, track: h("div", { class: "dl-track dl-meaning", role: "img" }, ...parts) };
  };
  const [signal, rest, squares] = [bar("signal"), bar("noise"), bar("signal", "noise")];
  const total = h("p", { class: "dl-soft" });
  const meters = h(
    "div",
    {},
    h("p", { class: "dl-title" }, "The two coefficients"),
    h(
      "div",
      { class: "dl-meters" },
      ...[math("√ᾱ_t"), signal.track, signal.number],
      ...[math("√(1 − ᾱ_t)"), rest.track, rest.number],
      ...[h("span", {}, "squares"), squares.track, squares.number],
    ),
    total,
  );

  const pixels = figure("histogram", [key("result", "Pixel values"), " of ", math("x_t")]);
  const panels = h("div", { class: "dl-panels" }, meters, pixels.element);
  let cloud = null;
  if (points.length) {
    cloud = figure("points", [key("result", "Points"), " on their way to a ball"]);
    panels.append(cloud.element);
  }
  view.root.append(
    time.element,
    h("div", { class: "dl-row" }, choice.element, again),
    sum,
    panels,
  );

  function paint(colours) {
    const t = clamp(model.get("t"), 0, T);
    const image = clamp(model.get("image"), 0, count - 1);
    const a = alphaBar[t];
    const [keep, add] = [Math.sqrt(a), Math.sqrt(1 - a)];
    const x0 = images.subarray(image * size, (image + 1) * size);
    const drawn = noiseOf("_noise");
    const at = mix(x0, drawn, a);
    const xt = Float64Array.from(x0, (_, i) => at(i));

    time.sync(t);
    choice.sync(image);
    choice.canvases.forEach((canvas, k) => show(canvas, (i) => images[k * size + i]));
    show(clean.canvas, (i) => x0[i]);
    show(noise.canvas, (i) => drawn[i]);
    show(noisy.canvas, (i) => xt[i]);
    describe(clean.canvas, `clean picture ${image + 1} of ${count}`);
    describe(noise.canvas, `noise, draw ${model.get("draw") + 1}`);
    describe(
      noisy.canvas,
      `x t at time ${t} of ${T}: ${fixed(keep)} times the picture plus ${fixed(add)} times the noise`,
    );

    signs.signal.textContent = `${fixed(keep)} ×`;
    signs.noise.textContent = `${fixed(add)} ×`;
    signal.number.textContent = fixed(keep);
    rest.number.textContent = fixed(add);
    squares.number.textContent = "= 1";
    fill(
      total,
      t,
      `${fixed(a)} + ${fixed(1 - a)} = 1: it is their squares that sum to 1, ` +
        "so the variance stays 1 if the data's is 1.",
    );
    signal.parts[0].style.width = `${100 * keep}%`;
    rest.parts[0].style.width = `${100 * add}%`;
    squares.parts[0].style.width = `${100 * a}%`;
    squares.parts[1].style.width = `${100 * (1 - a)}%`;
    describe(signal.track, `coefficient of the picture ${fixed(keep)}`);
    describe(rest.track, `coefficient of the noise ${fixed(add)}`);
    describe(squares.track, `squares: ${fixed(a)} and ${fixed(1 - a)}, which sum to 1`);

    const density = histogram(xt, ...RANGE, BINS);
    const top = Math.max(0.55, 1.08 * Math.max(...density));
    const plot = new Plot(pixels.canvas, colours, {
      x: RANGE,
      y: [0, top],
      xTicks: [-4, -2, 0, 2, 4],
      xLabel: "value of a pixel",
      yLabel: "density",
    });
    plot.ctx.globalAlpha = 0.65;
    plot.bars(density, colours.result);
    plot.ctx.globalAlpha = 1;
    const curve = GRID.map((x) => bell(x));
    plot.line(GRID, curve, { colour: colours.ink, dash: [5, 4] });
    plot.write("dashed: N(0, 1)", plot.box.right, 4, {
      align: "right",
      base: "top",
      colour: colours.ink,
    });
    const mean = xt.reduce((total, x) => total + x, 0) / size;
    const std = Math.sqrt(xt.reduce((total, x) => total + (x - mean) ** 2, 0) / size);
    describe(
      pixels.canvas,
      `histogram of the pixels of x t: mean ${fixed(mean, 2)}, standard deviation ` +
        `${fixed(std, 2)}; dashed, the bell curve with mean 0 and standard deviation 1`,
    );

    if (!cloud) return;
    const moved = mix(points, noiseOf("_point_noise"), a);
    const space = new Plot(cloud.canvas, colours, {
      x: RANGE,
      y: RANGE,
      xTicks: [-4, -2, 0, 2, 4],
      yTicks: [-4, -2, 0, 2, 4],
      xLabel: "first coordinate",
      square: true,
    });
    for (const radius of [1, 2, 3]) space.circle(radius, colours.soft);
    space.scatter(points, { colour: colours.signal, radius: 1.2, alpha: 0.3 });
    space.scatter(points.map((_, i) => moved(i)), { colour: colours.result, radius: 1.8, alpha: 0.8 });
    describe(cloud.canvas, `${points.length / 2} points in the plane at time ${t} of ${T}`);
  }

  return view.end;
}

export default { render };
