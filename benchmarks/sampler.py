"""What does the sampler cost besides the network?

    python benchmarks/sampler.py

Draws 64 digits with the shipped network in 50 steps, with DDIM and with DDPM's noise, and times
the whole walk and, within it, the network's forward passes. The rest is the sampler: coefficients,
clipping, noise, the loop. Medians over several walks go to sampler.json; the aim is 5 %.
"""

import json
import statistics
import time
from functools import partial
from pathlib import Path

import torch

from diffusion_lessons import ddim_step, from_noise_model, linear_schedule, load_pretrained, sample
from diffusion_lessons.checkpoints import machine
from diffusion_lessons.compute import fast, fastest

ROUNDS, DIGITS, STEPS = 9, 64, 50


class Timed:
    """A network that adds up the seconds spent in it."""

    def __init__(self, network: torch.nn.Module) -> None:
        self.network, self.seconds = network, 0.0

    def __call__(self, x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        synchronize()
        start = time.perf_counter()
        noise = self.network(x_t, t)
        synchronize()
        self.seconds += time.perf_counter() - start
        return noise


def synchronize() -> None:
    """Wait for a GPU, so that its time is counted where it is spent."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def share_besides(eta: float) -> tuple[float, float]:
    """Seconds of one walk, and the share of them that is not the network's."""
    device = fastest().device
    network = Timed(fast(load_pretrained("digits-ddpm")))
    schedule = linear_schedule()
    denoiser = from_noise_model(network, schedule, clip=1)
    x_T = torch.randn(DIGITS, 1, 28, 28, device=device)
    rule = partial(ddim_step, eta=eta)
    for _ in sample(denoiser, x_T, schedule, 3, rule):  # warms up
        pass
    network.seconds, start = 0.0, time.perf_counter()
    for _ in sample(denoiser, x_T, schedule, STEPS, rule):
        pass
    synchronize()
    whole = time.perf_counter() - start
    return whole, 1 - network.seconds / whole


def main() -> None:
    result = {"command": "python benchmarks/sampler.py", "digits": DIGITS, "steps": STEPS}
    result |= {"rounds": ROUNDS, "compute": fastest().as_dict()}
    for eta in (0, 1):
        walks = [share_besides(eta) for _ in range(ROUNDS)]
        result[f"eta {eta}"] = {
            "seconds": round(statistics.median(whole for whole, _ in walks), 3),
            "share_besides_the_network": round(statistics.median(s for _, s in walks), 4),
        }
    result["machine"] = machine()
    Path(__file__).with_suffix(".json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
