"""The trilemma, measured: one judge, one machine, one run, for every way to draw a digit.

What Xiao, Kreis and Vahdat (arXiv 2112.07804) call the generative learning trilemma: samples should
be good, diverse and quickly made. `trilemma` measures all three for each of `METHODS`, those of
lessons 03 to 06, and for whom asks for them of `FEW_CALLS`, which came later; `time_again` the
third alone, on a machine that has nothing else to do.
"""

import base64
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import checks
from ..data import to_bytes, to_unit
from ..math.randomness import BY_ROW
from ..math.solvers import SAMPLERS
from ..networks.cards import machine, pretrained_path, read_card
from ..networks.checkpoints import load_pretrained
from ..networks.compute import Compute, chosen
from ..networks.drawing import TRUNCATION, DrawSettings
from .drawing import BATCH, draw
from .evaluation import evaluate
from .tables import Row, Table


@dataclass(frozen=True)
class Method:
    """A way to draw digits: a shipped network, and its settings."""

    network: str
    settings: DrawSettings = DrawSettings()  # noqa: RUF009 (it is frozen)


def _ddim(steps: int, eta: float = 0.0) -> Method:
    return Method("digits-ddpm", DrawSettings(steps, eta))


def _guided(guidance: str, scale: float) -> Method:
    return Method("digits-ddpm", DrawSettings(20, 0.0, guidance=guidance, scale=scale))


def solver_methods(samplers: Sequence[str]) -> dict[str, Method]:
    """`digits-ddpm` drawn by other samplers, in 5, 10 and 20 steps each."""
    return {
        f"{sampler}, {steps} steps": Method("digits-ddpm", DrawSettings(steps, sampler=sampler))
        for sampler in samplers
        for steps in (5, 10, 20)
    }


METHODS: dict[str, Method] = {
    "VAE": Method("digits-vae"),
    "VAE, truncated at 0.75": Method("digits-vae", DrawSettings(guidance=TRUNCATION, scale=0.75)),
    "GAN": Method("digits-gan"),
    "DDGAN, 4 steps": Method("digits-ddgan"),
    "DDIM, 5 steps": _ddim(5),
    "DDIM, 10 steps": _ddim(10),
    "DDIM, 20 steps": _ddim(20),
    "DDIM, 50 steps": _ddim(50),
    "DDPM, 10 steps": _ddim(10, eta=1.0),
    "DDPM, 50 steps": _ddim(50, eta=1.0),
    "classifier-free, scale 3": _guided("classifier-free", 3.0),
    "label and classifier, scale 4": _guided("label+classifier", 4.0),
}
"""What is measured, in this order."""


def _few(network: str, sampler: str, steps: Sequence[int], name: str) -> dict[str, Method]:
    """A network in so many steps, each of which is one call."""
    return {
        f"{name}, {n} call{'s' * (n > 1)}": Method(network, DrawSettings(n, sampler=sampler))
        for n in steps
    }


FEW_CALLS: dict[str, Method] = (
    _few("digits-consistency", "consistency", (1, 2, 4), "consistency")
    | _few("digits-reflow", "euler", (1, 2, 4), "reflow")
    | _few("digits-ddpm", "dpm++", (5, 10), "DPM-Solver++ 2M")
    | {"latent diffusion, 20 calls": Method("digits-latent", DrawSettings(20, 0.0))}
)
"""What came after 2022, lesson 09's: fewer calls by training and by a better solver, and cheaper
ones."""

EVERY = METHODS | FEW_CALLS | solver_methods(list(SAMPLERS))
"""These and, for whom asks for them, every sampler of `SAMPLERS`."""

SAMPLES = 10_000
"""Of every method alike: recall and coverage fall, and the floor with them, as the count grows."""

FEWEST = 20  # samples, of whose halves precision and recall can be told
SHOWN = 3  # pictures of each digit that a row keeps


