"""Bad values are refused at the door: by whom, with the argument's name, and nothing hangs."""

import math
import os
import random
import traceback
from collections.abc import Callable, Iterator, Mapping
from functools import partial, wraps
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
import torch
import traitlets
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import diffusion_lessons as d
from diffusion_lessons import cli
from diffusion_lessons.cli import drawing, machine, tables, training
from diffusion_lessons.course import quiz
from diffusion_lessons.math.losses import random_times, vae_loss
from diffusion_lessons.math.schedule import schedule_from
from diffusion_lessons.measuring import evaluation
from diffusion_lessons.measuring.drawing import draw, draw_batches
from diffusion_lessons.measuring.tables import shipped_table
from diffusion_lessons.networks import cards, checkpoints
from diffusion_lessons.networks.classifier import Classifier, NoisyClassifier
from diffusion_lessons.networks.gan import (
    Discriminator,
    Gan,
    Generator,
    PointDiscriminator,
    PointGenerator,
)
from diffusion_lessons.networks.mlp import MLP
from diffusion_lessons.networks.unet import UNet
from diffusion_lessons.networks.vae import VAE
from diffusion_lessons.page import viz, widgets
from diffusion_lessons.training.gan import discriminator_loss, generator_loss, noisy_pairs

PACKAGE = Path(d.__file__).parent
SCHEDULE = d.linear_schedule(10)
HUGE = 10**15
COMMANDS = 150 * int(os.environ.get("FAULTS", "1"))

X = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
PICTURES = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
T = torch.tensor([1, 2, 3, 10])
LABELS = torch.tensor([0, 1, 2, 9])

# What is no value of each kind. The shapes are not those of X, PICTURES or T, nor stretch to them.
NO_TENSOR = ["text", None, 1.5, [1.0], {}]
NO_FLOATS: list[Any] = [
    *NO_TENSOR,
    torch.ones(4, 3, dtype=torch.int64),
    torch.ones(4, 3, dtype=torch.bool),
    torch.ones(4, 3, dtype=torch.complex64),
    torch.ones(4, 3, dtype=torch.uint8),
    torch.ones(4, 3).to_sparse(),
]
OTHER_SHAPES: list[Any] = [
    torch.tensor(1.0),
    torch.ones(5, 7),
    torch.ones(2, 3, 4),
    torch.ones(4),
    torch.ones(0, 2),
]
BATCH = [*NO_FLOATS, *OTHER_SHAPES]
GREYS = [*NO_FLOATS, *OTHER_SHAPES, torch.ones(4, 2, 8, 8), torch.ones(4, 1, 9, 9)]
NO_INTEGERS: list[Any] = ["text", 1.5, [1], math.nan, True, torch.ones(4), torch.ones(4).bool()]
TIME = [*NO_INTEGERS, None, -1, 11, HUGE, torch.ones(3).long(), -T, 11 * T, torch.ones(2, 2).long()]
TIMES = [
    *NO_INTEGERS,
    None,
    -1,
    torch.ones(4).bool(),
    torch.ones(4) * 1j,
    torch.ones(3).long(),
    torch.ones(2, 2).long(),
]
CLASSES = [*(v for v in NO_INTEGERS), -1, 99, torch.ones(3).long(), -1 - LABELS, LABELS + 11]
WHOLE: list[Any] = ["3", 2.5, math.nan, True, -1, -HUGE, 3j, torch.ones(2), [3]]
COUNT = [*WHOLE, None, 0]  # 1, 2, ... but not too many
HUGE_COUNT = [*COUNT, HUGE]
SEED = [*WHOLE, None, 10**30]
NUMBER: list[Any] = ["0.5", None, True, math.nan, 3j, [0.5], torch.ones(2)]
FINITE = [*NUMBER, math.inf, -math.inf]
POSITIVE = [*FINITE, 0, -1.0]
SHARE = [*FINITE, -0.1, 1.1]
NO_STEPS = [torch.ones(4), torch.ones(1).long(), torch.tensor(0), 11, 0 * T, -T, 11 * T]


class Case(NamedTuple):
    """A function, arguments that it takes, and for some of them values that it must refuse."""

    function: Callable[..., Any]
    good: dict[str, Any]
    bad: dict[str, list[Any]]
    # What messages call an argument, if not by its name.
    also: Mapping[str, str] = MappingProxyType({})


def first(generator: Callable[..., Iterator[Any]]) -> Callable[..., Any]:
    return lambda **given: next(iter(generator(**given)))


def moved(x: Tensor, t: int) -> Tensor:
    return 0.9 * x


def through(make: Callable[..., Any], *inputs: Any) -> Callable[..., Any]:
    """Make something, then call it."""
    return lambda **given: make(**given)(*inputs)


def trained(**given: Any) -> Any:
    model = d.DiffusionModel(MLP(3, 8, 1), SCHEDULE)
    return next(d.train(model, lambda m, b, g: m.loss(b[0], g), lambda i: (X,), **given))


def same_kind(x: Any) -> bool:
    """Whether a widget for pictures takes this, though UNET does not."""
    return isinstance(x, Tensor) and x.is_floating_point() and x.ndim in (3, 4) and len(x) > 1


