// The course's networks as the page runs them: what the classes of diffusion_lessons/networks do, on
// batches that are Float32Arrays. The same seed, numbers and settings draw the same pictures.

import { loadNetwork } from "./engine.js";
import { RowGenerator } from "./noise.js";
import {
  classifierFreeGuidance,
  clipped,
  convert,
  ddimStep,
  ddpmStep,
  SAMPLERS,
  stepwise,
} from "./sampling.js";
import { scheduleFrom, SPACINGS } from "./schedules.js";

const int64 = (values) => ({
  type: "int64",
  data: BigInt64Array.from(values, BigInt),
  dims: [values.length],
});
const float32 = (data, dims) => ({ type: "float32", data, dims });
const all = (rows, value) => Array.from({ length: rows }, () => value);

class Network {
  constructor({ about, run, onGraphics }) {
    this.about = about;
    this.run = run;
    this.onGraphics = onGraphics;
    this.calls = 0;
    this.size = about.shape.reduce((product, n) => product * n, 1); // numbers in one picture
  }
  // Where it computes, to be put behind its name: said only where it is not as everywhere.
  get where() {
    return this.onGraphics() ? " on the graphics processor" : "";
  }
  rowsOf(x) {
    return x.length / this.size;
  }
  pictures(x) {
    return float32(x, [this.rowsOf(x), ...this.about.shape]);
  }
  answer(feeds) {
    this.calls++;
    return this.run(feeds);
  }
}

export class DiffusionModel extends Network {
  constructor(loaded) {
    super(loaded);
    this.schedule = scheduleFrom(this.about.schedule);
  }

  // (x_t, t) -> x0_hat for labels, one a row; a label that is null, or none at all, is "any class".
  denoiser(labels = null) {
    return async (x_t, t) => {
      const rows = this.rowsOf(x_t);
      const { classes, predicts } = this.about;
      const feeds = { x_t: this.pictures(x_t), t: int64(all(rows, t)) };
      if (classes) feeds.label = int64((labels ?? all(rows, null)).map((k) => k ?? classes));
      return convert(await this.answer(feeds), x_t, t, this.schedule, predicts, "x0");
    };
  }

  // The denoiser that a widget was given, as `kit.network_behind` describes it.
  described({ labels, clip }) {
    return clip ? clipped(this.denoiser(labels)) : this.denoiser(labels);
  }

  // The denoiser as drawing uses it: guided, and inside -1..1.
  guided(labels, scale = 1) {
    const free = classifierFreeGuidance(this.denoiser(labels), this.denoiser(), scale);
    return clipped(scale === 1 ? this.denoiser(labels) : free);
  }

  // The sampler of that name; `eta` is DDIM's.
  sampler(name = "ddim", eta = 0) {
    return name === "ddim" ? stepwise(ddimStep(eta)) : SAMPLERS[name];
  }

  noise(generator, rows) {
    const { startStd } = this.schedule;
    return generator.normal(rows * this.size).map((value) => value * startStd);
  }

  // How it is drawn from, if nobody says otherwise.
  get usual() {
    const { sampler, steps } = { sampler: "ddim", steps: 50, ...this.about.usual };
    return { sampler, steps: Math.min(steps, this.schedule.T) };
  }

  // A walk from noise to the pictures of `labels`; `numbers` are theirs, under the seed.
  walk({
    labels,
    numbers,
    seed = 0,
    steps = this.usual.steps,
    sampler = this.usual.sampler,
    eta,
    spacing = "uniform",
    scale = 1,
  }) {
    const generator = new RowGenerator(seed, numbers);
    const x_T = this.noise(generator, numbers.length);
    const times = this.schedule.times(steps, SPACINGS[spacing](this.schedule));
    const walk = this.sampler(sampler, eta);
    return walk(this.guided(labels, scale), x_T, this.schedule, times, generator);
  }
}

export class Gan extends Network {
  constructor(loaded) {
    super(loaded);
    this.schedule = scheduleFrom(this.about.schedule);
  }

  // x_0' of x_t and of z, one behind the other.
  generated(x_t, z, t, labels = null) {
    const rows = this.rowsOf(x_t);
    const { latent, classes } = this.about;
    const feeds = { x_t: this.pictures(x_t), t: int64(all(rows, t)) };
    if (latent) feeds.z = float32(z, [rows, latent]);
    if (classes) feeds.label = int64((labels ?? all(rows, null)).map((k) => k ?? classes));
    return this.answer(feeds);
  }

  // (x_t, t) -> x_0', with a fresh z at each call.
  denoiser(labels, generator) {
    return (x_t, t) =>
      this.generated(x_t, generator.normal(this.rowsOf(x_t) * this.about.latent), t, labels);
  }

  walk({ labels, numbers, seed = 0 }) {
    const generator = new RowGenerator(seed, numbers);
    const x_T = generator.normal(numbers.length * this.size);
    const walk = stepwise(ddpmStep);
    return walk(this.denoiser(labels, generator), x_T, this.schedule, this.schedule.times(), generator);
  }
}

export class VAE extends Network {
  decode(z, labels) {
    const rows = labels.length;
    return this.answer({ z: float32(z, [rows, this.about.latent]), label: int64(labels) });
  }

  async *walk({ labels, numbers, seed = 0 }) {
    const generator = new RowGenerator(seed, numbers);
    const z = generator.quantiles(numbers.length * this.about.latent);
    const x = await this.decode(z, labels);
    yield { t: 0, x, x0Hat: x, calls: 1 };
  }
}

const KINDS = { UNet: DiffusionModel, Gan, VAE };

// One of the shipped networks by name, or one that a widget brings, by the name of its part.
export async function pretrained(name, model) {
  const loaded = await loadNetwork(name, model);
  return new KINDS[loaded.about.network](loaded);
}
