"""From one picture to another: through the pixels, or through the noise that makes them."""

from collections.abc import Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import torch
import traitlets
from torch import Tensor

from ... import checks
from ...math.sampling import Denoiser, ddim_invert, ddim_step, sample, slerp
from ...math.schedule import NoiseSchedule
from .. import kit
from ..palette import DATA, INK, RESULT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PLACES = 11  # pictures in a strip; see interpolation.js


class InterpolationExplorer(kit.Computed):
    """Half way between two pictures: pixels mixed, or DDIM (eta = 0) from a noise in between.

    ``a`` and ``b`` are noises [N, 1, H, W], or [N, 3, H, W] of pictures in colour; the first
    ``pairs`` of them are shown. With ``invert`` they are pictures in -1..1, such as real digits,
    which `ddim_invert` turns into noise first. Between two noises run two ways: the straight line
    (1 - share) a + share b, which is too quiet in the middle, and `slerp`'s, which keeps the size
    of noise. Each way can be walked down from ``positions`` evenly spread places, in ``steps``
    steps. The middle of the first pair is computed at once, all else when it is wanted: by the page
    itself, for a denoiser made of a network that ships with the package, otherwise by the kernel.

    The denoiser sees 2 pictures at once and may hold no labels. Where there is a page that computes
    or a kernel, a button brings new noise, or other digits: the next rows of ``a`` and ``b``, if
    there are more of them than ``pairs``.

    Synced traits: ``share`` (0 is a, 1 is b), ``pair`` (0..pairs-1), ``seed`` (another one is
    another noise, or other rows). ``straight()`` and ``on_shell()`` are the pictures of the two
    ways. Raises ValueError for what cannot be shown, traitlets.TraitError for a ``share`` or
    ``pair`` that does not exist.
    """

    _files = kit.files(__file__, "interpolation.css", "interpolation.js")

    share = traitlets.Float(0.5, min=0.0, max=1.0).tag(sync=True)
    pair = traitlets.Int(0).tag(sync=True)

    _positions = traitlets.Int().tag(sync=True)
    _pairs = traitlets.Int().tag(sync=True)
    _steps = traitlets.Int().tag(sync=True)
    _rows = kit.as_bytes()  # [2, rows, (3,) H, W], greys: with `invert` all of a and b
    _shape = traitlets.List(traitlets.Int()).tag(sync=True)  # [H, W] or [3, H, W]
    _inverted = traitlets.Bool().tag(sync=True)
    _renewable = traitlets.Bool().tag(sync=True)

    def __init__(
        self,
        denoiser: Denoiser,
        a: Tensor,
        b: Tensor,
        schedule: NoiseSchedule,
        steps: int = 30,
        positions: int = 21,
        pairs: int = 3,
        invert: bool = False,
        seed: int = 0,
    ) -> None:
        first, second = kit.check_batch(a, "a", 100_000), kit.check_batch(b, "b", 100_000)
        if first.shape != second.shape:
            raise ValueError(
                f"a and b must have one shape, got {list(first.shape)} and {list(second.shape)}"
            )
        if invert and max(first.abs().max(), second.abs().max()) > 1.001:
            raise ValueError("with invert, a and b are pictures and must lie in -1..1")
        steps = checks.whole("steps", steps, 2, schedule.T)
        positions = checks.whole("positions", positions, 3, 65)
        pairs = checks.whole("pairs", pairs, 1, 12)
        kit.check_seed(seed)
        pairs = min(pairs, len(first))
        probe = kit.draw_noise(torch.cat([first[:1], second[:1]]), 0, 0)
        kit.check_denoiser(denoiser, probe, schedule.T)
        self.denoiser, self.schedule, self.steps = denoiser, schedule, steps
        self._given = seed, first, second
        network = kit.network_behind(denoiser, probe, schedule)
        both = torch.stack([first, second])
        super().__init__(
            seed=seed,
            _first_seed=seed,
            _network={} if network.get("labels") else network,
            _x_T=b"" if invert else kit.as_noise(both[:, :pairs]),
            _rows=kit.pack_greys(both, 256) if invert else b"",
            _positions=positions,
            _pairs=pairs,
            _steps=steps,
            _shape=list(kit.as_kept(first).shape[1:]),
            _inverted=invert,
            _renewable=not invert or len(first) > pairs,
        )
        middle = round(self.share * (positions - 1))
        self._begin(pairs * (positions + 1), self._index(0), self._index(0, middle))

    @traitlets.validate("pair")
    def _check_pair(self, proposal: Any) -> int:
        if not 0 <= proposal.value < max(self._pairs, 1):
            raise traitlets.TraitError(
                f"pair must lie in 0..{self._pairs - 1}, got {proposal.value}"
            )
        return int(proposal.value)

    @property
    def _picture(self) -> list[int]:
        """The shape of one, [C, H, W]."""
        return kit.with_channel(self._shape)

    @property
    def shares(self) -> Tensor:
        """The slider's positions, float32 [P]."""
        return torch.linspace(0, 1, self._positions)

    def ends(self, pair: int) -> tuple[Tensor, Tensor]:
        """What ``a`` and ``b`` are for this pair and ``seed``: noises or pictures, [1, C, H, W]."""
        seed, a, b = self._given
        if self._inverted:
            row = ((self.seed - seed) * self._pairs + pair) % len(a)
            return a[row : row + 1], b[row : row + 1]
        if self.seed == seed:
            return a[pair : pair + 1], b[pair : pair + 1]
        both = kit.draw_noise(torch.cat([a[:1], b[:1]]), self.seed, use=2 + pair)
        return both[:1], both[1:]

    def _index(self, pair: int, position: int | None = None) -> int:
        """The part of a pair: its two pictures and noises; or of one position between them."""
        return pair * (self._positions + 1) + (0 if position is None else 1 + position)

    def _ahead(self) -> Iterator[int]:
        """What the strips of the first pair show, and the ends of the others."""
        last, count = self._positions - 1, min(PLACES, self._positions)
        for i in range(count):
            yield self._index(0, round(i * last / (count - 1)))
        for pair in range(self._pairs):
            yield self._index(pair)

    def _calls(self, part: int) -> int:
        if self._inverted and part % (self._positions + 1) == 0:
            return len({1, *self.schedule.times(self.steps)} - {0, self.schedule.T})
        return self.steps

    def _compute(self, part: int) -> kit.Part:
        pair, place = divmod(part, self._positions + 1)
        if place == 0:
            return (yield from self._both(pair))
        if not self._has(self._index(pair)):
            self._keep(self._index(pair), (yield from self._both(pair)))
        a, b = self.noises(pair)
        share = float(self.shares[place - 1])
        mixed = torch.cat([(1 - share) * a + share * b, slerp(a, b, share)])
        drawn = yield from self._drawn(mixed)
        return {"pictures": kit.pack_greys(drawn)}

    def _both(self, pair: int) -> kit.Part:
        """The two pictures of a pair, whose pixels are mixed, and their noises."""
        noises = clean = torch.cat(self.ends(pair))
        if self._inverted:
            generator = kit.generator_for(self.seed, use=1)
            for step in ddim_invert(self.denoiser, clean, self.schedule, self.steps, generator):
                if 0 < step.t < self.schedule.T:  # the two ends ask the network nothing
                    yield
            noises = step.x
        else:
            clean = yield from self._drawn(noises)
        return {"clean": kit.pack_greys(clean), "noises": kit.as_noise(noises)}

    def _drawn(self, noises: Tensor) -> Generator[None, None, Tensor]:
        for step in sample(self.denoiser, noises, self.schedule, self.steps, ddim_step):
            if step.t > 0:
                yield
        return step.x

    def noises(self, pair: int | None = None) -> tuple[Tensor, Tensor]:
        """The two noises between which the ways run, float32 [1, C, H, W] each."""
        part = self._part(self._index(self.pair if pair is None else pair))
        numbers = kit.unpack(part["noises"], "<f4").reshape(2, 1, *self._picture)
        first, second = torch.from_numpy(numbers.copy()).to(self._given[1].device)
        return first, second

    def straight(self, pair: int | None = None) -> Tensor:
        """Pictures along the straight line between the noises, float32 [P, C, H, W].

        Computed now if nobody has; likewise in `on_shell`.
        """
        return self._along(pair, range(self._positions))[:, 0]

    def on_shell(self, pair: int | None = None) -> Tensor:
        """Pictures along the great circle between the noises, float32 [P, C, H, W]."""
        return self._along(pair, range(self._positions))[:, 1]

    def _along(self, pair: int | None, positions: Iterable[int]) -> Tensor:
        """Pictures at some of the positions, of both ways: [positions, 2, C, H, W]."""
        pair = self.pair if pair is None else pair
        parts = [self._part(self._index(pair, position))["pictures"] for position in positions]
        shape = [2, *self._picture]
        return torch.stack([kit.unpack_greys(content, shape) for content in parts])

    def mixed(self, pair: int | None = None) -> Tensor:
        """The pixels of the two ends mixed, float32 [P, C, H, W]."""
        part = self._part(self._index(self.pair if pair is None else pair))
        first, last = kit.unpack_greys(part["clean"], [2, *self._picture])
        share = self.shares.view(-1, 1, 1, 1)
        return (1 - share) * first + share * last

    def figure(self) -> "Figure":
        """The three ways of the chosen pair, at those of nine places that are there."""
        figure = kit.new_figure(7.6, 2.7)
        every = [round(i * (self._positions - 1) / 8) for i in range(9)]
        places = [i for i in every if self._has(self._index(self.pair, i))]
        if places and self._has(self._index(self.pair)):
            walked = self._along(None, places)
            mixed, straight, on_shell = self.mixed()[places], walked[:, 0], walked[:, 1]
        else:
            mixed = straight = on_shell = torch.full((1, *self._picture), -1.0)
        for axes, (name, colour, pictures) in zip(
            figure.subplots(3),
            [
                ("pixels mixed", DATA, mixed),
                ("straight", INK, straight),
                ("on the shell", RESULT, on_shell),
            ],
            strict=True,
        ):
            kit.show_picture(axes, kit.tiled(kit.as_kept(pictures), len(pictures)))
            axes.set_ylabel(name, color=colour, rotation=0, ha="right", va="center", fontsize=10)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        return figure