MIXTURE = d.ring_mixture(3)
PLANE = d.grid_mixture(2, 0.1, 1)
POINT_GAN = Gan(PointGenerator(width=8), PointDiscriminator(width=8), 2)
NEAR = {"x_t": X[:, :2], "t": T, "schedule": SCHEDULE}
UNET = UNet(8, 1, 8, (1, 2), 1, attention_resolutions=(), heads=2)
UNET_SIZES = ("size", "in_channels", "channels", "blocks", "unshuffle", "heads")
SMALL_UNET = {"size": 8, "channels": 8, "multipliers": (1, 2), "blocks": 1, "heads": 2}
GENERATOR = Generator(2, size=8, channels=8, multipliers=(1,), blocks=1, heads=2)
STEP = {"x_t": X, "x0_hat": X, "t": 5, "s": 3, "schedule": SCHEDULE}
FEATURES = torch.randn(9, 2, generator=torch.Generator().manual_seed(0))
NO_FEATURES = [*NO_FLOATS, torch.ones(9), torch.ones(1, 2), torch.ones(9, 3), FEATURES * math.nan]

CASES = {
    "linear_schedule": Case(
        d.linear_schedule,
        {"T": 10},
        {"T": HUGE_COUNT, "beta_1": [*FINITE, 0, 1], "beta_T": [*FINITE, 0, 1]},
    ),
    "cosine_schedule": Case(
        d.cosine_schedule,
        {"T": 10},
        {"T": HUGE_COUNT, "offset": [*FINITE, -0.1], "max_beta": [*FINITE, 0, 1]},
    ),
    "vp_schedule": Case(
        d.vp_schedule,
        {"T": 4},
        {"T": HUGE_COUNT, "beta_min": POSITIVE, "beta_max": POSITIVE},
    ),
    "NoiseSchedule": Case(
        d.NoiseSchedule,
        {"alpha_bar": [1, 0.5]},
        {
            "alpha_bar": [
                *("text", None, {}, 1.0, [], [1], [1, 1], [1, 0.5, math.nan], [1, -1], [0.9, 0.5]),
                *([1, "a"], torch.tensor([1, 0.5 + 1j]), torch.ones(2, device="meta")),
                *([1, 0, 0], [1, 0, -0.1], [1, math.inf], [math.nan, 0.5]),
            ]
        },
    ),
    "NoiseSchedule, path": Case(
        d.NoiseSchedule,
        {"alpha": [1, 0.5, 0], "sigma": [0, 0.5, 1]},
        {
            "alpha": [
                *("text", {}, 1.0, [], [1], [1, 0], [0.9, 0.5, 0], [1, 0.5, 1.1], [1, 1, 2]),
                *([1, 0.5, -0.1], [1, math.nan, 0], [1, 0.5, "a"], torch.tensor([1, 0.5, 1j])),
            ],
            "sigma": [
                *("text", None, {}, 1.0, [], [0], [0, 1], [0.1, 0.5, 1], [0, 0, 1]),
                *([0, -0.5, 1], [0, math.nan, 1], [0, 0.5, "a"]),
            ],
        },
    ),
    "schedule_from": Case(
        schedule_from,
        {"config": SCHEDULE.config},
        {
            "config": [
                *("linear", None, 3, [], {}, {"kind": "spiral"}, {"kind": 3}, {"alpha": [1, 0]}),
                *({"kind": "linear", "speed": 3}, {"kind": "zero terminal"}),
                {"kind": "linear", "alpha_bar": [1, 0.5]},
            ]
        },
        {"config": "describe"},
    ),
    "straight_schedule": Case(d.straight_schedule, {"T": 10}, {"T": HUGE_COUNT}),
    "zero_terminal": Case(
        d.zero_terminal, {"schedule": SCHEDULE}, {"schedule": [d.vp_schedule(1)]}
    ),
    "schedule.at": Case(SCHEDULE.at, {"t": 3, "like": X}, {"t": TIME, "like": NO_TENSOR}),
    "schedule.times": Case(
        SCHEDULE.times,
        {"steps": 5},
        {
            "steps": [v for v in [*COUNT, 11, HUGE] if v is not None],
            "spacing": [lambda u: math.nan, lambda u: -u, lambda u: 2 * u],
        },
    ),
    "even_in_log_snr": Case(
        d.even_in_log_snr,
        {"schedule": SCHEDULE},
        {"start": [v for v in [*COUNT, 11, HUGE] if v is not None]},
    ),
    "Gaussian": Case(
        d.Gaussian,
        {"mean": X, "std": X**2},
        {"mean": NO_FLOATS, "std": [*NO_FLOATS, torch.ones(5, 7)]},
    ),
    "log_prob": Case(d.Gaussian(X, X**2).log_prob, {"x": X}, {"x": [*NO_FLOATS, torch.ones(5, 7)]}),
    "forward": Case(
        d.forward,
        {"x_s": X, "s": 2, "t": 5, "schedule": SCHEDULE},
        {"x_s": NO_FLOATS, "s": [*TIME, 5, 6], "t": [*TIME, 2, 0]},
    ),
    "posterior": Case(
        d.posterior,
        {"x_t": X, "x_0": X, "t": 5, "s": 2, "schedule": SCHEDULE},
        {"x_t": BATCH, "x_0": BATCH, "s": [*TIME, 5, 6], "t": [*TIME, 2, 0]},
    ),
    "noise_to_x0": Case(
        d.noise_to_x0,
        {"x_t": X, "noise": X, "t": 5, "schedule": SCHEDULE},
        {"x_t": BATCH, "noise": BATCH, "t": TIME},
        {"x_t": "noise"},
    ),
    "x0_to_noise": Case(
        d.x0_to_noise,
        {"x_t": X, "x_0": X, "t": 5, "schedule": SCHEDULE},
        {"x_t": BATCH, "x_0": BATCH, "t": [*TIME, 0]},
    ),
    "kl_divergence": Case(
        d.kl_divergence,
        {"p": d.Gaussian(X, X**2), "q": d.Gaussian(X, X**2)},
        {"q": [d.Gaussian(torch.ones(5, 7), torch.ones(()))]},
    ),
    "discretized_log_likelihood": Case(
        d.discretized_log_likelihood,
        {"x_0": X.clamp(-1, 1), "decoder": d.Gaussian(X, X**2)},
        {"x_0": [*NO_FLOATS, torch.ones(5, 7), 2 * X, X * math.nan], "levels": [*COUNT, 1]},
    ),
    "ddpm_step": Case(
        d.ddpm_step,
        STEP,
        {"x_t": BATCH, "x0_hat": BATCH, "t": [*TIME, 3], "s": [*TIME, 5]},
    ),
    "ddim_step": Case(
        d.ddim_step,
        STEP,
        {"x_t": BATCH, "x0_hat": BATCH, "t": [*TIME, 3], "s": [*TIME, 5], "eta": SHARE},
    ),
    "sample": Case(
        first(d.sample),
        {"denoiser": moved, "x_T": X, "schedule": SCHEDULE},
        {
            "x_T": NO_FLOATS,
            "steps": [v for v in [*COUNT, 11] if v is not None],
            "times": [[], [3], [3, 1], [1, 3, 0], [11, 0], [3, math.nan, 0], [2.5, 0], ["3", 0]],
        },
    ),
    "consistency_step": Case(
        d.consistency_step,
        STEP,
        {"x_t": BATCH, "x0_hat": BATCH, "t": [*TIME, 3], "s": [*TIME, 5]},
    ),
    "restore": Case(
        first(d.restore),
        {"denoiser": moved, "x_0": X, "t": 5, "schedule": SCHEDULE},
        {
            "x_0": NO_FLOATS,
            "t": [v for v in [*COUNT, 11] if v is not None],
            "steps": [v for v in [*COUNT, 6] if v is not None],
        },
    ),
    "keeping": Case(
        through(d.keeping, X, X, 5, 3, SCHEDULE),
        {"known": X, "mask": X > 0, "rule": d.ddpm_step},
        {"known": BATCH, "mask": [*OTHER_SHAPES, 0.5 * torch.ones(4, 3)]},
    ),
    "ddim_invert": Case(
        first(d.ddim_invert),
        {"denoiser": moved, "x_0": X, "schedule": SCHEDULE},
        {"x_0": NO_FLOATS, "times": [[], [3], [1, 3, 0], [11, 0], [2.5, 0]]},
    ),
    "elbo_terms": Case(
        d.elbo_terms,
        {"denoiser": moved, "x_0": PICTURES, "schedule": SCHEDULE},
        {"x_0": [*NO_FLOATS, 255 * PICTURES.abs()], "levels": [*COUNT, 1]},
    ),
    "from_noise_model": Case(
        through(d.from_noise_model, X, 5),
        {"model": lambda x, t: x, "schedule": SCHEDULE},
        {"clip": [v for v in POSITIVE if v is not None], "model": [lambda x, t: x[:2]]},
        {"model": "noise"},
    ),
    "slerp": Case(
        d.slerp,
        {"a": X, "b": X.flip(0), "share": 0.5},
        {"a": [*BATCH, 0 * X, X * math.nan], "b": [*BATCH, 0 * X], "share": [*SHARE, -X, X[:, :2]]},
    ),
    "thin": Case(d.thin, {"steps": list("abcdef"), "count": 3}, {"count": [*COUNT, 1]}),
    "classifier_guidance": Case(
        through(d.classifier_guidance, X, 5),
        {"denoiser": moved, "log_prob": lambda x, t: x.sum(1), "schedule": SCHEDULE},
        {"scale": FINITE, "log_prob": [lambda x, t: x, lambda x, t: x.detach().sum(1)]},
    ),
    "classifier_free_guidance": Case(
        through(d.classifier_free_guidance, X, 5),
        {"conditional": moved, "unconditional": moved},
        {"scale": FINITE},
    ),
    "clipped": Case(through(d.clipped, X, 5), {"denoiser": moved}, {"limit": POSITIVE}),
    "class_log_prob": Case(
        through(d.class_log_prob, X, 5),
        {"classifier": lambda x, t: x, "label": torch.tensor([0, 1, 2, 0])},
        {"label": [*CLASSES, None]},
    ),
    "truncated_normal": Case(
        d.truncated_normal,
        {"shape": [2, 3], "threshold": 1.0},
        {
            "shape": [[-1, 2], [2.5], [HUGE], [10**6, 10**6], ["a"], [True], 2.5, None, -1],
            "threshold": [*NUMBER, 0, -1.0],
        },
    ),
    "GaussianMixture": Case(
        d.GaussianMixture,
        {"means": X, "stds": torch.ones(4), "weights": torch.full((4,), 0.25)},
        {
            "means": BATCH,
            "stds": [*NO_FLOATS, torch.ones(3), torch.zeros(4), -torch.ones(4)],
            "weights": [*NO_FLOATS, torch.ones(3), torch.ones(4), torch.full((4,), math.nan)],
        },
        {"stds": "standard deviation"},
    ),
    "mixture.sample": Case(MIXTURE.sample, {"n": 3}, {"n": [*WHOLE, None, HUGE]}),
    "mixture.log_prob": Case(MIXTURE.log_prob, NEAR, {"x_t": BATCH, "t": TIME}, {"x_t": "t"}),
    "mixture.denoise": Case(MIXTURE.denoise, NEAR, {"x_t": BATCH, "t": TIME}, {"x_t": "t"}),
    "mixture.sample_x0": Case(MIXTURE.sample_x0, NEAR, {"x_t": BATCH, "t": TIME}, {"x_t": "t"}),
    "mixture.score": Case(MIXTURE.score, NEAR, {"x_t": BATCH, "t": TIME}, {"x_t": "t"}),
    "grid_mixture": Case(
        d.grid_mixture, {"side": 2}, {"side": HUGE_COUNT, "std": POSITIVE, "spacing": FINITE}
    ),
    "ring_mixture": Case(
        d.ring_mixture, {"count": 3}, {"count": HUGE_COUNT, "std": POSITIVE, "radius": FINITE}
    ),
    "frechet_distance": Case(
        d.frechet_distance,
        {"a": FEATURES, "b": FEATURES},
        {"a": NO_FEATURES, "b": NO_FEATURES},
        {"a": "width", "b": "width"},
    ),
    "precision_recall": Case(
        d.precision_recall,
        {"real": FEATURES, "fake": FEATURES},
        {"real": NO_FEATURES, "fake": NO_FEATURES, "k": [*COUNT, 9, HUGE]},
        {"real": "width", "fake": "width"},
    ),
    "density_coverage": Case(
        d.density_coverage,
        {"real": FEATURES, "fake": FEATURES},
        {"real": NO_FEATURES, "fake": NO_FEATURES, "k": [*COUNT, 9, HUGE]},
        {"real": "width", "fake": "width"},
    ),
    "class_accuracy": Case(
        d.class_accuracy,
        {"logits": X, "labels": torch.tensor([0, 1, 2, 0])},
        {"logits": [*NO_FLOATS, torch.ones(4), torch.ones(0, 3)], "labels": [*CLASSES, None]},
    ),
    "mode_counts": Case(
        d.mode_counts,
        {"points": X, "means": X},
        {"points": [*BATCH, X * math.nan], "means": [*BATCH, X * math.inf]},
        {"means": "points"},
    ),
    "to_unit": Case(d.to_unit, {"images": torch.zeros(2, 2).byte()}, {"images": [*NO_TENSOR, X]}),
    "to_bytes": Case(d.to_bytes, {"x": X}, {"x": [*NO_FLOATS, X * math.nan, 255 * X.abs()]}),
    "moons": Case(d.moons, {"n": 3}, {"n": [*WHOLE, None, HUGE], "noise": [*FINITE, -1.0]}),
    "spiral": Case(d.spiral, {"n": 3}, {"n": [*WHOLE, None, HUGE], "noise": [*FINITE, -1.0]}),
    "noise_prediction_loss": Case(
        d.noise_prediction_loss,
        {"model": UNET, "x_0": PICTURES, "schedule": SCHEDULE, "label": LABELS},
        {
            "x_0": [v for v in GREYS if not isinstance(v, Tensor) or v.numel()],
            "label": CLASSES,
            "drop_label": SHARE,
        },
        {"x_0": "x_t|label"},
    ),
    "vae_loss": Case(
        vae_loss,
        {"model": VAE(8, 1, 2, 8, 10), "x": PICTURES, "label": LABELS},
        {"x": GREYS, "label": [*CLASSES, None]},
        {"x": "label"},
    ),
    "random_times": Case(random_times, {"n": 3, "T": 10}, {"n": [*WHOLE, None, HUGE], "T": COUNT}),
    "generator_loss": Case(
        generator_loss,
        {"fake_logits": X[:, 0]},
        {"fake_logits": [*NO_FLOATS, torch.tensor(1.0), torch.ones(0)]},
    ),
    "discriminator_loss": Case(
        discriminator_loss,
        {"real_logits": X[:, 0], "fake_logits": X[:, 1]},
        {
            "real_logits": [*NO_FLOATS, torch.ones(0)],
            "fake_logits": [*NO_FLOATS, torch.ones(0)],
        },
    ),
    "RowGenerator": Case(
        lambda **given: d.RowGenerator(**given).normal((2, 3)),
        {"seed": 3, "numbers": torch.tensor([4, 5])},
        {"seed": SEED, "numbers": [*NO_INTEGERS, 4, torch.ones(3).long(), torch.ones(2, 2).long()]},
    ),
    "noisy_pairs": Case(
        noisy_pairs,
        {"generator_net": GENERATOR, "x_0": PICTURES, "schedule": SCHEDULE, "label": LABELS},
        {"x_0": [v for v in GREYS if not isinstance(v, Tensor) or v.numel()], "label": CLASSES},
        {"x_0": "x_t|x_s|label"},
    ),
    "shuffled": Case(
        lambda x, step, **options: d.shuffled(x, **options)(step),
        {"x": X, "batch_size": 2, "seed": 1, "step": 0},
        {
            "x": [*NO_TENSOR, torch.tensor(1.0)],
            "batch_size": [*COUNT, 5],
            "seed": [*WHOLE, 10**30],
            "step": WHOLE,
        },
        {"x": "each of tensors"},
    ),
    "EMA": Case(d.EMA, {"model": MLP(3, 8, 1)}, {"decay": [*NUMBER, -0.1, 1.0, math.inf]}),
    "train, steps": Case(
        trained,
        {"steps": 1},
        {
            "steps": COUNT,
            "warmup": WHOLE,
            "ema": [*(v for v in NUMBER if v is not None), 1.0, -1.0],
            "seed": [*WHOLE, None, 10**30],
            "save_every": COUNT,
        },
        {"ema": "decay"},
    ),
    "train, seconds": Case(trained, {"seconds": 0.001}, {"seconds": POSITIVE}),
    "UNet": Case(
        UNet,
        SMALL_UNET,
        {
            **dict.fromkeys(UNET_SIZES, HUGE_COUNT),
            "classes": [*WHOLE, None, HUGE],
            "multipliers": [(), (0,), (-1,), (1.5,), (HUGE,), (1,) * 50, ("a",)],
            "attention_resolutions": [(7,), (8,), (4, 3), (0,), (-4,), (4.0,), ("a",)],
            "head_channels": [v for v in [*COUNT, 3, HUGE] if v is not None],
            "dropout": SHARE,
        },
        {"head_channels": "cut into heads"},
    ),
    "UNet.forward": Case(
        UNET.forward,
        {"x_t": PICTURES, "t": T, "label": LABELS},
        {"x_t": GREYS, "t": TIMES, "label": CLASSES},
        {"x_t": "t", "t": "label"},
    ),
    "MLP": Case(
        MLP,
        {"dim": 2, "width": 8, "layers": 1},
        {"dim": HUGE_COUNT, "width": HUGE_COUNT, "layers": [*WHOLE, None, HUGE]},
    ),
    "MLP.forward": Case(MLP(3, 8, 1).forward, {"x_t": X, "t": T}, {"x_t": BATCH, "t": TIMES}),
    "VAE": Case(
        VAE,
        {"size": 8, "width": 8},
        {
            **dict.fromkeys(("size", "in_channels", "latent", "width"), HUGE_COUNT),
            "classes": [*WHOLE, None, HUGE],
        },
    ),
    "VAE.decode": Case(
        VAE(8, 1, 3, 8, 10).decode,
        {"z": X, "label": LABELS},
        {"z": BATCH, "label": [*CLASSES, None]},
        {"z": "label"},
    ),
    "Classifier": Case(
        Classifier,
        {"channels": 4},
        dict.fromkeys(("in_channels", "channels", "features", "classes"), HUGE_COUNT),
    ),
    "Classifier.forward": Case(
        Classifier(channels=4).eval().forward,
        {"x": PICTURES},
        {"x": [v for v in GREYS if not (isinstance(v, Tensor) and v.shape == (4, 1, 9, 9))]},
    ),
    "NoisyClassifier": Case(
        NoisyClassifier,
        {"size": 8, "channels": 4},
        dict.fromkeys(("size", "in_channels", "channels", "classes"), HUGE_COUNT),
    ),
    "NoisyClassifier.forward": Case(
        NoisyClassifier(8, channels=4).forward,
        {"x_t": PICTURES, "t": T},
        {"x_t": GREYS, "t": [*TIMES, *NO_STEPS[:3], 0 * T, -T, 101 * T]},
        {"x_t": "t"},
    ),
    "DiffusionModel": Case(
        d.DiffusionModel,
        {"network": UNET, "schedule": SCHEDULE, "prediction": d.V},
        {
            "network": [None, "UNet", 3, lambda x, t: x],
            "schedule": ["linear", 3, [1, 0.5], SCHEDULE.config],
            "prediction": ["v", None, 3],
            "names": [["cat"], ["cat", 3], "cat", [None] * 2],
        },
    ),
    "DiffusionModel, noise": Case(
        d.DiffusionModel,
        {"network": UNET, "schedule": SCHEDULE},
        {"schedule": [d.straight_schedule(10), d.zero_terminal(SCHEDULE)]},
        {"schedule": "Schedule"},
    ),
    "DiffusionModel.forward": Case(
        d.DiffusionModel(UNET, SCHEDULE).forward,
        {"x_t": PICTURES, "t": T, "label": LABELS},
        {"x_t": GREYS, "t": [*TIMES, *NO_STEPS], "label": CLASSES[:3] + CLASSES[4:]},
        {"x_t": "t|label", "t": "label"},
    ),
    "DiffusionModel.denoiser": Case(
        through(d.DiffusionModel(UNET, SCHEDULE).denoiser, PICTURES, 5),
        {"label": LABELS, "clip": 1.0},
        {"label": CLASSES, "clip": [v for v in POSITIVE if v is not None]},
    ),
    "DiffusionModel.loss": Case(
        d.DiffusionModel(UNET, SCHEDULE).loss,
        {"x_0": PICTURES, "label": LABELS},
        {
            "x_0": [v for v in GREYS if not isinstance(v, Tensor) or v.numel()],
            "label": CLASSES,
            "drop_label": SHARE,
        },
        {"x_0": "x_t|label"},
    ),
    "DrawSettings": Case(
        d.DrawSettings,
        {},
        {
            "steps": [v for v in COUNT if v is not None],
            "eta": [v for v in SHARE if v is not None],
            "sampler": ["ddmp", "", 3, ["ddim"]],
            "spacing": ["cubic", "", None, 3, d.quadratic],
            "guidance": ["force", "", None, 3],
            "scale": NUMBER,
        },
    ),
    "draw": Case(
        draw,
        {
            "model": d.DiffusionModel(UNET, SCHEDULE),
            "labels": LABELS,
            "settings": d.DrawSettings(2),
            "numbers": LABELS,
        },
        {
            "model": [None, "digits-ddpm", UNET, lambda x, t: x],
            "labels": [
                *CLASSES[:7],
                *CLASSES[9:],
                None,
                0,
                -1,
                torch.ones(0).long(),
                torch.tensor(3),
            ],
            "settings": [None, 20, "ddim", {}, d.DrawSettings(11)],
            "seed": SEED,
            "numbers": [*NO_INTEGERS, torch.ones(3).long(), torch.ones(1).long()],
        },
        {"model": "draws no pictures", "labels": "numbers", "settings": "steps"},
    ),
    "evaluate": Case(
        evaluation.evaluate,
        {
            "model": d.DiffusionModel(UNet(channels=8, blocks=1)),
            "settings": d.DrawSettings(1),
            "count": 10,
            "progress": False,
        },
        {
            "model": [None, UNET, d.DiffusionModel(UNET, SCHEDULE), Classifier(channels=4)],
            "settings": [None, 20, d.DrawSettings(1001)],
            "count": [v for v in [*COUNT, 1, HUGE] if v is not None and not isinstance(v, list)],
            "seed": [v for v in SEED if not isinstance(v, list)],
        },
        {"model": "only networks for digits", "settings": "steps"},
    ),
    "Generator.forward": Case(
        GENERATOR.forward,
        {"x_t": PICTURES, "z": torch.ones(4, 2), "t": T, "label": LABELS},
        {"x_t": GREYS, "z": BATCH, "t": TIMES, "label": CLASSES},
        {"x_t": "t"},
    ),
    "Discriminator": Case(
        Discriminator,
        {"channels": 4},
        {
            **dict.fromkeys(("in_channels", "channels", "unshuffle"), HUGE_COUNT),
            "classes": [*WHOLE, None, HUGE],
        },
    ),
    "Discriminator.forward": Case(
        Discriminator(channels=4, multipliers=(1,)).forward,
        {"x_s": PICTURES, "x_t": PICTURES, "t": T, "label": LABELS},
        {"x_s": GREYS, "x_t": GREYS, "t": TIMES, "label": CLASSES},
        {"x_s": "x_t"},
    ),
    "PointGenerator.forward": Case(
        PointGenerator(3, 8, 1, 2).forward,
        {"x_t": X, "z": torch.ones(4, 2), "t": T},
        {"x_t": BATCH, "z": BATCH, "t": TIMES},
    ),
    "PointDiscriminator.forward": Case(
        PointDiscriminator(3, 8, 1).forward,
        {"x_s": X, "x_t": X, "t": T},
        {"x_s": BATCH, "x_t": BATCH, "t": TIMES},
        {"x_s": "x_t"},
    ),
    "tile": Case(
        viz.tile,
        {"images": PICTURES},
        {
            "images": [v for v in GREYS if not (isinstance(v, Tensor) and v.shape == (4, 1, 9, 9))],
            "columns": [v for v in HUGE_COUNT if v is not None],
        },
    ),
    "show_images": Case(viz.show_images, {"images": PICTURES}, {"scale": POSITIVE}),
    "show_rows": Case(viz.show_rows, {"rows": {"x": PICTURES}}, {"rows": [{}], "scale": POSITIVE}),
    "show_points": Case(
        viz.show_points,
        {"clouds": {"x": X[:, :2]}},
        {"clouds": [{}, {"clouds": X}, *({"clouds": v} for v in NO_FLOATS)], "limit": POSITIVE},
    ),
    "load_pretrained": Case(
        d.load_pretrained,
        {"name": "moons-ddpm"},
        {"name": ["", "x", "../x", None, 3, "\0", "a/b"]},
        {"name": "pretrained network"},
    ),
}


