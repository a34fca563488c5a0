// The network for points in the plane, written out: what diffusion_lessons/networks/mlp.py (with its
// TimeEmbedding) answers, the gradient of its loss, and the update by Adam. Its weights lie one behind
// the other in one array, in the order of Python's state_dict; rows of a batch do so too.

import { clamp, normals } from "kit";

const WAVES = 32;
const LONGEST = 10_000;
// Rounded as Python rounds them, for times up to 1000 turn what little is lost into angles.
const FREQUENCY = Float64Array.from({ length: WAVES }, (_, i) =>
  Math.fround(Math.exp(Math.fround((Math.fround(-Math.log(LONGEST)) * i) / WAVES))),
);

const silu = (x) => x / (1 + Math.exp(-x));
function siluSlope(x) {
  const gate = 1 / (1 + Math.exp(-x));
  return gate * (1 + x * (1 - gate));
}

// The functions below write into `out`, which they return. They are plain loops, and the sums go four
// at a time, so that the processor need not wait for the last one: a minute of training is short.

function active(x, out) {
  for (let i = 0; i < x.length; i++) out[i] = silu(x[i]);
  return out;
}

// What the slope of silu(x) means for x.
function activeBack(x, slope, out) {
  for (let i = 0; i < x.length; i++) out[i] = slope[i] * siluSlope(x[i]);
  return out;
}

// y = W x + b for each row of x.
function linear(x, { weight, bias }, out) {
  const down = bias.length;
  const across = weight.length / down;
  for (let from = 0, to = 0; from < x.length; from += across) {
    for (let o = 0, w = 0; o < down; o++, to++) {
      let s0 = bias[o];
      let s1 = 0;
      let s2 = 0;
      let s3 = 0;
      let i = 0;
      for (; i + 3 < across; i += 4, w += 4) {
        s0 += weight[w] * x[from + i];
        s1 += weight[w + 1] * x[from + i + 1];
        s2 += weight[w + 2] * x[from + i + 2];
        s3 += weight[w + 3] * x[from + i + 3];
      }
      for (; i < across; i++, w++) s0 += weight[w] * x[from + i];
      out[to] = s0 + s1 + s2 + s3;
    }
  }
  return out;
}

// What the slope of y means for W and b (written over those of `gradient`).
function linearGradient(x, slope, { weight, bias }) {
  const down = bias.length;
  const across = weight.length / down;
  weight.fill(0);
  bias.fill(0);
  const rows = slope.length / down;
  for (let row = 0; row < rows; row += 4) {
    const [more1, more2, more3] = [row + 1 < rows, row + 2 < rows, row + 3 < rows];
    const x0 = row * across;
    const x1 = more1 ? x0 + across : x0;
    const x2 = more2 ? x1 + across : x0;
    const x3 = more3 ? x2 + across : x0;
    for (let o = 0, w = 0; o < down; o++) {
      const s = row * down + o;
      const s0 = slope[s];
      const s1 = more1 ? slope[s + down] : 0;
      const s2 = more2 ? slope[s + 2 * down] : 0;
      const s3 = more3 ? slope[s + 3 * down] : 0;
      bias[o] += s0 + s1 + s2 + s3;
      for (let i = 0; i < across; i++, w++) {
        weight[w] += s0 * x[x0 + i] + s1 * x[x1 + i] + s2 * x[x2 + i] + s3 * x[x3 + i];
      }
    }
  }
}

// What the slope of y means for x.
function linearBack(slope, { weight, bias }, out) {
  const down = bias.length;
  const across = weight.length / down;
  out.fill(0);
  for (let to = 0, s = 0; s < slope.length; to += across, s += down) {
    let o = 0;
    for (; o + 3 < down; o += 4) {
      const w0 = o * across;
      const w1 = w0 + across;
      const w2 = w1 + across;
      const w3 = w2 + across;
      const s0 = slope[s + o];
      const s1 = slope[s + o + 1];
      const s2 = slope[s + o + 2];
      const s3 = slope[s + o + 3];
      for (let i = 0; i < across; i++) {
        out[to + i] +=
          s0 * weight[w0 + i] + s1 * weight[w1 + i] + s2 * weight[w2 + i] + s3 * weight[w3 + i];
      }
    }
    for (; o < down; o++) {
      for (let i = 0; i < across; i++) out[to + i] += slope[s + o] * weight[o * across + i];
    }
  }
  return out;
}

