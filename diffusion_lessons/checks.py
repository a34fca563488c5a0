"""What is refused at the door: wrong numbers and wrong tensors, by the argument's name."""

import inspect
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import wraps
from itertools import pairwise
from pathlib import Path
from typing import Any, ParamSpec

import torch
from torch import Tensor, nn

P = ParamSpec("P")

LARGEST = 10_000
"""Of a network's widths, sizes and depths"""

MOST = 10**9
"""Numbers in one tensor that may be asked for: 4 GB. More is taken for a slip of the keyboard."""


def of_values(check: Callable[P, None]) -> Callable[P, None]:
    """A check that reads numbers out of tensors: there are none while a network is exported."""

    @wraps(check)
    def unless_exporting(*args: P.args, **kwargs: P.kwargs) -> None:
        if not torch.compiler.is_exporting():
            check(*args, **kwargs)

    return unless_exporting


def whole(name: str, value: Any, low: int, high: int | None = None) -> None:
    """TypeError unless an int (no bool), ValueError unless in low..high."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, got {type(value).__name__}")
    if value < low or (high is not None and value > high):
        allowed = f"be at least {low}" if high is None else f"lie in {low}..{high}"
        raise ValueError(f"{name} must {allowed}, got {value}")


def real(name: str, value: Any) -> None:
    """TypeError unless a real number; infinity and NaN are left to the caller."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number, got {type(value).__name__}")


def number(name: str, value: Any) -> None:
    """As `real`, and ValueError if it is not finite."""
    real(name, value)
    if not math.isfinite(value):
        raise ValueError(f"{name} must be finite, got {value}")


def within(name: str, value: Any, low: float, high: float) -> None:
    """As `real`, and ValueError unless in low..high."""
    real(name, value)
    if not low <= value <= high:
        raise ValueError(f"{name} must lie in {low}..{high}, got {value}")


def share(name: str, value: Any) -> None:
    """As `within`, in 0..1."""
    within(name, value, 0, 1)


def positive(name: str, value: Any) -> None:
    """As `real`, and ValueError unless above 0 and finite."""
    real(name, value)
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be above 0, got {value}")


def amount(name: str, *counts: Any) -> None:
    """As `whole`, from 0 on, for counts whose product is a number of tensor elements."""
    for count in counts:
        whole(name, count, 0)
    if math.prod(counts) > MOST:
        raise ValueError(f"{name} asks for {math.prod(counts):.1e} numbers, more than {MOST:.0e}")


def sizes(**counts: Any) -> None:
    """As `whole`, for the widths, sizes and depths of a network."""
    for name, count in counts.items():
        whole(name, count, 1, LARGEST)


def instance(name: str, value: Any, kind: type) -> None:
    """TypeError unless an object of the class."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be a {kind.__name__}, got {value!r:.60}")


def tensor(name: str, value: Any) -> None:
    """TypeError unless a tensor."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a tensor, got {type(value).__name__}")


def floats(**tensors: Any) -> None:
    """TypeError unless tensors of floats, ValueError unless of one shape and on one device.

    Bytes would round every coefficient to 0 or 1, and shapes that differ would be stretched.
    """
    (first, one), *_ = tensors.items()
    for name, x in tensors.items():
        _floating(name, x)
        if x.shape != one.shape:
            raise ValueError(
                f"{name} must have the shape of {first}, {list(one.shape)}, got {list(x.shape)}"
            )
        if x.device != one.device:
            raise ValueError(f"{name} must be where {first} is, on {one.device}, not on {x.device}")


def _floating(name: str, x: Any) -> None:
    tensor(name, x)
    if not x.is_floating_point():
        hint = " (to_unit makes floats of bytes)" if x.dtype == torch.uint8 else ""
        raise TypeError(f"{name} must hold floats, got {x.dtype}{hint}")