NO_PICTURES = [*(v for v in GREYS if not (isinstance(v, list)) and not same_kind(v)), PICTURES + 9]
NOISE = PICTURES[:2]
CASES |= {
    "ForwardExplorer": Case(
        widgets.ForwardExplorer,
        {"images": PICTURES},
        {"images": NO_PICTURES, "points": [*NO_FLOATS[5:], X, X[:, :2] * math.nan], "seed": SEED},
    ),
    "ScheduleExplorer": Case(
        widgets.ScheduleExplorer,
        {"T": 10},
        {"images": NO_PICTURES[2:], "kind": ["x", None], "T": HUGE_COUNT, "beta_1": [*FINITE, 0]},
    ),
    "TrajectoryPlayer": Case(
        widgets.TrajectoryPlayer,
        {"steps": list(d.sample(moved, PICTURES, SCHEDULE))},
        {"steps": [[], [3]], "frames": COUNT, "labels": [["a"]]},
    ),
    "StepsExplorer": Case(
        widgets.StepsExplorer,
        {"denoiser": moved, "x_T": NOISE, "schedule": SCHEDULE, "steps": (1, 2), "etas": (0, 1)},
        {
            "denoiser": [None, 3, lambda x, t: x[:1]],
            "x_T": NO_PICTURES[:-1],
            "steps": [(), (2, 1), (0, 1), (1, 11), (1.5,), ("a",), (HUGE,)],
            "etas": [(), (1, 0), (-1,), (2,), (math.nan,), ("a",)],
            "seed": SEED,
            "labels": [["a"]],
        },
    ),
    "InterpolationExplorer": Case(
        widgets.InterpolationExplorer,
        {"denoiser": moved, "a": NOISE, "b": NOISE.flip(0), "schedule": SCHEDULE, "steps": 2},
        {
            "a": NO_PICTURES[:-1],
            "b": NO_PICTURES[:-1],
            "steps": [*COUNT, 11],
            "positions": HUGE_COUNT,
            "pairs": HUGE_COUNT,
            "seed": SEED,
        },
    ),
    "VectorExplorer": Case(
        widgets.VectorExplorer,
        {"mixture": MIXTURE, "particles": 5, "steps": 3},
        {"particles": HUGE_COUNT, "steps": [*COUNT, HUGE], "label": [*WHOLE, 3], "seed": SEED},
    ),
    "PredictionExplorer": Case(
        widgets.PredictionExplorer,
        {"x_0": PICTURES[0], "schedules": {"short": SCHEDULE}},
        {
            "x_0": NO_PICTURES,
            "noise": [*NO_FLOATS[5:], PICTURES, PICTURES[0] * math.nan],
            "schedules": [{}, {"a": SCHEDULE, "b": d.linear_schedule(9)}, {"a": 3}, {1: SCHEDULE}],
            "seed": SEED,
        },
    ),
    "PathsExplorer": Case(
        widgets.PathsExplorer,
        {"mixture": MIXTURE, "points": 3},
        {"mixture": [None, 3], "points": [*HUGE_COUNT, 1], "seed": SEED},
    ),
    "DiscriminatorExplorer": Case(
        widgets.DiscriminatorExplorer,
        {"mixture": PLANE, "moments": {1: POINT_GAN}, "points": 2},
        {
            "mixture": [d.GaussianMixture(torch.zeros(1, 3), torch.ones(1), torch.ones(1))],
            "moments": [{}, {-1: POINT_GAN}, {1: None}, {0.5: POINT_GAN}],
            "points": HUGE_COUNT,
            "seed": SEED,
        },
    ),
    "PlaneLab": Case(
        widgets.PlaneLab,
        {"points": X[:, :2] / 9, "particles": 3},
        {
            "points": [*NO_FLOATS[5:], X, X[:, :2] * math.nan, X[:, :2] * 0 + 4],
            "labels": [torch.tensor([7]), torch.zeros(99), "ab", 3],
            "particles": HUGE_COUNT,
        },
    ),
    "LatentExplorer": Case(
        widgets.LatentExplorer,
        {"decode": lambda z: torch.zeros(len(z), 1, 8, 8), "side": 3},
        {"decode": [lambda z: z, None], "reach": POSITIVE, "side": HUGE_COUNT},
    ),
    "UNetExplorer": Case(
        widgets.UNetExplorer,
        {"model": UNET, "images": NOISE, "schedule": SCHEDULE, "times": (1, 5)},
        {
            "images": NO_PICTURES,
            "times": [(), (5, 1), (11,), (0.5,), ("a",), (-1,)],
            "maps": HUGE_COUNT,
            "seed": SEED,
            "label": CLASSES,
        },
    ),
    "TruncationExplorer": Case(
        widgets.TruncationExplorer,
        {
            "decode": lambda z, label: torch.zeros(len(z), 1, 8, 8),
            "latent": 2,
            "thresholds": (0.5, 1),
            "classes": (0,),
            "count": 2,
        },
        {
            "latent": HUGE_COUNT,
            "thresholds": [(), (1, 0.5), (0,), (math.nan,), ("a",)],
            "classes": [(), (-1,), (0, 0), ("a",)],
            "count": HUGE_COUNT,
            "seed": SEED,
        },
    ),
    "TrilemmaExplorer": Case(
        widgets.TrilemmaExplorer,
        {"rows": shipped_table("trilemma")["rows"]},
        {"rows": [[], [3], [{}], None, "rows", shipped_table("trilemma")["rows"][:1]]},
    ),
    "FinalTest": Case(
        widgets.FinalTest,
        {"items": quiz.matching.items()},
        {"items": [[], [3], [{}], "items"]},
        {"items": "item"},
    ),
}


