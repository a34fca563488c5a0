// Noise that belongs to a seed and a row, as in diffusion_lessons.math.randomness: the same words,
// so that the page draws the picture that the kernel draws.

import { bell } from "./numbers.js";

// The 64 bits of a product of two words of 32 bits: [high, low].
function product(a, b) {
  const [aLow, aHigh, bLow, bHigh] = [a & 0xffff, a >>> 16, b & 0xffff, b >>> 16];
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16);
  const lower = aLow * bHigh + (middle & 0xffff);
  const carried = Math.floor(middle / 65536) + Math.floor(lower / 65536);
  return [(aHigh * bHigh + carried) >>> 0, Math.imul(a, b) >>> 0];
}

// Philox-4x32 with ten rounds (Salmon et al. 2011): four words to four random words.
export function philox(counter, key) {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < 10; round++) {
    const [high0, low0] = product(c0, 0xd2511f53);
    const [high1, low1] = product(c2, 0xcd9e8d57);
    [c0, c1, c2, c3] = [(high1 ^ c1 ^ k0) >>> 0, low1, (high0 ^ c3 ^ k1) >>> 0, low0];
    k0 = (k0 + 0x9e3779b9) >>> 0;
    k1 = (k1 + 0xbb67ae85) >>> 0;
  }
  return [c0, c1, c2, c3];
}

// The low and the high word of a whole number, which may be a BigInt.
const halves = (whole) => {
  const [bits, word] = [BigInt(whole), 0xffffffffn];
  return [Number(bits & word), Number((bits >> 32n) & word)];
};

// A seed of its own for each use, a BigInt: the noise at the start, that of the steps, ...
export function derived(seed, ...uses) {
  for (const use of uses) {
    const [low, high] = philox([...halves(use), 0, 0], halves(seed));
    seed = (BigInt(high) << 32n) | BigInt(low);
  }
  return BigInt(seed) & 0x7fffffffffffffffn;
}

// The random words of one row, as numbers strictly between 0 and 1: the `draw`-th draw of a
// RowGenerator(seed) for row `number`.
export function rowUniforms(seed, number, draw, count) {
  const out = new Float64Array(count);
  const key = halves(seed);
  const [low, high] = halves(number);
  for (let i = 0; i < count; i += 4) {
    const words = philox([i / 4, draw, low, high], key);
    for (let k = 0; k < 4 && i + k < count; k++) out[i + k] = (words[k] + 0.5) / 4294967296;
  }
  return out;
}

// The same as standard normal numbers, by Box and Muller's method on pairs.
export function rowNormals(seed, number, draw, count) {
  const out = new Float32Array(count);
  const u = rowUniforms(seed, number, draw, 2 * Math.ceil(count / 2));
  for (let i = 0; i < count; i += 2) {
    const radius = Math.sqrt(-2 * Math.log(u[i]));
    out[i] = radius * Math.cos(2 * Math.PI * u[i + 1]);
    if (i + 1 < count) out[i + 1] = radius * Math.sin(2 * Math.PI * u[i + 1]);
  }
  return out;
}

// The standard normal number below which a share p lies, 0 < p < 1: Acklam's rational functions, to
// 1e-9 of itself.
export function normalQuantile(p) {
  const polynomial = (x, ...coefficients) => coefficients.reduce((sum, c) => sum * x + c, 0);
  if (p > 0.5) return -normalQuantile(1 - p);
  if (p < 0.02425) {
    const q = Math.sqrt(-2 * Math.log(p));
    return (
      polynomial(q, -7.784894002430293e-3, -0.3223964580411365, -2.400758277161838,
        -2.549732539343734, 4.374664141464968, 2.938163982698783) /
      polynomial(q, 7.784695709041462e-3, 0.3224671290700398, 2.445134137142996,
        3.754408661907416, 1)
    );
  }
  const q = p - 0.5;
  const r = q * q;
  return (
    (q * polynomial(r, -39.69683028665376, 220.9460984245205, -275.9285104469687,
      138.3577518672690, -30.66479806614716, 2.506628277459239)) /
    polynomial(r, -54.47609879822406, 161.5858368580409, -155.6989798598866,
      66.80131188771972, -13.28068155288572, 1)
  );
}

// The standard normal's share within `threshold` of 0, by Simpson's rule; nothing lies beyond 9.
export function shareWithin(threshold) {
  const pieces = 400;
  const step = Math.min(threshold, 9) / pieces;
  let sum = bell(0) + bell(pieces * step);
  for (let i = 1; i < pieces; i++) sum += bell(i * step) * (i % 2 ? 4 : 2);
  return (2 * sum * step) / 3;
}

// Random numbers of which each row of a batch has its own, as in Python: those of the seed, of the
// row's number and of how many draws there were before.
export class RowGenerator {
  constructor(seed, numbers) {
    Object.assign(this, { seed, numbers, draws: 0 });
  }
  // `count` standard normal numbers, shared evenly among the rows.
  normal(count) {
    return this.#drawn(count, rowNormals);
  }
  // The same by way of the quantiles, those beyond `threshold` drawn again, as Python's
  // truncated_normal draws.
  quantiles(count, threshold = Infinity) {
    const inside = shareWithin(threshold);
    const cut = (u) => normalQuantile(0.5 + (u - 0.5) * inside);
    return this.#drawn(count, (...row) => rowUniforms(...row).map(cut));
  }
  #drawn(count, numbersOf) {
    const width = count / this.numbers.length;
    const out = new Float32Array(count);
    this.numbers.forEach((number, row) => {
      out.set(numbersOf(this.seed, number, this.draws, width), row * width);
    });
    this.draws++;
    return out;
  }
}

// Those of a widget for one use, as `kit.generator_for` makes them: its rows are counted from 0.
export const generatorFor = (seed, use, rows) =>
  new RowGenerator(derived(seed, use), Array.from({ length: rows }, (_, row) => row));
