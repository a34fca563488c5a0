// The parts that all widgets share. `_base.py` puts this text in front of each widget's own file,
// so that every widget is one ES module that imports nothing.

// ---------------------------------------------------------------- numbers

// Bytes as they arrive: a DataView from a kernel or a page's stored state, or base64 text.
function toBytes(value) {
  if (value == null) return new Uint8Array(0);
  if (typeof value === "string") return Uint8Array.from(atob(value), (c) => c.charCodeAt(0));
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
}

// The copy is aligned to the number's size, which a view into a larger message need not be.
function decode(value, Type) {
  return new Type(toBytes(value).slice().buffer);
}

// Undo Python's zlib.compress.
async function inflate(value) {
  const stream = new Blob([toBytes(value)]).stream();
  const plain = stream.pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(plain).arrayBuffer());
}

const clamp = (x, low, high) => Math.min(Math.max(x, low), high);

// mulberry32: 32 bits of state are plenty for noise that is only looked at.
function uniforms(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let z = Math.imul(state ^ (state >>> 15), state | 1);
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
    return ((z ^ (z >>> 14)) >>> 0) / 4294967296;
  };
}

// Standard normal numbers by Box and Muller; the same seed gives the same numbers.
function normals(count, seed) {
  const uniform = uniforms(Math.imul(seed + 1, 0x9e3779b1));
  const out = new Float32Array(count);
  for (let i = 0; i < count; i += 2) {
    const radius = Math.sqrt(-2 * Math.log(1 - uniform()));
    const angle = 2 * Math.PI * uniform();
    out[i] = radius * Math.cos(angle);
    if (i + 1 < count) out[i + 1] = radius * Math.sin(angle);
  }
  return out;
}

const bell = (x, mean = 0, std = 1) =>
  Math.exp(-0.5 * ((x - mean) / std) ** 2) / (std * Math.sqrt(2 * Math.PI));

// Share of the values in each bin, divided by the bin's width: comparable with a density.
function histogram(values, low, high, bins) {
  const density = new Float64Array(bins);
  const width = (high - low) / bins;
  for (const value of values) {
    const bin = Math.floor((value - low) / width);
    if (bin >= 0 && bin < bins) density[bin] += 1 / (values.length * width);
  }
  return density;
}

// Values with two significant digits from low to high: the positions of a logarithmic slider.
function niceValues(low, high, whole = false) {
  const values = [];
  for (let power = Math.floor(Math.log10(low)); 10 ** power <= high; power++) {
    for (let m = 10; m < 100; m++) {
      const value = Number(`${m}e${power - 1}`);
      if (value >= low && value <= high && (!whole || Number.isInteger(value))) values.push(value);
    }
  }
  return values;
}

function niceTicks(low, high, about = 5) {
  const rough = (high - low) / about;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5].find((m) => m * power >= rough) ?? 10);
  const ticks = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) {
    ticks.push(Number((k * step).toPrecision(12)));
  }
  return ticks;
}

// A number as a person would write it: 0.0063, 0.73, 1.0e-5.
function short(x, digits = 3) {
  if (x === 0) return "0";
  if (!Number.isFinite(x)) return x > 0 ? "∞" : "−∞";
  const size = Math.abs(x);
  const text =
    size < 1e-4 || size >= 1e5
      ? x.toExponential(Math.max(digits - 2, 0))
      : x.toFixed(clamp(digits - 1 - Math.floor(Math.log10(size)), 0, 6));
  return text.replaceAll("-", "−");
}

const fixed = (x, digits = 3) => x.toFixed(digits).replace(/^-/, "−");

// ---------------------------------------------------------------- schedules
// The formulas of diffusion_lessons/math/schedule.py; each returns alpha_bar at the times 0..T.

function fromBeta(beta) {
  const alphaBar = new Float64Array(beta.length + 1);
  alphaBar[0] = 1;
  for (let t = 1; t <= beta.length; t++) alphaBar[t] = alphaBar[t - 1] * (1 - beta[t - 1]);
  return alphaBar;
}

function linearSchedule(T, beta1, betaT) {
  const step = T > 1 ? (betaT - beta1) / (T - 1) : 0;
  // From both ends, as torch.linspace does, so that the last beta is exactly betaT.
  const beta = (i) => (i < T / 2 ? beta1 + step * i : betaT - step * (T - 1 - i));
  return fromBeta(Float64Array.from({ length: T }, (_, i) => (T > 1 ? beta(i) : beta1)));
}

