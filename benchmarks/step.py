"""Where does the time of a training step go, and how far is it from the machine's floor?

    python benchmarks/step.py

Lesson 02's recipe and its network with twice the channels, on one thread, in bfloat16, batches of
64. torch.profiler says which share of a step is convolutions and matrix products; the floor is the
operations of a step (counted by torch, forward and backward) divided by the most that one large
convolution reaches on this machine in the same format. Seconds are the processor's. Results go to
step.json.
"""

import json

import torch
from common import quickest, write
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from diffusion_lessons import DiffusionModel
from diffusion_lessons.networks.compute import Compute
from diffusion_lessons.networks.unet import UNet
from diffusion_lessons.training.average import EMA
from diffusion_lessons.training.optimizers import MuonAdamW

COMPUTE = Compute(torch.device("cpu"), torch.bfloat16, torch.channels_last, threads=1)
BATCH = 64
# Parts of the names of torch's operations -> what they are; the first that fits.
KINDS = {
    "convolution": "convolutions",
    "mm": "matrix products (Muon, linear layers)",
    "norm": "group norm",
    "silu": "SiLU",
    "copy": "conversions and copies",
    "cat": "joining, padding, resizing",
    "upsample": "joining, padding, resizing",
    "pool": "joining, padding, resizing",
}


class Step:
    """One update of `training.train`, its parts within reach."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = DiffusionModel(UNet(channels=32, blocks=1, attention_resolutions=()))
        COMPUTE.place(self.model)
        self.optimizers, self.average = MuonAdamW(self.model), EMA(self.model, 0.99)
        self.x_0 = COMPUTE.move(torch.randn(BATCH, 1, 28, 28))
        self.label = torch.randint(10, (BATCH,))

    def learn(self) -> None:
        self.optimizers.zero_grad()
        with COMPUTE.autocast():
            value = self.model.loss(self.x_0, label=self.label)
        torch.autograd.backward(value)

    def __call__(self) -> None:
        self.learn()
        self.optimizers.step(1.0)
        self.average.update(self.model, 1)


def peak() -> float:
    """Operations a second that a large convolution reaches, there and back."""
    layer = COMPUTE.place(torch.nn.Conv2d(128, 128, 3, padding=1))
    x = COMPUTE.move(torch.randn(32, 128, 28, 28)).requires_grad_()

    def there_and_back() -> None:
        with COMPUTE.autocast():
            torch.autograd.backward(layer(x).float().sum())

    with FlopCounterMode(display=False) as counter:
        there_and_back()
    operations: int = counter.get_total_flops()
    return operations / quickest(there_and_back, 6)


def shares(step: Step) -> dict[str, float]:
    """Which part of a step's time each kind of operation takes."""
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        for _ in range(3):
            step()
    spent: dict[str, float] = {}
    for operation in profiled.key_averages():
        name = operation.key.lower()
        kind = next(
            (kind for part, kind in KINDS.items() if part in name),
            "the rest (sums of optimisers and averages among it)",
        )
        spent[kind] = spent.get(kind, 0) + operation.self_cpu_time_total
    whole = sum(spent.values())
    ordered = sorted(spent.items(), key=lambda item: -item[1])
    return {kind: round(seconds / whole, 3) for kind, seconds in ordered}


def main() -> None:
    torch.set_num_threads(1)
    step = Step()
    whole, learning = quickest(step, 8), quickest(step.learn, 8)
    with FlopCounterMode(display=False) as counter:
        step.learn()
    operations, reachable = counter.get_total_flops(), peak()
    result = {
        "command": "python benchmarks/step.py",
        "batch": BATCH,
        "compute": COMPUTE.as_dict(),
        "step_s": round(whole, 4),
        "of_it_forward_and_backward_s": round(learning, 4),
        "shares": shares(step),
        "operations_forward_and_backward": operations,
        "convolution_peak_operations_per_s": round(reachable),
        "floor_s": round(operations / reachable, 4),
        "step_over_floor": round(whole * reachable / operations, 2),
    }
    print(json.dumps(result, indent=2))
    write(__file__, result)


if __name__ == "__main__":
    main()