// Each row with mean 0 and variance 1 (kept in `normal`, as is by what it was divided in `scale`),
// then stretched and moved.
function layerNorm(x, { weight, bias }, normal, scale, out) {
  const width = bias.length;
  for (let from = 0, row = 0; from < x.length; from += width, row++) {
    let mean = 0;
    let square = 0;
    for (let i = 0; i < width; i++) mean += x[from + i];
    mean /= width;
    for (let i = 0; i < width; i++) square += (x[from + i] - mean) * (x[from + i] - mean);
    scale[row] = Math.sqrt(square / width + 1e-5);
    for (let i = 0; i < width; i++) {
      normal[from + i] = (x[from + i] - mean) / scale[row];
      out[from + i] = normal[from + i] * weight[i] + bias[i];
    }
  }
  return out;
}

function layerNormBack(slope, { weight }, gradient, normal, scale, out) {
  const width = weight.length;
  gradient.weight.fill(0);
  gradient.bias.fill(0);
  for (let from = 0, row = 0; from < slope.length; from += width, row++) {
    let mean = 0;
    let along = 0;
    for (let i = 0; i < width; i++) {
      const s = slope[from + i] * weight[i];
      gradient.weight[i] += slope[from + i] * normal[from + i];
      gradient.bias[i] += slope[from + i];
      mean += s / width;
      along += (s * normal[from + i]) / width;
    }
    for (let i = 0; i < width; i++) {
      const s = slope[from + i] * weight[i];
      out[from + i] = (s - mean - normal[from + i] * along) / scale[row];
    }
  }
  return out;
}

export class MLP {
  // The same seed gives the same weights at the start, by the rule of torch's nn.Linear.
  constructor({ dim = 2, width = 128, layers = 3 } = {}, uniform = null) {
    Object.assign(this, { dim, width, layers });
    const shapes = [
      ["time.mlp.0", width, 2 * WAVES],
      ["time.mlp.2", width, width],
      ["input", width, dim],
      ...Array.from({ length: layers }, (_, i) => [
        [`layers.${i}.0`, width, 0], // a LayerNorm
        [`layers.${i}.1`, width, width],
      ]).flat(),
      ["output", dim, width],
    ];
    const sizes = shapes.map(([, down, across]) => [down * (across || 1), down]);
    this.values = new Float64Array(sizes.flat().reduce((sum, n) => sum + n, 0));
    this.places = [];
    let place = 0;
    shapes.forEach(([name, , across], i) => {
      const [weights, biases] = sizes[i];
      this.places.push([name, place, (place += weights), (place += biases)]);
      const bound = 1 / Math.sqrt(across);
      const [, from, middle, to] = this.places[i];
      if (!across) this.values.fill(1, from, middle);
      else if (uniform) for (let k = from; k < to; k++) this.values[k] = bound * (2 * uniform() - 1);
    });
    this.parts = this.split(this.values);
    this.gradient = new Float64Array(this.values.length);
    this.ofParts = this.split(this.gradient);
    this.rooms = new Map();
  }

  // Views of an array like `values`, by the name of each layer.
  split(array) {
    return Object.fromEntries(
      this.places.map(([name, from, middle, to]) => [
        name,
        { weight: array.subarray(from, middle), bias: array.subarray(middle, to) },
      ]),
    );
  }

