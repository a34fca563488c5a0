"""Training: its random times, its optimisers, and runs that can be repeated and resumed."""

import copy
import itertools
import json
import math
import sys
from collections import OrderedDict
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from diffusion_lessons.data import Images, moons
from diffusion_lessons.math.gaussian import x0_to_noise
from diffusion_lessons.math.losses import noise_prediction_loss, random_times
from diffusion_lessons.math.prediction import PREDICTIONS
from diffusion_lessons.math.randomness import RowGenerator, derived, seeded
from diffusion_lessons.math.schedule import cosine_schedule, linear_schedule
from diffusion_lessons.networks import compute
from diffusion_lessons.networks.compute import Compute, fast
from diffusion_lessons.networks.diffusion import DiffusionModel
from diffusion_lessons.networks.mlp import MLP
from diffusion_lessons.networks.unet import UNet
from diffusion_lessons.training import loop, states
from diffusion_lessons.training.average import EMA
from diffusion_lessons.training.batches import shuffled
from diffusion_lessons.training.loop import train, watch
from diffusion_lessons.training.optimizers import Muon, MuonAdamW, Optimizers, adamw, orthogonalize
from diffusion_lessons.training.states import read_state

SAME = {"rtol": 0, "atol": 0}
CPU = Compute(torch.device("cpu"))
SCHEDULE = linear_schedule(100)


# Random times


@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 2**32))
def test_random_times_lie_in_1_to_T(n, T, seed):
    t = random_times(n, T, torch.Generator().manual_seed(seed))
    assert t.shape == (n,)
    assert t.dtype == torch.int64
    assert t.min() >= 1
    assert t.max() <= T


@pytest.mark.parametrize(("n", "T"), [(1, 5), (3, 5), (5, 5), (12, 5), (2, 50)])
def test_training_draws_every_time_from_1_to_T_equally_often(n, T, generator):
    """Chi-square test of the first and the last of n times; both 1 and T are among them."""
    draws = 4000
    t = torch.stack([random_times(n, T, generator) for _ in range(draws)])  # [draws, n]
    for column in {0, n - 1}:
        counts = t[:, column].bincount(minlength=T + 1)[1:].double()
        assert counts[0] > 0
        assert counts[T - 1] > 0
        expected = draws / T
        chi_square = ((counts - expected) ** 2 / expected).sum().item()
        # Mean T - 1 and variance 2 (T - 1); five standard deviations.
        assert chi_square < T - 1 + 5 * math.sqrt(2 * (T - 1))


def test_a_batch_meets_all_noise_levels(generator):
    """As many times as steps: each is drawn once (Kingma et al. 2021, appendix I.1)."""
    for _ in range(20):
        assert random_times(50, 50, generator).unique().numel() >= 49  # rounding may join two
        counts = random_times(200, 50, generator).bincount(minlength=51)[1:]
        assert (counts - 4).abs().max() <= 1


# The loss


def test_the_loss_of_a_perfect_noise_oracle_is_0(generator):
    x_0 = torch.randn(16, 3, generator=generator, dtype=torch.float64)

    def oracle(x_t, t):
        return x0_to_noise(x_t, x_0, t, SCHEDULE)

    assert noise_prediction_loss(oracle, x_0, SCHEDULE, generator).item() < 1e-20


def test_the_loss_of_predicting_nothing_is_the_noises_variance(generator):
    def nothing(x_t, t):
        return torch.zeros_like(x_t)

    loss = noise_prediction_loss(nothing, torch.zeros(20_000, 4), SCHEDULE, generator)
    assert loss.item() == pytest.approx(1, abs=0.02)


def test_the_network_sees_x_t_of_equation_4(generator):
    """With x_0 = 1 everywhere, the mean of x_t tells alpha_bar at its time."""
    seen = {}

    def model(x_t, t):
        seen.update(x_t=x_t, t=t)
        return torch.zeros_like(x_t)

    noise_prediction_loss(model, torch.ones(100, 10_000), SCHEDULE, generator)
    kept = SCHEDULE.alpha_bar[seen["t"]].sqrt().float()
    torch.testing.assert_close(seen["x_t"].mean(1), kept, rtol=0, atol=0.05)
    left = (1 - SCHEDULE.alpha_bar[seen["t"]]).sqrt().float()
    torch.testing.assert_close(seen["x_t"].std(1), left, rtol=0.05, atol=0)


def test_the_gradient_reaches_the_weights(generator):
    model = MLP(width=16, layers=1)
    noise_prediction_loss(model, torch.randn(8, 2), SCHEDULE, generator).backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())


class Listener(nn.Module):
    """A network of ten classes that remembers which labels it was asked for."""

    classes = 10

    def forward(self, x_t, t, label):
        self.heard = label
        return torch.zeros_like(x_t)


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 1])
def test_a_share_of_the_labels_becomes_the_null_label(share, generator):
    model, label = Listener(), torch.arange(20_000) % 10
    noise_prediction_loss(model, torch.zeros(20_000, 1), SCHEDULE, generator, label, share)
    dropped = model.heard == 10
    assert dropped.double().mean().item() == pytest.approx(share, abs=0.015 if 0 < share < 1 else 0)
    torch.testing.assert_close(model.heard[~dropped], label[~dropped], **SAME)


def test_the_loss_is_repeated_by_its_generator():
    x_0, model = torch.randn(8, 2), MLP(width=16, layers=1)
    first, second, other = (
        noise_prediction_loss(model, x_0, SCHEDULE, torch.Generator().manual_seed(seed)).item()
        for seed in (1, 1, 2)
    )
    assert first == second != other


# Batches


def test_shuffled_covers_each_row_once_a_pass():
    rows, names = torch.arange(12)[:, None], torch.arange(12)
    batch = shuffled(rows, names, batch_size=4, seed=0)
    passes = [torch.cat([batch(3 * p + i)[1] for i in range(3)]) for p in range(3)]
    for order in passes:
        assert sorted(order.tolist()) == list(range(12))
    assert len({tuple(order.tolist()) for order in passes}) == 3  # every pass has its own order
    x, name = batch(5)
    torch.testing.assert_close(x[:, 0], name, **SAME)  # the tensors stay together


def test_shuffled_leaves_out_the_rows_that_fill_no_batch():
    batch = shuffled(torch.arange(11), batch_size=4)
    first_pass = torch.cat([batch(0)[0], batch(1)[0]])
    assert first_pass.unique().numel() == 8


