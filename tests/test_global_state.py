"""What belongs to the caller stays his: torch's, NumPy's and Python's settings, and his tensors."""

import copy
import inspect
import pickle
import random
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import diffusion_lessons as dl
from diffusion_lessons.course.exercises.registry import CHECKS, check
from diffusion_lessons.data import Images
from diffusion_lessons.measuring import evaluation
from diffusion_lessons.measuring.ablation import ablate
from diffusion_lessons.measuring.drawing import draw, draw_batches, draw_watched
from diffusion_lessons.measuring.evaluation import (
    evaluate,
    evaluate_classifier,
    evaluate_noisy_classifier,
    evaluate_points,
)
from diffusion_lessons.measuring.judge import DIGITS, Subject, features, judge, reference
from diffusion_lessons.measuring.trilemma import trilemma
from diffusion_lessons.networks import checkpoints
from diffusion_lessons.networks.compute import Compute, fast, fastest, measure
from diffusion_lessons.networks.drawing import noisy_classifier
from diffusion_lessons.networks.mlp import MLP
from diffusion_lessons.networks.unet import UNet
from diffusion_lessons.networks.vae import VAE
from diffusion_lessons.training.recipes import RECIPES
from diffusion_lessons.training.states import load_state

CPU = torch.device("cpu")
MORE_THREADS = Compute(CPU, threads=torch.get_num_threads() + 1)
SCHEDULE = dl.linear_schedule(20)
SETTINGS = dl.DrawSettings(2)


def state() -> dict[str, Any]:
    """Everything global that a package could change."""
    return {
        "torch": torch.get_rng_state().tolist(),
        "numpy": pickle.dumps(np.random.get_state()),
        "python": random.getstate(),
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "gradients": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "matmul": torch.get_float32_matmul_precision(),
        "mkldnn": torch.backends.mkldnn.enabled,
        "printed": torch._tensor_str.PRINT_OPTS,
        "errors": np.geterr(),
        "warnings": list(warnings.filters),
    }


def numbers(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0)).clamp(-2, 2)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def denoiser(x_t: Tensor, t: int) -> Tensor:
    return 0.5 * x_t


def noise_model(x_t: Tensor, t: Tensor, label: Any = None) -> Tensor:
    return 0.5 * x_t


def points() -> dl.DiffusionModel:
    with torch.random.fork_rng():
        return dl.DiffusionModel(MLP(width=8, layers=1), SCHEDULE)


def point_loss(model: Any, batch: Any, g: torch.Generator) -> Tensor:
    return model.loss(batch[0], g)


def trained(model: Any, x: Tensor, **options: Any) -> list[Any]:
    batches = dl.shuffled(x, batch_size=4)
    return list(dl.train(model, point_loss, batches, steps=3, compute=MORE_THREADS, **options))


X, X_0 = numbers(6, 2), numbers(6, 1, 4, 4).clamp(-1, 1)
T_B, LABEL = torch.arange(1, 7), torch.arange(6) % 2
GAUSSIAN = dl.Gaussian(numbers(6, 2), torch.ones(()))
MIXTURE = dl.grid_mixture(2)
BYTES = (40 * numbers(6, 1, 4, 4) + 100).to(torch.uint8)
FEATURES = numbers(20, 3)


def classifier(x_t: Tensor, t: Tensor) -> Tensor:
    return x_t.flatten(1)[:, :2]


