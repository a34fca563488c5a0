"""The base class of every widget, and the scripts and styles that it brings to a page.

They go there as they are, compressed. The kit's own travel in a model of their own, one for a
kernel, to which every widget refers: however many widgets a notebook has, it carries the kit once.
`start.js`, all that anywidget itself gets to see, has `loader.js` put the two together in the page.
"""

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import ipywidgets
import traitlets

from .. import engine
from .packing import pack_files

if TYPE_CHECKING:
    from matplotlib.figure import Figure


STYLES = ("frame.css", "words.css", "controls.css", "layout.css", "pictures.css")
SCRIPTS = (
    *("numbers.js", "noise.js", "schedules.js", "sampling.js", "exact.js", "elements.js"),
    *("models.js", "controls.js", "timeline.js", "pictures.js", "plot.js", "pointing.js"),
    *("stage.js", "engine.js", "networks.js", "computed.js", "kit.js"),
)


class _Files(traitlets.TraitType[str, str]):
    """Text that each widget begins with, and yet no default, which a stored state may leave out."""

    def __init__(self, packed: str) -> None:
        super().__init__()
        self.packed = packed

    def make_dynamic_default(self) -> str:
        return self.packed


def files(beside: str, *names: str) -> Any:
    """A synced trait of scripts and styles, packed (`pack_files`); ``beside`` is a ``__file__``.

    Each script comes after those that it imports. The last one draws the widget.
    """
    folder = Path(beside).parent
    texts = [(name, (folder / name).read_text("utf-8")) for name in names]
    return _Files(pack_files(texts)).tag(sync=True)


class Kit(ipywidgets.Widget):  # type: ignore[misc]  # it has no types
    """The kit on its way to a page: a model that has no view."""

    _files = files(__file__, "loader.js", *STYLES, *SCRIPTS)

    _shared: "Kit | None" = None

    @classmethod
    def shared(cls) -> "Kit":
        """The one of this kernel; another if somebody has closed it."""
        if cls._shared is None or cls._shared.comm is None:
            cls._shared = cls()
        return cls._shared


class Explorer(anywidget.AnyWidget):
    """A widget of scripts that use the kit (`files`), and a PNG for viewers that run none."""

    _esm = Path(__file__).with_name("start.js").read_text("utf-8")

    _kit = traitlets.Instance(Kit).tag(sync=True, **ipywidgets.widget_serialization)
    _files: Any = traitlets.Unicode().tag(sync=True)

    @traitlets.default("_kit")
    def _shared_kit(self) -> Kit:
        return Kit.shared()

    def __init__(self, **traits: Any) -> None:
        super().__init__(**traits)
        self.on_msg(bring_part)

    def engine_part(self, name: str) -> dict[str, bytes]:
        """The files of a part of the engine for the page; a widget may have one of its own."""
        return engine.part(name)

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


def bring_part(widget: Explorer, content: Any, buffers: Any) -> None:
    """Answer a page that asks for a part of the engine; see `engine.part`."""
    match content:
        case {"ask": "engine", "name": str(name)}:
            answer: dict[str, Any] = {"engine": name}
            widget.send(answer | {"coming": True})  # it may have to be made first
            try:
                files = widget.engine_part(name)
            except Exception as error:
                widget.send(answer | {"error": f"{type(error).__name__}: {error}"})
                raise
            widget.send(answer | {"files": list(files)}, list(files.values()))