def stretched(**tensors: Any) -> None:
    """As `floats`, but the shapes need only fit together by broadcasting."""
    for name, x in tensors.items():
        _floating(name, x)
    try:
        torch.broadcast_shapes(*(x.shape for x in tensors.values()))
    except RuntimeError as error:
        shapes = ", ".join(f"{name} {list(x.shape)}" for name, x in tensors.items())
        raise ValueError(f"these shapes do not fit together: {shapes}") from error


def batch(least: int = 1, **tensors: Any) -> None:
    """As `floats`, and ValueError for fewer than ``least`` dimensions."""
    floats(**tensors)
    for name, x in tensors.items():
        if x.ndim < least:
            raise ValueError(f"{name} must be a batch [B, ...], got shape {list(x.shape)}")


def alike(**tensors: Any) -> None:
    """TypeError for what is no tensor, ValueError for tensors of different shapes."""
    for name, value in tensors.items():
        tensor(name, value)
    (first, *_), shapes = tensors, {name: list(value.shape) for name, value in tensors.items()}
    for name, shape in shapes.items():
        if shape != shapes[first]:
            raise ValueError(f"{name} must have {first}'s shape {shapes[first]}, got {shape}")


@of_values
def times(t: Any, batch: int) -> None:
    """Refuse what does not tell each row of a batch its time: t must be numbers [B] or [1]."""
    tensor("t", t)
    if t.is_complex() or t.dtype == torch.bool:
        raise TypeError(f"t must hold numbers, got {t.dtype}")
    if t.ndim != 1 or len(t) not in (1, batch):
        raise ValueError(f"t must have shape [{batch}], got {list(t.shape)}")


@of_values
def rows(name: str, value: Any, batch: int, classes: int | None = None) -> None:
    """TypeError unless a tensor of integers, ValueError unless [B], and each below ``classes``.

    On a GPU the numbers are not looked at: it would have to wait.
    """
    tensor(name, value)
    if value.is_floating_point() or value.is_complex() or value.dtype == torch.bool:
        raise TypeError(f"{name} must hold integers, got {value.dtype}")
    if value.ndim != 1 or len(value) not in (1, batch):
        raise ValueError(f"{name} must have shape [{batch}], got {list(value.shape)}")
    if classes is None or value.device.type != "cpu" or not len(value):
        return
    if value.min() < 0 or value.max() >= classes:
        raise ValueError(f"{name} must lie in 0..{classes - 1}, got {value.min()}..{value.max()}")


def rows_alike(tensors: Any) -> None:
    """ValueError unless at least one tensor, all with as many rows."""
    if not tensors:
        raise ValueError("give at least one tensor")
    for part in tensors:
        tensor("each of tensors", part)
        if not part.ndim:
            raise ValueError("each of tensors must have rows, got a single number")
    if any(len(part) != len(tensors[0]) for part in tensors):
        raise ValueError(f"tensors of different lengths: {[len(part) for part in tensors]}")


def decay(name: str, value: Any) -> None:
    """As `real`, and ValueError unless 0 or more, and below 1."""
    real(name, value)
    if not 0 <= value < 1:
        raise ValueError(f"{name} must lie in 0..1 and below 1, got {value}")


def left_open(owner: str, **settings: Any) -> None:
    """ValueError if one of the settings is given: the owner has its own."""
    for name, value in settings.items():
        if value is not None:
            raise ValueError(f"{name}: {owner} keeps its own, so {value!r} would change nothing")


def one_of(name: str, value: Any, allowed: Iterable[str]) -> None:
    """ValueError unless one of the names."""
    names = list(allowed)
    if value not in names:
        raise ValueError(f"{name} must be one of {', '.join(names)}, got {value!r}")


# ------------------------------------------------------------------ files


def ending(name: str, path: Path, *endings: str) -> None:
    """ValueError unless a file's name ends as it must."""
    if path.suffix not in endings:
        words = f"{', '.join(endings[:-1])} or {endings[-1]}" if endings[1:] else endings[0]
        raise ValueError(f"{path}: the name of {name} must end in {words}")


