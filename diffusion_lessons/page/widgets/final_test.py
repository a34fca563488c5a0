"""The final test: its items one at a time, graded in the page."""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import traitlets

from .. import kit
from ..palette import INK, RESULT, SOFT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NEEDED: dict[str, set[str]] = {
    "match": {"question", "pairs"},
    "number": {"variants", "reason", "lesson"},
    "bug": {"question", "lines", "right", "picture", "alt", "reason", "lesson"},
    "plot": {"question", "pictures", "alts", "right", "reason", "lesson"},
}
"""What an item of each kind must say besides its ``id``."""


class FinalTest(kit.Explorer):
    """Items to be answered, each with a reason and the lesson to go back to; a score at the end.

    ``items`` are those of `quiz.final_test`: formulas to match with meanings, numbers (a set of
    them drawn anew each time), a faulty line to be found, a plot to be predicted. All is graded in
    the page, so the test works without a kernel. The first answer to an item counts; it can be
    tried again. A browser keeps the answers where it may, for a page that is loaded anew and for
    another widget of the same items.

    Synced traits: ``item`` (which is shown, the last place is the score) and ``answers``, by the
    items' ids: ``{"first": points, "now": points}`` and what was ``given``. ``score`` is points at
    the first try and the most there are. Raises ValueError for items that are not of these kinds.
    """

    _files = kit.files(__file__, "final_test.css", "final_test.js")

    item = traitlets.Int(0, min=0).tag(sync=True)
    answers = traitlets.Dict().tag(sync=True)

    _items = traitlets.List(traitlets.Dict()).tag(sync=True)

    def __init__(self, items: Sequence[Mapping[str, Any]]) -> None:
        try:
            checked = [dict(item) for item in items]
        except (TypeError, ValueError) as error:
            raise ValueError(f"items must be a list of dicts: {error}") from error
        if not checked:
            raise ValueError("items must hold at least one")
        for item in checked:
            kind = item.get("kind")
            if kind not in NEEDED:
                raise ValueError(f"an item's kind must be one of {', '.join(NEEDED)}, got {kind!r}")
            if missing := (NEEDED[kind] | {"id"}) - item.keys():
                raise ValueError(f"an item of kind {kind!r} lacks {', '.join(sorted(missing))}")
        if len({item["id"] for item in checked}) < len(checked):
            raise ValueError("items must have different ids")
        super().__init__(_items=checked)

    @traitlets.validate("item")
    def _check_item(self, proposal: Any) -> int:
        if self._items and proposal.value > len(self._items):
            raise traitlets.TraitError(f"item must lie in 0..{len(self._items)}")
        return int(proposal.value)

    @property
    def score(self) -> tuple[int, int]:
        """Points at the first try, and the most there are."""
        most = sum(len(item.get("pairs", "1")) for item in self._items)
        return sum(int(answer["first"]) for answer in self.answers.values()), most

    def figure(self) -> "Figure":
        """The question shown, as text and picture."""
        from matplotlib.image import imread

        item = self._items[min(self.item, len(self._items) - 1)]
        lines = [item.get("question") or item["variants"][0]["text"]]
        if item["kind"] == "match":
            lines += [pair["formula"] for pair in item["pairs"]]
        lines += item.get("lines", [])
        figure = kit.new_figure(8, 0.6 + 0.28 * len(lines))
        axes = figure.subplots(1, 2 if "picture" in item else 1, squeeze=False)[0]
        for ax in axes:
            ax.set_axis_off()
        text = "\n".join(lines)
        axes[0].text(0, 1, text, va="top", color=INK, fontsize=9, wrap=True)
        points, most = self.score
        axes[0].set_title(f"{points} of {most} points", loc="left", color=RESULT, fontsize=10)
        if "picture" in item:
            axes[1].imshow(imread(io.BytesIO(base64.b64decode(item["picture"])), format="webp"))
            axes[1].set_title("right, and this code", color=SOFT, fontsize=9)
        return figure
