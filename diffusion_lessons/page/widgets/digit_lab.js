// DigitLab in the page: the networks compute here, step by step, whatever is asked for.

import {
  button,
  choice,
  clamp,
  decode,
  describe,
  fill,
  h,
  inflate,
  key,
  math,
  newestOnly,
  newId,
  niceValues,
  paintNothing,
  paintPicture,
  part,
  pictureChoice,
  pictureColumns,
  pictureShape,
  pretrained,
  select,
  short,
  slider,
  stage,
  timeline,
} from "kit";
import { drawingPad } from "./_drawing.js";
import { COUNT, FEW, TASKS } from "./_lab_tasks.js";

const SIDE = 28;
const SIZE = SIDE * SIDE;
const LAST_SEED = 999_999;
const NETWORKS = [
  ["digits-ddpm", "diffusion, digits-ddpm"],
  ["digits-ddgan", "diffusion GAN, digits-ddgan"],
  ["digits-vae", "VAE, digits-vae"],
  ["digits-consistency", "consistency, digits-consistency"],
  ["digits-reflow", "reflow, digits-reflow"],
];
const SAMPLERS = [
  ["ddim", "DDIM"],
  ["ddpm", "DDPM"],
  ["heun", "Heun"],
  ["dpm++", "DPM-Solver++ 2M"],
  ["euler", "Euler, straight on"],
  ["consistency", "consistency, noised anew"],
];
const WAY = { sampler: "ddim", steps: 10 }; // of a network that has no usual way of its own
const LABELS = Array.from({ length: 11 }, (_, i) => i - 1); // -1 asks for none
// Holes that the keyboard can cut: which pixels of the picture.
const shape = (inside) =>
  Uint8Array.from({ length: SIZE }, (_, i) => inside(i % SIDE, Math.floor(i / SIDE)));
const HOLES = [
  ["none", "no hole", shape(() => 0)],
  ["upper", "upper half", shape((x, y) => y < 14)],
  ["lower", "lower half", shape((x, y) => y >= 14)],
  ["left", "left half", shape((x) => x < 14)],
  ["right", "right half", shape((x) => x >= 14)],
  ["middle", "the middle", shape((x, y) => y >= 9 && y < 19)],
  ["linked", "as in the link", null],
];
// The settings, and which values make sense.
const SETTING = {
  task: (value, own) => tasksOf(own).includes(value),
  network: (value, own) => networksOf(own).some(([name]) => name === value),
  sampler: (value) => SAMPLERS.some(([name]) => name === value),
  label: (value) => Number.isInteger(value) && value >= -1 && value <= 9,
  scale: (value) => value >= 0 && value <= 8,
  t: (value) => Number.isInteger(value) && value >= 1 && value <= 1000,
  steps: (value) => Number.isInteger(value) && value >= 1 && value <= 1000,
  calls: (value) => FEW.includes(value),
  eta: (value) => value >= 0 && value <= 1,
  seed: (value) => Number.isInteger(value) && value >= 0 && value <= LAST_SEED,
  other: (value) => Number.isInteger(value) && value >= 0 && value <= LAST_SEED,
};
const SETTINGS = Object.keys(SETTING);

const asGreys = (bytes) => Float32Array.from(bytes, (value) => value / 127.5 - 1);
const asBytes = (greys) => Uint8Array.from(greys, (v) => Math.round(127.5 * (clamp(v, -1, 1) + 1)));

// The learner's own network: its name and its part of the engine, its classes (how many, and their
// names, if they have any), the shape of its pictures, its last time.
const ownOf = (model) => model.get("_own") ?? {}; // which a lab of version 0.3 or earlier has not
// One of other pictures than the digits has the lab for itself, and the tasks that need no drawing.
const DIGIT = [1, SIDE, SIDE];
const apart = ({ shape = DIGIT }) => shape.join() !== DIGIT.join();
const tasksOf = (own) => (apart(own) ? ["draw", "blend"] : Object.keys(TASKS));
const networksOf = (own) => [...(apart(own) ? [] : NETWORKS), ...(own.name ? [[own.name, own.name]] : [])];
// By name, how networks that were trained for few calls are drawn from; a lab stored by an earlier version knows none.
const usualOf = (model) => new Map(Object.entries(model.get("_usual") ?? {}));

// ------------------------------------------------------------------ a link to what is shown

const LINK = "#lab?";