# What each public name does, and what it is given.
IMAGES = Path(__file__).parents[1] / "book" / "images"
CALLS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "DiffusionModel": (lambda x, t: points()(x, t), (X, T_B)),
    "DrawSettings": (dl.DrawSettings, (3,)),
    "EMA": (lambda model: dl.EMA(model).update(model, 0), (points(),)),
    "Gaussian": (lambda g: (g.sample(generator()), g.log_prob(g.mean)), (GAUSSIAN,)),
    "GaussianMixture": (dl.GaussianMixture, (numbers(2, 2), torch.ones(2), torch.full((2,), 0.5))),
    "NoiseSchedule": (dl.NoiseSchedule, (torch.tensor([1.0, 0.5, 0.2]),)),
    "Prediction": (lambda x: dl.NOISE.x0_hat(x, x, 3, SCHEDULE), (X,)),
    "RowGenerator": (lambda: dl.RowGenerator(3).normal((2, 3)), ()),
    "Step": (dl.Step, (0, X, X)),
    "TrainOptions": (dl.TrainOptions, (3,)),
    "TrainStep": (dl.TrainStep, (1, X.sum(), 0.0, 1.0, points())),
    "Pictures": (lambda: dl.pictures(IMAGES, 8, progress=False).held_out, ()),
    "pictures": (lambda: dl.pictures(IMAGES, 8, progress=False).train, ()),
    "cifar10": (lambda: dl.cifar10.__doc__, ()),  # wants a download
    "fashion": (lambda: dl.fashion.__doc__, ()),
    "class_accuracy": (dl.class_accuracy, (numbers(6, 3), LABEL)),
    "class_log_prob": (lambda x: dl.class_log_prob(classifier, LABEL)(x, 3), (X,)),
    "classifier_free_guidance": (
        lambda x: dl.classifier_free_guidance(denoiser, denoiser, 2.0)(x, 3),
        (X,),
    ),
    "classifier_guidance": (
        lambda x: dl.classifier_guidance(
            denoiser, dl.class_log_prob(classifier, LABEL), SCHEDULE, 2.0
        )(x, 3),
        (X,),
    ),
    "clipped": (lambda x: dl.clipped(denoiser)(x, 3), (X,)),
    "convert": (lambda x: dl.convert(x, x, 3, SCHEDULE, dl.NOISE, dl.V), (X,)),
    "cosine_schedule": (dl.cosine_schedule, (10,)),
    "consistency_step": (dl.consistency_step, (X, X, 3, 2, SCHEDULE)),
    "ddim_invert": (lambda x: list(dl.ddim_invert(denoiser, x, SCHEDULE, 3, generator())), (X,)),
    "ddim_step": (lambda x: dl.ddim_step(x, 0.5 * x, 5, 3, SCHEDULE, 0.5), (X,)),
    "ddpm_step": (lambda x: dl.ddpm_step(x, 0.5 * x, 5, 3, SCHEDULE), (X,)),
    "density_coverage": (dl.density_coverage, (FEATURES, FEATURES + 0.1)),
    "digits": (lambda: dl.digits(train=False), ()),
    "discretized_log_likelihood": (
        lambda x: dl.discretized_log_likelihood(x.clamp(-1, 1), dl.Gaussian(x, torch.ones(()))),
        (X,),
    ),
    "dpm_solver_2m": (lambda x: walk(x, dl.dpm_solver_2m), (X,)),
    "elbo_terms": (lambda x: dl.elbo_terms(denoiser, x, SCHEDULE, generator()), (X_0,)),
    "euler_step": (lambda x: walk(x, dl.stepwise(dl.euler_step)), (X,)),
    "even_in_log_snr": (lambda: SCHEDULE.times(3, dl.even_in_log_snr(SCHEDULE)), ()),
    "final": (dl.final, ([1, 2],)),
    "forward": (lambda x: dl.forward(x, 0, 3, SCHEDULE).sample(generator()), (X,)),
    "forward_variance": (lambda a: dl.forward_variance(a[3], a[2]), (SCHEDULE.alpha_bar,)),
    "frechet_distance": (dl.frechet_distance, (FEATURES, FEATURES + 1)),
    "from_noise_model": (lambda x: dl.from_noise_model(noise_model, SCHEDULE, 1)(x, 3), (X,)),
    "grid_mixture": (dl.grid_mixture, (3,)),
    "heun": (lambda x: walk(x, dl.heun), (X,)),
    "kl_divergence": (dl.kl_divergence, (GAUSSIAN, GAUSSIAN)),
    "linear_schedule": (dl.linear_schedule, (10,)),
    "load_pretrained": (dl.load_pretrained, ("digits-vae",)),
    "mode_counts": (dl.mode_counts, (X, MIXTURE.means)),
    "moons": (lambda: dl.moons(5, generator()), ()),
    "noise_prediction_loss": (
        lambda x: dl.noise_prediction_loss(noise_model, x, SCHEDULE, generator()),
        (X,),
    ),
    "noise_to_x0": (lambda x: dl.noise_to_x0(x, x, 3, SCHEDULE), (X,)),
    "posterior": (lambda x: dl.posterior(x, x, 3, 2, SCHEDULE), (X,)),
    "posterior_variance": (lambda a: dl.posterior_variance(a[3], a[2]), (SCHEDULE.alpha_bar,)),
    "precision_recall": (dl.precision_recall, (FEATURES, FEATURES + 0.1)),
    "prediction_loss": (
        lambda x: dl.prediction_loss(noise_model, x, SCHEDULE, dl.V, generator()),
        (X,),
    ),
    "quadratic": (dl.quadratic, (0.5,)),
    "ring_mixture": (dl.ring_mixture, (3,)),
    "keeping": (lambda x, m: dl.keeping(x, m, dl.ddpm_step)(x, x, 3, 2, SCHEDULE), (X, X > 0)),
    "restore": (lambda x: list(dl.restore(denoiser, x, 3, SCHEDULE, 2, generator())), (X,)),
    "sample": (lambda x: list(dl.sample(denoiser, x, SCHEDULE, 3, generator=generator())), (X,)),
    "shuffled": (lambda x: dl.shuffled(x, batch_size=2)(5)[0].fill_(0), (X,)),
    "slerp": (dl.slerp, (X, X.flip(0), 0.3)),
    "spiral": (lambda: dl.spiral(5, generator()), ()),
    "stepwise": (lambda x: walk(x, dl.stepwise(dl.ddim_step)), (X,)),
    "straight_schedule": (dl.straight_schedule, (10,)),
    "thin": (dl.thin, ([1, 2, 3], 2)),
    "to_bytes": (dl.to_bytes, (X_0,)),
    "to_unit": (dl.to_unit, (BYTES,)),
    "train": (lambda x: trained(points(), x), (X,)),
    "truncated_normal": (lambda: dl.truncated_normal((3,), 0.5, generator()), ()),
    "uniform": (dl.uniform, (0.5,)),
    "vp_schedule": (dl.vp_schedule, (10,)),
    "watch": (lambda: list(dl.watch(iter([]))), ()),
    "x0_to_noise": (lambda x: dl.x0_to_noise(x, x, 3, SCHEDULE), (X,)),
    "zero_terminal": (dl.zero_terminal, (SCHEDULE,)),
}

