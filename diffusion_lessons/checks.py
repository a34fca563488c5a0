"""What is refused at the door: wrong numbers and wrong tensors, by the argument's name."""

import inspect
import json
import math
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from numbers import Real
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

LARGEST = 10_000
"""Of a network's widths, sizes and depths"""

PAGE = "When it does not work"
"""The page of the book on what goes wrong"""

MOST = 10**9
"""Numbers in one tensor that may be asked for: 4 GB. More is taken for a slip of the keyboard."""


def see(section: str) -> str:
    """For the end of a message: where the book explains the trouble."""
    return f'(the book\'s page "{PAGE}", {section})'


def _plain(value: Any) -> Any:
    """A NumPy number, or a tensor or array without dimensions, as Python's own number."""
    return value.item() if getattr(value, "ndim", None) == 0 else value


def whole(name: str, value: Any, low: int, high: int | None = None) -> int:
    """As an int. TypeError unless a whole number (no bool), ValueError unless in low..high.

    NumPy's integers and tensors without dimensions are numbers, too, here and below.
    """
    count = _plain(value)
    if isinstance(count, bool) or not isinstance(count, int):
        raise TypeError(f"{name} must be an int, got {type(count).__name__}")
    if count < low or (high is not None and count > high):
        allowed = f"be at least {low}" if high is None else f"lie in {low}..{high}"
        raise ValueError(f"{name} must {allowed}, got {count}")
    return count


def real(name: str, value: Any) -> float:
    """As Python's number. TypeError unless real; infinity and NaN are left to the caller."""
    number = _plain(value)
    if isinstance(number, bool) or not isinstance(number, Real):
        raise TypeError(f"{name} must be a number, got {type(number).__name__}")
    try:
        as_float = float(number)
    except OverflowError:
        raise ValueError(f"{name} must be finite, and is too large for a float") from None
    return number if isinstance(number, int | float) else as_float


def number(name: str, value: Any) -> float:
    """As `real`, and ValueError if it is not finite."""
    number = real(name, value)
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, got {number}")
    return number


def within(name: str, value: Any, low: float, high: float) -> float:
    """As `real`, and ValueError unless in low..high."""
    number = real(name, value)
    if not low <= number <= high:
        raise ValueError(f"{name} must lie in {low}..{high}, got {number}")
    return number


def share(name: str, value: Any) -> float:
    """As `within`, in 0..1."""
    return within(name, value, 0, 1)


def positive(name: str, value: Any) -> float:
    """As `real`, and ValueError unless above 0 and finite."""
    number = real(name, value)
    if not 0 < number < math.inf:
        raise ValueError(f"{name} must be above 0, got {number}")
    return number


def amount(name: str, *counts: Any) -> tuple[int, ...]:
    """As `whole`, from 0 on, for counts whose product is a number of tensor elements."""
    numbers = tuple(whole(name, count, 0) for count in counts)
    if math.prod(numbers) > MOST:
        raise ValueError(f"{name} asks for {math.prod(numbers):.1e} numbers, more than {MOST:.0e}")
    return numbers


def shape(name: str, value: Any) -> tuple[int, ...]:
    """As `amount`, for the shape of a tensor: a row of counts, or one."""
    return amount(name, *(value if isinstance(value, Iterable) else [value]))


def sizes(**counts: Any) -> dict[str, int]:
    """As `whole`, for the widths, sizes and depths of a network: by name, as a card keeps them."""
    return {name: whole(name, count, 1, LARGEST) for name, count in counts.items()}


def some(name: str, count: Any) -> int:
    """As `whole`, for what a network may have none of: classes, layers, numbers of a latent."""
    return whole(name, count, 0, LARGEST)


def numbers_of(owner: Any, check: Callable[..., float], *names: str, **limits: Any) -> None:
    """Check fields of a frozen dataclass, and keep them as plain numbers; None if that is usual."""
    for name in names:
        value = getattr(owner, name)
        if value is not None or getattr(type(owner), name) is not None:
            object.__setattr__(owner, name, check(name, value, **limits))


