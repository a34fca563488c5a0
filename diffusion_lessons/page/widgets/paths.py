"""What is straight and what is not: random pairs, the flow through them, and reflow's pairs."""

from typing import TYPE_CHECKING

import torch
import traitlets
from torch import Tensor

from ... import checks
from ...math.exact import GaussianMixture
from ...math.prediction import VELOCITY
from ...math.sampling import sample
from ...math.schedule import straight_schedule
from ...math.solvers import SAMPLERS
from .. import kit
from ..palette import DATA, NOISE, RESULT, SIGNAL, SOFT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KINDS = {"pairs": "random pairs", "flow": "the flow", "reflow": "reflow"}
SCHEDULE = straight_schedule()
FRAMES = 200
TIMES = SCHEDULE.times(FRAMES)
COARSE = 5  # frames from one corner of a path to the next, where crossings are counted
NEAR, APART = 0.05, 1.0  # of two points that meet: their places, their velocities


class PathsExplorer(kit.Explorer):
    """Paths from noise to data in the plane, of three kinds; ``kind`` is one of

    - "pairs": straight lines between noise and data that are paired at random, as flow matching
      trains on them. Points on their way along them meet, and go on in different directions.
    - "flow": the marginal velocity of those lines, ``E[noise - x_0 | x_t]``, known exactly for a
      `GaussianMixture`, and the same noise carried along by it. No points meet, but paths are bent.
    - "reflow": straight lines between each noise and where the flow carried it (rectified flow,
      arXiv 2209.03003). They are straight, and hardly cross.

    Time runs on `straight_schedule`, from noise to data in 200 frames; the flow takes a step of
    Euler's for each. ``mixture`` has at most 50 components in two dimensions. Synced traits:
    ``kind``, ``frame`` (0 is noise, 200 data). ``walk()`` is where the points are in each frame;
    the functions ``meetings``, ``crossings`` and ``stretch`` count what is shown. Raises ValueError
    for another mixture or not 2 to 100 points, traitlets.TraitError for values outside their range.
    """

    _files = kit.files(__file__, "paths.css", "paths.js")

    kind = traitlets.Enum(list(KINDS), "pairs").tag(sync=True)
    frame = traitlets.Int(0, min=0, max=FRAMES).tag(sync=True)

    _means = traitlets.List(traitlets.List(traitlets.Float())).tag(sync=True)
    _stds = traitlets.List(traitlets.Float()).tag(sync=True)
    _weights = traitlets.List(traitlets.Float()).tag(sync=True)
    _noise = kit.as_bytes()
    _data = kit.as_bytes()

    def __init__(self, mixture: GaussianMixture, points: int = 60, seed: int = 0) -> None:
        checks.instance("mixture", mixture, GaussianMixture)
        K, D = mixture.means.shape
        if D != 2 or K > 50:
            raise ValueError(
                f"mixture must have at most 50 components in 2 dimensions, got {K} in {D}"
            )
        points = checks.whole("points", points, 2, 100)
        kit.check_seed(seed)
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(points, 2, generator=generator)
        data, _ = mixture.sample(points, generator)
        weights = mixture.weights.double()
        self.mixture = GaussianMixture(
            mixture.means.double(), mixture.stds.double(), weights / weights.sum()
        )
        super().__init__(
            frame=FRAMES // 2,
            _means=self.mixture.means.tolist(),
            _stds=self.mixture.stds.tolist(),
            _weights=self.mixture.weights.tolist(),
            _noise=kit.pack(noise, "<f4"),
            _data=kit.pack(data, "<f4"),
        )

    @property
    def t(self) -> int:
        """The time shown, 1000 for noise."""
        return TIMES[self.frame]

    @property
    def noise(self) -> Tensor:
        """Where all paths begin, float64 [points, 2]."""
        return torch.tensor(kit.unpack(self._noise, "<f4")).view(-1, 2).double()

    @property
    def data(self) -> Tensor:
        """What noise is paired with at random, float64 [points, 2]."""
        return torch.tensor(kit.unpack(self._data, "<f4")).view(-1, 2).double()

    def walk(self, kind: str | None = None) -> Tensor:
        """Where the points are in each frame, float64 [frames + 1, points, 2]."""
        kind = kind or self.kind
        checks.one_of("kind", kind, KINDS)
        noise = self.noise
        if kind == "pairs":
            return lines(noise, self.data)
        denoiser = self.mixture.denoiser(SCHEDULE)
        steps = sample(denoiser, noise, SCHEDULE, FRAMES, sampler=SAMPLERS["euler"])
        flow = torch.stack([step.x for step in steps])
        return flow if kind == "flow" else lines(noise, flow[-1])

    def velocity(self, x_t: Tensor, t: int) -> Tensor:
        """The flow's, ``E[noise - x_0 | x_t]``, of points float64 [B, 2] at t in 1..T."""
        return VELOCITY.from_x0(self.mixture.denoise(x_t, t, SCHEDULE), x_t, t, SCHEDULE)

    def one_step(self, kind: str | None = None) -> Tensor:
        """Where one step of Euler's from the noise lands, float64 [points, 2].

        Along the flow's velocity, or along reflow's lines. Raises ValueError for "pairs": what is
        learnt from them is the flow.
        """
        kind = kind or self.kind
        checks.one_of("kind", kind, [name for name in KINDS if name != "pairs"])
        if kind == "flow":
            return self.noise - self.velocity(self.noise, SCHEDULE.T)
        return self.walk(kind)[-1]

    def on_data(self, places: Tensor) -> int:
        """How many of the places [B, 2] lie within three standard deviations of a component."""
        distances = torch.cdist(places, self.mixture.means)
        return int((distances < 3 * self.mixture.stds).any(1).sum())

    def figure(self) -> "Figure":
        """All three kinds at the time shown."""
        figure = kit.new_figure(9.2, 3.5)
        for axes, kind in zip(figure.subplots(1, 3), KINDS, strict=True):
            self._draw(axes, kind)
        return figure

    def _draw(self, axes: "Axes", kind: str) -> None:
        from matplotlib.patches import Circle

        walk = self.walk(kind)
        met = len(meetings(walk))
        kit.draw_axes(axes, "", f"{KINDS[kind]}, t = {self.t}: {met} pairs meet")
        axes.plot(*walk.permute(2, 0, 1).numpy(), color=SOFT, linewidth=0.4, zorder=1)
        if kind == "flow" and self.t:
            ticks = torch.linspace(-2.7, 2.7, 10, dtype=torch.float64)
            grid = torch.cartesian_prod(ticks, ticks)
            arrows = -self.velocity(grid, self.t)
            axes.quiver(*grid.T, *torch.nn.functional.normalize(arrows).T, color=SIGNAL, alpha=0.5)
        for (x, y), std in zip(self._means, self._stds, strict=True):
            axes.add_patch(Circle((x, y), 2 * std, fill=False, color=DATA, ls=":"))
        for points, area, colour in [(walk[0], 5, NOISE), (walk[self.frame], 10, RESULT)]:
            axes.scatter(points[:, 0], points[:, 1], s=area, color=colour)
        reach = float(torch.cat([walk[0], walk[-1]]).abs().max()) + 0.1
        axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")


