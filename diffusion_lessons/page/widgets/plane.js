// PlaneLab in the page.

import {
  button,
  choice,
  clamp,
  describe,
  figure,
  fill,
  fixed,
  h,
  key,
  math,
  newestOnly,
  newId,
  Plot,
  select,
  slider,
  stage,
  timeline,
} from "kit";
import { MLP } from "./_mlp.js";
import {
  chance,
  denoiserOf,
  guided,
  leastLoss,
  MINUTE,
  mixtureOf,
  NEAR,
  near,
  schedule,
  timesOf,
  walk,
} from "./_plane.js";
import { pointsEditor } from "./_points.js";
import { trainer } from "./_trainer.js";

const REACH = 3; // of the axes, as in plane.py
const MOST = 100; // points
const TAIL = 4; // steps of a random walk that stay in sight
const WIDTHS = [8, 16, 32, 64];
const CLASSES = ["discs", "diamonds"];
// What a walk follows from, and what a network learns from.
const WALK = ["points", "std", "sampler", "eta", "steps", "label", "scale", "seed"];
const LEARNT = ["points", "std", "width"];

const percent = (share) => `${Math.round(100 * share)}\u00a0%`;
const many = (n) => n.toLocaleString("en");
const amount = (n, what) => `${many(n)} ${what}${n === 1 ? "" : "s"}`;

// A share: words, a percentage, a bar.
function meter(name, look, words) {
  const number = h("span", { class: `dl-readout dl-${look}` });
  const bar = h("span", { class: `dl-bar dl-meaning dl-${look}` });
  const element = h("div", { class: "dl-meter", "data-part": name }, h("span", {}, ...words));
  element.append(number, h("div", {}, bar));
  return {
    element,
    sync(share, isChosen = false) {
      fill(number, String(share), share === null ? "–" : percent(share));
      bar.style.width = `${100 * (share ?? 0)}%`;
      element.dataset.share = share === null ? "" : share.toFixed(4);
      element.classList.toggle("dl-chosen", isChosen);
    },
  };
}