  // An array to work in, the same one each time: making new ones takes longer than filling them.
  #room(name, length) {
    if (this.rooms.get(name)?.length !== length) this.rooms.set(name, new Float64Array(length));
    return this.rooms.get(name);
  }

  // Integer times to features, a row each.
  #time(t) {
    const { parts, width } = this;
    const waves = this.#room("waves", t.length * 2 * WAVES);
    for (let row = 0; row < t.length; row++) {
      for (let i = 0; i < WAVES; i++) {
        waves[2 * row * WAVES + i] = Math.sin(t[row] * FREQUENCY[i]);
        waves[(2 * row + 1) * WAVES + i] = Math.cos(t[row] * FREQUENCY[i]);
      }
    }
    const size = t.length * width;
    const inner = linear(waves, parts["time.mlp.0"], this.#room("time.inner", size));
    const bent = active(inner, this.#room("time.bent", size));
    return linear(bent, parts["time.mlp.2"], this.#room("time", size));
  }

  // The answer to points at times t, one for each row or a number for all, in an array that the next
  // call writes over.
  forward(x_t, t) {
    const { parts, dim, width, layers } = this;
    const rows = x_t.length / dim;
    const size = rows * width;
    const features = this.#time(typeof t === "number" ? [t] : t);
    const h = linear(x_t, parts.input, this.#room("h", size));
    const told = this.#room("told", size);
    for (let i = 0; i < layers; i++) {
      for (let k = 0, f = 0; k < size; k++, f++) {
        if (f === features.length) f = 0;
        told[k] = h[k] + features[f];
      }
      const [normal, scale] = [this.#room(`normal.${i}`, size), this.#room(`scale.${i}`, rows)];
      const normed = this.#room(`normed.${i}`, size);
      layerNorm(told, parts[`layers.${i}.0`], normal, scale, normed);
      const inner = linear(normed, parts[`layers.${i}.1`], this.#room(`inner.${i}`, size));
      for (let k = 0; k < size; k++) h[k] += silu(inner[k]);
    }
    const bent = active(h, this.#room("bent", size));
    return linear(bent, parts.output, this.#room("answer", rows * dim));
  }

  // The mean squared error against `target` at times t, one a row; `gradient` then holds its own.
  loss(x_t, t, target) {
    const { parts, ofParts: of, layers, width } = this;
    const answer = this.forward(x_t, t);
    const size = t.length * width;
    const slope = this.#room("slope", answer.length);
    let loss = 0;
    for (let i = 0; i < answer.length; i++) {
      const error = answer[i] - target[i];
      loss += (error * error) / answer.length;
      slope[i] = (2 * error) / answer.length;
    }
    const [back, passed] = [this.#room("back", size), this.#room("passed", size)];
    const ofH = this.#room("ofH", size);
    const ofTime = this.#room("ofTime", size).fill(0);
    linearGradient(this.#room("bent", size), slope, of.output);
    activeBack(this.#room("h", size), linearBack(slope, parts.output, back), ofH);
    for (let i = layers - 1; i >= 0; i--) {
      const [norm, lin] = [`layers.${i}.0`, `layers.${i}.1`];
      activeBack(this.#room(`inner.${i}`, size), ofH, back);
      linearGradient(this.#room(`normed.${i}`, size), back, of[lin]);
      linearBack(back, parts[lin], passed);
      const [normal, scale] = [this.#room(`normal.${i}`, size), this.#room(`scale.${i}`, t.length)];
      layerNormBack(passed, parts[norm], of[norm], normal, scale, back);
      for (let k = 0; k < size; k++) {
        ofH[k] += back[k];
        ofTime[k] += back[k];
      }
    }
    linearGradient(x_t, ofH, of.input);
    linearGradient(this.#room("time.bent", size), ofTime, of["time.mlp.2"]);
    const ofBent = linearBack(ofTime, parts["time.mlp.2"], back);
    const ofInner = activeBack(this.#room("time.inner", size), ofBent, passed);
    linearGradient(this.#room("waves", t.length * 2 * WAVES), ofInner, of["time.mlp.0"]);
    return loss;
  }
}

// Adam (Kingma & Ba, arXiv 1412.6980) on an array of weights, as torch's.
export class Adam {
  constructor(values, { lr = 1e-3, betas = [0.9, 0.999], eps = 1e-8 } = {}) {
    Object.assign(this, { values, lr, betas, eps, steps: 0 });
    this.mean = new Float64Array(values.length);
    this.square = new Float64Array(values.length);
  }
  step(gradient) {
    const { values, mean, square, lr, eps } = this;
    const [b1, b2] = this.betas;
    this.steps++;
    const rate = lr / (1 - b1 ** this.steps);
    const root = Math.sqrt(1 - b2 ** this.steps);
    for (let i = 0; i < values.length; i++) {
      mean[i] += (1 - b1) * (gradient[i] - mean[i]);
      square[i] += (1 - b2) * (gradient[i] ** 2 - square[i]);
      values[i] -= (rate * mean[i]) / (Math.sqrt(square[i]) / root + eps);
    }
  }
}

// A batch for L_simple as Python's noise_prediction_loss makes it, of points drawn with replacement
// around the `centres`: the noised points, their times in 1..T, spread evenly, and their noise.
export function noisedBatch(centres, std, rows, { alpha, sigma, T }, uniform) {
  const offset = uniform();
  const t = new Float64Array(rows);
  const x_t = new Float64Array(2 * rows);
  const drawn = normals(4 * rows, Math.floor(uniform() * 2 ** 31));
  const [noise, around] = [drawn.subarray(0, 2 * rows), drawn.subarray(2 * rows)];
  for (let row = 0; row < rows; row++) {
    const time = clamp(1 + Math.floor(((offset + row / rows) % 1) * T), 1, T);
    const chosen = 2 * Math.floor((uniform() * centres.length) / 2);
    t[row] = time;
    for (let i = 2 * row, d = 0; d < 2; i++, d++) {
      x_t[i] = alpha[time] * (centres[chosen + d] + std * around[i]) + sigma[time] * noise[i];
    }
  }
  return { x_t, t, noise };
}
