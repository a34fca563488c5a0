"""Steering a sampler towards a class: denoiser -> denoiser, so every sampler can be guided.

The scale trades diversity for fidelity. So does truncating the input of a generator, which is a
knob of another kind: guidance changes the score, truncation the distribution of the input, which
may be a latent or DDIM's starting noise.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .. import checks
from .randomness import rand
from .sampling import Denoiser
from .schedule import NoiseSchedule, wide

LogProb = Callable[[Tensor, int], Tensor]
"""(x_t [B, ...], t) -> log p(y | x_t) [B], differentiable in x_t, for the y that is wanted"""


def classifier_guidance(
    denoiser: Denoiser, log_prob: LogProb, schedule: NoiseSchedule, scale: float = 1.0
) -> Denoiser:
    """The denoiser, pushed along ``scale`` times the gradient of log p(y | x_t).

    In x0_hat the push is ``scale sigma^2 / alpha grad``, with alpha_bar ``scale (1 - alpha_bar) /
    sqrt(alpha_bar) grad``, which is ADM's
    ``eps - scale sqrt(1 - alpha_bar) grad`` (arXiv 2105.05233, section 4.2; its Algorithm 2 prints
    no scale). In a DDPM step it moves the mean by ``scale beta / sqrt(alpha) grad``, where ADM's
    Algorithm 1 writes ``scale Sigma grad``: the same to first order in beta, if Sigma is beta.
    With the exact denoiser and class posterior, scale 1 is the exact conditional denoiser. Clip
    afterwards (`clipped`). At scale 0 log_prob is not asked. Raises ValueError for a scale that is
    not finite, and when called, for a log_prob whose answer is not [B] or does not depend on x_t.
    """
    scale = checks.number("scale", scale)

    def guided(x_t: Tensor, t: int) -> Tensor:
        x0_hat = denoiser(x_t, t)
        if scale == 0:
            return x0_hat  # nobody pushes
        alpha_t, sigma_t = schedule.at(t, x_t)
        checks.above_zero("alpha", alpha_t, "where nothing of the picture is left, none is pushed")
        push = scale * sigma_t**2 / alpha_t
        return x0_hat + push.to(x_t.dtype) * log_prob_gradient(log_prob, x_t, t)

    return guided


def log_prob_gradient(log_prob: LogProb, x_t: Tensor, t: int) -> Tensor:
    """grad log p(y | x_t) with respect to x_t, [B, ...] -> [B, ...]; no row sees another's."""
    with torch.inference_mode(False), torch.enable_grad():  # samplers run without gradients
        x = x_t.detach().clone().requires_grad_()
        value = log_prob(x, t)
        checks.log_prob(value, len(x_t))
        (gradient,) = torch.autograd.grad(value.sum(), x, allow_unused=True)
    checks.pushed(gradient)
    return gradient


def class_log_prob(
    classifier: Callable[[Tensor, Tensor], Tensor], label: Tensor | Sequence[int] | int
) -> LogProb:
    """log p(label | x_t) of a classifier ``(x_t, t [B]) -> logits [B, K]`` that knows the time.

    ``label`` is integer [B], one for each row of x_t, or one for all. Raises ValueError for a
    classifier that takes no time, for it was made for clean pictures, and for labels of another
    shape or range, TypeError for what are no integers.
    """
    checks.knows_the_time(classifier)
    checks.integers("label", label)

    def log_prob(x_t: Tensor, t: int) -> Tensor:
        wanted = checks.rows("label", label, x_t)
        logits = classifier(x_t, torch.full((len(x_t),), t, device=x_t.device))
        checks.logits(logits, wanted)
        # In float32: the gradient of a bfloat16 softmax is mostly rounding.
        return wide(logits).log_softmax(1).gather(1, wanted[:, None].clone())[:, 0]

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
    scale = checks.number("scale", scale)

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
    limit = checks.positive("limit", limit)
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
    shape = checks.shape("shape", shape)
    threshold = checks.above("threshold", threshold, 0)
    device = generator.device if generator is not None else torch.device("cpu")
    u = rand(shape, generator, device)
    inside = math.erf(min(threshold, 5.0) / math.sqrt(2))  # beyond 5 float32 sees no difference
    z = math.sqrt(2) * torch.erfinv((2 * u - 1) * inside)
    return z.clamp(-threshold, threshold)
