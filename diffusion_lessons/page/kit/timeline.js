// What passes in time: a play button, and the slider that it moves.

import { button, slider } from "./controls.js";
import { h, icon } from "./elements.js";

const reducedMotion = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

const [PLAY, PAUSE] = ["M2 0 12 6 2 12Z", "M1 0H4V12H1ZM8 0H11V12H8Z"];

const HOLD = 4; // seconds for which a film that plays by itself rests on its last picture

// A play / pause button that walks a value from `first` to `last()`. Nothing starts by itself, and
// for readers who asked for less motion it moves in a few calm jumps. With `auto` it plays over and
// over, until paused, while `root` is on the screen; for those readers it then waits at its end. Of
// several players with one `stand`, whichever was started last plays.
export function player({ root, get, set, first, last, seconds, auto = false, stand = {} }) {
  const element = button("", () => (playing ? stop() : start()), { "data-name": "play" });
  let playing = false;
  let running = 0;
  let seen = !auto;
  const face = () => {
    element.replaceChildren(icon(playing ? PAUSE : PLAY), playing ? "Pause" : "Play");
  };
  function run() {
    cancelAnimationFrame(running);
    if (!playing || !seen) return;
    let from = get() >= last() ? first : get();
    let begun = null;
    let shown = -Infinity;
    const pause = reducedMotion() ? 700 : 0;
    const tick = (now) => {
      begun ??= now;
      const gone = (now - begun) / 1000;
      const speed = Math.max(last() - first, 1) / seconds();
      const value = Math.min(from + gone * speed, last());
      const done = value >= last();
      if (done || now - shown >= pause) {
        shown = now;
        if (Math.round(value) !== get()) set(Math.round(value));
      }
      if (done && !(auto && !pause)) return stop();
      if (done && gone > HOLD + (last() - from) / speed) [from, begun] = [first, now];
      running = requestAnimationFrame(tick);
    };
    running = requestAnimationFrame(tick);
  }
  function stop() {
    if (!playing) return;
    playing = false;
    run();
    face();
  }
  function start() {
    if (stand.stop !== stop) stand.stop?.();
    stand.stop = stop;
    playing = true;
    run();
    face();
  }
  face();
  if (!auto) return { element, stop, end: stop };

  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const choose = () => {
    if (!still.matches) return start();
    stop();
    set(last());
  };
  // A hidden page runs no animation frames; one that is scrolled away does.
  const sight = new IntersectionObserver(([entry]) => {
    seen = entry.isIntersecting;
    run();
  });
  sight.observe(root);
  still.addEventListener("change", choose);
  choose();
  return {
    element,
    stop,
    end() {
      stop();
      sight.disconnect();
      still.removeEventListener("change", choose);
    },
  };
}

// Time: a play button and the slider that it moves. `get` and `set` are those of the model's `name`
// unless said otherwise. A film that plays by itself has nothing to tell Python.
export function timeline({ view, name, min = 0, seconds, auto, get, set, ...rest }) {
  get ??= () => view.get(name);
  set ??= (value, options) => view.set({ [name]: value }, options);
  const time = slider({
    name,
    min,
    ...rest,
    onInput(value) {
      play.stop();
      set(value);
    },
  });
  const last = () => Number(time.input.max);
  const play = player({
    root: view.root,
    get,
    set: (value) => set(value, { quietly: auto }),
    first: min,
    last,
    seconds,
    auto,
    stand: view.ofModel(`player of ${name}`, () => ({})),
  });
  // Who takes the thumb ends what plays before it has moved: else it would be pulled out of the hand.
  // The slider shows at once where the film is, and not with the next repaint: else a key would count
  // from a frame before, and Home at the start would be no change that the browser tells of.
  const take = () => {
    play.stop();
    time.sync(get());
  };
  time.input.addEventListener("pointerdown", take);
  time.input.addEventListener("keydown", (event) => {
    if (/^(Arrow|Page|Home|End)/.test(event.key)) take();
  });
  view.atEnd(play.end);
  const element = h("div", { class: "dl-time" }, play.element, time.element);
  return { ...time, element, stop: play.stop };
}