NO_CALLS = {"NOISE", "PREDICTIONS", "SAMPLERS", "SCHEDULES", "SCORE", "VELOCITY", "X0", "V"}

# The same for what lies in the rooms.
ROOMS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "fast": (lambda x, t: fast(points(), MORE_THREADS)(x, t), (X, T_B)),
    "fastest": (fastest, ()),
    "measure": (measure, (CPU,)),
    "judge": (judge, ()),
    "features": (features, (numbers(4, 1, 28, 28),)),
    "reference": (reference, (20,)),
    "noisy_classifier": (noisy_classifier, ()),
    "evaluate": (
        lambda: evaluate(dl.load_pretrained("digits-vae"), count=20, compute=MORE_THREADS),
        (),
    ),
    "evaluate_classifier": (lambda: few_digits_are_classified(), ()),
    "evaluate_noisy_classifier": (
        lambda: evaluate_noisy_classifier(noisy_classifier(), 20, compute=MORE_THREADS),
        (),
    ),
    "evaluate_points": (lambda: evaluate_points(points(), SETTINGS, 20), ()),
    "draw": (lambda: draw(dl.load_pretrained("digits-ddgan"), LABEL, compute=MORE_THREADS), ()),
    "draw_watched": (lambda: draw_watched(points(), 3, SETTINGS, compute=MORE_THREADS), ()),
    "check": (lambda: [check(name, lambda *_: torch.rand(3)) for name in sorted(CHECKS)], ()),
}


def few_digits_are_classified() -> None:
    """Not all 10,000."""
    few = DIGITS._replace(data=lambda train: Images(*(part[:20] for part in dl.digits(train))))
    with mock.patch.object(evaluation, "DIGITS", few):
        assert evaluate_classifier(judge(), MORE_THREADS)["test_digits"] == 20


def walk(x: Tensor, sampler: Any) -> list[dl.Step]:
    return list(dl.sample(denoiser, x, SCHEDULE, 3, generator=generator(), sampler=sampler))


def bits(value: Any) -> list[bytes]:
    """The bytes of all tensors in there."""
    if isinstance(value, nn.Module):
        return [bits(part)[0] for part in value.state_dict().values()]
    if isinstance(value, Tensor):
        return [value.detach().clone().numpy().tobytes()]
    if isinstance(value, dl.NoiseSchedule):
        return bits((value.alpha, value.sigma))
    if isinstance(value, list | tuple):
        return [part for each in value for part in bits(each)]
    return []


def test_every_public_name_is_called_here():
    assert set(dl.__all__) == CALLS.keys() | NO_CALLS


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "gradients"),
    [*((name, True) for name in {**CALLS, **ROOMS}), *((name, False) for name in CALLS)],
)
def test_a_call_leaves_global_state_and_inputs_alone(name: str, gradients: bool):
    call, given = {**CALLS, **ROOMS}[name]
    inputs = bits(list(given))
    torch.manual_seed(5)
    with torch.set_grad_enabled(gradients):
        before = state()
        call(*given)
        after = state()
    for part, value in before.items():
        assert after[part] == value, part
    assert bits(list(given)) == inputs


@pytest.mark.slow
@pytest.mark.usefixtures("small_pools", "made_cifar10")
@pytest.mark.parametrize("name", sorted(RECIPES.keys() - {"cifar10-adm"}))
def test_between_the_steps_of_a_training_everything_is_the_callers(name: str):
    before = state()
    takes = inspect.signature(RECIPES[name]).parameters
    small = {"batch_size": 8} if "batch_size" in takes else {}
    for _ in RECIPES[name](dl.TrainOptions(steps=2, compute=MORE_THREADS), **small):
        assert state() == before
    assert state() == before


