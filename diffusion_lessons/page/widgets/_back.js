// One step back, from t to s < t: what PosteriorExplorer and MultimodalExplorer share.

import { between, niceValues, slider, timeline } from "kit";

// q(x_t | x_s), the likelihood, as a bell over x_s: [mean, std].
export function likelihood(xt, s, t, schedule) {
  const { alpha, sigma } = between(s, t, schedule);
  return [xt / alpha, sigma / alpha];
}

// The film of t and the slider of t - s; `earlier` is s, which is at least 1.
export function twoTimes({ model, view, T, label }) {
  const earlier = () => Math.max(1, model.get("t") - model.get("stride"));
  const time = timeline({
    view,
    name: "t",
    label: "time",
    symbol: "t",
    min: 2,
    max: T,
    seconds: () => 7,
    show: (t) => `${t} of ${T}`,
  });
  const stride = slider({
    name: "stride",
    label,
    symbol: "t − s",
    values: T > 2 ? [...new Set([...niceValues(1, T - 1, true), T - 1])] : [1],
    show: () => `${model.get("t") - earlier()}, s = ${earlier()}`,
    speak: () => `${model.get("t") - earlier()}, back to time ${earlier()}`,
    onInput: (value) => view.set({ stride: value }),
  });
  return { time, stride, earlier };
}

