"""The two networks of a denoising diffusion GAN (Xiao, Kreis, Vahdat, arXiv 2112.07804).

The generator guesses a clean x_0' from x_t, and draws which one with a latent z. The discriminator
sees pairs of *noisy* examples, x_s and x_t, and tells true pairs from made ones.
"""

import math
from collections.abc import Iterator, Sequence
from collections.abc import Mapping as Arguments
from functools import partial
from itertools import pairwise
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import checks
from ..math.randomness import RowGenerator, randn_like
from ..math.sampling import Denoiser, Step, final, sample
from ..math.schedule import NoiseSchedule, schedule_from, vp_schedule
from .compute import Compute
from .drawing import Drawn, DrawSettings, refuse_sampling
from .embedding import FixedWaves, TimeEmbedding
from .unet import UNet, without_unreached


class Gan(nn.Module):
    """A generator, the discriminator it is trained against, and the schedule of its ``T`` steps.

    Each network is a module or, for pictures, the arguments that make a `Generator`, a
    `Discriminator`. The schedule is DDGAN's `vp_schedule` of T steps unless another is given. A
    running average (`EMA`) is of the generator alone: an averaged discriminator has met no
    generator. Raises ValueError for a schedule of another T.
    """

    kind = "Gan"
    not_averaged = ("discriminator",)

    def __init__(
        self,
        generator_net: nn.Module | Arguments[str, Any],
        discriminator: nn.Module | Arguments[str, Any],
        T: int = 4,
        schedule: NoiseSchedule | None = None,
    ) -> None:
        super().__init__()
        T = checks.sizes(T=T)["T"]
        self.schedule = vp_schedule(T) if schedule is None else schedule
        if self.schedule.T != T:
            raise ValueError(f"a Gan of {T} steps needs a schedule of as many, got {self.schedule}")
        self.T = T
        if not isinstance(generator_net, nn.Module):
            generator_net = Generator(**generator_net)
        if not isinstance(discriminator, nn.Module):
            discriminator = Discriminator(**discriminator)
        self.generator_net, self.discriminator = generator_net, discriminator

    @property
    def config(self) -> dict[str, Any]:
        """What makes it anew, but for the schedule."""
        parts = self.named_children()
        return {"T": self.T, **{name: getattr(part, "config", {}) for name, part in parts}}

    @property
    def about(self) -> dict[str, Any]:
        """What a card says of it."""
        return {"network": self.kind, "config": self.config, "schedule": self.schedule.config}

    @classmethod
    def from_card(cls, card: Arguments[str, Any]) -> Self:
        """The networks that a card describes; one of version 0.1 has DDGAN's schedule."""
        schedule = schedule_from(card["schedule"]) if "schedule" in card else None
        config = dict(card["config"])
        if "attention_resolutions" in config["generator_net"]:
            config["generator_net"] = without_unreached(config["generator_net"])
        return cls(**config, schedule=schedule)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one picture [C, H, W]."""
        return tuple(self.generator_net.shape)  # type: ignore[arg-type]

    @property
    def classes(self) -> int:
        """How many classes can be asked for; 0 if there are none."""
        return int(getattr(self.generator_net, "classes", 0))

    def settled(self, settings: DrawSettings) -> DrawSettings:
        """The settings filled up: T steps of DDPM, and no choice. ValueError for others."""
        settings = settings.filled(self.T, "ddpm", 1.0)
        refuse_sampling(settings, "this Gan", self.T, 1.0)
        checks.one_of("sampler of a Gan", settings.sampler, ["ddpm"])
        checks.one_of("guidance of a Gan", settings.guidance, ["none"])
        return settings

    def draw(
        self,
        count: int,
        label: Tensor | None,
        generator: RowGenerator,
        settings: DrawSettings,
        compute: Compute,
    ) -> Drawn:
        """See `Drawer`."""
        last = final(self.walk(count, label, generator, settings, compute))
        return Drawn(last.x, last.calls)

    def walk(
        self,
        count: int,
        label: Tensor | None,
        generator: RowGenerator,
        settings: DrawSettings,
        compute: Compute,
    ) -> Iterator[Step]:
        """See `Walker`."""
        compute.place(self.generator_net)
        x_T = compute.move(generator.normal((count, *self.shape)).float())
        generate = as_denoiser(self.generator_net, label, generator)

        def denoiser(x_t: Tensor, t: int) -> Tensor:
            with (
                compute.autocast()
            ):  # no longer than the call: whoever takes the steps computes too
                return generate(x_t, t)

        yield from sample(denoiser, x_T, self.schedule, generator=generator)


def latents(
    generator_net: Any, like: Tensor, generator: torch.Generator | None = None
) -> Tensor | None:
    """Fresh z [B, latent] for a batch [B, ...]; None for a generator that takes none."""
    width = int(generator_net.latent)
    return randn_like(like.new_empty(len(like), width), generator) if width else None


def as_denoiser(
    generator_net: Any, label: Tensor | None = None, generator: torch.Generator | None = None
) -> Denoiser:
    """A generator as a denoiser (x_t, t) -> x_0', with a fresh z at each call.

    With it and the schedule of its training ``sample(denoiser, x_T, schedule)`` is DDGAN's sampler:
    `ddpm_step` is the posterior that noises x_0' back.
    """

    def denoiser(x_t: Tensor, t: int) -> Tensor:
        time = torch.full((len(x_t),), t, device=x_t.device)
        z = latents(generator_net, x_t, generator)
        x0_drawn: Tensor = generator_net(x_t, z, time, label)
        return x0_drawn.to(x_t.dtype)

    return denoiser


class Mapping(nn.Module):
    """A latent z [B, latent] -> features [B, width]: brought to length, then a small MLP.

    (StyleGAN's mapping network, arXiv 1812.04948, as DDGAN uses it.)
    """

    def __init__(self, latent: int, width: int, layers: int = 3) -> None:
        super().__init__()
        linears = [nn.Linear(a, b) for a, b in pairwise([latent, *[width] * layers])]
        # z must speak as loudly as time and class from the start, or G learns not to hear it.
        for linear in linears:
            nn.init.kaiming_normal_(linear.weight, a=0.1)
            nn.init.zeros_(linear.bias)
        steps = [(linear, nn.SiLU()) for linear in linears]
        self.layers = nn.Sequential(*[layer for step in steps for layer in step][:-1])

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z * (z.square().mean(1, keepdim=True) + 1e-8).rsqrt())


class Generator(nn.Module):
    """x_0' = G(x_t, z, t, label): pictures [B, C, size, size] in -1..1.

    A `UNet` (its arguments are ``unet``'s) that is told z [B, ``latent``] beside the time and the
    class, in every block. With ``latent`` = 0 it takes no z, and its answer is certain.
    """

    def __init__(self, latent: int = 64, **unet: object) -> None:
        super().__init__()
        latent = checks.some("latent", latent)
        self.unet = UNet(**unet)  # type: ignore[arg-type]
        self.config = {"latent": latent, **self.unet.config}
        self.latent, self.shape, self.classes = latent, self.unet.shape, self.unet.classes
        if latent:
            self.mapping = Mapping(latent, self.unet.label.embedding_dim)

    def forward(
        self, x_t: Tensor, z: Tensor | None, t: Tensor, label: Tensor | None = None
    ) -> Tensor:
        (x,) = checks.shaped(self.unet.input.weight, self.shape, x_t=x_t)
        features = self.unet.embedding(x, t, label)
        if self.latent:
            features = features + self.mapping(checks.latent(z, x, self.latent))
        return torch.tanh(self.unet.body(x, F.silu(features))).to(x_t.dtype)


class Discriminator(nn.Module):
    """Is (x_s, x_t) a true pair? Pictures twice, times t [B] and labels to logits [B].

    ``multipliers`` times ``channels`` at each level, each half as large as the one before. No
    normalisation: it would hide from it how strong its input is.
    """

    def __init__(
        self,
        in_channels: int = 1,
        channels: int = 32,
        multipliers: Sequence[int] = (1, 2, 4),
        classes: int = 10,
        unshuffle: int = 2,
    ) -> None:
        super().__init__()
        sizes = checks.sizes(in_channels=in_channels, channels=channels, unshuffle=unshuffle)
        channels, classes = sizes["channels"], checks.some("classes", classes)
        features = 4 * channels
        multipliers = checks.multipliers(multipliers)
        self.config = sizes | {"multipliers": multipliers, "classes": classes}
        self.in_channels, self.classes, self.unshuffle = in_channels, classes, unshuffle
        self.time = TimeEmbedding(features)
        widths = [channels * multiplier for multiplier in multipliers]
        self.input = nn.Conv2d(2 * in_channels * unshuffle**2, widths[0], 3, padding=1)
        self.blocks = nn.ModuleList(
            DiscriminatorBlock(a, b, features, halve=i > 0)
            for i, (a, b) in enumerate(zip([widths[0], *widths], widths, strict=False))
        )
        self.last = nn.Conv2d(widths[-1] + 1, widths[-1], 3, padding=1)
        self.output = nn.Linear(widths[-1], 1)
        self.label = nn.Embedding(classes + 1, widths[-1])
        # Signals as strong behind each layer as before it: else the noise drowns them from the
        # start, D says "half" to everything, and G has nobody to learn from.
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, a=0.2)
        nn.init.normal_(self.label.weight, std=widths[-1] ** -0.5)

    def forward(self, x_s: Tensor, x_t: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        pair = checks.shaped(self.output.weight, (self.in_channels, -1, -1), x_s=x_s, x_t=x_t)
        label = checks.rows(
            "label", self.classes if label is None else label, x_t, self.classes + 1
        )
        features = F.silu(self.time(checks.times(t, x_t)))
        h = self.input(F.pixel_unshuffle(torch.cat(pair, 1), self.unshuffle))
        for block in self.blocks:
            h = block(h, features)
        h = F.leaky_relu(self.last(torch.cat([h, spread(h)], 1)), 0.2).sum((2, 3))
        # How likely is it at all, and for this class? (Projection, arXiv 1802.05637.)
        return (self.output(h)[:, 0] + (h * self.label(label)).sum(1)).to(x_s.dtype)


class DiscriminatorBlock(nn.Module):
    """A residual block of the discriminator, told the time."""

    def __init__(self, channels_in: int, channels: int, features: int, halve: bool) -> None:
        super().__init__()
        self.halve = halve
        self.conv_1 = nn.Conv2d(channels_in, channels, 3, padding=1)
        self.features = nn.Linear(features, channels)
        self.conv_2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.skip = nn.Conv2d(channels_in, channels, 1, bias=False)

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        h = self.conv_1(F.leaky_relu(x, 0.2)) + self.features(features)[:, :, None, None]
        h = self.conv_2(F.leaky_relu(h, 0.2))
        if self.halve:
            h, x = F.avg_pool2d(h, 2), F.avg_pool2d(x, 2)
        return (self.skip(x) + h) * math.sqrt(0.5)


def spread(h: Tensor) -> Tensor:
    """How much a batch's members differ, as one more channel (Karras et al., arXiv 1710.10196).

    Of several processes each sees its own rows alone, as in StyleGAN2, which takes groups of 4.
    """
    deviation = (h.float().var(0, unbiased=False) + 1e-8).sqrt().mean()
    return deviation.to(h.dtype).expand(len(h), 1, *h.shape[2:])


class PointGenerator(nn.Module):
    """x_0' = G(x_t, z, t) for points [B, dim]; z is [B, latent], or none with ``latent`` = 0.

    Beside its inputs it sees their `Waves`, as the discriminator does.
    """

    def __init__(
        self, dim: int = 2, width: int = 128, layers: int = 3, latent: int = 2, waves: int = 2
    ) -> None:
        super().__init__()
        self.latent, self.shape = latent, (dim,)
        self.waves, self.time = Waves(waves), TimeEmbedding(width)
        self.body = _Layers((dim + latent) * (1 + 2 * waves), width, layers, dim)

    def forward(self, x_t: Tensor, z: Tensor | None, t: Tensor, label: None = None) -> Tensor:
        (x,) = checks.shaped(self.body.output.weight, self.shape, x_t=x_t)
        if self.latent:
            x = torch.cat([x, checks.latent(z, x, self.latent)], 1)
        return self.body(self.waves(x), self.time(checks.times(t, x_t))).to(x_t.dtype)


class PointDiscriminator(nn.Module):
    """Is (x_s, x_t) a true pair of points [B, dim]? Logits [B]. It sees the `Waves` of x_s.

    Without ``sees_x_t`` it is blind to x_t, and says how true x_s looks by itself.
    """

    def __init__(
        self,
        dim: int = 2,
        width: int = 128,
        layers: int = 3,
        waves: int = 2,
        sees_x_t: bool = True,
    ) -> None:
        super().__init__()
        self.shape, self.sees_x_t = (dim,), sees_x_t
        self.waves, self.time = Waves(waves), TimeEmbedding(width)
        self.body = _Layers(2 * dim + 2 * dim * waves, width, layers, 1)

    def forward(self, x_s: Tensor, x_t: Tensor, t: Tensor, label: None = None) -> Tensor:
        s, x = checks.shaped(self.body.output.weight, self.shape, x_s=x_s, x_t=x_t)
        time = self.time(checks.times(t, x_t))
        x = x if self.sees_x_t else torch.zeros_like(x)
        return self.body(torch.cat([self.waves(s), x], 1), time)[:, 0].to(x_s.dtype)


def octaves(count: int) -> Tensor:
    """Wave numbers [count]: pi and its doubles."""
    return math.pi * 2.0 ** torch.arange(count)


class Waves(FixedWaves):
    """Numbers [B, dim], and their sines and cosines of wave lengths 2, 1, 1/2, ... beside them.

    Without them an MLP is slow to see fine structure (Tancik et al., arXiv 2006.10739), and what a
    discriminator does not see a generator need not make.
    """

    def __init__(self, count: int) -> None:
        super().__init__(partial(octaves, count))

    def forward(self, x: Tensor) -> Tensor:
        angle = (x[..., None] * self.frequency).flatten(1)
        return torch.cat([x, angle.sin().to(x.dtype), angle.cos().to(x.dtype)], 1)


class _Layers(nn.Module):
    """A small MLP that is told the time: [B, c_in] and features [B, width] -> [B, c_out]."""

    def __init__(self, c_in: int, width: int, layers: int, c_out: int) -> None:
        super().__init__()
        self.input = nn.Linear(c_in, width)
        self.inner = nn.ModuleList(nn.Linear(width, width) for _ in range(layers - 1))
        self.output = nn.Linear(width, c_out)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        h = self.input(x) + time
        for layer in [*self.inner, self.output]:
            h = layer(F.leaky_relu(h, 0.2))
        return h
