// PathsExplorer in the page.

import {
  choice,
  clamp,
  convert,
  decode,
  describe,
  eulerStep,
  figure,
  fill,
  fixed,
  GaussianMixture,
  h,
  key,
  Plot,
  stage,
  straightSchedule,
  timeline,
} from "kit";

const schedule = straightSchedule();
const { T, alpha, sigma } = schedule;
const FRAMES = 200;
const TIMES = schedule.times(FRAMES);
const [NEAR, APART, COARSE] = [0.05, 1, 5]; // as in paths.py
const GRID = 13; // arrows of the field, either way
const FLASH = 2; // for so many frames a meeting is in sight
const KINDS = [
  ["pairs", "random pairs"],
  ["flow", "the flow"],
  ["reflow", "reflow"],
];

// Where the points are in each frame, x, y, x, y, ...: on straight lines.
const lines = (noise, data) =>
  TIMES.map((t) => noise.map((z, i) => alpha[t] * data[i] + sigma[t] * z));

// The same, carried along by the flow of the mixture.
function flowOf(mixture, noise) {
  const walk = [noise];
  for (let k = 0; k < FRAMES; k++) {
    const [t, s] = [TIMES[k], TIMES[k + 1]];
    walk.push(eulerStep(walk[k], mixture.denoise(walk[k], t, schedule), t, s, schedule).mean);
  }
  return walk;
}

// The pairs of points that are at one place at one time and go different ways: [{ frame, x, y }].
function meetings(walk) {
  const met = new Map();
  const size = walk[0].length;
  const different = (APART / FRAMES) ** 2;
  for (let frame = 0; frame < FRAMES; frame++) {
    const [now, next] = [walk[frame], walk[frame + 1]];
    for (let i = 0; i < size; i += 2) {
      for (let j = i + 2; j < size; j += 2) {
        const [dx, dy] = [now[i] - now[j], now[i + 1] - now[j + 1]];
        if (dx * dx + dy * dy >= NEAR * NEAR) continue;
        const [across, up] = [next[i] - next[j] - dx, next[i + 1] - next[j + 1] - dy];
        if (across * across + up * up <= different || met.has(i * size + j)) continue;
        met.set(i * size + j, { frame, x: (now[i] + now[j]) / 2, y: (now[i + 1] + now[j + 1]) / 2 });
      }
    }
  }
  return [...met.values()];
}

// Whether the point p lies on the left of the line from a to b, or on it.
const left = (a, b, p) => (b[0] - a[0]) * (p[1] - a[1]) >= (b[1] - a[1]) * (p[0] - a[0]);
const cross = (a, b, c, d) => left(a, b, c) !== left(a, b, d) && left(c, d, a) !== left(c, d, b);

