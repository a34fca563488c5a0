"""The runs of the page "When it does not work": each shows one trouble, its cause and its mend.

    env OMP_NUM_THREADS=1 python benchmarks/troubles.py [RUN ...]

Some seconds of one core, or one to three minutes where a network or a walk of a thousand steps is
called for (troubles.json has the seconds of each). What they measured goes to that file, by the
name of the run; named runs replace their own part of it. A test holds every number on the page to
it.
"""

import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diffusion_lessons import (
    DiffusionModel,
    DrawSettings,
    GaussianMixture,
    NoiseSchedule,
    TrainOptions,
    cosine_schedule,
    ddim_step,
    ddpm_step,
    digits,
    final,
    linear_schedule,
    load_pretrained,
    sample,
    to_unit,
    zero_terminal,
)
from diffusion_lessons.files import aside
from diffusion_lessons.math.gaussian import forward, forward_variance, x0_to_noise
from diffusion_lessons.math.guidance import classifier_free_guidance
from diffusion_lessons.math.prediction import NOISE, PREDICTIONS, X0, V
from diffusion_lessons.math.randomness import seeded
from diffusion_lessons.measuring.drawing import draw
from diffusion_lessons.measuring.judge import judged, reference, scores
from diffusion_lessons.measuring.own import RandomFeatures
from diffusion_lessons.measuring.plane import PLANE, modes_found
from diffusion_lessons.measuring.tables import shipped_table
from diffusion_lessons.networks.cards import machine
from diffusion_lessons.networks.compute import Compute
from diffusion_lessons.networks.mlp import MLP
from diffusion_lessons.networks.unet import UNet
from diffusion_lessons.training.batches import shuffled
from diffusion_lessons.training.loop import train, train_with
from diffusion_lessons.training.recipes import first_weights

COMMAND = "env OMP_NUM_THREADS=1 python benchmarks/troubles.py"
SEED = 0
CPU = Compute(torch.device("cpu"), threads=1)
FEW = 100
"""Digits of the shipped network, each of whose calls takes milliseconds a picture."""
Found = dict[str, Any]


def noisy_start(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=seeded(SEED))


def neighbours(x: Tensor) -> float:
    """The correlation of each pixel with the one to its right: near 0 for mere noise."""
    pairs = torch.stack([x[..., :-1].flatten(), x[..., 1:].flatten()])
    return float(torch.corrcoef(pairs)[0, 1])


def digits_in_words(x: Tensor, labels: Tensor) -> Found:
    """What the judge says of digits drawn for labels of the reference, and how smooth they are."""
    said = judged(x, reference(len(x), SEED, CPU), True, CPU)
    kept = ("class_accuracy", "frechet_distance")
    return {name: said[name] for name in kept} | {"neighbours": neighbours(x)}


# ------------------------------------------------------------------ only noise


def misread() -> dict[str, nn.Module]:
    """The shipped network, read rightly and in three wrong ways, and one that knows nothing."""
    model: Any = load_pretrained("digits-ddpm")
    network, schedule = model.network, model.schedule
    with first_weights(SEED):
        untrained = UNet(channels=48, blocks=1)
    return {
        "as it was trained": model,
        "its answer taken for v": DiffusionModel(network, schedule, V),
        "its answer taken for x_0": DiffusionModel(network, schedule, X0),
        "under the cosine schedule": DiffusionModel(network, cosine_schedule(), NOISE),
        "before the first update": DiffusionModel(untrained),
    }


def noise() -> Found:
    labels = reference(FEW, SEED, CPU).labels
    drawn = {
        name: draw(model, labels, DrawSettings(10), SEED, compute=CPU)
        for name, model in misread().items()
    }
    real = to_unit(digits(train=False).images[:FEW])
    return {
        "samples": len(labels),
        "steps": 10,
        "neighbours_of_real_digits": neighbours(real),
        **{name: digits_in_words(x, labels) for name, x in drawn.items()},
    }


# ------------------------------------------------------------------ a flat loss

