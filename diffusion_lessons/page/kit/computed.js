// Pictures that a network computes, the page's half of `kit.Computed`. Each of them is stored, or
// computed by the page, or by a kernel, in this order.

import { button } from "./controls.js";
import { fill, h, newId } from "./elements.js";
import { ofModel } from "./models.js";
import { pretrained } from "./networks.js";
import { generatorFor } from "./noise.js";
import { decode } from "./numbers.js";

const PATIENCE = 6000; // milliseconds without an answer after which the reader is told
const KEPT = 60; // answers of the page

// The stored parts, in the traits `_part_0`, `_part_1`, ..., each for the noise of one `seed`.
// `changed` is called when one has been unpacked.
function storeOf({ model, partOf, unpack, changed }) {
  const unpacked = new Map(); // by part: what it was made of, and its content once that is there
  const has = (k) => k >= 0 && partOf(k)?.seed === model.get("seed");
  function get(k) {
    if (!has(k)) return null;
    const part = partOf(k);
    if (unpacked.get(k)?.part !== part) {
      const entry = { part, content: null };
      unpacked.set(k, entry);
      unpack(part, k).then((content) => {
        entry.content = content;
        changed();
      });
    }
    return unpacked.get(k).content;
  }
  return { has, get };
}

// The noise from which a widget starts: the one given, or that of a later seed; `x_T()` is of the seed
// at hand, a Float32Array of `rows` pictures.
export function widgetNoise(model, size) {
  const given = ofModel(model, "given noise", () => decode(model.get("_x_T"), Float32Array));
  const drawn = new Map();
  return function x_T() {
    const seed = model.get("seed");
    if (seed === model.get("_first_seed")) return given;
    const rows = model.get("_shape")[0];
    if (!drawn.has(seed)) drawn.set(seed, generatorFor(seed, 0, rows).normal(size));
    return drawn.get(seed);
  };
}

// Numbers in the order in which they lie from one of them.
export const nearest = (values, from) =>
  [...values].sort((a, b) => Math.abs(a - from) - Math.abs(b - from));

const counted = (calls) => `${calls} network ${calls === 1 ? "call" : "calls"}`;

