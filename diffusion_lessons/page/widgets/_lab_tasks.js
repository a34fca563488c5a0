// What the tasks of the DigitLab compute. Each is a list of lanes, computed one after the other:
// { name, by, labels, walk }, where `by` names a network, which comes when its turn has come, and
// `walk(network)` is one of the kit's walks.

import {
  ddimInvert,
  ddimStep,
  ddpmStep,
  keeping,
  restore,
  RowGenerator,
  slerp,
  stepwise,
} from "kit";

export const COUNT = 6; // pictures of a task
const BESIDE = 3; // of each method, where methods are compared
const DDPM_STEPS = 100; // in that comparison: ten times DDIM's usual number
export const FEW = [1, 2, 4]; // calls of the networks that were trained for few, there

const upTo = (count) => Array.from({ length: count }, (_, i) => i);
const repeated = (row, count) => {
  const rows = new Float32Array(row.length * count);
  for (let i = 0; i < count; i++) rows.set(row, i * row.length);
  return rows;
};
const withLabel = (label, count) => Array.from({ length: count }, () => (label < 0 ? null : label));

// The numbers that the command gives the pictures of a class, so that it draws the same ones.
export const numbersOf = (label, count) => upTo(count).map((i) => Math.max(label, 0) * 1000 + i);

const ruleOf = ({ sampler, eta }) => (sampler === "ddpm" ? ddpmStep : ddimStep(eta));

// A network of the learner's own beside the others: it may not know the class asked for. In its usual
// way, if it has one.
function ownLane({ name, classes, T, usual }, given, steps) {
  const labels = given.labels.map((k) => (k === null || k >= classes ? null : k));
  const way = usual ?? { steps: Math.min(steps, T) };
  const walk = (network) => network.walk({ ...given, labels, ...way });
  return { name: usual ? name : `DDIM with ${name}`, by: name, labels, walk };
}

