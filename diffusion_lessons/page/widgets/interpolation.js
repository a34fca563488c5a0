// InterpolationExplorer in the page.

import {
  clamp,
  computed,
  describe,
  figure,
  fill,
  fixed,
  h,
  inflate,
  key,
  paintNothing,
  paintPicture,
  pictureChoice,
  Plot,
  stage,
  timeline,
} from "kit";

const REACH = 4; // noise is kept as bytes that span -4..4, as in interpolation.py
const PLACES = 11; // pictures in a strip

const WAYS = [
  ["mixed", "signal", "Pixels mixed"],
  ["straight", "noise", "Straight line between the noises"],
  ["on_shell", "result", "On the shell of noise (spherical)"],
];

// How much of each end a way takes at a share; `angle` is the one between the two noises.
function weights(way, share, angle) {
  if (way !== "on_shell" || angle < 1e-4) return [1 - share, share];
  return [Math.sin((1 - share) * angle) / Math.sin(angle), Math.sin(share * angle) / Math.sin(angle)];
}

function render({ model, el }) {
  const positions = model.get("_positions");
  const count = model.get("_count");
  const [rows, columns] = model.get("_shape");
  const size = rows * columns;
  const last = positions - 1;
  const shares = Array.from({ length: positions }, (_, i) => i / last);
  const places = Array.from({ length: Math.min(PLACES, positions) }, (_, i) =>
    Math.round((i * last) / (Math.min(PLACES, positions) - 1)),
  );

  const view = stage({
    model,
    el,
    label: "Interpolation explorer",
    watch: ["share", "pair"],
    paint,
  });
  const position = () => Math.round(clamp(model.get("share"), 0, 1) * last);

  const pairs = pictureChoice({
    count,
    label: "pair",
    each: "pair",
    width: 56,
    onInput: (pair) => view.set({ pair }),
  });
  const share = timeline({
    view,
    name: "share",
    label: "from the first to the second, share",
    max: last,
    seconds: () => 5,
    get: position,
    set: (value, options) => view.set({ share: shares[value] }, options),
    show: (value) => fixed(shares[value], 2),
    speak: (value) => `share ${fixed(shares[value], 2)} of the second`,
  });
  const parts = computed({
    model,
    view,
    count,
    watch: ["pair"],
    distance: (k) => (k === model.get("pair") ? -1 : k),
    unpack: async (part) => {
      const [ends, straight, on_shell, noises] = await Promise.all(
        ["ends", "straight", "on_shell", "noises"].map((name) => inflate(part[name])),
      );
      return { ...part, ends, straight, on_shell, noises };
    },
    renewLabel: !model.get("_renewable") ? null : model.get("_inverted") ? "Other digits" : "New noise",
    partName: (k) => `pair ${k + 1}`,
  });

  const ways = WAYS.map(([way, colour, words]) => {
    const canvas = (part, look) =>
      h("canvas", { class: look, role: "img", "data-part": `${part}-${way}` });
    const noise = way === "mixed" ? null : canvas("noise", "dl-picture dl-small");
    const picture = canvas("picture", `dl-picture dl-edge-${colour}`);
    const strip = canvas("strip", "dl-strip");
    strip.style.aspectRatio = `${places.length * columns} / ${rows}`;
    // For the mouse; the slider does the same by keyboard.
    strip.addEventListener("click", (event) => {
      const place = clamp(Math.floor((event.offsetX / strip.clientWidth) * places.length), 0, places.length - 1);
      view.set({ share: shares[places[place]] });
    });
    const element = h(
      "figure",
      { class: "dl-way" },
      h("figcaption", {}, key(colour, words)),
      h("div", { class: "dl-from" }, noise ?? h("span", { class: "dl-small" }), picture),
      strip,
    );
    return { way, colour, words, noise, picture, strip, element };
  });
  const stds = figure("stds", [
    "Deviation of the noise: ",
    key("noise", "straight line", "dl-dashed"),
    ", ",
    key("result", "shell", "dl-solid"),
  ]);
  const note = h("p", { class: "dl-note", "data-part": "note" });

  view.root.append(
    h("div", { class: "dl-row dl-first" }, pairs.element, parts.renew, parts.progress),
    h("div", { class: "dl-below" }, share.element),
    h("div", { class: "dl-ways" }, ...ways.map(({ element }) => element)),
    h("div", { class: "dl-panels" }, stds.element, note),
  );

  function paint(colours) {
    const now = position();
    share.sync(now);
    const pair = clamp(model.get("pair"), 0, count - 1);
    pairs.sync(pair);
    pairs.canvases.forEach((canvas, k) => {
      const part = parts.get(k);
      if (!part) return paintNothing(canvas, colours);
      // The two ends side by side.
      paintPicture(canvas, rows, 2 * columns, (i) => {
        const [row, column] = [Math.floor(i / (2 * columns)), i % (2 * columns)];
        const end = column < columns ? 0 : 1;
        return part.ends[end * size + row * columns + column - end * columns] / 127.5 - 1;
      });
    });

    const part = parts.get(pair);
    view.root.dataset.ready = Boolean(part);
    if (!part) {
      for (const canvas of [stds.canvas, ...ways.flatMap((way) => [way.noise, way.picture, way.strip])]) {
        if (!canvas) continue;
        paintNothing(canvas, colours);
        describe(canvas, "not computed yet");
      }
      fill(note, "none", "This pair is not computed yet.");
      return;
    }

    const u = shares[now];
    const words = `at share ${fixed(u, 2)}`;
    const mixed = (place) => (i) =>
      ((1 - shares[place]) * part.ends[i] + shares[place] * part.ends[size + i]) / 127.5 - 1;
    for (const { way, words: name, noise, picture, strip } of ways) {
      const greys = part[way];
      const at = way === "mixed" ? mixed : (place) => (i) => greys[place * size + i] / 127.5 - 1;
      paintPicture(picture, rows, columns, at(now));
      describe(picture, `${name} ${words}`);
      paintPicture(strip, rows, places.length * columns, (i) => {
        const column = i % (places.length * columns);
        const row = Math.floor(i / (places.length * columns));
        return at(places[Math.floor(column / columns)])(row * columns + (column % columns));
      });
      describe(strip, `${name}, ${places.length} pictures from the first to the second`);
      frameOn(strip, colours, (u * (places.length - 1)) / places.length, 1 / places.length);
      if (!noise) continue;
      const [first, second] = weights(way, u, part.angle);
      // Noise of deviation 1 in a softer contrast, so that a quieter one looks greyer.
      paintPicture(noise, rows, columns, (i) => {
        const value = (k) => REACH * (part.noises[k * size + i] / 127.5 - 1);
        return (first * value(0) + second * value(1)) / 2.5;
      });
      describe(noise, `the noise ${words}: ${name}`);
    }

    const plot = new Plot(stds.canvas, colours, {
      x: [0, 1],
      y: [0, 1.2],
      xTicks: [0, 0.5, 1],
      yTicks: [0, 0.5, 1],
      xLabel: "share of the second",
    });
    const [straight, shell] = part.stds;
    plot.vertical(u, colours.soft);
    plot.line(shares, straight, { colour: colours.noise, dash: [8, 4] });
    plot.line(shares, shell, { colour: colours.result });
    plot.dot(u, straight[now], colours.noise);
    plot.dot(u, shell[now], colours.result);
    describe(
      stds.canvas,
      `standard deviation of the noise ${words}: ${fixed(straight[now], 2)} on the straight line, ` +
        `${fixed(shell[now], 2)} on the shell`,
    );
    fill(
      note,
      [pair, now, model.get("seed")].join(),
      "The network was trained on noise of standard deviation 1. Here the straight line has ",
      h("span", { class: "dl-number dl-noise" }, fixed(straight[now], 2)),
      ", the shell ",
      h("span", { class: "dl-number dl-result" }, fixed(shell[now], 2)),
      ".",
    );
  }

  return view.end;
}

// A frame over part of a canvas; `left` and `width` are shares of it.
function frameOn(canvas, colours, left, width) {
  const ctx = canvas.getContext("2d");
  const [across, down] = [canvas.clientWidth, canvas.clientHeight];
  ctx.lineWidth = 3;
  ctx.strokeStyle = colours.signal;
  ctx.strokeRect(left * across + 1.5, 1.5, width * across - 3, down - 3);
}

export { weights };
export default { render };
