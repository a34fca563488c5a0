"""Denoising diffusion GANs (Xiao, Kreis, Vahdat, arXiv 2112.07804): few steps, each of them drawn.

For a large step q(x_s | x_t) has many bumps, and no Gaussian will do. A generator G(x_t, z, t)
draws a clean x_0' instead, the latent z deciding which, and `posterior` noises it back to x_s: the
sum over all z has as many bumps as it needs. It is trained against a discriminator that sees noisy
pairs (x_s, x_t). Forward noising and posterior are the formulas of `gaussian`; no diffusion network
takes part. A generator is a denoiser like any other (`as_denoiser`), so `sample` runs it.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import checks
from ..math.gaussian import forward, posterior
from ..math.randomness import random_integers
from ..math.schedule import NoiseSchedule
from ..networks.gan import Gan, latents
from .loop import TrainOptions, TrainStep, Turn, advance
from .optimizers import Muon, Optimizers, inner_weights

GeneratorNet = Callable[..., Tensor]
"""(x_t [B, ...], z [B, latent] or None, t [B], label [B] or None) -> x_0' [B, ...]"""


class Pairs(NamedTuple):
    """One batch as the discriminator sees it: pairs (x_s, x_t) with s = t - 1."""

    x_t: Tensor  # [B, ...]
    t: Tensor  # [B], 1..T
    real: Tensor  # x_s from the data, [B, ...]
    fake: Tensor  # x_s by way of the generator, [B, ...]
    x0_fake: Tensor  # the generator's x_0', [B, ...]


def noisy_pairs(
    generator_net: nn.Module,
    x_0: Tensor,
    schedule: NoiseSchedule,
    generator: torch.Generator | None = None,
    label: Tensor | None = None,
) -> Pairs:
    """Noise clean x_0 [B, ...] to random times t; go one step back with the truth, and without it.

    Real: x_s from q(x_s | x_t, x_0). Fake: the same formula with the generator's x_0' in the place
    of x_0 (arXiv 2112.07804, section 3.2). At s = 0 both are the clean example itself.
    """
    checks.examples(x_0=x_0)
    t = random_integers(1, schedule.T, len(x_0), generator, x_0.device)
    x_t = forward(x_0, 0, t, schedule).sample(generator)
    x0_fake = generator_net(x_t, latents(generator_net, x_t, generator), t, label).to(x_0.dtype)
    real = posterior(x_t, x_0, t, t - 1, schedule).sample(generator)
    fake = posterior(x_t, x0_fake, t, t - 1, schedule).sample(generator)
    return Pairs(x_t, t, real, fake, x0_fake)


def generator_loss(fake_logits: Tensor) -> Tensor:
    """-log D of what the generator made: non-saturating (Goodfellow et al., arXiv 1406.2661)."""
    checks.examples(fake_logits=fake_logits)
    return F.softplus(-fake_logits).mean()


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """-log D(real) - log(1 - D(fake)), the means of both."""
    checks.examples(real_logits=real_logits)
    checks.examples(fake_logits=fake_logits)
    return F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()


