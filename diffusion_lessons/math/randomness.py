"""Random numbers that belong to a seed and to a row, and to nothing else.

Torch's own generators hand out one stream: what a picture gets depends on how many stand before
it. A `RowGenerator` counts instead (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
2011): a number is a function of the seed, the row's number, the draw and the place in the row. The
same picture therefore comes alone, in any batch, and on any number of processes, and a page in
JavaScript can draw the same noise. All functions here take either kind of generator, or None for
torch's global one.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import checks

Word = TypeVar("Word", int, Tensor, NDArray[np.int64])

MASK = 0xFFFFFFFF
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)  # what the key grows by from round to round
ROUNDS = 10


def philox(counter: Sequence[Word], key: tuple[int, int]) -> tuple[Word, ...]:
    """Philox-4x32 with ten rounds: four words of 32 bits -> four random words of 32 bits.

    Words are ints, or int64 tensors or arrays that broadcast; int64 products overflow, which leaves
    their 64 bits right.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        product_0, product_1 = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            ((product_1 >> 32) ^ c1 ^ k0) & MASK,
            product_1,  # its lower word is meant; the upper one is cut off where it is used
            ((product_0 >> 32) ^ c3 ^ k1) & MASK,
            product_0,
        )
        k0, k1 = (k0 + WEYL[0]) & MASK, (k1 + WEYL[1]) & MASK
    return c0, c1 & MASK, c2, c3 & MASK


def derived(seed: int, *uses: int) -> int:
    """A seed of its own for each use, in 0..2**63 - 1: of a step, of a pass over the data, ..."""
    seed, *numbers = (checks.whole("a seed or its use", n, 0) for n in (seed, *uses))
    for use in numbers:
        low, high, _, _ = philox((use & MASK, use >> 32 & MASK, 0, 0), _key(seed))
        seed = high << 32 | low
    return seed & 2**63 - 1