function cosineSchedule(T, offset = 0.008, maxBeta = 0.999) {
  const f = (t) => Math.cos(((t / T + offset) / (1 + offset)) * (Math.PI / 2)) ** 2;
  const beta = (t) => Math.min(1 - f(t) / f(t - 1), maxBeta);
  return fromBeta(Float64Array.from({ length: T }, (_, i) => beta(i + 1)));
}

function vpSchedule(T, betaMin = 0.1, betaMax = 20) {
  const at = (u) => Math.exp(-betaMin * u - ((betaMax - betaMin) * u * u) / 2);
  return Float64Array.from({ length: T + 1 }, (_, t) => at(t / T));
}

function makeSchedule(kind, T, beta1, betaT) {
  if (kind === "cosine") return cosineSchedule(T);
  if (kind === "vp") return vpSchedule(T);
  return linearSchedule(T, beta1, betaT);
}

// beta at the times 0..T, with beta[0] = 0; 1 once nothing at all is left.
function betas(alphaBar) {
  return alphaBar.map((a, t) => (t === 0 ? 0 : alphaBar[t - 1] > 0 ? 1 - a / alphaBar[t - 1] : 1));
}

// log(alpha_bar / (1 - alpha_bar)); infinite at t = 0.
function logSnr(alphaBar) {
  return alphaBar.map((a) => Math.log(a / (1 - a)));
}

// ---------------------------------------------------------------- page elements

function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

// "alpha_t" style subscripts, `x_t` or `x_{t-1}`, cut into [text, is it a subscript] pieces.
function pieces(text) {
  return text
    .split(/(_\{[^}]*\}|_[\p{L}\p{N}])/u)
    .filter(Boolean)
    .map((piece) => (piece[0] === "_" ? [piece.slice(1).replace(/[{}]/g, ""), true] : [piece, false]));
}

// A formula as page text.
function math(text) {
  const parts = pieces(text).map(([part, low]) => (low ? h("sub", {}, part) : part));
  return h("span", { class: "dl-math" }, ...parts);
}

// Put new text or elements into an element, but only if something changed: screen readers listen.
function fill(element, key, ...children) {
  if (element.dlKey === key) return;
  element.dlKey = key;
  element.replaceChildren(...children);
}

function describe(element, text) {
  if (element.getAttribute("aria-label") !== text) element.setAttribute("aria-label", text);
}

let idCount = 0;
const newId = () => `dl-${Date.now().toString(36)}-${idCount++}`;

// A native range input with its label and its value in words. `values` lists the positions of a
// slider that is not evenly spaced. `show` writes the readout, `speak` what is read aloud.
function slider({ name, label, symbol, min, max, step = 1, values, show, speak, onInput }) {
  const id = newId();
  const input = h("input", { type: "range", id, "data-name": name });
  const readout = h("output", { for: id, class: "dl-readout" });
  const element = h(
    "div",
    { class: "dl-slider" },
    h("label", { for: id }, label, " ", symbol ? math(symbol) : null),
    readout,
    input,
  );
  const write = show ?? String;
  const nearest = (value) => {
    let best = 0;
    for (let i = 1; i < values.length; i++) {
      if (Math.abs(values[i] - value) < Math.abs(values[best] - value)) best = i;
    }
    return best;
  };
  const range = (low, high) => {
    if (values) [low, high] = [0, values.length - 1];
    Object.assign(input, { min: low, max: high, step: values ? 1 : step });
  };
  range(min, max);
  input.addEventListener("input", () => {
    const position = Number(input.value);
    onInput(values ? values[position] : position);
  });
  return {
    element,
    input,
    range,
    // Show a value, which may be one that the slider itself cannot reach.
    sync(value, enabled = true) {
      const position = String(values ? nearest(value) : value);
      if (input.value !== position) input.value = position;
      input.disabled = !enabled;
      element.classList.toggle("dl-off", !enabled);
      const text = write(value);
      if (readout.textContent !== text) readout.textContent = text;
      input.setAttribute("aria-valuetext", (speak ?? write)(value));
    },
  };
}

function select({ name, label, options, onInput }) {
  const id = newId();
  const input = h("select", { id, "data-name": name });
  for (const [value, text] of options) input.append(h("option", { value }, text));
  input.addEventListener("change", () => onInput(input.value));
  const element = h("div", { class: "dl-select" }, h("label", { for: id }, label), input);
  return { element, input, sync: (value) => input.value !== value && (input.value = value) };
}

