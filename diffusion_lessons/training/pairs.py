"""Noise and the picture that a network makes of it: what a flow is made straight with."""

from typing import Any

import torch
from torch import Tensor

from .. import checks
from ..math.randomness import RowGenerator, derived, seeded
from ..math.sampling import final
from ..networks.compute import Compute
from ..networks.diffusion import DiffusionModel
from ..networks.drawing import DrawSettings

POOL = 1280
"""Pairs that are made at once, and then used for some updates."""

USES = 5
"""How often each pair of a pool is used, on the average."""


class Pairs:
    """Endless batches of pairs (picture [B, C, H, W], noise [B, C, H, W], label [B]).

    The pictures are where the teacher's walk ends that begins with the noise, without fresh noise
    on the way (Liu et al., arXiv 2209.03003, the coupling of section 2). A pool of them is made
    whenever the last one has been used up: the walks of a pool depend on the seed and the pool's
    number alone, so a run that goes on sees the batches that it would have seen.
    """

    def __init__(
        self,
        teacher: DiffusionModel,
        settings: DrawSettings,
        batch_size: int,
        seed: int,
        compute: Compute,
    ) -> None:
        self.teacher, self.settings, self.compute = teacher, teacher.settled(settings), compute
        self.batch_size = checks.whole("batch_size", batch_size, 1, POOL)
        self.seed = checks.whole("seed", seed, 0, 2**63 - 1)
        self._pool: tuple[int, tuple[Tensor, ...]] = (-1, ())

    @property
    def about(self) -> dict[str, Any]:
        """What a run that goes on must have in common with the one before."""
        return {"batch_size": self.batch_size, "pool": POOL, "uses": USES}

    def __call__(self, step: int) -> tuple[Tensor, ...]:
        step = checks.whole("step", step, 0)
        number, place = divmod(step, POOL * USES // self.batch_size)
        if number != self._pool[0]:
            self._pool = number, self._made(number)
        every = self._pool[1]
        a_pass, i = divmod(place, POOL // self.batch_size)
        order = torch.randperm(POOL, generator=seeded(self.seed, number, a_pass))
        rows = order[i * self.batch_size : (i + 1) * self.batch_size].to(every[0].device)
        return tuple(tensor[rows] for tensor in every)

    @torch.no_grad()
    def _made(self, number: int) -> tuple[Tensor, ...]:
        device = self.compute.device
        label = torch.arange(POOL, device=device) % max(1, self.teacher.classes)
        parts = []
        for i, some in enumerate(label.split(POOL // USES)):
            seed = derived(self.seed, number, i)
            walk = self.teacher.walk(
                len(some),
                some if self.teacher.classes else None,
                RowGenerator(seed, device=device),
                self.settings,
                self.compute,
            )
            first = next(walk)
            parts.append((final(walk).x, first.x / self.teacher.schedule.start_std, some))
        return tuple(torch.cat(each) for each in zip(*parts, strict=True))
