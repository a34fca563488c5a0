// SolverExplorer in the page.

import {
  ddimStep,
  decode,
  describe,
  figure,
  fill,
  fixed,
  GaussianMixture,
  h,
  key,
  linearSchedule,
  math,
  Plot,
  SAMPLERS,
  select,
  short,
  slider,
  SPACINGS,
  stage,
} from "kit";

const schedule = linearSchedule();
const ratio = (t) => schedule.sigma[t] / schedule.alpha[t]; // of noise to x_0
const MOST = 40; // calls
const PATHS = 5; // points whose way is drawn; all of them are counted
const SOLVERS = { ddim: "DDIM", heun: "Heun", "dpm++": "2M" };
const NAMES = Object.keys(SOLVERS);
const DASHES = { ddim: [], heun: [8, 4], "dpm++": [2, 3] };
const UNDERLINES = { ddim: "dl-solid", heun: "dl-dashed", "dpm++": "dl-dotted" };
const SPREADS = [["uniform", "even in t"], ["log-snr", "even in log-SNR"]];

// With no more than so many calls; Heun's method makes two a step, but one in the last.
const stepsOf = (name, calls) => (name === "heun" ? Math.floor((calls + 1) / 2) : calls);
const callsOf = (name, calls) => (name === "heun" ? 2 * stepsOf(name, calls) - 1 : calls);
const timesOf = (name, calls, spacing) =>
  schedule.times(stepsOf(name, calls), SPACINGS[spacing](schedule));

// Heun's steps with a second look: from t, to s, and how much the news of the look counts: the step
// is DDIM's with the guess moved on by so many times the way from the first guess to the second.
function looksOf(calls, spacing) {
  const times = timesOf("heun", calls, spacing);
  const steps = times.slice(0, -2).map((t, k) => [t, times[k + 1]]);
  return steps.map(([t, s]) => ({ t, s, weight: ratio(t) / ratio(s) / 2 }));
}

const letIn = () => new Promise((resolve) => setTimeout(resolve));

async function walked(name, denoiser, noise, times) {
  const steps = [];
  for await (const step of SAMPLERS[name](denoiser, noise, schedule, times)) {
    if (steps.push(step) % 100 === 0) await letIn();
  }
  return steps;
}

// Root mean square distance of points x, y, x, y, ...
function apart(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] - b[i]) ** 2;
  return Math.sqrt(sum / (a.length / 2));
}

// The way itself: { ends, paths, news }. `news` are [ratio, how far the guess of x_0 moves while the
// ratio falls to a tenth], along the way.
async function truthOf(denoiser, noise) {
  const steps = await walked("dpm++", denoiser, noise, schedule.times());
  const kept = steps.filter(({ t }) => t % 10 === 0 || t < 10);
  const news = [];
  for (let k = 0; k + 2 < kept.length; k++) {
    const [from, to] = [ratio(kept[k].t), ratio(kept[k + 1].t)];
    const moved = apart(kept[k].x0Hat, kept[k + 1].x0Hat);
    news.push([Math.sqrt(from * to), moved / Math.log10(from / to)]);
  }
  return { ends: steps.at(-1).x, paths: pathsOf(kept), news };
}

// The ways of the first points: a list of [x, y] each.
function pathsOf(steps) {
  const count = Math.min(PATHS, steps[0].x.length / 2);
  return Array.from({ length: count }, (_, i) => steps.map(({ x }) => [x[2 * i], x[2 * i + 1]]));
}

// One walk: its error, the ways of the first points, and of Heun's method where it looked ahead, and
// how far that moved the guesses.
async function measured(name, calls, spacing, { denoiser, noise, ends }) {
  const steps = await walked(name, denoiser, noise, timesOf(name, calls, spacing));
  const made = { error: apart(steps.at(-1).x, ends), paths: pathsOf(steps), looks: [], news: [] };
  if (name !== "heun" || steps.length < 3) return made;
  const ahead = [];
  for (const [k, { t, x, x0Hat }] of steps.slice(0, -2).entries()) {
    const s = steps[k + 1].t;
    ahead.push({ x: ddimStep(0)(x, x0Hat, t, s, schedule).mean });
    made.news.push(apart(await denoiser(ahead[k].x, s), x0Hat));
  }
  return { ...made, looks: pathsOf(ahead) };
}