function button(text, onClick, attributes = {}) {
  return h("button", { type: "button", class: "dl-button", onclick: onClick, ...attributes }, text);
}

const reducedMotion = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

const HOLD = 4; // seconds for which a film that plays by itself rests on its last picture

// A play / pause button that walks a value from `first` to `last()`. Nothing starts by itself, and
// for readers who asked for less motion it moves in a few calm jumps. With `auto` it plays over and
// over, until paused, while `root` is on the screen; for those readers it then waits at its end.
function player({ root, get, set, first, last, seconds, auto = false }) {
  const element = button("", () => (playing ? stop() : start()), { "data-name": "play" });
  let playing = false;
  let running = 0;
  let seen = !auto;
  const face = () => {
    element.replaceChildren(
      h("span", { class: playing ? "dl-icon-pause" : "dl-icon-play", "aria-hidden": "true" }),
      playing ? "Pause" : "Play",
    );
  };
  function run() {
    cancelAnimationFrame(running);
    if (!playing || !seen) return;
    let from = get() >= last() ? first : get();
    let begun = null;
    let shown = -Infinity;
    const pause = reducedMotion() ? 700 : 0;
    const tick = (now) => {
      begun ??= now;
      const gone = (now - begun) / 1000;
      const speed = Math.max(last() - first, 1) / seconds();
      const value = Math.min(from + gone * speed, last());
      const done = value >= last();
      if (done || now - shown >= pause) {
        shown = now;
        if (Math.round(value) !== get()) set(Math.round(value));
      }
      if (done && !(auto && !pause)) return stop();
      if (done && gone > HOLD + (last() - from) / speed) [from, begun] = [first, now];
      running = requestAnimationFrame(tick);
    };
    running = requestAnimationFrame(tick);
  }
  function stop() {
    if (!playing) return;
    playing = false;
    run();
    face();
  }
  function start() {
    playing = true;
    run();
    face();
  }
  face();
  if (!auto) return { element, stop, end: stop };

  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const choose = () => {
    if (!still.matches) return start();
    stop();
    set(last());
  };
  // A hidden page runs no animation frames; one that is scrolled away does.
  const sight = new IntersectionObserver(([entry]) => {
    seen = entry.isIntersecting;
    run();
  });
  sight.observe(root);
  still.addEventListener("change", choose);
  choose();
  return {
    element,
    stop,
    end() {
      stop();
      sight.disconnect();
      still.removeEventListener("change", choose);
    },
  };
}

// Time: a play button and the slider that it moves. `get` and `set` are those of the model's `name`
// unless said otherwise. A film that plays by itself has nothing to tell Python.
function timeline({ view, name, min = 0, seconds, auto, get, set, ...rest }) {
  get ??= () => view.get(name);
  set ??= (value, how) => view.set({ [name]: value }, how);
  const time = slider({
    name,
    min,
    ...rest,
    onInput(value) {
      play.stop();
      set(value);
    },
  });
  const last = () => Number(time.input.max);
  const play = player({
    root: view.root,
    get,
    set: (value) => set(value, { quietly: auto }),
    first: min,
    last,
    seconds,
    auto,
  });
  // Who takes the thumb ends what plays before it has moved: else it would be pulled out of the hand,
  // and a key that changes nothing (Home at the start) would not be heard.
  time.input.addEventListener("pointerdown", play.stop);
  time.input.addEventListener("keydown", (event) => {
    if (/^(Arrow|Page|Home|End)/.test(event.key)) play.stop();
  });
  view.atEnd(play.end);
  const element = h("div", { class: "dl-time" }, play.element, time.element);
  return { ...time, element, stop: play.stop };
}

// One of several pictures, chosen with radio buttons that look like the pictures. `width` is that of
// a picture in CSS pixels.
function pictureChoice({ count, label, onInput, each = "picture", width = 28 }) {
  const name = newId();
  const canvases = [];
  const inputs = [];
  const element = h("div", { class: "dl-choice", role: "radiogroup", "aria-label": label });
  for (let i = 0; i < count; i++) {
    inputs.push(
      h("input", {
        type: "radio",
        name,
        value: i,
        "aria-label": `${each} ${i + 1} of ${count}`,
        onchange: () => onInput(i),
      }),
    );
    const style = `width: ${width}px`;
    canvases.push(h("canvas", { class: "dl-thumb", style, "aria-hidden": "true" }));
    element.append(h("label", {}, inputs[i], canvases[i]));
  }
  return {
    element,
    canvases,
    sync: (chosen) => inputs.forEach((input, i) => (input.checked = i === chosen)),
  };
}