// All that is asked about one model, whether one view or several show it: every view hears each
// answer, and each question is put once. A question to the kernel has a number of its own, which its
// answer repeats: another page with the same model hears the answers too.
function talkWith(given) {
  const { model, index, unpack, able, compute, partName } = given;
  const views = new Set(); // of { repaint, show }
  const repaint = () => views.forEach((view) => view.repaint());
  const seed = () => model.get("seed");
  const name = model.get("_network")?.name; // of the network that the page has, if it has it
  const partOf = given.partOf ?? ((k) => model.get(`_part_${k}`));
  const store = storeOf({ model, partOf, unpack, changed: repaint });
  const made = new Map(); // in the page, by noise and choice: { content, whole, calls, ms, where }
  const keyOf = (choice) => JSON.stringify([seed(), choice]);
  const missing = (choice) => !made.get(keyOf(choice))?.whole && !store.has(index(choice));
  const ready = (choice) => !missing(choice);
  const get = (choice) => made.get(keyOf(choice))?.content ?? store.get(index(choice));
  const [chosen, shown, others] = ["chosen", "shown", "others"].map((of) => () => given[of]({ ready, get }));

  let network = null;
  let running = null; // what the page computes: { key, seed, choice, stopped }
  let awake = false; // once something was asked for, what else is in sight is computed as well
  let failed = null; // why the page cannot
  let hasKernel = false;
  let question = null; // to the kernel, which waits for its answer: { id, choice }
  const fromKernel = new Map(); // part: noise
  let failedSeed = null; // for which the kernel could not
  let silence = 0;
  let work = { words: "", share: null };
  let last = null; // the answer before: { calls, ms }

  const inPage = (choice) => Boolean(name) && !failed && able(choice, { hasKernel });

  // ---------------------------------------------------------------- what is said

  function engine() {
    if (!name || failed) return "none";
    if (running) return network ? "busy" : "loading";
    return network ? "ready" : "idle";
  }
  // Where the chosen pictures come from.
  function source() {
    const choice = chosen();
    const here = made.get(keyOf(choice));
    const part = index(choice);
    if (here?.whole) return `Computed here by ${name}${here.where}: ${counted(here.calls)}, ${here.ms} ms.`;
    if (store.has(part)) {
      const { calls, seconds } = partOf(part);
      const where = fromKernel.get(part) === seed() ? "Computed by the kernel" : "Stored";
      return calls ? `${where}: ${counted(calls)}, ${Math.round(1000 * seconds)} ms.` : `${where}.`;
    }
    if (inPage(choice) || hasKernel) return "";
    if (failed) return `Not stored, and this page cannot compute it: ${failed.message}.`;
    return "Not stored, and this page has no network for it: run the notebook.";
  }
  function show() {
    const said = { ...work, source: source(), engine: engine(), last, renewable: hasKernel || engine() !== "none" };
    views.forEach((view) => view.show(said));
  }
  function report(words, share = null) {
    work = { words, share };
    show();
  }

  // ---------------------------------------------------------------- the page

  function keep(key, answer) {
    made.delete(key);
    made.set(key, answer);
    if (made.size > KEPT) made.delete(made.keys().next().value);
  }

  async function run(choice) {
    const job = (running = { key: keyOf(choice), seed: seed(), choice, stopped: false });
    const words = () => `computing ${partName(choice)}`;
    awake = true;
    report(network ? words() : `fetching ${name}`, network ? 0 : null);
    try {
      network ??= await pretrained(name, model);
      const [before, begun] = [network.calls, performance.now()];
      for await (const { content, done, of } of job.stopped ? [] : compute(network, choice, job.seed)) {
        if (job.stopped || !views.size) break;
        const calls = network.calls - before;
        const ms = Math.round(performance.now() - begun);
        const whole = done === of;
        keep(job.key, { content, whole, calls, ms, where: network.where });
        if (whole) last = { calls, ms };
        report(words(), done / of);
        repaint();
      }
    } catch (error) {
      console.warn(error);
      failed = error;
    }
    if (!made.get(job.key)?.whole) made.delete(job.key);
    running = null;
    work = { words: "", share: null };
    repaint();
    requestNext();
  }

  // ---------------------------------------------------------------- the kernel

  function send(message) {
    try {
      model.send(message);
    } catch {
      /* a published page has nobody to ask */
    }
  }

  function askKernel(choice, ready, all) {
    question = { id: newId(), choice };
    if (keyOf(choice) !== keyOf(chosen())) report(`${ready} of ${all} ready for this noise`, ready / all);
    else if (work.share === null) report(`computing ${partName(choice)}`, 0);
    clearTimeout(silence);
    const silent = () => report("The kernel does not answer: it is busy, or gone.");
    silence = setTimeout(silent, PATIENCE);
    send({ ask: "part", part: index(choice), seed: seed(), question: question.id });
  }

  function onAnswer(message) {
    const { choice } = question;
    question = null;
    clearTimeout(silence);
    if (message.seed !== seed()) return;
    if (message.error) {
      failedSeed = message.seed;
      report(`The kernel could not do it: ${message.error}`);
      return;
    }
    if (message.done === message.of) fromKernel.set(message.part, message.seed);
    if (keyOf(choice) === keyOf(chosen())) report(`computing ${partName(choice)}`, message.done / message.of);
  }

  function onMessage(message) {
    if (message.kernel) hasKernel = awake = true;
    else if (question && message.question === question.id) onAnswer(message);
    if (failed?.silent) failed = null; // the kernel is there after all
    show();
    requestNext();
  }

  // ---------------------------------------------------------------- both

  // What is wanted most, of what is missing: the chosen pictures, others in sight, then the rest.
  function requestNext() {
    if (!views.size) return;
    const mine = chosen();
    const sight = [mine, ...shown()].filter(missing);
    if (running) {
      const other = running.key !== keyOf(mine);
      if (running.seed !== seed() || (other && missing(mine) && inPage(mine))) running.stopped = true;
    } else {
      const next = sight.find(inPage);
      if (next && (awake || next === mine)) return run(next);
    }
    if (question || running) return show();
    const all = [mine, ...shown(), ...others()].filter((choice) => !inPage(choice) && index(choice) >= 0);
    const next = all.find(missing);
    if (!next) report(failedSeed === seed() ? work.words : "");
    else if (hasKernel && failedSeed !== seed()) {
      const parts = new Map(all.map((choice) => [index(choice), choice]));
      const ready = [...parts.values()].filter((choice) => !missing(choice)).length;
      askKernel(next, ready, parts.size);
    } else show();
  }

  return {
    name,
    requestNext,
    onMessage,
    repaint,
    get,
    ready,
    free: () => Boolean(name) && !failed,
    join(view) {
      views.add(view);
      send({ ask: "kernel" });
    },
    leave(view) {
      views.delete(view);
      if (views.size) return;
      hasKernel = false; // nobody is there to hear it
      question = null;
      clearTimeout(silence);
    },
    onPart(part) {
      if (fromKernel.get(part) === seed()) {
        const { calls, seconds } = partOf(part);
        last = { calls, ms: Math.round(1000 * seconds) };
      }
    },
  };
}

