"""What does a picture cost, and what does a training step?

    python benchmarks/cost.py

Times the U-Net as it grows with one thing at a time: sampling steps, pictures drawn together, side
of the picture, weights. Each point is the quickest of a few passes, in seconds of the processor on
one thread, so that other programs on the machine hardly count; points go to cost.json, and the
figure to book/images/cost.png.
"""

from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import torch
from common import quickest, write
from matplotlib.axes import Axes

from diffusion_lessons import DiffusionModel, ddim_step, sample
from diffusion_lessons.files import aside
from diffusion_lessons.networks.compute import Compute
from diffusion_lessons.networks.unet import UNet
from diffusion_lessons.page.palette import INK, SOFT
from diffusion_lessons.training.optimizers import MuonAdamW

COMPUTE = Compute(torch.device("cpu"), torch.bfloat16, torch.channels_last, threads=1)
USUAL: dict[str, int] = {"steps": 1, "batch": 16, "size": 28, "channels": 32}
# What grows, and what is then measured: drawing a picture, and training on one.
GROWTH: dict[str, tuple[int, ...]] = {
    "steps": (1, 2, 5, 10, 20),
    "batch": (1, 4, 16, 64),
    "size": (16, 28, 40, 56),
    "channels": (16, 32, 64, 96),
}
TITLES = {
    "steps": "network calls",
    "batch": "pictures at a time",
    "size": "side of the picture, pixels",
    "channels": "weights of the network",
}


def draw(model: DiffusionModel, batch: int, steps: int) -> None:
    x_T = torch.randn(batch, *model.shape)
    for _ in sample(model.denoiser(clip=1), x_T, model.schedule, steps, ddim_step):
        pass


def learn(model: DiffusionModel, optimizers: MuonAdamW, batch: int) -> None:
    optimizers.zero_grad()
    label = torch.randint(10, (batch,))
    x_0 = COMPUTE.move(torch.randn(batch, *model.shape))
    with COMPUTE.autocast():
        value = model.loss(x_0, label=label)
    torch.autograd.backward(value)
    optimizers.step(1.0)


def point(grows: str, value: int) -> dict[str, Any]:
    """Milliseconds a picture, drawn and trained on, with one setting changed."""
    at = USUAL | {grows: value}
    torch.manual_seed(0)
    # Attention at the coarsest level, a quarter of the picture's side.
    network = UNet(
        at["size"], channels=at["channels"], blocks=1, attention_resolutions=(at["size"] // 4,)
    )
    model, batch = DiffusionModel(network), at["batch"]
    fast = model.with_network(COMPUTE.fast(network))
    drawn = quickest(partial(draw, fast, batch, at["steps"]), 4)
    row: dict[str, Any] = {grows: value, "parameters": sum(w.numel() for w in model.parameters())}
    row["draw_ms"] = round(1000 * drawn / batch, 3)
    if grows != "steps":
        trained = quickest(partial(learn, model, MuonAdamW(model), batch), 4)
        row["train_ms"] = round(1000 * trained / batch, 3)
    return row


def panel(ax: Axes, grows: str, rows: list[dict[str, Any]]) -> None:
    xs = [row["parameters" if grows == "channels" else grows] for row in rows]
    for name, look, colour in (("train_ms", "s--", SOFT), ("draw_ms", "o-", INK)):
        if name in rows[0]:
            ax.loglog(xs, [row[name] for row in rows], look, color=colour, lw=2, ms=5)
    ax.set_xlabel(TITLES[grows])
    ax.set_xticks(xs, [f"{x / 1e6:.2g} M" if x > 1e5 else f"{x}" for x in xs])
    ax.minorticks_off()
    ax.grid(axis="y", color="0.9")
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def show(points: dict[str, list[dict[str, Any]]], target: Path) -> None:
    figure, axes = plt.subplots(1, 4, figsize=(12, 3), sharey=True, layout="constrained")
    for ax, (grows, rows) in zip(axes, points.items(), strict=True):
        panel(ax, grows, rows)
    axes[0].set_ylabel("milliseconds a picture")
    heights = [1, 3, 10, 30]
    axes[0].set_yticks(heights, [f"{height}" for height in heights])
    last = points["steps"][-1]
    words = {"textcoords": "offset points", "xytext": (-8, 2), "ha": "right", "color": INK}
    axes[0].annotate("draw it", (last["steps"], last["draw_ms"]), **words)
    first = points["size"][0]
    words |= {"xytext": (0, 38), "ha": "left"}
    axes[2].annotate("one network call", (first["size"], first["draw_ms"]), **words)
    words |= {"color": SOFT}
    axes[2].annotate("train on it once", (first["size"], first["train_ms"]), **words)
    with aside(target) as unfinished:
        figure.savefig(unfinished, format="png", dpi=110, facecolor="white")


def main() -> None:
    torch.set_num_threads(1)
    points = {}
    for grows, values in GROWTH.items():
        points[grows] = [point(grows, value) for value in values]
        print(grows, points[grows], flush=True)
    result = {"command": "python benchmarks/cost.py", "usual": USUAL, "compute": COMPUTE.as_dict()}
    write(__file__, result | {"milliseconds_a_picture": points})
    show(points, Path(__file__).parents[1] / "book" / "images" / "cost.png")


if __name__ == "__main__":
    main()