def test_shuffled_gives_step_n_its_batch_without_the_steps_before():
    x = torch.arange(100)
    here, there = (shuffled(x, batch_size=10, seed=3) for _ in range(2))
    steps = [0, 5, 12, 37]
    walked = {step: here(step)[0] for step in range(40)}
    for step in reversed(steps):
        torch.testing.assert_close(there(step)[0], walked[step], **SAME)
    assert not torch.equal(shuffled(x, batch_size=10, seed=4)(0)[0], walked[0])


@pytest.mark.parametrize("size", [0, -1, 11])
def test_shuffled_refuses_a_batch_that_the_data_cannot_fill(size):
    with pytest.raises(ValueError, match=r"batch_size must lie in 1\.\.10"):
        shuffled(torch.zeros(10), batch_size=size)


def test_shuffled_refuses_tensors_of_different_lengths():
    with pytest.raises(ValueError, match=r"different lengths: \[10, 9\]"):
        shuffled(torch.zeros(10), torch.zeros(9), batch_size=2)


def test_every_step_has_random_numbers_of_its_own():
    numbers = {
        torch.rand((), generator=seeded(seed, step)).item()
        for seed in range(5)
        for step in range(20)
    }
    assert len(numbers) == 100
    again = torch.rand((), generator=seeded(4, 19)).item()
    assert again in numbers


# Optimisers


@pytest.fixture(params=["bfloat16", "float32"])
def products(request, monkeypatch):
    """Muon's products as on newer processors and GPUs, and as on those with AVX2 alone."""
    capability = {"bfloat16": "AVX512", "float32": "AVX2"}[request.param]
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    return getattr(torch, request.param)


@pytest.mark.parametrize("shape", [(16, 16), (8, 32), (32, 8)], ids=str)
@pytest.mark.parametrize("momentum", [0.95, 0.5])
def test_muon_is_the_muon_of_torch(shape, momentum, generator, monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    start = torch.randn(shape, generator=generator)
    ours, theirs = (nn.Parameter(start.clone()) for _ in range(2))
    updates = [
        Muon([ours], lr=0.02, momentum=momentum),
        torch.optim.Muon([theirs], lr=0.02, momentum=momentum, weight_decay=0, nesterov=True),
    ]
    for _ in range(5):
        gradient = torch.randn(shape, generator=generator)
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        for update in updates:
            update.step()
    moved = (theirs - start).abs().mean().item()
    assert moved > 0.001
    # Both compute in bfloat16, 8 bits, and may add up in another order.
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0.05 * moved)


def test_muon_takes_a_convolution_for_its_flattened_matrix(generator):
    start = torch.randn(8, 3, 3, 3, generator=generator)
    conv = nn.Parameter(start.clone().contiguous(memory_format=torch.channels_last))
    matrix = nn.Parameter(start.flatten(1))
    updates = [Muon([conv]), Muon([matrix])]
    for _ in range(3):
        gradient = torch.randn(start.shape, generator=generator)
        conv.grad, matrix.grad = gradient.clone(), gradient.flatten(1)
        for update in updates:
            update.step()
    torch.testing.assert_close(conv.flatten(1), matrix, rtol=1e-6, atol=1e-6)


def test_muon_treats_matrices_of_one_shape_alone_and_together_alike(generator):
    starts = torch.randn(3, 8, 16, generator=generator)
    gradients = torch.randn(3, 8, 16, generator=generator)
    together = [nn.Parameter(start.clone()) for start in starts]
    alone = [nn.Parameter(start.clone()) for start in starts]
    for weights in (together, alone):
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.grad = gradient.clone()
    Muon(together).step()
    for weight in alone:
        Muon([weight]).step()
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=2e-4)


def test_muon_leaves_weights_without_a_gradient_alone():
    weight = nn.Parameter(torch.ones(4, 4))
    Muon([weight]).step()
    torch.testing.assert_close(weight.data, torch.ones(4, 4), **SAME)


@pytest.mark.parametrize("shape", [(32, 128), (128, 32), (16, 288), (288, 16)], ids=str)
def test_orthogonalize_brings_the_singular_values_near_1(shape, generator, products):
    matrices = (
        torch.randn(4, *shape, generator=generator)
        * torch.tensor([1e-3, 1, 10, 1e3])[:, None, None]
    )
    nearest = orthogonalize(matrices)
    assert nearest.dtype == products
    singular = torch.linalg.svdvals(nearest.float())
    assert singular.min() > 0.6
    assert singular.max() < 1.3
    # The singular vectors stay: U^T M V of the original's U and V is still diagonal.
    U, _, Vh = torch.linalg.svd(matrices, full_matrices=False)
    inside = U.mT @ nearest.float() @ Vh.mT
    outside_diagonal = inside - torch.diag_embed(inside.diagonal(dim1=1, dim2=2))
    assert outside_diagonal.abs().max() < 0.1


def test_orthogonalize_keeps_zero(products):
    zero = torch.zeros(1, 4, 6)
    torch.testing.assert_close(orthogonalize(zero), zero.to(products), **SAME)


def tiny_unet(dropout=0.0):
    return UNet(size=8, channels=16, blocks=1, attention_resolutions=(4,), dropout=dropout)


def test_muon_gets_the_inner_matrices_and_adamw_the_rest():
    model = tiny_unet()
    adamw, muon = MuonAdamW(model).optimizers
    inner, rest = ({id(w) for w in o.param_groups[0]["params"]} for o in (muon, adamw))
    assert inner | rest == {id(w) for w in model.parameters()}
    assert not inner & rest
    for name, weight in model.named_parameters():
        edge = name.split(".")[0] in ("input", "output", "time", "label")
        assert (id(weight) in rest) == (edge or weight.ndim == 1), name


def test_a_network_without_inner_matrices_trains_too():
    model = nn.Sequential()
    model.input = nn.Linear(2, 2)
    update = MuonAdamW(model)
    model(torch.ones(1, 2)).sum().backward()
    update.step(1.0)
    assert len(update.optimizers) == 1


def test_a_network_of_inner_matrices_alone_trains_too():
    model = nn.Sequential(nn.Linear(2, 2, bias=False))
    assert [type(each) for each in MuonAdamW(model).optimizers] == [Muon]
    before = model[0].weight.clone()
    list(train(model, square, ones, steps=2, compute=CPU))
    assert not torch.equal(model[0].weight, before)


