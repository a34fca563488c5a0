"""Good, diverse, fast: every measured method as a point in a room of three axes."""

import base64
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
import traitlets

from .. import kit
from ..palette import INK, RESULT, SIGNAL

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHAPE = [10, 3, 28, 28]  # of a row's pictures: three of each digit
NUMBERS = (
    *("samples", "network_calls", "images_per_second", "class_accuracy", "frechet_distance"),
    *("precision", "recall", "density", "coverage"),
)


class TrilemmaExplorer(kit.Explorer):
    """A room with the axes diversity (recall), fidelity (precision) and speed, and points in it.

    ``rows`` are those of a table that `trilemma` measured, at least two. The room can be turned
    and tilted; a point that is chosen opens its samples, three of each digit, and its numbers.

    Synced traits: ``turn`` and ``tilt`` in degrees (0..90; at 0 and 0 one looks at recall and
    precision alone, turned by 90 at speed and precision, tilted by 90 at recall and speed),
    ``method`` (the name of one of the rows). ``chosen`` is its row. Raises ValueError for rows that
    hold no such numbers, traitlets.TraitError for a choice that is not there.
    """

    _files = kit.files(__file__, "_labels.js", "trilemma.js")

    turn = traitlets.Int(0, min=0, max=90).tag(sync=True)
    tilt = traitlets.Int(0, min=0, max=90).tag(sync=True)
    method = traitlets.Unicode().tag(sync=True)

    _rows = traitlets.List(traitlets.Dict()).tag(sync=True)
    _pictures = kit.as_bytes()  # [rows, 30, 28, 28], greys

    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        try:
            self.rows = [dict(row) for row in rows]
            measured: list[dict[str, Any]] = [
                {
                    "method": str(row["method"]),
                    **{name: float(row[name]) for name in NUMBERS},
                    "floor": float(row["floor"]["frechet_distance"]),
                }
                for row in self.rows
            ]
            shown = torch.stack(
                [kit.unpack_greys(base64.b64decode(row["pictures"]), SHAPE) for row in self.rows]
            )
        except Exception as error:
            raise ValueError(f"rows must be of a table that trilemma made: {error}") from error
        for row in measured:
            finite = all(math.isfinite(row[name]) for name in NUMBERS)
            if not finite or row["images_per_second"] <= 0:
                raise ValueError(f"the row of {row['method']!r} holds odd numbers")
        if len(measured) < 2 or len({row["method"] for row in measured}) < len(measured):
            raise ValueError("rows must be of at least two methods, each of them once")
        super().__init__(
            _rows=measured, _pictures=kit.pack_greys(shown), method=measured[0]["method"]
        )
        self.turn, self.tilt = 35, 20

    @traitlets.validate("method")
    def _check_method(self, proposal: Any) -> str:
        names = [row["method"] for row in self._rows]
        if names and proposal.value not in names:
            raise traitlets.TraitError(f"method must be one of {names}, got {proposal.value!r}")
        return str(proposal.value)

    @property
    def chosen(self) -> dict[str, Any]:
        """The measurements of the method chosen."""
        return next(row for row in self.rows if row["method"] == self.method)

    def figure(self) -> "Figure":
        """Recall against precision, larger points for faster methods; the chosen one's samples."""
        figure = kit.new_figure(8.4, 3.4)
        axes, samples = figure.subplots(1, 2, width_ratios=[3, 2])
        for number, row in enumerate(self._rows, 1):
            colour = RESULT if row["method"] == self.method else SIGNAL
            size = 12 + 18 * math.log10(max(row["images_per_second"], 1))
            place = (row["recall"], row["precision"])
            axes.scatter(*place, s=size, color=colour)
            aside = (5, 3) if number % 2 else (-10, -8)  # neighbours are often much alike
            axes.annotate(str(number), place, aside, textcoords="offset points", fontsize=7)
        kit.draw_axes(axes, "recall", "precision (larger: faster)")
        index = [row["method"] for row in self._rows].index(self.method)
        every = kit.unpack_greys(self._pictures, [len(self._rows), *SHAPE])[index]
        grid = every.permute(1, 2, 0, 3).reshape(3 * 28, 280)
        kit.draw_picture(samples, grid, self.method, RESULT)
        names = [f"{number}  {row['method']}" for number, row in enumerate(self._rows, 1)]
        middle = -(-len(names) // 2)
        for left, part in ((0, names[:middle]), (0.5, names[middle:])):
            words = {"fontsize": 7, "color": INK, "va": "top", "transform": samples.transAxes}
            samples.text(left, -0.1, "\n".join(part), **words)
        return figure
