"""Could the discriminator of a denoising diffusion GAN tell more than it does?

    taskset -c 1 env OMP_NUM_THREADS=1 python benchmarks/discriminator.py [NETWORK]

The generator is held fixed, and the discriminator trained on alone. The share of pairs that it
judges rightly, real and made ones, is told for each t before and after. What it learns here it did
not know when the training of the two ended: it was behind, and a generator cannot mend what nobody
has seen. The network is `digits-ddgan` or a file's. Results go to discriminator.json.
"""

import json
import sys

import torch
from common import write
from torch import Tensor

from diffusion_lessons import digits, to_unit, vp_schedule
from diffusion_lessons.checkpoints import load, pretrained_path
from diffusion_lessons.compute import Compute
from diffusion_lessons.gan import discriminator_loss, noisy_pairs, r1_penalty
from diffusion_lessons.models.gan import Gan
from diffusion_lessons.training import shuffled, step_generator

COMPUTE = Compute(torch.device("cpu"), torch.bfloat16, torch.channels_last, threads=1)
SHIPPED = "digits-ddgan"
UPDATES, BATCH, RATE, COUNTED = 700, 64, 5e-4, 100


def main(name: str) -> None:
    torch.set_num_threads(1)
    gan = load(pretrained_path(name) if name == SHIPPED else name)
    assert isinstance(gan, Gan)
    COMPUTE.place(gan)
    net, judge = gan.generator_net, gan.discriminator.requires_grad_(True)
    train, schedule = digits(), vp_schedule(gan.T)
    batches = shuffled(train.images, train.labels, batch_size=BATCH, seed=0)
    optimizer = torch.optim.Adam(judge.parameters(), RATE, betas=(0.5, 0.9))

    def judged(step: int, learn: bool) -> tuple[Tensor, Tensor]:
        """t [B], and of each pair's two guesses the share that was right [B]."""
        images, label = batches(step)
        x_0 = COMPUTE.move(to_unit(images))
        with torch.no_grad(), COMPUTE.autocast():
            pairs = noisy_pairs(net, x_0, schedule, step_generator(0, step), label)
        seen = (pairs.x_t, pairs.t, label)
        with torch.set_grad_enabled(learn), COMPUTE.autocast():
            real, fake = judge(pairs.real, *seen).float(), judge(pairs.fake, *seen).float()
        if learn:
            cost = discriminator_loss(real, fake)
            if step % 10 == 0:
                cost = cost + 10 * 0.05 * r1_penalty(judge, pairs.real, *seen)
            optimizer.param_groups[0]["lr"] = RATE * min(
                1.0, (step + 1) / 50, 2 - 2 * step / UPDATES
            )
            optimizer.zero_grad()
            torch.autograd.backward(cost)
            optimizer.step()
        return pairs.t, ((real > 0).double() + (fake < 0).double()).detach() / 2

    def right() -> dict[str, float]:
        """On pairs of batches that are not trained on."""
        found = [judged(UPDATES + i, learn=False) for i in range(COUNTED)]
        t, share = (torch.cat(part) for part in zip(*found, strict=True))
        return {f"t = {i}": round(share[t == i].mean().item(), 3) for i in range(1, gan.T + 1)}

    before = right()
    for step in range(UPDATES):
        judged(step, learn=True)
    result = {
        "command": "taskset -c 1 env OMP_NUM_THREADS=1 python benchmarks/discriminator.py",
        "network": name,
        "updates": UPDATES,
        "batch": BATCH,
        "pairs_judged": COUNTED * BATCH,
        "right_before": before,
        "right_after": right(),
        "compute": COMPUTE.as_dict(),
    }
    print(json.dumps(result, indent=2))
    write(__file__, result)


if __name__ == "__main__":
    main(*sys.argv[1:] or [SHIPPED])