def test_layers_that_share_a_weight_share_its_update():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    _, muon = MuonAdamW(model).optimizers
    assert len(muon.param_groups[0]["params"]) == 1


@pytest.mark.parametrize("make", [MuonAdamW, adamw()])
def test_a_network_without_weights_is_refused_in_words(make):
    with pytest.raises(ValueError, match="this Identity has no weights to train"):
        make(nn.Identity())


def square(model, batch, generator):
    """A loss of one weight that any optimiser makes smaller."""
    return (model(batch) - 1).square().mean()


def ones(step):
    return torch.ones(4, 2)


OPTIMIZERS = {
    "a class": lambda model: torch.optim.Adagrad,
    "one that is made": lambda model: torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
    "of two groups": lambda model: torch.optim.RMSprop(
        [{"params": [p], "lr": 0.01 * (i + 1)} for i, p in enumerate(model.parameters())]
    ),
    "a function": lambda model: lambda m: torch.optim.NAdam(m.parameters(), lr=0.1),
}


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_optimisers_of_torch_train_and_go_on(make, tmp_path):
    def run(steps, path):
        torch.manual_seed(0)
        model = nn.Linear(2, 2)
        options = {"optimizer": make(model), "compute": CPU, "checkpoint": path, "save_every": 2}
        return model, train(model, square, ones, steps=steps, **options)

    whole, steps = run(6, None)
    losses = finish(steps)[0]
    assert losses[-1] < losses[0]
    _, steps = run(6, tmp_path / "state")
    assert [next(steps).loss.item() for _ in range(3)] == losses[:3]
    again, steps = run(6, tmp_path / "state")
    assert finish(steps)[0] == losses[2:]
    torch.testing.assert_close(weights(again), weights(whole), **SAME)


def test_an_optimiser_that_is_used_twice_begins_at_its_own_rate_twice():
    model = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    moved = []
    for _ in range(2):
        torch.manual_seed(0)
        nn.init.ones_(model.weight)
        list(train(model, square, ones, steps=5, optimizer=optimizer, compute=CPU))
        moved.append(model.weight.clone())
        assert optimizer.param_groups[0]["lr"] == 0.1
        nn.init.zeros_(model.bias)
    assert not torch.equal(moved[0], torch.ones(2, 2))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"optimizer": torch.optim.LBFGS}, "LBFGS wants to work out the loss again"),
        ({"optimizer": "adam"}, "optimizer must be a function, network -> optimiser"),
        ({"optimizer": lambda model: None}, r"must be one of torch\.optim's kind, got None"),
        ({"compute": "cuda"}, "compute must be a Compute, got 'cuda'"),
        ({"model": nn.DataParallel(nn.Linear(2, 2))}, "DataParallel: give the network within"),
        ({"model": "unet"}, "model must be a Module, got 'unet'"),
        ({"batches": [1, 2]}, "batches must be a function, the step's number -> its batch"),
        ({"loss": 0.5}, "loss must be a function"),
        ({"loss": lambda *_: 0.5}, "what loss answers with must be a tensor, got float"),
    ],
)
def test_what_cannot_be_trained_with_is_refused_by_its_name(options, words):
    usual = {"model": nn.Linear(2, 2), "loss": square, "batches": ones, "compute": CPU}
    with pytest.raises(TypeError, match=words):
        list(train(steps=1, **usual | options))


def test_a_loss_of_many_numbers_or_of_no_weights_is_refused():
    for loss in (lambda m, b, g: m(b), lambda m, b, g: torch.tensor(1.0)):
        with pytest.raises(ValueError, match="loss must answer with one number that depends on"):
            list(train(nn.Linear(2, 2), loss, ones, steps=1, compute=CPU))


def test_training_under_inference_mode_says_where_the_gradient_went():
    with torch.inference_mode(), pytest.raises(ValueError, match="is it under inference_mode"):
        list(train(nn.Linear(2, 2), square, ones, steps=1, compute=CPU))


def test_an_optimiser_of_another_network_is_refused():
    other = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1)
    with pytest.raises(ValueError, match="weights that are not of the network to be trained"):
        train(nn.Linear(2, 2), square, ones, steps=1, optimizer=other, compute=CPU)


def test_what_is_fast_is_trained_as_what_it_was_made_of():
    """At the call of `fast` a format was chosen for drawing; a training has its own."""
    model, steps = model_run(steps=3)
    losses = finish(steps)[0]
    torch.manual_seed(100)
    again = DiffusionModel(MLP(width=16, layers=1), SCHEDULE)
    half = fast(again, Compute(CPU.device, torch.bfloat16))
    batches = shuffled(moons(256, torch.Generator().manual_seed(0))[0], batch_size=32)
    run = train(half, lambda m, b, g: m.loss(b[0], g), batches, steps=3, compute=CPU)
    assert finish(run)[0] == losses
    torch.testing.assert_close(weights(again), weights(model), **SAME)


class Pair(NamedTuple):
    x: torch.Tensor
    name: str


@pytest.mark.parametrize(
    "batch",
    [
        Images(torch.zeros(2, 1, 8, 8), torch.zeros(2)),
        [torch.zeros(2), (torch.ones(2), "word")],
        {"x": torch.zeros(2), "more": Pair(torch.ones(1), "word")},
        OrderedDict(b=torch.zeros(2), a=None),
    ],
    ids=["named", "list", "dict", "ordered"],
)
def test_a_batch_stays_what_it_is(batch):
    seen = []

    def loss(model, given, generator):
        seen.append(given)
        return model(torch.ones(1, 2)).sum()

    list(train(nn.Linear(2, 2), loss, lambda step: batch, steps=1, compute=CPU))
    (given,) = seen
    assert type(given) is type(batch)
    assert repr(given) == repr(batch)


def test_a_factor_of_0_changes_nothing():
    model = MLP(width=16, layers=1)
    before = [weight.clone() for weight in model.parameters()]
    update = MuonAdamW(model)
    model(torch.randn(4, 2), 1).sum().backward()
    update.step(0.0)
    torch.testing.assert_close([*model.parameters()], before, **SAME)


# The running average


