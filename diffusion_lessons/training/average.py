"""The running average of a network's weights."""

import copy

import torch
from torch import nn

from .. import checks


class EMA:
    """A running average of a network's weights, which samples better than the weights themselves.

    The average forgets with ``decay`` a step. With ``warmup`` it forgets faster at first, by
    min(decay, (1 + n) / (10 + n)): for a network that begins with weights worth forgetting. The
    parts that a network names in ``not_averaged`` are copied as they are.
    """

    def __init__(self, model: nn.Module, decay: float = 0.999, warmup: bool = True) -> None:
        checks.decay("decay", decay)
        self.decay = decay
        self.warmup = warmup
        self.model = copy.deepcopy(model).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move the average towards the network's weights, ``step`` updates having been made."""
        decay = min(self.decay, (1 + step) / (10 + step)) if self.warmup else self.decay
        torch._foreach_lerp_(list(self.model.parameters()), list(model.parameters()), 1 - decay)
        for average, now in zip(self.model.buffers(), model.buffers(), strict=True):
            average.copy_(now)
        for name in getattr(model, "not_averaged", ()):
            self.model.get_submodule(name).load_state_dict(model.get_submodule(name).state_dict())