def instance(name: str, value: Any, kind: type) -> None:
    """TypeError unless an object of the class."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be a {kind.__name__}, got {value!r:.60}")


def tensor(name: str, value: Any) -> None:
    """TypeError unless a tensor."""
    if not isinstance(value, Tensor):
        kin = isinstance(value, list | tuple) or hasattr(value, "__array__")
        hint = " (torch.as_tensor makes one of it)" if kin else ""
        raise TypeError(f"{name} must be a tensor, got {type(value).__name__}{hint}")
    if value.layout != torch.strided:
        raise TypeError(f"{name} must be a dense tensor, got {value.layout} (to_dense makes one)")


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


def examples(least: int = 1, **tensors: Any) -> None:
    """As `batch`, and ValueError without a row: of none there is no mean."""
    batch(least, **tensors)
    for name, x in tensors.items():
        if not len(x):
            raise ValueError(f"{name} must be a batch of at least one, got {list(x.shape)}")


def in_unit(name: str, x: Tensor, beyond: float = 1e-3) -> None:
    """ValueError for pictures of another range than -1..1, a warning where it looks like 0..1.

    ``beyond`` is how far a number may lie outside: data nowhere, what a network drew a little. On a
    GPU they are not looked at.
    """
    if x.device.type != "cpu" or not x.numel():
        return
    least, most = x.aminmax()
    if not (least >= -1 - beyond and most <= 1 + beyond):  # written so that NaN is refused too
        hint = " (to_unit makes them of bytes)" if most > BRIGHT else ""
        raise ValueError(f"{name} must be pictures in -1..1{hint}, got {least:g}..{most:g}")
    if least >= 0 and most > 0.5 and most != least:
        warnings.warn(
            f"{name} lies in {least:g}..{most:g}, and pictures here lie in -1..1, black being -1. "
            f"If yours are in 0..1, give 2 * {name} - 1",
            stacklevel=3,
        )


BRIGHT = 16
"""Brighter than anything that was meant for -1..1: floats of 0..255."""


def no_bytes(name: str, x: Tensor) -> None:
    """ValueError for what is clearly in 0..255 already, and would all turn white."""
    if x.numel() and x.min() >= 0 and x.max() > BRIGHT:
        raise ValueError(f"{name} must be pictures in -1..1, got {x.min():g}..{x.max():g}")


def formatted(like: Tensor, **tensors: Any) -> tuple[Tensor, ...]:
    """As `floats`, in the number format of a network's weights, ``like``.

    A network answers in the format of its input, so that any format may go in and comes out.
    """
    floats(**tensors)
    for name, x in tensors.items():
        if x.device != like.device:
            where = f"on {like.device}, not on {x.device}"
            raise ValueError(f"{name} must be where the network is, {where}")
    return tuple(x.to(like.dtype) for x in tensors.values())


def shaped(like: Tensor, shape: tuple[int, ...], **tensors: Any) -> tuple[Tensor, ...]:
    """As `formatted`, and ValueError unless each is a batch [B, *shape]; -1 stands for any size."""
    made = formatted(like, **tensors)
    for name, x in tensors.items():
        fits = x.ndim == len(shape) + 1
        if not fits or any(
            wanted not in (-1, n) for n, wanted in zip(x.shape[1:], shape, strict=True)
        ):
            letters = iter("HW")
            wanted = ", ".join(next(letters) if n < 0 else str(n) for n in shape)
            raise ValueError(f"{name} must be [B, {wanted}], got {list(x.shape)}")
        if not len(x):
            raise ValueError(f"{name} must be a batch of at least one, got {list(x.shape)}")
    return made


def integers(name: str, value: Any, what: str = "") -> Tensor:
    """Integers of any kind as int64: a tensor, an array, a list or one. TypeError for others."""
    kind = f"{name} must hold integers{what}"
    try:
        numbers = torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise TypeError(f"{kind}, got {type(value).__name__}: {error}") from error
    empty = not isinstance(value, Tensor) and not numbers.numel()  # floats to torch
    fractions = (numbers.is_floating_point() or numbers.is_complex()) and not empty
    if fractions or numbers.dtype == torch.bool:
        raise TypeError(f"{kind}, got {numbers.dtype}")
    return numbers.long()


def row_of_integers(name: str, value: Any, like: Tensor, what: str = "") -> Tensor:
    """As `integers`, one for each row of ``like``, [B], or one for all rows; else ValueError."""
    numbers = integers(name, value, what)
    if numbers.ndim and numbers.shape != like.shape[:1]:
        shape = f"{name} must have shape [] or [{len(like)}]{what}"
        raise ValueError(f"{shape}, got {list(numbers.shape)}")
    if isinstance(value, Tensor) and value.ndim and value.device != like.device:
        where = f"{like.device}, not {value.device}"
        raise ValueError(f"{name} must be where the batch is, {where}")
    if not isinstance(value, Tensor) and not numbers.ndim:  # a GPU would wait for a copy
        return torch.full((len(like),), int(numbers), device=like.device)
    return numbers.to(like.device).expand(len(like))


def row_of_any_length(name: str, value: Any, classes: int | None = None) -> Tensor:
    """As `integers`, a row [N] of any length, in 0..classes - 1; else ValueError."""
    numbers = integers(name, value)
    if numbers.ndim != 1:
        raise ValueError(f"{name} must have shape [N], got {list(numbers.shape)}")
    if classes is not None:
        between(name, numbers, 0, classes - 1)
    return numbers


def between(name: str, numbers: Tensor, low: int, high: int, what: str = "") -> None:
    """ValueError unless each is in low..high.

    On a GPU they are not looked at, it would wait; while a network is compiled or exported there
    are none, and a look at them would cut it in pieces.
    """
    if torch.compiler.is_compiling() or numbers.device.type != "cpu" or not numbers.numel():
        return
    least, most = int(numbers.min()), int(numbers.max())
    if least < low or most > high:
        raise ValueError(f"{name} must lie in {low}..{high}{what}, got {least}..{most}")


def times(t: Any, x_t: Tensor, T: int | None = None) -> Tensor:
    """The times of a network's rows, int64 [B]: integers [B], or one for all, in 1..T.

    A network alone knows no schedule: it is told any time of any.
    """
    if T is None:
        row = row_of_integers("t", t, x_t)
        between("t", row, 0, MOST_T)
        return row
    row = row_of_integers("t", t, x_t, f", the steps 1..{T} of the schedule")
    between("t", row, 1, T, ", the steps of the schedule")
    return row


def rows(name: str, value: Any, like: Tensor, classes: int | None = None) -> Tensor:
    """Classes of rows, int64 [B]: integers [B] of any kind, or one for all, below ``classes``."""
    row = row_of_integers(name, value, like)
    if classes is not None:
        between(name, row, 0, classes - 1)
    return row


def latent(z: Any, like: Tensor, width: int) -> Tensor:
    """A latent [B, width] for the rows of a batch, in the batch's number format."""
    if z is None:
        raise ValueError(f"z must be [{len(like)}, {width}], got None")
    (made,) = formatted(like, z=z)
    if z.shape != (len(like), width):
        raise ValueError(f"z must be [{len(like)}, {width}], got {list(z.shape)}")
    return made