// What a task works with is `diffusion`, digits-ddpm or the learner's own network; `own` is that one.
export const TASKS = {
  restore: {
    title: "Restore",
    uses: ["diffusion", "picture", "t", "label", "scale", "steps", "sampler", "eta", "seed"],
    words:
      "Your digit is noised up to time t, and the network walks back from there, six times with other noise. A small t keeps what you drew, a larger one only its outline, and t = 1000 nothing (SDEdit, arXiv 2108.01073).",
    lanes({ diffusion, t, label, scale, steps, sampler, eta, seed, picture }) {
      const labels = withLabel(label, COUNT);
      const walk = (model) =>
        restore(
          model.guided(labels, label < 0 ? 1 : scale),
          repeated(picture, COUNT),
          t,
          model.schedule,
          Math.min(steps, t),
          new RowGenerator(seed, upTo(COUNT)),
          model.sampler(sampler, eta),
        );
      return [{ name: "restored", by: diffusion, labels, walk }];
    },
  },
  fill: {
    title: "Fill in",
    uses: ["diffusion", "picture", "hole", "label", "scale", "steps", "sampler", "eta", "seed"],
    samplers: ["ddpm", "ddim"],
    words:
      "Cut a hole into your digit. The network walks from pure noise, and at every step the part that is known is put in again, noised as much as the rest (RePaint, arXiv 2201.09865).",
    lanes(settings) {
      const { diffusion, label, scale, steps, seed, picture, known } = settings;
      const labels = withLabel(label, COUNT);
      const rule = keeping(repeated(picture, COUNT), repeated(known, COUNT), ruleOf(settings));
      function walk(model) {
        const generator = new RowGenerator(seed, upTo(COUNT));
        const x_T = model.noise(generator, COUNT);
        const guided = model.guided(labels, label < 0 ? 1 : scale);
        return stepwise(rule)(guided, x_T, model.schedule, model.schedule.times(steps), generator);
      }
      return [{ name: "filled in", by: diffusion, labels, walk }];
    },
  },
  draw: {
    title: "New digits",
    uses: ["network", "label", "scale", "steps", "sampler", "eta", "seed"],
    words: "Six digits out of noise, as the command draws them: the same seed gives the same pictures.",
    lanes({ network, label, scale, steps, sampler, eta, seed }) {
      const numbers = numbersOf(label, COUNT);
      const any = network === "digits-vae" && label < 0; // it always wants to know the class
      const labels = any ? upTo(COUNT) : withLabel(label, COUNT);
      const given = { labels, numbers, seed, steps, sampler, eta, scale: label < 0 ? 1 : scale };
      return [{ name: "drawn", by: network, labels, walk: (model) => model.walk(given) }];
    },
  },
  blend: {
    title: "Blend",
    uses: ["diffusion", "label", "scale", "steps", "seed", "other"],
    words:
      "Two noises, and five between them on the great circle through both. DDIM turns each into a digit without drawing more noise, so neighbours in noise become neighbours in looks (arXiv 2010.02502, section 5.3).",
    lanes({ diffusion, label, scale, steps, seed, other }) {
      const count = COUNT + 1;
      const labels = withLabel(label, count);
      function walk(model) {
        const [a, b] = [seed, other].map((s) => model.noise(new RowGenerator(s, [0]), 1));
        const x_T = new Float32Array(count * a.length);
        for (const i of upTo(count)) x_T.set(slerp(a, b, i / (count - 1)), i * a.length);
        const times = model.schedule.times(steps);
        const guided = model.guided(labels, label < 0 ? 1 : scale);
        return model.sampler("ddim", 0)(guided, x_T, model.schedule, times, null);
      }
      const captions = upTo(count).map((i) => `${Math.round((100 * i) / (count - 1))} %`);
      return [{ name: "blended", by: diffusion, labels, captions, walk }];
    },
  },
  invert: {
    title: "Invert",
    uses: ["diffusion", "picture", "label", "steps", "seed"],
    words:
      "DDIM walked backwards finds the noise that your digit comes from, and walked forwards makes your digit of it again; more steps, smaller error. Ask for a class, and the same noise is drawn as that class beside it.",
    lanes({ diffusion, label, steps, seed, picture }) {
      const labels = label < 0 ? [null] : [null, label];
      async function* thereAndBack(model) {
        const times = model.schedule.times(steps);
        const generator = new RowGenerator(seed, [0]);
        let top;
        for await (top of ddimInvert(model.denoiser([null]), picture, model.schedule, times, generator)) {
          yield { ...top, x: repeated(top.x, labels.length), x0Hat: repeated(top.x0Hat, labels.length) };
        }
        const code = repeated(top.x, labels.length);
        const back = model.sampler("ddim", 0)(model.denoiser(labels), code, model.schedule, times, null);
        for await (const step of back) yield { ...step, calls: top.calls + step.calls };
      }
      const captions = label < 0 ? ["rebuilt"] : ["rebuilt", `as ${label}`];
      return [{ name: "rebuilt", by: diffusion, labels, captions, walk: thereAndBack }];
    },
  },
  compare: {
    title: "Compare",
    uses: ["label", "steps", "calls", "seed"],
    words: `Three digits from one seed, by each of several ways. What costs time is how often a network is called, one call after the other. The networks of consistency and reflow were trained for few calls (arXiv 2303.01469, 2209.03003); DDIM takes the steps that you set, and DDPM ${DDPM_STEPS}.`,
    lanes({ label, steps, calls, seed, own }) {
      const numbers = numbersOf(label, BESIDE);
      const labels = label < 0 ? numbers : withLabel(label, BESIDE);
      const given = { labels, numbers, seed };
      const lane = (name, by, way = {}) => ({
        name,
        by,
        labels,
        walk: (network) => network.walk({ ...given, ...way }),
      });
      return [
        lane("VAE", "digits-vae"),
        lane("Consistency", "digits-consistency", { steps: calls }),
        lane("Reflow", "digits-reflow", { steps: calls }),
        lane("Denoising diffusion GAN", "digits-ddgan"),
        lane("DDIM", "digits-ddpm", { steps }),
        lane("DDPM", "digits-ddpm", { steps: DDPM_STEPS, sampler: "ddpm" }),
        ...(own ? [ownLane(own, given, steps)] : []),
      ];
    },
  },
};
