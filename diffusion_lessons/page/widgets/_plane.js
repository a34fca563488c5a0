// What the plane lab computes, in the page and in its Worker: the exact denoiser of the points, a
// network's training, and walks of both.

import {
  classifierGuidance,
  convert,
  ddimStep,
  ddpmStep,
  GaussianMixture,
  linearSchedule,
  normals,
  quadratic,
  RowGenerator,
  stepwise,
  uniforms,
} from "kit";
import { Adam, MLP, noisedBatch } from "./_mlp.js";

export const schedule = linearSchedule();
export const NEAR = 0.1; // within which a particle has ended on a point, as in plane.py
export const MINUTE = 60; // seconds of training at most
const PORTION = 12; // milliseconds of work, after which whoever waits is let in

// The mixture with the points [x, y, class] as its centres.
export const mixtureOf = (points, std) =>
  new GaussianMixture({
    means: points.map(([x, y]) => [x, y]),
    stds: points.map(() => std),
    weights: points.map(() => 1 / points.length),
  });

// (x_t, t) -> x0_hat of a network that predicts the noise.
export const denoiserOf = (network) => (x_t, t) =>
  convert(network.forward(x_t, t), x_t, t, schedule, "noise", "x0");

// The denoiser pushed towards the points of a class, if there are any.
export function guided(denoiser, { points, std, label, scale }) {
  const members = points.map((_, k) => k).filter((k) => points[k][2] === label);
  if (!members.length) return denoiser;
  const mixture = mixtureOf(points, std);
  const gradient = (x_t, t) => mixture.classGradient(members, x_t, t, schedule);
  return classifierGuidance(denoiser, gradient, schedule, scale);
}

export const timesOf = (steps) => schedule.times(steps, quadratic);

// Until all that waits has had its turn; a timer would wait four milliseconds.
const letIn = () =>
  new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });

// A walk of particles: where they are at each time, how many calls of the denoiser that took, and
// how many milliseconds; null if `alive()` ends before.
export async function walk(denoiser, settings, alive = () => true) {
  const { sampler, eta, steps, seed, particles } = settings;
  const begun = performance.now();
  const generator = new RowGenerator(seed, Array.from({ length: particles }, (_, i) => i));
  const rule = sampler === "ddpm" ? ddpmStep : ddimStep(eta);
  const x_T = generator.normal(2 * particles);
  const frames = [];
  let calls = 0;
  let rested = begun;
  const steered = guided(denoiser, settings);
  for await (const step of stepwise(rule)(steered, x_T, schedule, timesOf(steps), generator)) {
    frames.push(Float32Array.from(step.x));
    calls = step.calls;
    if (performance.now() - rested < PORTION) continue;
    await letIn();
    if (!alive()) return null;
    rested = performance.now();
  }
  return { frames, calls, ms: performance.now() - begun };
}

// The share of places x, y, x, y, ... that lie within NEAR of a point.
export function near(places, points) {
  let count = 0;
  for (let i = 0; i < places.length; i += 2) {
    if (points.some(([x, y]) => Math.hypot(places[i] - x, places[i + 1] - y) <= NEAR)) count++;
  }
  return count / (places.length / 2);
}

// The same of noise: what happens by chance.
const NOISE = normals(8000, 1);
export const chance = (points) => near(NOISE, points);

// The loss of the exact denoiser, below which no network comes for long; null if `alive()` ends before.
export async function leastLoss(points, std, alive = () => true) {
  const mixture = mixtureOf(points, std);
  const centres = Float64Array.from(points.flatMap(([x, y]) => [x, y]));
  const { x_t, t, noise } = noisedBatch(centres, std, 2000, schedule, uniforms(7));
  let sum = 0;
  let rested = performance.now();
  for (let i = 0; i < x_t.length; i += 2) {
    const [place, time] = [x_t.subarray(i, i + 2), t[i / 2]];
    const x0Hat = mixture.denoise(place, time, schedule);
    const believed = convert(x0Hat, place, time, schedule, "x0", "noise");
    for (const d of [0, 1]) sum += (believed[d] - noise[i + d]) ** 2;
    if (performance.now() - rested < PORTION) continue;
    await letIn();
    if (!alive()) return null;
    rested = performance.now();
  }
  return sum / x_t.length;
}

