"""The base class of every widget: its scripts, and a picture for who runs none."""

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HERE = Path(__file__).parent
WIDGETS = HERE.parent / "widgets"


def module_text(*names: str | Path) -> str:
    """One ES module without imports: the kit's followed by the widget's own files.

    A file of `widgets` is given by its name, another by its whole path.
    """
    return "\n".join((WIDGETS / name).read_text("utf-8") for name in (HERE / "kit.js", *names))


def style_text(*names: str | Path) -> str:
    """The kit's style sheet followed by those that only this widget needs."""
    return "\n".join((WIDGETS / name).read_text("utf-8") for name in (HERE / "kit.css", *names))


class Explorer(anywidget.AnyWidget):
    """A widget that carries a PNG of its current state for viewers that run no JavaScript."""

    _css = style_text()

    def figure(self) -> "Figure":
        """The current state as a matplotlib figure."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is None:
            return None
        data, metadata = bundle
        picture = io.BytesIO()
        self.figure().savefig(picture, format="png", dpi=80)
        png = base64.b64encode(picture.getvalue()).decode()
        return {**data, "text/plain": repr(self), "image/png": png}, metadata
