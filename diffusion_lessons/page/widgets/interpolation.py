"""From one picture to another: through the pixels, or through the noise that makes them."""

from typing import TYPE_CHECKING, Any

import torch
import traitlets
from torch import Tensor

from ... import checks
from ...math.sampling import Denoiser, ddim_invert, ddim_step, sample, slerp
from ...math.schedule import NoiseSchedule
from .. import kit
from ..palette import NOISE, RESULT, SIGNAL

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REACH = 4  # noise is kept as bytes that span -4..4; see interpolation.js


class InterpolationExplorer(kit.Computed):
    """Half way between two pictures: pixels mixed, or DDIM (eta = 0) from a noise in between.

    ``a`` and ``b`` are noises [N, 1, H, W]; the first ``pairs`` of them are shown. With ``invert``
    they are pictures in -1..1, such as real digits, which `ddim_invert` turns into noise first.
    Between two noises run two ways: the straight line (1 - share) a + share b, which is too quiet
    in the middle, and `slerp`'s, which keeps the size of noise. Each way is walked down from
    ``positions`` evenly spread places, in ``steps`` steps, all behind a progress bar.

    The denoiser sees 2 * positions pictures at once, so it may hold no labels. Where there is a
    kernel a button brings new noise, or other digits: the next rows of ``a`` and ``b``, if there
    are more of them than ``pairs``.

    Synced traits: ``share`` (0 is a, 1 is b), ``pair`` (0..pairs-1), ``seed`` (another one is
    another noise, or other rows). ``straight()`` and ``on_shell()`` are the pictures of the two
    ways. Raises ValueError for what cannot be shown, traitlets.TraitError for a ``share`` or
    ``pair`` that does not exist.
    """

    _files = kit.files(__file__, "interpolation.css", "interpolation.js")

    share = traitlets.Float(0.5, min=0.0, max=1.0).tag(sync=True)
    pair = traitlets.Int(0).tag(sync=True)

    _positions = traitlets.Int().tag(sync=True)
    _shape = traitlets.List(traitlets.Int()).tag(sync=True)  # [H, W]
    _inverted = traitlets.Bool().tag(sync=True)
    _renewable = traitlets.Bool().tag(sync=True)

    def __init__(
        self,
        denoiser: Denoiser,
        a: Tensor,
        b: Tensor,
        schedule: NoiseSchedule,
        steps: int = 50,
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
        both_ways = first[:1].expand(2 * positions, -1, -1, -1)
        kit.check_denoiser(denoiser, kit.draw_noise(both_ways, 0, 0), schedule.T)
        self.denoiser, self.schedule, self.steps = denoiser, schedule, steps
        self._given = seed, first, second
        super().__init__(
            seed=seed,
            _positions=positions,
            _shape=list(first.shape[2:]),
            _inverted=invert,
            _renewable=not invert or len(first) > pairs,
        )
        self._precompute(pairs, "interpolations")

    @traitlets.validate("pair")
    def _check_pair(self, proposal: Any) -> int:
        if not 0 <= proposal.value < max(self._count, 1):
            raise traitlets.TraitError(
                f"pair must lie in 0..{self._count - 1}, got {proposal.value}"
            )
        return int(proposal.value)

    @property
    def shares(self) -> Tensor:
        """The slider's positions, float32 [P]."""
        return torch.linspace(0, 1, self._positions)

    def ends(self, pair: int) -> tuple[Tensor, Tensor]:
        """What ``a`` and ``b`` are for this pair and ``seed``: noises or pictures, [1, 1, H, W]."""
        seed, a, b = self._given
        if self._inverted:
            row = ((self.seed - seed) * self._count + pair) % len(a)
            return a[row : row + 1], b[row : row + 1]
        if self.seed == seed:
            return a[pair : pair + 1], b[pair : pair + 1]
        both = kit.draw_noise(torch.cat([a[:1], b[:1]]), self.seed, use=2 + pair)
        return both[:1], both[1:]

    def _calls(self, part: int) -> int:
        return 2 * self.steps if self._inverted else self.steps

    def _compute(self, part: int) -> kit.Part:
        a, b = self.ends(part)
        clean = torch.cat([a, b])
        if self._inverted:
            generator = kit.generator_for(self.seed, use=1)
            for step in ddim_invert(self.denoiser, clean, self.schedule, self.steps, generator):
                if 0 < step.t < self.schedule.T:  # the two ends ask the network nothing
                    yield
            a, b = step.x[:1], step.x[1:]
        share = self.shares.view(-1, 1, 1, 1).to(a)
        ways = torch.cat([(1 - share) * a + share * b, slerp(a, b, share)])  # [2 P, 1, H, W]
        for step in sample(self.denoiser, ways, self.schedule, self.steps, ddim_step):
            if step.t > 0:
                yield
        straight, on_shell = step.x.chunk(2)
        if not self._inverted:
            clean = on_shell[[0, -1]]
        stds = ways.flatten(1).std(1).chunk(2)
        cosine = (a * b).sum() / (a.norm() * b.norm())
        return {
            "ends": kit.pack_greys(clean),  # whose pixels are mixed
            "straight": kit.pack_greys(straight),
            "on_shell": kit.pack_greys(on_shell),
            "noises": kit.pack_greys(torch.cat([a, b]) / REACH),
            "angle": round(float(cosine.clamp(-1, 1).acos()), 6),
            "stds": [[round(float(std), 4) for std in way] for way in stds],
        }

    def straight(self, pair: int | None = None) -> Tensor:
        """Pictures along the straight line between the noises, float32 [P, 1, H, W].

        LookupError if that pair is not computed yet for a new noise; likewise in `on_shell`.
        """
        return self._pictures("straight", pair)

    def on_shell(self, pair: int | None = None) -> Tensor:
        """Pictures along the great circle between the noises, float32 [P, 1, H, W]."""
        return self._pictures("on_shell", pair)

    def mixed(self, pair: int | None = None) -> Tensor:
        """The pixels of the two ends mixed, float32 [P, 1, H, W]."""
        first, last = self._pictures("ends", pair)
        share = self.shares.view(-1, 1, 1, 1)
        return (1 - share) * first + share * last

    def _pictures(self, way: str, pair: int | None) -> Tensor:
        part = self._part(self.pair if pair is None else pair)
        return kit.unpack_greys(part[way], [-1, 1, *self._shape])

    def figure(self) -> "Figure":
        """The three ways of the chosen pair, at nine places."""
        figure = kit.new_figure(7.6, 2.7)
        rows, columns = self._shape
        places = [round(i * (self._positions - 1) / 8) for i in range(9)]
        nothing = torch.full((self._positions, 1, rows, columns), -1.0)
        for axes, (name, colour, way) in zip(
            figure.subplots(3),
            [
                ("pixels mixed", SIGNAL, self.mixed),
                ("straight", NOISE, self.straight),
                ("on the shell", RESULT, self.on_shell),
            ],
            strict=True,
        ):
            pictures = way() if self._has(self.pair) else nothing
            strip = torch.cat([*pictures[places, 0]], dim=1).numpy()
            axes.imshow(strip, cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
            axes.set_ylabel(name, color=colour, rotation=0, ha="right", va="center", fontsize=10)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        return figure
