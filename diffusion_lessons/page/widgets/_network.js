// Passes of a network, what UNetExplorer and AttentionExplorer share (`_network.py`): which
// picture, at which time.

import { clamp, h, inflate, paintPicture, pictureChoice, pictureShape, slider } from "kit";

export function passes({ model, view }) {
  const [count, ...shape] = model.get("_shape");
  const times = model.get("_times");
  const { channels, rows, columns, size } = pictureShape(shape);
  const show = (canvas, at) => paintPicture(canvas, rows, columns, at, { channels });
  const greys = { x_0: null, x_t: null, x0_hat: null };
  let waiting = 0;
  // Bytes to unpack before anything can be shown; `then` gets them.
  function unpack(name, then) {
    waiting++;
    inflate(model.get(name)).then((content) => {
      then(content);
      waiting--;
      view.repaint();
    });
  }
  for (const name of Object.keys(greys)) unpack(`_${name}`, (bytes) => (greys[name] = bytes));

  const choice = pictureChoice({
    count,
    label: "picture",
    onInput: (picture) => view.set({ picture }),
  });
  const time = slider({
    name: "t",
    label: "time",
    symbol: "t",
    values: times,
    onInput: (t) => view.set({ t }),
  });
  const index = () => {
    const k = clamp(model.get("picture"), 0, count - 1);
    return Math.max(times.indexOf(model.get("t")), 0) * count + k;
  };
  const grey = (name, i) => greys[name][index() * size + i] / 127.5 - 1;
  return {
    count,
    rows,
    columns,
    unpack,
    index,
    controls: h("div", { class: "dl-row dl-first" }, choice.element, time.element),
    paintPicture: (canvas, name) => show(canvas, (i) => grey(name, i)),
    // Whether all is there; brings the two controls up to date.
    ready() {
      view.root.dataset.ready = waiting === 0;
      time.sync(model.get("t"));
      choice.sync(clamp(model.get("picture"), 0, count - 1));
      if (waiting) return false;
      choice.canvases.forEach((canvas, k) => {
        show(canvas, (i) => greys.x_0[k * size + i] / 127.5 - 1);
      });
      return true;
    },
  };
}
