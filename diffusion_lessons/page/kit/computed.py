"""Widgets whose pictures come from a network: computed in parts, and anew when a kernel is there.

All parts are computed when the widget is made, with a progress bar, and kept in its state, so a
published page has them too. The page's button for new noise raises ``seed``; the page then asks
for the parts that it lacks, the chosen one first. Each question has a number of its own, which the
answer repeats: every page that shows the widget hears it, and one of them had asked. The kernel
handles one message at a time, so it works in portions of a quarter of a second and answers how far
it is: whatever else it is asked in between, by a newer press of the button or by another cell,
waits no longer than that.
"""

import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import traitlets
from torch import Tensor

from ...math.randomness import RowGenerator, derived, randn_like
from .explorer import Explorer

PORTION = 0.25  # seconds

Part = Generator[None, None, dict[str, Any]]
"""Yields after each call of the network, returns what the page needs."""


@dataclass
class Work:
    """A part on its way: the generator, and how many calls of the network it has made."""

    part: Part
    calls: int = 0


class Computed(Explorer):
    """An explorer of parts 0, 1, ... that a network computes, all of them for the same noise.

    A subclass says what a part is (`_compute`), how many network calls it takes (`_calls`), what
    changes with the noise (`_renew`), and calls `_precompute` at the end of its ``__init__``.
    ``seed`` counts the noises; the first is the one given.
    """

    seed = traitlets.Int(0, min=0).tag(sync=True)

    _count = traitlets.Int(0).tag(sync=True)

    def _compute(self, part: int) -> Part:
        raise NotImplementedError

    def _calls(self, part: int) -> int:
        raise NotImplementedError

    def _renew(self) -> None:
        """Draw what belongs to ``seed``."""

    def _precompute(self, count: int, words: str) -> None:
        """Compute all parts behind a progress bar, then listen to the page.

        The bar moves some fifty times, however long it takes, for `training.watch`'s reason.
        """
        from tqdm.auto import tqdm

        self._count = count
        self._running: dict[int, Work] = {}
        self._renew()
        total = sum(self._calls(part) for part in range(count))
        move = max(1, total // 50)
        with tqdm(total=total, desc=words, unit="call", leave=False, miniters=move) as bar:
            for part in range(count):
                content = finish(self._compute(part), bar.update)
                trait = traitlets.Dict({"seed": self.seed, **content}).tag(sync=True)
                self.add_traits(**{f"_part_{part}": trait})
        self.observe(self._forget, "seed")
        self.on_msg(self._listen)

    def _part(self, part: int) -> dict[str, Any]:
        """A part, if it was computed for the noise at hand; LookupError if not yet."""
        content: dict[str, Any] = getattr(self, f"_part_{part}")
        if content["seed"] != self.seed:
            raise LookupError(f"this is not computed yet for the noise of seed {self.seed}")
        return content

    def _has(self, part: int) -> bool:
        return bool(getattr(self, f"_part_{part}")["seed"] == self.seed)

    def _forget(self, change: Any) -> None:
        self._running.clear()
        self._renew()

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
            try:
                next(work.part)
                work.calls += 1
            except StopIteration as end:
                del self._running[part]
                self.set_trait(f"_part_{part}", {"seed": seed, **end.value})
                return {"done": total, "of": total}
        return {"done": work.calls, "of": total}


def finish(part: Part, after_call: Any) -> dict[str, Any]:
    """Run a part to its end; ``after_call`` is called after each call of the network."""
    while True:
        try:
            next(part)
        except StopIteration as end:
            content: dict[str, Any] = end.value
            return content
        after_call()


def generator_for(seed: int, use: int) -> RowGenerator:
    """Random numbers of their own for each use: the noise at the start, that of the steps, ...

    Row by row, so that a page can draw the very same (`rowNormals` in noise.js).
    """
    return RowGenerator(derived(seed, use))


def draw_noise(like: Tensor, seed: int, use: int) -> Tensor:
    """Standard normal noise of the shape, dtype and device of ``like``."""
    return randn_like(like, generator_for(seed, use))
