"""A variational autoencoder: the generative model with one latent and one pass."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import checks
from ..math.guidance import truncated_normal
from ..math.randomness import RowGenerator
from .compute import Compute
from .drawing import TRUNCATION, Drawn, DrawSettings, refuse_sampling


class VAE(nn.Module):
    """An encoder of pictures into a small Gaussian latent, and a decoder back (arXiv 1312.6114).

    Pictures are [B, in_channels, size, size] in -1..1, latents z [B, latent], labels integers [B]
    in 0..classes - 1; with ``classes`` = 0 there are none. Both halves are two hidden layers wide
    ``width``. Drawing: ``decode(torch.randn(B, latent), label)``.
    """

    kind = "VAE"

    def __init__(
        self,
        size: int = 28,
        in_channels: int = 1,
        latent: int = 16,
        width: int = 384,
        classes: int = 10,
    ) -> None:
        super().__init__()
        sizes = checks.sizes(size=size, in_channels=in_channels, latent=latent, width=width)
        self.config = sizes | {"classes": checks.some("classes", classes)}
        self.shape, self.latent, self.classes = (in_channels, size, size), latent, classes
        pixels = in_channels * size**2

        def layers(c_in: int, c_out: int) -> nn.Sequential:
            first, second = nn.Linear(c_in + classes, width), nn.Linear(width, width)
            return nn.Sequential(first, nn.SiLU(), second, nn.SiLU(), nn.Linear(width, c_out))

        self.encoder = layers(pixels, 2 * latent)
        self.decoder = layers(latent, pixels)

    def encode(self, x: Tensor, label: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of q(z | x), each [B, latent]."""
        (pictures,) = checks.shaped(next(self.encoder.parameters()), self.shape, x=x)
        mean, log_std = self.encoder(self._with(pictures.flatten(1), label)).chunk(2, dim=1)
        return mean.to(x.dtype), log_std.clamp(-8, 4).exp().to(x.dtype)

    def logits(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """The log-odds of ink in every pixel, [B, latent] -> [B, in_channels, size, size]."""
        (latent,) = checks.shaped(next(self.decoder.parameters()), (self.latent,), z=z)
        return self.decoder(self._with(latent, label)).view(len(z), *self.shape).to(z.dtype)

    def decode(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """The expected picture, [B, latent] -> [B, in_channels, size, size] in -1..1."""
        return 2 * self.logits(z, label).sigmoid() - 1

    def forward(
        self, x: Tensor, noise: Tensor, label: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Encode, draw z with the noise [B, latent], decode: (mean, std, logits)."""
        mean, std = self.encode(x, label)
        return mean, std, self.logits(mean + std * noise, label)

    def _with(self, h: Tensor, label: Tensor | None) -> Tensor:
        if not self.classes:
            return h
        if label is None:
            raise ValueError("this VAE draws a class: give a label [B]")
        label = checks.rows("label", label, h, self.classes)
        return torch.cat([h, F.one_hot(label, self.classes).to(h.dtype)], dim=1)

    # ------------------------------------------------------------------ drawing

    @property
    def about(self) -> dict[str, Any]:
        """What a card says of it."""
        return {"network": self.kind, "config": self.config}

    def settled(self, settings: DrawSettings) -> DrawSettings:
        """The settings filled up: one step, and a latent that may be truncated."""
        settings = settings.filled(1, "ddim", 0.0)
        refuse_sampling(settings, "a VAE", 1, 0.0)
        checks.one_of("sampler of a VAE, which has no walk,", settings.sampler, ["ddim"])
        checks.one_of("guidance of a VAE", settings.guidance, ["none", TRUNCATION])
        if settings.guidance == TRUNCATION:
            checks.above("scale, the threshold of truncation,", settings.scale, 0)
        return settings

    @torch.no_grad()
    def draw(
        self,
        count: int,
        label: Tensor | None,
        generator: RowGenerator,
        settings: DrawSettings,
        compute: Compute,
    ) -> Drawn:
        """See `Drawer`. Always in float32."""
        self.to(compute.device)
        threshold = settings.scale if settings.guidance == TRUNCATION else math.inf
        z = truncated_normal([count, self.latent], threshold, generator)
        return Drawn(self.decode(z, label), 1)
