"""How many digits a second, ours against diffusers' pipelines, from the very same weights?

    pip install diffusers
    python benchmarks/sampling.py

The shipped digits-ddpm draws digits of any class: in our `sample`, and as the `unet` of diffusers'
DDIMPipeline and DDPMPipeline. The two take turns, in the same number format, and draw the same
random numbers in the same order, so both must end in the same pictures: the difference of a pixel
(black is -1, white is 1) and the Frechet distances stand beside the seconds. These are the
processor's, without what other programs on the machine take, for the network's calls and for the
rest; they go to sampling.json.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

import torch
from common import write
from torch import Tensor, nn

from diffusion_lessons import DiffusionModel, ddim_step, load_pretrained, sample
from diffusion_lessons.measuring.judge import features, reference
from diffusion_lessons.measuring.metrics import frechet_distance
from diffusion_lessons.networks.compute import Compute

DIGITS, ROUNDS = 25, 4
now = time.process_time


class Timed(nn.Module):
    """The network, and the seconds and calls spent in it."""

    def __init__(self, compute: Compute) -> None:
        super().__init__()
        model = load_pretrained("digits-ddpm")
        assert isinstance(model, DiffusionModel)
        self.model, self.network = model, compute.fast(model.network)
        self.seconds, self.calls = 0.0, 0

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        began = now()
        noise: Tensor = self.network(x_t, t)
        self.seconds, self.calls = self.seconds + now() - began, self.calls + 1
        return noise


class Unet(nn.Module):
    """The same network as diffusers' pipelines expect theirs: index 0..T-1, an answer in a box."""

    config = SimpleNamespace(sample_size=28, in_channels=1)
    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self, network: Timed) -> None:
        super().__init__()
        self.network = network

    def forward(self, x_t: Tensor, index: Tensor) -> SimpleNamespace:
        return SimpleNamespace(sample=self.network(x_t, (index + 1).expand(len(x_t))))


def ours(network: Timed, steps: int, eta: float, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    x_T = torch.randn(DIGITS, 1, 28, 28, generator=generator)
    model = network.model.with_network(network)
    rule = partial(ddim_step, eta=eta)
    *_, last = sample(model.denoiser(clip=1), x_T, model.schedule, steps, rule, generator)
    return last.x.clamp(-1, 1)


def theirs(network: Timed, steps: int, eta: float, seed: int) -> Tensor:
    diffusers: Any = import_module("diffusers")
    # "trailing" starts at the last time, as ours does.
    rules = {"timestep_spacing": "trailing"}
    call: dict[str, Any] = {"num_inference_steps": steps, "output_type": "np"}
    if eta:
        pipeline = diffusers.DDPMPipeline(Unet(network), diffusers.DDPMScheduler(**rules))
    else:
        pipeline = diffusers.DDIMPipeline(Unet(network), diffusers.DDIMScheduler(**rules))
        call["use_clipped_model_output"] = True  # as the paper's formula has it, and ours
    pipeline.set_progress_bar_config(disable=True)
    pictures = pipeline(DIGITS, torch.Generator().manual_seed(seed), **call).images
    drawn: Tensor = torch.from_numpy(pictures)
    return drawn.permute(0, 3, 1, 2) * 2 - 1


def compare(compute: Compute, steps: int, eta: float) -> dict[str, Any]:
    """Both draw the same number of digits, in turns."""
    ways: dict[str, Callable[..., Tensor]] = {"diffusion_lessons": ours, "diffusers": theirs}
    networks = {name: Timed(compute) for name in ways}
    drawn: dict[str, list[Tensor]] = {name: [] for name in ways}
    whole: dict[str, list[float]] = {name: [] for name in ways}
    for name, way in ways.items():
        way(networks[name], 2, eta, 0)  # warms up
        networks[name].seconds = networks[name].calls = 0
    for seed in range(ROUNDS):
        for name, way in sorted(ways.items(), reverse=bool(seed % 2)):
            began = now()
            drawn[name].append(way(networks[name], steps, eta, seed))
            whole[name].append(now() - began)
    real = reference(DIGITS * ROUNDS)
    comparison: dict[str, Any] = {"steps": steps, "eta": eta}
    for name in ways:
        fake, inside = features(torch.cat(drawn[name])), networks[name].seconds
        comparison[name] = {
            "images_per_second": round(DIGITS * ROUNDS / sum(whole[name]), 2),
            "seconds": round(sum(whole[name]), 2),
            "seconds_of_the_network": round(inside, 2),
            "seconds_of_the_rest": round(sum(whole[name]) - inside, 3),
            "network_calls": networks[name].calls,
            "frechet_distance": round(frechet_distance(fake, real.features), 3),
        }
    ratios = [b / a for a, b in zip(*whole.values(), strict=True)]
    comparison["times_as_fast_as_diffusers"] = round(statistics.median(ratios), 3)
    far = (torch.cat(drawn["diffusion_lessons"]) - torch.cat(drawn["diffusers"])).abs()
    comparison["mean_difference_of_a_pixel"] = round(float(far.mean()), 7)
    comparison["largest_difference_of_a_pixel"] = round(float(far.max()), 7)
    return comparison


def main() -> None:
    parser = argparse.ArgumentParser(description="Our sampler and diffusers', the same weights.")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    dtype = getattr(torch, options.dtype)
    compute = Compute(torch.device("cpu"), dtype, torch.channels_last, options.threads)
    command = "python benchmarks/sampling.py"
    result = {
        "command": f"{command} --dtype {options.dtype} --threads {options.threads}",
        "digits": DIGITS * ROUNDS,
        "rounds": ROUNDS,
        "compute": compute.as_dict(),
        "DDIM": compare(compute, 20, 0.0),
        "DDPM": compare(compute, 50, 1.0),
        "diffusers": version("diffusers"),
    }
    print(json.dumps(result, indent=2))
    write(__file__, result)


if __name__ == "__main__":
    main()
