// The engine: networks that run in the page itself, in Workers, so that no drag waits for them. What
// it takes (page/engine/__init__.py) comes when it is first asked for, and once a page: from scripts
// beside a published page, or from the kernel.

import { h } from "./elements.js";
import { toBytes } from "./numbers.js";

const SILENCE = 15_000; // milliseconds after which a kernel that does not answer is given up
const MAKING = 600_000; // and one that said that it makes what is asked for
const MOST_WORKERS = 4;
const TRIED_AT = 3; // the batch of a network after which the graphics processor is tried

// ------------------------------------------------------------------ its parts

// Published pages say where the scripts lie, and those hand in what they hold under this symbol. A
// page may have two versions of this kit, which then share the scripts' answers.
const ARRIVALS = Symbol.for("diffusion-lessons parts");
const arrivals = (globalThis[ARRIVALS] ??= {
  waiting: [], // [name, what to do with the files]
  arrived([name, files]) {
    for (const [wanted, take] of arrivals.waiting) if (wanted === name) take(files);
  },
});

function fromBase64(text) {
  return Uint8Array.fromBase64 ? Uint8Array.fromBase64(text) : toBytes(text);
}

function fromScript(name, folder) {
  let entry;
  return new Promise((resolve, reject) => {
    entry = [name, resolve];
    arrivals.waiting.push(entry);
    const failed = () => reject(new Error("a script of this page could not be loaded"));
    document.head.append(h("script", { src: `${folder}${name}.js`, onerror: failed }));
  })
    .then((files) => Object.entries(files).map(([file, text]) => [file, fromBase64(text)]))
    .finally(() => arrivals.waiting.splice(arrivals.waiting.indexOf(entry), 1));
}

const coming = new Set(); // names of parts on which a kernel works; until then others wait longer

function fromKernel(name, model) {
  let answer;
  let patience;
  return new Promise((resolve, reject) => {
    const words = "no kernel brings it: run the widget's cell";
    const silent = () => reject(Object.assign(new Error(words), { silent: true }));
    const wait = (time) => {
      clearTimeout(patience);
      patience = setTimeout(() => (coming.size && time === SILENCE ? wait(time) : silent()), time);
    };
    answer = (message, buffers) => {
      if (message.engine !== name) return;
      if (message.coming) {
        coming.add(name);
        wait(MAKING);
      } else if (message.error) reject(new Error(message.error));
      else resolve(message.files.map((file, i) => [file, toBytes(buffers[i])]));
    };
    wait(SILENCE);
    model.on("msg:custom", answer);
    try {
      model.send({ ask: "engine", name });
    } catch {
      silent(); // a page without a kernel
    }
  }).finally(() => {
    clearTimeout(patience);
    coming.delete(name);
    model.off("msg:custom", answer);
  });
}

async function gunzip(bytes) {
  const plain = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(plain).arrayBuffer());
}

const OWN = "own-"; // so begins the name of a part that one kernel alone has

async function noScript() {
  throw new Error("this page does not have that network, which only its kernel has");
}

const parts = new Map(); // by name: promises of { file: bytes }

// The files of a part, unpacked. What failed may be asked for again.
export function part(name, model) {
  if (!parts.has(name)) {
    const folder = document.documentElement.dataset.dlEngine;
    const fromPage = name.startsWith(OWN) ? noScript : fromScript;
    const files = folder ? fromPage(name, folder) : fromKernel(name, model);
    const unpacked = files.then(async (packed) => {
      const plain = packed.map(async ([file, bytes]) => [file, await gunzip(bytes)]);
      return Object.fromEntries(await Promise.all(plain));
    });
    parts.set(name, unpacked);
    unpacked.catch(() => parts.delete(name));
  }
  return parts.get(name);
}

const asText = (bytes) => new TextDecoder().decode(bytes);

// ------------------------------------------------------------------ its workers