// A canvas with a caption above it and, if wanted, a line below it.
function figure(part, caption, { kind = "plot", below } = {}) {
  const canvas = h("canvas", { class: `dl-${kind}`, role: "img", "data-part": part });
  const element = h("figure", { class: `dl-figure dl-figure-${kind}` });
  element.append(h("figcaption", {}, ...caption), canvas, ...(below ? [below] : []));
  return { element, canvas };
}

// Pictures side by side, each in several rows that belong together: `rows` are [part, colour].
function pictureColumns({ count, labels = [], rows }) {
  const size = count <= 2 ? "dl-large" : count <= 6 ? "dl-medium" : "";
  const element = h("div", { class: `dl-pairs ${size}` });
  const canvases = Object.fromEntries(rows.map(([part]) => [part, []]));
  for (let i = 0; i < count; i++) {
    const column = h("div", { class: "dl-pair" });
    for (const [part, colour] of rows) {
      const look = { class: `dl-picture dl-edge-${colour}`, role: "img", "data-part": `${part}-${i}` };
      canvases[part].push(h("canvas", look));
      column.append(canvases[part][i]);
    }
    if (labels[i] != null) column.append(h("span", { class: "dl-soft" }, labels[i]));
    element.append(column);
  }
  // `at(i)` is the value of the i-th number of all pictures; `words` says what they are.
  function paint(part, [height, across], at, words) {
    const pixels = height * across;
    canvases[part].forEach((canvas, k) => {
      paintPicture(canvas, height, across, (i) => at(k * pixels + i));
      describe(canvas, `${words}, picture ${k + 1} of ${count}${labels[k] == null ? "" : `, ${labels[k]}`}`);
    });
  }
  const clear = (colours) => {
    for (const canvas of Object.values(canvases).flat()) {
      paintNothing(canvas, colours);
      describe(canvas, "not computed yet");
    }
  };
  return { element, paint, clear };
}

const key = (colour, text, line = "") => h("span", { class: `dl-key dl-${colour} ${line}` }, text);

// ---------------------------------------------------------------- the widget's frame

// A published page has nobody to tell.
function save(model) {
  try {
    model.save_changes();
  } catch {
    /* the value is set here all the same */
  }
}

function isDark(element) {
  const { body, documentElement: page } = document;
  if (body.dataset.jpThemeLight) return body.dataset.jpThemeLight === "false"; // JupyterLab
  if (body.dataset.vscodeThemeKind) return /dark|high-contrast$/.test(body.dataset.vscodeThemeKind);
  const theme = page.dataset.theme ?? page.getAttribute("theme"); // the book; Colab
  if (theme === "dark" || theme === "light") return theme === "dark";
  for (let node = element.parentElement; node; node = node.parentElement) {
    const [r, g, b, a = 1] = (getComputedStyle(node).backgroundColor.match(/[\d.]+/g) ?? []).map(Number);
    if (a > 0.5 && r !== undefined) return 0.3 * r + 0.6 * g + 0.1 * b < 128;
  }
  return matchMedia("(prefers-color-scheme: dark)").matches;
}