def test_ema_is_its_formula():
    """average <- d average + (1 - d) weight with d = min(decay, (1 + n) / (10 + n))."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 4.0)
    ema, by_hand = EMA(model, decay=0.25), 4.0
    for n, weight in enumerate([1.0, -2.0, 3.0, 5.0]):
        nn.init.constant_(model.weight, weight)
        ema.update(model, n)
        d = min(0.25, (1 + n) / (10 + n))  # 1/10, 2/11, 3/12, then 0.25
        by_hand = d * by_hand + (1 - d) * weight
        assert ema.model.weight.item() == pytest.approx(by_hand, rel=1e-6)
    assert model.weight.item() == 5.0


def test_ema_without_warmup_begins_with_the_weights_it_was_given():
    """For a run that goes on from a good network: 0.75 of the old average at the first step too."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 4.0)
    ema = EMA(model, decay=0.75, warmup=False)
    nn.init.constant_(model.weight, 0.0)
    for n in range(3):
        ema.update(model, n)
        assert ema.model.weight.item() == pytest.approx(4.0 * 0.75 ** (n + 1), rel=1e-6)


def test_ema_takes_over_buffers_and_asks_for_no_gradient():
    model = nn.BatchNorm1d(3)
    ema = EMA(model)
    model(torch.randn(8, 3) + 5)
    ema.update(model, 0)
    torch.testing.assert_close(ema.model.running_mean, model.running_mean, **SAME)
    assert ema.model.num_batches_tracked == 1
    assert not ema.model.training
    assert not any(parameter.requires_grad for parameter in ema.model.parameters())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_an_average_of_half_precision_moves(dtype):
    """5,000 small steps from 1 to 1.5: each is less than what 8 or 11 bits can tell."""
    model = nn.Linear(1, 1, bias=False).to(dtype)
    nn.init.ones_(model.weight)
    ema = EMA(model, decay=0.999, warmup=False)
    nn.init.constant_(model.weight, 1.5)
    for n in range(5000):
        ema.update(model, n)
    assert ema.model.weight.dtype == dtype
    assert ema.model.weight.item() == pytest.approx(1.5 - 0.5 * 0.999**5000, abs=0.004)
    again = EMA(copy.deepcopy(model), decay=0.999, warmup=False)
    again.load_state_dict(ema.state_dict())
    for each in (ema, again):
        each.update(model, 5000)
    assert again.tensors()[0].dtype == torch.float32
    torch.testing.assert_close(again.tensors(), ema.tensors(), **SAME)


@given(st.floats(max_value=-1e-9) | st.floats(min_value=1) | st.just(math.nan))
def test_an_impossible_decay_is_refused(decay):
    with pytest.raises(ValueError, match="decay must lie in"):
        EMA(nn.Linear(1, 1), decay)


# Runs


def points_run(seed=0, start=100, **options):
    """A short run of the network for points; the run and its network."""
    torch.manual_seed(start)
    model = MLP(width=16, layers=2)
    x, _ = moons(256, torch.Generator().manual_seed(0))
    return model, train(
        model,
        lambda model, batch, g: noise_prediction_loss(model, batch[0], SCHEDULE, g),
        shuffled(x, batch_size=32, seed=seed),
        seed=seed,
        compute=CPU,
        **options,
    )


def pictures_run(seed=0, dropout=0.0, start=100, **options):
    """A short run of the U-Net with labels; the run and its network."""
    torch.manual_seed(start)
    model = tiny_unet(dropout)
    g = torch.Generator().manual_seed(0)
    x, label = torch.rand(64, 1, 8, 8, generator=g) * 2 - 1, torch.arange(64) % 10
    return model, train(
        model,
        lambda model, batch, g: noise_prediction_loss(model, batch[0], SCHEDULE, g, batch[1]),
        shuffled(x, label, batch_size=8, seed=seed),
        seed=seed,
        compute=CPU,
        **options,
    )


RUNS = pytest.mark.parametrize("run", [points_run, pictures_run], ids=["points", "pictures"])


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def finish(run):
    """Losses, steps and the averaged weights of a run to its end."""
    steps = list(run)
    return [step.loss.item() for step in steps], [step.step for step in steps], steps[-1].model


def test_training_makes_the_loss_smaller():
    _, run = points_run(steps=150)
    losses, steps, _ = finish(run)
    assert steps == list(range(1, 151))
    assert sum(losses[-20:]) < 0.8 * sum(losses[:20])


def test_a_train_step_tells_where_the_run_is():
    model, run = points_run(steps=4)
    steps = list(run)
    assert [step.progress for step in steps] == [0.25, 0.5, 0.75, 1]
    assert all(a.seconds < b.seconds for a, b in itertools.pairwise(steps))
    assert steps[0].loss.shape == ()
    assert not steps[0].loss.requires_grad
    assert steps[0].model is steps[-1].model is not model
    assert model.training
    assert not steps[0].model.training


def test_every_step_of_a_run_gets_its_own_batch_and_random_numbers():
    seen = []

    def loss(model, batch, generator):
        seen.append((batch, torch.rand((), generator=generator).item()))
        return model(torch.ones(1, 2), 1).sum()

    list(train(MLP(width=16, layers=1), loss, lambda step: step, steps=4, seed=3, compute=CPU))
    own = [torch.rand((), generator=RowGenerator(derived(3, step))).item() for step in range(4)]
    assert seen == list(enumerate(own))


def test_the_first_step_moves_the_average_nine_tenths_of_the_way():
    """EMA's decay after no update is min(0.999, 1 / 10)."""
    model, run = points_run(steps=3)
    before = weights(model)
    first = next(run)
    for name, now in weights(model).items():
        expected = 0.1 * before[name] + 0.9 * now
        torch.testing.assert_close(first.model.state_dict()[name], expected, rtol=1e-5, atol=1e-7)


@RUNS
def test_a_run_depends_on_its_seed_alone(run):
    model, steps = run(steps=6)
    losses, _, average = finish(steps)
    torch.rand(3)  # what happens outside must not matter
    model_2, steps = run(steps=6)
    losses_2, _, average_2 = finish(steps)
    assert losses == losses_2
    torch.testing.assert_close(weights(model), weights(model_2), **SAME)
    torch.testing.assert_close(weights(average), weights(average_2), **SAME)
    _, steps = run(steps=6, seed=1)
    assert finish(steps)[0] != losses


def test_a_run_with_dropout_depends_on_its_seed_alone():
    first, second = ([], [])
    for losses in (first, second):
        _, steps = pictures_run(steps=3, dropout=0.5)
        torch.manual_seed(len(first))  # the caller's own random numbers
        losses += finish(steps)[0]
    assert first == second