def finite_weights(path: Path, model: nn.Module) -> None:
    """ValueError for a network that can draw nothing: weights that are infinite, or no numbers."""
    for name, value in model.state_dict().items():
        if value.is_floating_point() and not value.isfinite().all():
            raise ValueError(
                f"{path}: this network is broken, its {name} is not finite: its training failed. "
                "Train it again, at a lower rate"
            )


# ------------------------------------------------------------------ training


def network(name: str, value: Any) -> None:
    """TypeError unless a network that is not spread over several devices."""
    instance(name, value, nn.Module)
    if isinstance(value, nn.DataParallel | nn.parallel.DistributedDataParallel):
        raise TypeError(
            f"{name} is a {type(value).__name__}: give the network within, {name}.module; several "
            "GPUs are used by `accelerate launch`"
        )


def called(name: str, value: Any, words: str) -> None:
    """TypeError unless it can be called; ``words`` say with what, and what it answers."""
    if not callable(value):
        raise TypeError(f"{name} must be a function, {words}; got {value!r:.60}")


def one_number(name: str, value: Any) -> None:
    """TypeError unless a tensor, ValueError unless one number that a gradient can be taken of."""
    tensor(f"what {name} answers with", value)
    if value.numel() != 1 or not value.requires_grad:
        raise ValueError(
            f"{name} must answer with one number that depends on the network's weights, got "
            f"shape {list(value.shape)}{'' if value.requires_grad else ', without a gradient'}"
            + " (is it under inference_mode?)"
            * torch.is_inference_mode_enabled()
        )


def trainable(model: nn.Module) -> None:
    """ValueError for a network without weights."""
    if next(model.parameters(), None) is None:
        raise ValueError(f"this {type(model).__name__} has no weights to train")


def optimizer(value: Any) -> None:
    """TypeError unless an optimiser that makes its step from gradients alone."""
    if not isinstance(value, torch.optim.Optimizer):
        raise TypeError(f"an optimiser must be one of torch.optim's kind, got {value!r:.60}")
    closure = inspect.signature(value.step).parameters.get("closure")
    if closure is not None and closure.default is closure.empty:
        raise TypeError(
            f"{type(value).__name__} wants to work out the loss again in each step, "
            "which is drawn once here: choose another optimiser"
        )


def written(name: str, value: Any) -> Any:
    """The value as JSON gives it back, paths as text and NumPy's numbers as plain ones.

    TypeError for what cannot be written down.
    """

    def plain(part: Any) -> Any:
        if isinstance(part, os.PathLike):
            return os.fspath(part)
        if hasattr(part, "tolist"):
            return part.tolist()
        raise TypeError(
            f"{name} must hold text, numbers, lists and mappings, got a {type(part).__name__}"
        )

    return json.loads(json.dumps(value, default=plain))


# ------------------------------------------------------------------ schedules and their times

MOST_T = 10**6


def steps_of_schedule(T: Any) -> None:
    """As `whole`, for the last time of a schedule."""
    whole("T", T, 1, MOST_T)


def variances(**betas: Any) -> None:
    """As `real`, and ValueError unless strictly between 0 and 1."""
    for name, beta in betas.items():
        real(name, beta)
        if not 0 < beta < 1:
            raise ValueError(f"{name} is a variance and must lie between 0 and 1, got {beta}")


def at_least(name: str, value: Any, low: float) -> None:
    """As `real`, and ValueError if below ``low`` or infinite."""
    real(name, value)
    if not low <= value < math.inf:
        raise ValueError(f"{name} must be at least {low}, got {value}")


def rates(beta_min: Any, beta_max: Any) -> None:
    """As `real`, and ValueError unless 0 < beta_min <= beta_max."""
    real("beta_min", beta_min)
    real("beta_max", beta_max)
    if not 0 < beta_min <= beta_max < math.inf:
        raise ValueError(f"need 0 < beta_min <= beta_max, got {beta_min} and {beta_max}")


