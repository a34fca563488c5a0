// Noise that belongs to a seed and a row, as in diffusion_lessons.math.randomness: the same words,
// so that the page draws the picture that the kernel draws.

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

const halves = (whole) => [whole >>> 0, Math.floor(whole / 4294967296) >>> 0];

// Standard normal numbers of one row: the `draw`-th draw of a RowGenerator(seed) for row `number`.
export function rowNormals(seed, number, draw, count) {
  const out = new Float32Array(count);
  const key = halves(seed);
  const [low, high] = halves(number);
  for (let i = 0; i < count; i += 4) {
    const words = philox([i / 4, draw, low, high], key);
    for (const pair of [0, 2]) {
      const radius = Math.sqrt(-2 * Math.log((words[pair] + 0.5) / 4294967296));
      const angle = 2 * Math.PI * ((words[pair + 1] + 0.5) / 4294967296);
      if (i + pair < count) out[i + pair] = radius * Math.cos(angle);
      if (i + pair + 1 < count) out[i + pair + 1] = radius * Math.sin(angle);
    }
  }
  return out;
}
