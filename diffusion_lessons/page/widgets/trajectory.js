// TrajectoryPlayer in the page.

import {
  clamp,
  computed,
  decode,
  describe,
  figure,
  generatorFor,
  h,
  inflate,
  key,
  math,
  pictureColumns,
  Plot,
  stage,
  timeline,
} from "kit";

// The index of the time nearest to t; of several, the one nearest to the frame now shown.
function nearestFrame(times, t, now = 0) {
  const far = (i) => Math.abs(times[i] - t);
  return times.reduce((best, _, i) => {
    const nearer = far(i) < far(best);
    const tie = far(i) === far(best) && Math.abs(i - now) < Math.abs(best - now);
    return nearer || tie ? i : best;
  }, 0);
}

function render({ model, el }) {
  const times = model.get("times");
  const shape = model.get("_shape");
  const labels = model.get("labels");
  const names = model.get("names") ?? []; // notebooks of version 0.2 or later store none
  const [above, below] = names.length ? ["noise", "result"] : ["result", "signal"];
  const last = times.length - 1;
  const pictures = shape.length > 2;
  const [count, ...one] = shape;
  const size = shape.reduce((product, n) => product * n, 1); // numbers in one frame
  const falls = times.every((time, i) => i === 0 || time < times[i - 1]);
  const able = Boolean(model.get("_network")?.name);

  const view = stage({ model, el, label: "Sampling player", watch: ["frame", "t"], paint });
  const current = () => clamp(model.get("frame"), 0, last);
  const onTime = () => {
    const frame = nearestFrame(times, model.get("t"), current());
    if (frame !== current()) model.set("frame", frame);
  };
  model.on("change:t", onTime);

  const auto = model.get("autoplay");
  const time = timeline({
    view,
    name: "frame",
    label: falls ? "from noise to data, time" : "time",
    symbol: "t",
    max: last,
    seconds: () => (auto ? 2 + last / 4 : 1 + last / 8),
    show: (frame) => `t = ${times[frame]}`,
    speak: (frame) => `time ${times[frame]}, frame ${frame + 1} of ${last + 1}`,
    get: current,
    set: (frame, options) => view.set({ frame, t: times[frame] }, options),
    auto,
  });
  view.root.append(time.element);

  const words = names.length
    ? { x: [key(above, names[0])], x0: [key(below, names[1])] }
    : {
        x: [key(above, pictures ? "pictures" : "points"), " ", math("x_t"), " now"],
        x0: [key(below, "expected"), " clean ", pictures ? "picture " : "points ", math("x̂_0")],
      };
  const [nameOfX, nameOfX0] = names.length ? names : ["x t", "expected clean picture"];
  let grid = null;
  let spaces = null;
  if (pictures) {
    grid = pictureColumns({ count, labels, rows: [["x", above], ["x0_hat", below]] });
    view.root.append(
      h("p", { class: "dl-row" }, h("span", {}, "above: ", ...words.x), h("span", {}, "below: ", ...words.x0)),
      grid.element,
    );
  } else {
    spaces = { x: figure("x", words.x), x0: figure("x0_hat", words.x0) };
    for (const { canvas } of Object.values(spaces)) canvas.classList.add("dl-wide");
    view.root.append(
      h("div", { class: "dl-panels" }, spaces.x.element, spaces.x0.element),
    );
  }

  // A film: by frame the numbers of x and of x0_hat. Of points the axes follow them.
  const limits = { x: 3, x0: 3 };
  async function unpack() {
    const bytes = await inflate(model.get("_film"));
    const half = (values, k) => values.subarray((k * values.length) / 2, ((k + 1) * values.length) / 2);
    const cut = (values) => (frame) => values.subarray(frame * size, (frame + 1) * size);
    const film = (values) => ({ x: cut(half(values, 0)), x0: cut(half(values, 1)), all: half(values, 0) });
    if (pictures) return film(Float32Array.from(bytes, (n) => n / 127.5 - 1));
    const scale = model.get("_scale");
    const values = Float32Array.from(decode(bytes, Int16Array), (n) => n * scale);
    // x0_hat may fly off at high noise; the axes follow the points themselves.
    const reach = (all) => Math.ceil(all.reduce((most, value) => Math.max(most, Math.abs(value)), 2));
    limits.x = reach(half(values, 0));
    limits.x0 = names.length ? reach(half(values, 1)) : limits.x;
    return film(values);
  }

  // The same walk from other noise; its frames are those of the film that was given.
  async function* compute(network, choice, seed) {
    const visited = model.get("_walked");
    const noise = network.noise(generatorFor(seed, 0, count), count);
    const denoiser = network.described(model.get("_network"));
    const walk = network.sampler("ddpm")(denoiser, noise, network.schedule, visited, generatorFor(seed, 1, count));
    const [x, x0] = [[], []];
    for await (const step of walk) {
      const frame = times.indexOf(step.t);
      if (frame >= 0) [x[frame], x0[frame]] = [step.x, step.x0Hat];
      const content = { x: (k) => x[k] ?? step.x, x0: (k) => x0[k] ?? step.x0Hat };
      yield { content, done: step.calls + Number(step.t === 0), of: visited.length };
    }
  }

  const stored = { seed: model.get("seed") === undefined ? undefined : 0 }; // of version 0.2 or later
  const parts = computed({
    model,
    view,
    watch: [],
    chosen: () => ({ film: true }),
    index: () => 0,
    partOf: () => stored,
    unpack,
    able: () => able,
    compute,
    renewLabel: able ? "New noise" : null,
    partName: () => "another walk",
  });
  if (able) view.root.append(parts.row);

  function paint(colours) {
    const frame = current();
    time.sync(frame);
    const film = parts.get({ film: true });
    view.root.dataset.ready = Boolean(film) && parts.ready({ film: true });
    if (!film) return grid?.clear(colours);
    const [x, x0] = [film.x(frame), film.x0(frame)];
    const when = `at time ${times[frame]}`;
    if (pictures) {
      grid.paint("x", one, (i) => x[i], `${nameOfX} ${when}`);
      grid.paint("x0_hat", one, (i) => x0[i], `${nameOfX0} ${when}`);
      return;
    }
    const options = (limit) => ({
      x: [-limit, limit],
      y: [-limit, limit],
      xLabel: "first coordinate",
      square: true,
    });
    const left = new Plot(spaces.x.canvas, colours, options(limits.x));
    const trail = (ctx) => {
      // One path for all trails, and not too many of them: they are a hint of the way.
      const step = 2 * Math.ceil(count / 250);
      ctx.beginPath();
      for (let i = 0; i < size; i += step) {
        for (let k = 0; k <= frame; k++) {
          const [px, py] = [left.X(film.all[k * size + i]), left.Y(film.all[k * size + i + 1])];
          if (k) ctx.lineTo(px, py);
          else ctx.moveTo(px, py);
        }
      }
      ctx.globalAlpha = 0.22;
      ctx.lineWidth = 1;
      ctx.strokeStyle = colours.soft;
      ctx.stroke();
    };
    if (!names.length) left.inside(trail);
    left.scatter(x, { colour: colours[above], radius: 1.9, alpha: 0.85 });
    const right = new Plot(spaces.x0.canvas, colours, options(limits.x0));
    right.scatter(x0, { colour: colours[below], radius: 1.9, alpha: 0.85 });
    const [first, second] = names.length
      ? names.map((name) => `${count} points, ${name}, ${when}`)
      : [
          `${count} points x t ${when}, with the trails of their way from noise`,
          `the ${count} clean points expected ${when}`,
        ];
    describe(spaces.x.canvas, first);
    describe(spaces.x0.canvas, second);
  }

  view.atEnd(() => model.off("change:t", onTime));
  return view.end;
}

export { nearestFrame };
export default { render };