LOOKED_AT = (30, 100, 300, 1000, 3000)
BATCH = 256


def loss() -> Found:
    """A small network in the plane, at several updates: its loss, and what it draws.

    The loss of the exact denoiser, the best there is, is worked out on the same noised points.
    """
    points, _ = PLANE.sample(100_000, seeded(SEED))
    with first_weights(SEED):
        model = DiffusionModel(MLP())
    batches = shuffled(points, batch_size=BATCH, seed=SEED)
    run = train(
        model,
        lambda network, batch, g: network.loss(batch[0], g),
        batches,
        steps=LOOKED_AT[-1],
        seed=SEED,
        ema=0.99,
        compute=CPU,
    )
    losses: list[float] = []
    rows = []
    for step in run:
        losses.append(step.loss.item())
        if step.step in LOOKED_AT:
            rows.append({"updates": step.step} | _seen(losses, step.model))
    floor, _ = _against_the_best(lambda x, t, best: best)
    real, _ = PLANE.sample(2500, seeded(SEED + 1))
    return {
        "batch": BATCH,
        "samples": 2500,
        "modes": len(PLANE.means),
        "best_loss": floor,
        "best_close": modes_found(real, PLANE.means)[1],
        "points_seen": BATCH * LOOKED_AT[-1],
        "rows": rows,
    }


def _seen(losses: Sequence[float], model: Any) -> Found:
    own, excess = _against_the_best(lambda x, t, best: model(x, t))
    walk = sample(model.denoiser(), noisy_start(2500, 2), model.schedule, steps=50, step=ddim_step)
    found, close = modes_found(final(walk).x, PLANE.means)
    last = torch.tensor(losses[-30:])
    return {
        "last_losses": last.mean().item(),
        "their_spread": last.std().item(),
        "average_s_loss": own,
        "above_the_best": excess,
        "modes_found": found,
        "close": close,
    }


@torch.no_grad()
def _against_the_best(answer: Callable[[Tensor, Tensor, Tensor], Tensor]) -> tuple[float, float]:
    """The loss of predicted noise, and its mean squared distance from the exact prediction."""
    schedule, g = linear_schedule(), seeded(SEED + 2)
    x_0, _ = PLANE.sample(20_000, g)
    t = torch.randint(1, schedule.T + 1, (len(x_0),), generator=g)
    q = forward(x_0, 0, t, schedule)
    drawn = torch.randn(x_0.shape, generator=g)
    x_t = q.mean + q.std * drawn
    best = x0_to_noise(x_t, PLANE.denoise(x_t, t, schedule), t, schedule)
    given = answer(x_t, t, best)
    return (given - drawn).square().mean().item(), (given - best).square().mean().item()


# ------------------------------------------------------------------ a tint

TINT = torch.tensor([0.5, -0.2, 0.1])
SIZE = 4


