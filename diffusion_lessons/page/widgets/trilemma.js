// TrilemmaExplorer in the page.

import {
  clamp,
  describe,
  figure,
  fill,
  fit,
  fixed,
  h,
  inflate,
  key,
  niceTicks,
  paintNothing,
  paintPicture,
  select,
  slider,
  stage,
  tickText,
} from "kit";
import { along, covers, placed, touch } from "./_labels.js";

const AXES = [
  ["recall", "diversity: recall"],
  ["precision", "fidelity: precision"],
  ["images_per_second", "speed: images a second"],
];
const SHOWN = 3; // pictures of each digit

// Turned about the upright axis, then tilted forwards: [u, v, w] in the cube -1/2..1/2 to the
// screen's [right, up].
function project([u, v, w], turn, tilt) {
  const [a, b] = [(turn * Math.PI) / 180, (tilt * Math.PI) / 180];
  const right = u * Math.cos(a) + w * Math.sin(a);
  const deep = w * Math.cos(a) - u * Math.sin(a);
  return [right, v * Math.cos(b) + deep * Math.sin(b)];
}

function render({ model, el }) {
  const rows = model.get("_rows");
  const names = rows.map((row) => row.method);
  const view = stage({
    model,
    el,
    label: "Trilemma explorer",
    watch: ["turn", "tilt", "method"],
    paint,
  });
  let greys = null;
  inflate(model.get("_pictures")).then((bytes) => {
    greys = bytes;
    view.repaint();
  });

  // Each axis from its least to its greatest value with some room; speed in powers of ten.
  const scaled = (name, value) => (name === "images_per_second" ? Math.log10(value) : value);
  const ranges = AXES.map(([name]) => {
    const values = rows.map((row) => scaled(name, row[name]));
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const room = 0.08 * (high - low) || 0.01;
    return [low - room, high + room];
  });
  const place = (row) =>
    AXES.map(([name], k) => {
      const [low, high] = ranges[k];
      return (scaled(name, row[name]) - low) / (high - low) - 0.5;
    });
  const points = rows.map(place);

  const method = select({
    name: "method",
    label: "method",
    options: names.map((name) => [name, name]),
    onInput: (name) => view.set({ method: name }),
  });
  const [turn, tilt] = ["turn", "tilt"].map((name) =>
    slider({
      name,
      label: name === "turn" ? "turn the room" : "tilt it",
      min: 0,
      max: 90,
      show: (value) => `${value}°`,
      onInput: (value) => view.set({ [name]: value }),
    }),
  );
  const room = figure("room", ["Each point a method: ", key("signal", "measured"), ", ", key("result", "chosen"), "; click one"]);
  room.canvas.classList.add("dl-wide");
  room.canvas.style.height = "380px";
  const samples = figure("samples", [key("result", "Its samples"), ", three of each digit"]);
  Object.assign(samples.canvas.style, {
    height: "auto",
    maxWidth: "560px",
    aspectRatio: `10 / ${SHOWN}`,
  });
  const note = h("p", { class: "dl-note", "data-part": "note" });
  view.root.append(
    h("div", { class: "dl-controls" }, method.element, turn.element, tilt.element),
    h("div", { class: "dl-below" }, room.element),
    note,
    h("div", { class: "dl-below" }, samples.element),
  );

  // Pixels of a point of the cube on the canvas.
  function screen(canvas) {
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    const [a, b] = ["turn", "tilt"].map((name) => (model.get(name) * Math.PI) / 180);
    // The room as large as it can be from this side, with a margin for the words.
    const across = Math.cos(a) + Math.sin(a);
    const high = Math.cos(b) + Math.sin(b) * across;
    const [wide, tall] = [(width - Math.min(220, 0.4 * width)) / across, (height - 90) / high];
    return (point) => {
      const [right, up] = project(point, model.get("turn"), model.get("tilt"));
      return [width / 2 + right * wide, height / 2 - 8 - up * tall];
    };
  }

  room.canvas.addEventListener("click", (event) => {
    const box = room.canvas.getBoundingClientRect();
    const at = screen(room.canvas);
    const away = points.map((point) => {
      const [x, y] = at(point);
      return Math.hypot(x - (event.clientX - box.left), y - (event.clientY - box.top));
    });
    const nearest = away.indexOf(Math.min(...away));
    if (away[nearest] < 40) view.set({ method: names[nearest] });
  });
  room.canvas.style.cursor = "pointer";

  function paint(colours) {
    const chosen = Math.max(names.indexOf(model.get("method")), 0);
    method.sync(names[chosen]);
    turn.sync(model.get("turn"));
    tilt.sync(model.get("tilt"));
    view.root.dataset.ready = greys !== null;
    paintRoom(colours, chosen);
    const row = rows[chosen];
    const number = (text) => h("span", { class: "dl-number dl-result" }, text);
    const share = row.images_per_second;
    const speed = share >= 10 ? Math.round(share).toLocaleString("en") : fixed(share, 1);
    fill(
      note,
      names[chosen],
      `${names[chosen]}: precision `,
      number(fixed(row.precision, 2)),
      ", recall ",
      number(fixed(row.recall, 2)),
      ", ",
      number(speed),
      ` images a second (${row.network_calls} network ${row.network_calls === 1 ? "call" : "calls"} each). `,
      `Fréchet distance ${fixed(row.frechet_distance, 2)} (floor ${fixed(row.floor, 2)}), coverage ${fixed(row.coverage, 2)}, class accuracy ${fixed(100 * row.class_accuracy, 1)}\u00a0%, from ${row.samples.toLocaleString("en")} samples.`,
    );
    describe(
      room.canvas,
      `${names.length} methods in a room of recall, precision and speed; chosen: ${names[chosen]}, recall ${fixed(row.recall, 2)}, precision ${fixed(row.precision, 2)}, ${speed} images a second`,
    );
    if (!greys) return paintNothing(samples.canvas, colours);
    paintPicture(samples.canvas, SHOWN * 28, 280, (i) => {
      const [y, x] = [Math.floor(i / 280), i % 280];
      const picture = (chosen * 10 + Math.floor(x / 28)) * SHOWN + Math.floor(y / 28);
      return greys[picture * 784 + (y % 28) * 28 + (x % 28)] / 127.5 - 1;
    });
    describe(samples.canvas, `30 samples of ${names[chosen]}, three of each digit`);
  }

  function paintRoom(colours, chosen) {
    const { ctx } = fit(room.canvas);
    const at = screen(room.canvas);
    const line = (from, to, colour, width = 1, dash = []) => {
      ctx.beginPath();
      ctx.moveTo(...at(from));
      ctx.lineTo(...at(to));
      ctx.strokeStyle = colour;
      ctx.lineWidth = width;
      ctx.setLineDash(dash);
      ctx.stroke();
    };
    // The room: its twelve edges, three of which are axes.
    for (let axis = 0; axis < 3; axis++) {
      for (const [p, q] of [[0, 0], [0, 1], [1, 0], [1, 1]]) {
        const corner = (end) => {
          const point = [0, 0, 0];
          point[axis] = end - 0.5;
          point[(axis + 1) % 3] = p - 0.5;
          point[(axis + 2) % 3] = q - 0.5;
          return point;
        };
        line(corner(0), corner(1), colours.line);
      }
    }
    ctx.font = `12px ${colours.font}`;
    ctx.textBaseline = "middle";
    const texts = []; // that stand already
    // Writes a text at the first of some heights where it touches no other and covers none of these
    // points, if there is one.
    const write = (text, left, heights, colour, points = []) => {
      const width = ctx.measureText(text).width;
      const place = heights
        .map((height) => [clamp(left(width), 2, room.canvas.clientWidth - width - 2), height, width])
        .find(
          (one) =>
            !texts.some((other) => touch(one, other)) && !points.some((point) => covers(one, point)),
        );
      if (!place) return;
      texts.push(place);
      ctx.textAlign = "left";
      ctx.fillStyle = colour;
      ctx.fillText(text, place[0], place[1]);
    };
    const shown = AXES.map(([name, words], axis) => {
      const on = (share) => {
        const point = [-0.5, -0.5, -0.5];
        if (axis === 2) point[0] = 0.5; // the edge on the right
        point[axis] = share - 0.5;
        return point;
      };
      const [from, to] = [at(on(0)), at(on(1))];
      const upright = Math.abs(to[0] - from[0]) < 0.5 * Math.abs(to[1] - from[1]);
      const aside = axis === 2 && !(to[1] === from[1]); // words to the right of the edge
      return { axis, name, words, on, from, to, upright, aside };
    }).filter(({ from, to }) => Math.hypot(to[0] - from[0], to[1] - from[1]) >= 60); // not from its end
    for (const { axis, name, on, upright, aside } of shown) {
      const isSpeed = name === "images_per_second";
      line(on(0), on(1), colours.soft, 1.5);
      for (const tick of isSpeed ? powers(ranges[axis]) : niceTicks(...ranges[axis], 3)) {
        const share = (tick - ranges[axis][0]) / (ranges[axis][1] - ranges[axis][0]);
        const [x, y] = at(on(share));
        const left = (width) => x + (aside ? 8 : upright ? -8 - width : -width / 2);
        const text = isSpeed ? (10 ** tick).toLocaleString("en") : tickText(tick);
        write(text, left, [y + (upright ? 0 : aside ? 5 : 12)], colours.soft);
      }
    }
    const axes = shown.flatMap(({ from, to }) => along(from, to));
    for (const { words, from, to, upright, aside } of shown) {
      const text = room.canvas.clientWidth < 500 ? words.split(":")[0] : words;
      const [x, y] = [(from[0] + to[0]) / 2, (from[1] + to[1]) / 2];
      const left = (width) =>
        aside ? x + (upright ? -width / 2 : 34) : upright ? from[0] - 34 : x - width / 2;
      const highest = upright ? to[1] - 14 : y + (aside ? 16 : 30);
      const heights = Array.from({ length: 8 }, (_, k) => highest + (upright ? -8 : 8) * k);
      write(text, left, heights, colours.ink, axes);
    }
    // Each point stands on a stalk; the chosen one last, over all others.
    const order = points.map((_, k) => k).sort((a, b) => (a === chosen) - (b === chosen));
    const spots = points.map((point) => at(point));
    for (const k of order) line([points[k][0], -0.5, points[k][2]], points[k], colours.line, 1, [2, 3]);
    for (const k of order) {
      ctx.setLineDash([]);
      ctx.beginPath();
      ctx.arc(...spots[k], k === chosen ? 8 : 5.5, 0, 2 * Math.PI);
      ctx.fillStyle = k === chosen ? colours.result : colours.signal;
      ctx.strokeStyle = colours.paper;
      ctx.lineWidth = 2;
      ctx.fill();
      ctx.stroke();
    }
    // Names where there is room, the chosen one's always.
    const fontOf = (k) => `${k === chosen ? "600 " : ""}12px ${colours.font}`;
    const wanted = [...order].reverse().map((k) => {
      ctx.font = fontOf(k);
      return { k, spot: spots[k], width: ctx.measureText(names[k]).width, always: k === chosen };
    });
    const around = { width: room.canvas.clientWidth, height: room.canvas.clientHeight };
    placed(wanted, { ...around, texts, points: axes }).forEach((place, i) => {
      if (!place) return;
      const { k } = wanted[i];
      const [left, middle] = place.text;
      if (place.line) {
        ctx.beginPath();
        ctx.moveTo(...place.line[0]);
        ctx.lineTo(...place.line[1]);
        ctx.strokeStyle = colours.soft;
        ctx.lineWidth = 1;
        ctx.stroke();
      }
      ctx.font = fontOf(k);
      ctx.lineWidth = 4;
      ctx.lineJoin = "round";
      ctx.strokeStyle = colours.paper;
      ctx.strokeText(names[k], left, middle);
      ctx.fillStyle = k === chosen ? colours.result : colours.soft;
      ctx.fillText(names[k], left, middle);
    });
  }

  return view.end;
}

const powers = ([low, high]) => {
  const exponents = [];
  for (let k = Math.ceil(low); k <= high; k++) exponents.push(k);
  return exponents;
};

export { project };
export default { render };
