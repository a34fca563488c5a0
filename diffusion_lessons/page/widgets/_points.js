// Points [x, y, class] that are set in a plane, with mouse, finger, pen and keyboard.

import { clamp } from "kit";

const GRAB = 12; // CSS pixels around a point that belong to it
const APART = 0.25; // of points that are laid in one stroke
const SWIPE = 6; // CSS pixels that a finger may stray before it is a swipe
const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

// `get()` and `set(points, quietly)` reach the points, `plot()` is the axes they are drawn in, `kind()`
// the class of new ones, `say(text)` tells what happened, `changed()` that the cross moved. Returns
// `edit(points)`, `undo()`, whether there is anything to undo, and the cross of the keyboard.
export function pointsEditor({ canvas, reach, most, get, set, plot, kind, say, changed }) {
  const before = []; // earlier points, for undo
  const cross = { x: 0, y: 0 };
  const round = (x) => clamp(Number(x.toFixed(2)), -reach, reach);

  function remember(points) {
    if (JSON.stringify(points) !== JSON.stringify(get())) before.push(points);
    if (before.length > 200) before.shift();
  }
  function edit(points, words) {
    const old = get();
    set(points.slice(0, most));
    remember(old);
    say(words);
  }
  function undo() {
    if (!before.length) return say("Nothing to undo.");
    set(before.pop());
    say(`Undone: ${amount(get().length)}.`);
  }
  const amount = (n) => `${n} ${n === 1 ? "point" : "points"}`;

  // ---------------------------------------------------------------- mouse, finger, pen

  function placeOf(event) {
    const box = canvas.getBoundingClientRect();
    const { left, right, top, bottom } = plot().box;
    const across = (event.clientX - box.left - left) / (right - left);
    const up = (bottom - (event.clientY - box.top)) / (bottom - top);
    return [round(reach * (2 * across - 1)), round(reach * (2 * up - 1))];
  }
  function hit([x, y]) {
    const unit = plot().X(1) - plot().X(0);
    const distances = get().map(([px, py]) => Math.hypot(px - x, py - y) * unit);
    const nearest = distances.indexOf(Math.min(...distances));
    return distances[nearest] <= GRAB ? nearest : -1;
  }
  function lay([x, y]) {
    if (get().length < most) set([...get(), [x, y, kind()]], true);
    else say(`No more than ${amount(most)}.`);
  }

  // A press on a point takes it along, or removes it if it is not moved; one elsewhere lays a point,
  // and more on its way. A finger that swipes up or down scrolls the page: only a tap, or a drag that
  // begins sideways, counts.
  let drag = null; // { id, x, y, old, taken, last, moved }
  function begin(event, at) {
    const place = placeOf(at);
    Object.assign(drag, { old: get(), taken: hit(place), last: place, moved: false });
    if (event !== at || event.type !== "pointerup") canvas.setPointerCapture(event.pointerId);
    if (drag.taken < 0) lay(place);
  }
  function go(event) {
    const [x, y] = placeOf(event);
    const far = Math.hypot(x - drag.last[0], y - drag.last[1]);
    if (drag.taken >= 0) {
      if (!drag.moved && far < 0.04) return;
      drag.moved = true;
      set(get().map((point, k) => (k === drag.taken ? [x, y, point[2]] : point)), true);
    } else if (far >= APART) {
      drag.last = [x, y];
      lay([x, y]);
    }
  }
  function finish() {
    const { old, taken, moved } = drag;
    drag = null;
    const removed = taken >= 0 && !moved;
    set(removed ? get().filter((_, k) => k !== taken) : [...get()]);
    remember(old);
    say(`${removed ? "Removed" : moved ? "Moved" : "Added"}: ${amount(get().length)}.`);
  }
  const listeners = {
    pointerdown(event) {
      if (drag || event.button !== 0) return;
      drag = { id: event.pointerId, x: event.clientX, y: event.clientY, old: null };
      if (event.pointerType !== "touch") begin(event, event);
    },
    pointermove(event) {
      if (drag?.id !== event.pointerId) return;
      if (drag.old) return go(event);
      const [across, down] = [Math.abs(event.clientX - drag.x), Math.abs(event.clientY - drag.y)];
      if (Math.max(across, down) <= SWIPE) return;
      if (down >= across) return (drag = null);
      begin(event, { clientX: drag.x, clientY: drag.y });
      go(event);
    },
    pointerup(event) {
      if (drag?.id !== event.pointerId) return;
      if (!drag.old) begin(event, event); // a tap
      finish();
    },
    pointercancel(event) {
      if (drag?.id !== event.pointerId) return;
      if (drag.old) set(drag.old);
      drag = null;
    },
  };

  // ---------------------------------------------------------------- keyboard

  const keys = {
    add() {
      const place = [cross.x, cross.y];
      if (get().length >= most) return say(`No more than ${amount(most)}.`);
      edit([...get(), [...place, kind()]], `Added at ${place.join(", ")}: ${amount(get().length + 1)}.`);
    },
    remove() {
      const taken = hit([cross.x, cross.y]);
      if (taken < 0) return say("No point at the cross.");
      const left = get().filter((_, k) => k !== taken);
      edit(left, `Removed: ${amount(left.length)}.`);
    },
  };
  listeners.keydown = (event) => {
    const step = STEPS[event.key];
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z") {
      event.stopPropagation(); // it is not the notebook's
      undo();
    } else if (event.ctrlKey || event.metaKey || event.altKey) return;
    else if (step) {
      const far = event.shiftKey ? 0.5 : 0.1;
      cross.x = round(cross.x + far * step[0]);
      cross.y = round(cross.y + far * step[1]);
      changed();
    } else if (event.key === "Enter" || event.key === " ") keys.add();
    else if (event.key === "Delete" || event.key === "Backspace") keys.remove();
    else return;
    event.preventDefault();
  };
  listeners.focus = listeners.blur = changed;
  for (const [name, listener] of Object.entries(listeners)) canvas.addEventListener(name, listener);
  return { edit, undo, cross, canUndo: () => before.length > 0 };
}
