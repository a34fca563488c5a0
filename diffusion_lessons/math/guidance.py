"""Steering a sampler towards a class: denoiser -> denoiser, so every sampler can be guided.

The scale trades diversity for fidelity. So does truncating the input of a generator, which is a
knob of another kind: guidance changes the score, truncation the distribution of the latent.
"""

import inspect
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from .. import checks
from .sampling import Denoiser
from .schedule import NoiseSchedule

LogProb = Callable[[Tensor, int], Tensor]
"""(x_t [B, ...], t) -> log p(y | x_t) [B], differentiable in x_t, for the y that is wanted"""


def classifier_guidance(
    denoiser: Denoiser, log_prob: LogProb, schedule: NoiseSchedule, scale: float = 1.0
) -> Denoiser:
    """The denoiser, pushed along ``scale`` times the gradient of log p(y | x_t).

    In x0_hat the push is ``scale (1 - alpha_bar) / sqrt(alpha_bar) grad``, which is ADM's
    ``eps - scale sqrt(1 - alpha_bar) grad`` (arXiv 2105.05233, section 4.2; its Algorithm 2 prints
    no scale). In a DDPM step it moves the mean by ``scale beta / sqrt(alpha) grad``, where ADM's
    Algorithm 1 writes ``scale Sigma grad``: the same to first order in beta, if Sigma is beta.
    With the exact denoiser and class posterior, scale 1 is the exact conditional denoiser. Clip
    afterwards (`clipped`). At scale 0 log_prob is not asked. Raises ValueError for a scale that is
    not finite, and when called, for a log_prob whose answer is not [B] or does not depend on x_t.
    """
    checks.number("scale", scale)

    def guided(x_t: Tensor, t: int) -> Tensor:
        x0_hat = denoiser(x_t, t)
        if scale == 0:
            return x0_hat  # nobody pushes
        a_t = schedule.at(t, x_t)
        push = scale * (1 - a_t) / a_t.sqrt()
        return x0_hat + push.to(x_t.dtype) * log_prob_gradient(log_prob, x_t, t)

    return guided


def log_prob_gradient(log_prob: LogProb, x_t: Tensor, t: int) -> Tensor:
    """grad log p(y | x_t) with respect to x_t, [B, ...] -> [B, ...]; no row sees another's."""
    with torch.enable_grad():  # samplers run without gradients
        x = x_t.detach().requires_grad_()
        found = log_prob(x, t)
        if found.shape != x_t.shape[:1]:
            raise ValueError(
                f"log_prob must answer with one number a row, {list(x_t.shape[:1])}, "
                f"got {list(found.shape)}"
            )
        if not found.requires_grad:
            raise ValueError("log_prob must be differentiable in x_t (is it under no_grad?)")
        (gradient,) = torch.autograd.grad(found.sum(), x, allow_unused=True)
    if gradient is None:
        raise ValueError("log_prob does not depend on x_t, so there is nowhere to push")
    return gradient


def class_log_prob(classifier: Callable[[Tensor, Tensor], Tensor], label: Tensor) -> LogProb:
    """log p(label | x_t) of a classifier ``(x_t, t [B]) -> logits [B, K]`` that knows the time.

    ``label`` is integer [B], one for each row of x_t. Raises ValueError for a classifier that takes
    no time, for it was made for clean pictures, and for labels of another shape, kind or range.
    """
    if _inputs(classifier) == 1:
        raise ValueError(
            "the classifier takes no time, so it was made for clean pictures and sees nothing in "
            "noisy ones; train one on noisy pictures (diffusion-lessons train "
            "digits-noisy-classifier), or say that you mean it: lambda x_t, t: classifier(x_t)"
        )
    checks.tensor("label", label)
    if label.ndim != 1 or label.is_floating_point() or label.dtype == torch.bool:
        raise ValueError(f"label must be integers [B], got {label.dtype} {list(label.shape)}")

    def log_prob(x_t: Tensor, t: int) -> Tensor:
        if len(label) != len(x_t):
            raise ValueError(f"{len(label)} labels for {len(x_t)} rows of x_t")
        logits = classifier(x_t, torch.full((len(x_t),), t, device=x_t.device))
        if logits.ndim != 2 or len(logits) != len(x_t):
            raise ValueError(f"the classifier must give logits [B, K], got {list(logits.shape)}")
        if label.min() < 0 or label.max() >= logits.shape[1]:
            raise ValueError(f"labels must lie in 0..{logits.shape[1] - 1}, got {label.tolist()}")
        # In float32: the gradient of a bfloat16 softmax is mostly rounding.
        every = logits.float() if logits.dtype == torch.bfloat16 else logits
        return every.log_softmax(1).gather(1, label[:, None])[:, 0]

    return log_prob


def classifier_free_guidance(
    conditional: Denoiser, unconditional: Denoiser, scale: float = 1.0
) -> Denoiser:
    """From what is believed without a label, ``scale`` times the way to what is believed with it.

    Ho & Salimans (arXiv 2207.12598, eq. 6), whose w is ``scale - 1``: here 0 ignores the label, 1
    is the conditional denoiser alone (their w = 0), more exaggerates. Mixing x0_hat is the same as
    mixing the predicted noise, as both are linear in each other with weights that sum to 1. Raises
    ValueError for a scale that is not finite.
    """
    checks.number("scale", scale)

    def guided(x_t: Tensor, t: int) -> Tensor:
        if scale == 1:
            return conditional(x_t, t)  # the other call would change nothing
        without = unconditional(x_t, t)
        if scale == 0:
            return without
        return without + scale * (conditional(x_t, t) - without)

    return guided


def clipped(denoiser: Denoiser, limit: float = 1.0) -> Denoiser:
    """The denoiser, its x0_hat limited to -limit..limit. Raises ValueError unless limit > 0."""
    checks.positive("limit", limit)
    return lambda x_t, t: denoiser(x_t, t).clamp(-limit, limit)


def truncated_normal(
    shape: Sequence[int],
    threshold: float,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Standard normal numbers, those beyond ``threshold`` drawn again: BigGAN's truncation trick.

    (Brock et al., arXiv 1809.11096, section 3.1.) Float32, on the generator's device; drawn in one
    go through the inverse of the distribution function. A threshold of infinity leaves a normal.
    Raises ValueError unless threshold > 0.
    """
    checks.amount("shape", *shape)
    checks.real("threshold", threshold)
    if not threshold > 0:
        raise ValueError(f"threshold must be above 0, got {threshold}")
    device = generator.device if generator is not None else torch.device("cpu")
    u = torch.rand(list(shape), generator=generator, device=device)
    inside = math.erf(min(threshold, 5.0) / math.sqrt(2))  # beyond 5 float32 sees no difference
    z = math.sqrt(2) * torch.erfinv((2 * u - 1) * inside)
    return z.clamp(-threshold, threshold)


def _inputs(function: Callable[..., Tensor]) -> int | None:
    """How many positional inputs a function or network takes; None if it does not say."""
    called = function.forward if isinstance(function, nn.Module) else function
    try:
        parameters = inspect.signature(called).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return None
    return sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)
