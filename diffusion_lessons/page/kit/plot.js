// Axes on a canvas, and what is drawn between them.

import { pieces } from "./elements.js";
import { niceTicks } from "./numbers.js";
import { fit } from "./pictures.js";

// A pair of axes on a canvas. Positions are in the data's units.
export class Plot {
  // `square` axes have the same unit both ways; without axes, `bare`, they fill the canvas. `yText`
  // writes the ticks of an axis whose numbers are not to be read as they are, such as logarithms.
  constructor(
    canvas,
    colours,
    { x, y, xLabel = "", yLabel = "", xTicks, yTicks, yText = tickText, square = false, bare = false },
  ) {
    const { ctx, width, height } = fit(canvas);
    Object.assign(this, { ctx, colours, x, y });
    if (bare) {
      this.box = { left: 0, top: 0, right: width, bottom: height };
      return;
    }
    this.box = { left: 46, top: yLabel ? 30 : 12, right: width - 20, bottom: height - 42 };
    if (square) {
      const side = Math.min(this.box.right - this.box.left, this.box.bottom - this.box.top);
      const spare = (this.box.right - this.box.left - side) / 2;
      this.box = { ...this.box, left: this.box.left + spare, bottom: this.box.top + side };
      this.box.right = this.box.left + side;
    }
    this.axes(xTicks ?? niceTicks(...x), yTicks ?? niceTicks(...y, 4), xLabel, yLabel, yText);
  }

  X(x) {
    const { left, right } = this.box;
    return left + ((x - this.x[0]) / (this.x[1] - this.x[0])) * (right - left);
  }

  Y(y) {
    const { top, bottom } = this.box;
    return bottom - ((y - this.y[0]) / (this.y[1] - this.y[0])) * (bottom - top);
  }

  axes(xTicks, yTicks, xLabel, yLabel, yText) {
    const { ctx, colours, box } = this;
    ctx.lineWidth = 1;
    ctx.strokeStyle = colours.line;
    ctx.beginPath();
    for (const tick of yTicks) {
      const y = Math.round(this.Y(tick)) + 0.5;
      ctx.moveTo(box.left, y);
      ctx.lineTo(box.right, y);
    }
    ctx.stroke();
    ctx.strokeStyle = colours.soft;
    ctx.beginPath();
    const base = Math.round(box.bottom) + 0.5;
    ctx.moveTo(box.left, base);
    ctx.lineTo(box.right, base);
    for (const tick of xTicks) {
      const x = Math.round(this.X(tick)) + 0.5;
      ctx.moveTo(x, base);
      ctx.lineTo(x, base + 4);
    }
    ctx.stroke();
    for (const tick of xTicks) {
      this.write(tickText(tick), this.X(tick), base + 8, { align: "center", base: "top" });
    }
    for (const tick of yTicks) {
      this.write(yText(tick), box.left - 7, this.Y(tick), { align: "right", base: "middle" });
    }
    const middle = (box.left + box.right) / 2;
    this.write(xLabel, middle, base + 25, { align: "center", base: "top", colour: colours.ink });
    this.write(yLabel, Math.max(box.left - 46, 0), 4, { base: "top", colour: colours.ink });
  }

  // Text with subscripts, at a place given in pixels.
  write(text, x, y, { align = "left", base = "alphabetic", colour, size = 12, halo = false } = {}) {
    const { ctx, colours } = this;
    const fonts = [`${size}px ${colours.font}`, `${size * 0.78}px ${colours.font}`];
    const parts = pieces(text).map(([part, low]) => {
      ctx.font = fonts[Number(low)];
      return { part, low, width: ctx.measureText(part).width };
    });
    const total = parts.reduce((sum, { width }) => sum + width, 0);
    let left = x - total * { left: 0, center: 0.5, right: 1 }[align];
    ctx.textBaseline = base;
    ctx.textAlign = "left";
    ctx.fillStyle = colour ?? colours.soft;
    for (const { part, low, width } of parts) {
      ctx.font = fonts[Number(low)];
      const drop = low ? size * (base === "top" ? 0.42 : 0.25) : 0;
      if (halo) {
        ctx.lineWidth = 4;
        ctx.lineJoin = "round";
        ctx.strokeStyle = colours.paper;
        ctx.strokeText(part, left, y + drop);
      }
      ctx.fillText(part, left, y + drop);
      left += width;
    }
  }

  // A label beside a point: on the wanted side if there is room, else on the other. To the left is
  // above a rising curve, so to the right of one it goes below.
  tag(text, x, y, { side = "right", ...options }) {
    this.ctx.font = `${options.size ?? 12}px ${this.colours.font}`;
    const room = this.ctx.measureText(text).width + 12;
    const [before, after] = [this.X(x) - this.box.left, this.box.right - this.X(x)];
    const right = side === "right" ? after >= room || after > before : before < room;
    const place = side === "left" && right ? Math.min(y + 28, this.box.bottom - 6) : y;
    const align = right ? "left" : "right";
    this.write(text, this.X(x) + (right ? 10 : -10), place, { align, ...options });
  }

  // Draw within the axes only.
  inside(draw) {
    const { ctx, box } = this;
    ctx.save();
    ctx.beginPath();
    ctx.rect(box.left, box.top - 2, box.right - box.left, box.bottom - box.top + 3);
    ctx.clip();
    draw(ctx);
    ctx.restore();
  }

