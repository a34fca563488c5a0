"""One run on several processes, GPUs and machines: which of them am I, and what do all know?

The launch tells (``accelerate launch -m diffusion_lessons train ...``, or torchrun); Hugging Face
Accelerate then connects the processes and gives each its GPU. All of them run the same program.
What it trains on and what it draws is shared out by rows, and each row has random numbers of its
own (`randomness.RowGenerator`), so the result is one process's, but for the rounding of sums.
Alone, nothing is imported, and every method here is free.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """This process among ``size`` of them. Its methods must be called by all, in the same order."""

    rank: int = 0
    size: int = 1

    @property
    def main(self) -> bool:
        """Whether this is the one that writes files and speaks."""
        return self.rank == 0

    def rows(self, batch: Any) -> Any:
        """This process's part of a batch: of tensors [B, ...], B / size rows each.

        They may stand in tuples, named tuples, lists and dicts. Raises ValueError if B cannot be
        divided, or the batch holds something else.
        """
        return batch if self.size == 1 else tree_map(self._rows, batch)

    def _rows(self, batch: Any) -> Tensor:
        if not isinstance(batch, Tensor):
            raise ValueError(
                f"{self.size} processes can share out tensors, in tuples, lists or dicts, "
                f"not a {type(batch).__name__}"
            )
        if len(batch) % self.size:
            raise ValueError(f"a batch of {len(batch)} cannot be divided by {self.size} processes")
        n = len(batch) // self.size
        return batch[self.rank * n : (self.rank + 1) * n]

    @torch.no_grad()
    def mean_(self, tensors: list[Tensor]) -> None:
        """Replace tensors by their means over the processes, all in one exchange."""
        if self.size == 1 or not tensors:
            return
        from accelerate.utils import reduce

        flat = reduce(torch.cat([x.reshape(-1) for x in tensors]), "mean")
        for x, part in zip(tensors, flat.split([x.numel() for x in tensors]), strict=True):
            x.copy_(part.view(x.shape))

    @torch.no_grad()
    def copy_(self, tensors: list[Tensor]) -> None:
        """Replace tensors by those of the main process."""
        if self.size == 1:
            return
        from accelerate.utils import broadcast

        for x in tensors:
            x.copy_(broadcast(x.contiguous()))

    def from_main(self, make: Callable[[], T]) -> T:
        """What ``make`` returns, or raises, in the main process; the others do not call it."""
        if self.size == 1:
            return make()
        from accelerate.utils import broadcast_object_list

        result: list[Any] = [None, None]  # the value, or the error
        if self.main:
            try:
                result[0] = make()
            except Exception as error:  # all must hear of it, or they would wait for ever
                result[1] = error
        broadcast_object_list(result)
        if result[1] is not None:
            raise result[1]
        return result[0]

    def gather(self, value: T) -> list[T]:
        """Everyone's value, by rank."""
        if self.size == 1:
            return [value]
        from accelerate.utils import gather_object

        values: list[T] = gather_object([value])
        return values

    @contextmanager
    def one_first(self) -> Iterator[None]:
        """One process of each machine goes first, say to download what the others then find."""
        if self.size == 1:
            yield
            return
        # Accelerate's own wait takes each process for one of another GPU; two may share one.
        first = os.environ["LOCAL_RANK"] == "0"
        if not first:
            self.gather(None)
        yield
        if first:
            self.gather(None)

    def leave(self) -> None:
        """Wait for all, and part."""
        if self.size > 1:
            from accelerate import PartialState

            self.gather(None)
            PartialState().destroy_process_group()


@lru_cache
def processes() -> Processes:
    """The processes of this launch, connected; from now on "cuda" is this one's own GPU.

    Raises ImportError where there are several, but no Accelerate.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) == 1 or "LOCAL_RANK" not in os.environ:
        return Processes()
    try:
        from accelerate import PartialState
    except ImportError as error:
        raise ImportError("several processes need Accelerate: pip install accelerate") from error
    # NCCL refuses two processes on one GPU, gloo takes them: slow, but enough to try a program.
    crowded = int(os.environ.get("LOCAL_WORLD_SIZE", 1)) > torch.cuda.device_count() > 0
    backend = {"backend": "gloo"} if crowded else {}
    state = PartialState(cpu=not torch.cuda.is_available(), **backend)
    return Processes(state.process_index, state.num_processes)
