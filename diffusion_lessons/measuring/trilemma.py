"""The trilemma, measured: one judge, one machine, one run, for every way to draw a digit.

What Xiao, Kreis and Vahdat (arXiv 2112.07804) call the generative learning trilemma: samples should
be good, various and quickly made. `trilemma` measures all three for each of `METHODS`.
"""

import base64
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
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
from .drawing import draw
from .evaluation import evaluate
from .tables import Row, Table


@dataclass(frozen=True)
class Method:
    """A way to draw digits: a shipped network, and its settings."""

    network: str
    samples: int  # how many are measured: fewer where they are slow
    settings: DrawSettings = DrawSettings()  # noqa: RUF009 (it is frozen)


def _ddim(steps: int, samples: int, eta: float = 0.0) -> Method:
    return Method("digits-ddpm", samples, DrawSettings(steps, eta))


def _guided(guidance: str, scale: float, samples: int) -> Method:
    settings = DrawSettings(20, 0.0, guidance=guidance, scale=scale)
    return Method("digits-ddpm", samples, settings)


def solver_methods(samplers: Sequence[str]) -> dict[str, Method]:
    """`digits-ddpm` drawn by other samplers, in 5, 10 and 20 steps each."""
    return {
        f"{sampler}, {steps} steps": Method(
            "digits-ddpm", 5000, DrawSettings(steps, sampler=sampler)
        )
        for sampler in samplers
        for steps in (5, 10, 20)
    }


METHODS: dict[str, Method] = {
    "VAE": Method("digits-vae", 10_000),
    "VAE, truncated at 0.75": Method(
        "digits-vae", 10_000, DrawSettings(guidance=TRUNCATION, scale=0.75)
    ),
    "GAN": Method("digits-gan", 10_000),
    "DDGAN, 4 steps": Method("digits-ddgan", 10_000),
    "DDIM, 5 steps": _ddim(5, 10_000),
    "DDIM, 10 steps": _ddim(10, 5000),
    "DDIM, 20 steps": _ddim(20, 5000),
    "DDIM, 50 steps": _ddim(50, 2000),
    "DDPM, 250 steps": _ddim(250, 1000, eta=1.0),
    "classifier-free, scale 3": _guided("classifier-free", 3.0, 2000),
    "label and classifier, scale 4": _guided("label+classifier", 4.0, 1000),
}
"""What is measured, in this order."""

EVERY = METHODS | solver_methods(list(SAMPLERS))
"""These and, for whom asks for them, every sampler of `SAMPLERS`."""

FEWEST = 10  # samples that precision and recall can be told of
SHOWN = 3  # pictures of each digit that a row keeps


def trilemma(
    out: Path | str,
    methods: Sequence[str] = tuple(METHODS),
    seed: int = 0,
    divide: int = 1,
    compute: Compute | None = None,
) -> Iterator[Row]:
    """Measure every method into a table, the .jsonl file ``out``; yields each new row.

    A row is what `evaluate` finds (``images_per_second`` is of this machine), with 30 of its
    pictures (`pictures` unpacks them); the networks' checksums stand at the table's head. A run
    that was cut off goes on after the last row. ``divide`` takes so many times fewer samples, but
    10 at least. Raises ValueError for a method that does not exist, or a file of other networks,
    another seed or ``divide``.
    """
    if unknown := set(methods) - set(EVERY):
        raise ValueError(f"methods must be of {list(EVERY)}, got {sorted(unknown)}")
    seed = checks.whole("seed", seed, 0, 2**63 - 1)
    divide = checks.whole("divide", divide, 1, max(m.samples for m in EVERY.values()) // FEWEST)
    names = list(EVERY)
    networks = {name: checksum(name) for name in sorted({m.network for m in METHODS.values()})}
    head = {"networks": networks, "seed": seed, "divide": divide, "random_numbers": BY_ROW}
    table = Table(out, head, lambda row: names.index(row["method"]))
    compute = chosen(compute)
    for name in methods:
        if names.index(name) in table:
            continue
        method = EVERY[name]
        model: Any = load_pretrained(method.network)
        labels = torch.arange(10).repeat_interleave(SHOWN)
        shown = draw(model, labels, method.settings, seed, compute=compute)  # and warm
        greys = to_bytes(shown).numpy().tobytes()
        count = max(FEWEST, method.samples // divide)
        result = evaluate(model, method.settings, count, seed, compute=compute)
        row = {
            "method": name,
            "network": method.network,
            **{
                key: value for key, value in result.items() if key not in ("seed", "random_numbers")
            },
            "pictures": base64.b64encode(zlib.compress(greys, 9)).decode(),
            "machine": machine(),
        }
        table.add(row)
        yield row


def checksum(network: str) -> str:
    """The SHA-256 of a shipped network, from its card."""
    return str(read_card(pretrained_path(network))["sha256"])


def pictures(row: Row) -> Tensor:
    """The pictures that a row keeps, float32 [30, 1, 28, 28] in -1..1: three of each digit."""
    greys = np.frombuffer(zlib.decompress(base64.b64decode(row["pictures"])), "u1")
    return to_unit(torch.tensor(greys).view(10 * SHOWN, 1, 28, 28))