// The smallest box around places [x, y].
function boxOf(places) {
  const [xs, ys] = [places.map(([x]) => x), places.map(([, y]) => y)];
  return [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
}
const apart = (a, b) => a[1] < b[0] || b[1] < a[0] || a[3] < b[2] || b[3] < a[2];

// How many pairs of paths cross in the plane, at whatever times; of every fifth frame drawn.
function crossings(walk) {
  const drawn = walk.filter((_, i) => i % COARSE === 0);
  const paths = Array.from({ length: walk[0].length / 2 }, (_, k) => {
    const places = drawn.map((points) => [points[2 * k], points[2 * k + 1]]);
    const pieces = places.slice(1).map((end, i) => [places[i], end, boxOf([places[i], end])]);
    return { box: boxOf(places), pieces };
  });
  const meet = (one, other) =>
    one.pieces.some(
      ([a, b, box]) =>
        !apart(box, other.box) &&
        other.pieces.some(([c, d, beside]) => !apart(box, beside) && cross(a, b, c, d)),
    );
  let count = 0;
  paths.forEach((one, k) => {
    for (const other of paths.slice(k + 1)) if (!apart(one.box, other.box) && meet(one, other)) count++;
  });
  return count;
}

// The length of all paths over the straight distance between their ends.
function stretch(walk) {
  const [first, last] = [walk[0], walk.at(-1)];
  let [length, straight] = [0, 0];
  for (let k = 0; k < first.length; k += 2) {
    straight += Math.hypot(last[k] - first[k], last[k + 1] - first[k + 1]);
    for (let i = 1; i < walk.length; i++) {
      length += Math.hypot(walk[i][k] - walk[i - 1][k], walk[i][k + 1] - walk[i - 1][k + 1]);
    }
  }
  return length / straight;
}

// How many places lie within three standard deviations of a component.
function onData(places, { means, stds }) {
  let count = 0;
  for (let k = 0; k < places.length; k += 2) {
    const near = ([x, y], i) => Math.hypot(places[k] - x, places[k + 1] - y) < 3 * stds[i];
    if (means.some(near)) count++;
  }
  return count;
}

const amount = (n) => `${n} ${n === 1 ? "pair" : "pairs"} of points`;

function render({ model, el }) {
  const read = (name) => decode(model.get(name), Float32Array);
  const mixture = new GaussianMixture({
    means: model.get("_means"),
    stds: model.get("_stds"),
    weights: model.get("_weights"),
  });
  const [noise, data] = [read("_noise"), read("_data")];
  const count = noise.length / 2;
  const pairs = (count * (count - 1)) / 2;
  // Everything that is drawn fits in.
  const reach = Math.max(...[...noise, ...data].map((value) => Math.abs(value) + 0.1));

  const view = stage({ model, el, label: "Paths explorer", watch: ["kind", "frame"], paint });
  const kinds = choice({
    name: "kind",
    label: "What joins noise and data?",
    options: KINDS,
    onInput: (kind) => view.set({ kind }),
  });
  const time = timeline({
    view,
    name: "frame",
    label: "from noise to data, time",
    symbol: "t",
    max: FRAMES,
    seconds: () => 6,
    show: (frame) => `t = ${TIMES[frame]}`,
    speak: (frame) => `time ${TIMES[frame]}`,
  });
  const plane = figure("plane", [
    ...["From ", key("noise", "noise"), " to ", key("data", "data"), ": ", key("result", "points")],
    " on their way",
    h("span", { "data-part": "arrows" }, " and the ", key("signal", "flow's arrows")),
  ]);
  plane.canvas.classList.add("dl-paths-plane");
  const arrows = plane.element.querySelector('[data-part="arrows"]');
  const value = (part) => h("dd", { class: "dl-number", "data-part": part });
  const [met, crossed, ratio, hit] = ["meet", "cross", "stretch", "hit"].map(value);
  const steps = h("dt", {}, "one step of Euler's lands on the data");
  const counts = h(
    "dl",
    { class: "dl-counts" },
    ...[h("dt", {}, "pairs of points that meet"), met],
    ...[h("dt", {}, "pairs of paths that cross in the picture"), crossed],
    ...[h("dt", {}, "length of the paths ÷ straight distance"), ratio],
    ...[steps, hit],
  );
  const note = h("p", { class: "dl-note", "data-part": "note" });
  const landing = (part, words) => {
    const made = figure(part, [words]);
    describe(made.canvas, `${words}: where it lands`); // a reader may meet it before it is painted
    return made;
  };
  const landings = { flow: landing("one-flow", "one step, the flow"), reflow: landing("one-reflow", "one step, reflow") };
  const both = h(
    "div",
    { class: "dl-landings" },
    ...Object.values(landings).map(({ element }) => element),
  );
  view.root.append(
    kinds.element,
    h("div", { class: "dl-below" }, time.element),
    h("div", { class: "dl-desk" }, plane.element, h("div", { class: "dl-side" }, counts, note, both)),
  );

  // Each kind is walked and counted once, when it is first looked at.
  const known = {};
  function of(kind) {
    if (known[kind]) return known[kind];
    const walk =
      kind === "flow" ? flowOf(mixture, noise) : lines(noise, kind === "pairs" ? data : of("flow").walk.at(-1));
    const along = (i) => Float64Array.from(walk, (points) => points[i]);
    const paths = Array.from({ length: count }, (_, k) => [along(2 * k), along(2 * k + 1)]);
    const facts = { met: meetings(walk), crossed: crossings(walk), ratio: stretch(walk) };
    return (known[kind] = { walk, paths, ...facts });
  }
  const oneStep = {
    flow: () => eulerStep(noise, mixture.denoise(noise, T, schedule), T, 0, schedule).mean,
    reflow: () => of("reflow").walk.at(-1),
  };

  function drawData(plot) {
    mixture.means.forEach(([x, y], k) =>
      plot.circle(2 * mixture.stds[k], plot.colours.data, { x, y, dash: [2, 3], width: 1.5 }),
    );
  }

  function drawField(plot, t) {
    const places = new Float64Array(2 * GRID * GRID);
    for (let i = 0; i < GRID * GRID; i++) {
      places[2 * i] = reach * ((2 * (i % GRID) + 1) / GRID - 1);
      places[2 * i + 1] = reach * ((2 * Math.floor(i / GRID) + 1) / GRID - 1);
    }
    const x0Hat = mixture.denoise(places, t, schedule);
    const velocity = convert(x0Hat, places, t, schedule, "x0", "velocity");
    const room = (1.7 * reach) / GRID;
    for (let i = 0; i < places.length; i += 2) {
      const [across, up] = [-velocity[i], -velocity[i + 1]]; // time falls
      const scale = Math.min(0.2, room / Math.hypot(across, up));
      const [x, y] = [places[i], places[i + 1]];
      const end = [x + scale * across, y + scale * up];
      plot.arrow([x, y], end, { colour: plot.colours.signal, width: 1.3 });
    }
  }

  function draw(colours, kind, frame) {
    const { walk, paths, met } = of(kind);
    const limits = [-reach, reach];
    const plot = new Plot(plane.canvas, colours, { x: limits, y: limits, bare: true });
    const small = plot.box.right < 360;
    if (kind === "flow" && TIMES[frame]) drawField(plot, TIMES[frame]);
    drawData(plot);
    for (const way of paths) {
      const piece = (first, last) => way.map((values) => values.subarray(first, last + 1));
      plot.line(...piece(frame, FRAMES), { colour: colours.soft, width: 0.5 });
      plot.line(...piece(0, frame), { colour: colours.soft, width: small ? 1.2 : 1.8 });
    }
    plot.scatter(noise, { colour: colours.noise, radius: small ? 1.6 : 2.2 });
    plot.scatter(walk.at(-1), { colour: colours.data, radius: small ? 1.6 : 2.2 });
    plot.scatter(walk[frame], { colour: colours.result, radius: small ? 2.8 : 4 });
    for (const meeting of met) {
      if (Math.abs(meeting.frame - frame) > FLASH) continue;
      plot.circle(0.14, colours.ink, { ...meeting, dash: [], width: 2 });
    }
  }

  function drawLanding(kind, colours) {
    const limits = [-reach, reach];
    const { canvas } = landings[kind];
    const plot = new Plot(canvas, colours, { x: limits, y: limits, bare: true });
    drawData(plot);
    const places = oneStep[kind]();
    plot.scatter(places, { colour: colours.result, radius: 2.5 });
    const hits = onData(places, mixture);
    describe(canvas, `where one step from the noise lands: ${hits} of ${count} points on the data`);
  }

  const WORDS = {
    pairs: ({ met }) => [
      `Every path is straight. But ${amount(met.length)} meet (a ring: at one time within ${NEAR} of `,
      `each other, velocities more than ${APART} apart) and go on in different directions. A network `,
      "that sees place and time alone can only answer with the mean of both.",
    ],
    flow: ({ ratio }) => [
      "An arrow is the mean of all the straight lines through its place at this time. Points that ",
      "follow the arrows cannot meet (paths that cross in the picture do so at different times), and ",
      `so the paths bend: they are ${fixed(ratio, 2)} times as long as straight ones. The first `,
      "arrows all point to the mean of the data: one step ends there.",
    ],
    reflow: ({ met }) => [
      "Each noise is joined by a straight line to where the flow carried it. ",
      `${met.length ? `Only ${amount(met.length)}` : "No points"} meet, so arrows can follow these `,
      `lines: one step from the noise lands where the flow took ${FRAMES} steps to go.`,
    ],
  };

  function paint(colours) {
    const [kind, frame] = [model.get("kind"), clamp(model.get("frame"), 0, FRAMES)];
    const facts = of(kind);
    kinds.sync(kind);
    time.sync(frame);
    arrows.hidden = kind !== "flow";
    landings.flow.element.hidden = kind === "pairs";
    landings.reflow.element.hidden = kind !== "reflow";

    draw(colours, kind, frame);
    for (const name of Object.keys(landings)) {
      if (!landings[name].element.hidden) drawLanding(name, colours);
    }
    fill(met, kind, `${facts.met.length} of ${pairs}`);
    fill(crossed, kind, `${facts.crossed} of ${pairs}`);
    fill(ratio, kind, fixed(facts.ratio, 2));
    steps.hidden = hit.hidden = kind === "pairs"; // nothing follows them
    if (!hit.hidden) fill(hit, kind, `${onData(oneStep[kind](), mixture)} of ${count}`);
    fill(note, kind, ...WORDS[kind](facts));
    const shown = KINDS.find(([name]) => name === kind)[1];
    describe(
      plane.canvas,
      `${count} points on their way from noise to data, ${shown}, at time ${TIMES[frame]}; ${facts.met.length} ` +
        `pairs meet on the way and ${facts.crossed} pairs of paths cross`,
    );
  }

  return view.end;
}

export { crossings, flowOf, lines, meetings, onData, stretch };
export default { render };
