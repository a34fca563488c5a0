"""One step of a denoising diffusion GAN, box by box: a step of its training, a step of sampling."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

import torch
import torch.nn.functional as F
import traitlets
from torch import Tensor

from ... import checks
from ...math.gaussian import forward, posterior
from ...networks.gan import Gan
from .. import kit
from ..palette import DATA, INK, RESULT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MODES = ("training", "sampling")
BOXES = {
    "training": ("x_0", "x_t", "z", "x0_drawn", "x_s_made", "x_s_true", "judged", "losses"),
    "sampling": ("x_t", "z", "x0_drawn", "x_s_made"),
}
LEVELS = 24  # greys of noisy pictures
OTHERS = 64  # true pairs in the discriminator's batch, beside those that are shown


class Pair(Protocol):
    """A generator (x_t, z, t, label) -> x_0', its discriminator (x_s, x_t, t, label) -> logits."""

    generator_net: Any
    discriminator: Any
    schedule: Any  # a `NoiseSchedule` of T steps
    T: int


class DDGANStepper(kit.Computed):
    """What one step of a denoising diffusion GAN computes, every tensor of it in a box.

    ``gan`` is a `Gan` for pictures whose generator takes a z. ``images`` are at most 6 clean
    pictures [N, 1, H, W] in -1..1, or [N, 3, H, W] in colour, ``label`` their classes [N] if the
    networks are to be told. For each t and for each of ``latents`` draws of z, with the same noise:

    - a step of training: x_0 is noised to x_t; the generator draws x_0' of it; the posterior goes
      back to s = t - 1 with x_0' (the made pair) and with x_0 (the true one); the discriminator
      judges both pairs, in one batch; what their losses are;
    - a step of sampling: x_t, from pure noise on by the steps before (with the first z each), and
      from there the same boxes without the data.

    The step shown first is computed at once. The others, and those of new noise, are computed when
    they are wanted: by the page itself for the Gan that ships with the package, but for what the
    discriminator says, otherwise by the kernel.

    Synced traits: ``mode`` ("training" or "sampling"), ``t`` (1..T), ``z`` (which latent),
    ``picture``, ``box`` (which one is explained), ``seed`` (another one is other noise and other
    latents). ``x_t``, ``x0_drawn``, ``x_s_made``, ``x_s_true`` (float32 [H, W] or [3, H, W]),
    ``judged`` and ``losses`` are what is shown. Raises ValueError for what does not fit,
    traitlets.TraitError for a choice that is not there.
    """

    _files = kit.files(__file__, "ddgan.css", "ddgan.js")

    mode = traitlets.Enum(MODES, "training").tag(sync=True)
    t = traitlets.Int(1, min=1).tag(sync=True)
    z = traitlets.Int(0, min=0).tag(sync=True)
    picture = traitlets.Int(0, min=0).tag(sync=True)
    box = traitlets.Int(0, min=0).tag(sync=True)

    _counts = traitlets.Dict().tag(sync=True)  # of t, z and picture
    _shape = traitlets.List(traitlets.Int()).tag(sync=True)  # [H, W] or [3, H, W]
    _alpha_bar = traitlets.List(traitlets.Float()).tag(sync=True)  # 0..T
    _x_0 = kit.as_bytes()  # [N, (3,) H, W]
    _latent = traitlets.Int().tag(sync=True)  # numbers in a z

    def __init__(
        self,
        gan: Pair,
        images: Tensor,
        label: Tensor | None = None,
        latents: int = 8,
        seed: int = 0,
    ) -> None:
        kept = kit.check_pictures(images, most=6)
        x_0 = kept.view(len(kept), *kit.with_channel(kept.shape[1:]))
        latents = checks.whole("latents", latents, 2, 12)
        kit.check_seed(seed)
        if not getattr(getattr(gan, "generator_net", None), "latent", 0):
            raise ValueError("gan must be a Gan whose generator takes a z")
        if label is not None and label.shape != (len(x_0),):
            raise ValueError(f"label must be [{len(x_0)}], got {list(label.shape)}")
        checks.whole("the T of gan", gan.T, 1, 8)
        self.gan, self.schedule, self.label = gan, gan.schedule, label
        name = kit.shipped_name(gan) if isinstance(gan, Gan) else None
        labels = None if label is None else label.tolist()
        self._clean = x_0
        super().__init__(
            seed=seed,
            _first_seed=seed,
            _network={"name": name, "labels": labels} if name else {},
            _counts={"t": gan.T, "z": latents, "picture": len(x_0)},
            _shape=list(kept.shape[1:]),
            _alpha_bar=[float(a) for a in self.schedule.alpha_bar],
            _x_0=kit.pack_greys(x_0, 256),
            _latent=gan.generator_net.latent,
        )
        self.t = max(1, gan.T - 1)
        self._begin(len(MODES) * gan.T, self._index())

    def _index(self) -> int:
        """The part of the step shown."""
        return MODES.index(self.mode) * self._counts["t"] + self.t - 1

    def _ahead(self) -> Iterable[int]:
        """All steps; if the page has the generator, those that a discriminator judges."""
        return range(self._counts["t"] if self._network else self._count)

    def _calls(self, part: int) -> int:
        mode, s = divmod(part, self._counts["t"])
        return 1 if MODES[mode] == "training" else self._counts["t"] - s

    def _compute(self, part: int) -> kit.Part:
        mode, s = divmod(part, self._counts["t"])
        t = s + 1
        if MODES[mode] == "training":
            q = forward(self._clean, 0, t, self.schedule)
            x_t = q.mean + q.std * self._noise(1)
        else:
            x_t = self._noise(3)
            for earlier in range(self._counts["t"], t, -1):
                drawn = self._drawn(x_t, earlier, self._z[:1])
                yield
                x_t = self._back(x_t, drawn[0], earlier)
        drawn = self._drawn(x_t, t, self._z)
        yield
        x_s = torch.stack([self._back(x_t, x_0, t) for x_0 in drawn])
        content = {
            "x_t": kit.pack_greys(x_t, LEVELS),
            "x0_drawn": kit.pack_greys(drawn),
            "x_s_made": kit.pack_greys(x_s, LEVELS),
        }
        if MODES[mode] == "training":
            content |= self._judged_pairs(x_t, x_s, t)
        return content

    @torch.no_grad()
    def _judged_pairs(self, x_t: Tensor, x_s_made: Tensor, t: int) -> dict[str, Any]:
        """The true x_s, and what the discriminator says to it and to those that were made."""
        x_s_true = self._back(x_t, self._clean, t)
        # A `Discriminator` has learnt from batches of all times, and sees how much one's members
        # differ. So all pairs are judged in one batch, with others of all times beside them.
        many = 1 + len(x_s_made)
        x_s = torch.cat([x_s_true, *x_s_made])
        here = [x_s, x_t.repeat(many, 1, 1, 1), torch.full((len(x_s),), t)]
        if self.label is not None:
            here.append(self.label.repeat(many))
        every = [torch.cat(both) for both in zip(here, self._others(), strict=True)]
        logits = self.gan.discriminator(*every)[: len(x_s)].view(many, len(x_t)).tolist()
        return {
            "x_s_true": kit.pack_greys(x_s_true, LEVELS),
            "logits_true": logits[0],
            "logits_made": logits[1:],
        }

    def _others(self) -> list[Tensor]:
        """True pairs of the pictures at all times: x_s, x_t, t and, if there are any, labels."""
        count, T = self._counts["picture"], self._counts["t"]
        row = torch.arange(OTHERS)
        x_0, t = self._clean[row % count], row // count % T + 1
        q = forward(x_0, 0, t, self.schedule)
        x_t = q.mean + q.std * kit.draw_noise(x_0, self.seed, 4)
        p = posterior(x_t, x_0, t, t - 1, self.schedule)
        x_s = p.mean + p.std * kit.draw_noise(x_0, self.seed, 5)
        return [x_s, x_t, t] if self.label is None else [x_s, x_t, t, self.label[row % count]]

    @property
    def _z(self) -> Tensor:
        """The latents, [latents, latent]."""
        generator = kit.generator_for(self.seed, use=0)
        return generator.normal((self._counts["z"], self._latent)).float()

    def _noise(self, use: int) -> Tensor:
        """Of the way in (1), of the step back (2), of the sampler's start (3)."""
        return kit.draw_noise(self._clean, self.seed, use)

    @torch.no_grad()
    def _drawn(self, x_t: Tensor, t: int, z: Tensor) -> Tensor:
        """x_0' of x_t [N, C, H, W] for each z, at once: [z, N, C, H, W]."""
        many, count = len(z), len(x_t)
        label = None if self.label is None else self.label.repeat(many)
        times = torch.full((many * count,), t)
        x = x_t.repeat(many, 1, 1, 1)
        drawn = self.gan.generator_net(x, z.repeat_interleave(count, 0), times, label)
        return drawn.view(many, *x_t.shape)

    def _back(self, x_t: Tensor, x_0: Tensor, t: int) -> Tensor:
        """One step back, with the widget's own noise."""
        q = posterior(x_t, x_0, t, t - 1, self.schedule)
        return q.mean + q.std * self._noise(2)

    @traitlets.validate("t", "z", "picture")
    def _check_chosen(self, proposal: Any) -> int:
        name, value = proposal.trait.name, int(proposal.value)
        last = self._counts.get(name, value + 1) - (name != "t")
        if value > last:
            raise traitlets.TraitError(f"{name} must be at most {last}, got {value}")
        return value

    @traitlets.validate("box")
    def _check_box(self, proposal: Any) -> int:
        last = len(BOXES[self.mode]) - 1
        if proposal.value > last:
            raise traitlets.TraitError(f"box must lie in 0..{last}, got {proposal.value}")
        return int(proposal.value)

    @traitlets.observe("mode")
    def _keep_box(self, change: Any) -> None:
        self.box = min(self.box, len(BOXES[self.mode]) - 1)

    def _shown(self, name: str, each_z: bool) -> Tensor:
        part = self._part(self._index())
        count = [self._counts["z"]] if each_z else []
        every = kit.unpack_greys(part[name], [*count, self._counts["picture"], *self._shape])
        return (every[self.z] if each_z else every)[self.picture]

    @property
    def x_0(self) -> Tensor:
        """The clean picture, float32 [H, W] or [3, H, W]."""
        return kit.unpack_greys(self._x_0, [self._counts["picture"], *self._shape])[self.picture]

    @property
    def x_t(self) -> Tensor:
        """The noisy picture, in 24 greys from -1 to 1."""
        return self._shown("x_t", False)

    @property
    def x0_drawn(self) -> Tensor:
        """x_0', what the generator draws."""
        return self._shown("x0_drawn", True)

    @property
    def x_s_made(self) -> Tensor:
        """x_s', noised back from x_0', in 24 greys from -1 to 1."""
        return self._shown("x_s_made", True)

    @property
    def x_s_true(self) -> Tensor:
        """x_s, noised back from x_0, in 24 greys from -1 to 1; there is one in training alone."""
        return self._shown("x_s_true", False)

    def _logits(self) -> tuple[Tensor, Tensor]:
        """What the discriminator says to the true pair and to the made one, in training."""
        part = self._part(self.t - 1)
        true, made = part["logits_true"][self.picture], part["logits_made"][self.z][self.picture]
        return torch.tensor(true), torch.tensor(made)

    @property
    def judged(self) -> tuple[float, float]:
        """How real the discriminator finds the true pair and the made one, each in 0..1."""
        true, made = self._logits()
        return float(true.sigmoid()), float(made.sigmoid())

    @property
    def losses(self) -> tuple[float, float]:
        """Of the discriminator (without its penalty) and of the generator, on these two pairs."""
        true, made = self._logits()
        return float(F.softplus(-true) + F.softplus(made)), float(F.softplus(-made))

    def figure(self) -> "Figure":
        """The pictures of the step, side by side."""
        s = self.t - 1
        pictures = [
            (self.x_t, f"$x_{self.t}$", INK),
            (self.x0_drawn, "$x_0'$, drawn", RESULT),
            (self.x_s_made, f"$x_{s}'$, made", RESULT),
        ]
        if self.mode == "training":
            true, made = self.judged
            pictures[2] = (self.x_s_made, f"$x_{s}'$: {made:.0%} real", RESULT)
            pictures = [(self.x_0, "$x_0$", DATA), *pictures]
            pictures.append((self.x_s_true, f"$x_{s}$: {true:.0%} real", DATA))
        figure = kit.new_figure(1.5 * len(pictures), 1.8)
        axes = figure.subplots(1, len(pictures))
        for ax, (picture, title, colour) in zip(axes, pictures, strict=True):
            kit.draw_picture(ax, picture, title, colour)
        return figure