def refusal(case: Case, name: str, value: Any) -> str | None:
    """Calls the function with one bad argument; says what is wrong with its answer, if anything."""
    try:
        case.function(**case.good | {name: value})
    except traitlets.TraitError as error:
        return None if name in str(error) else f"is not named: {error}"
    except (ValueError, TypeError) as error:
        where = traceback.extract_tb(error.__traceback__)[-1].filename
        if not Path(where).is_relative_to(PACKAGE):
            return f"was left to {where}: {error}"
        words = [name, *case.also.get(name, name).split("|")]
        if not any(word in str(error) for word in words):
            return f"is not named: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    else:
        return "was taken"
    return None


@pytest.mark.parametrize("name", CASES)
def test_bad_arguments_are_refused_by_their_name(name: str) -> None:
    case = CASES[name]
    case.function(**case.good)
    wrong = [
        f"{argument} = {value!r:.60} {fault}"
        for argument, values in case.bad.items()
        for value in values
        if (fault := refusal(case, argument, value))
    ]
    assert not wrong, "\n".join(wrong)


def test_floats_of_another_device_are_refused() -> None:
    elsewhere = torch.ones(4, 3, device="meta")
    with pytest.raises(ValueError, match="noise must be where x_t is, on cpu, not on meta"):
        d.noise_to_x0(X, elsewhere, 3, SCHEDULE)
    with pytest.raises(ValueError, match="t must be where the batch is, cpu, not meta"):
        d.forward(X, 0, torch.ones(4, device="meta").long(), SCHEDULE)


