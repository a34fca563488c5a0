// LatentExplorer in the page.

import {
  clamp,
  describe,
  figure,
  fit,
  fixed,
  h,
  inflate,
  key,
  math,
  paintNothing,
  paintPicture,
  pictureShape,
  pointing,
  slider,
  stage,
} from "kit";

function render({ model, el }) {
  const side = model.get("_side");
  const reach = model.get("_reach");
  const { channels, rows, columns, size } = pictureShape(model.get("_shape"));
  const view = stage({ model, el, label: "Latent explorer", watch: ["across", "up"], paint });
  let greys = null;
  let whole = null; // the map, drawn once
  inflate(model.get("_pictures")).then((bytes) => {
    greys = bytes;
    whole = drawnMap();
    view.repaint();
  });

  function drawnMap() {
    const canvas = document.createElement("canvas");
    Object.assign(canvas, { width: side * columns, height: side * rows });
    const ctx = canvas.getContext("2d");
    const pixels = ctx.createImageData(canvas.width, canvas.height);
    const plane = rows * columns;
    for (let i = 0; i < side * side * plane; i++) {
      const [place, pixel] = [Math.floor(i / plane), i % plane];
      const y = (side - 1 - Math.floor(place / side)) * rows + Math.floor(pixel / columns);
      const at = 4 * (y * canvas.width + (place % side) * columns + (pixel % columns));
      const colour = (c) => greys[place * size + (c % channels) * plane + pixel];
      pixels.data.set([colour(0), colour(1), colour(2), 255], at);
    }
    ctx.putImageData(pixels, 0, 0);
    return canvas;
  }

  const value = (index) => fixed(reach * ((2 * index) / (side - 1) - 1), 2);
  const sliders = ["across", "up"].map((name, i) =>
    slider({
      name,
      label: name,
      symbol: `z_${i + 1}`,
      min: 0,
      max: side - 1,
      show: value,
      onInput: (index) => view.set({ [name]: index }),
    }),
  );
  const plane = figure("plane", ["The plane of the latent ", math("z"), ": click or drag"]);
  plane.canvas.classList.add("dl-map");
  plane.element.style.maxWidth = plane.canvas.style.maxWidth = "420px";
  const shown = figure("picture", [key("result", "decoded")], { kind: "picture" });
  Object.assign(shown.canvas.style, { width: "224px", height: "224px" });
  shown.canvas.classList.add("dl-edge-result");
  view.root.append(
    h("div", { class: "dl-controls" }, ...sliders.map(({ element }) => element)),
    h("div", { class: "dl-sides" }, plane.element, shown.element),
  );

  const move = (event) => {
    const box = plane.canvas.getBoundingClientRect();
    const at = (share) => clamp(Math.floor(share * side), 0, side - 1);
    view.set({
      across: at((event.clientX - box.left) / box.width),
      up: side - 1 - at((event.clientY - box.top) / box.height),
    });
  };
  pointing(plane.canvas, { move, ...view.keeping("across", "up") });

  function paint(colours) {
    const [across, up] = ["across", "up"].map((name) => clamp(model.get(name), 0, side - 1));
    sliders[0].sync(across);
    sliders[1].sync(up);
    view.root.dataset.ready = greys !== null;
    if (!greys) {
      for (const { canvas } of [plane, shown]) paintNothing(canvas, colours);
      return;
    }
    const { ctx, width, height } = fit(plane.canvas);
    ctx.drawImage(whole, 0, 0, width, height);
    const [wide, high] = [width / side, height / side];
    ctx.strokeStyle = colours["noise-on-black"];
    ctx.lineWidth = 2.5;
    ctx.strokeRect(across * wide, (side - 1 - up) * high, wide, high);
    const from = (up * side + across) * size;
    paintPicture(shown.canvas, rows, columns, (i) => greys[from + i] / 127.5 - 1, { channels });
    const where = `z_1 = ${value(across)}, z_2 = ${value(up)}`;
    describe(plane.canvas, `map of ${side} by ${side} decoded pictures, ${where} marked`);
    describe(shown.canvas, `the picture decoded at ${where}`);
  }

  return view.end;
}

export default { render };
