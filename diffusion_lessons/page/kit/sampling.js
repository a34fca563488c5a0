// From noise to data in the page: the formulas of diffusion_lessons/math (prediction, gaussian,
// sampling, solvers, guidance, editing) under the same names, one function a formula.
//
// A batch is a Float32Array of rows that lie one behind the other. A denoiser is a function
// (x_t, t) -> x0_hat, or a promise of it; a walk is an async generator of steps { t, x, x0Hat, calls }:
// whoever stops reading it stops the work.

import { roundHalfToEven } from "./schedules.js";

// A new batch of `formula(i)` for each number i of one like `x`.
const each = (x, formula) => Float32Array.from({ length: x.length }, (_, i) => formula(i));
// A number, or that of one place: what of a Gaussian may be either.
const at = (value, i) => (typeof value === "number" ? value : value[i]);

// ------------------------------------------------------------------ Gaussians

// One draw of a Gaussian { mean, std }. If nothing is random, no random number is used up.
export function draw({ mean, std }, generator) {
  const certain = typeof std === "number" ? std === 0 : std.every((value) => value === 0);
  if (certain) return mean;
  const noise = generator.normal(mean.length);
  return each(mean, (i) => mean[i] + at(std, i) * noise[i]);
}

// How much signal the way from s to t keeps, and the noise it adds: x_t of x_s, s < t.
export function between(s, t, { alpha, sigma }) {
  const kept = alpha[t] / alpha[s];
  return { alpha: kept, sigma: Math.sqrt(Math.max(sigma[t] ** 2 - kept ** 2 * sigma[s] ** 2, 0)) };
}

// q(x_t | x_s) for any s < t.
export function forward(x_s, s, t, schedule) {
  const { alpha, sigma } = between(s, t, schedule);
  return { mean: each(x_s, (i) => alpha * x_s[i]), std: sigma };
}

// How much of x_0 and of x_t is in the mean of q(x_s | x_t, x_0), and its deviation.
export function posteriorWeights(t, s, schedule) {
  const { alpha, sigma } = between(s, t, schedule);
  return {
    ofX0: (schedule.alpha[s] * sigma ** 2) / schedule.sigma[t] ** 2,
    ofXt: (alpha * schedule.sigma[s] ** 2) / schedule.sigma[t] ** 2,
    std: (schedule.sigma[s] / schedule.sigma[t]) * sigma,
  };
}

// q(x_s | x_t, x_0) for any s < t.
export function posterior(x_t, x_0, t, s, schedule) {
  const { ofX0, ofXt, std } = posteriorWeights(t, s, schedule);
  return { mean: each(x_t, (i) => ofX0 * x_0[i] + ofXt * x_t[i]), std };
}

export function noiseToX0(x_t, noise, t, { alpha, sigma }) {
  return each(x_t, (i) => (x_t[i] - sigma[t] * noise[i]) / alpha[t]);
}

export function x0ToNoise(x_t, x_0, t, { alpha, sigma }) {
  return each(x_t, (i) => (x_t[i] - alpha[t] * x_0[i]) / sigma[t]);
}

// ------------------------------------------------------------------ what a network predicts

// How much of x_0 and how much of the noise is in what is predicted: (alpha, sigma) -> [a, b].
export const PREDICTIONS = {
  noise: () => [0, 1],
  x0: () => [1, 0],
  v: (alpha, sigma) => [-sigma, alpha],
  velocity: () => [-1, 1],
  score: (alpha, sigma) => [0, -1 / sigma],
};

// How much of x_t, and how much of the source, is in the target; not finite where the two do not
// determine it.
export function combination(alpha, sigma, source, target) {
  const [a, b] = PREDICTIONS[source](alpha, sigma);
  const [wantedA, wantedB] = PREDICTIONS[target](alpha, sigma);
  if (wantedA * b === a * wantedB) return [0, b === 0 ? wantedA / a : wantedB / b];
  const both = alpha * b - sigma * a;
  return [(wantedA * b - a * wantedB) / both, (alpha * wantedB - sigma * wantedA) / both];
}

// The same knowledge by another name: an answer of kind `source` as one of kind `target`.
export function convert(answer, x_t, t, { alpha, sigma }, source, target) {
  const [ofXt, ofAnswer] = combination(alpha[t], sigma[t], source, target);
  return each(x_t, (i) => ofXt * x_t[i] + ofAnswer * answer[i]);
}

