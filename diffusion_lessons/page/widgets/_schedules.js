// The formulas of diffusion_lessons/math/schedule.py; each returns alpha_bar at the times 0..T.

function fromBeta(beta) {
  const alphaBar = new Float64Array(beta.length + 1);
  alphaBar[0] = 1;
  for (let t = 1; t <= beta.length; t++) alphaBar[t] = alphaBar[t - 1] * (1 - beta[t - 1]);
  return alphaBar;
}

export function linearSchedule(T, beta1, betaT) {
  const step = T > 1 ? (betaT - beta1) / (T - 1) : 0;
  // From both ends, as torch.linspace does, so that the last beta is exactly betaT.
  const beta = (i) => (i < T / 2 ? beta1 + step * i : betaT - step * (T - 1 - i));
  return fromBeta(Float64Array.from({ length: T }, (_, i) => (T > 1 ? beta(i) : beta1)));
}

export function cosineSchedule(T, offset = 0.008, maxBeta = 0.999) {
  const f = (t) => Math.cos(((t / T + offset) / (1 + offset)) * (Math.PI / 2)) ** 2;
  const beta = (t) => Math.min(1 - f(t) / f(t - 1), maxBeta);
  return fromBeta(Float64Array.from({ length: T }, (_, i) => beta(i + 1)));
}

export function vpSchedule(T, betaMin = 0.1, betaMax = 20) {
  const at = (u) => Math.exp(-betaMin * u - ((betaMax - betaMin) * u * u) / 2);
  return Float64Array.from({ length: T + 1 }, (_, t) => at(t / T));
}

export function makeSchedule(kind, T, beta1, betaT) {
  if (kind === "cosine") return cosineSchedule(T);
  if (kind === "vp") return vpSchedule(T);
  return linearSchedule(T, beta1, betaT);
}

// beta at the times 0..T, with beta[0] = 0; 1 once nothing at all is left.
export function betas(alphaBar) {
  return alphaBar.map((a, t) => (t === 0 ? 0 : alphaBar[t - 1] > 0 ? 1 - a / alphaBar[t - 1] : 1));
}

// log(alpha_bar / (1 - alpha_bar)); infinite at t = 0.
export function logSnr(alphaBar) {
  return alphaBar.map((a) => Math.log(a / (1 - a)));
}
