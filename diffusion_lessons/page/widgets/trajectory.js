// TrajectoryPlayer in the page.

import {
  clamp,
  decode,
  describe,
  figure,
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
  const last = times.length - 1;
  const pictures = shape.length === 3;
  const [count, rows, columns] = shape;
  const size = shape.reduce((product, n) => product * n, 1); // numbers in one frame
  const falls = times.every((time, i) => i === 0 || time < times[i - 1]);
  let film = null;

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

  const words = {
    x: [key("result", pictures ? "pictures" : "points"), " ", math("x_t"), " now"],
    x0: [key("signal", "expected"), " clean ", pictures ? "picture " : "points ", math("x̂_0")],
  };
  let grid = null;
  let spaces = null;
  if (pictures) {
    grid = pictureColumns({ count, labels, rows: [["x", "result"], ["x0_hat", "signal"]] });
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

  let limit = 3;
  inflate(model.get("_film")).then((bytes) => {
    if (pictures) {
      film = { x: bytes.subarray(0, bytes.length / 2), x0: bytes.subarray(bytes.length / 2) };
    } else {
      const scale = model.get("_scale");
      const values = Float32Array.from(decode(bytes, Int16Array), (n) => n * scale);
      film = { x: values.subarray(0, values.length / 2), x0: values.subarray(values.length / 2) };
      // x0_hat may fly off at high noise; the axes follow the points themselves.
      limit = film.x.reduce((most, value) => Math.max(most, Math.abs(value)), 2);
      limit = Math.ceil(limit);
    }
    view.repaint();
  });

  function paint(colours) {
    const frame = current();
    time.sync(frame);
    if (!film) return;
    const cut = (values, k) => values.subarray(k * size, (k + 1) * size);
    const [x, x0] = [cut(film.x, frame), cut(film.x0, frame)];
    const when = `at time ${times[frame]}`;
    view.root.dataset.ready = "true";
    if (pictures) {
      grid.paint("x", [rows, columns], (i) => x[i] / 127.5 - 1, `x t ${when}`);
      const expected = `expected clean picture ${when}`;
      grid.paint("x0_hat", [rows, columns], (i) => x0[i] / 127.5 - 1, expected);
      return;
    }
    const options = { x: [-limit, limit], y: [-limit, limit], xLabel: "first coordinate", square: true };
    const left = new Plot(spaces.x.canvas, colours, options);
    left.inside((ctx) => {
      // One path for all trails, and not too many of them: they are a hint of the way.
      const step = 2 * Math.ceil(count / 250);
      ctx.beginPath();
      for (let i = 0; i < size; i += step) {
        for (let k = 0; k <= frame; k++) {
          const [px, py] = [left.X(film.x[k * size + i]), left.Y(film.x[k * size + i + 1])];
          if (k) ctx.lineTo(px, py);
          else ctx.moveTo(px, py);
        }
      }
      ctx.globalAlpha = 0.22;
      ctx.lineWidth = 1;
      ctx.strokeStyle = colours.noise;
      ctx.stroke();
    });
    left.scatter(x, { colour: colours.result, radius: 1.9, alpha: 0.85 });
    const right = new Plot(spaces.x0.canvas, colours, options);
    right.scatter(x0, { colour: colours.signal, radius: 1.9, alpha: 0.85 });
    describe(spaces.x.canvas, `${count} points x t ${when}, with the trails of their way from noise`);
    describe(spaces.x0.canvas, `the ${count} clean points expected ${when}`);
  }

  view.atEnd(() => model.off("change:t", onTime));
  return view.end;
}

export { nearestFrame };
export default { render };
