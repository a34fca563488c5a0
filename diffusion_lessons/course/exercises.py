"""Exercises that answer: an attempt is checked, and one that is not right yet gets a hint.

``check("03.2", answer)`` stands at the end of an exercise's cell. A check never fails on what a
learner gives it: whatever is wrong with an answer is said in words. Each check is one function
here, called for the exercise's number; it raises `Hint` with what to think of next, or returns the
reason why the answer is right.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any

import torch
from torch import Tensor, nn

from ..data import digits
from ..math.gaussian import forward, posterior
from ..math.schedule import linear_schedule, vp_schedule
from ..measuring.metrics import precision_recall


class Hint(Exception):
    """Why an answer is not right yet, and what to think of next."""


@dataclass(frozen=True)
class Verdict:
    """What `check` answers. ``right`` is None while there is no answer."""

    name: str
    right: bool | None
    words: str

    def __str__(self) -> str:
        mark = {None: "Not answered yet", False: "Not yet", True: "Right"}[self.right]
        return f"{mark}: {self.words}"

    __repr__ = __str__

    def _repr_markdown_(self) -> str:
        mark, _, words = str(self).partition(": ")
        sign = {None: "○", False: "✗", True: "✓"}[self.right]
        return f"{sign} **{mark}.** {words}"


Check = Callable[[Any], str]
CHECKS: dict[str, Check] = {}


def check(name: str, answer: Any = None) -> Verdict:
    """Is this the answer to exercise ``name``, such as "03.2"? Raises ValueError for no exercise.

    None, or a tuple that holds None, is no answer yet.
    """
    if name not in CHECKS:
        raise ValueError(f"no exercise {name!r}; there are {', '.join(sorted(CHECKS))}")
    if answer is None or (isinstance(answer, tuple) and any(part is None for part in answer)):
        return Verdict(name, None, "put your answer in the place of None, and run the cell again.")
    try:
        with torch.random.fork_rng(devices=[]):  # a check draws numbers of its own
            return Verdict(name, True, CHECKS[name](answer))
    except Hint as hint:
        return Verdict(name, False, str(hint))
    except Exception as error:  # nothing that a learner returns may stop the notebook
        kind = type(error).__name__
        return Verdict(name, False, f"this answer could not be used ({kind}: {error}).")


def exercise(name: str) -> Callable[[Check], Check]:
    """Register the check of an exercise."""

    def register(function: Check) -> Check:
        CHECKS[name] = function
        return function

    return register


# ------------------------------------------------------------------ reading answers


def choice(answer: Any, hints: dict[str, str], right: str) -> None:
    """One letter; ``hints`` say what speaks against each of the others."""
    letters = sorted([*hints, right])
    told = answer.strip().strip("()").lower() if isinstance(answer, str) else answer
    if told not in letters:
        raise Hint(f"answer with one of the letters {', '.join(letters)}, as text.")
    if told != right:
        raise Hint(hints[told])


def number(answer: Any) -> float:
    """One finite number, in whatever way it is written."""
    try:
        value = float(answer)
    except Exception:
        kind = type(answer).__name__
        raise Hint(f"one number is wanted here, and this is a {kind}.") from None
    if not math.isfinite(value):
        raise Hint(f"the answer is {value}: somewhere it divides by 0, or takes a root below 0.")
    return value


def integers(answer: Any) -> list[int]:
    """A row of whole numbers."""
    try:
        values = [float(value) for value in islice(answer, 10_000)]
    except Exception:
        raise Hint(f"a list of whole numbers is wanted, and this is {brief(answer)}.") from None
    if any(not math.isfinite(value) or value != int(value) for value in values):
        raise Hint("all of them must be whole numbers.")
    return [int(value) for value in values]


def pair(answer: Any) -> tuple[float, float]:
    """Two numbers."""
    if not isinstance(answer, Sequence | Tensor) or isinstance(answer, str) or len(answer) != 2:
        raise Hint("two numbers are wanted, in this order: (first, second).")
    return number(answer[0]), number(answer[1])


def called(answer: Any, *given: Any, like: Tensor) -> Tensor:
    """What a learner's function makes of ``given``: float64, finite, of the shape of ``like``."""
    if not callable(answer):
        raise Hint(f"a function is wanted, and this is {brief(answer)}. Give its name, uncalled.")
    try:
        found = answer(*(part.clone() if isinstance(part, Tensor) else part for part in given))
    except (Exception, SystemExit) as error:
        raise Hint(f"your function stopped with {type(error).__name__}: {error}") from None
    if found is None:
        raise Hint("your function gives None: does it end in `return`?")
    try:
        found = torch.as_tensor(found).detach().cpu()
    except Exception:
        raise Hint(f"your function should give a tensor, and gives {brief(found)}.") from None
    if found.is_complex():
        raise Hint("the result is complex, and should be real.")
    found = found.double()
    if found.shape != like.shape:
        raise Hint(f"the result should have shape {list(like.shape)}, not {list(found.shape)}.")
    if not found.isfinite().all():
        raise Hint("the result is not finite: is there a division by 0, or a root of less than 0?")
    return found


