"""00, Start here: the checks of its exercises."""

from itertools import pairwise
from typing import Any

from ...data import digits
from .reading import choice, has_points, integers
from .registry import Hint, exercise

LONGEST = 100  # of a step that is still one of many


@exercise("00.1")
def fresh_noise(answer: Any) -> str:
    hints = {
        "a": "the network sees only x_t. How much of the digit is left in it at t = 1000?",
        "c": "the network is told the label at every step. Does fresh noise change that?",
    }
    choice(answer, hints, "b")
    return (
        "at t = 1000 only 0.006 of a digit is left, so a noised digit is as good as fresh noise: "
        "the same classes, in another handwriting."
    )


@exercise("00.2")
def half_way(answer: Any) -> str:
    times = integers(answer)
    if len(times) < 2:
        raise Hint("a walk needs at least two times, where it starts and where it ends.")
    if times[0] < times[-1]:
        raise Hint("the walk goes from noise to data: the times must fall.")
    if times[0] != 500:
        raise Hint(f"the digits were noised up to t = 500, and this walk starts at {times[0]}.")
    step = times[0] - times[1]
    if step > 0 and times[-1] == step and times == list(range(500, 0, -step)):
        raise Hint(f"this walk ends at {step}, not at 0: `range` leaves its end out.")
    if times[-1] != 0:
        raise Hint(f"clean data is t = 0, and this walk ends at {times[-1]}.")
    if any(t <= s for t, s in pairwise(times)):
        raise Hint("each time must be smaller than the one before.")
    if len(times) < 11:
        raise Hint("this would work, but in very few, large steps. Take at least ten.")
    t, s = max(pairwise(times), key=lambda step: step[0] - step[1])
    if t - s > LONGEST:
        raise Hint(f"most steps are small, but one goes from {t} to {s}. Spread them more evenly.")
    if has_points(answer):
        raise Hint(
            "the right times, but `sample` wants them without a decimal point: "
            "`[int(t) for t in times]`."
        )
    return (
        "now look at what comes out: size, slant and place mostly survive, fine strokes often do "
        "not. Noise takes the details first and the outline last."
    )


@exercise("00.3")
def wrong_class(answer: Any) -> str:
    labels, true_labels = integers(answer), digits(train=False).labels[:6].tolist()
    if labels == [(label + 1) % 10 for label in range(10)]:
        raise Hint("these are labels for the ten digits in order. What are the six in `classes`?")
    if len(labels) != 6:
        raise Hint(f"there are six digits, so six labels are wanted, not {len(labels)}.")
    if any(not 0 <= label <= 9 for label in labels):
        raise Hint("labels lie in 0..9. What comes after 9? `% 10` takes the rest of a division.")
    if labels == true_labels:
        raise Hint("these are the right classes. Ask for wrong ones.")
    if any(label == true for label, true in zip(labels, true_labels, strict=True)):
        raise Hint("some of these are still the digit's own class.")
    if has_points(answer):
        raise Hint("good labels, but the network wants them without a decimal point: `.long()`.")
    return (
        "the network compromises: mostly the digit asked for, with the slant and the place of the "
        "one that went in. Start lower, at 300, and the old digit mostly wins."
    )
