// DDGANStepper in the page.

import {
  clamp,
  computed,
  describe,
  fill,
  fixed,
  forward,
  generatorFor,
  h,
  inflate,
  key,
  math,
  newId,
  NoiseSchedule,
  paintNothing,
  paintPicture,
  pictureChoice,
  pictureShape,
  player,
  posterior,
  posteriorWeights,
  select,
  slider,
  stage,
} from "kit";

const percent = (share) => `${fixed(100 * share, 0)}\u00a0%`;
const sigmoid = (x) => 1 / (1 + Math.exp(-x));
const softplus = (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));

const UNJUDGED =
  "The discriminator, a network, judges the two pairs in training. It is not in this page: what it says is known for what a kernel computed.";

// What each box says. `at` has t, s = t - 1, T, a picture's size and the formulas' numbers.
const SAY = {
  x_0: (at) => `A clean picture from the data, ${at.size} numbers from −1 to 1.`,
  x_t(at) {
    if (at.sampling) {
      return at.t === at.T
        ? `The start: pure noise, x_${at.T}. There are no data here.`
        : `What the step before has left, x_${at.t} (the walk took the first z there).`;
    }
    const [a, b] = [at.schedule.alpha[at.t], at.schedule.sigma[at.t]];
    return `The forward process, a formula: x_${at.t} = ${fixed(a, 2)} x_0 + ${fixed(b, 2)} ε, time ${at.t} of ${at.T}. No network has run yet.`;
  },
  z: (at) =>
    `The latent: ${at.latent} numbers from a standard normal (white is positive). They decide which of all the pictures that may be behind x_${at.t} will be drawn.`,
  x0_drawn(at) {
    const does = "The generator, a network: it is given x_t, z and t, and draws a clean picture x_0′.";
    if (at.sampling) return `${does} Sharp even at t = ${at.t}: a draw, no mean.`;
    return `${does} It never sees x_0. Here the two differ by ${fixed(at.far, 2)} (root mean square); nobody asks that this be small.`;
  },
  x_s_made(at) {
    const { t, s } = at;
    if (s === 0) {
      return at.sampling
        ? "At s = 0 the posterior is x_0′ itself: this is the sample."
        : "At s = 0 the posterior is x_0′ itself: the made pair is (x_0′, x_1).";
    }
    const { ofX0, ofXt, std } = posteriorWeights(t, s, at.schedule);
    const where = `x_${s}′ = ${fixed(ofX0, 2)} x_0′ + ${fixed(ofXt, 2)} x_${t} + ${fixed(std, 2)} ε`;
    const then = at.sampling ? `The next step starts from it.` : `Beside x_${t} it is the made pair.`;
    return `The posterior, a formula, noises x_0′ back to s = ${s}: ${where}. ${then}`;
  },
  x_s_true: (at) =>
    at.s === 0
      ? "The same formula with the true x_0; at s = 0 it is x_0 itself: the true pair is (x_0, x_1)."
      : `The same formula, with the true x_0 in place of x_0′. Beside x_${at.t} it is the true pair.`,
  judged: (at) =>
    at.unjudged ??
    `The discriminator, a network, is shown each of the two beside x_${at.t}, and t. It takes the true pair for real with ${percent(at.real)}, the made one with ${percent(at.fake)}: the less the two differ, the less it can tell these pairs apart. (All pairs here are in one batch, with true pairs of all times beside them.) It removes no noise.`,
  losses: (at) =>
    at.unjudged ??
    `D wants −log D(true) − log(1 − D(made)) = ${fixed(at.lossD, 2)} small; G wants −log D(made) = ${fixed(at.lossG, 2)} small, and its gradient comes back through D and through the posterior to x_0′, to G and to z's mapping.`,
};

