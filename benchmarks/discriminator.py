"""Could the discriminator of a denoising diffusion GAN tell more than it does?

    taskset -c 1 env OMP_NUM_THREADS=1 python benchmarks/discriminator.py [NETWORK]

The generator is held fixed, and the discriminator trained on alone. The share of pairs that it
judges rightly, real and made ones, is told for each t before and after. What it learns here it did
not know when the training of the two ended: it was behind, and a generator cannot mend what nobody
has seen. The network is `digits-ddgan` or a file's. Results go to discriminator.json.
"""

import json
import sys
from dataclasses import replace

import torch
from common import write

from diffusion_lessons import TrainOptions, digits, to_unit
from diffusion_lessons.math.randomness import seeded
from diffusion_lessons.networks.cards import pretrained_path
from diffusion_lessons.networks.checkpoints import load
from diffusion_lessons.networks.compute import fastest
from diffusion_lessons.networks.gan import Gan
from diffusion_lessons.training.batches import shuffled
from diffusion_lessons.training.gan import adams, noisy_pairs, train_gan

COMPUTE = replace(fastest(torch.device("cpu")), threads=1)
SHIPPED = "digits-ddgan"
UPDATES, BATCH, RATE, COUNTED = 700, 64, 5e-4, 100


def main(name: str) -> None:
    torch.set_num_threads(1)
    gan = load(pretrained_path(name) if name == SHIPPED else name)
    assert isinstance(gan, Gan)
    net, judge, schedule = gan.generator_net, gan.discriminator, gan.schedule
    train = digits()
    batches = shuffled(to_unit(train.images), train.labels, batch_size=BATCH, seed=0)

    @torch.no_grad()
    def right() -> dict[str, float]:
        """The share of right answers, on pairs of batches that are not trained on."""
        times, shares = [], []
        for step in range(UPDATES, UPDATES + COUNTED):
            x_0, label = COMPUTE.move(batches(step))
            with COMPUTE.autocast():
                pairs = noisy_pairs(net, x_0, schedule, seeded(1, step), label)
                seen = (pairs.x_t, pairs.t, label)
                real, fake = judge(pairs.real, *seen), judge(pairs.fake, *seen)
            times.append(pairs.t)
            shares.append(((real > 0).double() + (fake < 0).double()) / 2)
        t, share = torch.cat(times), torch.cat(shares)
        return {f"t = {i}": round(share[t == i].mean().item(), 3) for i in range(1, gan.T + 1)}

    COMPUTE.place(gan)
    before = right()
    gan.requires_grad_(True)
    fixed = adams(lr=0, discriminator_lr=RATE)  # the generator stays as it is
    options = TrainOptions(steps=UPDATES, optimizer=fixed, compute=COMPUTE)
    for _ in train_gan(net, judge, batches, schedule, options, prepare=tuple):
        pass
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
