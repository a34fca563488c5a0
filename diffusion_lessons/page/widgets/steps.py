"""Fewer steps, more or less noise: what DDIM's two knobs do to the same starting noise."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import traitlets
from torch import Tensor

from ... import checks
from ...math.sampling import Denoiser, Step, ddim_step, sample, thin
from ...math.schedule import NoiseSchedule
from .. import kit
from ..palette import RESULT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEVELS = 12  # greys of a film: noise does not compress, so it is kept coarsely
FRAMES = 7  # pictures of a walk, its two ends included


class StepsExplorer(kit.Computed):
    """DDIM (arXiv 2010.02502) with every number of steps and every eta, from the same noise.

    For each pair of ``steps`` and ``etas`` the pictures that `sample` makes from ``x_T`` with
    `ddim_step`, and at most 7 moments of the walk there. The noise drawn on the way starts from the
    same seed each time. Below, the finished pictures for all ``steps`` at the chosen eta, side by
    side.

    ``x_T`` is noise [N, 1, H, W], or [N, 3, H, W] of pictures in colour, N at most 16. The denoiser
    sees batches of N, so it may hold N labels; ``labels`` are captions. ``steps`` and ``etas`` must
    rise; ``etas`` are the paper's. One pair is computed at once, that of the number of steps
    nearest to 10 and the first eta. The others are computed when they are wanted: by the page
    itself, for a denoiser made of a network that ships with the package (then any number of steps
    in 1..T and any eta in 0..1 can be chosen), otherwise by the kernel. "New noise" shows itself
    where either is there.

    Synced traits: ``steps`` and ``eta``, ``walk`` (0 the noise, 1 the finished pictures), ``seed``
    (another one is another noise). ``pictures()`` are the finished pictures. Raises ValueError for
    values outside these ranges, traitlets.TraitError for a pair that cannot be chosen.
    """

    _files = kit.files(__file__, "steps.css", "steps.js")

    steps = traitlets.Int(1).tag(sync=True)
    eta = traitlets.Float(0.0).tag(sync=True)
    walk = traitlets.Float(1.0, min=0.0, max=1.0).tag(sync=True)
    labels = traitlets.List(traitlets.Unicode()).tag(sync=True)

    _all_steps = traitlets.List(traitlets.Int()).tag(sync=True)
    _all_etas = traitlets.List(traitlets.Float()).tag(sync=True)
    _shape = traitlets.List(traitlets.Int()).tag(sync=True)  # [N, H, W] or [N, 3, H, W]
    _T = traitlets.Int(0).tag(sync=True)

    def __init__(
        self,
        denoiser: Denoiser,
        x_T: Tensor,
        schedule: NoiseSchedule,
        steps: Sequence[int] = (1, 2, 3, 5, 10, 20, 50, 100),
        etas: Sequence[float] = (0, 0.2, 0.5, 1),
        labels: Sequence[object] | Tensor | None = None,
        seed: int = 0,
    ) -> None:
        noise = kit.check_batch(x_T, "x_T", 16)
        _check_rising("steps", steps)
        _check_rising("etas", etas)
        steps = [checks.whole("each of steps", count, 1, schedule.T) for count in steps]
        etas = [checks.share("each of etas", eta) for eta in etas]
        kit.check_seed(seed)
        captions = kit.check_labels(labels, len(noise))
        kit.check_denoiser(denoiser, noise, schedule.T)
        self.denoiser, self.schedule = denoiser, schedule
        self._given = seed, noise
        super().__init__(
            labels=captions,
            seed=seed,
            _first_seed=seed,
            _network=kit.network_behind(denoiser, noise, schedule),
            _x_T=kit.as_noise(noise),
            _T=schedule.T,
            _all_steps=list(steps),
            _all_etas=[float(eta) for eta in etas],
            _shape=list(kit.as_kept(noise).shape),
        )
        self.eta = self._all_etas[0]
        self.steps = min(self._all_steps, key=lambda count: abs(count - 10))
        self._begin(len(steps) * len(etas), self._known(self.steps, self.eta))

    @traitlets.validate("steps", "eta")
    def _check_chosen(self, proposal: Any) -> Any:
        name, value = proposal.trait.name, proposal.value
        if message := self._refused(name, value):
            raise traitlets.TraitError(message)
        return value

    def _refused(self, name: str, value: float) -> str:
        """Why there is nothing to show at this value of steps or eta, if so."""
        allowed = self._all_steps if name == "steps" else self._all_etas
        low, high = (1, self._T) if name == "steps" else (0, 1)
        if not allowed or value in allowed:
            return ""
        if self._network:
            return "" if low <= value <= high else f"{name} must lie in {low}..{high}, got {value}"
        return f"{name} must be one of {', '.join(map(str, allowed))}, got {value}"

    @property
    def x_T(self) -> Tensor:
        """The starting noise [N, C, H, W]: the one given, or the one of a later ``seed``."""
        seed, noise = self._given
        return noise if self.seed == seed else kit.draw_noise(noise, self.seed, use=0)

    def sampled(self, steps: int, eta: float) -> Iterator[Step]:
        """The walk that is shown for this pair, computed now."""
        generator = kit.generator_for(self.seed, use=1)
        rule = partial(ddim_step, eta=eta)
        return sample(self.denoiser, self.x_T, self.schedule, steps, rule, generator)

    def _pair(self, part: int) -> tuple[int, float]:
        row, column = divmod(part, len(self._all_steps))
        return self._all_steps[column], self._all_etas[row]

    def _index(self, steps: int, eta: float) -> int | None:
        """The part of a pair; None for one that only the page computes."""
        if steps not in self._all_steps or eta not in self._all_etas:
            return None
        return self._all_etas.index(eta) * len(self._all_steps) + self._all_steps.index(steps)

    def _known(self, steps: int, eta: float) -> int:
        part = self._index(steps, eta)
        if part is None:
            raise ValueError(
                f"steps must be one of {self._all_steps} and eta one of {self._all_etas}, "
                f"got {steps} and {eta}"
            )
        return part

    def _calls(self, part: int) -> int:
        return self._pair(part)[0]

    def _ahead(self) -> Iterator[int]:
        """The finished pictures side by side; of long walks only if the page cannot make them."""
        for steps in self._all_steps:
            if not self._network or steps <= 20:
                yield self._known(steps, self._all_etas[0])

    def _compute(self, part: int) -> kit.Part:
        walk = []
        for step in self.sampled(*self._pair(part)):
            walk.append(step)
            if step.t > 0:
                yield
        frames = thin(walk, FRAMES)
        film = [step.x for step in frames[1:-1]] + [step.x0_hat for step in frames[:-1]]
        return {
            "times": [step.t for step in frames],
            "finished": kit.pack_greys(walk[-1].x),
            "film": kit.pack_greys(torch.stack(film), LEVELS),
        }

    def pictures(self, steps: int | None = None, eta: float | None = None) -> Tensor:
        """Finished pictures, float32 [N, C, H, W]: of the chosen pair unless another is named.

        Computed now if nobody has; ValueError for a pair that cannot be chosen.
        """
        steps, eta = self.steps if steps is None else steps, self.eta if eta is None else eta
        for name, value in [("steps", steps), ("eta", eta)]:
            if message := self._refused(name, value):
                raise ValueError(message)
        part = self._index(steps, eta)
        if part is None:
            *_, last = self.sampled(steps, eta)
            return last.x.clamp(-1, 1)
        count, *picture = self._shape
        return kit.unpack_greys(self._part(part)["finished"], [count, *kit.with_channel(picture)])

    def seconds(self, steps: int | None = None, eta: float | None = None) -> float:
        """How long that walk, one of those given, took where it was computed."""
        chosen = self.steps if steps is None else steps, self.eta if eta is None else eta
        return float(self._part(self._known(*chosen))["seconds"])

    def figure(self) -> "Figure":
        """Finished pictures that are there: a row for each pair, at most eight pictures wide."""
        pairs = [(eta, n) for eta in self._all_etas for n in self._all_steps]
        pairs = [pair for pair in pairs if self._has(self._known(pair[1], pair[0]))]
        count, rows = min(self._shape[0], 8), self._shape[-2]
        figure = kit.new_figure(1.9 + 0.62 * count, 0.3 + 0.62 * max(len(pairs), 1))
        axes = figure.subplots()
        if pairs:
            shown = [kit.as_kept(self.pictures(steps, eta))[:count] for eta, steps in pairs]
            kit.show_picture(axes, kit.tiled(torch.cat(shown), count))
        middles = [(i + 0.5) * rows - 0.5 for i in range(len(pairs))]
        words = [rf"$\eta$ = {eta:g}, {n} step{'s' * (n > 1)}" for eta, n in pairs]
        axes.set_yticks(middles, words)
        axes.set_xticks([])
        axes.tick_params(length=0, labelsize=9, colors=RESULT)
        axes.spines[:].set_visible(False)
        return figure


def _check_rising(name: str, values: Sequence[float]) -> None:
    numbers = list(values)
    if not numbers or numbers != sorted(set(numbers)):
        raise ValueError(f"{name} must hold at least one value and rise, got {numbers}")
