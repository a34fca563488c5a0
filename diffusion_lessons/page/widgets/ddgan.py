"""One step of a denoising diffusion GAN, box by box: a step of its training, a step of sampling."""

from typing import TYPE_CHECKING, Any, Protocol

import torch
import torch.nn.functional as F
import traitlets
from torch import Tensor

from ... import checks
from ...math.gaussian import forward, posterior
from .. import kit
from ..palette import NOISE, RESULT, SIGNAL

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MODES = ("training", "sampling")
BOXES = {
    "training": ("x_0", "x_t", "z", "x0_drawn", "x_s_made", "x_s_true", "judged", "losses"),
    "sampling": ("x_t", "z", "x0_drawn", "x_s_made"),
}
LEVELS = 24  # greys of noisy pictures


class Pair(Protocol):
    """A generator (x_t, z, t, label) -> x_0', its discriminator (x_s, x_t, t, label) -> logits."""

    generator_net: Any
    discriminator: Any
    schedule: Any  # a `NoiseSchedule` of T steps
    T: int


class DDGANStepper(kit.Explorer):
    """What one step of a denoising diffusion GAN computes, every tensor of it in a box.

    ``gan`` is a `Gan` for grey pictures whose generator takes a z. ``images`` are at most 6 clean
    pictures [N, 1, H, W] in -1..1, ``label`` their classes [N] if the networks are to be told. All
    is computed at once, for each t and for each of ``latents`` draws of z, with the same noise:

    - a step of training: x_0 is noised to x_t; the generator draws x_0' of it; the posterior goes
      back to s = t - 1 with x_0' (the made pair) and with x_0 (the true one); the discriminator
      judges both pairs; what their losses are;
    - a step of sampling: x_t, from pure noise on by the steps before (with the first z each), and
      from there the same boxes without the data.

    Synced traits: ``mode`` ("training" or "sampling"), ``t`` (1..T), ``z`` (which latent),
    ``picture``, ``box`` (which one is explained). ``x_t``, ``x0_drawn``, ``x_s_made``, ``x_s_true``
    (float32 [H, W]), ``judged`` and ``losses`` are what is shown. Raises ValueError for what does
    not fit, traitlets.TraitError for a choice that is not there.
    """

    _files = kit.files(__file__, "ddgan.css", "_back.js", "ddgan.js")

    mode = traitlets.Enum(MODES, "training").tag(sync=True)
    t = traitlets.Int(1, min=1).tag(sync=True)
    z = traitlets.Int(0, min=0).tag(sync=True)
    picture = traitlets.Int(0, min=0).tag(sync=True)
    box = traitlets.Int(0, min=0).tag(sync=True)

    _counts = traitlets.Dict().tag(sync=True)  # of t, z and picture
    _shape = traitlets.List(traitlets.Int()).tag(sync=True)  # [H, W]
    _alpha_bar = traitlets.List(traitlets.Float()).tag(sync=True)  # 0..T
    _x_0 = kit.as_bytes()  # [N, H, W], greys
    _x_t = kit.as_bytes()  # [modes, T, N, H, W], greys
    _x0_drawn = kit.as_bytes()  # [modes, T, latents, N, H, W], greys
    _x_s_made = kit.as_bytes()  # the same
    _x_s_true = kit.as_bytes()  # [T, N, H, W], greys
    _latents: Any = traitlets.List().tag(sync=True)  # [latents][latent]
    _logits_made: Any = traitlets.List().tag(sync=True)  # [T][latents][N]
    _logits_true: Any = traitlets.List().tag(sync=True)  # [T][N]

    def __init__(
        self,
        gan: Pair,
        images: Tensor,
        label: Tensor | None = None,
        latents: int = 8,
        seed: int = 0,
    ) -> None:
        x_0 = kit.check_pictures(images, most=6)[:, None]
        latents = checks.whole("latents", latents, 2, 12)
        kit.check_seed(seed)
        if not getattr(getattr(gan, "generator_net", None), "latent", 0):
            raise ValueError("gan must be a Gan whose generator takes a z")
        if label is not None and label.shape != (len(x_0),):
            raise ValueError(f"label must be [{len(x_0)}], got {list(label.shape)}")
        checks.whole("the T of gan", gan.T, 1, 8)
        self.gan, self.schedule, self.label = gan, gan.schedule, label
        g = torch.Generator().manual_seed(seed)
        self._z = torch.randn(latents, gan.generator_net.latent, generator=g)
        # Of the way in, of the step back, of the sampler's start.
        self._noise = [torch.randn(x_0.shape, generator=g) for _ in range(3)]
        with torch.no_grad():
            trained, sampled = self._training(x_0), self._sampling()

        def joined(name: str) -> Tensor:
            return torch.stack(
                [torch.stack([step[name] for step in steps]) for steps in (trained, sampled)]
            )

        super().__init__(
            _counts={"t": gan.T, "z": latents, "picture": len(x_0)},
            _shape=list(x_0.shape[2:]),
            _alpha_bar=[float(a) for a in self.schedule.alpha_bar],
            _x_0=kit.pack_greys(x_0),
            _x_t=kit.pack_greys(joined("x_t"), LEVELS),
            _x0_drawn=kit.pack_greys(joined("x0_drawn")),
            _x_s_made=kit.pack_greys(joined("x_s_made"), LEVELS),
            _x_s_true=kit.pack_greys(torch.stack([s["x_s_true"] for s in trained]), LEVELS),
            _latents=[[round(v, 3) for v in row] for row in self._z.tolist()],
            _logits_made=torch.stack([step["logits_made"] for step in trained]).tolist(),
            _logits_true=torch.stack([step["logits_true"] for step in trained]).tolist(),
        )
        self.t = max(1, gan.T - 1)

    def _drawn(self, x_t: Tensor, t: int) -> tuple[Tensor, Tensor]:
        """x_0' and x_s' of x_t [N, 1, H, W], for every z: [latents, N, 1, H, W] each."""
        time = torch.full((len(x_t),), t)
        drawn = [
            self.gan.generator_net(x_t, z.expand(len(x_t), -1), time, self.label) for z in self._z
        ]
        x_s = [self._back(x_t, x_0, t) for x_0 in drawn]
        return torch.stack(drawn), torch.stack(x_s)

    def _back(self, x_t: Tensor, x_0: Tensor, t: int) -> Tensor:
        """One step back, with the widget's own noise."""
        q = posterior(x_t, x_0, t, t - 1, self.schedule)
        return q.mean + q.std * self._noise[1]

    def _training(self, x_0: Tensor) -> list[dict[str, Tensor]]:
        steps = []
        for t in range(1, self.schedule.T + 1):
            q = forward(x_0, 0, t, self.schedule)
            x_t = q.mean + q.std * self._noise[0]
            x0_drawn, x_s_made = self._drawn(x_t, t)
            x_s_true = self._back(x_t, x_0, t)
            seen = (x_t, torch.full((len(x_t),), t), self.label)
            judge = self.gan.discriminator
            steps.append(
                {
                    "x_t": x_t,
                    "x0_drawn": x0_drawn,
                    "x_s_made": x_s_made,
                    "x_s_true": x_s_true,
                    "logits_made": torch.stack([judge(x_s, *seen) for x_s in x_s_made]),
                    "logits_true": judge(x_s_true, *seen),
                }
            )
        return steps

    def _sampling(self) -> list[dict[str, Tensor]]:
        x_t, steps = self._noise[2], []
        for t in range(self.schedule.T, 0, -1):
            x0_drawn, x_s_made = self._drawn(x_t, t)
            steps.append({"x_t": x_t, "x0_drawn": x0_drawn, "x_s_made": x_s_made})
            x_t = x_s_made[0]
        return steps[::-1]

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

    def _shown(self, content: bytes, each_z: bool, levels: int = 256) -> Tensor:
        count = [self._counts["z"]] if each_z else []
        shape = [2, self._counts["t"], *count, self._counts["picture"], *self._shape]
        every = kit.unpack_greys(content, shape, levels)
        step = every[MODES.index(self.mode), self.t - 1]
        return (step[self.z] if each_z else step)[self.picture]

    @property
    def x_0(self) -> Tensor:
        """The clean picture, float32 [H, W]."""
        return kit.unpack_greys(self._x_0, [self._counts["picture"], *self._shape])[self.picture]

    @property
    def x_t(self) -> Tensor:
        """The noisy picture, in 24 greys from -1 to 1."""
        return self._shown(self._x_t, False, LEVELS)

    @property
    def x0_drawn(self) -> Tensor:
        """x_0', what the generator draws."""
        return self._shown(self._x0_drawn, True)

    @property
    def x_s_made(self) -> Tensor:
        """x_s', noised back from x_0', in 24 greys from -1 to 1."""
        return self._shown(self._x_s_made, True, LEVELS)

    @property
    def x_s_true(self) -> Tensor:
        """x_s, noised back from x_0, in 24 greys from -1 to 1."""
        shape = [self._counts["t"], self._counts["picture"], *self._shape]
        return kit.unpack_greys(self._x_s_true, shape, LEVELS)[self.t - 1, self.picture]

    def _logits(self) -> tuple[Tensor, Tensor]:
        """What the discriminator says to the true pair and to the made one."""
        true = self._logits_true[self.t - 1][self.picture]
        made = self._logits_made[self.t - 1][self.z][self.picture]
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
            (self.x_t, f"$x_{self.t}$", NOISE),
            (self.x0_drawn, "$x_0'$, drawn", RESULT),
            (self.x_s_made, f"$x_{s}'$, made", RESULT),
        ]
        if self.mode == "training":
            true, made = self.judged
            pictures[2] = (self.x_s_made, f"$x_{s}'$: {made:.0%} real", RESULT)
            pictures = [(self.x_0, "$x_0$", SIGNAL), *pictures]
            pictures.append((self.x_s_true, f"$x_{s}$: {true:.0%} real", SIGNAL))
        figure = kit.new_figure(1.5 * len(pictures), 1.8)
        axes = figure.subplots(1, len(pictures))
        for ax, (picture, title, colour) in zip(axes, pictures, strict=True):
            kit.draw_picture(ax, picture, title, colour)
        return figure
