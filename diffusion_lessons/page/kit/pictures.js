// Pictures on canvases, grey ones and those in colour, one alone or in columns.

import { describe, h } from "./elements.js";

// A cleared context whose unit is a CSS pixel, at the screen's own resolution.
export function fit(canvas) {
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
export function paintNothing(canvas, colours) {
  const { ctx, width, height } = fit(canvas);
  ctx.fillStyle = colours.line;
  ctx.fillRect(0, 0, width, height);
}

// The shape of one picture as a state keeps it: [rows, columns] if it is grey, or [3, rows, columns].
// `size` counts its numbers.
export function pictureShape(shape) {
  const [columns, rows, channels = 1] = [...shape].reverse();
  return { channels, rows, columns, size: channels * rows * columns };
}

let scratch;

// A picture from `at(i)`, the value of its number i: -1 is black, 1 is white, clipped between. Of one
// with three `channels` the red of all pixels comes first, then the green, then the blue. Where
// `hidden(i)` is true of pixel i there is no picture but a colour.
export function paintPicture(canvas, rows, columns, at, { channels = 1, hidden = null, colour = "" } = {}) {
  const { ctx, width, height } = fit(canvas);
  scratch ??= document.createElement("canvas");
  Object.assign(scratch, { width: columns, height: rows });
  const small = scratch.getContext("2d");
  const pixels = small.createImageData(columns, rows);
  const plane = rows * columns;
  for (let i = 0; i < plane; i++) {
    // Clamped arrays round half to even and clip to 0..255, exactly as data.to_bytes does.
    for (let c = 0; c < 3; c++) {
      pixels.data[4 * i + c] = c < channels ? (at(c * plane + i) + 1) * 127.5 : pixels.data[4 * i];
    }
    pixels.data[4 * i + 3] = 255;
  }
  small.putImageData(pixels, 0, 0);
  small.fillStyle = colour;
  for (let i = 0; hidden && i < plane; i++) {
    if (hidden(i)) small.fillRect(i % columns, Math.floor(i / columns), 1, 1);
  }
  ctx.imageSmoothingEnabled = false;
  ctx.drawImage(scratch, 0, 0, width, height);
}

// `count` pictures of one shape as one, `across` in a row; `at(k, i)` is number i of the k-th.
export function paintTiles(canvas, { channels, rows, columns }, count, across, at) {
  const [tall, wide] = [rows * Math.ceil(count / across), columns * across];
  const inside = (i) => {
    const channel = Math.floor(i / (tall * wide));
    const [row, column] = [Math.floor(i / wide) % tall, i % wide];
    const k = Math.floor(row / rows) * across + Math.floor(column / columns);
    return k < count ? at(k, (channel * rows + (row % rows)) * columns + (column % columns)) : -1;
  };
  paintPicture(canvas, tall, wide, inside, { channels });
}

// A canvas with a caption above it and, if wanted, a line below it.
export function figure(part, caption, { kind = "plot", below } = {}) {
  const canvas = h("canvas", { class: `dl-${kind}`, role: "img", "data-part": part });
  const element = h("figure", { class: `dl-figure dl-figure-${kind}` });
  element.append(h("figcaption", {}, ...caption), canvas, ...(below ? [below] : []));
  return { element, canvas };
}

// Pictures side by side, each in several rows that belong together: `rows` are [part, colour].
export function pictureColumns({ count, labels = [], rows }) {
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
  // `shape` is that of one (see `pictureShape`), `at(i)` the value of the i-th number of all
  // pictures; `words` says what they are.
  function paint(part, shape, at, words) {
    const { channels, rows, columns, size } = pictureShape(shape);
    canvases[part].forEach((canvas, k) => {
      paintPicture(canvas, rows, columns, (i) => at(k * size + i), { channels });
      describe(canvas, `${words}, picture ${k + 1} of ${count}${labels[k] == null ? "" : `, ${labels[k]}`}`);
    });
  }
  const clearRow = (part, colours) => {
    for (const canvas of canvases[part]) {
      paintNothing(canvas, colours);
      describe(canvas, "not computed yet");
    }
  };
  const clear = (colours) => Object.keys(canvases).forEach((part) => clearRow(part, colours));
  return { element, paint, clear, clearRow };
}