// Which of `length` steps are kept if they are `count` at most: evenly spread, first and last too.
export function thin(length, count) {
  if (length <= count) return Array.from({ length }, (_, i) => i);
  return Array.from({ length: count }, (_, i) => roundHalfToEven((i * (length - 1)) / (count - 1)));
}

// ------------------------------------------------------------------ steps

export function ddpmStep(x_t, x0Hat, t, s, schedule) {
  return posterior(x_t, x0Hat, t, s, schedule);
}

// `eta` = 0 draws no noise, 1 as much as DDPM.
export const ddimStep = (eta = 0) =>
  function rule(x_t, x0Hat, t, s, schedule) {
    const { alpha, sigma } = schedule;
    const drawn = eta * posteriorWeights(t, s, schedule).std;
    const direction = Math.sqrt(Math.max(sigma[s] ** 2 - drawn ** 2, 0)) / sigma[t];
    const ofX0 = alpha[s] - direction * alpha[t];
    return { mean: each(x_t, (i) => ofX0 * x0Hat[i] + direction * x_t[i]), std: drawn };
  };

// The guess of x_0, noised anew to s.
export function consistencyStep(x_t, x0Hat, t, s, schedule) {
  const { alpha, sigma } = schedule;
  return { mean: each(x0Hat, (i) => alpha[s] * x0Hat[i]), std: sigma[s] };
}

export function eulerStep(x_t, x0Hat, t, s, schedule) {
  const { alpha, sigma } = schedule;
  const noise = x0ToNoise(x_t, x0Hat, t, schedule);
  const stretch = (alpha[s] + sigma[s]) / (alpha[t] + sigma[t]);
  const stride = sigma[s] - sigma[t] * stretch;
  return { mean: each(x_t, (i) => stretch * x_t[i] + stride * (noise[i] - x0Hat[i])), std: 0 };
}

// ------------------------------------------------------------------ samplers

// The sampler that asks the denoiser once a step and then draws from what the rule says.
export const stepwise = (rule) =>
  async function* walk(denoiser, x_T, schedule, times, generator) {
    let x = x_T;
    let calls = 0;
    for (let k = 0; k + 1 < times.length; k++) {
      const [t, s] = [times[k], times[k + 1]];
      const x0Hat = await denoiser(x, t);
      yield { t, x, x0Hat, calls: ++calls };
      x = draw(rule(x, x0Hat, t, s, schedule), generator);
    }
    yield { t: 0, x, x0Hat: x, calls };
  };

const FAR = 200; // sigma / alpha from which a step is not corrected, as in solvers.py

export async function* heun(denoiser, x_T, schedule, times) {
  const { alpha, sigma } = schedule;
  let x = x_T;
  let calls = 0;
  for (let k = 0; k + 1 < times.length; k++) {
    const [t, s] = [times[k], times[k + 1]];
    const x0Hat = await denoiser(x, t);
    yield { t, x, x0Hat, calls: ++calls };
    const euler = ddimStep(0)(x, x0Hat, t, s, schedule).mean;
    if (s === 0 || sigma[t] > FAR * alpha[t]) {
      x = euler;
      continue;
    }
    const noise = x0ToNoise(x, x0Hat, t, schedule);
    const noiseAhead = x0ToNoise(euler, await denoiser(euler, s), s, schedule);
    calls++;
    const stretch = alpha[s] / alpha[t];
    const stride = sigma[s] - (alpha[s] * sigma[t]) / alpha[t];
    const start = x;
    x = each(start, (i) => stretch * start[i] + (stride * (noise[i] + noiseAhead[i])) / 2);
  }
  yield { t: 0, x, x0Hat: x, calls };
}

export async function* dpmSolver2m(denoiser, x_T, schedule, times) {
  const logRatio = (t) => Math.log(schedule.alpha[t] / schedule.sigma[t]);
  let [x, last, lastStride] = [x_T, x_T, Infinity];
  let calls = 0;
  for (let k = 0; k + 1 < times.length; k++) {
    const [t, s] = [times[k], times[k + 1]];
    const x0Hat = await denoiser(x, t);
    yield { t, x, x0Hat, calls: ++calls };
    const stride = logRatio(s) - logRatio(t);
    const ahead = s === 0 || !Number.isFinite(lastStride) ? 0 : stride / (2 * lastStride);
    const before = last;
    const drawnOut = each(x0Hat, (i) => x0Hat[i] + ahead * (x0Hat[i] - before[i]));
    x = ddimStep(0)(x, drawnOut, t, s, schedule).mean;
    [last, lastStride] = [x0Hat, stride];
  }
  yield { t: 0, x, x0Hat: x, calls };
}

