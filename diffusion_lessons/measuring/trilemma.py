"""The trilemma, measured: one judge, one machine, one run, for every way to draw a digit.

What Xiao, Kreis and Vahdat (arXiv 2112.07804) call the generative learning trilemma: samples should
be good, various and quickly made. `trilemma` measures all three for each of `METHODS`.
"""

import base64
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data import to_bytes, to_unit
from ..math.schedule import linear_schedule
from ..networks.checkpoints import load_pretrained, machine, pretrained_path, read_card
from ..networks.compute import fastest
from .evaluation import draw, evaluate
from .tables import Row, Table


@dataclass(frozen=True)
class Method:
    """A way to draw digits: a shipped network, and `draw`'s arguments."""

    network: str
    samples: int  # how many are measured: fewer where they are slow
    how: dict[str, Any] = field(default_factory=dict)


def _ddim(steps: int, samples: int, eta: float = 0.0, **how: Any) -> Method:
    return Method("digits-ddpm", samples, {"steps": steps, "eta": eta, **how})


METHODS: dict[str, Method] = {
    "VAE": Method("digits-vae", 10_000, {"steps": 1}),
    "VAE, truncated at 0.75": Method(
        "digits-vae", 10_000, {"steps": 1, "guidance": "truncation", "scale": 0.75}
    ),
    "GAN": Method("digits-gan", 10_000, {"steps": 1, "eta": 1.0}),
    "DDGAN, 4 steps": Method("digits-ddgan", 10_000, {"steps": 4, "eta": 1.0}),
    "DDIM, 5 steps": _ddim(5, 10_000),
    "DDIM, 10 steps": _ddim(10, 5000),
    "DDIM, 20 steps": _ddim(20, 5000),
    "DDIM, 50 steps": _ddim(50, 2000),
    "DDPM, 250 steps": _ddim(250, 1000, eta=1.0),
    "classifier-free, scale 3": _ddim(20, 2000, guidance="classifier-free", scale=3.0),
    "label and classifier, scale 4": _ddim(20, 1000, guidance="label+classifier", scale=4.0),
}
"""What is measured, in this order."""

SHOWN = 3  # pictures of each digit that a row keeps


def trilemma(
    out: Path | str, methods: Sequence[str] = tuple(METHODS), seed: int = 0, divide: int = 1
) -> Iterator[Row]:
    """Measure every method into the JSON table ``out``; yields each new row.

    A row is what `evaluate` finds (``images_per_second`` is of this machine), with 30 of its
    pictures (`pictures` unpacks them); the networks' checksums stand at the table's head. A run
    that was cut off goes on after the last row. ``divide`` takes so many times fewer samples.
    Raises ValueError for a method that does not exist, or a file of other networks, another seed or
    ``divide``.
    """
    if unknown := set(methods) - set(METHODS):
        raise ValueError(f"methods must be of {list(METHODS)}, got {sorted(unknown)}")
    names = list(METHODS)
    networks = {name: checksum(name) for name in sorted({m.network for m in METHODS.values()})}
    head = {"networks": networks, "seed": seed, "divide": divide}
    table = Table(out, head, lambda row: names.index(row["method"]))
    schedule = linear_schedule()
    for name in methods:
        if names.index(name) in table:
            continue
        method = METHODS[name]
        model: Any = load_pretrained(method.network)
        labels = torch.arange(10).repeat_interleave(SHOWN)
        shown = torch.cat(list(draw(model, labels, schedule, seed=seed, **method.how)))  # and warm
        greys = to_bytes(shown).numpy().tobytes()
        count = max(2, method.samples // divide)
        found = evaluate(model, schedule, count, seed=seed, **method.how)
        row = {
            "method": name,
            "network": method.network,
            **{key: value for key, value in found.items() if key != "seed"},
            "pictures": base64.b64encode(zlib.compress(greys, 9)).decode(),
            "compute": fastest().as_dict(),
            "machine": machine(),
        }
        table.add(row)
        yield row


def checksum(network: str) -> str:
    """The SHA-256 of a shipped network, from its card."""
    found: str = read_card(pretrained_path(network))["sha256"]
    return found


def pictures(row: Row) -> Tensor:
    """The pictures that a row keeps, float32 [30, 1, 28, 28] in -1..1: three of each digit."""
    greys = np.frombuffer(zlib.decompress(base64.b64decode(row["pictures"])), "u1")
    return to_unit(torch.tensor(greys).view(10 * SHOWN, 1, 28, 28))