def lines(noise: Tensor, data: Tensor) -> Tensor:
    """Straight paths in each frame, [points, 2] twice -> [frames + 1, points, 2]."""
    alpha, sigma = (level[TIMES, None, None] for level in (SCHEDULE.alpha, SCHEDULE.sigma))
    return alpha * data + sigma * noise


def meetings(walk: Tensor) -> list[tuple[int, int]]:
    """The pairs of points that are at one place at one time and go different ways.

    "One place" is within 0.05 of each other, "different ways" are velocities that are more than 1
    apart. What follows a field cannot: it has one arrow for each place and time.
    """
    velocity = FRAMES * walk.diff(dim=0)
    met = []
    for i in range(walk.shape[1] - 1):
        near = (walk[:-1, i + 1 :] - walk[:-1, i, None]).norm(dim=-1) < NEAR
        apart = (velocity[:, i + 1 :] - velocity[:, i, None]).norm(dim=-1) > APART
        met += [(i, i + 1 + int(k)) for k in (near & apart).any(0).nonzero()[:, 0]]
    return met


def crossings(walk: Tensor) -> int:
    """How many pairs of paths cross in the plane, at whatever times; of every fifth frame drawn."""
    drawn = walk[::COARSE]  # [corners, points, 2]
    begin, end = drawn[:-1], drawn[1:]
    count = 0
    for i in range(walk.shape[1] - 1):
        a, b = begin[:, None, None, i], end[:, None, None, i]
        c, d = begin[None, :, i + 1 :], end[None, :, i + 1 :]
        cross = (left(a, b, c) != left(a, b, d)) & (left(c, d, a) != left(c, d, b))
        count += int(cross.any(0).any(0).sum())
    return count


def left(a: Tensor, b: Tensor, p: Tensor) -> Tensor:
    """Whether the point p lies on the left of the line from a to b, or on it."""
    along, to = b - a, p - a
    return along[..., 0] * to[..., 1] >= along[..., 1] * to[..., 0]


def stretch(walk: Tensor) -> float:
    """The length of all paths over the straight distance between their ends."""
    lengths = walk.diff(dim=0).norm(dim=-1).sum()
    return float(lengths / (walk[-1] - walk[0]).norm(dim=-1).sum())