def answer(call: Callable[[], Any]) -> tuple[Any, str]:
    """What a call gives, or None and the words with which it refuses."""
    try:
        return call(), ""
    except (ValueError, TypeError) as error:
        return None, str(error)


@given(
    t=st.integers(-20, 20) | st.integers() | st.floats() | st.booleans() | st.none() | st.text(),
    s=st.integers(-20, 20) | st.floats(),
)
def test_any_two_times_are_taken_or_refused_with_words(t: Any, s: Any) -> None:
    for step in (d.ddpm_step, d.ddim_step):
        found, words = answer(partial(step, X, X, t, s, SCHEDULE))
        if found is None:
            assert "t must" in words or "s < t" in words
        else:
            assert 0 <= s < t <= 10
            assert found.mean.isfinite().all()


@given(st.lists(st.integers(-3, 15) | st.floats() | st.booleans() | st.none(), max_size=4))
def test_any_times_of_a_walk_are_taken_or_refused_with_words(times: list[Any]) -> None:
    walk, words = answer(lambda: list(d.sample(moved, X, SCHEDULE, times=times)))
    if walk is None:
        assert "times must" in words
    else:
        assert [step.t for step in walk] == times
        assert times[-1] == 0


SHAPES = st.lists(st.integers(0, 4), max_size=4)
DTYPES = st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.bool])


