"""Optimisers: Muon for the inner weights of a network, AdamW for all others."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from .. import checks
from ..networks.compute import product_format
from ..networks.processes import processes


class Muon(torch.optim.Optimizer):
    """Momentum whose every update is made orthogonal (Jordan et al. 2024), so that a weight matrix
    learns in all directions at one pace. A convolution counts as the matrix [out, in*height*width].

    The same update as ``torch.optim.Muon`` without weight decay, but matrices of one shape go
    through the iteration together, which on two CPU cores made it three to seven times as fast.
    """

    def __init__(self, weights: list[Tensor], lr: float = 0.02, momentum: float = 0.95) -> None:
        super().__init__(weights, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            lr, momentum = group["lr"], group["momentum"]
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if not weights:
                continue
            gradients = [weight.grad.flatten(1) for weight in weights]
            for weight, gradient in zip(weights, gradients, strict=True):
                if not self.state[weight]:
                    self.state[weight]["momentum"] = torch.zeros_like(gradient)
            averages = [self.state[weight]["momentum"] for weight in weights]
            torch._foreach_lerp_(averages, gradients, 1 - momentum)
            # Nesterov's momentum: look one step ahead.
            directions = torch._foreach_lerp(gradients, averages, momentum)
            by_shape: dict[torch.Size, list[int]] = {}
            for i, direction in enumerate(directions):
                by_shape.setdefault(direction.shape, []).append(i)
            for (rows, columns), members in by_shape.items():
                updates = orthogonalize(torch.stack([directions[i] for i in members]))
                rate = lr * max(1.0, rows / columns) ** 0.5
                for i, update in zip(members, updates, strict=True):
                    weights[i].sub_(update.view(weights[i].shape), alpha=rate)


def orthogonalize(matrices: Tensor, iterations: int = 5) -> Tensor:
    """Matrices [N, R, C] -> about the nearest with singular values 1.

    A Newton-Schulz iteration: an odd polynomial of each matrix that moves its singular values
    into 0.7..1.2 and leaves its singular vectors alone. It may be rough, so it is in bfloat16 where
    that is quick, and in float32 elsewhere (`product_format`).
    """
    wide = matrices.shape[1] <= matrices.shape[2]
    X = matrices if wide else matrices.mT
    X = X.to(product_format(X.device))
    X = X / X.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(iterations):
        A = X @ X.mT
        B = torch.baddbmm(A, A, A, beta=-4.7750, alpha=2.0315)
        X = torch.baddbmm(X, B, X, beta=3.4445)
    return X if wide else X.mT


class Optimizers:
    """Optimisers that share out a network's weights; their rates rise and fall together.

    The rates that they have now are the highest; between the steps they have them again. Raises
    TypeError for what is no optimiser, or one that must be told the loss again (LBFGS).
    """

    def __init__(self, *optimizers: torch.optim.Optimizer) -> None:
        for optimizer in optimizers:
            checks.optimizer(optimizer)
        self.optimizers = optimizers
        self._rates = [[group["lr"] for group in each.param_groups] for each in optimizers]

    def zero_grad(self) -> None:
        for optimizer in self.optimizers:
            optimizer.zero_grad()

    def step(self, factor: float, only: nn.Module | None = None) -> None:
        """One update with the learning rates multiplied by ``factor``.

        With ``only`` step the optimisers that hold weights of that network alone. Several processes
        first take the mean of their gradients.
        """
        pairs = list(zip(self.optimizers, self._rates, strict=True))
        if only is not None:
            chosen = {id(weight) for weight in only.parameters()}
            pairs = [pair for pair in pairs if chosen.issuperset(map(id, _weights(pair[0])))]
        weights = [weight for optimizer, _ in pairs for weight in _weights(optimizer)]
        processes().mean_([weight.grad for weight in weights if weight.grad is not None])
        for optimizer, rates in pairs:
            try:
                _set_rates(optimizer, [rate * factor for rate in rates])
                optimizer.step()
            finally:  # whoever uses it again begins with its own rates
                _set_rates(optimizer, rates)

    def memory(self) -> dict[tuple[Any, ...], Any]:
        """All that they remember, by ("optimizer", its number, the weight's number, name)."""
        return {
            ("optimizer", i, j, name): value
            for i, optimizer in enumerate(self.optimizers)
            for j, weight in enumerate(_weights(optimizer))
            for name, value in optimizer.state.get(weight, {}).items()
        }

    def keep_only(self, values: dict[tuple[Any, ...], Any]) -> None:
        """Forget what is not among the values, named as in `memory`; take over the numbers."""
        for i, optimizer in enumerate(self.optimizers):
            for j, weight in enumerate(_weights(optimizer)):
                kept = {
                    name: values["optimizer", i, j, name]
                    for name in optimizer.state.get(weight, {})
                    if ("optimizer", i, j, name) in values
                }
                if kept:
                    optimizer.state[weight] = kept
                else:
                    optimizer.state.pop(weight, None)

    def tensors(self) -> dict[str, Tensor]:
        """The optimisers' memory, for a checkpoint."""
        return {
            ".".join(map(str, name[1:])): torch.as_tensor(value)
            for name, value in self.memory().items()
            if value is not None
        }

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Undo `tensors`."""
        for i, optimizer in enumerate(self.optimizers):
            state: dict[int, dict[str, Tensor]] = {}
            for name, tensor in tensors.items():
                number, j, key = name.split(".", 2)
                if int(number) == i:
                    state.setdefault(int(j), {})[key] = tensor
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": state, "param_groups": groups})


Optimizer = torch.optim.Optimizer | Callable[[Any], Optimizers | torch.optim.Optimizer]
"""What `train` takes: what makes the optimisers of a network, or an optimiser of its weights"""


def optimizers_of(model: nn.Module, optimizer: Any) -> Optimizers:
    """The `Optimizers` of a network, of whatever `train` was given.

    Raises TypeError for what makes no optimiser, ValueError for one of another network's weights.
    """
    if isinstance(optimizer, Optimizers | torch.optim.Optimizer):
        made: Any = optimizer
    else:
        checks.called("optimizer", optimizer, "network -> optimiser; or give one of torch.optim's")
        torchs = isinstance(optimizer, type) and issubclass(optimizer, torch.optim.Optimizer)
        made = optimizer(model.parameters() if torchs else model)
    if not isinstance(made, Optimizers):
        made = Optimizers(made)
    mine = {id(weight) for weight in model.parameters()}
    held = {id(weight) for each in made.optimizers for weight in _weights(each)}
    if not held <= mine:
        raise ValueError("the optimiser holds weights that are not of the network to be trained")
    return made


def _set_rates(optimizer: torch.optim.Optimizer, rates: list[Any]) -> None:
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate


def _weights(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [weight for group in optimizer.param_groups for weight in group["params"]]


def inner_weights(model: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """A network's weights that suit `Muon`, and all others.

    Those of convolutions and linear layers suit it. Embeddings, norms, biases do not, nor do layers
    that lie in a part named ``input``, ``output`` or ``time``.
    """
    inner = {
        id(module.weight): module.weight  # two layers may share one
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
        and {"input", "output", "time"}.isdisjoint(name.split("."))
    }
    return list(inner.values()), [
        weight for weight in model.parameters() if id(weight) not in inner
    ]


class MuonAdamW(Optimizers):
    """`Muon` for a network's `inner_weights`, AdamW for all others."""

    def __init__(self, model: nn.Module, lr: float = 0.02, adamw_lr: float = 2e-3) -> None:
        inner, rest = inner_weights(model)
        checks.trainable(model)
        super().__init__(
            *([_adamw(rest, adamw_lr)] if rest else []), *([Muon(inner, lr)] if inner else [])
        )


def _adamw(weights: list[Tensor], lr: float) -> torch.optim.AdamW:
    return torch.optim.AdamW(weights, lr, betas=(0.9, 0.99), weight_decay=0.0, foreach=True)


def adamw(lr: float = 2e-3) -> Callable[[nn.Module], Optimizers]:
    """Plain AdamW for everything: quicker a step than `MuonAdamW` where a network is small."""

    def optimizers(model: nn.Module) -> Optimizers:
        checks.trainable(model)
        return Optimizers(_adamw(list(model.parameters()), lr))

    return optimizers