def test_the_callers_random_numbers_are_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    model = MLP(width=16, layers=1)
    torch.manual_seed(5)
    for _ in train(
        model,
        lambda model, batch, g: noise_prediction_loss(model, batch[0], SCHEDULE, g),
        shuffled(torch.zeros(8, 2), batch_size=4),
        steps=3,
        compute=CPU,
    ):
        pass
    torch.testing.assert_close(torch.rand(3), expected, **SAME)


@pytest.mark.slow
@RUNS
def test_an_interrupted_run_goes_on_as_if_nothing_had_happened(run, tmp_path):
    whole_model, steps = run(steps=11)
    losses, _, whole_average = finish(steps)

    path = tmp_path / "state.safetensors"
    _, steps = run(steps=11, checkpoint=path, save_every=4)
    for step in steps:
        if step.step == 6:  # two steps beyond the last save
            break
    del steps

    # What the new network starts from does not count.
    model, steps = run(steps=11, start=7, checkpoint=path, save_every=4)
    resumed, numbers, average = finish(steps)
    assert numbers == list(range(5, 12))
    assert resumed == losses[4:]
    torch.testing.assert_close(weights(model), weights(whole_model), **SAME)
    torch.testing.assert_close(weights(average), weights(whole_average), **SAME)


def test_a_loop_that_was_stopped_goes_on_when_it_is_run_again():
    _, steps = points_run(steps=6)
    losses, _, _ = finish(steps)
    draws = iter([*range(3), KeyboardInterrupt()])

    def batches(step):
        if isinstance(draw := next(draws, None), KeyboardInterrupt):
            raise draw
        return whole(step)

    whole = shuffled(moons(256, torch.Generator().manual_seed(0))[0], batch_size=32)
    torch.manual_seed(100)
    model = MLP(width=16, layers=2)
    run = train(
        model,
        lambda model, batch, g: noise_prediction_loss(model, batch[0], SCHEDULE, g),
        batches,
        steps=6,
        compute=CPU,
    )
    before = [next(run).loss.item() for _ in range(3)]
    with pytest.raises(KeyboardInterrupt):
        next(run)
    after, numbers, _ = finish(run)
    assert numbers == [4, 5, 6]
    assert before + after == losses


class Interrupted:
    """Raises KeyboardInterrupt at the n-th line that runs in the training's own files."""

    def __init__(self, at=math.inf):
        self.at, self.lines = at, 0

    def __call__(self, frame, event, argument):
        path = Path(frame.f_code.co_filename)
        if path.parent.name == "training" or path.name == "files.py":
            return self.line
        return None

    def line(self, frame, event, argument):
        if event == "line":
            self.lines += 1
            if self.lines == self.at:
                raise KeyboardInterrupt
        return self.line

    def __enter__(self):
        self.before = sys.gettrace()
        sys.settrace(self)
        return self

    def __exit__(self, *error):
        sys.settrace(self.before)


def looked_at(steps, seen):
    for step in steps:
        seen[step.step] = step.loss.item()


def adam_run(**options):
    return points_run(optimizer=adamw(), **options)


@pytest.mark.slow
@pytest.mark.parametrize("run", [points_run, adam_run, pictures_run])
def test_a_run_may_be_interrupted_at_any_line_and_ends_with_the_same_bits(run, tmp_path):
    """In the loop, in the optimisers, in the average, while a state is saved: a hundred places."""
    path = tmp_path / "whole"
    model, steps = run(steps=5, checkpoint=path, save_every=2)
    with Interrupted() as counted:
        losses, _, _ = finish(steps)
    wanted, tensors = read_state(path)
    random = torch.Generator().manual_seed(0)
    draws = torch.randint(1, counted.lines, (100 if run is points_run else 20,), generator=random)
    for i, at in enumerate(draws.tolist()):
        path = tmp_path / str(i)
        again, steps = run(steps=5, checkpoint=path, save_every=2)
        seen = {}
        with pytest.raises(KeyboardInterrupt), Interrupted(at):
            looked_at(steps, seen)
        looked_at(steps, seen)
        assert list(seen) == [1, 2, 3, 4, 5]  # each is handed over
        assert list(seen.values()) == losses
        torch.testing.assert_close(weights(again), weights(model), **SAME)
        reached, saved = read_state(path)
        torch.testing.assert_close(saved, tensors, **SAME)
        assert reached["history"] == wanted["history"]
        assert next(iter(run(steps=5, checkpoint=path)[1])).step == 5


@pytest.mark.slow
@pytest.mark.parametrize("run", [points_run, adam_run, pictures_run])
def test_what_was_reached_at_an_interrupt_can_be_saved_and_another_run_goes_on(run, tmp_path):
    """The update that was broken off is taken back first; 20 places."""
    model, steps = run(steps=5, checkpoint=tmp_path / "whole")
    with Interrupted() as counted:
        losses, _, _ = finish(steps)
    wanted, tensors = read_state(tmp_path / "whole")
    random = torch.Generator().manual_seed(1)
    reached = set()
    for i, at in enumerate(torch.randint(1, counted.lines, (20,), generator=random).tolist()):
        path, seen = tmp_path / str(i), {}
        _, steps = run(steps=5, checkpoint=path)
        with pytest.raises(KeyboardInterrupt), Interrupted(at):
            looked_at(steps, seen)
        made = steps.save()
        assert made - len(seen) in (0, 1)  # counted, and not handed over yet
        assert steps.save() == made
        assert path.exists() == bool(made)
        again, steps = run(steps=5, start=7 if made else 100, checkpoint=path)
        after, numbers, _ = finish(steps)
        if made < 5:
            assert (numbers, after) == ([*range(made + 1, 6)], losses[made:])
        torch.testing.assert_close(weights(again), weights(model), **SAME)
        torch.testing.assert_close(read_state(path)[1], tensors, **SAME)
        reached.add(made)
    assert len(reached) > 2
    assert wanted["step"] == 5


class Fails:
    """A loss that fails once, in its third call, with any exception."""

    def __init__(self, error):
        self.errors = iter([None, None, error])

    def __call__(self, model, batch, generator):
        if error := next(self.errors, None):
            raise error
        return noise_prediction_loss(model, batch[0], SCHEDULE, generator)