def multipliers(values: Any) -> list[int]:
    """A network's widths at its levels, 1 to 8 of them, each in multiples of the first."""
    numbers = [whole("each of multipliers", value, 1, 64) for value in values]
    if not 1 <= len(numbers) <= 8:
        raise ValueError(f"multipliers must be 1 to 8 numbers, got {numbers}")
    return numbers


def reached(name: str, values: Any, sides: list[int]) -> list[int]:
    """ValueError unless each is one of the sides at which a network works."""
    for side in (wanted := [whole(f"each of {name}", value, 1) for value in values]):
        if side not in sides:
            raise ValueError(
                f"{name} holds {side}, which this network never reaches: it works at "
                f"{', '.join(map(str, sides))} (size / unshuffle, halved from level to level)"
            )
    return wanted


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


def decay(name: str, value: Any) -> float:
    """As `real`, and ValueError unless 0 or more, and below 1."""
    number = real(name, value)
    if not 0 <= number < 1:
        raise ValueError(f"{name} must lie in 0..1 and below 1, got {number}")
    return number


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


def finite_weights(path: Path, weights: Mapping[str, Tensor]) -> None:
    """ValueError for a network that can draw nothing: weights that are infinite, or no numbers."""
    for name, value in weights.items():
        if value.is_floating_point() and not value.isfinite().all():
            raise ValueError(
                f"{path}: this network is broken, its {name} is not finite: its training failed. "
                f"Train it again, at a lower rate {see('NaN')}"
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

MOST_LEFT = 0.1
"""Of a picture in x_T. (DDPM leaves 0.006, DDGAN's four steps 0.007.)"""


def steps_of_schedule(T: Any) -> int:
    """As `whole`, for the last time of a schedule."""
    return whole("T", T, 1, MOST_T)


def variance(name: str, value: Any) -> float:
    """As `real`, and ValueError unless strictly between 0 and 1."""
    beta = real(name, value)
    if not 0 < beta < 1:
        raise ValueError(f"{name} is a variance and must lie between 0 and 1, got {beta}")
    return beta


def at_least(name: str, value: Any, low: float) -> float:
    """As `real`, and ValueError if below ``low`` or infinite."""
    number = real(name, value)
    if not low <= number < math.inf:
        raise ValueError(f"{name} must be at least {low}, got {number}")
    return number


def rates(beta_min: Any, beta_max: Any) -> tuple[float, float]:
    """As `real`, and ValueError unless 0 < beta_min <= beta_max."""
    low, high = real("beta_min", beta_min), real("beta_max", beta_max)
    if not 0 < low <= high < math.inf:
        raise ValueError(f"need 0 < beta_min <= beta_max, got {low} and {high}")
    return low, high


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
    still = ~(numbers[1:] < numbers[:-1])  # written so that NaN is refused too
    if still.any():
        t = int(still.nonzero()[0])
        if 0 <= numbers[t] < 1e-300:
            raise ValueError(
                f"{name} must fall strictly, and nothing is left of the picture from t = {t} on, "
                f"before the last time, {len(numbers) - 1}: add less noise a step"
            )
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


def time_steps(t: Any, like: Any, T: int) -> int | Tensor:
    """Times 0..T: an int, or a tensor of integers [] or [B], for the rows of ``like``, or [1].

    TypeError for other kinds, ValueError for others. On a GPU they are not looked at.
    """
    tensor("like", like)
    if not isinstance(t, Tensor) and not getattr(t, "ndim", isinstance(t, list | tuple)):
        return whole("t", t, 0, T)
    one = isinstance(t, Tensor) and t.ndim < 2 and t.numel() == 1
    row = row_of_integers("t", t, t.reshape(1) if one else like if like.ndim else like[None])
    between("t", row, 0, T)
    if not isinstance(t, Tensor) or not t.ndim:
        return row.to(like.device)
    if row.device != like.device:
        raise ValueError(f"t must be where the batch is, {like.device}, not {row.device}")
    return row


def order(s: Any, t: Any) -> None:
    """ValueError unless s < t everywhere. On a GPU the check would make it wait: the caller's."""
    cpu = all(not isinstance(time, Tensor) or time.device.type == "cpu" for time in (s, t))
    if cpu and not (torch.as_tensor(s) < torch.as_tensor(t)).all():
        raise ValueError("the times must satisfy s < t")


def above_zero(name: str, value: Tensor, why: str) -> None:
    """ValueError if what is divided by is 0, or infinite. On a GPU it is not looked at."""
    if value.device.type == "cpu" and not (value.isfinite() & (value != 0)).all():
        raise ValueError(f"{name} is {'0' if (value == 0).any() else 'infinite'} here: {why}")


def length(name: str, count: int, wanted: int, what: str) -> None:
    """ValueError unless there are as many rows as there must be."""
    if count != wanted:
        raise ValueError(f"{name} has {count} rows, and there are {wanted} {what}")


def walk(steps: Any, times: Any, T: int) -> list[int]:
    """ValueError unless ``times`` fall strictly from at most T to 0, and no ``steps`` are given."""
    if steps is not None:
        raise ValueError("give steps or times, not both")
    visited = [whole("each of times", t, 0, T) for t in times]
    if len(visited) < 2 or visited[-1] != 0 or any(t <= s for t, s in pairwise(visited)):
        raise ValueError(f"times must fall strictly from at most {T} to 0, got {visited}")
    return visited


def ends_in_noise(schedule: Any, depth: int) -> None:
    """Warns where a walk that begins with pure noise does not begin where the pictures end.

    ``depth`` is how many calls up the one to be told is.
    """
    left = float(schedule.alpha[-1] / schedule.start_std)
    if left > MOST_LEFT:
        warnings.warn(
            f"{schedule} ends far from noise: x_T holds {left:.2g} of x_0 (alpha at T), and a walk "
            "that begins with pure noise is biased. Take vp_schedule with as many steps, larger "
            "betas, or zero_terminal of it and predict x0 or v "
            f"{see('Nothing is quite black')}",
            stacklevel=depth + 1,
        )


def finite(name: str, x: Tensor) -> None:
    """ValueError if there is NaN or infinity among the numbers."""
    if not x.isfinite().all():
        raise ValueError(f"{name} holds numbers that are not finite")


LARGEST_FEATURE = 1e70
"""Up to which distances and covariances, and products of those, are finite in float64"""


def measurable(name: str, x: Tensor) -> None:
    """As `finite`, and ValueError for numbers whose distances would be infinite, and all alike."""
    finite(name, x)
    if x.numel() and x.abs().max() > LARGEST_FEATURE:
        raise ValueError(f"{name} holds numbers above {LARGEST_FEATURE:g}, too large to compare")


def mask(name: str, value: Any) -> Tensor:
    """As booleans. ValueError unless each number is 0 or 1. On a GPU they are not looked at."""
    tensor(name, value)
    if value.device.type == "cpu" and not ((value == 0) | (value == 1)).all():
        raise ValueError(f"{name} must hold 1 where something is kept and 0 elsewhere, no others")
    return value.bool()


def dense(name: str, std: Tensor) -> None:
    """ValueError unless a Gaussian has a density: a point has none. On a GPU: not looked at."""
    if std.device.type == "cpu" and (std <= 0).any():
        raise ValueError(f"{name} has no density where its standard deviation is not above 0")


def shares(name: str, value: Any, like: Tensor) -> Tensor:
    """A number, or a tensor that broadcasts against ``like``, in 0..1, as a tensor like it."""
    if not getattr(value, "ndim", 0):
        value = share(name, value)
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
    finite("means", means)
    if not ((stds > 0) & stds.isfinite()).all():
        raise ValueError("every standard deviation must be above 0 and finite")
    total = weights.double().sum().item()
    rounding = max(1e-6, torch.finfo(weights.dtype).eps)
    if not (weights > 0).all() or not math.isclose(total, 1, abs_tol=rounding):
        raise ValueError(f"weights must be positive and sum to 1, they sum to {total}")


def above(name: str, value: Any, low: float) -> float:
    """As `real`, and ValueError unless above ``low``; infinity is."""
    number = real(name, value)
    if not number > low:
        raise ValueError(f"{name} must be above {low}, got {number}")
    return number


def log_prob(value: Tensor, rows: int) -> None:
    """ValueError unless a log-probability [rows] that a gradient can be taken of."""
    if value.shape != (rows,):
        raise ValueError(
            f"log_prob must answer with one number a row, [{rows}], got {list(value.shape)}"
        )
    if not value.requires_grad:
        raise ValueError(
            "log_prob must be differentiable in x_t (is it under no_grad or inference_mode?)"
        )


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


def logits(values: Tensor, label: Tensor) -> None:
    """ValueError unless [B, K], a number for each of the labels [B], 0..K - 1."""
    if values.ndim != 2 or len(values) != len(label):
        raise ValueError(f"the classifier must give logits [B, K], got {list(values.shape)}")
    between("label", label, 0, values.shape[1] - 1)


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
