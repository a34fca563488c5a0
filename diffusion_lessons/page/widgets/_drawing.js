// A place to draw a digit, and the digit as MNIST would hold it.

import { h } from "kit";

const SIDE = 28;
const BOX = 20; // of the digit itself
const FINE = 10; // the pad's own pixels on a side of one of the picture's
const PEN = 2.4; // widths in pixels of the picture
const HOLE = 5;

// A drawing of any size, values 0..1 in rows of `width`, as MNIST's digits are: the box around it is
// brought to 20 x 20 by averaging, keeping its proportions, and its centre of mass to the middle of
// 28 x 28. Returns the picture, greys in -1..1 (all -1 if nothing is drawn), and `source`, which says
// where in the drawing a place of the picture comes from.
export function asMnist(ink, width) {
  const height = ink.length / width;
  let [left, right, top, bottom] = [width, -1, height, -1];
  for (let i = 0; i < ink.length; i++) {
    if (ink[i] < 0.1) continue;
    const [x, y] = [i % width, Math.floor(i / width)];
    [left, right] = [Math.min(left, x), Math.max(right, x)];
    [top, bottom] = [Math.min(top, y), Math.max(bottom, y)];
  }
  const picture = new Float32Array(SIDE * SIDE).fill(-1);
  if (right < 0) return { picture, source: (x, y) => [(x * width) / SIDE, (y * height) / SIDE] };
  const longer = Math.max(right - left, bottom - top) + 1;
  const across = Math.max(1, Math.round(((right - left + 1) / longer) * BOX));
  const down = Math.max(1, Math.round(((bottom - top + 1) / longer) * BOX));
  const [stepX, stepY] = [(right - left + 1) / across, (bottom - top + 1) / down];
  const small = new Float64Array(across * down);
  let [mass, x, y] = [0, 0, 0];
  for (let i = 0; i < small.length; i++) {
    const [column, row] = [i % across, Math.floor(i / across)];
    const value = average(ink, width, left + column * stepX, top + row * stepY, stepX, stepY);
    small[i] = value;
    mass += value;
    x += value * (column + 0.5);
    y += value * (row + 0.5);
  }
  // As far as the digit stays inside.
  const place = (centre, size) =>
    Math.min(Math.max(Math.round(SIDE / 2 - centre / mass), 0), SIDE - size);
  const [atX, atY] = [place(x, across), place(y, down)];
  small.forEach((value, i) => {
    const at = (atY + Math.floor(i / across)) * SIDE + atX + (i % across);
    picture[at] = 2 * Math.min(value, 1) - 1;
  });
  return { picture, source: (px, py) => [left + (px - atX) * stepX, top + (py - atY) * stepY] };
}

// The mean of a rectangle of a picture, its edges counted in part.
function average(values, width, x, y, wide, high) {
  let [sum, area] = [0, 0];
  for (let row = Math.floor(y); row < y + high - 1e-9; row++) {
    const tall = Math.min(row + 1, y + high) - Math.max(row, y);
    for (let column = Math.floor(x); column < x + wide - 1e-9; column++) {
      const share = tall * (Math.min(column + 1, x + wide) - Math.max(column, x));
      sum += share * (values[row * width + column] ?? 0);
      area += share;
    }
  }
  return area > 0 ? sum / area : 0;
}

const blank = () => {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width: SIDE * FINE, height: SIDE * FINE });
  canvas.getContext("2d", { willReadFrequently: true });
  return canvas;
};