@pytest.mark.parametrize(
    "error", [OSError("No space left"), torch.OutOfMemoryError(), RuntimeError(), SystemExit()]
)
@pytest.mark.parametrize("watched", [iter, watch])
def test_a_run_goes_on_after_any_exception(watched, error):
    def losses(loss):
        torch.manual_seed(100)
        model = MLP(width=16, layers=2)
        batches = shuffled(moons(256, torch.Generator().manual_seed(0))[0], batch_size=32)
        return watched(train(model, loss, batches, steps=5, compute=CPU))

    whole, run = finish(losses(Fails(None)))[0], losses(Fails(error))
    seen = [next(run).loss.item() for _ in range(2)]
    with pytest.raises(type(error)):
        next(run)
    assert seen + finish(run)[0] == whole


def test_a_state_that_could_not_be_written_is_written_when_the_loop_is_run_again(
    tmp_path, monkeypatch
):
    """The last one too, where there is no update left to make."""

    def full(*arguments):
        raise OSError("No space left on device")

    path = tmp_path / "state"
    _, run = points_run(steps=3, checkpoint=path)
    monkeypatch.setattr(loop, "save_state", full)
    for _ in range(2):
        with pytest.raises(OSError, match="No space"):
            list(run)
    monkeypatch.undo()
    assert [step.step for step in run] == [3]
    assert read_state(path)[0]["step"] == 3
    assert list(run) == []


class Explodes(torch.autograd.Function):
    """The number itself; its gradient is none."""

    @staticmethod
    def forward(context, x):
        return x.clone()

    @staticmethod
    def backward(context, gradient):
        return gradient * math.nan


@pytest.mark.parametrize("checkpoint", [True, False])
def test_a_network_of_nan_is_not_saved_over_a_good_one(checkpoint, tmp_path):
    """The loss is finite where its gradient is not, in the last update before a save."""
    calls = iter([False, False, False, True])
    path = tmp_path / "state" if checkpoint else None

    def loss(model, batch, generator):
        value = noise_prediction_loss(model, batch[0], SCHEDULE, generator)
        return Explodes.apply(value) if next(calls) else value

    batches = shuffled(torch.zeros(256, 2), batch_size=32)
    model = MLP(width=16, layers=2)
    run = train(model, loss, batches, steps=4, checkpoint=path, save_every=2, compute=CPU)
    with pytest.raises(FloatingPointError, match="after step 4 the network holds numbers that are"):
        list(run)
    if checkpoint:
        state, tensors = read_state(path)
        assert state["step"] == 2
        assert all(x.isfinite().all() for x in tensors.values())


def test_saving_changes_nothing(tmp_path):
    _, plain = points_run(steps=6)
    _, saving = points_run(steps=6, checkpoint=tmp_path / "state", save_every=2)
    assert finish(plain)[0] == finish(saving)[0]
    assert [file.name for file in tmp_path.iterdir()] == ["state"]  # and nothing half written


def test_a_finished_run_yields_its_last_step_again(tmp_path):
    path = tmp_path / "state"
    model, steps = points_run(steps=5, checkpoint=path)
    losses, _, average = finish(steps)
    again, steps = points_run(steps=5, checkpoint=path)
    repeated, numbers, average_again = finish(steps)
    assert (repeated, numbers) == (losses[-1:], [5])
    torch.testing.assert_close(weights(again), weights(model), **SAME)
    torch.testing.assert_close(weights(average_again), weights(average), **SAME)


def test_a_finished_run_can_be_given_more_steps(tmp_path):
    path = tmp_path / "state"
    finish(points_run(steps=3, checkpoint=path)[1])
    assert finish(points_run(steps=5, checkpoint=path)[1])[1] == [4, 5]


def test_a_run_in_seconds_ends(tmp_path):
    path = tmp_path / "state"
    _, steps = points_run(seconds=0.15, checkpoint=path)
    taken = list(steps)
    assert taken[-1].progress == 1
    assert taken[-1].seconds >= 0.15
    assert all(step.progress < 1 for step in taken[:-1])
    (again,) = points_run(seconds=0.15, checkpoint=path)[1]
    assert (again.step, again.seconds) == (taken[-1].step, taken[-1].seconds)


def test_the_loss_is_computed_with_the_compiled_network():
    seen = []

    def compile(model):
        seen.append(model)
        return lambda x_t, t: 0 * model(x_t, t)  # any other network will do

    model, steps = points_run(steps=2, compile=compile)
    losses, _, _ = finish(steps)
    assert seen == [model]
    assert losses == pytest.approx([1, 1], abs=0.3)  # of answering 0: the variance of the noise


def model_run(predicts="noise", schedule=SCHEDULE, batch_size=32, **options):
    """A short run of a diffusion model for points, by its own loss; the run and the model."""
    torch.manual_seed(100)
    model = DiffusionModel(MLP(width=16, layers=1), schedule, PREDICTIONS[predicts])
    x, _ = moons(256, torch.Generator().manual_seed(0))
    return model, train(
        model,
        lambda model, batch, g: model.loss(batch[0], g),
        shuffled(x, batch_size=batch_size),
        compute=CPU,
        **options,
    )


def test_the_loss_of_a_diffusion_model_too_is_computed_with_the_compiled_network():
    """The model's own method calls the network within; a compiled whole would be passed by."""
    calls = []

    def compile(network):
        def compiled(x_t, t):
            calls.append(network)
            return network(x_t, t)

        return compiled

    model, steps = model_run(steps=3, compile=compile)
    assert finish(steps)[0] == finish(model_run(steps=3)[1])[0]
    assert calls == [model.network] * 3


class Recorder(MuonAdamW):
    """An optimiser that remembers the factors of its learning rate."""

    def __init__(self, model):
        super().__init__(model)
        self.factors = []

    def step(self, factor):
        self.factors.append(factor)
        self.rates = [o.param_groups[0]["lr"] for o in self.optimizers]
        super().step(factor)


def factors(steps, warmup):
    kept = []

    def optimizer(model):
        kept.append(Recorder(model))
        return kept[0]

    list(points_run(steps=steps, warmup=warmup, optimizer=optimizer)[1])
    return kept[0].factors


def test_the_learning_rate_rises_and_then_falls_in_a_line():
    assert factors(10, 4) == pytest.approx(
        [0.25 * 1, 0.5 * 0.9, 0.75 * 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]
    )


def test_a_warmup_of_0_is_none():
    assert factors(4, 0) == pytest.approx([1, 0.75, 0.5, 0.25])