def row(name: str, values: Any) -> Tensor:
    """A copy of real numbers, float64 [N] on the CPU, N at least 2."""
    try:
        if torch.as_tensor(values).is_complex():  # the imaginary part would be dropped
            raise TypeError("they are complex")
        numbers = torch.as_tensor(values, dtype=torch.float64).detach().cpu().clone()
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{name} must be a row of real numbers: {error}") from error
    if numbers.ndim != 1 or len(numbers) < 2:
        raise ValueError(f"{name} must be one row of at least 2 numbers, got {list(numbers.shape)}")
    return numbers


def one_way(alpha_bar: Any, alpha: Any, sigma: Any) -> None:
    """ValueError for a schedule that is given twice."""
    if alpha_bar is not None and not alpha is sigma is None:
        raise ValueError("give alpha_bar, or alpha and sigma, not both")


def falling(name: str, values: Any) -> Tensor:
    """As `row`; ValueError unless it falls strictly from 1 to a number not below 0."""
    numbers = row(name, values)
    if numbers[0] != 1:
        raise ValueError(f"{name}[0] is clean data and must be 1, got {numbers[0].item()}")
    if not (numbers[1:] < numbers[:-1]).all():  # written so that NaN is refused too
        raise ValueError(f"{name} must fall strictly: every step adds noise")
    if not numbers[-1] >= 0:
        raise ValueError(f"{name} must not fall below 0, but ends at {numbers[-1].item()}")
    return numbers


def path(alpha: Any, sigma: Any) -> tuple[Tensor, Tensor]:
    """Two rows, as `row`; ValueError unless they lead from clean data to noise."""
    alpha, sigma = row("alpha", alpha), row("sigma", sigma)
    if alpha.shape != sigma.shape:
        raise ValueError(f"alpha and sigma differ in length: {len(alpha)} and {len(sigma)}")
    if alpha[0] != 1 or sigma[0] != 0:
        raise ValueError("clean data is alpha[0] = 1 and sigma[0] = 0")
    ratio = alpha[1:] / sigma[1:]
    if not (alpha.isfinite().all() and sigma.isfinite().all()):
        raise ValueError("alpha and sigma must fall strictly in their ratio, and be finite")
    if not ((alpha >= 0).all() and (sigma[1:] > 0).all() and (ratio[1:] < ratio[:-1]).all()):
        raise ValueError("alpha / sigma must fall strictly to 0 or above: every step adds noise")
    return alpha, sigma


@contextmanager
def described(config: Any) -> Iterator[None]:
    """Turns a TypeError over arguments that a description has, or lacks, into a ValueError."""
    try:
        yield
    except TypeError as error:
        raise ValueError(f"{dict(config)} describes nothing: {error}") from error


def time_steps(t: Any, like: Any, T: int) -> None:
    """TypeError unless t is an int or a tensor of integers, ValueError unless each is in 0..T.

    A tensor has one number, or one for each row of ``like``. On a GPU they are not looked at.
    """
    tensor("like", like)
    if not isinstance(t, Tensor):
        if isinstance(t, bool) or not hasattr(t, "__index__"):
            raise TypeError(f"t must be an int or a tensor of integers, got {type(t).__name__}")
        if not 0 <= t <= T:
            raise ValueError(f"t must lie in 0..{T}, got {t}")
        return
    if t.is_floating_point() or t.is_complex() or t.dtype == torch.bool:
        raise TypeError(f"t must hold integers, got dtype {t.dtype}")
    batch = len(like) if like.ndim else 1
    if t.ndim > 1 or (t.ndim == 1 and len(t) not in (1, batch)):
        raise ValueError(f"t must have shape [] or [{batch}] for this batch, got {list(t.shape)}")
    if t.ndim and t.device != like.device:
        raise ValueError(f"t must be where the batch is, {like.device}, not {t.device}")
    if t.device.type == "cpu" and t.numel() and not (t.min() >= 0 and t.max() <= T):
        raise ValueError(f"t must lie in 0..{T}, got {t.min()} to {t.max()}")


