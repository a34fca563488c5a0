// Pictures that a network computes, and the kernel that computes more of them: the page's half of
// `kit.Computed`.

import { button } from "./controls.js";
import { fill, h } from "./elements.js";

const PATIENCE = 6000; // milliseconds without an answer after which the reader is told

// The parts, in the traits `_part_0`, `_part_1`, ..., each for the noise of one `seed`.
function partsOf({ model, view, count, unpack }) {
  const traits = Array.from({ length: count }, (_, k) => `_part_${k}`);
  const unpacked = []; // by part: what it was made of, and its content once that is there
  const isCurrent = (k) => model.get(traits[k])?.seed === model.get("seed");
  function get(k) {
    if (!isCurrent(k)) return null;
    const part = model.get(traits[k]);
    if (unpacked[k]?.part !== part) {
      const entry = (unpacked[k] = { part, content: null });
      unpack(part).then((content) => {
        entry.content = content;
        view.repaint();
      });
    }
    return unpacked[k].content;
  }
  return { traits, isCurrent, get };
}

// A line about the kernel's work: words, and a bar where its share is known.
function progressLine() {
  const bar = h("progress", { "aria-label": "network calls done", max: 1, value: 0 });
  const words = h("span", { role: "status" });
  const element = h("div", { class: "dl-work", hidden: true }, bar, words);
  function report(text, share = null) {
    element.hidden = text === "";
    bar.hidden = share === null;
    bar.value = share ?? 0;
    fill(words, text, text);
  }
  return { element, report, hasBar: () => !element.hidden && !bar.hidden };
}

// A page shows the parts that it has: `get(k)` is what `unpack` made of part k, null if there is
// none for this noise. A kernel that answers brings a button for another noise, `renew`; what is
// missing then is asked for by one message at a time, the part with the least `distance(k)` first:
// the chosen one. `watch` names the traits that choose, `partName(k)` is said while part k is being
// computed. `renewLabel` is null where there can be no other noise.
export function computed({ model, view, count, watch, distance, unpack, renewLabel, partName }) {
  const parts = partsOf({ model, view, count, unpack });
  const progress = progressLine();
  const seed = () => model.get("seed");
  const all = Array.from({ length: count }, (_, k) => k);
  const byDistance = () => [...all].sort((a, b) => distance(a) - distance(b));
  const renew = button(renewLabel, () => view.set({ seed: seed() + 1 }), {
    "data-name": "noise",
    hidden: true,
  });
  let hasKernel = false;
  let waiting = false; // for the answer to a message
  let failedSeed = null;
  let patience = 0;

  function send(message) {
    try {
      model.send(message);
    } catch {
      /* a published page has nobody to ask */
    }
  }

  function requestNext() {
    if (waiting || !hasKernel || failedSeed === seed()) return;
    const order = byDistance();
    const part = order.find((k) => !parts.isCurrent(k));
    if (part === undefined) return progress.report("");
    waiting = true;
    const ready = all.filter(parts.isCurrent).length;
    if (part !== order[0]) {
      progress.report(`${ready} of ${count} ready for this noise`, ready / count);
    } else if (!progress.hasBar()) progress.report(`computing ${partName(part)}`, 0);
    clearTimeout(patience);
    const silent = () => progress.report("The kernel does not answer: it is busy, or gone.");
    patience = setTimeout(silent, PATIENCE);
    send({ ask: "part", part, seed: seed() });
  }

  function onAnswer(message) {
    waiting = false;
    clearTimeout(patience);
    if (message.seed !== seed()) return;
    if (message.error) {
      failedSeed = message.seed;
      progress.report(`The kernel could not do it: ${message.error}`);
    } else if (message.part === byDistance()[0]) {
      progress.report(`computing ${partName(message.part)}`, message.done / message.of);
    }
  }

  function onMessage(message) {
    if (message.kernel) hasKernel = true;
    else if ("part" in message) onAnswer(message);
    renew.hidden = !hasKernel || !renewLabel;
    requestNext();
  }

  function onChange() {
    all.forEach(parts.get); // unpacked before they are needed
    view.repaint();
    requestNext();
  }

  const listeners = [
    ...["seed", ...parts.traits].map((trait) => [`change:${trait}`, onChange]),
    ...watch.map((trait) => [`change:${trait}`, requestNext]),
    ["msg:custom", onMessage],
  ];
  for (const listener of listeners) model.on(...listener);
  view.atEnd(() => {
    hasKernel = false;
    clearTimeout(patience);
    for (const listener of listeners) model.off(...listener);
  });
  onChange();
  send({ ask: "kernel" });
  return { get: parts.get, renew, progress: progress.element };
}