class Hand {
  constructor(script, on) {
    this.on = on; // what its networks run on
    this.asked = new Map(); // by number: what to do with the answer
    this.count = 0;
    this.alive = true;
    this.worker = new Worker(URL.createObjectURL(new Blob([script], { type: "text/javascript" })));
    this.worker.onmessage = ({ data: { id, result, error } }) => {
      const [resolve, reject] = this.asked.get(id);
      this.asked.delete(id);
      if (error) reject(new Error(error));
      else resolve(result);
    };
    this.worker.onerror = (event) => {
      event.preventDefault?.();
      this.alive = false;
      const error = new Error(event.message || "this page may start no worker");
      for (const [, reject] of this.asked.values()) reject(error);
      this.asked.clear();
    };
  }
  do(action, given, transfer = []) {
    return new Promise((resolve, reject) => {
      this.asked.set(++this.count, [resolve, reject]);
      this.worker.postMessage({ id: this.count, action, ...given }, transfer);
    });
  }
  load(network, content) {
    return this.do("load", { network, ...content, on: this.on });
  }
  // The answer to some rows of a batch, all unless said otherwise.
  run(network, feeds, from = 0, to = Object.values(feeds)[0].dims[0]) {
    const part = Object.entries(feeds).map(([name, feed]) => [name, cut(feed, from, to)]);
    const transfer = part.map(([, { data }]) => data.buffer);
    return this.do("run", { network, feeds: Object.fromEntries(part) }, transfer);
  }
}

// A worker whose networks run on the processor ("wasm") or on the graphics processor ("webgpu").
async function newHand(on, model) {
  const [name, suffix, kind] = on === "webgpu" ? ["webgpu", "jspi.", "jspi"] : ["runtime", "", "wasm"];
  const runtime = await part(name, model);
  const hand = new Hand(`${asText(runtime[`ort.${kind}.min.js`])}\n${asText(runtime["worker.js"])}`, on);
  const file = (ending) => runtime[`ort-wasm-simd-threaded.${suffix}${ending}`];
  const loader = new Blob([file("mjs")], { type: "text/javascript" });
  await hand.do("start", { wasm: file("wasm"), loader });
  return hand;
}

// Whether the machine has a graphics processor that this browser lends to pages, and can wait for
// (JSPI). One that is played by software is none.
async function hasGraphics() {
  if (!("Suspending" in WebAssembly)) return false;
  const adapter = await navigator.gpu?.requestAdapter();
  return Boolean(adapter) && !adapter.info.isFallbackAdapter;
}

// How many workers to share a batch among: the number that was fastest here. Each is tried, the
// first time without counting, for memory is only then set aside; sometimes they are tried again.
export class Pace {
  constructor() {
    this.seconds = []; // [k]: of one row among k workers, once known
    this.warm = new Set();
    this.batches = 0;
  }
  choose(most) {
    const known = Array.from({ length: most }, (_, i) => this.seconds[i + 1]);
    const untried = known.indexOf(undefined);
    if (untried >= 0) return untried + 1;
    if (++this.batches % 50 === 0) return 1 + ((this.batches / 50) % most);
    return known.indexOf(Math.min(...known)) + 1;
  }
  note(k, seconds) {
    if (!this.warm.has(k)) this.warm.add(k);
    else this.seconds[k] = this.seconds[k] === undefined ? seconds : (this.seconds[k] + seconds) / 2;
  }
}

class Crew {
  constructor() {
    this.hands = [];
    this.networks = new Map(); // by name: promises of what is known of each
    this.content = new Map(); // by name: graph and weights
    this.pace = new Pace();
    this.hiring = null;
    this.most = MOST_WORKERS;
    this.batches = new Map(); // by name: how many a network has answered
    this.graphics = null; // a promise of the worker for the graphics processor, or of null
    this.faster = new Map(); // by name: that worker, where it has been faster
  }