def order(s: Any, t: Any) -> None:
    """ValueError unless s < t everywhere. On a GPU the check would make it wait: the caller's."""
    cpu = all(not isinstance(time, Tensor) or time.device.type == "cpu" for time in (s, t))
    if cpu and not torch.as_tensor(s < t).all():
        raise ValueError("the times must satisfy s < t")


def above_zero(name: str, value: Tensor, why: str) -> None:
    """ValueError if what is divided by is 0, or infinite. On a GPU it is not looked at."""
    if value.device.type == "cpu" and not (value.isfinite() & (value != 0)).all():
        raise ValueError(f"{name} is {'0' if (value == 0).any() else 'infinite'} here: {why}")


def length(name: str, count: int, wanted: int, what: str) -> None:
    """ValueError unless there are as many rows as there must be."""
    if count != wanted:
        raise ValueError(f"{name} has {count} rows, and there are {wanted} {what}")


def walk(steps: Any, times: Any, T: int) -> None:
    """ValueError unless ``times`` fall strictly from at most T to 0, and no ``steps`` are given."""
    if steps is not None:
        raise ValueError("give steps or times, not both")
    for t in times:
        whole("each of times", t, 0, T)
    if len(times) < 2 or times[-1] != 0 or any(t <= s for t, s in pairwise(times)):
        raise ValueError(f"times must fall strictly from at most {T} to 0, got {times}")


def shares(name: str, value: Any, like: Tensor) -> Tensor:
    """A number, or a tensor that broadcasts against ``like``, in 0..1, as a tensor like it."""
    if not isinstance(value, Tensor):
        share(name, value)
    numbers = torch.as_tensor(value, dtype=like.dtype, device=like.device)
    stretched(a=like, **{name: numbers})
    if not ((numbers >= 0) & (numbers <= 1)).all():
        raise ValueError(f"{name} must lie in 0..1, got {numbers.tolist()}")
    return numbers


def directions(lengths: Tensor, cosine: Tensor) -> None:
    """ValueError for vectors between which there is no shortest way along a great circle."""
    if not (lengths > 0).all():
        raise ValueError("a and b must be finite, and no row of them zero: it points nowhere")
    if (cosine < -1 + 1e-6).any():
        raise ValueError("a and b point opposite ways: there is no shortest way between them")


# ------------------------------------------------------------------ mixtures and guidance


@of_values
def network_times(t: Any, batch: int, T: int) -> None:
    """Refuse what gives no time to each row of a batch: t must be integers [B] in 1..T.

    On a GPU the numbers are not looked at.
    """
    tensor("t", t)
    if t.is_floating_point() or t.is_complex() or t.dtype == torch.bool:
        raise TypeError(f"t must hold integers, the steps 1..{T} of the schedule, got {t.dtype}")
    if t.shape != (batch,):
        raise ValueError(
            f"t must have shape [{batch}], for each row one of the steps 1..{T} of the schedule, "
            f"got {list(t.shape)}"
        )
    if t.device.type == "cpu" and t.numel() and not (t.min() >= 1 and t.max() <= T):
        raise ValueError(
            f"t must lie in 1..{T}, the steps of the schedule, got {t.min()} to {t.max()}"
        )


def points(x_t: Any, dimensions: int) -> None:
    """As `floats`, and ValueError unless [B, dimensions]."""
    floats(x_t=x_t)
    if x_t.ndim != 2 or x_t.shape[1] != dimensions:
        raise ValueError(f"x_t must be [B, {dimensions}], got {list(x_t.shape)}")