// Those that a command can name.
export const SAMPLERS = {
  ddpm: stepwise(ddpmStep),
  ddim: stepwise(ddimStep(0)),
  heun,
  "dpm++": dpmSolver2m,
  euler: stepwise(eulerStep),
  consistency: stepwise(consistencyStep),
};

// Walk pictures x_0 up to the noise from which DDIM with eta = 0 makes them; `times` fall to 0.
export async function* ddimInvert(denoiser, x_0, schedule, times, generator) {
  const upward = [1, ...times.filter((t) => t > 1).reverse()];
  yield { t: 0, x: x_0, x0Hat: x_0, calls: 0 };
  let [x, x0Hat] = [draw(forward(x_0, 0, 1, schedule), generator), x_0];
  let calls = 0;
  for (let k = 0; k + 1 < upward.length; k++) {
    const [s, t] = [upward[k], upward[k + 1]];
    x0Hat = await denoiser(x, s);
    yield { t: s, x, x0Hat, calls: ++calls };
    const noise = x0ToNoise(x, x0Hat, s, schedule);
    const guess = x0Hat;
    x = each(noise, (i) => schedule.alpha[t] * guess[i] + schedule.sigma[t] * noise[i]);
  }
  yield { t: upward.at(-1), x, x0Hat, calls };
}

// ------------------------------------------------------------------ guidance

// The denoiser, pushed along `scale` times the gradient of log p(y | x_t): `gradient` is a function
// (x_t, t), where Python derives log p itself.
export const classifierGuidance = (denoiser, gradient, schedule, scale = 1) =>
  async function guided(x_t, t) {
    const x0Hat = await denoiser(x_t, t);
    if (scale === 0) return x0Hat; // nobody pushes
    const push = (scale * schedule.sigma[t] ** 2) / schedule.alpha[t];
    const slope = await gradient(x_t, t);
    return each(x0Hat, (i) => x0Hat[i] + push * slope[i]);
  };

// From what is believed without a label, `scale` times the way to what is believed with it.
export const classifierFreeGuidance = (conditional, unconditional, scale = 1) =>
  async function guided(x_t, t) {
    if (scale === 1) return conditional(x_t, t);
    const without = await unconditional(x_t, t);
    if (scale === 0) return without;
    const withLabel = await conditional(x_t, t);
    return each(without, (i) => without[i] + scale * (withLabel[i] - without[i]));
  };

export const clipped = (denoiser, limit = 1) =>
  async function inside(x_t, t) {
    return (await denoiser(x_t, t)).map((value) => Math.min(Math.max(value, -limit), limit));
  };

// ------------------------------------------------------------------ between two noises

// Spherical interpolation of two rows: a at share 0, b at share 1.
export function slerp(a, b, share) {
  const dot = (u, v) => u.reduce((sum, value, i) => sum + value * v[i], 0);
  const cosine = dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
  const angle = Math.acos(Math.min(Math.max(cosine, -1), 1));
  const weight = (part) => (angle < 1e-4 ? part : Math.sin(part * angle) / Math.sin(angle));
  return each(a, (i) => weight(1 - share) * a[i] + weight(share) * b[i]);
}

// ------------------------------------------------------------------ editing

// The rule that keeps the known part: where `mask` is 1, x_s is the picture `known` noised to s
// (Lugmayr et al., arXiv 2201.09865, eq. 8); elsewhere what `rule` draws.
export const keeping = (known, mask, rule) =>
  function kept(x_t, x0Hat, t, s, schedule) {
    const { mean, std } = rule(x_t, x0Hat, t, s, schedule);
    const [alpha, sigma] = [schedule.alpha[s], schedule.sigma[s]];
    return {
      mean: each(mean, (i) => (mask[i] ? alpha * known[i] : mean[i])),
      std: each(mean, (i) => (mask[i] ? sigma : at(std, i))),
    };
  };

// Noise pictures x_0 up to t and walk back from there (Meng et al., arXiv 2108.01073).
export async function* restore(denoiser, x_0, t, schedule, steps, generator, sampler) {
  const x_t = draw(forward(x_0, 0, t, schedule), generator);
  const times = schedule.times(steps, undefined, t);
  yield* sampler(denoiser, x_t, schedule, times, generator);
}