def r1_penalty(
    discriminator: nn.Module, x_s: Tensor, x_t: Tensor, t: Tensor, label: Tensor | None = None
) -> Tensor:
    """Half the mean squared gradient of D by the real x_s (Mescheder et al., arXiv 1801.04406).

    A discriminator that is flat around the data cannot run away from the generator.
    """
    x = x_s.detach().requires_grad_()
    logits = discriminator(x, x_t, t, label)
    (gradient,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    return 0.5 * gradient.square().flatten(1).sum(1).mean()


def adams(lr: float = 2e-4, discriminator_lr: float = 5e-4) -> Callable[[nn.Module], Optimizers]:
    """An Adam for the discriminator and one for the generator, little momentum in either."""

    def optimizers(model: nn.Module) -> Optimizers:
        rates = {"discriminator": discriminator_lr, "generator_net": lr}
        return Optimizers(
            *(
                torch.optim.Adam(getattr(model, part).parameters(), rate, betas=(0.5, 0.9))
                for part, rate in rates.items()
            )
        )

    return optimizers


def muons(lr: float = 0.02, adam_lr: float = 1e-3) -> Callable[[nn.Module], Optimizers]:
    """`Muon` for the `inner_weights` of both networks, Adam for all others; little momentum.

    So lesson 06 trains its GANs of points.
    """

    def optimizers(model: nn.Module) -> Optimizers:
        parts: list[torch.optim.Optimizer] = []
        for part in ("discriminator", "generator_net"):
            inner, rest = inner_weights(getattr(model, part))
            if rest:
                parts.append(torch.optim.Adam(rest, adam_lr, betas=(0.5, 0.9), foreach=True))
            if inner:
                parts.append(Muon(inner, lr, momentum=0.5))
        return Optimizers(*parts)

    return optimizers


def train_gan(
    generator_net: nn.Module,
    discriminator: nn.Module,
    batches: Callable[[int], Any],
    schedule: NoiseSchedule,
    options: TrainOptions,
    *,
    prepare: Callable[[Any], tuple[Tensor, Tensor | None]] = lambda batch: (batch[0], None),
    r1: float = 0.05,
    r1_every: int = 10,
    discriminator_updates: int = 1,
    discriminator_slows: bool = True,
) -> Iterator[TrainStep]:
    """Train a denoising diffusion GAN: `train`'s steps, whose ``model`` is a `Gan`.

    Its generator is the averaged one, its discriminator the one that is trained.

    ``prepare`` makes (x_0 [B, ...], label [B] or None) of a batch. Each update is one of the
    discriminator, then one of the generator, which answers for the same pairs. With more
    ``discriminator_updates`` the discriminator learns first, from other pairs of the same batch: a
    generator can only mend what the discriminator has seen. All rates fall to zero at the end; if
    not ``discriminator_slows``, the generator's alone, so that it is followed to the last, as a
    generator that is good already needs. The penalty, ``r1`` times `r1_penalty`
    at every step, is taken each ``r1_every`` steps and so many times as strong (lazily, as in
    StyleGAN2). A step's loss is the sum of both. The optimiser is `adams` unless ``options`` name
    another. Raises as `train`.
    """
    discriminator_updates = checks.whole("discriminator_updates", discriminator_updates, 1)
    r1, r1_every = checks.at_least("r1", r1, 0), checks.whole("r1_every", r1_every, 1)

    def update(
        model: nn.Module, optimizers: Optimizers, batch: Any, g: torch.Generator, turn: Turn
    ) -> Tensor:
        net: Any = model.generator_net
        judge: Any = model.discriminator
        x_0, label = prepare(batch)
        for left in reversed(range(discriminator_updates)):
            optimizers.zero_grad()
            # G's gradient is wanted of the last pairs alone.
            with torch.set_grad_enabled(not left), turn.compute.autocast():
                pairs = noisy_pairs(net, x_0, schedule, g, label)
            seen = (pairs.x_t, pairs.t, label)
            with turn.compute.autocast():
                real, fake = judge(pairs.real, *seen), judge(pairs.fake.detach(), *seen)
                cost = discriminator_loss(real.float(), fake.float())
            if turn.step % r1_every == 0:  # in float32: it is a gradient of gradients
                cost = cost + r1 * r1_every * r1_penalty(judge, pairs.real, *seen)
            cost.backward()
            optimizers.step(turn.factor if discriminator_slows else turn.warm, judge)
        with turn.compute.autocast():
            loss = generator_loss(judge(pairs.fake, *seen).float())
        # The discriminator only passes the gradient on.
        loss.backward(inputs=[weight for weight in net.parameters() if weight.requires_grad])
        optimizers.step(turn.factor, net)
        return cost.detach() + loss.detach()

    model = Gan(generator_net, discriminator, schedule.T, schedule)
    return advance(model, update, batches, options.usual(optimizer=adams()))