def mixture(means: Any, stds: Any, weights: Any) -> None:
    """As `floats` for each; ValueError unless [K, D], positive [K], and positive [K] of sum 1."""
    for name, value in {"means": means, "stds": stds, "weights": weights}.items():
        floats(**{name: value})
    if means.ndim != 2 or not stds.shape == weights.shape == means.shape[:1]:
        raise ValueError(
            "means must be [K, D], stds and weights [K]; got "
            f"{list(means.shape)}, {list(stds.shape)}, {list(weights.shape)}"
        )
    if not (stds > 0).all():
        raise ValueError("every standard deviation must be above 0")
    total = weights.sum().item()
    if not (weights > 0).all() or not math.isclose(total, 1, abs_tol=1e-6):
        raise ValueError(f"weights must be positive and sum to 1, they sum to {total}")


def above(name: str, value: Any, low: float) -> None:
    """As `real`, and ValueError unless above ``low``; infinity is."""
    real(name, value)
    if not value > low:
        raise ValueError(f"{name} must be above {low}, got {value}")


def log_prob(value: Tensor, rows: int) -> None:
    """ValueError unless a log-probability [rows] that a gradient can be taken of."""
    if value.shape != (rows,):
        raise ValueError(
            f"log_prob must answer with one number a row, [{rows}], got {list(value.shape)}"
        )
    if not value.requires_grad:
        raise ValueError("log_prob must be differentiable in x_t (is it under no_grad?)")


def pushed(gradient: Tensor | None) -> None:
    """ValueError where there is no gradient."""
    if gradient is None:
        raise ValueError("log_prob does not depend on x_t, so there is nowhere to push")


def knows_the_time(classifier: Any) -> None:
    """ValueError for a function or network of one input: it was made for clean pictures."""
    called = classifier.forward if isinstance(classifier, nn.Module) else classifier
    try:
        parameters = inspect.signature(called).parameters.values()
    except (TypeError, ValueError):
        return  # it does not say
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(positional) == 1 and not any(p.kind is p.VAR_POSITIONAL for p in parameters):
        raise ValueError(
            "the classifier takes no time, so it was made for clean pictures and sees nothing in "
            "noisy ones; train one on noisy pictures (diffusion-lessons train "
            "digits-noisy-classifier), or say that you mean it: lambda x_t, t: classifier(x_t)"
        )


def labels(label: Any) -> None:
    """TypeError unless a tensor, ValueError unless of integers [B]."""
    tensor("label", label)
    if label.ndim != 1 or label.is_floating_point() or label.dtype == torch.bool:
        raise ValueError(f"label must be integers [B], got {label.dtype} {list(label.shape)}")


def logits(values: Tensor, label: Tensor) -> None:
    """ValueError unless [B, K], a number for each of the labels [B], 0..K - 1."""
    if values.ndim != 2 or len(values) != len(label):
        raise ValueError(f"the classifier must give logits [B, K], got {list(values.shape)}")
    if label.min() < 0 or label.max() >= values.shape[1]:
        raise ValueError(f"labels must lie in 0..{values.shape[1] - 1}, got {label.tolist()}")


MOST_NOISE = 1000
"""sigma / alpha at T up to which a guess of x_0 that nobody clips can be read off noise."""


def defined(name: str, *weights: Tensor) -> None:
    """ValueError for weights that are not finite. On a GPU they are not looked at."""
    if any(w.device.type == "cpu" and not w.isfinite().all() for w in weights):
        raise ValueError(f"there is no {name} at this time: it would be infinite")


def readable(ratio: float) -> None:
    """ValueError where an error in the noise would be more than a thousandfold one in x_0."""
    if ratio > MOST_NOISE:
        raise ValueError(
            f"at T an error in predicted noise is enlarged {ratio:.0f} times in x_0, which is not "
            "clipped for points as it is for pictures; predict x0, v or velocity"
        )


def one_rule(step: Any, sampler: Any, usual: Any) -> None:
    """ValueError where both a step rule and a sampler are given."""
    if sampler is not None and step is not usual:
        raise ValueError("give a step rule or a sampler, not both")
