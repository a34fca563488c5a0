// FilmPlayer in the page.

import { clamp, decode, describe, figure, h, inflate, key, pictureColumns, Plot, stage, timeline } from "kit";

function render({ model, el }) {
  const times = model.get("times");
  const names = model.get("names");
  const looks = model.get("_colours");
  const labels = model.get("_labels");
  const [frames, count, ...rest] = model.get("_shape");
  const pictures = rest.length > 1;
  const width = rest[0]; // of a point, 2, or an arrow, 4
  const size = count * rest.reduce((product, n) => product * n, 1); // numbers in one frame
  const last = frames - 1;

  const view = stage({ model, el, label: "Film player", watch: ["frame"], paint });
  const time = timeline({
    view,
    name: "frame",
    label: times.every((t, i) => i === 0 || t < times[i - 1]) ? "from noise to data, time" : "time",
    symbol: "t",
    max: last,
    seconds: () => 2 + last / 6,
    show: (frame) => `t = ${times[frame]}`,
    speak: (frame) => `time ${times[frame]}, frame ${frame + 1} of ${frames}`,
  });
  view.root.append(time.element);

  let grid = null;
  let spaces = null;
  if (pictures) {
    grid = pictureColumns({ count, labels, rows: names.map((_, i) => [`film${i}`, looks[i]]) });
    const order = names.map((name, i) => h("span", {}, `row ${i + 1}: `, key(looks[i], name)));
    view.root.append(h("p", { class: "dl-row" }, ...order), grid.element);
  } else {
    spaces = names.map((name, i) => figure(`film${i}`, [key(looks[i], name)]));
    for (const { canvas } of spaces) canvas.classList.add("dl-wide");
    view.root.append(h("div", { class: "dl-panels" }, ...spaces.map(({ element }) => element)));
  }

  let values = null; // of all films, one after the other
  let limit = 2;
  inflate(model.get("_films")).then((bytes) => {
    const scale = model.get("_scale");
    values = pictures
      ? Float32Array.from(bytes, (n) => n / 127.5 - 1)
      : Float32Array.from(decode(bytes, Int16Array), (n) => n * scale);
    if (!pictures) limit = Math.ceil(values.reduce((most, n) => Math.max(most, Math.abs(n)), limit) - 1e-3);
    view.repaint();
  });

  function paint(colours) {
    const frame = clamp(model.get("frame"), 0, last);
    time.sync(frame);
    view.root.dataset.ready = Boolean(values);
    if (!values) return grid?.clear(colours);
    names.forEach((name, i) => {
      const start = (i * frames + frame) * size;
      const now = values.subarray(start, start + size);
      const words = `${name} at time ${times[frame]}`;
      if (pictures) return grid.paint(`film${i}`, rest, (k) => now[k], words);
      const { canvas } = spaces[i];
      const plot = new Plot(canvas, colours, { x: [-limit, limit], y: [-limit, limit], square: true });
      const colour = colours[looks[i]];
      if (width === 2) plot.scatter(now, { colour, radius: 1.9, alpha: 0.85 });
      for (let k = 0; width === 4 && k < size; k += 4) {
        plot.arrow(now.subarray(k, k + 2), now.subarray(k + 2, k + 4), { colour, width: 1.2 });
      }
      describe(canvas, `${count} ${width === 4 ? "arrows" : "points"}, ${words}`);
    });
  }

  return view.end;
}

export default { render };