// A straight line of a slope through a place, in logarithms.
const through = ([x, y], slope) => (at) => y - slope * (at - x);

function render({ model, el }) {
  const [means, stds, weights] = ["_means", "_stds", "_weights"].map((name) => model.get(name));
  const mixture = new GaussianMixture({ means, stds, weights });
  const noise = decode(model.get("_noise"), Float32Array);
  const given = { denoiser: mixture.denoiser(schedule), noise };
  const reach = Math.max(
    2,
    1.1 * Math.max(...means.flatMap((mean, k) => mean.map((m) => Math.abs(m) + 2 * stds[k]))),
    1.1 * Math.max(...noise.slice(0, 2 * PATHS).map(Math.abs)),
  );

  const view = stage({
    model,
    el,
    label: "Solver explorer",
    watch: ["calls", "sampler", "spacing"],
    paint,
  });
  const calls = slider({
    name: "calls",
    label: "calls of the denoiser, at most",
    min: 1,
    max: MOST,
    onInput: (value) => view.set({ calls: value }),
  });
  const sampler = select({
    name: "sampler",
    label: "solver",
    options: [["ddim", "DDIM (Euler)"], ["heun", "Heun"], ["dpm++", "DPM-Solver++ 2M"]],
    onInput: (name) => view.set({ sampler: name }),
  });
  const spacing = select({
    name: "spacing",
    label: "times",
    options: SPREADS,
    onInput: (name) => view.set({ spacing: name }),
  });
  const plane = figure("plane", [
    ...["From noise to ", key("data", "data"), ": the ", key("result", "solver's way"), ", and "],
    key("ink", "the true one"),
  ]);
  const curves = figure("errors", [
    "How far from the true ends: ",
    ...NAMES.flatMap((name, k) => [k ? ", " : "", key("ink", SOLVERS[name], UNDERLINES[name])]),
    "; grey: with twice the calls a half, or a quarter",
  ]);
  const strip = figure("looks", [
    ...["Where they look, from noise to data; the area is how quickly the true "],
    ...[key("signal", "guess"), " ", math("x̂_0"), " changes there"],
  ]);
  for (const { canvas } of [plane, curves]) canvas.classList.add("dl-solvers-plane");
  strip.canvas.classList.add("dl-solvers-strip");
  const note = h("p", { class: "dl-note", "data-part": "note" });
  view.root.append(
    h("div", { class: "dl-controls" }, calls.element, sampler.element, spacing.element),
    h("div", { class: "dl-panels" }, plane.element, curves.element),
    h("div", { class: "dl-below" }, strip.element),
    note,
  );

  // All walks of a spacing, by solver and calls; computed when it is first chosen, the calls that
  // are in sight first.
  let truth = null;
  const walks = {};
  let alive = true;
  view.atEnd(() => (alive = false));
  async function compute(name) {
    if (walks[name]) return;
    walks[name] = Object.fromEntries(NAMES.map((solver) => [solver, []]));
    truth ??= truthOf(given.denoiser, noise);
    const { ends } = await truth;
    const now = model.get("calls");
    const order = [now, ...Array.from({ length: MOST }, (_, i) => i + 1).filter((n) => n !== now)];
    for (const count of order) {
      for (const solver of NAMES) {
        walks[name][solver][count] = await measured(solver, count, name, { ...given, ends });
      }
      if (!alive) return;
      if (count === now || count % 4 === 0) {
        view.repaint();
        await letIn();
      }
    }
    walks[name].whole = true;
    view.repaint();
  }
  let way = null; // the truth, once it is there
  async function want(name) {
    await compute(name);
    way ??= await truth;
    view.repaint();
  }

  function paint(colours) {
    const [count, chosen, spread] = ["calls", "sampler", "spacing"].map((name) => model.get(name));
    calls.sync(count);
    sampler.sync(chosen);
    spacing.sync(spread);
    if (!walks[spread]) want(spread);
    truth?.then((found) => (way ??= found));
    const made = walks[spread];
    view.root.dataset.ready = Boolean(made?.whole && way);
    const here = (name) => made?.[name][count];
    paintPlane(colours, chosen, here);
    paintErrors(colours, { count, chosen, made });
    paintLooks(colours, { count, chosen, spread });
    write(count, chosen, spread, here);
  }

  function paintPlane(colours, chosen, here) {
    const { clientWidth: w, clientHeight: tall } = plane.canvas;
    const wide = Math.max(w / tall, 1);
    const high = Math.max(tall / w, 1);
    const plot = new Plot(plane.canvas, colours, {
      x: [-reach * wide, reach * wide],
      y: [-reach * high, reach * high],
      bare: true,
    });
    means.forEach(([x, y], k) => {
      for (const far of [1, 2]) plot.circle(far * stds[k], colours.data, { x, y });
    });
    const line = (path, look) => plot.line(path.map(([x]) => x), path.map(([, y]) => y), look);
    for (const name of NAMES) {
      if (name === chosen) continue;
      for (const path of here(name)?.paths ?? []) {
        line(path, { colour: colours.soft, width: 1, dash: DASHES[name] });
      }
    }
    for (const path of way?.paths ?? []) line(path, { colour: colours.ink, width: 1.5 });
    for (const path of here(chosen)?.paths ?? []) {
      line(path, { colour: colours.result, width: 2.2, dash: DASHES[chosen] });
      plot.scatter(path.flat(), { colour: colours.result, radius: 3 });
    }
    for (const looks of (chosen === "heun" && here("heun")?.looks) || []) {
      if (looks.length > 9) break; // they would hide the way, and lie on it
      for (const [x, y] of looks) ring(plot, x, y, colours.result, 5);
    }
    for (const path of way?.paths ?? []) plot.dot(...path.at(-1), colours.ink, 4);
  }

  function paintErrors(colours, { count, chosen, made }) {
    const every = NAMES.flatMap((name) => made?.[name] ?? []).filter(Boolean);
    const logs = every.map(({ error }) => Math.log10(Math.max(error, 1e-5)));
    const [low, high] = [Math.floor(Math.min(-3, ...logs)), Math.max(0.3, ...logs) + 0.1];
    const x = [0, Math.log10(MOST)];
    const plot = new Plot(curves.canvas, colours, {
      x,
      y: [low, high],
      xTicks: [],
      yTicks: [],
      xLabel: "calls",
      yLabel: "distance",
    });
    logTicks(plot, colours, [1, 2, 5, 10, 20, 40], range(low, Math.floor(high)).map((k) => 10 ** k));
    for (const slope of [1, 2]) {
      const from = made?.[slope === 1 ? "ddim" : "dpm++"][10]?.error;
      if (!from) continue;
      const guide = through([1, Math.log10(from)], slope);
      const xs = [0.75, x[1]];
      plot.line(xs, xs.map(guide), { colour: colours.line, width: 6 });
    }
    plot.vertical(Math.log10(count), colours.soft);
    for (const name of [...NAMES.filter((other) => other !== chosen), chosen]) {
      const colour = name === chosen ? colours.result : colours.soft;
      const counts = range(1, MOST).filter((n) => made?.[name][n] && callsOf(name, n) === n);
      const ys = counts.map((n) => Math.log10(made[name][n].error));
      plot.line(counts.map(Math.log10), ys, {
        colour,
        width: name === chosen ? 2.5 : 1.8,
        dash: DASHES[name],
      });
      const error = made?.[name][count]?.error;
      if (error) plot.dot(Math.log10(callsOf(name, count)), Math.log10(error), colour, name === chosen ? 5 : 4);
    }
  }

  function paintLooks(colours, { count, chosen, spread }) {
    const [most, least] = [Math.log10(ratio(schedule.T)), Math.log10(ratio(1))];
    const plot = new Plot(strip.canvas, colours, {
      x: [most + 0.1, least - 0.1],
      y: [0, 4],
      xTicks: [],
      yTicks: [],
      xLabel: "noise in proportion to the picture, σ / α",
    });
    logTicks(plot, colours, [100, 10, 1, 0.1, 0.01], []);
    if (way) {
      const top = Math.max(...way.news.map(([, speed]) => speed));
      const ys = way.news.map(([, speed]) => (3.6 * speed) / top);
      plot.line(way.news.map(([r]) => Math.log10(r)), ys, { colour: colours.signal, width: 1, area: 0.16 });
    }
    NAMES.forEach((name, row) => {
      const colour = name === chosen ? colours.result : colours.soft;
      const y = 3.2 - 1.15 * row;
      const times = timesOf(name, count, spread).slice(0, -1);
      const places = times.map((t) => Math.log10(ratio(t)));
      plot.line([most, places.at(-1)], [y, y], { colour, width: 1.5, dash: DASHES[name] });
      places.forEach((place) => plot.dot(place, y, colour, 4));
      plot.write(SOLVERS[name], 2, plot.Y(y), { base: "middle", colour, size: 12 });
      if (name !== "heun") return;
      let edge = -Infinity; // of the words before
      for (const { t, s, weight } of looksOf(count, spread)) {
        const middle = plot.X((Math.log10(ratio(t)) + Math.log10(ratio(s))) / 2);
        if (middle - edge < 44) continue;
        plot.write(`×${short(weight, 2)}`, middle, plot.Y(y) - 9, {
          align: "center",
          colour,
          size: 11,
          halo: true,
        });
        edge = middle;
      }
      for (const { s } of looksOf(count, spread)) ring(plot, Math.log10(ratio(s)), y, colour, 7);
    });
  }

  function write(count, chosen, spread, here) {
    const errors = NAMES.map((name) => here(name)?.error);
    if (errors.some((error) => error === undefined)) return;
    const looks = looksOf(count, spread).map((look, k) => ({ ...look, news: here("heun").news[k] }));
    const push = (look) => (look ? look.weight * look.news : 0);
    const boldest = looks.reduce((best, look) => (push(look) > push(best) ? look : best), null);
    const parts = NAMES.flatMap((name, k) => [
      k ? ", " : "Away from the true ends: ",
      `${SOLVERS[name]} `,
      h("span", { class: `dl-number ${name === chosen ? "dl-result" : ""}` }, fixed(errors[k])),
      name === "heun"
        ? ` (${counted(stepsOf(name, count), "step")}, ${counted(callsOf(name, count), "call")})`
        : ` (${counted(count, "call")})`,
    ]);
    const heun =
      chosen === "heun" && boldest
        ? `. Heun's boldest step goes from σ / α = ${short(ratio(boldest.t), 2)} to ` +
          `${short(ratio(boldest.s), 2)}: its second look moves the guess by ` +
          `${short(boldest.news, 2)}, and the step takes ${short(boldest.weight, 2)} times as much`
        : "";
    fill(note, [count, chosen, spread].join(), ...parts, heun, ".");
    describe(
      plane.canvas,
      `the ways of ${here(chosen).paths.length} points by ${SOLVERS[chosen]} beside the true ones, ` +
        `${count} calls at most`,
    );
    describe(
      curves.canvas,
      "distance from the true ends against the calls: " +
        NAMES.map((name, k) => `${SOLVERS[name]} ${fixed(errors[k])}`).join(", "),
    );
    const words = looks.map(({ weight }) => short(weight, 2)).join(", ");
    describe(
      strip.canvas,
      `the calls of the three solvers from noise to data, times ${SPREADS.find(([name]) => name === spread)[1]}; ` +
        (words ? `Heun's second looks count ${words} times` : "Heun has no second look"),
    );
  }

  return view.end;
}

const counted = (n, what) => `${n} ${what}${n === 1 ? "" : "s"}`;

const range = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

// Numbers along axes of which the plot knows the logarithms.
function logTicks(plot, colours, xs, ys) {
  const text = (value) => short(value, 1);
  for (const y of ys) {
    plot.line(plot.x, [Math.log10(y), Math.log10(y)], { colour: colours.line, width: 1 });
    plot.write(text(y), plot.box.left - 7, plot.Y(Math.log10(y)), { align: "right", base: "middle" });
  }
  for (const x of xs) {
    plot.write(text(x), plot.X(Math.log10(x)), plot.box.bottom + 8, { align: "center", base: "top" });
  }
}

// Where Heun's method looks a second time.
function ring(plot, x, y, colour, radius) {
  plot.inside((ctx) => {
    ctx.beginPath();
    ctx.arc(plot.X(x), plot.Y(y), radius, 0, 2 * Math.PI);
    ctx.strokeStyle = colour;
    ctx.lineWidth = 1.6;
    ctx.stroke();
  });
}

export { looksOf, measured, timesOf, truthOf };
export default { render };
