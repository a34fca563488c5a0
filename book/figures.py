"""Draw the pictures of the README and of the pages: make book, then python book/figures.py

Chromium takes three of them in the built book; it is found as the browser tests find theirs.
"""

import importlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from diffusion_lessons import (
    DrawSettings,
    cli,
    from_noise_model,
    linear_schedule,
    load_pretrained,
    sample,
)
from diffusion_lessons.files import aside, outlet
from diffusion_lessons.measuring.drawing import draw
from diffusion_lessons.measuring.tables import shipped_table
from diffusion_lessons.networks.compute import fast
from diffusion_lessons.page.palette import INK, RESULT, SOFT
from diffusion_lessons.page.viz import save_grid, show_steps

HERE = Path(__file__).parent
IMAGES = HERE / "images"
EMBEDDED = HERE / "_build" / "html" / "embed"
FILM = ["sample", "--film", "--each", "1", "--columns", "10", "--seed", "1"]
SIZE = {"width": 720, "height": 500}


def digits() -> None:
    """Ten digits on their way out of the noise, as the command makes them."""
    cli.main([*FILM, "--out", str(IMAGES / "digits.gif")])


def from_noise_to_digits() -> None:
    """One digit's way out of the noise, at ten moments."""
    target = outlet(IMAGES / "from-noise-to-digits.png")
    schedule = linear_schedule()
    model = fast(load_pretrained("digits-ddpm"))
    generator = torch.Generator().manual_seed(3)
    denoiser = from_noise_model(partial(model, label=torch.tensor([2])), schedule, clip=1)
    start = torch.randn(1, 1, 28, 28, generator=generator)
    steps = list(sample(denoiser, start, schedule, steps=250, generator=generator))
    figure = show_steps(steps, columns=10)
    with aside(target) as unfinished:
        figure.savefig(unfinished, format="png", dpi=110, bbox_inches="tight", facecolor="white")
    print(target)


def memorisation() -> None:
    """How many samples are nearest to a training picture, against the number of pictures."""
    from matplotlib.figure import Figure

    target = outlet(IMAGES / "memorisation.png")
    figure = Figure(figsize=(5.6, 3.2), layout="constrained", facecolor="white")
    axes = figure.subplots()
    rows = shipped_table("ablation-memorisation")["rows"]
    shares = [
        ("nearer", RESULT, "o", "nearest to a training picture"),
        ("copies", INK, "s", "copies"),
    ]
    for name, colour, marker, words in shares:
        for seed in sorted({row["seed"] for row in rows}):
            mine = sorted((row["pictures"], row[name]) for row in rows if row["seed"] == seed)
            axes.plot(*zip(*mine, strict=True), color=colour, lw=1, marker=marker, ms=4)
        axes.plot([], [], color=colour, marker=marker, label=words)
    axes.axhline(rows[0]["nearer_by_chance"], color=SOFT, ls=":", label="nearest, by chance")
    axes.set_xscale("log")
    axes.set_xlabel("training pictures"), axes.set_ylabel("share of 500 samples")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False)
    with aside(target) as unfinished:
        figure.savefig(unfinished, format="png", dpi=130)
    print(target)


# ------------------------------------------------------------------ troubles


def _troubles() -> Any:
    """The runs of the page "When it does not work"."""
    sys.path.append(str(HERE.parent / "benchmarks"))
    return importlib.import_module("troubles")


def _measured_troubles() -> Any:
    return json.loads((HERE.parent / "benchmarks" / "troubles.json").read_text())


def _figure(name: str, figure: Any, **how: Any) -> None:
    target = outlet(IMAGES / f"{name}.png")
    with aside(target) as unfinished:
        figure.savefig(unfinished, format="png", **{"dpi": 110, **how})
    print(target)


def trouble_noise() -> None:
    """The shipped network read rightly, in three wrong ways, and one that has learnt nothing."""
    labels, settings = torch.arange(10), DrawSettings(10)
    rows = [draw(model, labels, settings, seed=1) for model in _troubles().misread().values()]
    save_grid(IMAGES / "trouble-noise.png", torch.cat(rows), columns=10, zoom=2)
    print(IMAGES / "trouble-noise.png")


