"""A denoising diffusion GAN in the plane, where what it should draw is known: 25 Gaussians."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..math.exact import grid_mixture
from ..math.gaussian import forward
from ..math.randomness import seeded
from ..math.sampling import final, sample
from ..networks.gan import Gan, PointDiscriminator, PointGenerator, as_denoiser, latents
from ..training.batches import shuffled
from ..training.gan import muons, train_gan
from ..training.loop import TrainOptions, TrainStep
from ..training.recipes import first_weights
from .metrics import mode_counts

PLANE = grid_mixture(5, std=0.1, spacing=1)
"""The data: 25 narrow Gaussians on a grid."""


def modes_found(points: Tensor, means: Tensor, radius: float = 0.2) -> tuple[int, float]:
    """How many Gaussians points [N, D] have found, and the share of points close to one.

    Close is within ``radius`` of a mean [K, D]; a Gaussian is found if a fifth of the N / K points
    that each should have, or more, are close to it.
    """
    gap = (points[:, None] - means).norm(dim=2).amin(1)
    close = points[gap < radius]
    found = mode_counts(close, means) >= len(points) / len(means) / 5
    return int(found.sum()), len(close) / len(points)


def plane_gan(
    options: TrainOptions,
    *,
    T: int = 4,
    latent: int = 2,
    waves: int = 2,
    sees_x_t: bool = True,
) -> Iterator[TrainStep]:
    """Train a GAN of T steps on `PLANE`, as lesson 06 does.

    ``latent`` = 0 has no z, ``waves`` = 0 gives neither network the `Waves` of its input, and
    without ``sees_x_t`` the discriminator is shown x_s alone.
    """
    points, _ = PLANE.sample(100_000, seeded(options.seed))
    with first_weights(options.seed):
        generator_net = PointGenerator(latent=latent, waves=waves)
        discriminator = PointDiscriminator(waves=waves, sees_x_t=sees_x_t)
    model = Gan(generator_net, discriminator, T)
    batches = shuffled(points, batch_size=256, seed=options.seed)
    options = replace(options.usual(steps=3000, ema=0.99), optimizer=muons(0.03))
    return train_gan(generator_net, discriminator, batches, model.schedule, options, r1=0.1)


@torch.no_grad()
def plane_draws(
    model: Gan, x_T: Tensor, generator: torch.Generator, z: Tensor | None = None
) -> Tensor:
    """Walks from x_T [B, 2] to the end; one z [B, latent] for all steps if it is given."""
    net = model.generator_net

    def one_z(x_t: Tensor, t: int) -> Tensor:
        answer: Tensor = net(x_t, z, torch.full((len(x_t),), t))
        return answer

    denoiser = as_denoiser(net, generator=generator) if z is None else one_z
    return final(sample(denoiser, x_T, model.schedule, generator=generator)).x


@torch.no_grad()
def measure_plane(model: Gan, seed: int = 0) -> dict[str, Any]:
    """What a GAN of `plane_gan` draws, in numbers.

    ``found`` and ``close``, of 10,000 points, as in `modes_found`; ``found_from_one_start``, for
    each of 20 starts x_T how many 2,000 walks from it find; ``found_with_one_z``, for each of 20
    latents how many 2,000 walks find that use it at every step (none without z); ``correlation``,
    that of x_0' and x_1 over 10,000 points noised to t = 1, each coordinate by itself, and
    ``true_correlation``, of x_0 and x_1.
    """
    g = seeded(seed)
    found, close = modes_found(plane_draws(model, torch.randn(10_000, 2, generator=g), g), _MEANS)

    def each(walks: Any) -> list[int]:
        return [modes_found(walks(), _MEANS)[0] for _ in range(20)]

    def from_one_start() -> Tensor:
        return plane_draws(model, torch.randn(1, 2, generator=g).expand(2000, 2), g)

    def with_one_z() -> Tensor:
        z = latents(model.generator_net, torch.empty(1, 2), g)
        assert z is not None
        return plane_draws(model, torch.randn(2000, 2, generator=g), g, z.expand(2000, -1))

    x_0, _ = PLANE.sample(10_000, g)
    x_1 = forward(x_0, 0, 1, model.schedule).sample(g)
    drawn = as_denoiser(model.generator_net, generator=g)(x_1, 1)
    return {
        "found": found,
        "close": round(close, 4),
        "found_from_one_start": each(from_one_start),
        "found_with_one_z": each(with_one_z) if model.generator_net.latent else None,
        "correlation": _correlation(drawn, x_1),
        "true_correlation": _correlation(x_0, x_1),
    }


_MEANS = PLANE.means


def _correlation(a: Tensor, b: Tensor) -> float:
    rows = torch.stack([a.T.flatten(), b.T.flatten()])
    return round(torch.corrcoef(rows)[0, 1].item(), 4)