  // One more worker, with all networks that are there; one at a time.
  hire(model) {
    this.hiring ??= this.#hire(model).finally(() => (this.hiring = null));
    return this.hiring;
  }
  async #hire(model) {
    const hand = await newHand("wasm", model);
    for (const [network, content] of this.content) await hand.load(network, content);
    this.hands.push(hand);
  }

  // At least one worker that has not died.
  async ready(model) {
    this.hands = this.hands.filter(({ alive }) => alive);
    if (!this.hands.length) await this.hire(model);
  }

  load(name, model) {
    if (!this.networks.has(name)) {
      const loaded = this.#load(name, model);
      this.networks.set(name, loaded);
      loaded.catch(() => [this.networks, this.content].forEach((known) => known.delete(name)));
    }
    return this.networks.get(name);
  }
  async #load(name, model) {
    // Both on their way at once; the first that fails says why.
    const [files] = await Promise.all([part(name, model), this.ready(model)]);
    const { "about.json": about, "graph.onnx": graph, weights } = files;
    const content = { graph, weights };
    this.content.set(name, content); // a worker that is being made takes it, too
    await Promise.all(this.hands.map((hand) => hand.load(name, content)));
    return JSON.parse(asText(about));
  }

  // A network's answer to a batch. `feeds` are its inputs by name, each { type, data, dims }.
  async run(network, feeds, model) {
    const graphics = this.faster.get(network);
    if (graphics?.alive) {
      try {
        return await graphics.run(network, feeds);
      } catch {
        this.faster.delete(network); // taken away by the system, say
      }
    }
    await this.ready(model);
    const rows = Object.values(feeds)[0].dims[0];
    const shared = rows > 1;
    const k = shared ? Math.min(this.pace.choose(this.hands.length), rows) : 1;
    const cuts = Array.from({ length: k + 1 }, (_, i) => Math.round((i * rows) / k));
    const begun = performance.now();
    const answers = await Promise.all(
      Array.from({ length: k }, (_, i) => this.hands[i].run(network, feeds, cuts[i], cuts[i + 1])),
    );
    const answer = join(answers);
    if (shared) {
      const took = performance.now() - begun;
      this.pace.note(k, took / rows);
      const batches = (this.batches.get(network) ?? 0) + 1;
      this.batches.set(network, batches);
      if (batches === TRIED_AT) this.#tryGraphics(network, feeds, answer, took, model).catch(console.warn);
      const most = Math.min(this.most, navigator.hardwareConcurrency);
      if (this.hands.length < most && this.pace.seconds[this.hands.length]) {
        this.hire(model).catch(() => (this.most = this.hands.length));
      }
    }
    return answer;
  }

  // The same batch on the graphics processor, in the background and once: it answers from then on if
  // it gave the same numbers sooner.
  async #tryGraphics(network, feeds, answer, took, model) {
    this.graphics ??= hasGraphics().then((there) => (there ? newHand("webgpu", model) : null));
    const hand = await this.graphics;
    if (!hand) return;
    await hand.load(network, this.content.get(network));
    await hand.run(network, feeds); // its programs are made at the first
    const begun = performance.now();
    const other = await hand.run(network, feeds);
    const sooner = performance.now() - begun < took;
    if (sooner && answer.every((value, i) => Math.abs(value - other[i]) < 1e-3)) {
      this.faster.set(network, hand);
    }
  }
}

function cut({ type, data, dims: [rows, ...rest] }, from, to) {
  const width = data.length / rows;
  return { type, data: data.slice(from * width, to * width), dims: [to - from, ...rest] };
}

function join(pieces) {
  if (pieces.length === 1) return pieces[0];
  const whole = new pieces[0].constructor(pieces.reduce((sum, { length }) => sum + length, 0));
  pieces.reduce((place, piece) => (whole.set(piece, place), place + piece.length), 0);
  return whole;
}

const crew = new Crew(); // the page's

// What is known of a network, its answers: (feeds) -> Float32Array, and whether they now come from
// the graphics processor. `model` is the widget's.
export async function loadNetwork(name, model) {
  const about = await crew.load(name, model);
  const run = (feeds) => crew.run(name, feeds, model);
  return { about, run, onGraphics: () => crew.faster.has(name) };
}

// ------------------------------------------------------------------ the newest wish

// Does one thing at a time, the newest: what was begun before is told to stop, at its next step, by
// `alive()`. `job(alive)` is an async function.
export function newestOnly() {
  let wish = 0;
  return {
    start(job) {
      const mine = ++wish;
      return job(() => mine === wish);
    },
    stop: () => wish++,
  };
}
