"""A discriminator at work: its answer over the plane, at several moments of its training."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
import traitlets
from torch import Tensor

from ... import checks
from ...math.exact import GaussianMixture
from ...math.gaussian import forward, posterior
from ...math.randomness import seeded
from ...networks.gan import Gan, latents
from .. import kit
from ..palette import DATA, INK, RESULT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REACH = 2.7  # of the axes, either way
SIDE = 45  # places across, at each of which the answer is known
SHOWN, JUDGED = 80, 2000  # pairs
UNIT = 1e-3  # of a coordinate that is kept, in 16 bits


class DiscriminatorExplorer(kit.Explorer):
    """What the discriminator of a GAN in the plane says, while it is trained.

    For one x_t, the plane of all x_s: how probable the discriminator finds it at each place that
    the pair (x_s, x_t) is true. Beside its answer, 80 true x_s, drawn from q(x_s | x_t) exactly,
    and 80 that the generator of that moment makes.

    ``moments`` are at most 8 networks, each a `Gan` of points, all of one schedule, by the number
    of updates that each has had; ``mixture`` is what they are trained on, in two dimensions.
    ``points`` (1 to 6) is for how many x_t it is shown; each is one clean point, and its noise, at
    all times. Synced traits: ``moment`` (its number, from 0), ``t`` (1..T), ``point``.
    ``answers``, ``true``, ``made``, ``x_t`` and ``right`` are what is shown. Raises ValueError for
    what does not fit, traitlets.TraitError for values outside their range.
    """

    _files = kit.files(__file__, "discriminator.css", "discriminator.js")

    moment = traitlets.Int(0, min=0).tag(sync=True)
    t = traitlets.Int(1, min=1).tag(sync=True)
    point = traitlets.Int(0, min=0).tag(sync=True)

    _updates = traitlets.List(traitlets.Int()).tag(sync=True)
    _counts = traitlets.Dict().tag(sync=True)  # of moment, t, point
    _right = traitlets.List(traitlets.List(traitlets.Float())).tag(sync=True)  # [moment][t - 1]
    _answers = kit.as_bytes()  # [moment, t, point, SIDE, SIDE], greys, from the top
    _x_t = kit.as_bytes()  # [t, point, 2], integers: so many UNITs
    _true = kit.as_bytes()  # [t, point, SHOWN, 2], likewise
    _made = kit.as_bytes()  # [moment, t, point, SHOWN, 2], likewise

    def __init__(
        self,
        mixture: GaussianMixture,
        moments: Mapping[int, Gan],
        points: int = 3,
        seed: int = 0,
    ) -> None:
        if mixture.means.shape[1] != 2:
            raise ValueError(f"mixture must be one of the plane, got {mixture.means.shape[1]}-d")
        if not 1 <= len(moments) <= 8:
            raise ValueError(f"moments must be 1 to 8 Gans, got {len(moments)}")
        for updates, gan in moments.items():
            checks.whole("each key of moments", updates, 0)
            checks.instance("each of moments", gan, Gan)
        gans = [gan for _, gan in sorted(moments.items())]
        self.schedule = gans[0].schedule
        for gan in gans:
            if gan.shape != (2,) or gan.schedule.config != self.schedule.config:
                raise ValueError("moments must be Gans of points in the plane, of one schedule")
        points = checks.whole("points", points, 1, 6)
        kit.check_seed(seed)
        g = seeded(seed)
        x_0, _ = mixture.sample(points, g)
        judged, _ = mixture.sample(JUDGED, g)
        noise = torch.randn(points, 2, generator=g)
        x_t, true, made, answers = [], [], [], []
        for t in range(1, self.schedule.T + 1):
            q = forward(x_0, 0, t, self.schedule)
            x_t.append(q.mean + q.std * noise)
            many = x_t[-1].repeat_interleave(SHOWN, 0)  # [points * SHOWN, 2]
            clean = mixture.sample_x0(many, t, self.schedule, g)
            true.append(posterior(many, clean, t, t - 1, self.schedule).sample(g))
        for gan in gans:
            for t, x in enumerate(x_t, 1):
                made.append(self._made_by(gan, x.repeat_interleave(SHOWN, 0), t, g))
                answers.append(self._answers_of(gan, x, t))
        super().__init__(
            _updates=sorted(moments),
            _counts={"moment": len(gans), "t": self.schedule.T, "point": points},
            _right=[self._share_right(gan, judged, seeded(seed, 1)) for gan in gans],
            _answers=kit.pack_greys(torch.stack(answers)),
            _x_t=_as_integers(x_t),
            _true=_as_integers(true),
            _made=_as_integers(made),
        )
        self.moment = len(gans) - 1

    @torch.no_grad()
    def _made_by(self, gan: Gan, x_t: Tensor, t: int, g: torch.Generator) -> Tensor:
        """x_s' for each row of x_t, each with a z of its own."""
        net = gan.generator_net
        drawn = net(x_t, latents(net, x_t, g), torch.full((len(x_t),), t))
        return posterior(x_t, drawn, t, t - 1, self.schedule).sample(g)

    @torch.no_grad()
    def _answers_of(self, gan: Gan, x_t: Tensor, t: int) -> Tensor:
        """-1 for surely made to 1 for surely true, at each place of the plane; [points, SIDE^2]."""
        across = torch.linspace(-REACH, REACH, SIDE)
        places = torch.cartesian_prod(across.flip(0), across).flip(1)  # x_s, row by row from above
        every = places.repeat(len(x_t), 1)
        beside = x_t.repeat_interleave(len(places), 0)
        logits = gan.discriminator(every, beside, torch.full((len(every),), t))
        return (2 * logits.sigmoid() - 1).view(len(x_t), -1)

    @torch.no_grad()
    def _share_right(self, gan: Gan, x_0: Tensor, g: torch.Generator) -> list[float]:
        """The share of pairs, half of them true, that it judges rightly at each t."""
        shares = []
        for t in range(1, self.schedule.T + 1):
            x_t = forward(x_0, 0, t, self.schedule).sample(g)
            true = posterior(x_t, x_0, t, t - 1, self.schedule).sample(g)
            seen = (x_t, torch.full((len(x_t),), t))
            real = gan.discriminator(true, *seen) > 0
            fake = gan.discriminator(self._made_by(gan, x_t, t, g), *seen) < 0
            shares.append(float(torch.cat([real, fake]).double().mean()))
        return shares

    @traitlets.validate("moment", "t", "point")
    def _check_chosen(self, proposal: Any) -> int:
        name, value = proposal.trait.name, int(proposal.value)
        last = self._counts.get(name, value + 1) - (name != "t")
        if value > last:
            raise traitlets.TraitError(f"{name} must be at most {last}, got {value}")
        return value

    def _numbers(self, content: bytes, each_moment: bool) -> Tensor:
        """The points stored for the x_t shown."""
        counts = self._counts
        lead = [counts["moment"]] if each_moment else []
        every = torch.tensor(kit.unpack(content, "<i2") * UNIT, dtype=torch.float32)
        every = every.view(*lead, counts["t"], counts["point"], -1, 2)
        return (every[self.moment] if each_moment else every)[self.t - 1, self.point]

    @property
    def x_t(self) -> Tensor:
        """The noisy point, float32 [2]."""
        return self._numbers(self._x_t, False)[0]

    @property
    def true(self) -> Tensor:
        """x_s drawn from q(x_s | x_t), float32 [80, 2]."""
        return self._numbers(self._true, False)

    @property
    def made(self) -> Tensor:
        """x_s' by way of the generator, float32 [80, 2]."""
        return self._numbers(self._made, True)

    @property
    def answers(self) -> Tensor:
        """How probably true, 0..1, in 32 steps, at each place from the upper left, [45, 45]."""
        shape = [*(self._counts[name] for name in ("moment", "t", "point")), SIDE, SIDE]
        greys = kit.unpack_greys(self._answers, shape)
        return (greys[self.moment, self.t - 1, self.point] + 1) / 2

    @property
    def right(self) -> float:
        """The share of pairs of this t, for any x_t, that it judges rightly at this moment."""
        return self._right[self.moment][self.t - 1]

    def figure(self) -> "Figure":
        """The plane at the values shown."""
        figure = kit.new_figure(4.2, 4.2)
        axes = figure.subplots()
        title = f"after {self._updates[self.moment]} updates, t = {self.t}"
        kit.draw_axes(axes, "", title)
        edge = REACH * (1 + 1 / (SIDE - 1))  # a place is the middle of its square
        axes.imshow(
            (1 - self.answers).numpy(),
            cmap="Greys",
            vmin=0,
            vmax=2,
            extent=(-edge, edge, -edge, edge),
        )
        for points, colour in [(self.true, DATA), (self.made, RESULT)]:
            across, up = points.numpy().T
            axes.scatter(across, up, s=6, color=colour)
        axes.plot(*self.x_t.tolist(), "o", color=INK)
        axes.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH), aspect="equal")
        return figure


def _as_integers(points: list[Tensor]) -> bytes:
    """Coordinates as so many UNITs; what lies far outside the axes is drawn back to +-32.767."""
    return kit.pack((torch.stack(points) / UNIT).round().clamp(-32767, 32767), "<i2")