// The root element, one repaint a frame at most, and everything that must end with the view.
// `paint(colours)` reads the model and brings the whole view up to date; `watch` names the traits
// that it shows.
function stage({ model, el, label, watch, paint }) {
  const root = h("div", { class: "dl-widget", role: "group", "aria-label": label });
  const colours = {};
  let queued = 0;
  let tries = 0;
  const repaint = () => {
    queued ||= requestAnimationFrame(() => {
      queued = 0;
      // A hidden view has no size to paint. The resize observer calls when it gets one, but misses
      // what is hidden and shown again within a frame, as JupyterLab does when its theme changes.
      if (root.clientWidth) {
        tries = 0;
        paint(colours);
      } else if (tries++ < 10) repaint();
    });
  };
  const readTheme = () => {
    root.dataset.dlTheme = isDark(root) ? "dark" : "light";
    const style = getComputedStyle(root);
    const found = { font: style.fontFamily };
    for (const name of ["paper", "ink", "soft", "line", "signal", "noise", "result"]) {
      found[name] = style.getPropertyValue(`--dl-${name}`).trim();
    }
    const changed = Object.keys(found).some((name) => found[name] !== colours[name]);
    Object.assign(colours, found);
    return changed;
  };
  // Pages change their attributes for many reasons; only another look is worth a repaint.
  const restyle = () => {
    if (readTheme()) repaint();
  };
  // JupyterLab's notebook has one-letter commands; a key meant for a control is not one of them.
  root.addEventListener("keydown", (event) => {
    const command = event.ctrlKey || event.metaKey || event.altKey || event.key === "Escape";
    if (!command) event.stopPropagation();
  });
  // A drag may change how many lines a text has, and so the height; that is no reason to paint twice.
  const fits = (canvas) => {
    const ratio = window.devicePixelRatio || 1;
    const sides = [canvas.clientWidth, canvas.clientHeight].map((side) => Math.round(side * ratio));
    return sides[0] === canvas.width && sides[1] === canvas.height;
  };
  const size = new ResizeObserver(() => {
    const changed = readTheme();
    if (changed || ![...root.querySelectorAll("canvas")].every(fits)) repaint();
  });
  const theme = new MutationObserver(restyle);
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  size.observe(root);
  for (const node of [document.documentElement, document.body]) {
    theme.observe(node, { attributes: true });
  }
  // JupyterLab loads its theme's style sheet after it has changed the attribute.
  document.addEventListener("load", restyle, true);
  scheme.addEventListener("change", restyle);
  for (const name of watch) model.on(`change:${name}`, repaint);
  el.append(root);
  const endings = [];
  return {
    root,
    repaint,
    get: (name) => model.get(name),
    // `quietly` changes this page alone, without telling Python.
    set(values, { quietly = false } = {}) {
      for (const [name, value] of Object.entries(values)) model.set(name, value);
      if (!quietly) save(model);
    },
    atEnd: (ending) => endings.push(ending),
    end() {
      for (const ending of endings) ending();
      cancelAnimationFrame(queued);
      for (const observer of [size, theme]) observer.disconnect();
      document.removeEventListener("load", restyle, true);
      scheme.removeEventListener("change", restyle);
      for (const name of watch) model.off(`change:${name}`, repaint);
      root.remove();
    },
  };
}

// ---------------------------------------------------------------- with a kernel

const PATIENCE = 6000; // milliseconds without an answer after which the reader is told

// Parts that a network computed (`_computed.py`), in the traits `_part_0`, `_part_1`, ..., each for
// the noise of one `seed`. A page shows what it has. A kernel that answers brings a button for
// another noise; what is missing then is asked for by one message at a time, the part with the least
// `far(k)` first: the chosen one. `watch` names the traits that choose. `button` is null where there
// can be no other noise.
function computed({ model, view, count, watch, far, unpack, button: words, part: name }) {
  const order = () => Array.from({ length: count }, (_, k) => k).sort((a, b) => far(a) - far(b));
  const names = Array.from({ length: count }, (_, k) => `_part_${k}`);
  const seed = () => model.get("seed");
  const current = (k) => model.get(names[k])?.seed === seed();
  const kept = [];
  const get = (k) => {
    const part = model.get(names[k]);
    if (part?.seed !== seed()) return null;
    if (kept[k]?.part !== part) {
      const entry = (kept[k] = { part, content: null });
      unpack(part).then((content) => {
        entry.content = content;
        view.repaint();
      });
    }
    return kept[k].content;
  };

  const bar = h("progress", { "aria-label": "network calls done", max: 1, value: 0 });
  const said = h("span", { role: "status" });
  const work = h("div", { class: "dl-work", hidden: true }, bar, said);
  const again = button(words, () => view.set({ seed: seed() + 1 }), {
    "data-name": "noise",
    hidden: true,
  });
  let asked = false;
  let here = false;
  let failed = null; // the seed that went wrong, and what was said about it
  let patience = 0;

  const send = (message) => {
    try {
      model.send(message);
    } catch {
      /* a published page has nobody to ask */
    }
  };
  const tell = (text, share = null) => {
    work.hidden = text === "";
    bar.hidden = share === null;
    bar.value = share ?? 0;
    fill(said, text, text);
  };
  function next() {
    if (asked || !here || failed?.seed === seed()) return;
    const chosen = order()[0];
    const part = order().find((k) => !current(k));
    if (part === undefined) return tell("");
    asked = true;
    const ready = names.filter((_, k) => current(k)).length;
    if (part !== chosen) tell(`${ready} of ${count} ready for this noise`, ready / count);
    else if (work.hidden || bar.hidden) tell(`computing ${name(part)}`, 0);
    clearTimeout(patience);
    patience = setTimeout(() => tell("The kernel does not answer: it is busy, or gone."), PATIENCE);
    send({ ask: "part", part, seed: seed() });
  }
  function onMessage(message) {
    if (message.kernel) here = true;
    else if ("part" in message) {
      asked = false;
      clearTimeout(patience);
      if (message.seed === seed()) {
        if (message.error) {
          failed = message;
          tell(`The kernel could not do it: ${message.error}`);
        } else if (message.part === order()[0]) {
          tell(`computing ${name(message.part)}`, message.done / message.of);
        }
      }
    }
    again.hidden = !here || !words;
    next();
  }
  const onChange = () => {
    for (let k = 0; k < count; k++) get(k); // unpacked before they are needed
    view.repaint();
    next();
  };

  for (const trait of ["seed", ...names]) model.on(`change:${trait}`, onChange);
  for (const trait of watch) model.on(`change:${trait}`, next);
  model.on("msg:custom", onMessage);
  view.atEnd(() => {
    here = false;
    clearTimeout(patience);
    for (const trait of ["seed", ...names]) model.off(`change:${trait}`, onChange);
    for (const trait of watch) model.off(`change:${trait}`, next);
    model.off("msg:custom", onMessage);
  });
  onChange();
  send({ ask: "kernel" });
  return { get, again, work };
}