@given(one=SHAPES, other=SHAPES | st.none(), dtype=DTYPES, also=DTYPES)
def test_any_two_tensors_are_taken_or_refused_with_words(
    one: list[int], other: list[int] | None, dtype: torch.dtype, also: torch.dtype
) -> None:
    a, b = torch.ones(one).to(dtype), torch.ones(one if other is None else other).to(also)
    for function in (d.noise_to_x0, d.x0_to_noise):
        found, words = answer(partial(function, a, b, 3, SCHEDULE))
        if found is None:
            assert "x_t must" in words or "noise must" in words or "x_0 must" in words
        else:
            assert a.shape == b.shape == found.shape
            assert found.is_floating_point()


# ------------------------------------------------------------------ the command line

NETWORKS = ["digits-ddpm", "digits-vae", "digits-gan", "digits-classifier", "moons-ddpm"]
FIRST = {
    "train": [*training.RECIPES, "nothing"],
    "sample": [*NETWORKS, "gone.safetensors", "", "x" * 300, "\0.safetensors"],
    "evaluate": [*NETWORKS, "digits-noisy-classifier", "gone.safetensors", "digits-ddpm.json"],
    "ablate": ["unet", "ddgan", "plane", "x"],
    "trilemma": [],
    "doctor": ["moons-ddpm", "gone.safetensors", "gone.training", "", "\0.safetensors"],
    "lab": ["x"],
    "nothing": ["x"],
}
OPTIONS = [
    *("--steps", "--eta", "--seed", "--scale", "--spacing", "--guidance", "--samples", "--each"),
    *("--out", "--start", "--write", "--divide", "--seeds", "--variants", "--methods", "--labels"),
    *("--times-of", "--folder", "--port", "--help", "--version", "--compile", "--", "-x"),
    *("--sampler", "--predict", "--schedule", "--set"),
    *("--format", "--threads", "--traceback"),
]
VALUES = [
    *("0", "1", "2", "4", "-1", "2.5", "nan", "inf", "1e9", "9" * 30, "99999999", "x", ""),
    *("none", "classifier", "classifier-free", "truncation", "quadratic", "uniform", "GAN"),
    *(
        "heun",
        "dpm++",
        "ddpm",
        "v",
        "velocity",
        "noise",
        "straight",
        "cosine",
        "T=2",
        "lr=x",
        "float32",
    ),
    *("/dev/null/x", "/", "gone/x.jsonl", "digits-ddpm", "\0", "\u00e9", "x" * 300),
]