// The pad: white ink on black with mouse, finger or pen, over a picture that may lie below. A
// "stroke" is { tool, points }; tools are "pen", "rubber" and "hole". `onChange(what)` hears of each
// change, what is "ink" or "hole"; `onEnd` of the end of each stroke.
export function drawingPad({ label, onChange, onEnd }) {
  const canvas = h("canvas", { class: "dl-pad", "data-part": "pad", role: "img", "aria-label": label });
  Object.assign(canvas, { width: SIDE * FINE, height: SIDE * FINE });
  const [ink, hole] = [blank(), blank()];
  let below = null; // a picture's greys in -1..1
  let cutOut = null; // a hole by pixels of the picture: 1 where it is cut
  let strokes = [];
  let earlier = []; // what lay there before something else was laid: { below, strokes }
  let tool = "pen";
  let current = null;
  let holes = true; // whether they are shown
  let content = null; // what was last asked for, until something changes

  function trace(target, { points }, width) {
    const ctx = target.getContext("2d");
    Object.assign(ctx, { lineWidth: width * FINE, lineCap: "round", lineJoin: "round" });
    ctx.beginPath();
    ctx.moveTo(points[0][0], points[0][1]);
    for (const [x, y] of points) ctx.lineTo(x, y);
    ctx.stroke();
  }
  // Everything anew: strokes are few, and undo is then nothing but leaving one out.
  function redraw() {
    content = null;
    const [onInk, onHole] = [ink.getContext("2d"), hole.getContext("2d")];
    onInk.globalCompositeOperation = "source-over";
    onInk.fillStyle = "black";
    onInk.fillRect(0, 0, ink.width, ink.height);
    if (below) paintGreys(onInk, below);
    onHole.clearRect(0, 0, hole.width, hole.height);
    onHole.fillStyle = "white";
    cutOut?.forEach((cut, i) => {
      if (cut) onHole.fillRect((i % SIDE) * FINE, Math.floor(i / SIDE) * FINE, FINE, FINE);
    });
    for (const stroke of strokes) {
      if (stroke.tool === "hole") {
        onHole.strokeStyle = "white";
        trace(hole, stroke, HOLE);
      } else {
        onInk.strokeStyle = stroke.tool === "pen" ? "white" : "black";
        trace(ink, stroke, stroke.tool === "pen" ? PEN : 2 * PEN);
      }
    }
    show();
  }
  function show() {
    const ctx = canvas.getContext("2d");
    ctx.globalAlpha = 1;
    ctx.drawImage(ink, 0, 0);
    if (!holes) return;
    ctx.globalAlpha = 0.85;
    ctx.drawImage(tinted(hole, getComputedStyle(canvas).getPropertyValue("--dl-noise")), 0, 0);
  }
  function paintGreys(ctx, greys) {
    const small = ctx.createImageData(SIDE, SIDE);
    greys.forEach((value, i) => {
      const grey = 127.5 * (value + 1);
      small.data.set([grey, grey, grey, 255], 4 * i);
    });
    const scratch = document.createElement("canvas");
    Object.assign(scratch, { width: SIDE, height: SIDE });
    scratch.getContext("2d").putImageData(small, 0, 0);
    ctx.imageSmoothingEnabled = false;
    ctx.drawImage(scratch, 0, 0, ink.width, ink.height);
  }

  const where = (event) => {
    const box = canvas.getBoundingClientRect();
    const scale = canvas.width / box.width;
    return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
  };
  const changed = () => onChange(current?.tool === "hole" ? "hole" : "ink");
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    event.preventDefault();
    canvas.setPointerCapture(event.pointerId);
    current = { tool, points: [where(event)] };
    strokes.push(current);
    redraw();
    changed();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!current) return;
    const passed = event.getCoalescedEvents?.() ?? [];
    for (const each of passed.length ? passed : [event]) current.points.push(where(each));
    redraw();
    changed();
  });
  const end = () => {
    if (!current) return;
    changed();
    current = null;
    onEnd();
  };
  canvas.addEventListener("pointerup", end);
  canvas.addEventListener("pointercancel", end);

  const values = (target, channel) => {
    const { data } = target.getContext("2d").getImageData(0, 0, target.width, target.height);
    return Float32Array.from({ length: data.length / 4 }, (_, i) => data[4 * i + channel] / 255);
  };
  const lastSeen = () => strokes.findLastIndex((stroke) => holes || stroke.tool !== "hole");
  const drawnOn = () => strokes.some((stroke) => stroke.tool !== "hole");
  return {
    element: canvas,
    show(withHoles) {
      holes = withHoles;
      show();
    },
    setTool: (name) => (tool = name),
    // Lay a picture below, and take away what was drawn.
    lay(greys) {
      if (below || strokes.length) earlier.push({ below, strokes });
      [below, strokes] = [greys, []];
      redraw();
    },
    // Take back the last stroke that is seen, or what was laid last.
    undo() {
      const last = lastSeen();
      if (last >= 0) strokes.splice(last, 1);
      else if (earlier.length) ({ below, strokes } = earlier.pop());
      redraw();
    },
    canUndo: () => lastSeen() >= 0 || earlier.length > 0,
    // Cut a hole of this shape, 1 or 0 for each pixel of the picture, and no other.
    cut(shape) {
      cutOut = shape;
      strokes = strokes.filter((stroke) => stroke.tool !== "hole");
      redraw();
    },
    // What a network gets: greys in -1..1, and which pixels are known, 0 in the holes. A picture that
    // nobody drew on is as it was.
    content() {
      if (content) return content;
      const whole = (x, y) => [x * FINE, y * FINE];
      const asIs = below && !drawnOn();
      const drawn = asIs ? { picture: below, source: whole } : asMnist(values(ink, 0), ink.width);
      const cut = values(hole, 3);
      const known = Uint8Array.from({ length: SIDE * SIDE }, (_, i) => {
        // A hole that reaches the pad's edge reaches the picture's.
        const [x, y] = drawn
          .source((i % SIDE) + 0.5, Math.floor(i / SIDE) + 0.5)
          .map((place) => Math.min(Math.max(Math.floor(place), 0), hole.width - 1));
        return cut[y * hole.width + x] > 0.5 ? 0 : 1;
      });
      return (content = { picture: drawn.picture, known });
    },
  };
}

// The shape of a canvas in one colour.
function tinted(source, colour) {
  const canvas = blank();
  const ctx = canvas.getContext("2d");
  ctx.drawImage(source, 0, 0);
  ctx.globalCompositeOperation = "source-in";
  ctx.fillStyle = colour;
  ctx.fillRect(0, 0, canvas.width, canvas.height);
  return canvas;
}
