// Numbers: as they arrive, as they are drawn at random, as a person would write them.

// Bytes as they arrive: a DataView from a kernel or a page's stored state, or base64 text.
export function toBytes(value) {
  if (value == null) return new Uint8Array(0);
  if (typeof value === "string") return Uint8Array.from(atob(value), (c) => c.charCodeAt(0));
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
}

// The copy is aligned to the number's size, which a view into a larger message need not be.
export function decode(value, Type) {
  return new Type(toBytes(value).slice().buffer);
}

// Undo Python's zlib.compress.
export async function inflate(value) {
  const stream = new Blob([toBytes(value)]).stream();
  const plain = stream.pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(plain).arrayBuffer());
}

export const clamp = (x, low, high) => Math.min(Math.max(x, low), high);

// mulberry32: 32 bits of state are plenty for noise that is only looked at.
export function uniforms(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let z = Math.imul(state ^ (state >>> 15), state | 1);
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
    return ((z ^ (z >>> 14)) >>> 0) / 4294967296;
  };
}

// Standard normal numbers by Box and Muller; the same seed gives the same numbers.
export function normals(count, seed) {
  const uniform = uniforms(Math.imul(seed + 1, 0x9e3779b1));
  const out = new Float32Array(count);
  for (let i = 0; i < count; i += 2) {
    const radius = Math.sqrt(-2 * Math.log(1 - uniform()));
    const angle = 2 * Math.PI * uniform();
    out[i] = radius * Math.cos(angle);
    if (i + 1 < count) out[i + 1] = radius * Math.sin(angle);
  }
  return out;
}

export const bell = (x, mean = 0, std = 1) =>
  Math.exp(-0.5 * ((x - mean) / std) ** 2) / (std * Math.sqrt(2 * Math.PI));

// Share of the values in each bin, divided by the bin's width: comparable with a density.
export function histogram(values, low, high, bins) {
  const density = new Float64Array(bins);
  const width = (high - low) / bins;
  for (const value of values) {
    const bin = Math.floor((value - low) / width);
    if (bin >= 0 && bin < bins) density[bin] += 1 / (values.length * width);
  }
  return density;
}

// Values with two significant digits from low to high: the positions of a logarithmic slider.
export function niceValues(low, high, whole = false) {
  const values = [];
  for (let power = Math.floor(Math.log10(low)); 10 ** power <= high; power++) {
    for (let m = 10; m < 100; m++) {
      const value = Number(`${m}e${power - 1}`);
      if (value >= low && value <= high && (!whole || Number.isInteger(value))) values.push(value);
    }
  }
  return values;
}

export function niceTicks(low, high, about = 5) {
  const rough = (high - low) / about;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5].find((m) => m * power >= rough) ?? 10);
  const ticks = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) {
    ticks.push(Number((k * step).toPrecision(12)));
  }
  return ticks;
}

// A number as a person would write it: 0.0063, 0.73, 1.0e-5.
export function short(x, digits = 3) {
  if (x === 0) return "0";
  if (!Number.isFinite(x)) return x > 0 ? "∞" : "−∞";
  const size = Math.abs(x);
  const text =
    size < 1e-4 || size >= 1e5
      ? x.toExponential(Math.max(digits - 2, 0))
      : x.toFixed(clamp(digits - 1 - Math.floor(Math.log10(size)), 0, 6));
  return text.replaceAll("-", "−");
}

export const fixed = (x, digits = 3) => x.toFixed(digits).replace(/^-/, "−");
