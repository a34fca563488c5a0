// A world in which the right answer is known: mixtures of round Gaussians, as in
// diffusion_lessons/math/exact.py, under the same names. Points lie one behind the other, x, y, x, y.

// Shares that sum to 1, of `count` logarithms from a place on, written over them. Loops, for walks do
// this a million times.
function normalise(logs, from, count) {
  let top = -Infinity;
  let total = 0;
  for (let i = from; i < from + count; i++) if (logs[i] > top) top = logs[i];
  for (let i = from; i < from + count; i++) total += logs[i] = Math.exp(logs[i] - top);
  for (let i = from; i < from + count; i++) logs[i] /= total;
  return logs;
}

export const softmax = (logs) => normalise([...logs], 0, logs.length);

// `means` are [K][D], `stds` and `weights` [K]. Here a deviation may be 0, of a component that is
// one point, as long as the time is not 0 too.
export class GaussianMixture {
  constructor({ means, stds, weights }) {
    Object.assign(this, { means, stds, weights });
  }

  // log p(component k, x_t) for each row of x_t: [B x K].
  logJoint(x_t, t, schedule) {
    const [K, D] = [this.means.length, this.means[0].length];
    const alpha = schedule.alpha[t];
    const variance = this.#variances(t, schedule);
    const ofK = variance.map((v, k) => Math.log(this.weights[k]) - 0.5 * D * Math.log(2 * Math.PI * v));
    const centres = Float64Array.from(this.means.flat(), (value) => alpha * value);
    const out = new Float64Array((x_t.length / D) * K);
    for (let i = 0, row = 0; row < x_t.length; row += D) {
      for (let k = 0; k < K; k++, i++) {
        let squared = 0;
        for (let d = 0; d < D; d++) {
          const gap = x_t[row + d] - centres[k * D + d];
          squared += gap * gap;
        }
        out[i] = ofK[k] - (0.5 * squared) / variance[k];
      }
    }
    return out;
  }

  // p(component | x_t): the perfect noisy classifier.
  classPosterior(x_t, t, schedule) {
    const logs = this.logJoint(x_t, t, schedule);
    const K = this.means.length;
    for (let i = 0; i < logs.length; i += K) normalise(logs, i, K);
    return logs;
  }

  // E[x_0 | x_t]: the perfect denoiser in squared error.
  denoise(x_t, t, schedule) {
    const alpha = schedule.alpha[t];
    const pull = this.#variances(t, schedule).map((v, k) => (alpha * this.stds[k] ** 2) / v);
    return this.#mixed(x_t, t, schedule, pull, pull.map((p) => 1 - alpha * p));
  }

  denoiser(schedule) {
    return (x_t, t) => this.denoise(x_t, t, schedule);
  }

  // grad log p(x_t): the direction towards more likely points.
  score(x_t, t, schedule) {
    const precision = this.#variances(t, schedule).map((v) => 1 / v);
    const ofMean = precision.map((p) => schedule.alpha[t] * p);
    return this.#mixed(x_t, t, schedule, precision.map((p) => -p), ofMean);
  }

  // The mixture of some of its components alone.
  only(members) {
    const of = (values) => members.map((k) => values[k]);
    const total = of(this.weights).reduce((sum, weight) => sum + weight, 0);
    const weights = of(this.weights).map((weight) => weight / total);
    return new GaussianMixture({ means: of(this.means), stds: of(this.stds), weights });
  }

  // grad log p(one of the members | x_t). Bayes: what their own score has more.
  classGradient(members, x_t, t, schedule) {
    const own = this.only(members).score(x_t, t, schedule);
    const all = this.score(x_t, t, schedule);
    return own.map((value, i) => value - all[i]);
  }

  #variances(t, { alpha, sigma }) {
    return this.stds.map((std) => alpha[t] ** 2 * std ** 2 + sigma[t] ** 2);
  }

  // What the components say, by their shares: component k says ofX[k] x_t + ofMean[k] mean_k.
  #mixed(x_t, t, schedule, ofX, ofMean) {
    const [K, D] = [this.means.length, this.means[0].length];
    const shares = this.classPosterior(x_t, t, schedule);
    const said = Float64Array.from(this.means.flat(), (mean, i) => ofMean[Math.floor(i / D)] * mean);
    const out = new Float64Array(x_t.length);
    for (let i = 0, row = 0; row < x_t.length; row += D) {
      for (let k = 0; k < K; k++, i++) {
        for (let d = 0; d < D; d++) {
          out[row + d] += shares[i] * (ofX[k] * x_t[row + d] + said[k * D + d]);
        }
      }
    }
    return out;
  }
}