def trilemma(
    out: Path | str,
    methods: Sequence[str] = tuple(METHODS),
    seed: int = 0,
    divide: int = 1,
    compute: Compute | None = None,
) -> Iterator[Row]:
    """Measure methods into a table, the .jsonl file ``out``; yields each new row.

    A row is what `evaluate` finds of `SAMPLES` samples, with the ``spread`` of each figure; how
    fast this machine draws (`speed`); 30 of the pictures (`pictures` unpacks them); and the
    network with its checksum. A run that was cut off goes on after the last row. ``divide`` takes
    so many times fewer samples, but 20 at least. Raises ValueError for a method that does not
    exist, or a file of another network of that name, another seed or ``divide``.
    """
    if unknown := set(methods) - set(EVERY):
        raise ValueError(f"methods must be of {list(EVERY)}, got {sorted(unknown)}")
    seed = checks.whole("seed", seed, 0, 2**63 - 1)
    divide = checks.whole("divide", divide, 1, SAMPLES // FEWEST)
    head = {"seed": seed, "divide": divide, "random_numbers": BY_ROW}
    table = Table(out, head, _place)
    for row in table.rows:
        if row["sha256"] != checksum(row["network"]):
            raise ValueError(
                f"{out} was measured with another network {row['network']}; choose another file"
            )
    compute = chosen(compute)
    for name in methods:
        if list(EVERY).index(name) in table:
            continue
        method = EVERY[name]
        model: Any = load_pretrained(method.network)
        labels = torch.arange(10).repeat_interleave(SHOWN)
        greys = to_bytes(draw(model, labels, method.settings, seed, compute=compute))
        result = evaluate(
            model, method.settings, SAMPLES // divide, seed, compute=compute, spread=True
        )
        for key in ("seed", "random_numbers", "seconds", "images_per_second"):
            del result[key]
        row = {
            "method": name,
            "network": method.network,
            "sha256": checksum(method.network),
            **result,
            "pictures": base64.b64encode(zlib.compress(greys.numpy().tobytes(), 9)).decode(),
            "machine": machine(),
            **speed(model, method.settings, compute, least=TIMED / divide),
        }
        table.add(row)
        yield row


def _place(row: Row) -> int:
    return list(EVERY).index(row["method"])


TIMED = 3.0  # seconds at least, and as many batches and single pictures as they take


def speed(
    model: Any, settings: DrawSettings, compute: Compute | None = None, least: float = TIMED
) -> Row:
    """How fast this machine draws: pictures in batches of 250, and one that is waited for.

    Returns ``images_per_second`` of whole batches, ``seconds_alone``, the median time of a single
    picture, and ``timed``: the machine and how it computed. Each is taken for ``least`` seconds or
    longer, after one that does not count.
    """
    compute = chosen(compute)
    batches, alone = (_times(model, count, settings, compute, least) for count in (BATCH, 1))
    return {
        "images_per_second": round(BATCH * len(batches) / sum(batches), 2),
        "seconds_alone": round(median(alone), 5),
        "timed": {"machine": machine(), "compute": compute.as_dict()},
    }


def _times(
    model: Any, count: int, settings: DrawSettings, compute: Compute, least: float
) -> list[float]:
    labels, times = torch.arange(count) % 10, list[float]()
    draw(model, labels[:FEWEST], settings, compute=compute)
    while sum(times) < least:
        start = time.perf_counter()
        draw(model, labels, settings, compute=compute)
        times.append(time.perf_counter() - start)
    return times


def time_again(path: Path | str, out: Path | str, compute: Compute | None = None) -> Iterator[Row]:
    """Copy a table that `trilemma` made into another, ``out``, with each row's `speed` taken anew.

    What was measured of the samples stays. Yields each new row; goes on where it was cut off.
    Raises ValueError for a file that is no such table.
    """
    measured = Table(path, {}, _place)
    if not measured.rows:
        raise ValueError(f"{path} holds no rows whose times could be taken again")
    table = Table(out, measured.head, _place)
    for row in measured.rows:
        if _place(row) not in table:
            method = EVERY[row["method"]]
            timed = speed(load_pretrained(method.network), method.settings, compute)
            table.add(row | timed)
            yield row | timed


def checksum(network: str) -> str:
    """The SHA-256 of a shipped network, from its card."""
    return str(read_card(pretrained_path(network))["sha256"])


def pictures(row: Row) -> Tensor:
    """The pictures that a row keeps, float32 [30, 1, 28, 28] in -1..1: three of each digit."""
    greys = np.frombuffer(zlib.decompress(base64.b64decode(row["pictures"])), "u1")
    return to_unit(torch.tensor(greys).view(10 * SHOWN, 1, 28, 28))
