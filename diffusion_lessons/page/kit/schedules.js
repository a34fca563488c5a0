// How much of the picture, and how much noise, is in x_t at each time: the formulas of
// diffusion_lessons/math/schedule.py under the same names.

// x_t = alpha[t] x_0 + sigma[t] noise at the times 0..T, both Float64Array.
export class NoiseSchedule {
  constructor({ alphaBar, alpha, sigma }) {
    this.alphaBar = alphaBar ? Float64Array.from(alphaBar) : null; // where the variance is kept
    this.alpha = alphaBar ? this.alphaBar.map(Math.sqrt) : Float64Array.from(alpha);
    this.sigma = alphaBar ? this.alphaBar.map((a) => Math.sqrt(1 - a)) : Float64Array.from(sigma);
  }
  get T() {
    return this.alpha.length - 1;
  }
  // The deviation of x_T for data of variance 1.
  get startStd() {
    return Math.hypot(this.alpha[this.T], this.sigma[this.T]);
  }
  // beta at the times 0..T, with beta[0] = 0; 1 once nothing at all is left.
  get beta() {
    const before = (t) => this.alphaBar[t - 1];
    return this.alphaBar.map((a, t) => (t === 0 ? 0 : before(t) > 0 ? 1 - a / before(t) : 1));
  }
  // log(alpha^2 / sigma^2); infinite at t = 0.
  get logSnr() {
    if (this.alphaBar) return this.alphaBar.map((a) => Math.log(a / (1 - a)));
    return this.alpha.map((a, t) => 2 * Math.log(a / this.sigma[t]));
  }
  // The times a sampler visits: steps + 1 of them, falling strictly from start to 0.
  times(steps, spacing = uniform, start = this.T) {
    steps ??= start;
    const rising = [0];
    for (let i = 1; i <= steps; i++) {
      const t = roundHalfToEven(start * spacing(i / steps));
      rising.push(Math.min(Math.max(t, rising[i - 1] + 1), start - (steps - i)));
    }
    return rising.reverse();
  }
}

// As Python's round does.
export function roundHalfToEven(x) {
  const below = Math.floor(x);
  if (x - below !== 0.5) return Math.round(x);
  return below % 2 === 0 ? below : below + 1;
}

export const uniform = (u) => u;
export const quadratic = (u) => u ** 2;

// Below it x_t is taken for pure noise where times are even in log-SNR, as in schedule.py.
const LEAST_LOG_SNR = -10.2;

// Times between which log(alpha^2 / sigma^2) grows by equal amounts: from `start` to 1, and then 0.
export function evenInLogSnr({ logSnr, T }, start = T) {
  const at = (t) => Math.max(logSnr[t], LEAST_LOG_SNR);
  return function spacing(u) {
    if (u === 0 || u === 1) return u;
    const wanted = at(1) + u * (at(start) - at(1));
    let t = 2;
    while (t < start && at(t) > wanted) t++;
    if (start === 1 || at(t - 1) === at(t)) return (t - 1) / start;
    return (t - 1 + (at(t - 1) - wanted) / (at(t - 1) - at(t))) / start;
  };
}

// How the times of a walk are spread under a schedule, by name.
export const SPACINGS = {
  uniform: () => uniform,
  quadratic: () => quadratic,
  "log-snr": (schedule) => evenInLogSnr(schedule),
};

function fromBeta(beta) {
  const alphaBar = new Float64Array(beta.length + 1);
  alphaBar[0] = 1;
  for (let t = 1; t <= beta.length; t++) alphaBar[t] = alphaBar[t - 1] * (1 - beta[t - 1]);
  return new NoiseSchedule({ alphaBar });
}

export function linearSchedule(T = 1000, beta1 = 1e-4, betaT = 0.02) {
  const step = T > 1 ? (betaT - beta1) / (T - 1) : 0;
  // From both ends, as torch.linspace does, so that the last beta is exactly betaT.
  const beta = (i) => (i < T / 2 ? beta1 + step * i : betaT - step * (T - 1 - i));
  return fromBeta(Float64Array.from({ length: T }, (_, i) => (T > 1 ? beta(i) : beta1)));
}

export function cosineSchedule(T = 1000, offset = 0.008, maxBeta = 0.999) {
  const f = (t) => Math.cos(((t / T + offset) / (1 + offset)) * (Math.PI / 2)) ** 2;
  const beta = (t) => Math.min(1 - f(t) / f(t - 1), maxBeta);
  return fromBeta(Float64Array.from({ length: T }, (_, i) => beta(i + 1)));
}

export function vpSchedule(T = 4, betaMin = 0.1, betaMax = 20) {
  const at = (u) => Math.exp(-betaMin * u - ((betaMax - betaMin) * u * u) / 2);
  return new NoiseSchedule({ alphaBar: Float64Array.from({ length: T + 1 }, (_, t) => at(t / T)) });
}

export function straightSchedule(T = 1000) {
  const sigma = Float64Array.from({ length: T + 1 }, (_, t) => t / T);
  return new NoiseSchedule({ alpha: sigma.map((u) => 1 - u), sigma });
}

// The schedule with nothing of the picture left at T, and its first step as it was.
export function zeroTerminal({ alpha, T }) {
  const stretch = (a) => ((a - alpha[T]) * alpha[1]) / (alpha[1] - alpha[T]);
  return new NoiseSchedule({ alphaBar: alpha.map((a, t) => (t === 0 ? a : stretch(a)) ** 2) });
}

export const SCHEDULES = {
  linear: linearSchedule,
  cosine: cosineSchedule,
  vp: vpSchedule,
  straight: straightSchedule,
};

// The schedule that a card describes, as Python's schedule_from reads it.
export function scheduleFrom(config) {
  switch (config.kind) {
    case "linear":
      return linearSchedule(config.T, config.beta_1, config.beta_T);
    case "cosine":
      return cosineSchedule(config.T, config.offset, config.max_beta);
    case "vp":
      return vpSchedule(config.T, config.beta_min, config.beta_max);
    case "straight":
      return straightSchedule(config.T);
    case "zero terminal":
      return zeroTerminal(scheduleFrom(config.of));
    case undefined:
      if (config.alpha_bar) return new NoiseSchedule({ alphaBar: config.alpha_bar });
      if (config.alpha && config.sigma) return new NoiseSchedule(config);
  }
  throw new Error(`no schedule is described by ${JSON.stringify(config)}`);
}