def brief(value: Any) -> str:
    """A value in few words, whatever it is."""
    try:
        text = repr(value)
    except Exception:
        text = type(value).__name__
    return text if len(text) <= 40 else f"a {type(value).__name__}"


def near(a: float | Tensor, b: float | Tensor, tolerance: float = 1e-4) -> bool:
    """Equal up to the tolerance, everywhere."""
    gap = torch.as_tensor(a, dtype=torch.float64) - torch.as_tensor(b, dtype=torch.float64)
    return bool((gap.abs() <= tolerance).all())


def normal(*shape: int) -> Tensor:
    """The same normal numbers every time, float64."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


# ------------------------------------------------------------------ 00 start


@exercise("00.1")
def fresh_noise(answer: Any) -> str:
    hints = {
        "a": "the network sees only x_t. How much of the digit is left in it at t = 1000?",
        "c": "the network is told the label at every step. Does fresh noise change that?",
    }
    choice(answer, hints, "b")
    return (
        "at t = 1000 only 0.006 of a digit is left, so a noised digit is as good as fresh noise: "
        "the same classes, as well drawn, in another handwriting."
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
    if times[-1] != 0:
        raise Hint(f"clean data is t = 0, and this walk ends at {times[-1]}.")
    if any(t <= s for t, s in pairwise(times)):
        raise Hint("each time must be smaller than the one before.")
    if len(times) < 11:
        raise Hint("this would work, but in very few, large steps. Take at least ten.")
    return (
        "now look at what comes out: size, slant and place mostly survive, fine strokes do not. "
        "Noise takes the details first and the outline last."
    )


@exercise("00.3")
def wrong_class(answer: Any) -> str:
    asked, shown = integers(answer), digits(train=False).labels[:6].tolist()
    if len(asked) != 6:
        raise Hint(f"there are six digits, so six labels are wanted, not {len(asked)}.")
    if any(not 0 <= label <= 9 for label in asked):
        raise Hint("labels lie in 0..9. What comes after 9? `% 10` takes the rest of a division.")
    if asked == shown:
        raise Hint("these are the right classes. Ask for wrong ones.")
    if any(label == real for label, real in zip(asked, shown, strict=True)):
        raise Hint("some of these are still the digit's own class.")
    return (
        "the network compromises: the digit asked for, with the slant and the place of the one "
        "that went in. Start lower, at 300, and the old digit wins."
    )


# ------------------------------------------------------------------ 01 forward noising


@exercise("01.1")
def equally_strong(answer: Any) -> str:
    t, alpha_bar = number(answer), linear_schedule().alpha_bar
    if t != int(t) or not 0 <= t <= 1000:
        raise Hint("a time is a whole number in 0..1000.")
    share = float(alpha_bar[int(t)])
    if int(t) not in (258, 259):
        word = "early: the signal is still stronger" if share > 0.5 else "late: the noise has won"
        raise Hint(f"at t = {int(t)} alpha_bar is {share:.3f}. Too {word}.")
    return "a quarter of the way, and half of the variance is noise already."


@exercise("01.2")
def betas_for_100_steps(answer: Any) -> str:
    beta_T = number(answer)
    if not 0 < beta_T < 1:
        raise Hint("beta is the variance added by one step: it lies between 0 and 1.")
    left = float(linear_schedule(100, beta_T=beta_T).alpha_bar[-1].sqrt())
    if not 0.0095 <= left <= 0.0105:
        word = "larger" if left > 0.01 else "smaller"
        raise Hint(f"this leaves {left:.4f} of the picture, and 0.01 is wanted: try a {word} one.")
    return "when T shrinks ten times, the betas must grow about ten times."


@exercise("01.3")
def jump_between(answer: Any) -> str:
    factor, std = pair(answer)
    step = forward(torch.ones(1).double(), 100, 300, linear_schedule())
    right = float(step.mean), float(step.std)
    if near(factor, right[0] ** 2, 1e-3):
        raise Hint("this factor is the ratio of the alpha_bars. It multiplies x, not its variance.")
    if near(factor, 1 / right[0], 1e-2):
        raise Hint("the factor is upside down: less must be left at t than at s.")
    if not near(factor, right[0], 1e-3):
        raise Hint("the factor times sqrt(alpha_bar_s) must be sqrt(alpha_bar_t).")
    if near(std, right[1] ** 2, 1e-3):
        raise Hint("the factor is right; the second number is the variance. Take its root.")
    if not near(std, right[1], 1e-3):
        raise Hint(
            "the factor is right. For the noise: factor^2 (1 - alpha_bar_s), which x_s has "
            "already, plus what is added must be 1 - alpha_bar_t."
        )
    return "forward(x, 100, 300, schedule) has just this mean and standard deviation."


@exercise("01.4")
def mended_noising(answer: Any) -> str:
    x_0, noise = normal(2, 1000)
    for value in (0.4, 0.9):
        a = torch.tensor(value, dtype=torch.float64)
        found = called(answer, x_0, noise, a, like=x_0)
        if near(found, a * x_0 + (1 - a) * noise):
            raise Hint("this is the faulty line itself: its squares do not sum to 1.")
        if near(found, a * x_0 + (1 - a).sqrt() * noise):
            raise Hint("the noise is right, the picture is not: its squares must sum to 1 as well.")
        if near(found, a.sqrt() * x_0 + (1 - a) * noise):
            raise Hint("the picture is right. What is the variance of the noise here?")
        if near(found, (1 - a).sqrt() * x_0 + a.sqrt() * noise):
            raise Hint("the two coefficients are exchanged: at alpha_bar = 1 there is no noise.")
        if not near(found, a.sqrt() * x_0 + (1 - a).sqrt() * noise):
            raise Hint("compare with equation 4 of the paper, root by root.")
    return "the squares of the coefficients sum to 1, so the variance stays 1."


# ------------------------------------------------------------------ 02 DDPM


@exercise("02.1")
def blind_guess(answer: Any) -> str:
    hints = {
        "a": "squared error is smallest for the mean. Is one certain digit the mean of all digits?",
        "b": "it has never seen this picture, but it knows what digits look like on average.",
    }
    choice(answer, hints, "c")
    return (
        "nothing is known yet, and the mean of all digits is the best answer in squared error. (At "
        "t = 1000 it is grainy: the network's own errors are enlarged 157 times.)"
    )


@exercise("02.2")
def where_clipping_helps(answer: Any) -> str:
    hints = {
        "a": "look at `steps[-1].x.abs().max()`: is it far above 1?",
        "c": "look at `steps[0].x0_hat.abs().max()`, the guess at the start of the walk.",
    }
    choice(answer, hints, "b")
    return (
        "the wild guesses stand at the start of the walk, and a well trained network repairs them "
        "in its later steps; clipping is insurance."
    )


@exercise("02.3")
def weights_at_1(answer: Any) -> str:
    weight_0, weight_t = pair(answer)
    one, zero = torch.ones(1).double(), torch.zeros(1).double()
    schedule = linear_schedule()
    right = (
        float(posterior(zero, one, 1, 0, schedule).mean),
        float(posterior(one, zero, 1, 0, schedule).mean),
    )
    if near(weight_0, right[1], 1e-6) and near(weight_t, right[0], 1e-6):
        raise Hint("exchanged: first the weight of x_0, then that of x_t.")
    if not near(weight_t, right[1], 1e-6):
        raise Hint("the weight of x_t has the factor 1 - alpha_bar_{t-1}. What is alpha_bar_0?")
    if not near(weight_0, right[0], 1e-6):
        raise Hint("for x_0: alpha_bar_0 = 1, and beta_1 over 1 - alpha_bar_1 is ...?")
    return "whatever x_1 is, the last step ends on the guess itself."


@exercise("02.4")
def times_to_train(answer: Any) -> str:
    B = 200_000
    t = called(answer, B, like=torch.zeros(B))
    if (t != t.round()).any():
        raise Hint("times are whole numbers.")
    low, high = int(t.min()), int(t.max())
    if low < 1:
        raise Hint(f"it draws t = {low}, where there is no noise to be named.")
    if high > 1000:
        raise Hint(f"it draws t = {high}, beyond the schedule.")
    if high < 1000:
        raise Hint(
            f"its largest time in {B:,} draws is {high}, but every sample starts at 1000. "
            "`torch.randint` leaves its upper bound out."
        )
    if low > 1:
        raise Hint(f"its smallest time in {B:,} draws is {low}: the last step is never trained.")
    counts = torch.bincount(t.long(), minlength=1001)[1:]
    if counts.max() > 2 * counts.min().clamp(min=1):
        raise Hint("some times come far more often than others; the loss wants them evenly.")
    return "every time from 1 to T, both included, equally often."


# ------------------------------------------------------------------ 03 DDIM


@exercise("03.1")
def minus_the_noise(answer: Any) -> str:
    hints = {
        "a": "the network has only ever seen white digits on black. Would it know a negative?",
        "b": "with eta = 0 the noise decides everything, and this is another noise.",
    }
    choice(answer, hints, "c")
    return (
        "white digits on black, as ever, but other ones. A code has a meaning only through the "
        "network."
    )


@exercise("03.2")
def middle_time(answer: Any) -> str:
    times = integers(answer)
    if len(times) != 3 or times[0] != 1000 or times[2] != 0:
        raise Hint("the whole list is wanted: 1000, a time between, 0.")
    if times[1] not in (900, 500, 250):
        raise Hint("choose the middle time among 900, 500 and 250.")
    if times[1] == 900:
        raise Hint("the second call draws the finished picture. What is decided at 900?")
    if times[1] == 500:
        raise Hint(
            "better than 900, but look again: which leaves the least open for the last call?"
        )
    return "the second call answers with a mean, and at 250 little is left open."


@exercise("03.3")
def step_up(answer: Any) -> str:
    x_s, noise = normal(2, 6)
    a_s, a_t = torch.tensor(0.8).double(), torch.tensor(0.3).double()
    found = called(answer, x_s, noise, a_s, a_t, like=x_s)
    x_0 = (x_s - (1 - a_s).sqrt() * noise) / a_s.sqrt()
    if near(found, a_t.sqrt() * x_s + (1 - a_t).sqrt() * noise):
        raise Hint("x_s was put in the place of x_0. Find x_0 from x_s and the noise first.")
    if near(found, x_0):
        raise Hint("this is x_0. Now noise it up to t, with the same noise.")
    if near(found, (a_t / a_s).sqrt() * x_s + (1 - a_t / a_s).sqrt() * noise):
        raise Hint("this is the forward process, which adds fresh noise. Here it stays the same.")
    if not near(found, a_t.sqrt() * x_0 + (1 - a_t).sqrt() * noise):
        raise Hint(
            "equation 12 with s and t exchanged, sigma = 0: sqrt(a_t) x_0 + sqrt(1 - a_t) noise."
        )
    return "the same formula, s and t exchanged; with the same noise it undoes the step down."


@exercise("03.4")
def direction(answer: Any) -> str:
    for a, s in [(0.9, 0.2), (0.5, 0.6)]:
        a_s, sigma = torch.tensor(a).double(), torch.tensor(s).double()
        found = called(answer, a_s, sigma, like=a_s)
        if near(found, (1 - a_s).sqrt()):
            raise Hint("this is the faulty factor: it makes no room for the fresh noise.")
        if near(found, (1 - a_s).sqrt() - sigma):
            raise Hint("it is variances that add up, not standard deviations.")
        if near(found, 1 - a_s - sigma**2):
            raise Hint("the variance is right; the factor is its root.")
        if not near(found, (1 - a_s - sigma**2).sqrt()):
            raise Hint("old and new noise together must have the variance 1 - alpha_bar_s.")
    return "old noise (1 - a_s - sigma^2) and new (sigma^2) together have just 1 - a_s."


# ------------------------------------------------------------------ 04 the U-Net


@exercise("04.1")
def where_the_label_matters(answer: Any) -> str:
    t = number(answer)
    if t not in (1, 300, 900):
        raise Hint("one of the three times: 1, 300 or 900.")
    if t == 1:
        raise Hint("at t = 1 the digit is there to be seen. What could the label add?")
    if t == 300:
        raise Hint(
            "in the predicted noise, yes. But multiply by sqrt((1 - alpha_bar) / alpha_bar), which "
            "is what it means for the picture x0_hat."
        )
    return (
        "the label tells the network something where the picture does not. In the noise the change "
        "is small at 900, but there it is enlarged 20 times on its way to the picture."
    )


@exercise("04.2")
def weights_of_heads(answer: Any) -> str:
    hints = {
        "a": "count them: sum(p.numel() for p in model.parameters()), for both.",
        "b": "count them: sum(p.numel() for p in model.parameters()), for both.",
    }
    choice(answer, hints, "c")
    return "heads share out the same channels; queries, keys and values are as long as before."


@exercise("04.3")
def factor_of_the_logits(answer: Any) -> str:
    factor = number(answer)
    if near(factor, 2):
        raise Hint("the queries are halved, and so are the keys.")
    if near(factor, 0.25):
        raise Hint("that is what they have become. By what must they be multiplied?")
    if near(factor, 16):
        raise Hint("the sum over the channels does not change the factor: each term has it once.")
    if not near(factor, 4):
        raise Hint("q k is bilinear: (q / 2) (k / 2) is ...?")
    return "without it the weights spread: softmax of smaller differences is more even."


@exercise("04.4")
def mended_adagn(answer: Any) -> str:
    torch.manual_seed(0)
    norm = nn.GroupNorm(2, 4, affine=False).double()
    h, y_s, y_b = normal(3, 2, 4, 5, 5)
    y_s, y_b = 1 + y_s[..., :1, :1], y_b[..., :1, :1]
    found = called(answer, norm, h, y_s, y_b, like=h)
    if near(found, norm(y_s * h + y_b)):
        raise Hint("this is the faulty line: the norm comes last and undoes scale and shift.")
    if near(found, norm(h + y_b)):
        raise Hint("this is DDPM's addition. AdaGN scales, and after the norm.")
    if near(found, y_s * h + y_b):
        raise Hint("scale and shift are right, but what became of the norm?")
    if near(found, y_s * (norm(h) + y_b)):
        raise Hint("nearly: the shift is not to be scaled.")
    if not near(found, y_s * norm(h) + y_b):
        raise Hint("AdaGN(h, y) = y_s GroupNorm(h) + y_b, in this order.")
    return "first normalise, then scale and shift: what the time says is the last word."


# ------------------------------------------------------------------ 05 guidance


@exercise("05.1")
def negative_scale(answer: Any) -> str:
    hints = {
        "a": "the classifier says which digit not. Who sees to it that it is a digit?",
        "b": "at a negative scale the push goes down the gradient of log p(y | x_t).",
    }
    choice(answer, hints, "c")
    return "good digits, each pushed away from the class that was asked for."


@exercise("05.2")
def which_half(answer: Any) -> str:
    hints = {"b": "compare the two accuracies. Which half, alone, gives more right classes?"}
    choice(answer, hints | {"c": "run both: are the two accuracies really equal?"}, "a")
    return (
        "the outline is decided while there is much noise, and with it most classes; later a push "
        "can still turn a 9 into a 4, but hardly a 0 into a 1."
    )


@exercise("05.3")
def either_class(answer: Any) -> str:
    four, nine = torch.tensor([[-0.1, -3.0, -1.0], [-2.0, -0.2, -1.5]]).double()
    found = called(answer, four, nine, like=four)
    if near(found, four + nine):
        raise Hint("this is log(p4 p9), a 4 *and* a 9. Probabilities of either are added.")
    if near(found, (four + nine) / 2):
        raise Hint("the mean of the logarithms is the log of a product again.")
    if near(found, torch.maximum(four, nine)):
        raise Hint("only the likelier one counts here; whoever is half way should keep both.")
    if near(found, four.exp() + nine.exp()):
        raise Hint("this is p4 + p9; its logarithm is wanted.")
    if not near(found, torch.logaddexp(four, nine)):
        raise Hint("log(exp(log p4) + exp(log p9)).")
    tiny = torch.full((2,), -2000.0).double()  # no exponential is above 0 there
    try:
        called(answer, tiny, tiny, like=tiny)
    except Hint:
        raise Hint(
            "right, but far from both classes the exponentials are 0 and their logarithm is "
            "infinite: torch.logaddexp(a, b) takes care of that."
        ) from None
    return "its gradient is the mean of the two pushes, weighted by how likely each is already."


@exercise("05.4")
def mended_push(answer: Any) -> str:
    mu, gradient = normal(2, 6)
    std, scale = torch.tensor(0.1).double(), 3.0
    found = called(answer, mu, std, gradient, scale, like=mu)
    if near(found, mu + scale * std * gradient):
        raise Hint("this is the faulty line: Sigma is a variance.")
    if near(found, mu - scale * std**2 * gradient):
        raise Hint("the sign: the gradient of log p points to where the class is likelier.")
    if near(found, mu + std**2 * gradient):
        raise Hint("right for s = 1. Where is the scale?")
    if near(found, mu + scale**2 * std**2 * gradient):
        raise Hint("the scale multiplies the gradient once; only std is squared.")
    if not near(found, mu + scale * std**2 * gradient):
        raise Hint("mu + s Sigma grad log p(y | x), with Sigma = std^2.")
    return "Sigma is the variance; with its root the push grows as the steps shrink."


# ------------------------------------------------------------------ 06 denoising diffusion GANs


@exercise("06.1")
def one_z_for_all(answer: Any) -> str:
    hints = {
        "a": "with one z every point that stands at x_t makes the same choice. Are all still made?",
        "c": "is z the only thing that is random? Look at x_T, and at the posterior.",
    }
    choice(answer, hints, "b")
    return (
        "x_T and the posterior's noise still differ from point to point, but each step chooses in "
        "the same way, and whole Gaussians are passed over."
    )


@exercise("06.2")
def cost_of_a_call(answer: Any) -> str:
    ratio = number(answer)
    if near(ratio, 383, 1):
        raise Hint("this is how many times faster it is. Now divide by how many calls fewer.")
    if near(ratio, 250, 1):
        raise Hint("this is how many calls fewer. Divide the speed-up by it.")
    if near(ratio, 250 / 383.3, 0.02):
        raise Hint("upside down: the speed-up divided by the ratio of the calls.")
    if not near(ratio, 1.533, 0.02):
        raise Hint("80.5 s for 1000 calls, 0.21 s for 4: compare what one call costs.")
    return "nearly all of the gain comes from the 250 times fewer calls."


@exercise("06.3")
def covariances(answer: Any) -> str:
    true, fresh = pair(answer)
    if near(true, 0.4, 0.005) and near(fresh, 0.5, 0.005):
        raise Hint("exchanged: first the true pairs, then those with fresh noise.")
    if near(true, 0.25, 0.005):
        raise Hint("a_t / a_s is a ratio of variances. Which factor multiplies x_s itself?")
    if not near(true, 0.5, 0.005):
        raise Hint("true pairs: x_t = sqrt(a_t / a_s) x_s + fresh noise, and x_s has variance 1.")
    if near(fresh, 0.16, 0.005):
        raise Hint("the first is right. In the second x_0 has the factors' roots in both.")
    if not near(fresh, 0.4, 0.005):
        raise Hint("the first is right. With fresh noise only x_0 is in common: which factors?")
    return "a discriminator that sees pairs can tell them apart; x_s alone would look the same."


@exercise("06.4")
def mended_fake(answer: Any) -> str:
    schedule = vp_schedule(4)
    x_t, x_0 = normal(2, 5, 2)
    found = called(answer, x_t, x_0, 3, 2, schedule, like=x_t)
    if near(found, posterior(x_0, x_t, 3, 2, schedule).mean):
        raise Hint("this is the faulty line. In which order does `posterior` take its tensors?")
    if near(found, x_0):
        raise Hint("the discriminator sees noisy pairs: noise the guess back to s.")
    if near(found, forward(x_0, 0, 2, schedule).mean):
        raise Hint("this noises the guess afresh and forgets x_t: the pair falls apart.")
    if not near(found, posterior(x_t, x_0, 3, 2, schedule).mean):
        raise Hint("q(x_s | x_t, x_0 = what was drawn): the posterior of lesson 02, its mean.")
    return "noisy first, then clean; at s = 0 the step ends on the guess itself."


# ------------------------------------------------------------------ 07 the trilemma


@exercise("07.1")
def one_perfect_seven(answer: Any) -> str:
    hints = {
        "b": "precision asks the samples: are you near real digits? Is the perfect 7?",
        "c": "ask each alone. Are all samples near real digits? All real digits near a sample?",
    }
    choice(answer, hints, "a")
    return "every sample lies among real digits, and hardly any real digit lies near a sample."


@exercise("07.2")
def fewer_calls(answer: Any) -> str:
    speed = number(answer)
    if near(speed, 16, 0.5):
        raise Hint("fewer calls make it faster, not slower.")
    if near(speed, 40, 0.5):
        raise Hint("this is the speed with 25 calls. The calls are nearly all of the work.")
    if near(speed, 1000, 0.5):
        raise Hint("this is how many calls it makes a second. How many pictures are they, at 10?")
    if not near(speed, 100, 1):
        raise Hint("40 pictures of 25 calls are so many calls a second; divide by the new number.")
    return "1,000 calls a second, whatever they are used for."


@exercise("07.3")
def dominated(answer: Any) -> str:
    def said(a: Sequence[float], b: Sequence[float]) -> bool:
        given = (torch.tensor(x, dtype=torch.float64) for x in (a, b))
        return bool(called(answer, *given, like=torch.tensor(0.0)))

    good = [0.9, 0.8, 50.0]
    if said(good, [0.85, 0.7, 20.0]) and not said([0.85, 0.7, 20.0], good):
        raise Hint("exchanged: is *b* the better one?")
    if said(good, [0.95, 0.7, 60.0]) or said(good, [0.8, 0.7, 60.0]):
        raise Hint("b must be at least as good in *all* three, not in some.")
    if not said(good, [0.9, 0.85, 50.0]):
        raise Hint("b may be equal in some, if it is better in one.")
    if said(good, good):
        raise Hint("two equal methods: neither is better anywhere, so neither is beaten.")
    if not said(good, [0.95, 0.9, 60.0]):
        raise Hint("b is better in all three here, and so a is beaten.")
    return "who is beaten by nobody stands on the front; which of those to take is your choice."


@exercise("07.4")
def mended_order(answer: Any) -> str:
    wide = normal(60, 2)
    narrow = 0.3 * normal(120, 2)[60:]
    found = called(answer, wide, narrow, like=torch.zeros(2))
    precision, recall = precision_recall(wide, narrow)
    if near(found, torch.tensor([recall, precision])):
        raise Hint("this is the faulty line. What is real, and what are the samples?")
    if near(found[0], found[1]):
        raise Hint("both the same? One of them is of the samples, the other of the real ones.")
    if not near(found, torch.tensor([precision, recall])):
        raise Hint("`precision_recall` takes the real features first, then those of the samples.")
    return "narrow samples are precise and miss much; with the two exchanged they seem diverse."