def coloured(count: int, seed: int) -> Tensor:
    """Pictures of one hue, a light or dark square on a ground, [N, 3, 4, 4]."""
    g = seeded(seed)
    corner = torch.randint(0, SIZE // 2 + 1, (count, 2), generator=g)
    light = torch.where(torch.rand(count, generator=g) < 0.5, -0.3, 0.3)
    ticks = torch.arange(SIZE)
    inside = (ticks >= corner[..., None]) & (ticks < corner[..., None] + SIZE // 2)
    square = inside[:, 0, :, None] & inside[:, 1, None, :]
    return TINT.view(1, 3, 1, 1) + (light.view(-1, 1, 1) * square)[:, None]


def hue(x: Tensor) -> Tensor:
    """The mean colour of each picture, less its mean grey: [N, 3]."""
    mean = x.flatten(2).mean(2)
    return mean - mean.mean(1, keepdim=True)


def tint() -> Found:
    """A small network's colours, by what it predicts and for how long it learnt; and in a formula:
    what one error in each predicted noise, the same for all, makes of a picture's mean."""
    rows = []
    for predicts, updates in (("noise", 300), ("noise", 1200), ("x0", 300), ("v", 300)):
        x = drawn_in_colour(predicts, updates)
        rows.append({"predicts": predicts, "updates": updates} | _tinted(x))
    x = drawn_in_colour("noise", 300, ema=0.999, warmup=False)
    rows.append({"predicts": "noise", "updates": 300, "average": 0.999} | _tinted(x))
    return {
        "pictures": 2000,
        "samples": 100,
        "steps": 50,
        "batch": 64,
        "size": SIZE,
        "of_real_pictures": _tinted(coloured(100, 1)),
        "rows": rows,
        "one_error": _one_error(),
    }


def _tinted(x: Tensor) -> Found:
    """How far the hue is from the data's, picture by picture, and on the mean of them all."""
    wrong = hue(x) - hue(coloured(100, 1)).mean(0)
    return {
        "hue_of_each": wrong.norm(dim=1).mean().item(),
        "hue_of_all": wrong.mean(0).norm().item(),
        "spread_of_grey": x.flatten(1).mean(1).std().item(),
        "colours": x.flatten(2).mean(2)[:12].tolist(),
    }


def drawn_in_colour(predicts: str, updates: int, ema: float = 0.99, warmup: bool = True) -> Tensor:
    """Pictures [100, 3, 4, 4] of a small network, to which each is a point of 48 numbers."""
    data = coloured(2000, SEED).flatten(1)
    with first_weights(SEED):
        model = DiffusionModel(MLP(data.shape[1]), prediction=PREDICTIONS[predicts])
    options = TrainOptions(steps=updates, seed=SEED, ema=ema, ema_warmup=warmup, compute=CPU)
    batches = shuffled(data, batch_size=64, seed=SEED)
    run = train_with(model, lambda network, b, g: network.loss(b[0], g), batches, options)
    schedule, trained = linear_schedule(), final(run).model
    denoiser: Any = trained.denoiser(clip=1)
    start = noisy_start(100, data.shape[1])
    x = final(sample(denoiser, start, schedule, steps=50, step=ddim_step)).x
    return x.reshape(-1, 3, SIZE, SIZE)


def _one_error() -> list[Found]:
    """One Gaussian at 0.5 with its exact denoiser, whose predicted noise is too large by 0.01."""
    data = GaussianMixture(torch.tensor([[0.5]]), torch.tensor([0.2]), torch.ones(1))
    rows = []
    for name, schedule in (("linear", linear_schedule()), ("cosine", cosine_schedule())):
        exact = data.denoiser(schedule)

        def in_noise(x: Tensor, t: int, exact: Any = exact, schedule: Any = schedule) -> Tensor:
            alpha, sigma = schedule.at(t, x)
            return exact(x, t) - float(0.01 * sigma / alpha)

        def in_x0(x: Tensor, t: int, exact: Any = exact) -> Tensor:
            return exact(x, t) - 0.01

        for of, wrong in (("noise", in_noise), ("x0", in_x0)):
            for clip in (None, 1.0):

                def limited(x: Tensor, t: int, wrong: Any = wrong, clip: Any = clip) -> Tensor:
                    return wrong(x, t) if clip is None else wrong(x, t).clamp(-clip, clip)

                walk = sample(limited, noisy_start(5000, 1), schedule, steps=50, step=ddim_step)
                shift = final(walk).x.mean().item() - 0.5
                rows.append({"schedule": name, "error_in": of, "clip": clip, "shift": shift})
    return rows


# ------------------------------------------------------------------ channels and sizes


def sizes() -> Found:
    """What is said of pictures that a network was not made for."""
    model: Any = load_pretrained("digits-ddpm")
    told = {}
    for name, act in {
        "three channels": lambda: model(torch.zeros(2, 3, 28, 28), 5),
        "another size": lambda: model(torch.zeros(2, 1, 32, 32), 5),
        "a network of 30": lambda: UNet(size=30),
        "bytes": lambda: model.loss(digits().images[:2]),
        "0 to 255": lambda: model.loss(digits().images[:2].float()),
    }.items():
        try:
            act()
        except (ValueError, TypeError) as error:
            told[name] = str(error)
    return told


# ------------------------------------------------------------------ the last steps of a schedule

ERROR = 0.01


def last_steps() -> Found:
    """Walks in the plane with the exact denoiser, but for a small error in each prediction."""
    rows = []
    for name, schedule in (("linear", linear_schedule()), ("cosine", cosine_schedule())):
        ratio = schedule.sigma / schedule.alpha
        row: Found = {
            "schedule": name,
            "sigma_over_alpha_at_T": ratio[-1].item(),
            "and_at_T_less_1": ratio[-2].item(),
            "beta_T": schedule.beta[-1].item(),
            "x0_off_at_T": ERROR * ratio[-1].item(),
        }
        for predicts in ("noise", "v"):
            for clip in (None, 2.5):
                key = f"{predicts}{'' if clip is None else ', clipped'}"
                row[key] = _walked_with_errors(schedule, predicts, clip)
        rows.append(row)
    return {"error": ERROR, "samples": 2500, "steps": 50, "clip": 2.5, "rows": rows}


def _walked_with_errors(schedule: NoiseSchedule, predicts: str, clip: float | None) -> Found:
    g, kind = seeded(SEED + 3), PREDICTIONS[predicts]

    def denoiser(x: Tensor, t: int) -> Tensor:
        answer = kind.from_x0(PLANE.denoise(x, t, schedule), x, t, schedule)
        answer = answer + ERROR * torch.randn(x.shape, generator=g)
        x0_hat = kind.x0_hat(answer, x, t, schedule)
        return x0_hat if clip is None else x0_hat.clamp(-clip, clip)

    last = final(sample(denoiser, noisy_start(2500, 2), schedule, steps=50, step=ddim_step))
    found, close = modes_found(last.x, PLANE.means)
    return {"modes_found": found, "close": close, "farthest": last.x.abs().max().item()}


# ------------------------------------------------------------------ the times of a walk


def spread_times(n: int, how: str, T: int = 1000) -> list[int]:
    """The times of n steps, as diffusers' three spacings give them, in ours: 1..T, then 0.

    (Lin et al., arXiv 2305.08891, Table 2.)
    """
    if how == "leading":
        times = [1 + i * (T // n) for i in range(n)]
    elif how == "linspace":
        times = [1 + round(i * (T - 1) / (n - 1)) for i in range(n)]
    else:  # trailing
        times = [round((i + 1) * T / n) for i in range(n)]
    return [*reversed(times), 0]


def walk_with(
    denoiser: Callable[[Tensor, int], Tensor],
    x: Tensor,
    pairs: Sequence[tuple[int, int]],
    schedule: NoiseSchedule,
) -> Tensor:
    """DDIM's steps from t to s for each of the pairs, whether or not the next begins at s."""
    for t, s in pairs:
        x = ddim_step(x, denoiser(x, t), t, s, schedule).mean
    return x


def _walks(n: int, T: int) -> dict[str, list[tuple[int, int]]]:
    """Each spacing's steps, from t to s, and those of linspace if s is taken for t - T / n."""
    walks = {how: list(pairwise(spread_times(n, how, T))) for how in ("leading", "trailing")}
    linspace = list(pairwise(spread_times(n, "linspace", T)))
    mismatched = [(t, max(t - T // n, 0)) for t, _ in linspace]
    return walks | {"linspace": linspace, "linspace, s = t - T / n": mismatched}


@torch.no_grad()
def times() -> Found:
    """Walks of few steps, from their first time down: digits, and flat pictures of five greys."""
    schedule = linear_schedule()
    model: Any = load_pretrained("digits-ddpm")
    labels = reference(FEW, SEED, CPU).labels
    denoiser = model.denoiser(labels, clip=1)
    start = noisy_start(FEW, 1, 28, 28)
    data, root = flat_pictures(FLAT), math.sqrt(FLAT)
    rows = []
    for n in (5, 10, 50):
        for name, pairs in _walks(n, schedule.T).items():
            flat = walk_with(
                data.denoiser(schedule), noisy_start(5000, 1).double(), pairs, schedule
            )
            row = {
                "steps": n,
                "times": name,
                "first": pairs[0][0],
                "alpha_there": schedule.alpha[pairs[0][0]].item(),
                "white_there_in_deviations": schedule.alpha[pairs[0][0]].item() * root,
                "spread_of_flat_greys": (flat / root).std().item(),
            }
            if n == 5:
                x = walk_with(denoiser, start, pairs, schedule)
                row["grey"] = x.mean().item()
                row |= digits_in_words(x.clamp(-1, 1), labels)
            rows.append(row)
    real = to_unit(digits(train=False).images)
    return {
        "samples": FEW,
        "flat_samples": 5000,
        "flat_numbers": FLAT,
        "true_spread_of_flat_greys": math.sqrt(0.5 + 0.05**2 / FLAT),
        "floor": reference(FEW, SEED, CPU).floor["frechet_distance"],
        "grey_of_real_digits": real.mean().item(),
        "rows": rows,
    }


# ------------------------------------------------------------------ black and white

FLAT = 3 * 64 * 64
"""Numbers of a flat picture, in the walks of few steps"""

GREYS = (-1.0, -0.5, 0.0, 0.5, 1.0)


def scaled_linear_schedule() -> NoiseSchedule:
    """Stable Diffusion's: the root of beta rises in a line from 0.00085 to 0.012."""
    beta = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    one = torch.ones(1, dtype=torch.float64)
    return NoiseSchedule(torch.cat([one, torch.cumprod(1 - beta, 0)]))


def flat_pictures(numbers: int) -> GaussianMixture:
    """Flat pictures of five greys, with a little noise, of so many numbers each.

    Only their mean is followed, times the root of how many numbers there are: the part of them in
    which they differ. The other directions are noise, to the exact denoiser too.
    """
    means = torch.tensor(GREYS, dtype=torch.float64)[:, None] * math.sqrt(numbers)
    return GaussianMixture(means, torch.full((5,), 0.05).double(), torch.full((5,), 0.2).double())


def black() -> Found:
    """Flat pictures, black to white, drawn by their exact denoiser out of pure noise."""
    rows = []
    cases = {
        "linear, 28 x 28": (linear_schedule(), 28 * 28),
        "linear, 3 x 256 x 256": (linear_schedule(), 3 * 256 * 256),
        "Stable Diffusion's, 4 x 64 x 64": (scaled_linear_schedule(), 4 * 64 * 64),
    }
    for name, (schedule, numbers) in cases.items():
        data = flat_pictures(numbers)
        for what, used in (("as it is", schedule), ("zero terminal", zero_terminal(schedule))):
            start = noisy_start(5000, 1).double()
            x = final(sample(data.denoiser(used), start, used, steps=1000, step=ddim_step)).x
            greys = x[:, 0] / math.sqrt(numbers)
            near = (greys[:, None] - torch.tensor(GREYS)).abs().argmin(1)
            shares = torch.bincount(near, minlength=5) / len(near)
            rows.append(
                {
                    "case": name,
                    "schedule": what,
                    "alpha_at_T": used.alpha[-1].item(),
                    "alpha_bar_at_T": used.alpha_bar[-1].item(),
                    "white_at_T_in_deviations": used.alpha[-1].item() * math.sqrt(numbers),
                    "shares": shares.tolist(),
                }
            )
    return {"samples": 5000, "steps": 1000, "greys": GREYS, "rows": rows}


# ------------------------------------------------------------------ the variance of a step


def variance() -> Found:
    """DDPM's two variances between which a network that learns them chooses, in the plane, and for
    digits."""
    schedule = linear_schedule()
    two = {"beta_tilde": ddpm_step, "beta": partial(ddpm_step, variance=forward_variance)}
    rows = []
    for n in (5, 10, 25, 100, 1000):
        row: Found = {"steps": n}
        for name, rule in two.items():
            walk = sample(
                PLANE.denoiser(schedule),
                noisy_start(2500, 2),
                schedule,
                steps=n,
                step=rule,
                generator=seeded(SEED),
            )
            row[name] = modes_found(final(walk).x, PLANE.means)[1]
        ratios = sorted(_ratios(schedule, n))
        row |= {"smallest_ratio": ratios[0], "median_ratio": ratios[len(ratios) // 2]}
        rows.append(row)
    model: Any = load_pretrained("digits-ddpm")
    labels = reference(FEW, SEED, CPU).labels
    of_digits: Found = {"samples": FEW, "steps": 10}
    for name, rule in two.items():
        walk = sample(
            model.denoiser(labels, clip=1),
            noisy_start(FEW, 1, 28, 28),
            schedule,
            steps=10,
            step=rule,
            generator=seeded(SEED),
        )
        of_digits[name] = digits_in_words(final(walk).x.clamp(-1, 1), labels)
    real, _ = PLANE.sample(2500, seeded(SEED + 1))
    return {
        "samples": 2500,
        "real_close": modes_found(real, PLANE.means)[1],
        "rows": rows,
        "digits": of_digits,
        "floor": reference(FEW, SEED, CPU).floor["frechet_distance"],
    }


def _ratios(schedule: NoiseSchedule, n: int) -> list[float]:
    """beta_tilde over beta, of each step but the last."""
    a = schedule.alpha_bar
    return [float((1 - a[s]) / (1 - a[t])) for t, s in list(pairwise(schedule.times(n)))[:-1]]


# ------------------------------------------------------------------ half precision

HALVES = {"float16": torch.float16, "bfloat16": torch.bfloat16}


def half() -> Found:
    """What sixteen bits make of the coefficients, of x_0 where alpha is small, and of a network."""
    rows = {}
    for name, dtype in HALVES.items():
        limits = torch.finfo(dtype)
        lost: Found = {
            "largest": limits.max,
            "smallest": limits.smallest_normal,
            "rounding": limits.eps,
            "largest_to_square": math.sqrt(limits.max),
        }
        for kind, schedule in (("linear", linear_schedule()), ("cosine", cosine_schedule())):
            short = schedule.alpha_bar.to(dtype)
            noise, there = (1 - short).sqrt(), short.sqrt()
            lost[kind] = {
                "alpha_bar_at_T": short[-1].item(),
                "times_without_noise": int((noise[1:] == 0).sum()),
                "times_without_signal": int((there == 0).sum()),
                "sigma_off_at_10": (noise[10].double() / schedule.sigma[10] - 1).abs().item(),
            }
            x, e = noisy_start(2, 10_000).to(dtype)
            x0 = (x - noise[-1] * e) / there[-1]
            lost[kind]["x0_not_finite_at_T"] = (~x0.isfinite()).double().mean().item()
        rows[name] = lost
    exact = {
        kind: {"alpha_bar_at_T": schedule.alpha_bar[-1].item()}
        for kind, schedule in (("linear", linear_schedule()), ("cosine", cosine_schedule()))
    }
    return {"rows": rows, "exact": exact, "network": _in_formats()}


@torch.no_grad()
def _in_formats() -> Found:
    model: Any = load_pretrained("digits-ddpm")
    largest: dict[str, float] = {"seen": 0.0}

    def look(_: Any, inputs: Any, out: Any) -> None:
        if isinstance(out, Tensor):
            largest["seen"] = max(largest["seen"], out.abs().max().item())

    hooks = [part.register_forward_hook(look) for part in model.modules()]
    labels = reference(50, SEED, CPU).labels
    found: Found = {"samples": len(labels), "steps": 5}
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        largest["seen"] = 0.0
        way = Compute(torch.device("cpu"), dtype, threads=1)
        x = draw(model, labels, DrawSettings(5), SEED, compute=way)
        name = str(dtype).removeprefix("torch.")
        found[name] = digits_in_words(x, labels) | {"largest_inside": largest["seen"]}
    for hook in hooks:
        hook.remove()
    return found


# ------------------------------------------------------------------ guidance


def guidance() -> Found:
    """The two ways to count its scale, on the exact mixture; what 1 more means, from the table."""
    schedule, g = linear_schedule(), seeded(SEED)
    x = torch.randn(1000, 2, generator=g)
    one = GaussianMixture(PLANE.means[:1], PLANE.stds[:1], torch.ones(1))
    conditional, free = one.denoiser(schedule), PLANE.denoiser(schedule)
    gaps = []
    for w in (0.5, 2.0, 7.5):
        with_1 = classifier_free_guidance(conditional, free, 1 + w)(x, 500)
        paper = (1 + w) * conditional(x, 500) - w * free(x, 500)
        gaps.append((with_1 - paper).abs().max().item())
    kept = ("scale", "class_accuracy", "frechet_distance", "precision", "recall")
    rows = [
        {name: row[name] for name in kept}
        for row in shipped_table("guidance")["rows"]
        if row["guidance"] == "classifier-free" and row["scale"] in (1.0, 2.0, 3.0, 4.0)
    ]
    return {
        "w": (0.5, 2.0, 7.5),
        "largest_difference": max(gaps),
        "samples": 5000,
        "steps": 20,
        "rows": rows,
    }


# ------------------------------------------------------------------ a distance


@torch.no_grad()
def distance() -> Found:
    """The same network's Frechet distance, by how many samples, in which features."""
    model: Any = load_pretrained("digits-vae")
    whole = reference(3000, SEED, CPU)
    x = draw(model, whole.labels, seed=SEED, compute=CPU)
    rows = []
    for count in (100, 300, 1000, 3000):
        real = reference(count, SEED, CPU)
        of_these = draw(model, real.labels, seed=SEED, compute=CPU)
        rows.append(
            {
                "samples": count,
                "frechet_distance": judged(of_these, real, True, CPU)["frechet_distance"],
                "floor": real.floor["frechet_distance"],
            }
        )
    test, training = (to_unit(digits(train=part).images[:3000]) for part in (False, True))
    network = RandomFeatures(1).eval()
    random = [torch.cat([network(p) for p in part.split(250)]) for part in (x, training, test)]
    pooled = [torch.nn.functional.avg_pool2d(part, 4).flatten(1) for part in (x, training, test)]
    others = {}
    for name, (fake, floor, real) in (
        ("random convolutions", random),
        ("7 x 7 mean greys", pooled),
    ):
        others[name] = {
            kind: scores(set_, real, CPU)["frechet_distance"]
            for kind, set_ in (("frechet_distance", fake), ("floor", floor))
        }
    soft = digits_in_words((x + 1) / 2, whole.labels)["frechet_distance"]
    return {"rows": rows, "other_features": others, "shown_in_0_to_1": soft}


RUNS: dict[str, Callable[[], Found]] = {
    "noise": noise,
    "loss": loss,
    "tint": tint,
    "sizes": sizes,
    "last_steps": last_steps,
    "times": times,
    "black": black,
    "variance": variance,
    "half": half,
    "guidance": guidance,
    "distance": distance,
}


def rounded(value: Any) -> Any:
    """Numbers with five digits that count."""
    if isinstance(value, dict):
        return {name: rounded(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(each) for each in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def main(names: Sequence[str]) -> None:
    torch.set_num_threads(1)
    target = Path(__file__).with_suffix(".json")
    for name in names or RUNS:
        began = time.perf_counter()
        found = rounded(RUNS[name]())
        seconds = round(time.perf_counter() - began, 1)
        told = found | {"seconds": seconds, "machine": machine()}
        print(name, json.dumps(told, indent=1), flush=True)
        before = json.loads(target.read_text()) if target.exists() else {}
        result = before | {"command": COMMAND, "seed": SEED, name: told}
        with aside(target) as unfinished:
            unfinished.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
