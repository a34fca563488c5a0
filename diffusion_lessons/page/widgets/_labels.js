// Names of points on a canvas: beside its point each, or at the end of a line from there, and none
// on another text, on another point, or on a line that is to be seen.

const APART = 14; // pixels between the middles of two texts, one above the other
const CLEAR = 12; // and between the middle of one and a point
const BESIDE = 11;
const LED = [26, 42, 58]; // how long a line to a name may be
const TURNS = 16; // directions of such lines

// A text is [left, middle, width].
export const touch = ([left, middle, width], [other, height, wide]) =>
  left < other + wide + 4 && other < left + width + 4 && Math.abs(middle - height) < APART;

export const covers = ([left, middle, width], [x, y]) =>
  x > left - 6 && x < left + width + 6 && Math.abs(y - middle) < CLEAR;

// Points along a line, its ends included, at most 6 pixels from one to the next.
export function along([x, y], [toX, toY]) {
  const count = Math.max(Math.ceil(Math.hypot(toX - x, toY - y) / 6), 1);
  const share = (k) => k / count;
  return Array.from({ length: count + 1 }, (_, k) => [x + (toX - x) * share(k), y + (toY - y) * share(k)]);
}

// Where a name of this width may stand, the best place first: { text, line }.
function places([x, y], width) {
  const middle = x - width / 2;
  const beside = [[x + BESIDE, y], [x - BESIDE - width, y], [middle, y - 18], [middle, y + 18]];
  const led = LED.flatMap((far) =>
    Array.from({ length: TURNS }, (_, k) => {
      const turn = ((k + 0.5) / TURNS) * 2 * Math.PI;
      const [right, down] = [Math.cos(turn), Math.sin(turn)];
      const [endX, endY] = [x + far * right, y + far * down];
      const left = right > 0 ? endX + 3 : endX - 3 - width;
      return { text: [left, endY, width], line: [[x + 8 * right, y + 8 * down], [endX, endY]] };
    }),
  );
  return [...beside.map(([left, at]) => ({ text: [left, at, width], line: null })), ...led];
}

// A place for each name, the most important first, or null where there is none; `names` are
// { spot, width, always }. `texts` are what stands there already, `points` what must not be covered.
export function placed(names, { width, height, texts, points }) {
  const [taken, shown] = [[...texts], [...points, ...names.map(({ spot }) => spot)]];
  const lines = []; // their points
  const inside = ([left, middle, wide]) =>
    left > 0 && left + wide < width && middle > 8 && middle < height - 8;
  return names.map(({ spot, width: wide, always }) => {
    const lineIsFree = (line) =>
      !names.some((other) =>
        other.spot !== spot && line.some(([x, y]) => Math.hypot(x - other.spot[0], y - other.spot[1]) < 8),
      ) &&
      !taken.some((text) => line.some((point) => covers(text, point))) &&
      !lines.some((one) => line.some((point) => Math.hypot(point[0] - one[0], point[1] - one[1]) < 6));
    const isFree = ({ text, line }) =>
      inside(text) &&
      !taken.some((other) => touch(text, other)) &&
      ![...shown, ...lines].some((point) => covers(text, point)) &&
      (!line || lineIsFree(along(...line)));
    const all = places(spot, wide);
    const place = all.find(isFree) ?? (always ? (all.find(({ text }) => inside(text)) ?? all[0]) : null);
    if (!place) return null;
    taken.push(place.text);
    if (place.line) lines.push(...along(...place.line));
    return place;
  });
}
