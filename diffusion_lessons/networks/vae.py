"""A variational autoencoder: the generative model with one latent and one pass."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import checks


class VAE(nn.Module):
    """An encoder of pictures into a small Gaussian latent, and a decoder back (arXiv 1312.6114).

    Pictures are [B, in_channels, size, size] in -1..1, latents z [B, latent], labels integers [B]
    in 0..classes - 1; with ``classes`` = 0 there are none. Both halves are two hidden layers wide
    ``width``. Drawing: ``decode(torch.randn(B, latent), label)``.
    """

    def __init__(
        self,
        size: int = 28,
        in_channels: int = 1,
        latent: int = 16,
        width: int = 384,
        classes: int = 10,
    ) -> None:
        super().__init__()
        checks.sizes(size=size, in_channels=in_channels, latent=latent, width=width)
        checks.whole("classes", classes, 0, checks.LARGEST)
        self.config = {
            "size": size,
            "in_channels": in_channels,
            "latent": latent,
            "width": width,
            "classes": classes,
        }
        self.size, self.in_channels, self.latent, self.classes = size, in_channels, latent, classes
        pixels = in_channels * size**2

        def layers(c_in: int, c_out: int) -> nn.Sequential:
            first, second = nn.Linear(c_in + classes, width), nn.Linear(width, width)
            return nn.Sequential(first, nn.SiLU(), second, nn.SiLU(), nn.Linear(width, c_out))

        self.encoder = layers(pixels, 2 * latent)
        self.decoder = layers(latent, pixels)

    def encode(self, x: Tensor, label: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of q(z | x), each [B, latent]."""
        checks.floats(x=x)
        if x.shape[1:] != (self.in_channels, self.size, self.size):
            expected = f"[B, {self.in_channels}, {self.size}, {self.size}]"
            raise ValueError(f"x must be {expected}, got {list(x.shape)}")
        mean, log_std = self.encoder(self._with(x.flatten(1), label)).chunk(2, dim=1)
        return mean, log_std.clamp(-8, 4).exp()

    def logits(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """The log-odds of ink in every pixel, [B, latent] -> [B, in_channels, size, size]."""
        checks.floats(z=z)
        if z.ndim != 2 or z.shape[1] != self.latent:
            raise ValueError(f"z must be [B, {self.latent}], got {list(z.shape)}")
        found = self.decoder(self._with(z, label))
        return found.view(len(z), self.in_channels, self.size, self.size)

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
        checks.rows("label", label, len(h), self.classes)
        return torch.cat([h, F.one_hot(label, self.classes).to(h.dtype)], dim=1)