// A network on its way: Adam on L_simple, and the running average of its weights, which draws.
export class Training {
  constructor({ points, std, width, seed = 0, rows = 64, lr = 3e-3 }) {
    this.centres = Float64Array.from(points.flatMap(([x, y]) => [x, y]));
    Object.assign(this, { std, rows, updates: 0, lr });
    this.uniform = uniforms(seed);
    this.network = new MLP({ width }, this.uniform);
    this.average = new MLP({ width });
    this.average.values.set(this.network.values);
    this.adam = new Adam(this.network.values, { lr });
  }
  // One update; returns the loss.
  update() {
    const { network, average } = this;
    const { x_t, t, noise } = noisedBatch(this.centres, this.std, this.rows, schedule, this.uniform);
    const loss = network.loss(x_t, t, noise);
    this.adam.step(network.gradient);
    this.updates++;
    const decay = Math.min(0.99, (1 + this.updates) / (10 + this.updates));
    const [to, now] = [average.values, network.values];
    for (let i = 0; i < to.length; i++) to[i] += (1 - decay) * (now[i] - to[i]);
    return loss;
  }
}

// ------------------------------------------------------------------ in the Worker

// Trains while it may, and draws walks: one when it is asked, and while it trains now and then, so
// that they take a fifth of the time. Messages in: { start } a new network, { running }, { walk }
// settings. Out: { progress } and { drawn }, each with the number of the network that it is of.
export function work() {
  let [training, run, running, seconds] = [null, 0, false, 0];
  let [settings, wish, drawn] = [null, 0, 0]; // the newest wish, and which is done
  let [rest, told] = [0, 0]; // when to draw again; when the page was last told
  let losses = [];
  let wake = null;

  onmessage = ({ data }) => {
    if (data.start) {
      run = data.run;
      training = new Training(data.start);
      [seconds, losses] = [0, []];
    }
    if ("running" in data) {
      running = data.running;
      if (training) tell(); // what was told before may cross this wish
    }
    if (data.walk) settings = data.walk;
    if (data.start || data.walk) wish++;
    wake?.();
  };

  function tell() {
    told = performance.now();
    postMessage({ run, progress: { updates: training.updates, seconds, running, losses } });
    losses = [];
  }

  function train() {
    const begun = performance.now();
    let [sum, count] = [0, 0];
    do {
      sum += training.update();
      count++;
    } while (performance.now() - begun < 2 * PORTION && training.updates > 1);
    losses.push([training.updates, sum / count, count]); // the very first alone
  }

  async function drawIt() {
    const [mine, ofRun, begun] = [wish, run, performance.now()];
    const { average, updates } = training;
    const weights = average.values.slice();
    const still = new MLP({ width: average.width });
    still.values.set(weights);
    const made = await walk(denoiserOf(still), settings, () => wish === mine);
    if (!made) return;
    postMessage({ run: ofRun, drawn: { ...made, updates, weights, settings } });
    [drawn, rest] = [mine, performance.now() + Math.max(500, 4 * (performance.now() - begun))];
  }

  const asked = () => training && settings && drawn !== wish;

  async function live() {
    let before = performance.now();
    for (;;) {
      if (running) {
        train();
        seconds += (performance.now() - before) / 1000;
        if (seconds >= MINUTE) running = false;
        if (!running || performance.now() - told > 100) tell();
        if (!running) wish++; // the last word is the trained network's
      }
      before = performance.now();
      if (asked() || (running && settings && before > rest)) await drawIt();
      if (running || asked()) await letIn();
      else {
        await new Promise((resolve) => (wake = resolve));
        before = performance.now();
      }
    }
  }
  live().catch((error) => postMessage({ error: String(error.message) }));
  postMessage({ ready: true });
}