def seeded(seed: int, *uses: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Torch's own generator with a `derived` seed."""
    return torch.Generator(device).manual_seed(derived(seed, *uses))


@contextmanager
def own_numbers(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """In here torch's own generators, of the CPU and of the device, begin at the seed.

    Afterwards they go on as if nothing had been drawn; those of other devices are not touched.
    """
    kind = torch.device(device).type
    on_device = None if kind == "cpu" else getattr(torch, kind)
    before = torch.get_rng_state(), on_device and on_device.get_rng_state()
    try:
        torch.default_generator.manual_seed(seed)
        if on_device is not None:
            on_device.manual_seed(seed)
        yield
    finally:
        torch.set_rng_state(before[0])
        if on_device is not None:
            on_device.set_rng_state(before[1])


def _key(seed: int) -> tuple[int, int]:
    return seed & MASK, seed >> 32 & MASK


BY_ROW = "by row"
"""How a measured row says that its pictures were drawn with a `RowGenerator`."""

ONE_STREAM = "one stream"
"""The same of version 0.1, where a picture's noise hung on those drawn before it."""


class RowGenerator(torch.Generator):
    """Random numbers of which each row of a batch has its own; each draw gives new ones.

    Row i of a draw depends on the seed, on ``numbers[i]`` (int64 [B], say the picture's number) and
    on how many draws there were before. Without ``numbers`` the rows are counted: of a batch that
    ``size`` processes share, this is part ``rank``. What is drawn with torch's own functions
    belongs to the batch, not to a row, and is the same in every process.
    """

    seed_of_rows: int
    numbers: Tensor | None
    rank: int
    size: int
    draws: int

    def __new__(cls, seed: int, numbers: Tensor | None = None, **options: object) -> "RowGenerator":
        device = options.get("device", "cpu")
        return super().__new__(cls, device)  # type: ignore[call-arg]

    def __init__(
        self,
        seed: int,
        numbers: Tensor | None = None,
        *,
        device: torch.device | str = "cpu",
        rank: int = 0,
        size: int = 1,
    ) -> None:
        self.manual_seed(seed)
        if numbers is not None:  # brought there once: at each draw a GPU would wait for them
            numbers = checks.row_of_any_length("numbers", numbers).to(self.device)
        self.numbers = numbers
        self.rank, self.size = rank, size

    def manual_seed(self, seed: int) -> Self:
        """Begin anew with another seed: the rows', and that of torch's own functions."""
        seed = checks.whole("seed", seed, 0, 2**63 - 1)
        super().manual_seed(seed)
        self.seed_of_rows, self.draws = seed, 0
        return self

    def seed(self) -> int:
        """Begin anew with a seed that nobody knows, and tell it."""
        seed = super().seed() & 2**63 - 1
        self.manual_seed(seed)
        return seed

    def rows(self, n: int) -> Tensor:
        """The numbers of n rows, int64 [n]."""
        if self.numbers is None:
            return torch.arange(self.rank * n, (self.rank + 1) * n, device=self.device)
        checks.length("the batch", n, len(self.numbers), "numbers of rows")
        return self.numbers

    def words(self, shape: Sequence[int]) -> Tensor:
        """Random words of 32 bits as int64, [n, ...], of which each row has its own."""
        n, width = shape[0], math.prod(shape[1:])
        number, place = self.rows(n)[:, None], torch.arange(-(-width // 4), device=self.device)
        counter = place, torch.full_like(place[:1], self.draws), number & MASK, number >> 32
        key = _key(self.seed_of_rows)
        self.draws += 1
        if self.device.type == "cpu":  # NumPy is quicker at many small steps
            each = [torch.from_numpy(w) for w in philox([part.numpy() for part in counter], key)]
        else:
            each = [*philox(counter, key)]
        words = torch.stack(torch.broadcast_tensors(*each), 2)  # [n, width / 4, 4]
        return words.flatten(1)[:, :width].reshape(list(shape))

    def uniform(self, shape: Sequence[int]) -> Tensor:
        """Numbers strictly between 0 and 1, float64, or float32 where the device has no more."""
        return (self.words(shape).to(_double(self.device)) + 0.5) / 2**32

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Standard normal numbers of the same format: Box and Muller's method on pairs of words."""
        n, width = shape[0], math.prod(shape[1:])
        u = self.uniform((n, -(-width // 2), 2))
        radius, angle = (-2 * u[..., 0].log()).sqrt(), 2 * math.pi * u[..., 1]
        pairs = torch.stack([radius * angle.cos(), radius * angle.sin()], 2)
        return pairs.flatten(1)[:, :width].reshape(list(shape))


def _double(device: torch.device) -> torch.dtype:
    return torch.float32 if device.type == "mps" else torch.float64


def randn_like(x: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Standard normal noise of x's shape, dtype and device, drawn on the generator's device."""
    if isinstance(generator, RowGenerator):
        noise = generator.normal(x.shape).to(x.dtype)
    else:
        device = generator.device if generator is not None else x.device
        noise = torch.randn(x.shape, generator=generator, device=device, dtype=x.dtype)
    # On its way to a GPU it is copied aside first, so nobody waits until the GPU has it.
    return noise.to(x.device, non_blocking=x.is_cuda and not noise.is_cuda)


def rand(shape: Sequence[int], generator: torch.Generator | None, device: torch.device) -> Tensor:
    """Uniform numbers in 0..1, float32 [n, ...], brought to the device."""
    if isinstance(generator, RowGenerator):
        return generator.uniform(shape).float().to(device)
    source = generator.device if generator is not None else device
    return torch.rand(list(shape), generator=generator, device=source).to(device)


def random_integers(
    low: int, high: int, n: int, generator: torch.Generator | None, device: torch.device
) -> Tensor:
    """n integers in low..high, int64 [n], brought to the device."""
    if isinstance(generator, RowGenerator):
        return (low + (generator.words((n,)) * (high - low + 1) >> 32)).to(device)
    source = generator.device if generator is not None else device
    draw = partial(torch.randint, low, high + 1, (n,), generator=generator)
    return draw(device=source).to(device)


def spread(n: int, generator: torch.Generator | None, device: torch.device) -> Tensor:
    """n numbers in 0..1, each uniform: one random offset, then evenly spaced over the whole batch.

    float64 [n], or float32 where the device has no more.
    """
    source = generator.device if generator is not None else device
    dtype = _double(source)
    offset = torch.rand((), generator=generator, device=source, dtype=dtype)
    share = isinstance(generator, RowGenerator)
    rank, size = (generator.rank, generator.size) if share else (0, 1)  # type: ignore[union-attr]
    rows = torch.arange(rank * n, (rank + 1) * n, device=source, dtype=dtype)
    return ((offset + rows / (n * size)) % 1).to(device)