function render({ model, el, startWorker }) {
  const particles = model.get("_particles");
  const shapes = model.get("_shapes");
  const get = (name) => model.get(name);
  const take = (names) => Object.fromEntries(names.map((name) => [name, get(name)]));
  const watch = [...WALK, "denoiser", "width", "frame", "arrows"];
  const view = stage({ model, el, label: "Plane lab", watch, paint });
  const { root } = view;

  // ---------------------------------------------------------------- what is computed

  let exact = null; // the newest walk of the exact denoiser
  let byChance = null; // the share of noise that lies on a point
  let floor = { of: "", loss: null }; // the exact denoiser's loss
  const news = newestOnly();
  const teacher = trainer({ startWorker, changed: tell });
  const { known } = teacher;
  const shareOf = (made) => (made && get("points").length ? near(made.frames.at(-1), get("points")) : null);
  const walkOf = (denoiser) => (denoiser === "exact" ? exact : known.drawn);

  function tell() {
    const denoiser = get("denoiser");
    const made = walkOf(denoiser);
    if (!get("points").length) root.dataset.engine = "idle";
    else if (denoiser === "network" && known.failure) root.dataset.engine = "none";
    else root.dataset.engine = made && !made.stale && !known.running ? "ready" : "busy";
    if (made) root.dataset.calls = made.calls;
    if (made) root.dataset.ms = made.ms.toFixed(1);
    root.dataset.updates = known.updates;
    root.dataset.networks = known.run ?? 0; // so far
    view.repaint();
  }

  async function walkExactly() {
    if (exact) exact.stale = true;
    const settings = { particles, ...take(WALK) };
    const denoiser = mixtureOf(settings.points, settings.std).denoiser(schedule);
    await news.start(async (alive) => {
      const made = await walk(denoiser, settings, alive);
      if (!made) return; // there is a newer wish
      exact = made;
      tell();
      const of = JSON.stringify([settings.points, settings.std]);
      if (floor.of === of) return;
      const loss = await leastLoss(settings.points, settings.std, alive);
      if (loss === null) return;
      floor = { of, loss };
      view.repaint();
    });
  }

  const learnt = () => JSON.stringify(take(LEARNT));
  let lesson = ""; // what the network learns from
  let seeds = 0;
  function newNetwork(running = known.running) {
    lesson = learnt();
    teacher.start({ ...take(LEARNT), seed: seeds++ }, running);
  }

  // Everything that follows from the traits, anew: once for all that change together.
  let queued = false;
  function follow() {
    if (queued) return;
    queued = true;
    queueMicrotask(() => {
      queued = false;
      if (!get("points").length) {
        news.stop();
        exact = byChance = null;
        if (known.running) teacher.go(false);
        return tell();
      }
      byChance = chance(get("points"));
      walkExactly();
      if (get("denoiser") === "network" || known.started) {
        if (!known.started || lesson !== learnt()) newNetwork();
        if (known.drawn) known.drawn.stale = true;
        teacher.walk({ particles, ...take(WALK) });
      }
      tell();
    });
  }

  const follows = [...WALK, "width", "denoiser"].map((name) => `change:${name}`);
  for (const name of follows) model.on(name, follow);
  view.atEnd(() => {
    for (const name of follows) model.off(name, follow);
    news.stop();
    teacher.end();
  });

  // The arrows: where the denoiser believes that a particle at each place of a grid came from.
  let field = { key: "", places: [], x0Hat: [] };
  async function findField(wanted, places, t) {
    const denoiser = get("denoiser");
    const settings = take(WALK);
    const plain =
      denoiser === "exact" ? mixtureOf(settings.points, settings.std).denoiser(schedule) : denoiserOf(known.network);
    const x0Hat = await guided(plain, settings)(places, t);
    field = { key: wanted, places, x0Hat };
    view.repaint();
  }

  // ---------------------------------------------------------------- what there is to see

  const answers = choice({
    name: "denoiser",
    label: "Who leads the particles?",
    options: [
      ["exact", "the exact denoiser"],
      ["network", "a network, trained here"],
    ],
    onInput: (value) => view.set({ denoiser: value }),
  });
  let kind = 0;
  const kinds = choice({
    name: "class",
    label: "New points are",
    options: CLASSES.map((name, k) => [k, h("span", {}, h("span", { class: `dl-point-${k}` }), ` ${name}`)]),
    onInput: (value) => {
      kind = value;
      view.repaint();
    },
  });
  const shape = select({
    name: "shape",
    label: "points",
    options: [["", "my own"], ...shapes.map(([name]) => [name, name])],
    onInput(name) {
      const found = shapes.find(([other]) => other === name);
      if (found) editor.edit(found[1], `${name}: ${amount(found[1].length, "point")}.`);
    },
  });
  const undo = button("Undo", () => editor.undo(), { "data-name": "undo" });
  const clear = button("Clear", () => editor.edit([], "No points."), { "data-name": "clear" });

  const help = h(
    "p",
    { class: "dl-help dl-soft", id: newId() },
    "Click or tap to set a point, drag to move one, click it to remove it. By keyboard: arrows, Enter, Delete.",
  );
  const plane = figure("plane", []);
  plane.element.firstChild.remove(); // its line stands below
  for (const [name, value] of Object.entries({
    role: "application",
    tabindex: 0,
    "aria-describedby": help.id,
  })) {
    plane.canvas.setAttribute(name, value);
  }
  plane.canvas.classList.add("dl-desk-plane");
  const spoken = h("span", { class: "dl-unseen", role: "status" });
  const note = h("p", { class: "dl-note", "data-part": "note" });
  const account = h("p", { class: "dl-soft dl-account", "data-part": "account" });

  const meters = {
    exact: meter("share-exact", "result", ["exact denoiser"]),
    network: meter("share-network", "result", ["network"]),
    chance: meter("share-chance", "noise", ["pure noise (chance)"]),
  };
  const train = button("", press, { "data-action": "train", class: "dl-button dl-main" });
  const again = button("New network", () => (newNetwork(false), redraw()), { "data-name": "new" });
  const width = select({
    name: "width",
    label: "size of the network",
    options: WIDTHS.map((n) => [n, `${many(new MLP({ width: n }).values.length)} weights`]),
    onInput: (value) => view.set({ width: Number(value) }),
  });
  const loss = figure("loss", ["Loss of the ", key("result", "network", "dl-solid"), ", and of the ", key("signal", "exact denoiser", "dl-dashed")]);
  loss.canvas.classList.add("dl-loss");
  const progress = h("p", { class: "dl-soft dl-progress", "data-part": "progress" });

  const time = timeline({
    view,
    name: "frame",
    label: "from noise to data, time",
    symbol: "t",
    max: get("steps"),
    seconds: () => 4,
    show: (frame) => `t = ${timesOf(get("steps"))[frame]}`,
    speak: (frame) => `time ${timesOf(get("steps"))[frame]}`,
  });
  const run = button("New particles", () => view.set({ seed: (get("seed") + 1) % 2 ** 31 }), { "data-action": "run" });
  const arrows = h("input", { type: "checkbox", "data-name": "arrows" });
  arrows.addEventListener("change", () => view.set({ arrows: arrows.checked }));
  const sampler = select({
    name: "sampler",
    label: "sampler",
    options: [["ddim", "DDIM"], ["ddpm", "DDPM"]],
    onInput: (value) => view.set({ sampler: value }),
  });
  const eta = slider({
    name: "eta",
    label: "noise drawn on the way,",
    symbol: "η",
    min: 0,
    max: 1,
    step: 0.05,
    show: (value) => fixed(value, 2),
    onInput: (value) => view.set({ eta: value }),
  });
  const steps = slider({
    name: "steps",
    label: "steps",
    min: 2,
    max: 100,
    onInput: (value) => view.set({ steps: value, frame: Math.round((shown() * value) / get("steps")) }),
  });
  const std = slider({
    name: "std",
    label: "width of a point",
    min: 0,
    max: 0.3,
    step: 0.01,
    show: (value) => fixed(value, 2),
    onInput: (value) => view.set({ std: value }),
  });
  const label = select({
    name: "label",
    label: "guide towards",
    options: [["", "neither"], ...CLASSES.map((name, k) => [k, `the ${name}`])],
    onInput: (value) => view.set({ label: value === "" ? null : Number(value) }),
  });
  const scale = slider({
    name: "scale",
    label: "scale of the guidance",
    min: 0,
    max: 10,
    step: 0.5,
    show: (value) => fixed(value, 1),
    onInput: (value) => view.set({ scale: value }),
  });

  root.append(
    h("div", { class: "dl-row dl-first" }, answers.element),
    h(
      "div",
      { class: "dl-desk" },
      h(
        "div",
        {},
        plane.element,
        note,
        spoken,
        h("div", { class: "dl-below" }, time.element),
        h("div", { class: "dl-row" }, run, h("label", { class: "dl-tick" }, arrows, "show the arrows")),
      ),
      h(
        "div",
        { class: "dl-side" },
        h("div", { class: "dl-tools" }, shape.element, undo, clear),
        kinds.element,
        help,
        h(
          "section",
          { class: "dl-shares" },
          h("p", { class: "dl-title" }, h("b", {}, "Ended inside a ring")),
          ...Object.values(meters).map(({ element }) => element),
        ),
        h(
          "section",
          { class: "dl-shares" },
          h("p", { class: "dl-title" }, h("b", {}, "The network")),
          width.element,
          h("div", { class: "dl-tools" }, train, again),
          loss.element,
          progress,
        ),
      ),
    ),
    h(
      "div",
      { class: "dl-controls dl-below" },
      ...[sampler, eta, steps, std, label, scale].map(({ element }) => element),
    ),
    account,
  );

  function press() {
    if (known.running) teacher.go(false);
    else if (!known.started || known.seconds >= MINUTE) newNetwork(true);
    else teacher.go(true);
    redraw();
  }
  function redraw() {
    if (get("points").length) teacher.walk({ particles, ...take(WALK) });
    tell();
  }

  let plot = null;
  const editor = pointsEditor({
    canvas: plane.canvas,
    reach: REACH,
    most: MOST,
    get: () => get("points"),
    set: (points, quietly = false) => view.set({ points }, { quietly }),
    plot: () => plot,
    kind: () => kind,
    say: (text) => fill(spoken, text, text),
    changed: view.repaint,
  });

  // ---------------------------------------------------------------- how it is painted

  const shown = () => clamp(get("frame"), 0, get("steps"));

  function paint(colours) {
    const points = get("points");
    const denoiser = get("denoiser");
    const now = shown();
    const last = get("steps");
    const t = timesOf(last)[now];
    const made = points.length ? walkOf(denoiser) : null;
    syncControls(points, denoiser, now, last);
    const shares = { exact: shareOf(exact), network: shareOf(known.drawn), chance: byChance };
    for (const [name, one] of Object.entries(meters)) one.sync(shares[name], name === denoiser);

    plot = new Plot(plane.canvas, colours, { x: [-REACH, REACH], y: [-REACH, REACH], bare: true });
    paintGround(plot, colours);
    if (made) paintTrails(plot, colours, made, now / last);
    const canAnswer = points.length && (denoiser === "exact" || known.drawn);
    if (get("arrows") && canAnswer) paintArrows(plot, colours, Math.max(t, 1));
    if (made) paintParticles(plot, colours, made, now / last);
    const ended = made && now === last ? made.frames.at(-1) : [];
    for (const point of points) paintPoint(plot, colours, point, near(ended, [point]) > 0);
    if (plane.canvas.matches(":focus-visible")) paintCross(plot, colours, editor.cross);

    const words = seen({ points, denoiser, now, last, t, shares });
    fill(note, words, ...words.split(/(\d[\d,.]* %)/).map((part, i) => (i % 2 ? h("b", {}, part.replace(" ", "\u00a0")) : part)));
    const { x, y } = editor.cross;
    describe(
      plane.canvas,
      `plane with ${amount(points.length, "point")} at time ${t}; the cross is at ${fixed(x, 1)}, ${fixed(y, 1)}`,
    );
    paintLoss(colours, points);
    const who = denoiser === "exact" ? "the exact denoiser" : "the network";
    const what = made
      ? `Computed in this page: ${amount(made.calls, "call")} of ${who} for ${amount(particles, "particle")}, in ${Math.max(1, Math.round(made.ms))} ms.`
      : "";
    fill(account, what, what);
  }

  function syncControls(points, denoiser, now, last) {
    const own = JSON.stringify(points);
    answers.sync(denoiser);
    kinds.sync(kind);
    shape.sync(shapes.find(([, rows]) => JSON.stringify(rows) === own)?.[0] ?? "");
    undo.disabled = !editor.canUndo();
    clear.disabled = !points.length;
    time.range(0, last);
    time.sync(now);
    arrows.checked = get("arrows");
    sampler.sync(get("sampler"));
    eta.sync(get("eta"), get("sampler") === "ddim");
    steps.sync(last);
    std.sync(get("std"));
    label.sync(get("label") === null ? "" : String(get("label")));
    scale.sync(get("scale"), points.some(([, , k]) => k === get("label")));
    width.sync(String(get("width")));
    const fresh = !known.updates || known.seconds >= MINUTE;
    const words = known.running ? "Stop" : fresh ? "Train a network" : "Train on";
    fill(train, words, words);
    train.disabled = !points.length || known.failure !== "";
    again.disabled = !known.updates || known.running;
  }

  function paintGround({ ctx, box, X, Y }, colours) {
    ctx.strokeStyle = colours.line;
    ctx.lineWidth = 1;
    ctx.beginPath();
    for (let k = 1 - REACH; k < REACH; k++) {
      const [x, y] = [Math.round(plot.X(k)) + 0.5, Math.round(plot.Y(k)) + 0.5];
      ctx.moveTo(x, box.top);
      ctx.lineTo(x, box.bottom);
      ctx.moveTo(box.left, y);
      ctx.lineTo(box.right, y);
    }
    ctx.stroke();
  }

  // The whole way, or where each step is random, its end alone: the rest would be a tangle.
  function paintTrails({ ctx }, colours, { frames }, share) {
    const end = Math.round(share * (frames.length - 1));
    const isRandom = get("sampler") === "ddpm" || get("eta") > 0;
    const begin = isRandom ? Math.max(end - TAIL, 0) : 0;
    ctx.strokeStyle = colours.soft;
    ctx.globalAlpha = 0.22;
    ctx.lineWidth = 1;
    ctx.beginPath();
    for (let i = 0; i < frames[0].length; i += 2) {
      ctx.moveTo(plot.X(frames[begin][i]), plot.Y(frames[begin][i + 1]));
      for (let k = begin + 1; k <= end; k++) ctx.lineTo(plot.X(frames[k][i]), plot.Y(frames[k][i + 1]));
    }
    ctx.stroke();
    ctx.globalAlpha = 1;
  }

  // Orange as long as they are noisy, green when they have come out.
  function paintParticles(plot, colours, { frames }, share) {
    const places = frames[Math.round(share * (frames.length - 1))];
    const radius = plot.box.right > 360 ? 2.4 : 1.8;
    plot.scatter(places, { colour: share < 1 ? colours.noise : colours.result, radius });
  }

  function paintArrows(plot, colours, t) {
    const side = plot.box.right > 360 ? 15 : 10;
    const cell = (2 * REACH) / side;
    const wanted = JSON.stringify([take(WALK), get("denoiser"), known.drawn?.updates, get("width"), t, side]);
    if (field.key !== wanted) {
      const middle = (k) => -REACH + (k + 0.5) * cell;
      const places = Float64Array.from({ length: 2 * side * side }, (_, i) =>
        middle(i % 2 ? Math.floor(i / 2 / side) : Math.floor(i / 2) % side),
      );
      findField(wanted, places, t);
    }
    const { places, x0Hat } = field;
    plot.ctx.globalAlpha = 0.5;
    for (let i = 0; i < places.length; i += 2) {
      const way = [x0Hat[i] - places[i], x0Hat[i + 1] - places[i + 1]];
      const far = Math.hypot(...way);
      if (far < 0.06) continue; // it stays
      // Long ones are drawn shorter, so that none reaches its neighbour.
      const drawn = (0.9 * cell * Math.tanh(far / (2 * cell))) / Math.max(far, 1e-9);
      const tip = [places[i] + drawn * way[0], places[i + 1] + drawn * way[1]];
      plot.arrow([places[i], places[i + 1]], tip, { colour: colours.signal, width: 1.4 });
    }
    plot.ctx.globalAlpha = 1;
  }

  // A ring in which particles have ended is filled.
  function paintPoint(plot, colours, [x, y, k], found) {
    const { ctx } = plot;
    const size = plot.box.right > 360 ? 3.5 : 2;
    ctx.beginPath();
    ctx.arc(plot.X(x), plot.Y(y), plot.X(NEAR) - plot.X(0), 0, 2 * Math.PI);
    ctx.lineWidth = found ? 2 : 1;
    ctx.strokeStyle = ctx.fillStyle = found ? colours.result : colours.data;
    ctx.globalAlpha = 0.35;
    if (found) ctx.fill();
    ctx.globalAlpha = 1;
    ctx.stroke();
    ctx.beginPath();
    if (k === 0) ctx.arc(plot.X(x), plot.Y(y), size, 0, 2 * Math.PI);
    else {
      const r = 1.3 * size;
      for (const [dx, dy] of [[0, -r], [r, 0], [0, r], [-r, 0]]) ctx.lineTo(plot.X(x) + dx, plot.Y(y) + dy);
      ctx.closePath();
    }
    ctx.fillStyle = k === 0 ? colours.data : colours.paper;
    ctx.strokeStyle = colours.data;
    ctx.lineWidth = 1.6;
    ctx.fill();
    ctx.stroke();
  }

  function paintCross({ ctx, box }, colours, { x, y }) {
    ctx.strokeStyle = colours.ink;
    ctx.lineWidth = 1.5;
    ctx.setLineDash([5, 4]);
    ctx.beginPath();
    ctx.moveTo(plot.X(x), box.top);
    ctx.lineTo(plot.X(x), box.bottom);
    ctx.moveTo(box.left, plot.Y(y));
    ctx.lineTo(box.right, plot.Y(y));
    ctx.stroke();
    ctx.setLineDash([]);
  }

  function paintLoss(colours, points) {
    const { losses, updates, seconds, running } = known;
    const words = known.failure
      ? `This page may start no Worker, which a network needs (${known.failure}). The exact denoiser answers all the same.`
      : updates
        ? `${amount(updates, "update")} in ${Math.round(seconds)} s${running ? `, of at most ${MINUTE}` : ""}`
        : "Not trained yet. It takes a minute at most, in this page.";
    fill(progress, words, words);
    if (!points.length) return;
    const chart = new Plot(loss.canvas, colours, {
      x: [0, Math.max(updates, 100)],
      y: [0, 1.1],
      xLabel: "updates",
      yTicks: [0, 0.5, 1],
    });
    const least = floor.loss ?? NaN;
    chart.line([0, Math.max(updates, 100)], [least, least], { colour: colours.signal, dash: [6, 4], width: 2 });
    chart.line(losses.map(([n]) => n), losses.map(([, value]) => value), { colour: colours.result, width: 2 });
    describe(
      loss.canvas,
      `loss of the exact denoiser: ${fixed(least, 2)}; of the network after ` +
        `${amount(updates, "update")}: ${losses.length ? fixed(losses.at(-1)[1], 2) : "not known yet"}`,
    );
  }

  // The one line that says what is seen now.
  function seen({ points, denoiser, now, last, t, shares }) {
    const K = points.length;
    if (!K) return "No points yet. Click in the plane, or choose a shape.";
    const who = denoiser === "exact" ? "the exact denoiser" : "the network";
    if (denoiser === "network" && known.failure) return "There is no network on this page; choose the exact denoiser.";
    if (now === 0) return `Noise. From here ${who} leads every particle: press Play.`;
    if (now < last) {
      const arrows = get("arrows") ? `Each arrow points to where ${who} believes a particle there came from; long arrows are drawn shorter.` : `Each particle goes to where ${who} believes it came from, a little at each step.`;
      return `Time ${t}. ${arrows}`;
    }
    const own = shares[denoiser];
    if (own === null) return "The particles are on their way.";
    const common = `${percent(own)} of the particles ended inside a ring around a point; of pure noise, ${percent(shares.chance)} would.`.replaceAll("\u00a0", " ");
    if (denoiser === "exact") {
      if (get("std") > 0.04) return `${common} Each point is a small cloud now, wider than its ring.`;
      const given = get("label") !== null ? "the points that it is guided to" : K === 1 ? "its one point" : `its ${K} points`;
      return own > 0.8
        ? `${common} The exact denoiser gives back ${given} and nothing else: it has memorised ${K === 1 ? "it" : "them"}.`
        : `${common} With more steps it would be nearly all.`;
    }
    if (!known.updates) return `${common} The network has learnt nothing yet: train it.`;
    if (own - shares.chance < 0.15 * (1 - shares.chance)) {
      return `${common} That is little more than chance: the network has not learnt much yet. Let it train on.`;
    }
    return own > 0.8
      ? `${common} The network has learnt the points by heart.`
      : `${common} The others lie between: the network fills in what it was not shown, it generalises.`;
  }

  follow();
  return view.end;
}

export default { render };
