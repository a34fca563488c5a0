// A picture that answers to the mouse and the finger.

const REACH = 6; // CSS pixels that a finger may stray before it is a swipe

// Calls `move(event)` where the mouse or a finger points in the canvas, and goes on while it is
// dragged. A finger that swipes up or down scrolls the page and moves nothing: only a tap, or a drag
// that begins sideways, does. `save()` gives what `restore(saved)` puts back if the page takes a
// drag away after all.
export function pointing(canvas, { move, save, restore }) {
  canvas.style.touchAction = "pan-y pinch-zoom";
  let drag = null; // { id, x, y, saved, begun }
  const begin = (event) => {
    drag.begun = true;
    drag.saved = save();
    canvas.setPointerCapture(event.pointerId);
    move(event);
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (drag || event.button !== 0) return;
    drag = { id: event.pointerId, x: event.clientX, y: event.clientY, begun: false };
    if (event.pointerType !== "touch") begin(event);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (drag?.id !== event.pointerId) return;
    if (drag.begun) return move(event);
    const [across, down] = [Math.abs(event.clientX - drag.x), Math.abs(event.clientY - drag.y)];
    if (Math.max(across, down) <= REACH) return;
    if (across > down) begin(event);
    else drag = null;
  });
  canvas.addEventListener("pointerup", (event) => {
    if (drag?.id !== event.pointerId) return;
    if (!drag.begun) move(event); // a tap
    drag = null;
  });
  canvas.addEventListener("pointercancel", (event) => {
    if (drag?.id !== event.pointerId) return;
    if (drag.begun) restore(drag.saved);
    drag = null;
  });
}
