// Pictures that a network computes, and the kernel that computes more of them: the page's half of
// `kit.Computed`.

import { button } from "./controls.js";
import { fill, h, newId } from "./elements.js";
import { ofModel } from "./models.js";

const PATIENCE = 6000; // milliseconds without an answer after which the reader is told

// The parts, in the traits `_part_0`, `_part_1`, ..., each for the noise of one `seed`. `changed` is
// called when one has been unpacked.
function partsOf({ model, count, unpack, changed }) {
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
        changed();
      });
    }
    return unpacked[k].content;
  }
  return { traits, isCurrent, get };
}

// The talk with the kernel, one for a model: every view hears each message, and the talk goes on
// once. What is missing is asked for by one message at a time, the part with the least `distance(k)`
// first. Each question has a number of its own, which its answer repeats: another page with the same
// model hears the answers too.
function talkWith({ model, count, distance, unpack, partName }) {
  const views = new Set(); // of { repaint, show }
  const parts = partsOf({
    model,
    count,
    unpack,
    changed: () => views.forEach(({ repaint }) => repaint()),
  });
  const all = Array.from({ length: count }, (_, k) => k);
  const byDistance = () => [...all].sort((a, b) => distance(a) - distance(b));
  const seed = () => model.get("seed");
  let hasKernel = false;
  let question = null; // the one that waits for its answer
  let failedSeed = null;
  let patience = 0;
  let said = { words: "", share: null };

  const show = () => views.forEach((view) => view.show({ ...said, hasKernel }));
  function report(words, share = null) {
    said = { words, share };
    show();
  }

  function send(message) {
    try {
      model.send(message);
    } catch {
      /* a published page has nobody to ask */
    }
  }

  function requestNext() {
    if (question || !hasKernel || failedSeed === seed()) return;
    const order = byDistance();
    const part = order.find((k) => !parts.isCurrent(k));
    if (part === undefined) return report("");
    question = newId();
    const ready = all.filter(parts.isCurrent).length;
    if (part !== order[0]) report(`${ready} of ${count} ready for this noise`, ready / count);
    else if (said.share === null) report(`computing ${partName(part)}`, 0);
    clearTimeout(patience);
    const silent = () => report("The kernel does not answer: it is busy, or gone.");
    patience = setTimeout(silent, PATIENCE);
    send({ ask: "part", part, seed: seed(), question });
  }

  function onAnswer(message) {
    question = null;
    clearTimeout(patience);
    if (message.seed !== seed()) return;
    if (message.error) {
      failedSeed = message.seed;
      report(`The kernel could not do it: ${message.error}`);
    } else if (message.part === byDistance()[0]) {
      report(`computing ${partName(message.part)}`, message.done / message.of);
    }
  }

  function onMessage(message) {
    if (message.kernel) hasKernel = true;
    else if (question && message.question === question) onAnswer(message);
    show();
    requestNext();
  }

  return {
    parts,
    requestNext,
    onMessage,
    join(view) {
      views.add(view);
      all.forEach(parts.get); // unpacked before they are needed
      send({ ask: "kernel" });
    },
    leave(view) {
      views.delete(view);
      if (views.size) return;
      hasKernel = false; // nobody is there to hear it
      question = null;
      clearTimeout(patience);
    },
  };
}

// A line about the kernel's work: words, and a bar where its share is known.
function progressLine() {
  const bar = h("progress", { "aria-label": "network calls done", max: 1, value: 0 });
  const words = h("span", { role: "status" });
  const element = h("div", { class: "dl-work", hidden: true }, bar, words);
  function report(text, share) {
    element.hidden = text === "";
    bar.hidden = share === null;
    bar.value = share ?? 0;
    fill(words, text, text);
  }
  return { element, report };
}

// A page shows the parts that it has: `get(k)` is what `unpack` made of part k, null if there is
// none for this noise. A kernel that answers brings a button for another noise, `renew`, and
// computes what is missing then, the chosen part first. `watch` names the traits that choose,
// `partName(k)` is said while part k is being computed. `renewLabel` is null where there can be no
// other noise.
export function computed({ model, view, count, watch, distance, unpack, renewLabel, partName }) {
  const talk = ofModel(model, "talk", () =>
    talkWith({ model, count, distance, unpack, partName }),
  );
  const { parts } = talk;
  const progress = progressLine();
  const renew = button(renewLabel, () => view.set({ seed: model.get("seed") + 1 }), {
    "data-name": "noise",
    hidden: true,
  });
  const me = {
    repaint: view.repaint,
    show({ words, share, hasKernel }) {
      progress.report(words, share);
      renew.hidden = !hasKernel || !renewLabel;
    },
  };

  function onChange() {
    for (let k = 0; k < count; k++) parts.get(k);
    view.repaint();
    talk.requestNext();
  }

  const listeners = [
    ...["seed", ...parts.traits].map((trait) => [`change:${trait}`, onChange]),
    ...watch.map((trait) => [`change:${trait}`, () => talk.requestNext()]),
    ["msg:custom", (message) => talk.onMessage(message)],
  ];
  for (const listener of listeners) model.on(...listener);
  view.atEnd(() => {
    talk.leave(me);
    for (const listener of listeners) model.off(...listener);
  });
  talk.join(me);
  onChange();
  return { get: parts.get, renew, progress: progress.element };
}