// ---------------------------------------------------------------- painting

// A cleared context whose unit is a CSS pixel, at the screen's own resolution.
function fit(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  const [w, hh] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== w || canvas.height !== hh) Object.assign(canvas, { width: w, height: hh });
  const ctx = canvas.getContext("2d");
  ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
  ctx.clearRect(0, 0, width, height);
  return { ctx, width, height };
}

// Where there is no picture yet.
function paintNothing(canvas, colours) {
  const { ctx, width, height } = fit(canvas);
  ctx.fillStyle = colours.line;
  ctx.fillRect(0, 0, width, height);
}

let scratch;

// A grey picture from `at(i)`, the value of pixel i: -1 is black, 1 is white, clipped between.
function paintPicture(canvas, rows, columns, at) {
  const { ctx, width, height } = fit(canvas);
  scratch ??= document.createElement("canvas");
  Object.assign(scratch, { width: columns, height: rows });
  const small = scratch.getContext("2d");
  const pixels = small.createImageData(columns, rows);
  for (let i = 0; i < rows * columns; i++) {
    // Clamped arrays round half to even and clip to 0..255, exactly as data.to_bytes does.
    pixels.data[4 * i] = (at(i) + 1) * 127.5;
    pixels.data[4 * i + 1] = pixels.data[4 * i + 2] = pixels.data[4 * i];
    pixels.data[4 * i + 3] = 255;
  }
  small.putImageData(pixels, 0, 0);
  ctx.imageSmoothingEnabled = false;
  ctx.drawImage(scratch, 0, 0, width, height);
}

// A pair of axes on a canvas. Positions are in the data's units.
class Plot {
  constructor(canvas, colours, { x, y, xLabel = "", yLabel = "", xTicks, yTicks, square = false }) {
    const { ctx, width, height } = fit(canvas);
    Object.assign(this, { ctx, colours, x, y });
    this.box = { left: 46, top: yLabel ? 30 : 12, right: width - 20, bottom: height - 42 };
    if (square) {
      const side = Math.min(this.box.right - this.box.left, this.box.bottom - this.box.top);
      const spare = (this.box.right - this.box.left - side) / 2;
      this.box = { ...this.box, left: this.box.left + spare, bottom: this.box.top + side };
      this.box.right = this.box.left + side;
    }
    this.axes(xTicks ?? niceTicks(...x), yTicks ?? niceTicks(...y, 4), xLabel, yLabel);
  }

  X(x) {
    const { left, right } = this.box;
    return left + ((x - this.x[0]) / (this.x[1] - this.x[0])) * (right - left);
  }