def test_the_factor_multiplies_every_learning_rate(monkeypatch):
    """Of every group of every optimiser, and for the step alone: the next run begins anew."""
    model = MLP(width=16, layers=1)
    first, *others = model.parameters()
    groups = [{"params": [first], "lr": 0.5}, {"params": others}]
    update = Optimizers(torch.optim.SGD(groups, lr=0.25))
    seen = []

    def rates(optimizer):
        return [group["lr"] for group in optimizer.param_groups]

    monkeypatch.setattr(torch.optim.SGD, "step", lambda self: seen.append(rates(self)))
    for factor in (0.5, 0.25):
        update.step(factor)
        assert rates(update.optimizers[0]) == [0.5, 0.25]
    assert seen == [[0.25, 0.125], [0.125, 0.0625]]


# What is refused


@pytest.mark.parametrize("budget", [{}, {"steps": 3, "seconds": 3.0}])
def test_exactly_one_of_steps_and_seconds_is_asked_for(budget):
    with pytest.raises(ValueError, match="either steps or seconds"):
        next(points_run(**budget)[1])


@given(st.floats(max_value=0) | st.sampled_from([math.nan, math.inf]))
def test_a_budget_that_is_no_budget_is_refused(budget):
    with pytest.raises(ValueError, match="seconds must be"):
        next(points_run(seconds=budget)[1])


@pytest.mark.parametrize(
    ("option", "error"),
    [
        ({"steps": 0}, ValueError),
        ({"steps": 2.5}, TypeError),
        ({"seconds": "3"}, TypeError),
        ({"warmup": -1}, ValueError),
        ({"seed": -1}, ValueError),
        ({"seed": 0.5}, TypeError),
        ({"save_every": 0}, ValueError),
        ({"identity": "the same run"}, TypeError),
    ],
)
def test_an_option_that_is_none_is_refused_by_its_name(option, error):
    budget = {} if "seconds" in option else {"steps": 3}
    with pytest.raises(error, match=f"{next(iter(option))} must"):
        next(points_run(**budget | option)[1])


def failing_run(**options):
    def loss(model, batch, generator):
        return model(batch[0], 1).mean() * math.nan

    batches = shuffled(torch.zeros(8, 2), batch_size=4)
    return train(MLP(width=16, layers=1), loss, batches, compute=CPU, **options)


def test_a_loss_that_is_no_number_is_told_at_once():
    run = failing_run(steps=1000)
    for _ in range(2):  # and again, to whoever runs the same loop once more
        with pytest.raises(FloatingPointError, match="the loss is nan at step 1:"):
            list(run)


def test_a_short_run_whose_loss_is_no_number_does_not_end_as_if_it_had_worked():
    with pytest.raises(FloatingPointError, match="the loss is nan at step"):
        list(failing_run(steps=30))


def test_a_state_that_is_no_number_is_not_saved(tmp_path):
    with pytest.raises(FloatingPointError, match="the loss is nan at step"):
        list(failing_run(steps=30, checkpoint=tmp_path / "state", save_every=10))
    assert not (tmp_path / "state").exists()


# Damaged checkpoints


@pytest.fixture(scope="module")
def whole_file(tmp_path_factory):
    """A checkpoint three steps into a run of five."""
    path = tmp_path_factory.mktemp("whole") / "state"
    steps = points_run(steps=5, checkpoint=path, save_every=3)[1]
    next(itertools.islice(steps, 2, None))
    return path.read_bytes()


def refused(path, run=points_run, match=None):
    with pytest.raises(ValueError, match=match) as caught:
        next(run(steps=5, checkpoint=path)[1])
    assert str(path) in str(caught.value)
    words = str(caught.value)
    assert "choose another" in words
    assert ("delete" in words) == ("not a whole" in words)  # what is whole is not to be deleted


def test_a_checkpoint_that_is_whole_is_taken(whole_file, tmp_path):
    (tmp_path / "state").write_bytes(whole_file)
    assert finish(points_run(steps=5, checkpoint=tmp_path / "state")[1])[1] == [4, 5]


@pytest.mark.parametrize("kept", [0, 4, 100, 0.5, 0.999], ids=str)
def test_a_truncated_checkpoint_is_refused(kept, whole_file, tmp_path):
    path = tmp_path / "state"
    path.write_bytes(whole_file[: kept if isinstance(kept, int) else int(kept * len(whole_file))])
    refused(path, match="not a whole training state")


def test_a_file_that_is_something_else_is_refused(tmp_path):
    (tmp_path / "state").write_text("{}\n" * 100)
    refused(tmp_path / "state", match="not a whole training state")


def flipped(content, place):
    return content[:place] + bytes([content[place] ^ 0x04]) + content[place + 1 :]


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_checkpoint_with_a_changed_number_is_refused(share, whole_file, tmp_path):
    header = 8 + int.from_bytes(whole_file[:8], "little")
    place = header + int(share * (len(whole_file) - header))
    (tmp_path / "state").write_bytes(flipped(whole_file, place))
    refused(tmp_path / "state")


def test_a_checkpoint_with_a_changed_byte_in_its_header_is_refused(whole_file, tmp_path):
    """Names, shapes, the step number: every 37th byte of the header in turn."""
    header = 8 + int.from_bytes(whole_file[:8], "little")
    taken = []
    for place in range(0, header, 37):
        path = tmp_path / f"byte-{place}"
        path.write_bytes(flipped(whole_file, place))
        try:
            next(points_run(steps=5, checkpoint=path)[1], None)
            taken.append((place, "taken"))
        except ValueError as error:
            if str(path) not in str(error):
                taken.append((place, repr(error)))
        except Exception as error:
            taken.append((place, repr(error)))
    assert taken == []


def test_a_checkpoint_of_another_network_is_refused(whole_file, tmp_path):
    (tmp_path / "state").write_bytes(whole_file)
    refused(tmp_path / "state", run=pictures_run, match="another network")

    def wider_run(checkpoint, steps):
        model = MLP(width=24, layers=2)
        batches = shuffled(torch.zeros(8, 2), batch_size=4)
        loss = partial(noise_prediction_loss, schedule=SCHEDULE)
        return model, train(model, loss, batches, steps=steps, checkpoint=checkpoint, compute=CPU)

    refused(tmp_path / "state", run=wider_run, match="another network")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"predicts": "v"}, "another prediction: 'noise', not 'v'"),
        ({"schedule": cosine_schedule(100)}, "another schedule: .*'linear'.*, not .*'cosine'"),
        ({"schedule": linear_schedule(50)}, "another schedule: .*'T': 100.*, not .*'T': 50"),
        ({"batch_size": 16}, "another choice of batches: .*32.*, not .*16"),
    ],
    ids=["prediction", "schedule", "T", "batch size"],
)
def test_a_checkpoint_of_another_kind_of_training_is_refused_and_named(change, words, tmp_path):
    path = tmp_path / "state"
    finish(model_run(steps=2, checkpoint=path)[1])
    assert finish(model_run(steps=3, checkpoint=path)[1])[1] == [3]
    refused(path, run=partial(model_run, **change), match=words)