def trouble_loss() -> None:
    """The loss of a small network, and what it draws, against the updates."""
    from matplotlib.figure import Figure

    found = _measured_troubles()["loss"]
    rows = found["rows"]
    updates = [row["updates"] for row in rows]
    figure = Figure(figsize=(5.6, 3.0), layout="constrained", facecolor="white")
    axes = figure.subplots()
    losses = [row["last_losses"] for row in rows]
    spread = [row["their_spread"] for row in rows]
    axes.errorbar(updates, losses, spread, color=INK, marker="s", ms=4, lw=1, capsize=2)
    axes.axhline(found["best_loss"], color=INK, ls=":")
    axes.set_ylim(0, 1)
    axes.set_ylabel("loss (dotted: the best possible)", color=INK)
    close = axes.twinx()
    close.plot(updates, [row["close"] for row in rows], color=RESULT, marker="o", ms=4, lw=1)
    close.set_ylim(0, 1)
    close.set_ylabel("good points, share", color=RESULT)
    axes.set_xscale("log")
    axes.set_xlabel("updates")
    axes.spines[["top"]].set_visible(False)
    close.spines[["top"]].set_visible(False)
    _figure("trouble-loss", figure)


def trouble_tint() -> None:
    """The mean colour of twelve pictures each, of the data and of networks that learnt it."""
    from matplotlib.figure import Figure

    found = _measured_troubles()["tint"]
    rows = [("the data", found["of_real_pictures"])]
    for row in found["rows"]:
        slow = ", slow average" if "average" in row else ""
        rows.append((f"{row['predicts']}, {row['updates']} updates{slow}", row))
    figure = Figure(figsize=(5.6, 2.2), layout="constrained", facecolor="white")
    axes = figure.subplots()
    colours = torch.tensor([row["colours"] for _, row in rows])
    axes.imshow(((colours + 1) / 2).clamp(0, 1).numpy())
    axes.set_xticks([])
    axes.set_yticks(range(len(rows)), [name for name, _ in rows], fontsize=8)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    _figure("trouble-tint", figure)


def trouble_black() -> None:
    """How often each of five greys is drawn, that should be drawn alike often."""
    from matplotlib.figure import Figure

    rows = _measured_troubles()["black"]["rows"]
    cases = list(dict.fromkeys(row["case"] for row in rows))
    figure = Figure(figsize=(6.4, 2.4), layout="constrained", facecolor="white")
    for axes, case in zip(figure.subplots(1, len(cases), sharey=True), cases, strict=True):
        both = [row for row in rows if row["case"] == case]
        looks: list[dict[str, Any]] = [
            {"color": RESULT},
            {"color": "white", "edgecolor": RESULT, "hatch": "/////"},
        ]
        for row, look, shift in zip(both, looks, (-0.2, 0.2), strict=True):
            places = [i + shift for i in range(5)]
            axes.bar(places, row["shares"], 0.4, label=row["schedule"], **look)
        axes.axhline(0.2, color=INK, ls=":")
        axes.set_title(case, fontsize=8)
        axes.set_xticks(range(5), ["black", "", "grey", "", "white"], fontsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("share")
    figure.axes[0].legend(fontsize=7, frameon=False)
    _figure("trouble-black", figure)


# ------------------------------------------------------------------ widgets at work


def drag(page: Any) -> None:
    """A digit, half way into the noise."""
    page.get_by_role("slider", name="time").fill("250")


def train(page: Any) -> None:
    """A small network, trained in the page: what it draws between the points."""
    page.get_by_role("button", name="Train a network").click()
    page.get_by_role("button", name="New network").click(trial=True, timeout=240_000)  # it is done
    page.get_by_label("a network, trained here").check()


def measure(page: Any) -> None:
    """The room of all methods, one of them open."""
    page.get_by_label("method", exact=True).select_option(label="DDGAN, 4 steps")


def widgets_at_work() -> None:
    """What one does in the lessons: the upper part of three widgets."""
    from playwright.sync_api import sync_playwright

    shown: dict[str, tuple[str, Callable[[Any], None]]] = {
        "drag": ("ForwardExplorer", drag),
        "train": ("PlaneLab", train),
        "measure": ("TrilemmaExplorer", measure),
    }
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)))
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, args=["--no-sandbox"] * root)
        page = browser.new_page(viewport=SIZE, device_scale_factor=1.25, reduced_motion="reduce")
        for name, (widget, act) in shown.items():
            target = outlet(IMAGES / f"{name}.png")
            page.goto((EMBEDDED / f"{widget}.html").as_uri())
            page.wait_for_function("document.querySelector('.dl-widget')?.childElementCount")
            act(page)
            page.wait_for_timeout(2000)  # all is painted
            page.evaluate("document.activeElement.blur(); window.scrollTo(0, 0)")
            with aside(target) as unfinished:
                unfinished.write_bytes(page.screenshot(clip={"x": 0, "y": 0, **SIZE}))
            print(target)
        browser.close()


if __name__ == "__main__":
    digits()
    from_noise_to_digits()
    memorisation()
    trouble_noise()
    trouble_loss()
    trouble_tint()
    trouble_black()
    widgets_at_work()
