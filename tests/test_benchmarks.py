"""The benchmark of a GPU, where there may be none: the same command on the processor."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from diffusion_lessons import load_pretrained

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "device.py"


@pytest.mark.slow
def test_the_benchmark_of_the_device_trains_draws_and_counts(tmp_path: Path):
    out = tmp_path / "device.json"
    small = ["--seconds", "0.5", "--samples", "10", "--batch", "2", "--steps", "2", "--out"]
    subprocess.run([sys.executable, SCRIPT, *small, out], check=True, timeout=300)
    result = json.loads(out.read_text())
    (row,) = result["training"]
    assert row["updates"] >= 1
    assert row["seconds"] >= 0.5
    assert row["frechet_distance"] > row["floor"]  # nobody learns digits in half a second
    layouts = {row["memory_format"] for row in result["sampling"]}
    assert layouts == {"contiguous_format", "channels_last"}
    for row in result["sampling"]:
        assert row["images_per_second"] > 0
        assert row["share_of_peak"] > 0
        # Each of the two steps calls the network once; attention multiplies a little more.
        each = row["operations_per_second"] / row["images_per_second"] / 2
        assert each == pytest.approx(1.05 * operations_of_layers(), rel=0.06)


def operations_of_layers() -> int:
    """Multiplications and additions of the shipped network's layers, for one picture."""
    model, counted = load_pretrained("digits-ddpm"), 0

    def count(layer: nn.Module, _: object, out: Tensor) -> None:
        nonlocal counted
        counted += 2 * out.numel() * layer.weight[0].numel()  # type: ignore[union-attr, operator]

    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(count)
    with torch.no_grad():
        model(torch.zeros(1, 1, 28, 28), torch.tensor([1]))
    return counted
