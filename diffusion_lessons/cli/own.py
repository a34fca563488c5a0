"""``nearest``: are these just my pictures?"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from ..measuring.drawing import draw, settled
from ..measuring.nearest import beside, memorisation, nearest
from ..networks import cards, checkpoints
from ..networks.processes import processes
from .drawing import add_settings, settings_of
from .options import (
    NETWORK,
    Commands,
    add_compute,
    add_data,
    compute_of,
    network_path,
    pictures_for,
    positive,
    tell,
)

SHOWN = 5
"""Nearest training pictures beside each sample."""


def add_commands(commands: Commands) -> None:
    """The command and its options."""
    near = commands.add_parser(
        "nearest", help="samples beside their nearest training pictures, and how many are copies"
    )
    near.add_argument("network", help=NETWORK)
    add_data(near, "the folder that it was trained on", required=True)
    near.add_argument("--samples", type=positive, default=500, help="default: 500")
    near.add_argument(
        "--rows", type=positive, default=10, help="samples that are shown (default: 10)"
    )
    near.add_argument("--out", type=Path, default=Path("nearest.png"), help="default: nearest.png")
    add_settings(near, None)
    add_compute(near)
    near.set_defaults(run=run_nearest)


def run_nearest(options: argparse.Namespace) -> None:
    """Draw samples, look for their nearest training pictures; write a grid and print the shares.

    Shown are those samples that are most like one training picture and unlike the second.
    """
    from ..page.viz import picture_outlet, save_grid

    path = network_path(options.network)
    model: Any = checkpoints.load(path)
    data = pictures_for(path, model, options.data)
    (settings,) = settings_of(options)
    settings, shared, seed = settled(model, settings), processes(), options.seed or 0
    k, rows = min(SHOWN, len(data.train.labels)), min(options.rows, options.samples)
    place = (rows * (1 + k), data.shape, 1 + k)
    out = shared.from_main(lambda: picture_outlet(options.out, *place))
    mirrored = bool(cards.read_card(path).get("data", {}).get("flip", False))
    compute = compute_of(options)
    labels = data.train.labels.repeat(1 + options.samples // len(data.train.labels))
    asked = labels[: options.samples] if model.classes else options.samples
    x = draw(model, asked, settings, seed, compute=compute)
    told = memorisation(x, data.train.images, data.held_out.images, mirrored)
    found = nearest(x, data.train.images, k, mirrored)
    most_alike = (found.distances[:, 0] / found.distances[:, 1]).argsort()[:rows]
    found = found._replace(distances=found.distances[most_alike], rows=found.rows[most_alike])
    if shared.main:
        save_grid(out, beside(x[most_alike], data.train.images, found), columns=1 + k)
    result = {
        "samples": len(x),
        **settings.as_row(),
        "seed": seed,
        "pictures": len(data.train.labels),
        "held_out": len(data.held_out.labels),
        **told._asdict(),
        "picture": str(out),
    }
    print(json.dumps(result, indent=2), flush=True)
    tell(compute)
    if shared.main and sys.stderr is not None:
        print(f"{told.in_words()}: {out}", file=sys.stderr)