const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
const fromHex = (text, count) =>
  text?.length === 2 * count && /^[0-9a-f]*$/.test(text)
    ? Uint8Array.from({ length: count }, (_, i) => Number.parseInt(text.slice(2 * i, 2 * i + 2), 16))
    : null;

// Sets what the page's address says, as far as it makes sense; returns the drawing and its hole.
function readLink(model) {
  if (!document.documentElement.dataset.dlEngine || !location.hash.startsWith(LINK)) return {};
  const given = new URLSearchParams(location.hash.slice(LINK.length));
  for (const name of SETTINGS) {
    if (!given.has(name)) continue;
    const text = given.get(name);
    const value = typeof model.get(name) === "number" ? Number(text) : text;
    if (text !== "" && SETTING[name](value, ownOf(model))) model.set(name, value);
  }
  const drawing = fromHex(given.get("drawing"), SIZE);
  return { drawing: drawing && asGreys(drawing), hole: fromHex(given.get("hole"), SIZE) };
}

function linkTo(model, { picture, known }, cut) {
  const given = new URLSearchParams(SETTINGS.map((name) => [name, String(model.get(name))]));
  given.set("drawing", hex(asBytes(picture)));
  if (cut) given.set("hole", hex(known.map((k) => 1 - k)));
  return `${location.href.split("#")[0]}${LINK}${given}`;
}

// ------------------------------------------------------------------ the nearest training digit

let examples = null; // of the page: a promise of the training digits' greys

async function nearest(pictures, model) {
  examples ??= part("examples", model).then(({ images }) => asGreys(images));
  examples.catch(() => (examples = null)); // the next time it is asked for again
  const all = await examples;
  const found = new Float32Array(pictures.length);
  for (let k = 0; k < pictures.length; k += SIZE) {
    let [best, least] = [0, Infinity];
    for (let i = 0; i < all.length; i += SIZE) {
      let sum = 0;
      for (let p = 0; p < SIZE && sum < least; p++) sum += (pictures[k + p] - all[i + p]) ** 2;
      if (sum < least) [best, least] = [i, sum];
    }
    found.set(all.subarray(best, best + SIZE), k);
  }
  return found;
}

// ------------------------------------------------------------------ what a lane shows

const ROWS = [["x", "result"], ["x0_hat", "signal"], ["nearest", "data"]];

// Of stored pictures nothing is known but themselves; of several lanes less is shown.
const rowsOf = (lane, several) =>
  lane.stored ? ROWS.slice(0, 1) : several ? [ROWS[0], ROWS[2]] : apart(lane) ? ROWS.slice(0, 2) : ROWS;

function laneView(lane, several) {
  const rows = rowsOf(lane, several);
  const has = (part) => rows.some(([name]) => name === part);
  const grid = pictureColumns({
    count: lane.labels.length,
    labels: lane.captions ?? lane.labels.map((k) => (k === null ? null : `asked: ${lane.names[k] ?? k}`)),
    rows,
  });
  const title = h("p", { class: "dl-title dl-below", "data-part": "lane" });
  const element = h("div", {}, several ? title : null, grid.element);
  function paint(colours, share) {
    const k = Math.round(share * (lane.frames.length - 1));
    const step = lane.frames[k];
    const words = [effort(lane), step && `t = ${step.t}`].filter(Boolean).join(", ");
    fill(title, words, h("strong", {}, lane.name), ` ${words}`);
    if (!step) return grid.clear(colours);
    const { t, x, x0Hat } = step;
    grid.paint("x", lane.shape, (i) => x[i], `${lane.name}: picture at time ${t}`);
    if (has("x0_hat")) {
      grid.paint("x0_hat", lane.shape, (i) => x0Hat[i], `expected clean picture at time ${t}`);
    }
    const near = lane.nearest;
    if (!has("nearest")) return;
    if (near) grid.paint("nearest", lane.shape, (i) => near[i], "nearest training digit");
    else grid.clearRow("nearest", colours);
  }
  return { element, paint };
}

const effort = ({ calls, ms, labels }) =>
  calls
    ? `${calls} network ${calls === 1 ? "call" : "calls"}, ${Math.round(ms)} ms for ${labels.length}`
    : "";

// ------------------------------------------------------------------ the widget

