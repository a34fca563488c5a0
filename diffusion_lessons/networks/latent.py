"""Diffusion in the latent of a VAE (Rombach et al., arXiv 2112.10752): a walk among few numbers.

Here the latent is a vector. That of the paper is a smaller picture, [c, h/f, w/f], for a U-Net.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from .. import checks
from ..math.prediction import Prediction
from ..math.randomness import RowGenerator, randn_like
from ..math.sampling import Step, final
from ..math.schedule import NoiseSchedule
from .cards import Card, loaded, pretrained_path, read_card
from .compute import Compute
from .diffusion import DiffusionModel
from .drawing import BY_CLASSIFIER, Drawn, DrawSettings
from .mlp import MLP
from .vae import VAE


class LatentDiffusion(nn.Module):
    """A `DiffusionModel` of latents, and the trained VAE that turns pictures into them and back.

    ``autoencoder`` is the name of a VAE that ships with the package. It is no part of what is
    trained or saved: the card names it with its checksum, and in another VAE's latent the model
    would mean nothing. ``scale`` times the VAE's latent is what the model draws, so that its
    numbers have a variance of 1 (the paper's section 4.3.2). Called, it is the model's network.
    Raises ValueError for a model of another size or number of classes than the VAE's.
    """

    kind = "LatentDiffusion"

    def __init__(
        self, model: DiffusionModel, autoencoder: str = "digits-vae", scale: float = 1.0
    ) -> None:
        super().__init__()
        checks.instance("model", model, DiffusionModel)
        self.name, self.scale = autoencoder, checks.positive("scale", scale)
        vae = loaded(pretrained_path(autoencoder), _vae).requires_grad_(False)
        self._outside = (vae,)  # in a tuple its weights are none of this module's
        if (model.shape, model.classes) != ((vae.latent,), vae.classes):
            raise ValueError(
                f"the latent of {autoencoder} has shape {(vae.latent,)} in {vae.classes} classes, "
                f"and the model draws {model.shape} in {model.classes}"
            )
        self.model = model

    @property
    def autoencoder(self) -> VAE:
        """The VAE, which is not trained any more."""
        return self._outside[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one picture [C, H, W]."""
        return self.autoencoder.shape

    @property
    def classes(self) -> int:
        """How many classes can be asked for."""
        return self.model.classes

    @property
    def schedule(self) -> NoiseSchedule:
        """That of the latent's noise."""
        return self.model.schedule

    @property
    def prediction(self) -> Prediction:
        """What the network predicts, in the latent."""
        return self.model.prediction

    def forward(self, z_t: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        answer: Tensor = self.model(z_t, t, label)
        return answer

    @torch.no_grad()
    def encode(
        self, x: Tensor, label: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Pictures [B, C, H, W] -> latents [B, latent], drawn from q(z | x) and scaled."""
        mean, std = self.autoencoder.encode(x, label)
        return self.scale * (mean + std * randn_like(mean, generator))

    @torch.no_grad()
    def decode(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """Scaled latents [B, latent] -> the expected pictures [B, C, H, W] in -1..1."""
        return self.autoencoder.decode(z / self.scale, label)

    # ------------------------------------------------------------------ drawing

    def settled(self, settings: DrawSettings) -> DrawSettings:
        """The settings filled up as the model's own. ValueError for what cannot be."""
        if settings.guidance in BY_CLASSIFIER:
            raise ValueError(
                f"guidance {settings.guidance!r} is by a classifier of noisy pictures, and a "
                "latent is none; guidance 'classifier-free' needs no classifier"
            )
        return self.model.settled(settings)

    def draw(
        self,
        count: int,
        label: Tensor | None,
        generator: RowGenerator,
        settings: DrawSettings,
        compute: Compute,
    ) -> Drawn:
        """See `Drawer`. Decodes once, at the end; always in float32."""
        compute = self._placed(compute)
        last = final(self.model.walk(count, label, generator, settings, compute))
        return Drawn(self.decode(last.x, label), last.calls)

    def walk(
        self,
        count: int,
        label: Tensor | None,
        generator: RowGenerator,
        settings: DrawSettings,
        compute: Compute,
    ) -> Iterator[Step]:
        """See `Walker`. Each step is decoded, to be seen; what walks on is the latent.

        The first ``x``, of pure noise, is as the VAE itself would draw it: with its prior's z.
        """
        compute = self._placed(compute)
        for step in self.model.walk(count, label, generator, settings, compute):
            x, x0_hat = self.decode(step.x, label), self.decode(step.x0_hat, label)
            yield step._replace(x=x, x0_hat=x0_hat)

    def _placed(self, compute: Compute) -> Compute:
        """Bring the VAE to the device. In float32: these few numbers are the whole picture."""
        compute = replace(compute, dtype=torch.float32)
        compute.place(self.autoencoder)
        return compute

    # ------------------------------------------------------------------ cards

    @property
    def about(self) -> dict[str, Any]:
        """What a card says of it, and `from_card` reads."""
        model = self.model.about
        config = {
            "network": model.pop("config"),
            "autoencoder": {"name": self.name, "sha256": _checksum(self.name)},
            "scale": self.scale,
        }
        return model | {"network": self.kind, "config": config}

    @classmethod
    def from_card(cls, card: Mapping[str, Any]) -> Self:
        """The model that a card describes, in the latent of the VAE that it names.

        ValueError if the VAE of this name is now another one.
        """
        config = card["config"]
        name, sha256 = config["autoencoder"]["name"], config["autoencoder"]["sha256"]
        if _checksum(name) != sha256:
            raise ValueError(
                f"it was trained in the latent of another {name}: that one's weights had the "
                f"checksum {sha256[:8]}..., those here have {_checksum(name)[:8]}..."
            )
        return cls(DiffusionModel.from_card(MLP(**config["network"]), card), name, config["scale"])


def _vae(card: Card) -> VAE:
    checks.one_of("its network, of which the latent is,", card["network"], [VAE.kind])
    return VAE(**card["config"])


def _checksum(name: str) -> str:
    return str(read_card(pretrained_path(name))["sha256"])
