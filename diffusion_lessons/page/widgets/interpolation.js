// InterpolationExplorer in the page.

import {
  clamp,
  computed,
  ddimInvert,
  decode,
  describe,
  figure,
  fill,
  fixed,
  generatorFor,
  h,
  inflate,
  key,
  paintNothing,
  paintPicture,
  paintTiles,
  pictureChoice,
  pictureShape,
  Plot,
  slerp,
  stage,
  timeline,
} from "kit";

const PLACES = 11; // pictures in a strip

const WAYS = [
  ["mixed", "data", "Pixels mixed"],
  ["straight", "ink", "Straight line between the noises"],
  ["on_shell", "result", "On the shell of noise (spherical)"],
];

const mix = (a, b, share) => a.map((value, i) => (1 - share) * value + share * b[i]);

// The two ways from one noise to the other.
const along = { straight: mix, on_shell: slerp };

// The standard deviation of noise.
function deviation(noise) {
  const mean = noise.reduce((sum, value) => sum + value, 0) / noise.length;
  return Math.sqrt(noise.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (noise.length - 1));
}

function render({ model, el }) {
  const positions = model.get("_positions");
  const count = model.get("_pairs");
  const look = pictureShape(model.get("_shape"));
  const { channels, rows, columns, size } = look;
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
  const pair = () => clamp(model.get("pair"), 0, count - 1);
  const between = (place) => ({ pair: pair(), place });

  // Content of a pair: the grey of pixel i of its two pictures, and its two noises.
  const ofPair = (clean, noises) => {
    const [a, b] = [noises.slice(0, size), noises.slice(size)];
    const stds = Object.values(along).map((way) => shares.map((share) => deviation(way(a, b, share))));
    return { clean, a, b, stds };
  };
  const greys = (bytes, from = 0) => (i) => bytes[from + i] / 127.5 - 1;
  async function unpack(part, k) {
    const place = (k % (positions + 1)) - 1;
    if (place < 0) return ofPair(greys(await inflate(part.clean)), decode(part.noises, Float32Array));
    const pictures = await inflate(part.pictures);
    return { straight: greys(pictures), on_shell: greys(pictures, size) };
  }

  let digits = null; // with `invert`, all rows of a and then of b
  if (model.get("_inverted")) {
    inflate(model.get("_rows")).then((bytes) => {
      digits = bytes;
      parts.again();
    });
  }
  // What the two ends of a pair are made of: pictures to be inverted, or noises.
  function ends(k, seed) {
    const first = model.get("_first_seed");
    if (model.get("_inverted")) {
      const number = digits.length / size / 2;
      const row = ((seed - first) * count + k) % number;
      const picture = (at) => Array.from(digits.subarray(at * size, (at + 1) * size), (n) => n / 127.5 - 1);
      return Float32Array.from([...picture(row), ...picture(number + row)]);
    }
    if (seed !== first) return generatorFor(seed, 2 + k, 2).normal(2 * size);
    const given = decode(model.get("_x_T"), Float32Array);
    const noise = (at) => given.subarray(at * size, (at + 1) * size);
    return Float32Array.from([...noise(k), ...noise(count + k)]);
  }

  async function* compute(network, { pair: k, place }, seed) {
    const { schedule } = network;
    const denoiser = network.described(model.get("_network"));
    const times = schedule.times(model.get("_steps"));
    const walk = (x_T) => network.sampler()(denoiser, x_T, schedule, times);
    const of = times.length;
    if (place !== undefined) {
      const { a, b } = parts.get({ pair: k });
      const mixed = Object.values(along).map((way) => [...way(a, b, shares[place])]);
      for await (const step of walk(Float32Array.from(mixed.flat()))) {
        const content = { straight: (i) => step.x0Hat[i], on_shell: (i) => step.x0Hat[size + i] };
        yield { content, done: step.calls + Number(step.t === 0), of };
      }
      return;
    }
    const both = ends(k, seed);
    let last;
    if (!model.get("_inverted")) {
      for await (last of walk(both)) if (last.t) yield { content: null, done: last.calls, of };
      yield { content: ofPair((i) => last.x[i], both), done: of, of };
      return;
    }
    for await (last of ddimInvert(denoiser, both, schedule, times, generatorFor(seed, 1, 2))) {
      yield { content: null, done: last.calls, of: of + 1 };
    }
    yield { content: ofPair((i) => both[i], last.x), done: of, of };
  }

  const parts = computed({
    model,
    view,
    watch: ["pair", "share"],
    // Between two noises nothing can be drawn before these are known.
    chosen: ({ ready }) => (ready({ pair: pair() }) ? between(position()) : { pair: pair() }),
    shown: ({ ready }) => [
      ...(ready({ pair: pair() }) ? places.map(between) : []),
      ...Array.from({ length: count }, (_, k) => ({ pair: k })),
    ],
    others: () => shares.map((_, place) => between(place)),
    index: ({ pair: k, place = -1 }) => k * (positions + 1) + place + 1,
    unpack,
    able: () => !model.get("_inverted") || digits !== null,
    compute,
    renewLabel: !model.get("_renewable") ? null : model.get("_inverted") ? "Other digits" : "New noise",
    partName: ({ pair: k, place }) =>
      place === undefined ? `pair ${k + 1}` : `pair ${k + 1}, share ${fixed(shares[place], 2)}`,
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
    key("ink", "straight line", "dl-dashed"),
    ", ",
    key("result", "shell", "dl-solid"),
  ]);
  const note = h("p", { class: "dl-note", "data-part": "note" });

  view.root.append(
    h("div", { class: "dl-row dl-first" }, pairs.element, parts.renew, parts.progress),
    parts.source,
    h("div", { class: "dl-below" }, share.element),
    h("div", { class: "dl-ways" }, ...ways.map(({ element }) => element)),
    h("div", { class: "dl-panels" }, stds.element, note),
  );

  function paint(colours) {
    const now = position();
    share.sync(now);
    pairs.sync(pair());
    pairs.canvases.forEach((canvas, k) => {
      const part = parts.get({ pair: k });
      if (!part) return paintNothing(canvas, colours);
      // The two ends side by side.
      paintTiles(canvas, look, 2, 2, (end, i) => part.clean(end * size + i));
    });

    const part = parts.get({ pair: pair() });
    const here = parts.get(between(now));
    view.root.dataset.ready = Boolean(part && here) && parts.ready(between(now));
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
      (1 - shares[place]) * part.clean(i) + shares[place] * part.clean(size + i);
    for (const { way, words: name, noise, picture, strip } of ways) {
      const at = (place) => (way === "mixed" ? mixed(place) : parts.get(between(place))?.[way]);
      if (at(now)) paintPicture(picture, rows, columns, at(now), { channels });
      else paintNothing(picture, colours);
      describe(picture, `${at(now) ? "" : "not computed yet: "}${name} ${words}`);
      const grey = 0; // where there is no picture yet
      const strips = places.map((place) => at(place) ?? (() => grey));
      paintTiles(strip, look, places.length, places.length, (k, i) => strips[k](i));
      const there = places.filter(at).length;
      describe(strip, `${name}, ${there} of ${places.length} pictures from the first to the second`);
      frameOn(strip, colours, (u * (places.length - 1)) / places.length, 1 / places.length);
      if (!noise) continue;
      // Noise of deviation 1 in a softer contrast, so that a quieter one looks greyer.
      const values = along[way](part.a, part.b, u);
      paintPicture(noise, rows, columns, (i) => values[i] / 2.5, { channels });
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
    plot.line(shares, straight, { colour: colours.ink, dash: [8, 4] });
    plot.line(shares, shell, { colour: colours.result });
    plot.dot(u, straight[now], colours.ink);
    plot.dot(u, shell[now], colours.result);
    describe(
      stds.canvas,
      `standard deviation of the noise ${words}: ${fixed(straight[now], 2)} on the straight line, ` +
        `${fixed(shell[now], 2)} on the shell`,
    );
    fill(
      note,
      [pair(), now, model.get("seed")].join(),
      "The network was trained on noise of standard deviation 1. Here the straight line has ",
      h("span", { class: "dl-number dl-ink" }, fixed(straight[now], 2)),
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

export default { render };