def command(rng: random.Random) -> list[str]:
    """A command line, more or less."""
    name = rng.choice(list(FIRST))
    words = [name, *rng.sample(FIRST[name], min(1, len(FIRST[name])))]
    for _ in range(rng.randrange(5)):
        words += [rng.choice(OPTIONS), *rng.choices(VALUES, k=rng.choice([0, 1, 1, 1, 2]))]
    if rng.random() < 0.1:
        rng.shuffle(words)
    return words


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The command line without its heavy parts: they are called, and say nothing."""

    def nothing(*_: Any, **__: Any) -> Iterator[Any]:
        yield from ()

    monkeypatch.chdir(tmp_path)
    for name in tables.ABLATIONS:
        monkeypatch.setitem(tables.ABLATIONS, name, nothing)
    for name in ("trilemma", "time_again"):
        monkeypatch.setattr(tables, name, nothing)
    monkeypatch.setattr(drawing, "evaluate_all", nothing)
    for name in ("evaluate", "evaluate_classifier", "evaluate_noisy_classifier", "evaluate_points"):
        monkeypatch.setattr(evaluation, name, lambda *_, **__: {})
    monkeypatch.setattr(machine, "run_lab", lambda options: None)
    monkeypatch.setattr(machine, "_tell_machine", lambda: None)
    monkeypatch.setattr(checkpoints, "write_network", lambda *_: None)
    monkeypatch.setattr(cards, "add_measured", lambda *_: None)  # those of the shipped networks

    def blank(model: Any, labels: Tensor | int, *settings: Any) -> Tensor:
        draw_batches(model, labels, *settings)  # refuses what it must; nothing is drawn yet
        return torch.zeros(10, *model.shape)

    monkeypatch.setattr(drawing, "draw", blank)

    def shortened(recipe: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(recipe)  # so that it takes what the recipe takes
        def run(options: d.TrainOptions, **_: Any) -> Iterator[Any]:
            yield trained(steps=1, seed=options.seed, checkpoint=options.checkpoint)

        return run

    for name, recipe in training.RECIPES.items():
        monkeypatch.setitem(training.RECIPES, name, shortened(recipe))


@pytest.mark.usefixtures("quick")
def test_any_command_line_ends_with_a_status_and_words(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rng = random.Random(0)
    for _ in range(COMMANDS):
        arguments = command(rng)
        try:
            status = cli.main(arguments)
        except SystemExit as end:  # argparse's own
            status = int(end.code or 0)
        except BaseException as error:
            raise AssertionError(f"{arguments}: {type(error).__name__}: {error}") from error
        said = capsys.readouterr()
        assert status in (0, 2), arguments
        assert "Traceback" not in said.err, arguments
        assert status == 0 or said.err.strip(), arguments