function render({ model, el }) {
  let linked = readLink(model);
  const watch = [...SETTINGS, "walk", "_drawing"];
  const view = stage({ model, el, label: "Digit lab", watch, paint });
  const { root } = view;
  const task = () => TASKS[model.get("task")];
  const uses = (name) => task().uses.includes(name);
  const own = ownOf(model);
  const usual = usualOf(model);
  const mine = () => Boolean(own.name) && model.get("network") === own.name;
  const networks = networksOf(own);
  // What the pictures of a network are, and the names of its classes.
  const lookOf = (name) =>
    name === own.name ? { shape: own.shape ?? DIGIT, names: own.names ?? [] } : { shape: DIGIT, names: [] };
  const inWords = (text) => (apart(own) ? text.replaceAll("digit", "picture") : text);
  // What the network in use knows.
  const inUse = () => (mine() && (uses("network") || uses("diffusion")) ? own : { classes: 10, T: 1000 });
  // The settings as they are used: what that network does not know is not asked of it.
  function settings() {
    const { classes, T } = inUse();
    const [label, t, steps] = ["label", "t", "steps"].map((name) => model.get(name));
    return {
      ...Object.fromEntries(SETTINGS.map((name) => [name, model.get(name)])),
      diffusion: mine() ? own.name : "digits-ddpm",
      own: own.name ? { ...own, usual: usual.get(own.name) } : null,
      label: label < classes ? label : -1,
      t: Math.min(t, T),
      steps: Math.min(steps, T),
    };
  }
  const state = (name) => (root.dataset.engine = name);
  const work = newestOnly();
  let lanes = [];
  let laneViews = [];
  let asked = false; // whether anything was computed: from then on each change is
  const here = new Set(); // names of the networks that have come
  let awaited = ""; // the name of the one that is on its way
  let failure = "";
  let progress = null;
  state("idle");

  // -------------------------------------------------------------- the picture that is given

  const pad = drawingPad({
    label: "your digit: draw here with mouse, finger or pen",
    onChange: () => view.repaint(),
    onEnd: () => changed({ drawn: true }),
  });
  const presets = pictureChoice({
    count: 10,
    label: "a digit of the test set to begin with",
    each: "digit",
    onInput: (k) => lay(greysOf(k)),
  });
  let known = null; // the presets' greys, once unpacked
  const greysOf = (k) => known.slice(k * SIZE, (k + 1) * SIZE);
  function lay(greys) {
    pad.lay(greys);
    changed({ drawn: true });
  }
  const tools = select({
    name: "tool",
    label: "the pointer",
    options: [["pen", "draws"], ["rubber", "rubs out"], ["hole", "cuts a hole"]],
    onInput: (name) => pad.setTool(name),
  });
  const holes = select({
    name: "hole",
    label: "hole",
    options: HOLES,
    onInput(name) {
      pad.cut(HOLES.find(([each]) => each === name)[2] ?? linked.hole);
      changed();
    },
  });
  const small = h("canvas", { class: "dl-picture", role: "img", "data-part": "given" });
  const undo = button("Undo", () => (pad.undo(), changed({ drawn: true })), { "data-name": "undo" });
  const clear = button("Clear", () => lay(null), { "data-name": "clear" });
  const given = h(
    "div",
    { class: "dl-given" },
    h("div", {}, h("p", { class: "dl-title" }, "Your digit"), pad.element),
    h(
      "div",
      { class: "dl-tools" },
      h("p", { class: "dl-title" }, "or one of MNIST's"),
      presets.element,
      h("div", { class: "dl-row" }, tools.element, holes.element, undo, clear),
      h(
        "div",
        { class: "dl-row" },
        small,
        h("span", { class: "dl-seen" }, key("signal", "What the network gets"), ": brought to 20 × 20 pixels, its centre of mass in the middle, as MNIST's digits are."),
      ),
    ),
  );

  // -------------------------------------------------------------- its settings

  const counts = niceValues(1, 1000, true);
  const set = (name) => (value) => {
    view.set({ [name]: value });
    changed();
  };
  const controls = {
    network: select({ name: "network", label: "network", options: networks, onInput: chooseNetwork }),
    label: select({
      name: "label",
      label: "asked for",
      options: LABELS.map((k) => [String(k), ""]),
      onInput: (value) => set("label")(Number(value)),
    }),
    scale: slider({
      name: "scale",
      label: "guidance scale",
      symbol: "s",
      min: 0,
      max: 8,
      step: 0.25,
      show: (value) => (value === 1 ? "1, not guided" : String(value)),
      onInput: set("scale"),
    }),
    t: slider({ name: "t", label: "noised up to time", symbol: "t", min: 1, max: 1000, onInput: set("t") }),
    sampler: select({ name: "sampler", label: "sampler", options: SAMPLERS, onInput: set("sampler") }),
    steps: slider({
      name: "steps",
      label: "steps",
      values: () => counts.filter((count) => count <= inUse().T),
      onInput: set("steps"),
    }),
    calls: choice({
      name: "calls",
      label: "calls of consistency and reflow",
      options: FEW.map((count) => [String(count), String(count)]),
      onInput: (value) => set("calls")(Number(value)),
    }),
    eta: slider({
      name: "eta",
      label: "noise drawn on the way,",
      symbol: "η",
      min: 0,
      max: 1,
      step: 0.05,
      show: (value) => short(value, 2),
      onInput: set("eta"),
    }),
    seed: numberInput("seed", "seed", set("seed")),
    other: numberInput("other", "other seed", set("other")),
  };
  // A network that was trained for few calls comes with its own sampler and steps, and takes them along.
  function chooseNetwork(name) {
    const way = usual.get(name) ?? (usual.has(model.get("network")) ? WAY : {});
    view.set({ network: name, ...way });
    changed();
  }
  // Which of them the chosen task has.
  function has(name) {
    if (name === "network" && own.name && uses("diffusion")) return true;
    if (!uses(name)) return false;
    const [network, sampler] = [model.get("network"), model.get("sampler")];
    const diffusion = !uses("network") || network === "digits-ddpm" || usual.has(network) || mine();
    if (name === "label" && !inUse().classes) return false;
    if (["scale", "steps", "sampler", "eta"].includes(name) && !diffusion) return false;
    if (name === "eta") return sampler === "ddim";
    if (name === "scale") return settings().label >= 0;
    return true;
  }
  const tabs = taskTabs(tasksOf(own), inWords, (name) => {
    view.set({ task: name });
    keepToAllowed();
    changed();
  });
  // What the chosen task has not, is left.
  function keepToAllowed() {
    const network = model.get("network");
    if (usual.has(network) && !mine() && !uses("network")) view.set({ network: "digits-ddpm", ...WAY });
    const allowed = task().samplers;
    if (allowed && !allowed.includes(model.get("sampler"))) view.set({ sampler: "ddim" });
  }

  // -------------------------------------------------------------- the work

  const run = button("Compute", () => compute(), { "data-action": "run", class: "dl-button dl-main" });
  const renew = button("New noise", () => set("seed")((model.get("seed") + 1) % (LAST_SEED + 1)), { "data-name": "noise" });
  const bar = h("progress", { "aria-label": "steps done", max: 1, value: 0, hidden: true });
  const status = h("span", { role: "status" });
  const working = h("div", { class: "dl-work" }, bar, status);

  // What is given has changed: once something was computed, the newest wish is computed.
  function changed({ drawn = false } = {}) {
    if (drawn) {
      model.set("_drawing", new DataView(asBytes(pad.content().picture).buffer));
      view.set({});
    }
    view.repaint();
    if (asked && failure === "") compute();
  }

  function compute() {
    asked = true;
    failure = "";
    return work.start(async (alive) => {
      const wish = { ...settings(), ...pad.content() };
      try {
        const all = task()
          .lanes(wish)
          .map((lane) => ({ ...lane, ...lookOf(lane.by), frames: [], calls: 0, ms: 0 }));
        for (const lane of all) {
          const first = !here.has(lane.by);
          lane.network = await bring(lane.by);
          if (!alive()) return;
          if (lane === all[0]) show(all); // until then what was there before stays
          if (first && all.length > 1) await warmUp(lane);
          if (!(await follow(lane, alive))) return;
        }
        await finish(all, alive);
      } catch (error) {
        if (!alive()) return;
        console.error(error);
        failure = error.message;
        progress = null;
        state("none");
        view.repaint();
      }
    });
  }

  // A network by name, fetched when it is first needed.
  async function bring(name) {
    awaited = name;
    state(here.has(name) ? "busy" : "loading");
    view.repaint();
    const network = await pretrained(name === own.name ? own.part : name, model);
    here.add(name);
    return network;
  }

  // A network's first call sets memory aside. Where times are compared, it does not count.
  async function warmUp(lane) {
    for await (const _ of lane.walk(lane.network)) break;
  }

  // Read a lane's walk to its end; false if nobody wants it any more.
  async function follow(lane, alive) {
    const before = lane.network.calls;
    state("busy");
    const begun = performance.now();
    for await (const step of lane.walk(lane.network)) {
      if (!alive()) return false;
      lane.frames.push(step);
      lane.calls = lane.network.calls - before;
      lane.ms = performance.now() - begun;
      const from = lane.frames[0].t; // 0 of an inversion, which goes there and back
      progress = from > 0 ? 1 - step.t / from : null;
      view.repaint();
    }
    return alive();
  }

  async function finish(all, alive) {
    progress = null;
    root.dataset.calls = all.reduce((sum, lane) => sum + lane.calls, 0);
    root.dataset.ms = Math.round(all.reduce((sum, lane) => sum + lane.ms, 0));
    state("ready");
    const last = all[0].frames.at(-1).x;
    view.set({ _pictures: new DataView(asBytes(last).buffer) });
    view.repaint();
    for (const lane of all.filter((each) => !apart(each))) {
      const found = await nearest(lane.frames.at(-1).x, model).catch(() => null);
      if (!alive()) return;
      lane.nearest = found;
      lane.alone = found === null; // the training digits did not come
      view.repaint();
    }
  }

  function show(all) {
    lanes = all;
    laneViews = lanes.map((lane) => laneView(lane, lanes.length > 1));
    shown.replaceChildren(...laneViews.map(({ element }) => element));
    shown.className = lanes.length > 1 ? "dl-lanes" : "";
    if (model.get("walk") !== 1) view.set({ walk: 1 }); // follow what is being computed
  }

  // -------------------------------------------------------------- what is shown

  const longest = () => Math.max(1, ...lanes.map(({ frames }) => frames.length - 1));
  const frame = () => Math.round(clamp(model.get("walk"), 0, 1) * longest());
  const time = timeline({
    view,
    name: "walk",
    label: "the walk, from noise to data",
    max: 1,
    seconds: () => 1 + longest() / 20,
    get: frame,
    set: (value, options) => view.set({ walk: value / longest() }, options),
    show: () => whenShown(),
    speak: () => whenShown(),
  });
  function whenShown() {
    if (lanes.length > 1) return `${Math.round(100 * clamp(model.get("walk"), 0, 1))} % of each`;
    const frames = lanes.reduce((a, b) => (b.frames.length > a.length ? b.frames : a), []);
    const step = frames[Math.round(clamp(model.get("walk"), 0, 1) * (frames.length - 1))];
    return step ? `t = ${step.t}` : "";
  }
  const shown = h("div", {});
  const about = h("p", { class: "dl-about" });
  const note = h("p", { class: "dl-note", "data-part": "note" });
  const save = button("Save as PNG", () => savePng(lanes), { "data-name": "save" });
  const link = button("Copy link", copyLink, { "data-name": "link", hidden: true });
  link.hidden = !document.documentElement.dataset.dlEngine;

  async function copyLink() {
    const address = linkTo(model, pad.content(), uses("hole"));
    history.replaceState(null, "", address);
    try {
      await navigator.clipboard.writeText(address);
      link.textContent = "Link copied";
    } catch {
      link.textContent = "The link is in the address bar";
    }
    setTimeout(() => (link.textContent = "Copy link"), 2500);
  }

  root.append(
    tabs.element,
    about,
    given,
    h("div", { class: "dl-controls dl-below" }, ...Object.values(controls).map((c) => c.element)),
    h("div", { class: "dl-row" }, run, renew, working),
    h("div", { class: "dl-below" }, time.element),
    h(
      "p",
      { class: "dl-row dl-legend" },
      h("span", {}, key("result", "the pictures"), " ", math("x_t"), " now"),
      h("span", { "data-part": "legend-x0" }, key("signal", "expected"), " clean picture ", math("x̂_0")),
      h("span", { "data-part": "legend-nearest" }, key("data", "nearest"), " of 2,000 training digits, pixel by pixel"),
    ),
    shown,
    note,
    h("div", { class: "dl-row" }, save, link),
  );
  const legends = { "legend-x0": "x0_hat", "legend-nearest": "nearest" };

  function paint(colours) {
    const current = task();
    tabs.sync(model.get("task"));
    fill(about, model.get("task"), inWords(current.words));
    given.hidden = !uses("picture");
    holes.element.hidden = tools.input.querySelector('[value="hole"]').hidden = !uses("hole");
    if (!uses("hole") && tools.input.value === "hole") {
      tools.input.value = "pen";
      pad.setTool("pen");
    }
    undo.disabled = !pad.canUndo();
    for (const [name, control] of Object.entries(controls)) control.element.hidden = !has(name);
    for (const option of controls.sampler.input.options) {
      option.hidden = option.disabled = Boolean(current.samplers && !current.samplers.includes(option.value));
    }
    const { classes, T, names = [] } = inUse();
    for (const option of controls.label.input.options) {
      const label = Number(option.value);
      option.textContent = label < 0 ? inWords("any digit") : (names[label] ?? label);
      option.hidden = option.disabled = label >= classes;
    }
    const used = settings();
    for (const option of controls.network.input.options) {
      const able = ["digits-ddpm", own.name]; // to do all tasks
      option.hidden = option.disabled = uses("diffusion") && !able.includes(option.value);
    }
    controls.network.sync(uses("diffusion") ? used.diffusion : used.network);
    controls.sampler.sync(used.sampler);
    controls.label.sync(String(used.label));
    controls.t.range(1, Math.min(T, 1000));
    for (const name of ["scale", "t", "steps", "calls", "eta", "seed", "other"]) {
      controls[name].sync(used[name]);
    }

    if (uses("picture")) {
      pad.show(uses("hole"));
      const content = pad.content();
      const { picture } = content;
      const hidden = uses("hole") ? (i) => !content.known[i] : null;
      paintPicture(small, SIDE, SIDE, (i) => picture[i], { hidden, colour: colours.noise });
      describe(small, "your digit as the network gets it");
    }
    if (known) {
      presets.canvases.forEach((canvas, k) => {
        paintPicture(canvas, SIDE, SIDE, (i) => known[k * SIZE + i]);
      });
    } else presets.canvases.forEach((canvas) => paintNothing(canvas, colours));

    time.range(0, longest());
    time.sync(frame());
    const rows = lanes.length ? rowsOf(lanes[0], lanes.length > 1).map(([name]) => name) : [];
    for (const [part, name] of Object.entries(legends)) {
      root.querySelector(`[data-part="${part}"]`).hidden = !rows.includes(name);
    }
    laneViews.forEach((lane) => lane.paint(colours, clamp(model.get("walk"), 0, 1)));
    paintWork();
    root.dataset.ready = String(Boolean(known && lanes.length));
  }

  function paintWork() {
    const engine = root.dataset.engine;
    const calls = lanes.reduce((sum, lane) => sum + lane.calls, 0);
    bar.hidden = engine !== "busy" || progress === null;
    bar.value = progress ?? 0;
    run.textContent = engine === "idle" || engine === "none" ? "Compute" : "Compute again";
    const words =
      engine === "loading"
        ? awaited === own.name
          ? `The kernel exports ${own.name} and sends it (once a page) ...`
          : `${awaited} is on its way (once a page) ...`
        : engine === "busy"
          ? `${calls} network calls so far`
          : "";
    fill(status, words, words);
    working.classList.toggle("dl-unseen", words === ""); // it stays, for who listens to it
    save.disabled = !lanes.some((lane) => lane.frames.length);
    const alone = lanes.some((lane) => lane.alone);
    fill(note, [engine, failure, calls, lanes[0]?.ms, alone].join(), ...noteWords(engine));
  }

  function noteWords(engine) {
    if (failure) {
      return [`The networks cannot run here: ${failure}. The pictures above are ${lanes[0]?.stored ? "stored ones" : "the last that were computed"}.`];
    }
    if (lanes[0]?.stored) {
      const what = apart(own) ? `six pictures by ${own.name}` : "a 3, noised up to t = 500 and restored";
      return [`What you see was stored with the page: ${what}, in ten steps. Press `, h("strong", {}, "Compute"), ", and the networks compute here, on your device: whatever you set from then on is computed as you set it."];
    }
    if (engine !== "ready") return ["Computing, on your device ..."];
    const done = lanes.map((lane) => {
      const { name, parameters } = lane.network.about;
      const each = lane.ms / Math.max(lane.calls, 1);
      const by = lanes.length > 1 ? `${lane.name}, by ${name}` : name;
      const all = lanes.length > 1 ? "" : `${effort(lane)}, `; // of several, each title says it
      return `${by} (${(parameters / 1e6).toFixed(1)} million weights)${lane.network.where}: ${all}${short(each, 2)} ms a call`;
    });
    const { t, steps } = settings();
    const fewer = uses("t") && steps > t ? ` From t = ${t} there are only ${t} steps to take.` : "";
    const alone = lanes.some((lane) => lane.alone) ? " The training digits did not come." : "";
    return [`Computed here, just now. ${done.join(". ")}.${fewer}${alone}`];
  }

  // -------------------------------------------------------------- the beginning and the end

  async function begin() {
    const [packed, stored] = await Promise.all([inflate(model.get("_presets")), inflate(model.get("_stored"))]);
    known = asGreys(packed);
    const before = decode(model.get("_drawing"), Uint8Array);
    pad.lay(linked.drawing ?? (before.length === SIZE ? asGreys(before) : greysOf(3)));
    cutLinked();
    keepToAllowed();
    if (!lanes.length) {
      const x = asGreys(stored);
      const labels = Array.from({ length: COUNT }, () => null);
      show([{ name: "stored", stored: true, labels, ...lookOf(own.name), frames: [{ t: 0, x, x0Hat: x }], calls: 0, ms: 0 }]);
    }
    view.repaint();
  }
  function cutLinked() {
    holes.input.querySelector('[value="linked"]').hidden = !linked.hole;
    holes.sync(linked.hole ? "linked" : "none");
    if (linked.hole) pad.cut(linked.hole);
  }
  // Another link, while the page is open.
  function onHash(event) {
    if (!new URL(event.newURL).hash.startsWith(LINK)) return;
    linked = readLink(model);
    if (linked.drawing) pad.lay(linked.drawing);
    cutLinked();
    keepToAllowed();
    changed();
  }
  addEventListener("hashchange", onHash);
  begin();
  view.atEnd(() => {
    work.stop();
    removeEventListener("hashchange", onHash);
  });
  return view.end;
}

