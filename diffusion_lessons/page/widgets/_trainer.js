// A network that is trained beside the page, in a Worker (`work` in _plane.js), and what the page
// knows of it.

import { MLP } from "./_mlp.js";

const MOST = 160; // numbers of the loss curve, of which then neighbours become one

// `changed()` is called when there is news. What is known: `updates`, `seconds`, `running`, `losses`
// ([updates, mean loss, of how many] each), `drawn` (the newest walk), `network` (which drew it), and
// `failure`, why there can be none.
export function trainer({ startWorker, changed }) {
  const known = { failure: "", started: false };
  const queue = []; // until the Worker listens
  let worker = null;
  let listens = false;
  let run = 0; // the networks are counted: news of an older one is stale

  function forget() {
    Object.assign(known, { updates: 0, seconds: 0, running: false, losses: [], drawn: null });
  }
  forget();

  function fail(message) {
    worker?.terminate();
    worker = null;
    forget();
    Object.assign(known, { failure: message, started: false });
    changed();
  }

  function hear({ data }) {
    if (data.error) return fail(data.error);
    if (data.ready) {
      listens = true;
      for (const message of queue.splice(0)) worker.postMessage(message);
    }
    if (data.run !== run) return;
    if (data.progress) {
      const { losses, ...progress } = data.progress;
      Object.assign(known, progress, { losses: thinned([...known.losses, ...losses]) });
    }
    if (data.drawn) {
      const { weights, ...drawn } = data.drawn;
      known.drawn = drawn;
      known.network.values.set(weights);
    }
    changed();
  }

  function send(message) {
    if (known.failure) return;
    if (!worker) {
      try {
        worker = startWorker("_plane.js");
      } catch (error) {
        return fail(error.message);
      }
      worker.onmessage = hear;
      worker.onerror = (event) => {
        event.preventDefault();
        fail(event.message || "the page may start none");
      };
    }
    if (listens) worker.postMessage(message);
    else queue.push(message);
  }

  return {
    known,
    // A new network; `config` is that of Training.
    start(config, running) {
      if (known.failure) return;
      forget();
      Object.assign(known, { started: true, running, network: new MLP({ width: config.width }) });
      known.run = ++run;
      send({ start: config, run, running });
    },
    go(running) {
      known.running = running;
      send({ running });
    },
    walk: (settings) => send({ walk: settings }),
    end() {
      worker?.terminate();
      worker = null;
    },
  };
}

// The curve in fewer numbers, each of about as many updates; the very first stays.
function thinned(losses) {
  if (losses.length <= MOST) return losses;
  const enough = (2 * losses.at(-1)[0]) / MOST;
  const few = losses.slice(0, 2);
  for (const [updates, loss, count] of losses.slice(2)) {
    const [, before, others] = few.at(-1);
    const all = others + count;
    if (all > enough) few.push([updates, loss, count]);
    else few[few.length - 1] = [updates, (before * others + loss * count) / all, all];
  }
  return few;
}