// A line about the work: words, and a bar where its share is known; and where the pictures are from.
function workLine() {
  const bar = h("progress", { "aria-label": "network calls done", max: 1, value: 0 });
  const words = h("span", { role: "status" });
  const element = h("div", { class: "dl-work", hidden: true }, bar, words);
  const source = h("span", { class: "dl-soft dl-source", "data-part": "source" });
  function report(said) {
    element.hidden = said.words === "";
    bar.hidden = said.share === null;
    bar.value = said.share ?? 0;
    fill(words, said.words, said.words);
    fill(source, said.source, said.source);
  }
  return { element, source, report };
}

// A page shows what it has: `get(choice)` is the content for a choice, a plain object, null if there
// is none yet; it may still grow until `ready(choice)`. Whatever is missing is computed, first what
// is `chosen()`, then the choices in sight, `shown()`, and by a kernel also the `others()`.
//
// These three are given { ready, get }.
//
// - `index(choice)` is the number of its stored part, -1 for what only the page can compute;
// - `unpack(part, k)` makes the content of a stored part, `compute(network, choice, seed)` that of
//   one computed here: an async generator of { content, done, of }, in network calls;
// - `able(choice, { hasKernel })` says whether the page's network is to compute it, `free()` whether the page has one
//   and so knows values between the stored ones;
// - `watch` names the traits that choose, `partName(choice)` is said meanwhile;
// - `renewLabel` names the button for another noise, null where there can be none.
//
// The root says to tests what happens: data-engine, and data-calls and data-ms of the last answer.
export function computed({ shown = () => [], others = () => [], able = () => true, ...given }) {
  const { model, view, watch, renewLabel } = given;
  const talk = ofModel(model, "talk", () => talkWith({ ...given, shown, others, able }));
  const line = workLine();
  const renew = button(renewLabel, () => view.set({ seed: model.get("seed") + 1 }), {
    "data-name": "noise",
    "data-action": "run",
    hidden: true,
  });
  const me = {
    repaint: view.repaint,
    show(said) {
      line.report(said);
      renew.hidden = !said.renewable || !renewLabel;
      view.root.dataset.engine = said.engine;
      if (said.last) Object.assign(view.root.dataset, said.last);
    },
  };

  function onChange() {
    view.repaint();
    talk.requestNext();
  }
  const parts = Array.from({ length: model.get("_count") }, (_, k) => k);
  const onPart = (part) => () => {
    talk.onPart(part);
    onChange();
  };
  const listeners = [
    ...["seed", ...watch].map((trait) => [`change:${trait}`, onChange]),
    ...parts.map((part) => [`change:_part_${part}`, onPart(part)]),
    ["msg:custom", (message) => talk.onMessage(message)],
  ];
  for (const listener of listeners) model.on(...listener);
  view.atEnd(() => {
    talk.leave(me);
    for (const listener of listeners) model.off(...listener);
  });
  talk.join(me);
  talk.requestNext();
  const { get, ready, free, requestNext: again } = talk;
  const row = h("div", { class: "dl-row" }, renew, line.element, line.source);
  return { get, ready, free, again, renew, progress: line.element, source: line.source, row };
}