// A whole number with its label.
function numberInput(name, label, onInput) {
  const id = newId();
  const input = h("input", { type: "number", id, "data-name": name, min: 0, max: LAST_SEED, step: 1 });
  input.addEventListener("change", () => {
    const value = Math.round(Number(input.value));
    if (Number.isFinite(value)) input.value = clamp(value, 0, LAST_SEED);
    onInput(Number(input.value));
  });
  const element = h("div", { class: "dl-select dl-whole" }, h("label", { for: id }, label), input);
  return {
    element,
    input,
    sync: (value) => document.activeElement !== input && (input.value = String(value)),
  };
}

function taskTabs(tasks, inWords, onInput) {
  const name = newId();
  const inputs = tasks.map((task) =>
    h("input", { type: "radio", name, value: task, "data-name": `task-${task}`, onchange: () => onInput(task) }),
  );
  const element = h(
    "div",
    { class: "dl-tabs", role: "radiogroup", "aria-label": "what to do" },
    ...inputs.map((input) => h("label", {}, input, h("span", {}, inWords(TASKS[input.value].title)))),
  );
  return { element, sync: (task) => inputs.forEach((input) => (input.checked = input.value === task)) };
}

// The last pictures of all lanes, a row a lane, four times as large.
function savePng(lanes) {
  const [zoom, gap] = [4, 8];
  const { channels, rows, columns, size } = pictureShape(lanes[0].shape);
  const [wide, tall] = [columns * zoom, rows * zoom];
  const most = Math.max(...lanes.map(({ labels }) => labels.length));
  const canvas = document.createElement("canvas");
  canvas.width = most * (wide + gap) - gap;
  canvas.height = lanes.length * (tall + gap) - gap;
  const ctx = canvas.getContext("2d");
  ctx.imageSmoothingEnabled = false;
  const one = document.createElement("canvas");
  Object.assign(one, { width: columns, height: rows });
  lanes.forEach(({ frames, labels }, row) => {
    if (!frames.length) return; // not yet
    const bytes = asBytes(frames.at(-1).x);
    labels.forEach((_, column) => {
      const small = one.getContext("2d").createImageData(columns, rows);
      for (let i = 0; i < rows * columns; i++) {
        const value = (c) => bytes[column * size + (c < channels ? c : 0) * rows * columns + i];
        small.data.set([value(0), value(1), value(2), 255], 4 * i);
      }
      one.getContext("2d").putImageData(small, 0, 0);
      ctx.drawImage(one, column * (wide + gap), row * (tall + gap), wide, tall);
    });
  });
  const anchor = h("a", { href: canvas.toDataURL("image/png"), download: "digits.png" });
  anchor.click();
}

export default { render };