# The progress bar


def test_watch_yields_the_same_steps():
    plain, watched = finish(points_run(steps=8)[1]), finish(watch(points_run(steps=8)[1]))
    assert plain[:2] == watched[:2]


@pytest.mark.slow
def test_the_bar_moves_fifty_times_however_long_the_training(bar_moves):
    finish(watch(points_run(steps=500)[1]))
    assert 50 <= bar_moves() < 60


# Where a checkpoint says to run


def rewritten(path, **metadata):
    """The same state, as another machine would have written it."""
    known, tensors = read_state(path)
    known = {key: value for key, value in known.items() if key != "sha256"} | metadata
    known["sha256"] = states._checksum(tensors, known)
    save_file(tensors, path, metadata={"training": json.dumps(known)})


ELSEWHERE = {"processor": "another", "gpu": None}


@pytest.mark.parametrize(
    "there",
    [
        {"compute": CPU.as_dict() | {"device": "mps"}},
        {"compute": CPU.as_dict() | {"device": "cuda"}},
        {"compute": CPU.as_dict() | {"threads": 4096}},
        {"compute": CPU.as_dict() | {"dtype": "int3"}},
        {"compute": CPU.as_dict() | {"dtype": "bfloat16"}, "machine": ELSEWHERE},
    ],
    ids=["mps", "cuda", "threads", "unknown", "another machine"],
)
@pytest.mark.parametrize("steps", [2, 3])
def test_a_state_of_another_machine_goes_on_as_is_quick_here(there, steps, tmp_path, monkeypatch):
    if torch.cuda.is_available() or torch.backends.mps.is_available():
        pytest.skip("this machine has them")
    monkeypatch.setattr(compute, "fastest", lambda: CPU)
    path = tmp_path / "state"
    finish(points_run(steps=2, checkpoint=path)[1])
    rewritten(path, **there)
    loss = partial(noise_prediction_loss, schedule=SCHEDULE)
    batches = shuffled(torch.zeros(256, 2), batch_size=32)  # as many as before

    def point_loss(model, batch, g):
        return loss(model, batch[0], generator=g)

    run = train(MLP(width=16, layers=2), point_loss, batches, steps=steps, checkpoint=path)
    assert [step.step for step in run] == [steps]
    if steps == 3:
        state = read_state(path)[0]
        assert state["compute"] == CPU.as_dict()
        assert [part["from"] for part in state["history"]] == [0, 2]
        assert [part["steps"] for part in state["history"]] == [2, 3]


def test_a_states_history_says_how_each_part_was_trained(tmp_path):
    """By its last budget alone, in which the learning rate falls once, nobody could repeat it."""
    path = tmp_path / "state"
    finish(points_run(steps=4, checkpoint=path)[1])
    for _ in range(2):  # what is finished is not gone on with
        finish(points_run(steps=4, checkpoint=path)[1])
    assert [part["steps"] for part in read_state(path)[0]["history"]] == [4]
    _, run = points_run(steps=9, checkpoint=path, save_every=1)
    next(run)
    next(run)
    finish(points_run(steps=9, checkpoint=path)[1])  # and this is the same run
    history = read_state(path)[0]["history"]
    assert [(part["from"], part["steps"]) for part in history] == [(0, 4), (4, 9)]
    assert history[0]["compute"] == CPU.as_dict()


@pytest.mark.parametrize(
    "identity",
    [
        {"sizes": (1, 2)},
        {"path": Path("x"), "nested": {"deep": [Path("y")]}},
        {"share": np.float32(0.5), "count": np.int64(3), "t": torch.tensor([1, 2])},
        {"nan": math.nan, 3: None},
    ],
    ids=["tuple", "paths", "numbers", "others"],
)
def test_an_identity_is_known_again(identity, tmp_path):
    path = tmp_path / "state"
    finish(points_run(steps=2, checkpoint=path, identity=identity)[1])
    assert finish(points_run(steps=3, checkpoint=path, identity=identity)[1])[1] == [3]
    with pytest.raises(ValueError, match="another identity"):
        points_run(steps=4, checkpoint=path, identity={**identity, "more": 1})


def test_an_identity_that_cannot_be_written_down_is_refused_before_the_first_step():
    with pytest.raises(TypeError, match=r"identity must hold text, .* got a set"):
        points_run(steps=2, identity={"kinds": {"a", "b"}})


def test_a_resumed_run_computes_as_the_checkpoint_says(tmp_path):
    path = tmp_path / "state"
    finish(points_run(steps=2, checkpoint=path)[1])

    def loss(model, batch, generator):
        seen.append(torch.is_autocast_enabled("cpu"))
        return noise_prediction_loss(model, batch[0], SCHEDULE, generator)

    seen: list[bool] = []
    batches = shuffled(torch.zeros(256, 2), batch_size=32)  # as many as before
    run = train(MLP(width=16, layers=2), loss, batches, steps=3, checkpoint=path)
    assert [step.step for step in run] == [3]
    assert seen == [False]  # float32, whatever would be measured fastest here


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_a_choice_of_compute_survives_being_written_down(dtype, memory_format):
    choice = Compute(torch.device("cpu"), dtype, memory_format)
    assert Compute.from_dict(choice.as_dict()) == choice


def test_plain_adamw_is_torchs():
    torch.manual_seed(0)
    ours, theirs = nn.Linear(3, 2), nn.Linear(3, 2)
    theirs.load_state_dict(ours.state_dict())
    update = adamw(1e-2)(ours)
    reference = torch.optim.AdamW(theirs.parameters(), 1e-2, (0.9, 0.99), weight_decay=0.0)
    for _ in range(3):
        x = torch.randn(4, 3)
        for net, step in ((ours, lambda: update.step(1.0)), (theirs, reference.step)):
            net.zero_grad()
            net(x).square().mean().backward()
            step()
    torch.testing.assert_close(ours.weight, theirs.weight)