  line(xs, ys, { colour, width = 2, dash = [], area = 0 }) {
    this.inside((ctx) => {
      ctx.beginPath();
      let pen = null; // where it rests on the canvas
      for (let i = 0; i < xs.length; i++) {
        if (!Number.isFinite(ys[i])) {
          pen = null;
          continue;
        }
        const [x, y] = [this.X(xs[i]), this.Y(ys[i])];
        // Thousands of points are slow to stroke; half a pixel is not seen.
        if (pen && i + 1 < xs.length && Math.hypot(x - pen[0], y - pen[1]) < 0.5) continue;
        if (pen) ctx.lineTo(x, y);
        else ctx.moveTo(x, y);
        pen = [x, y];
      }
      ctx.lineWidth = width;
      ctx.lineJoin = "round";
      ctx.strokeStyle = colour;
      ctx.setLineDash(dash);
      ctx.stroke();
      if (!area) return;
      ctx.lineTo(this.X(xs[xs.length - 1]), this.Y(0));
      ctx.lineTo(this.X(xs[0]), this.Y(0));
      ctx.globalAlpha = area;
      ctx.fillStyle = colour;
      ctx.fill();
    });
  }

  bars(heights, colour) {
    const width = (this.x[1] - this.x[0]) / heights.length;
    this.inside((ctx) => {
      ctx.fillStyle = colour;
      heights.forEach((height, i) => {
        const left = this.X(this.x[0] + i * width);
        const right = this.X(this.x[0] + (i + 1) * width);
        ctx.fillRect(left + 0.5, this.Y(height), right - left - 1, this.Y(0) - this.Y(height));
      });
    });
  }

  // A colour all over the axes, as dense (0..1) as `at(i)` says for square i, row by row from above.
  // The middles of the outermost squares lie on the edges.
  shade(rows, columns, at, colour) {
    const { left, right, top, bottom } = this.box;
    const edge = (from, to, count, i) => Math.round(from + ((i - 0.5) / (count - 1)) * (to - from));
    const xs = Array.from({ length: columns + 1 }, (_, i) => edge(left, right, columns, i));
    const ys = Array.from({ length: rows + 1 }, (_, i) => edge(top, bottom, rows, i));
    this.inside((ctx) => {
      ctx.fillStyle = colour;
      for (let i = 0; i < rows * columns; i++) {
        const [row, column] = [Math.floor(i / columns), i % columns];
        ctx.globalAlpha = at(i);
        ctx.fillRect(xs[column], ys[row], xs[column + 1] - xs[column], ys[row + 1] - ys[row]);
      }
    });
  }

  // Points given as x, y, x, y, ...
  scatter(points, { colour, radius = 2, alpha = 1 }) {
    this.inside((ctx) => {
      ctx.globalAlpha = alpha;
      ctx.fillStyle = colour;
      for (let i = 0; i + 1 < points.length; i += 2) {
        ctx.beginPath();
        ctx.arc(this.X(points[i]), this.Y(points[i + 1]), radius, 0, 2 * Math.PI);
        ctx.fill();
      }
    });
  }

  dot(x, y, colour, radius = 5) {
    const { ctx } = this;
    ctx.beginPath();
    ctx.arc(this.X(x), this.Y(y), radius, 0, 2 * Math.PI);
    ctx.fillStyle = colour;
    ctx.strokeStyle = this.colours.paper;
    ctx.lineWidth = 2;
    ctx.fill();
    ctx.stroke();
  }

  vertical(x, colour, { dash = [4, 4], width = 1, from = this.y[0], to = this.y[1] } = {}) {
    this.inside((ctx) => {
      ctx.beginPath();
      ctx.moveTo(this.X(x), this.Y(from));
      ctx.lineTo(this.X(x), this.Y(to));
      ctx.setLineDash(dash);
      ctx.lineWidth = width;
      ctx.strokeStyle = colour;
      ctx.stroke();
    });
  }

  circle(radius, colour, { x = 0, y = 0, dash = [3, 4], width = 1 } = {}) {
    this.inside((ctx) => {
      ctx.beginPath();
      const across = this.X(radius) - this.X(0);
      ctx.arc(this.X(x), this.Y(y), across, 0, 2 * Math.PI);
      ctx.setLineDash(dash);
      ctx.lineWidth = width;
      ctx.strokeStyle = colour;
      ctx.stroke();
    });
  }

  // From one point to another; too short for a head it is a line.
  arrow([x0, y0], [x1, y1], { colour, width = 3, dash = [] }) {
    const [from, to] = [[this.X(x0), this.Y(y0)], [this.X(x1), this.Y(y1)]];
    const length = Math.hypot(to[0] - from[0], to[1] - from[1]);
    const angle = Math.atan2(to[1] - from[1], to[0] - from[0]);
    const head = Math.min(4 + 2.5 * width, length);
    this.inside((ctx) => {
      ctx.strokeStyle = ctx.fillStyle = colour;
      ctx.lineWidth = width;
      ctx.setLineDash(dash);
      ctx.beginPath();
      ctx.moveTo(...from);
      ctx.lineTo(to[0] - 0.8 * head * Math.cos(angle), to[1] - 0.8 * head * Math.sin(angle));
      ctx.stroke();
      ctx.beginPath();
      ctx.moveTo(...to);
      for (const side of [-0.42, 0.42]) {
        ctx.lineTo(to[0] - head * Math.cos(angle + side), to[1] - head * Math.sin(angle + side));
      }
      ctx.fill();
    });
  }
}

export const tickText = (tick) =>
  (tick !== 0 && Math.abs(tick) < 1e-3 ? tick.toExponential() : String(tick)).replaceAll("-", "−");
