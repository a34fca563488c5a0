"""The running average of a network's weights."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from .. import checks


class EMA:
    """A running average of a network's weights, which evens out the jitter of single updates.

    The average forgets with ``decay`` a step. With ``warmup`` it forgets faster at first, by
    min(decay, (1 + n) / (10 + n)): for a network that begins with weights worth forgetting. The
    parts that a network names in ``not_averaged`` are copied as they are. Weights in half precision
    are averaged in float32: in their own, steps that small would be rounded away.
    """

    def __init__(self, model: nn.Module, decay: float = 0.999, warmup: bool = True) -> None:
        checks.network("model", model)
        self.decay = checks.decay("decay", decay)
        self.warmup = warmup
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        shown: list[Tensor] = list(self.model.parameters())
        self._weights = [
            x.detach().float() if x.dtype in (torch.bfloat16, torch.float16) else x for x in shown
        ]
        self._rounded = [
            (weight, x) for weight, x in zip(self._weights, shown, strict=True) if weight is not x
        ]
        copied = tuple(f"{name}." for name in getattr(model, "not_averaged", ()))
        self._copied = [name.startswith(copied) for name, _ in self.model.named_parameters()]

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move the average towards the network's weights, ``step`` updates having been made."""
        decay = min(self.decay, (1 + step) / (10 + step)) if self.warmup else self.decay
        pairs = list(zip(self._weights, model.parameters(), self._copied, strict=True))
        averages = [average for average, _, copied in pairs if not copied]
        weights = [weight.to(average.dtype) for average, weight, copied in pairs if not copied]
        for average, weight, copied in pairs:
            if copied:
                average.copy_(weight)
        if averages:
            torch._foreach_lerp_(averages, weights, 1 - decay)
        for exact, shown in self._rounded:
            shown.copy_(exact)
        for kept, now in zip(self.model.buffers(), model.buffers(), strict=True):
            kept.copy_(now)

    def tensors(self) -> list[Tensor]:
        """The averaged weights, unrounded."""
        return self._weights

    def state_dict(self) -> dict[str, Any]:
        """The averaged network's, with the weights unrounded."""
        exact = {id(shown): weight for weight, shown in self._rounded}
        state = self.model.state_dict(keep_vars=True)
        return {name: exact.get(id(value), value) for name, value in state.items()}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Undo `state_dict`."""
        self.model.load_state_dict(state)
        exact = {id(shown): weight for weight, shown in self._rounded}
        for name, value in self.model.state_dict(keep_vars=True).items():
            if id(value) in exact:
                exact[id(value)].copy_(state[name])