  Y(y) {
    const { top, bottom } = this.box;
    return bottom - ((y - this.y[0]) / (this.y[1] - this.y[0])) * (bottom - top);
  }

  axes(xTicks, yTicks, xLabel, yLabel) {
    const { ctx, colours, box } = this;
    ctx.lineWidth = 1;
    ctx.strokeStyle = colours.line;
    ctx.beginPath();
    for (const tick of yTicks) {
      const y = Math.round(this.Y(tick)) + 0.5;
      ctx.moveTo(box.left, y);
      ctx.lineTo(box.right, y);
    }
    ctx.stroke();
    ctx.strokeStyle = colours.soft;
    ctx.beginPath();
    const base = Math.round(box.bottom) + 0.5;
    ctx.moveTo(box.left, base);
    ctx.lineTo(box.right, base);
    for (const tick of xTicks) {
      const x = Math.round(this.X(tick)) + 0.5;
      ctx.moveTo(x, base);
      ctx.lineTo(x, base + 4);
    }
    ctx.stroke();
    for (const tick of xTicks) {
      this.write(tickText(tick), this.X(tick), base + 8, { align: "center", base: "top" });
    }
    for (const tick of yTicks) {
      this.write(tickText(tick), box.left - 7, this.Y(tick), { align: "right", base: "middle" });
    }
    const middle = (box.left + box.right) / 2;
    this.write(xLabel, middle, base + 25, { align: "center", base: "top", colour: colours.ink });
    this.write(yLabel, Math.max(box.left - 46, 0), 4, { base: "top", colour: colours.ink });
  }

  // Text with subscripts, at a place given in pixels.
  write(text, x, y, { align = "left", base = "alphabetic", colour, size = 12, halo = false } = {}) {
    const { ctx, colours } = this;
    const fonts = [`${size}px ${colours.font}`, `${size * 0.78}px ${colours.font}`];
    const parts = pieces(text).map(([part, low]) => {
      ctx.font = fonts[Number(low)];
      return { part, low, width: ctx.measureText(part).width };
    });
    const total = parts.reduce((sum, { width }) => sum + width, 0);
    let left = x - total * { left: 0, center: 0.5, right: 1 }[align];
    ctx.textBaseline = base;
    ctx.textAlign = "left";
    ctx.fillStyle = colour ?? colours.soft;
    for (const { part, low, width } of parts) {
      ctx.font = fonts[Number(low)];
      const drop = low ? size * (base === "top" ? 0.42 : 0.25) : 0;
      if (halo) {
        ctx.lineWidth = 4;
        ctx.lineJoin = "round";
        ctx.strokeStyle = colours.paper;
        ctx.strokeText(part, left, y + drop);
      }
      ctx.fillText(part, left, y + drop);
      left += width;
    }
  }

  // A label beside a point: on the wanted side if there is room, else on the other. To the left is
  // above a rising curve, so to the right of one it goes below.
  tag(text, x, y, { side = "right", ...options }) {
    this.ctx.font = `${options.size ?? 12}px ${this.colours.font}`;
    const room = this.ctx.measureText(text).width + 12;
    const [before, after] = [this.X(x) - this.box.left, this.box.right - this.X(x)];
    const right = side === "right" ? after >= room || after > before : before < room;
    const place = side === "left" && right ? Math.min(y + 28, this.box.bottom - 6) : y;
    const align = right ? "left" : "right";
    this.write(text, this.X(x) + (right ? 10 : -10), place, { align, ...options });
  }

  // Draw within the axes only.
  inside(draw) {
    const { ctx, box } = this;
    ctx.save();
    ctx.beginPath();
    ctx.rect(box.left, box.top - 2, box.right - box.left, box.bottom - box.top + 3);
    ctx.clip();
    draw(ctx);
    ctx.restore();
  }

  line(xs, ys, { colour, width = 2, dash = [], area = 0 }) {
    this.inside((ctx) => {
      ctx.beginPath();
      let pen = null; // where it rests on the canvas
      for (let i = 0; i < xs.length; i++) {
        if (!Number.isFinite(ys[i])) {
          pen = null;
          continue;
        }
        const [x, y] = [this.X(xs[i]), this.Y(ys[i])];
        // Thousands of points are slow to stroke; half a pixel is not seen.
        if (pen && i + 1 < xs.length && Math.hypot(x - pen[0], y - pen[1]) < 0.5) continue;
        if (pen) ctx.lineTo(x, y);
        else ctx.moveTo(x, y);
        pen = [x, y];
      }
      ctx.lineWidth = width;
      ctx.lineJoin = "round";
      ctx.strokeStyle = colour;
      ctx.setLineDash(dash);
      ctx.stroke();
      if (!area) return;
      ctx.lineTo(this.X(xs[xs.length - 1]), this.Y(0));
      ctx.lineTo(this.X(xs[0]), this.Y(0));
      ctx.globalAlpha = area;
      ctx.fillStyle = colour;
      ctx.fill();
    });
  }

