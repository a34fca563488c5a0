"""One class asked for more and more insistently: what guidance gives, and what it takes."""

from collections.abc import Generator, Iterator, Mapping, Sequence

import torch
import traitlets
from torch import Tensor

from ... import checks
from ...math.sampling import Step, ddim_step, sample
from ...math.schedule import NoiseSchedule
from .. import kit
from ._trade import Curve, TradeExplorer, check_classes, check_rising


class GuidanceExplorer(TradeExplorer):
    """Samples of one class under several guidances and scales, all from the same noise.

    ``methods`` are named functions ``(labels [N], scale) -> denoiser``, such as a wrapped
    `classifier_guidance`. For every method and every one of ``classes`` the pictures that `sample`
    makes from ``x_T`` with `ddim_step` (eta 0) in ``steps`` steps, at every one of ``scales``.
    Usual ``classes`` are all that the network knows. The label after the last of them, which asks
    for nothing, may stand there, too; if the network has names for them (`DiffusionModel`), the
    page and the pictures have them.
    ``curves`` are measured points (scale, recall, precision) by method: they are drawn beside the
    pictures, with the chosen scale on them.

    ``x_T`` is noise [N, 1, H, W], or [N, 3, H, W] of pictures in colour, N at most 16. The first
    choice is computed at once. The others are computed when they are wanted: by the page itself,
    for a method that is the package's own (unguided or classifier-free) with a network that ships
    with it, and then at any scale in between; otherwise by the kernel. "New noise" shows itself
    where either is there.

    Synced traits: ``method``, ``label`` and ``scale``, ``seed`` (another one is another noise).
    ``pictures()`` are the samples shown. Raises ValueError for values outside these ranges,
    traitlets.TraitError for a choice that was not given.
    """

    _files = kit.files(__file__, "_trade.js", "guidance.js")

    _steps = traitlets.Int(1).tag(sync=True)

    def __init__(
        self,
        methods: Mapping[str, kit.Guided],
        x_T: Tensor,
        schedule: NoiseSchedule,
        scales: Sequence[float] = (0, 0.5, 1, 2, 4, 8),
        classes: Sequence[int] | None = None,
        steps: int = 20,
        curves: Mapping[str, Curve] | None = None,
        seed: int = 0,
    ) -> None:
        noise = kit.check_batch(x_T, "x_T", 16)
        scales = check_rising("scales", scales)
        if not methods:
            raise ValueError("methods must name at least one guidance")
        steps = checks.whole("steps", steps, 1, schedule.T)
        if unknown := (curves or {}).keys() - methods.keys():
            raise ValueError(f"curves are of {sorted(unknown)}, which are not among the methods")
        asked = None if classes is None else check_classes(classes)
        label = self._labels(len(noise), asked[0] if asked else 0, noise)
        with kit.calls_heard() as calls:
            for guided in methods.values():
                kit.check_denoiser(guided(label, scales[-1]), noise, schedule.T)
        known, names = kit.labels_behind(calls)
        asked = asked or list(range(known - 1 if known else 10))
        if known and max(asked) >= known:
            raise ValueError(f"the network knows labels up to {known - 1}, got classes {asked}")
        self.methods, self.schedule, self.steps = dict(methods), schedule, steps
        self._given = seed, noise
        shape = list(kit.as_kept(noise).shape)
        behind = {
            name: kit.guidance_behind(guided, noise, schedule) for name, guided in methods.items()
        }
        networks = {about["name"] for about in behind.values() if about}
        ways = {name: about["guidance"] for name, about in behind.items() if about}
        super().__init__(
            list(methods),
            asked,
            scales,
            shape,
            curves,
            seed,
            _network={"name": networks.pop(), "ways": ways} if len(networks) == 1 else {},
            _names=names,
            _x_T=kit.as_noise(noise),
            _steps=steps,
        )

    def _in_page(self, method: str) -> bool:
        return method in self._network.get("ways", {})

    @staticmethod
    def _labels(count: int, label: int, like: Tensor) -> Tensor:
        return torch.full((count,), label, device=like.device)

    @property
    def x_T(self) -> Tensor:
        """The starting noise [N, C, H, W]: the one given, or the one of a later ``seed``."""
        seed, noise = self._given
        return noise if self.seed == seed else kit.draw_noise(noise, self.seed, use=0)

    def sampled(self, method: str, label: int, scale: float) -> Iterator[Step]:
        """The walk that ends in the pictures shown for this choice, computed now."""
        x_T = self.x_T
        denoiser = self.methods[method](self._labels(len(x_T), label, x_T), scale)
        return sample(denoiser, x_T, self.schedule, self.steps, ddim_step)

    def _calls(self, part: int) -> int:
        return self.steps

    def _drawn(self, method: str, label: int, scale: float) -> Generator[None, None, Tensor]:
        for step in self.sampled(method, label, scale):
            if step.t > 0:
                yield
        return step.x
