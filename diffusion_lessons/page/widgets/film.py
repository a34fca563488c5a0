"""Several films side by side under one slider, for what differs by one thing."""

import zlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
import traitlets
from torch import Tensor

from ... import checks
from .. import kit
from ..palette import NOISE, RESULT, SIGNAL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BUDGET = 150_000  # compressed bytes
LOOKS = {"signal": SIGNAL, "noise": NOISE, "result": RESULT}


class FilmPlayer(kit.Explorer):
    """Named films of one kind and length, to be played and scrubbed together.

    ``films`` maps 1 to 6 names to tensors of one shape: pictures [F, B, 1, H, W], or [F, B, 3, H,
    W] in colour, in -1..1 (B at most 10, values outside are clipped), points [F, M, 2], or arrows
    [F, M, 4], each from its first two coordinates to its last two. ``times`` are the F times t that
    the slider shows. ``colours`` says which films are "noise" or "signal"; the others are "result".
    ``labels`` are B captions. Pictures are kept in 32 greys, or as many of each colour, coordinates
    as 16-bit integers.

    Synced traits: ``frame``, 0 is the first; ``times``; ``names``. Raises ValueError for films
    that differ in shape, for times that are not one for each frame, and for more than 150 kB
    compressed; traitlets.TraitError for a frame outside 0..F-1.
    """

    _files = kit.files(__file__, "film.js")

    frame = traitlets.Int(0, min=0).tag(sync=True)
    times = traitlets.List(traitlets.Int(), read_only=True).tag(sync=True)
    names = traitlets.List(traitlets.Unicode(), read_only=True).tag(sync=True)

    _colours = traitlets.List(traitlets.Unicode()).tag(sync=True)  # one for each film
    _labels = traitlets.List(traitlets.Unicode()).tag(sync=True)
    # [F, B, H, W], [F, B, 3, H, W], [F, M, 2] or [F, M, 4]
    _shape = traitlets.List(traitlets.Int()).tag(sync=True)
    _scale = traitlets.Float(1.0).tag(sync=True)  # of coordinates: value / integer
    _films = kit.as_bytes()  # zlib of one after the other

    def __init__(
        self,
        films: Mapping[str, Tensor],
        times: Sequence[int],
        colours: Mapping[str, str] | None = None,
        labels: Sequence[object] | Tensor | None = None,
        frame: int = 0,
    ) -> None:
        together = _checked(films)  # [films, F, ...]
        times = [checks.whole("a time", t, 0) for t in times]
        if len(times) != together.shape[1]:
            raise ValueError(
                f"times must be one for each of {together.shape[1]} frames, got {len(times)}"
            )
        colours = dict(colours or {})
        if not set(colours) <= set(films) or not set(colours.values()) <= set(LOOKS):
            raise ValueError(
                f"colours must map names of films to {', '.join(LOOKS)}, got {colours}"
            )
        pictures = together.ndim == 6
        scale = 1.0
        if pictures:
            together = kit.as_kept(together)
            content = kit.pack_greys(together)
        else:
            scale = max(float(together.abs().max()), 1e-6) / 32767
            content = zlib.compress(kit.pack((together / scale).round(), "<i2"), 9)
        if len(content) > BUDGET:
            raise ValueError(
                f"films of {len(content):,} bytes are too heavy, {BUDGET:,} are allowed; give "
                "fewer frames or fewer pictures"
            )
        captions = kit.check_labels(labels, together.shape[2] if pictures else 0)
        super().__init__(
            _colours=[colours.get(name, "result") for name in films],
            _labels=captions,
            _shape=list(together.shape[1:]),
            _scale=scale,
            _films=content,
        )
        with self.hold_sync():
            self.set_trait("times", times)
            self.set_trait("names", [str(name) for name in films])
            self.frame = frame

    @traitlets.validate("frame")
    def _check_frame(self, proposal: Any) -> int:
        if self.times and proposal.value >= len(self.times):
            raise traitlets.TraitError(
                f"frame must lie in 0..{len(self.times) - 1}, got {proposal.value}"
            )
        return int(proposal.value)

    def decoded(self) -> dict[str, Tensor]:
        """What the browser shows: by name, float32 [F, B, (3,) H, W], [F, M, 2] or [F, M, 4]."""
        shape = [len(self.names), *self._shape]
        if self._pictures:
            values = kit.unpack_greys(self._films, shape)
        else:
            integers = kit.unpack(zlib.decompress(self._films), "<i2").astype("f4")
            values = torch.from_numpy(integers).reshape(shape) * self._scale
        return dict(zip(self.names, values, strict=True))

    @property
    def _pictures(self) -> bool:
        return len(self._shape) > 3

    def figure(self) -> "Figure":
        """The frame in sight: pictures in a row for each film, points and arrows side by side."""
        films = self.decoded()
        if self._pictures:
            count = self._shape[1]
            figure = kit.new_figure(1.1 * count + 1, 1.25 * len(films))
            grid = figure.subplots(len(films), count, squeeze=False)
            for row, (name, film), look in zip(grid, films.items(), self._colours, strict=True):
                for k, axes in enumerate(row):
                    kit.draw_picture(axes, film[self.frame, k], "", LOOKS[look])
                row[0].set_title(name, loc="left", color=LOOKS[look], fontsize=9)
            return figure
        limit = _limit(torch.stack(list(films.values())))
        figure = kit.new_figure(3.2 * len(films), 3.5)
        panels = figure.subplots(1, len(films), squeeze=False)[0]
        for axes, (name, film), look in zip(panels, films.items(), self._colours, strict=True):
            kit.draw_axes(axes, "", f"{name}, t = {self.times[self.frame]}")
            _draw(axes, film[self.frame], LOOKS[look])
            axes.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
        return figure


def _checked(films: Mapping[str, Tensor]) -> Tensor:
    """All films in one tensor [films, F, ...]."""
    if not isinstance(films, Mapping) or not 1 <= len(films) <= 6:
        raise ValueError("films must be 1 to 6 tensors by name")
    each = {name: kit.as_float(film, f"the film {name!r}") for name, film in films.items()}
    shapes = {tuple(film.shape) for film in each.values()}
    if len(shapes) > 1:
        raise ValueError(f"films must have one shape, got {', '.join(map(str, sorted(shapes)))}")
    (shape,) = shapes
    pictures = kit.are_pictures(shape[1:]) and 1 <= shape[1] <= 10
    plane = len(shape) == 3 and 1 <= shape[1] <= 2000 and shape[2] in (2, 4)
    if not (pictures or plane) or not 2 <= shape[0] <= 100:
        raise ValueError(
            "films must be 2 to 100 frames of 1 to 10 pictures [F, B, 1 or 3, H, W] of at most "
            f"64 x 64 pixels, of points [F, M, 2] or of arrows [F, M, 4], got shape {list(shape)}"
        )
    return torch.stack(list(each.values()))


def _limit(films: Tensor) -> float:
    """How far the axes reach."""
    return max(2.0, float(films.abs().max().ceil()))


def _draw(axes: "Axes", values: Tensor, colour: str) -> None:
    if values.shape[1] == 2:
        x, y = values.numpy().T
        axes.scatter(x, y, s=2, color=colour)
        return
    x, y, to_x, to_y = values.numpy().T
    units: dict[str, Any] = {"angles": "xy", "scale_units": "xy", "scale": 1}
    axes.quiver(x, y, to_x - x, to_y - y, color=colour, width=0.005, **units)