function render({ model, el }) {
  const counts = model.get("_counts");
  const { t: T, z: Z, picture: N } = counts;
  const schedule = new NoiseSchedule({ alphaBar: model.get("_alpha_bar") });
  const { channels, rows, columns, size } = pictureShape(model.get("_shape"));
  const show = (canvas, at) => paintPicture(canvas, rows, columns, at, { channels });
  const modes = ["training", "sampling"];
  const view = stage({
    model,
    el,
    label: "DDGAN stepper",
    watch: ["mode", "t", "z", "picture", "box"],
    paint,
  });
  let clean = null; // x_0, in bytes
  inflate(model.get("_x_0")).then((bytes) => {
    clean = bytes;
    parts.again();
    view.repaint();
  });
  const latents = () => generatorFor(model.get("seed"), 0, Z).normal(Z * model.get("_latent"));

  // Content of a step: by name the value of number i of all its pictures, and the logits, if known.
  async function unpack(part, k) {
    const content = { logits: null };
    for (const name of ["x_t", "x0_drawn", "x_s_made", "x_s_true"]) {
      if (!part[name]) continue;
      const greys = await inflate(part[name]);
      content[name] = (i) => greys[i] / 127.5 - 1;
    }
    if (k < T) content.logits = { made: part.logits_made, real: part.logits_true };
    return content;
  }

  // The same step, computed here, but for what the discriminator says.
  async function* compute(network, { mode, t }, seed) {
    const { labels } = model.get("_network");
    const width = network.about.latent;
    const noise = (use) => generatorFor(seed, use, N).normal(N * size);
    const z = generatorFor(seed, 0, Z).normal(Z * width);
    const x_0 = Float32Array.from(clean, (grey) => grey / 127.5 - 1);
    const draw = ({ mean, std }, values) =>
      mean.map((value, i) => value + std * values[i % values.length]);
    const back = (x_t, x0, time) => draw(posterior(x_t, x0, time, time - 1, schedule), noise(2));
    // The first `count` latents, each for all N pictures; x_t as often.
    const repeated = (values, count) =>
      Float32Array.from({ length: count * values.length }, (_, i) => values[i % values.length]);
    function drawn(x_t, time, count) {
      const latentOf = (i) => z[Math.floor(i / (N * width)) * width + (i % width)];
      const every = Float32Array.from({ length: count * N * width }, (_, i) => latentOf(i));
      const label = labels && Array.from({ length: count * N }, (_, i) => labels[i % N]);
      return network.generated(repeated(x_t, count), every, time, label);
    }
    const training = mode === "training";
    const of = training ? 1 : T - t + 1;
    let x_t = training ? draw(forward(x_0, 0, t, schedule), noise(1)) : noise(3);
    for (let time = T; !training && time > t; time--) {
      x_t = back(x_t, await drawn(x_t, time, 1), time);
      yield { content: null, done: T - time + 1, of };
    }
    const x0Drawn = await drawn(x_t, t, Z);
    const numbers = {
      x_t,
      x0_drawn: x0Drawn,
      x_s_made: back(repeated(x_t, Z), x0Drawn, t),
      x_s_true: back(x_t, x_0, t),
    };
    const content = { logits: null };
    for (const [name, values] of Object.entries(numbers)) content[name] = (i) => values[i];
    yield { content, done: of, of };
  }

  const chosen = () => ({ mode: model.get("mode"), t: clamp(model.get("t"), 1, T) });
  const parts = computed({
    model,
    view,
    watch: ["mode", "t"],
    chosen,
    others: () =>
      modes.flatMap((mode) => Array.from({ length: T }, (_, s) => ({ mode, t: s + 1 }))),
    index: ({ mode, t }) => modes.indexOf(mode) * T + t - 1,
    unpack,
    // A kernel has the discriminator too.
    able: ({ mode }, { hasKernel }) => clean !== null && (mode === "sampling" || !hasKernel),
    compute,
    renewLabel: "New noise",
    partName: ({ mode, t }) => `the step of ${mode} at t = ${t}`,
  });
  const step = () => (clean ? parts.get(chosen()) : null);

  // A picture as a function of the number i, for the state at hand (or another z).
  function picture(name, z = model.get("z")) {
    const k = clamp(model.get("picture"), 0, N - 1);
    if (name === "x_0") return (i) => clean[k * size + i] / 127.5 - 1;
    const from = (name === "x0_drawn" || name === "x_s_made" ? z * N + k : k) * size;
    const values = step()[name];
    return (i) => values(from + i);
  }

  const mode = select({
    name: "mode",
    label: "one step of",
    options: [
      ["training", "training"],
      ["sampling", "sampling"],
    ],
    onInput: (value) => view.set({ mode: value, box: 0 }),
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
  const latent = slider({
    name: "z",
    label: "latent",
    symbol: "z",
    min: 0,
    max: counts.z - 1,
    show: (z) => `${z + 1} of ${counts.z}`,
    onInput: (z) => view.set({ z }),
  });
  const which = pictureChoice({
    count: counts.picture,
    label: "which picture",
    onInput: (k) => view.set({ picture: k }),
  });

  // The boxes, all of them; a step of sampling shows four.
  const name = newId();
  const boxes = [
    ["x_0", "x_0", "from the data", "data"],
    ["x_t", "x_t", "noised", "ink"],
    ["z", "z", "drawn afresh", "noise"],
    ["x0_drawn", "x_0′", "G draws", "result"],
    ["x_s_made", "x_s′", "noised back", "result"],
    ["x_s_true", "x_s", "noised back", "data"],
    ["judged", "D", "how real?", null],
    ["losses", "−log", "the losses", null],
  ].map(([part, symbol, words, colour]) => {
    const input = h("input", { type: "radio", name, onchange: () => go(part) });
    const caption = h("span", { class: `dl-name ${colour ? `dl-${colour}` : ""}` });
    const body = colour
      ? h("canvas", { class: `dl-picture dl-edge-${colour}`, role: "img", "data-part": part })
      : h("span", { class: "dl-numbers", "data-part": part });
    const label = h("label", {}, input, caption, body, h("span", { class: "dl-soft" }, words));
    const arrow = h("span", { class: "dl-arrow", "aria-hidden": "true" }, "→");
    return { part, symbol, input, caption, body, label, arrow, words };
  });
  const flow = h("div", { class: "dl-flow dl-meaning", role: "radiogroup", "aria-label": "box of the step" });
  for (const { arrow, label } of boxes) flow.append(arrow, label);
  const shown = () =>
    model.get("mode") === "sampling"
      ? boxes.filter(({ part }) => ["x_t", "z", "x0_drawn", "x_s_made"].includes(part))
      : boxes;
  const go = (part) => {
    walk.stop();
    view.set({ box: shown().findIndex((box) => box.part === part) });
  };
  const walk = player({
    root: view.root,
    get: () => model.get("box"),
    set: (box) => view.set({ box: Math.round(box) }),
    first: 0,
    last: () => shown().length - 1,
    seconds: () => 2 * shown().length,
    stand: view.ofModel("player of box", () => ({})),
  });
  view.atEnd(walk.end);
  const note = h("p", { class: "dl-note", "data-part": "note" });
  const draws = pictureChoice({
    count: counts.z,
    label: "other latents",
    each: "latent",
    width: 56,
    onInput: (z) => view.set({ z }),
  });
  draws.canvases.forEach((canvas, z) => canvas.setAttribute("data-part", `draw-${z}`));
  const others = h("p", { class: "dl-title" });
  view.root.append(
    h("div", { class: "dl-controls" }, mode.element, time.element, latent.element),
    h("div", { class: "dl-row" }, walk.element, which.element),
    parts.row,
    flow,
    note,
    h("div", { class: "dl-draws" }, others, draws.element),
  );

  function numbersAt(t, z, k) {
    const here = step();
    const logits = here?.logits;
    const real = logits ? logits.real[k] : NaN;
    const made = logits ? logits.made[z][k] : NaN;
    let far = 0;
    if (here) {
      const [true_, drawn] = [picture("x_0"), picture("x0_drawn")];
      for (let i = 0; i < size; i++) far += (true_(i) - drawn(i)) ** 2;
    }
    return {
      t,
      s: t - 1,
      T,
      size: model.get("_shape").join(" × "),
      schedule,
      latent: latents().length / Z,
      far: Math.sqrt(far / size),
      real: sigmoid(real),
      fake: sigmoid(made),
      lossD: softplus(-real) + softplus(made),
      lossG: softplus(-made),
      unjudged: logits ? null : UNJUDGED,
    };
  }

  function paint(colours) {
    const sampling = model.get("mode") === "sampling";
    const t = clamp(model.get("t"), 1, counts.t);
    const z = clamp(model.get("z"), 0, counts.z - 1);
    const k = clamp(model.get("picture"), 0, counts.picture - 1);
    mode.sync(model.get("mode"));
    time.sync(t);
    latent.sync(z);
    which.sync(k);
    draws.sync(z);
    const ready = Boolean(step());
    view.root.dataset.ready = ready;
    const at = { ...numbersAt(t, z, k), sampling };
    const zs = latents();
    const mine = shown();
    const chosenBox = clamp(model.get("box"), 0, mine.length - 1);
    const symbolOf = (box) => box.symbol.replace("_t", `_${t}`).replace("_s", `_${t - 1}`);
    // Texts first, then pictures: a canvas asks for its size, and the page is laid out anew for it
    // after each new text.
    for (const box of boxes) {
      const place = mine.indexOf(box);
      const symbol = symbolOf(box);
      box.label.hidden = place < 0;
      box.arrow.hidden = place < 1;
      box.input.checked = place === chosenBox;
      fill(box.caption, symbol, math(symbol));
      const text = SAY[box.part](at);
      box.input.setAttribute("aria-label", `box ${place + 1} of ${mine.length}: ${plain(text)}`);
      if (place === chosenBox) fill(note, text, ...sentence(text));
      if (box.part === "judged") {
        const line = (colour, word, share) => h("span", { class: `dl-${colour}` }, `${word} ${percent(share)}`);
        if (at.unjudged) fill(box.body, "none", "–");
        else fill(box.body, `${at.real} ${at.fake}`, line("data", "true", at.real), line("result", "made", at.fake));
      } else if (box.part === "losses") {
        const line = (word, value) => h("span", {}, math(word), ` ${fixed(value, 2)}`);
        if (at.unjudged) fill(box.body, "none", "–");
        else fill(box.body, `${at.lossD} ${at.lossG}`, line("D", at.lossD), line("G", at.lossG));
      }
    }
    fill(others, `${t}`, "The same ", math(`x_${t}`), ", other latents: other ", key("result", "digits drawn"));
    for (const box of boxes.filter(({ body }) => body.tagName === "CANVAS")) {
      if (box.part === "z") {
        const side = Math.ceil(Math.sqrt(at.latent));
        paintPicture(box.body, side, side, (i) => (i < at.latent ? zs[z * at.latent + i] / 3 : 0));
        describe(box.body, `latent ${z + 1}, ${at.latent} numbers`);
      } else if (ready) {
        show(box.body, picture(box.part));
        describe(box.body, `${symbolOf(box)}, time ${t}, picture ${k + 1}`);
      } else paintNothing(box.body, colours);
    }
    if (!ready) return draws.canvases.forEach((canvas) => paintNothing(canvas, colours));
    draws.canvases.forEach((canvas, other) => show(canvas, picture("x0_drawn", other)));
    which.canvases.forEach((canvas, n) => show(canvas, (i) => clean[n * size + i] / 127.5 - 1));
  }

  return view.end;
}

// A sentence with its symbols (x_t, x_0′) as formulas; and the same to be read aloud.
const sentence = (text) =>
  text
    .split(/(\bx_[0-9ts]′?|\b[zstGD]\b(?!′))/)
    .map((part, i) => (i % 2 ? math(part) : part));
const plain = (text) => text.replaceAll("_", " ").replaceAll("′", " drawn");

export default { render };
