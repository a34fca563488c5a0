"""Widgets whose pictures come from a network: stored, or computed by the page, or by the kernel.

What there is to see is cut into parts. A widget computes the chosen part when it is made, and keeps
it in its state: that is shown at once, on a published page too. Every other part is computed when
it is wanted, by the page itself if it has the network (``_network``; see `kit.networks`), otherwise
by a kernel, the chosen part first and the rest in the background.

The page asks the kernel for a part by a message with a number of its own, which the answer repeats:
every page that shows the widget hears it, and one of them had asked. The kernel handles one message
at a time, so it works in portions of a quarter of a second and answers how far it is: whatever else
it is asked in between, by a newer press of a button or by another cell, waits no longer than that.
"""

import time
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar
from weakref import WeakSet

import traitlets
from torch import Tensor

from ...math.randomness import RowGenerator, derived, randn_like
from .explorer import Explorer
from .packing import as_bytes, pack

PORTION = 0.25  # seconds

Part = Generator[None, None, dict[str, Any]]
"""Yields after each call of the network, returns what the page needs."""


@dataclass
class Work:
    """A part on its way: the generator, and how many calls of the network it has made."""

    part: Part
    calls: int = 0
    seconds: float = 0.0


class Computed(Explorer):
    """An explorer of parts 0, 1, ... that a network computes, all of them for the same noise.

    A subclass says what a part is (`_compute`), how many network calls it takes (`_calls`), which
    parts are wanted first on a page that cannot compute them (`_ahead`), and calls `_begin` at the
    end of its ``__init__``. ``seed`` counts the noises; the first is the one given.
    """

    seed = traitlets.Int(0, min=0).tag(sync=True)

    _count = traitlets.Int(0).tag(sync=True)
    _network = traitlets.Dict().tag(sync=True)  # what the page needs to compute the same
    _first_seed = traitlets.Int(0).tag(sync=True)
    _x_T = as_bytes()  # the noise of the first seed, float32; others are drawn

    _alive: ClassVar["WeakSet[Computed]"] = WeakSet()

    def _compute(self, part: int) -> Part:
        raise NotImplementedError

    def _calls(self, part: int) -> int:
        raise NotImplementedError

    def _ahead(self) -> Iterable[int]:
        """The parts that a page without a kernel should have, beside those of ``__init__``."""
        return ()

    def _begin(self, count: int, *chosen: int) -> None:
        """Compute the chosen parts, then listen to the page."""
        self._count = count
        self._running: dict[int, Work] = {}
        for part in chosen:
            self._part(part)
        self.observe(self._forget, "seed")
        self.on_msg(self._listen)
        self._alive.add(self)

    def store_ahead(self) -> None:
        """Compute and store what a page without a kernel should show and cannot compute itself."""
        for part in self._ahead():
            self._part(part)

    def _part(self, part: int) -> dict[str, Any]:
        """A part for the noise at hand, computed now if need be."""
        if not self._has(part):
            work = Work(self._compute(part))
            while (content := _step(work)) is None:
                pass
            self._keep(part, content)
        content = getattr(self, f"_part_{part}")
        return content

    def _has(self, part: int) -> bool:
        return bool(getattr(self, f"_part_{part}", {}).get("seed") == self.seed)

    def _keep(self, part: int, content: dict[str, Any]) -> None:
        name, value = f"_part_{part}", {"seed": self.seed, **content}
        if self.has_trait(name):
            self.set_trait(name, value)
        else:
            self.add_traits(**{name: traitlets.Dict(value).tag(sync=True)})

    def _forget(self, change: Any) -> None:
        self._running.clear()

    def _listen(self, widget: Any, content: Any, buffers: Any) -> None:
        """Answer the page: that a kernel is here, or how far the part is that it asked for."""
        match content:
            case {"ask": "kernel"}:
                self.send({"kernel": True})
            case {"ask": "part", "part": int(part), "seed": int(seed)}:
                about = {
                    key: content[key] for key in ("part", "seed", "question") if key in content
                }
                try:
                    self.send(about | self._go_on(part, seed))
                except Exception as error:
                    self._running.pop(part, None)
                    self.send(about | {"error": f"{type(error).__name__}: {error}"})
                    raise

    def _go_on(self, part: int, seed: int) -> dict[str, Any]:
        """Work on a part for a moment; how many of its network calls are done."""
        if not 0 <= part < self._count:
            raise ValueError(f"part must lie in 0..{self._count - 1}, got {part}")
        total = self._calls(part)
        if seed != self.seed or self._has(part):  # asked for before the noise changed, or twice
            return {"done": total, "of": total}
        work = self._running.setdefault(part, Work(self._compute(part)))
        until = time.perf_counter() + PORTION
        while time.perf_counter() < until:
            if (content := _step(work)) is not None:
                del self._running[part]
                self._keep(part, content)
                return {"done": total, "of": total}
        return {"done": work.calls, "of": total}


def _step(work: Work) -> dict[str, Any] | None:
    """One more call of the network; the content once it is there, with its calls and seconds."""
    begun = time.perf_counter()
    try:
        next(work.part)
    except StopIteration as end:
        seconds = work.seconds + time.perf_counter() - begun
        return {"calls": work.calls, "seconds": round(seconds, 4), **end.value}
    work.calls += 1
    work.seconds += time.perf_counter() - begun
    return None


def store_ahead() -> None:
    """`Computed.store_ahead` of every widget there is.

    For a notebook that is executed to be published, after its last cell: nobody waits then.
    """
    for widget in list(Computed._alive):
        widget.store_ahead()


def generator_for(seed: int, use: int) -> RowGenerator:
    """Random numbers of their own for each use: the noise at the start, that of the steps, ...

    Row by row, so that a page can draw the very same (`generatorFor` in noise.js).
    """
    return RowGenerator(derived(seed, use))


def draw_noise(like: Tensor, seed: int, use: int) -> Tensor:
    """Standard normal noise of the shape, dtype and device of ``like``."""
    return randn_like(like, generator_for(seed, use))


def as_noise(x: Tensor) -> bytes:
    """Noise as the page needs it to compute with: float32, uncompressed, for it does not."""
    return pack(x.float(), "<f4")