  bars(heights, colour) {
    const width = (this.x[1] - this.x[0]) / heights.length;
    this.inside((ctx) => {
      ctx.fillStyle = colour;
      heights.forEach((height, i) => {
        const left = this.X(this.x[0] + i * width);
        const right = this.X(this.x[0] + (i + 1) * width);
        ctx.fillRect(left + 0.5, this.Y(height), right - left - 1, this.Y(0) - this.Y(height));
      });
    });
  }

  // Points given as x, y, x, y, ...
  scatter(points, { colour, radius = 2, alpha = 1 }) {
    this.inside((ctx) => {
      ctx.globalAlpha = alpha;
      ctx.fillStyle = colour;
      for (let i = 0; i + 1 < points.length; i += 2) {
        ctx.beginPath();
        ctx.arc(this.X(points[i]), this.Y(points[i + 1]), radius, 0, 2 * Math.PI);
        ctx.fill();
      }
    });
  }

  dot(x, y, colour, radius = 5) {
    const { ctx } = this;
    ctx.beginPath();
    ctx.arc(this.X(x), this.Y(y), radius, 0, 2 * Math.PI);
    ctx.fillStyle = colour;
    ctx.strokeStyle = this.colours.paper;
    ctx.lineWidth = 2;
    ctx.fill();
    ctx.stroke();
  }

  vertical(x, colour, { dash = [4, 4], width = 1, from = this.y[0], to = this.y[1] } = {}) {
    this.inside((ctx) => {
      ctx.beginPath();
      ctx.moveTo(this.X(x), this.Y(from));
      ctx.lineTo(this.X(x), this.Y(to));
      ctx.setLineDash(dash);
      ctx.lineWidth = width;
      ctx.strokeStyle = colour;
      ctx.stroke();
    });
  }

  circle(radius, colour, { x = 0, y = 0, dash = [3, 4], width = 1 } = {}) {
    this.inside((ctx) => {
      ctx.beginPath();
      const across = this.X(radius) - this.X(0);
      ctx.arc(this.X(x), this.Y(y), across, 0, 2 * Math.PI);
      ctx.setLineDash(dash);
      ctx.lineWidth = width;
      ctx.strokeStyle = colour;
      ctx.stroke();
    });
  }

  // From one point to another; too short for a head it is a line.
  arrow([x0, y0], [x1, y1], { colour, width = 3, dash = [] }) {
    const [from, to] = [[this.X(x0), this.Y(y0)], [this.X(x1), this.Y(y1)]];
    const length = Math.hypot(to[0] - from[0], to[1] - from[1]);
    const angle = Math.atan2(to[1] - from[1], to[0] - from[0]);
    const head = Math.min(4 + 2.5 * width, length);
    this.inside((ctx) => {
      ctx.strokeStyle = ctx.fillStyle = colour;
      ctx.lineWidth = width;
      ctx.setLineDash(dash);
      ctx.beginPath();
      ctx.moveTo(...from);
      ctx.lineTo(to[0] - 0.8 * head * Math.cos(angle), to[1] - 0.8 * head * Math.sin(angle));
      ctx.stroke();
      ctx.beginPath();
      ctx.moveTo(...to);
      for (const side of [-0.42, 0.42]) {
        ctx.lineTo(to[0] - head * Math.cos(angle + side), to[1] - head * Math.sin(angle + side));
      }
      ctx.fill();
    });
  }
}

const tickText = (tick) =>
  (tick !== 0 && Math.abs(tick) < 1e-3 ? tick.toExponential() : String(tick)).replaceAll("-", "−");

export {
  betas,
  cosineSchedule,
  decode,
  histogram,
  inflate,
  linearSchedule,
  logSnr,
  makeSchedule,
  niceTicks,
  niceValues,
  normals,
  short,
  vpSchedule,
};