def test_between_the_steps_of_a_walk_everything_is_the_callers():
    before = state()
    for _ in dl.sample(denoiser, X, SCHEDULE, 3, generator=generator()):
        assert state() == before
    for _ in draw_batches(points(), 6, SETTINGS, compute=MORE_THREADS, batch_size=2):
        assert state() == before


@pytest.mark.slow
def test_measuring_and_saving_leave_everything_alone(tmp_path: Path):
    before = state()
    list(ablate(tmp_path / "a.jsonl", (0,), 1, 10, 1, ("base",), MORE_THREADS))
    list(trilemma(tmp_path / "t.jsonl", ["VAE"], divide=500, compute=MORE_THREADS))
    with torch.random.fork_rng():
        vae = VAE(width=8)
    checkpoints.save(tmp_path / "x.safetensors", vae)
    checkpoints.load(tmp_path / "x.safetensors")
    trained(points(), X, checkpoint=tmp_path / "x.training")
    load_state(tmp_path / "x.training")
    assert state() == before


def test_what_a_load_draws_is_the_same_the_first_time_and_later():
    torch.manual_seed(0)
    wanted = torch.rand(1).item()
    for _ in range(2):
        torch.manual_seed(0)
        dl.load_pretrained("digits-ddpm")
        features(numbers(2, 1, 28, 28))
        assert torch.rand(1).item() == wanted


# What is read once is not handed out


HANDED_OUT: dict[str, Callable[[], Any]] = {
    "digits": partial(dl.digits, train=False),
    "judge": judge,
    "noisy_classifier": noisy_classifier,
    "reference": partial(reference, 20),
    "load_pretrained": partial(dl.load_pretrained, "digits-vae"),
    "features": lambda: (features(numbers(4, 1, 28, 28)),),
    "measure": lambda: measure(CPU),
}


def spoil(value: Any) -> None:
    """Change everything in there."""
    if isinstance(value, nn.Module):
        value.requires_grad_(False).train()
        for part in [*value.parameters(), *value.buffers()]:
            part.fill_(7)
        value.cached = "mine"
    elif isinstance(value, Tensor):
        value.fill_(7)
    elif isinstance(value, dict):
        for part in value.values():
            if isinstance(part, list):
                part.clear()
        value.clear()
    elif not isinstance(value, Subject):  # which cannot be changed
        for part in value:
            spoil(part)


def known(value: Any) -> Any:
    if isinstance(value, dict):
        return copy.deepcopy(value)
    extra = [value.floor.copy()] if hasattr(value, "floor") else []
    return bits(value), extra, getattr(value, "training", None), getattr(value, "cached", None)


@pytest.mark.slow
@pytest.mark.parametrize("name", HANDED_OUT)
def test_what_is_handed_out_is_the_callers_own(name: str):
    get = HANDED_OUT[name]
    before = known(get())
    spoil(get())
    assert known(get()) == before


@pytest.mark.parametrize("name", ["judge", "noisy_classifier", "load_pretrained"])
def test_a_network_that_is_asked_for_in_inference_mode_can_be_trained(name: str):
    with torch.inference_mode():
        network = HANDED_OUT[name]()
    assert not any(x.is_inference() for x in [*network.parameters(), *network.buffers()])


@pytest.mark.slow
def test_drawing_leaves_the_modes_of_a_networks_parts_alone():
    """A part that was frozen in eval mode stays frozen."""
    with torch.random.fork_rng():
        unet = UNet(size=8, channels=8, blocks=1, attention_resolutions=())
    model = dl.DiffusionModel(unet, SCHEDULE).train()
    unet.time.eval()
    draw(model, 2, SETTINGS, compute=MORE_THREADS)
    assert model.training
    assert unet.training
    assert not unet.time.training


def test_a_row_generator_that_is_seeded_anew_begins_anew():
    g = dl.RowGenerator(3)
    first, torchs = g.normal((2, 3)), torch.rand(2, generator=g)
    g.normal((2, 3))
    assert g.manual_seed(3) is g
    assert torch.equal(g.normal((2, 3)), first)
    assert torch.equal(torch.rand(2, generator=g), torchs)
    assert torch.equal(dl.RowGenerator(4).normal((2, 3)), g.manual_seed(4).normal((2, 3)))
    seed = g.seed()
    assert torch.equal(g.normal((2, 3)), dl.RowGenerator(seed).normal((2, 3)))
    with pytest.raises(ValueError, match="seed must"):
        g.manual_seed(-1)
