"""Noise and the picture it becomes; the recipes that learn of a teacher, and their cards."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from diffusion_lessons import (
    VELOCITY,
    DiffusionModel,
    DrawSettings,
    TrainOptions,
    TrainStep,
    V,
    final,
    sample,
    vp_schedule,
)
from diffusion_lessons.math.solvers import SAMPLERS
from diffusion_lessons.networks import checkpoints
from diffusion_lessons.networks.compute import Compute
from diffusion_lessons.networks.unet import UNet
from diffusion_lessons.training import pairs
from diffusion_lessons.training.pairs import Pairs
from diffusion_lessons.training.recipes import RECIPES

CPU = Compute(torch.device("cpu"))


def teacher_of(classes: int = 3, size: int = 8) -> DiffusionModel:
    """Small, and untrained, but no answer of its is 0."""
    torch.manual_seed(0)
    network = UNet(
        size=size, channels=8, blocks=1, attention_resolutions=(), heads=2, classes=classes
    )
    with torch.no_grad():  # the layers that start at zero would hide most of the network
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return DiffusionModel(network, vp_schedule(100), V).eval()


@pytest.fixture(autouse=True)
def small_pools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "POOL", 60)


def made(batch_size: int = 12, seed: int = 0, classes: int = 3, steps: int = 4) -> Pairs:
    return Pairs(teacher_of(classes), DrawSettings(steps), batch_size, seed, CPU)


def same(one: tuple[Tensor, ...], other: tuple[Tensor, ...]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize(("sampler", "steps"), [("ddim", 4), ("dpm++", 3)])
def test_each_picture_is_the_end_of_the_walk_from_its_noise(
    sampler: str, steps: int, classes: int
) -> None:
    teacher = teacher_of(classes)
    every = Pairs(teacher, DrawSettings(steps, sampler=sampler), 12, 7, CPU)
    picture, noise, label = every(3)
    assert picture.shape == noise.shape == (12, 1, 8, 8)
    assert set(label.tolist()) <= set(range(max(1, classes)))
    denoiser = teacher.denoiser(label if classes else None, clip=1)
    start = teacher.schedule.start_std * noise
    walk = sample(denoiser, start, teacher.schedule, steps, sampler=SAMPLERS[sampler])
    torch.testing.assert_close(final(walk).x, picture, rtol=1e-4, atol=1e-4)
    assert float(picture.std(0).mean()) > 0.01  # each noise has another
    assert float(noise.std()) == pytest.approx(1, abs=0.1)


def test_a_step_has_one_batch_whoever_asks_and_whatever_was_asked_before() -> None:
    """A run that goes on sees what it would have seen, in this pool and in the next."""
    through, again = made(), made()
    batches = [through(step) for step in range(27)]  # a pool lasts 25
    for step in (26, 3, 24, 25, 3):
        assert same(again(step), batches[step])
    assert same(made()(26), batches[26])


def test_each_pair_of_a_pool_is_used_five_times() -> None:
    every = made()
    seen = torch.cat([every(step)[1] for step in range(25)]).flatten(1)
    _, counts = seen.unique(dim=0, return_counts=True)
    assert counts.tolist() == [5] * 60
    orders = [torch.cat([every(p * 5 + i)[1] for i in range(5)]) for p in range(5)]
    assert not any(torch.equal(one, other) for one, other in pairwise(orders))


def test_pools_and_seeds_have_noise_of_their_own() -> None:
    one, next_pool, other_seed = made()(0), made()(25), made(seed=1)(0)
    for other in (next_pool, other_seed):
        assert not set(one[1].flatten().tolist()) & set(other[1].flatten().tolist())


@pytest.mark.parametrize(
    ("options", "words"),
    [({"batch_size": 0}, "batch_size"), ({"batch_size": 61}, "batch_size"), ({"seed": -1}, "seed")],
)
def test_what_fills_no_batch_is_refused(options: dict[str, int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        made(**options)
    with pytest.raises(ValueError, match="step must"):
        made()(-1)


# ------------------------------------------------------------------ the recipes

STUDENTS = ["digits-consistency", "digits-reflow"]
USUAL = {"digits-consistency": ("consistency", 2), "digits-reflow": ("euler", 2)}


@pytest.fixture(scope="module")
def teacher() -> DiffusionModel:
    return teacher_of(classes=10, size=28)


@pytest.mark.parametrize("name", STUDENTS)
def test_a_student_begins_as_its_teacher_and_leaves_it_alone(
    name: str, teacher: DiffusionModel, tmp_path: Path
) -> None:
    before = {key: value.clone() for key, value in teacher.state_dict().items()}
    options = TrainOptions(steps=3, compute=CPU)
    steps = list(RECIPES[name](options, start=teacher, walk=2, batch_size=10))
    assert all(torch.isfinite(step.loss) for step in steps)
    model = steps[-1].model
    changed = [not torch.equal(before[key], value) for key, value in model.state_dict().items()]
    assert any(changed)
    for key, value in teacher.state_dict().items():
        assert torch.equal(value, before[key])
    assert all(parameter.requires_grad for parameter in teacher.parameters())
    near = [torch.dist(before[key], value) for key, value in model.state_dict().items()]
    assert max(near) < 1  # three small updates away
    if name == "digits-reflow":
        assert (model.schedule.config["kind"], model.prediction) == ("straight", VELOCITY)
    else:
        assert model.prediction == V
        assert model.schedule.same_as(teacher.schedule)
    checkpoints.save(tmp_path / "student.safetensors", model)
    again = checkpoints.load(tmp_path / "student.safetensors")
    assert again.usual == USUAL[name]
    settings = again.settled(DrawSettings())
    assert (settings.sampler, settings.steps) == USUAL[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDENTS)
def test_a_student_that_was_interrupted_goes_on_as_if_nothing_had_happened(
    name: str, teacher: DiffusionModel, tmp_path: Path
) -> None:
    def run(**options: Any) -> Iterator[TrainStep]:
        options = {"steps": 8, "compute": CPU, **options}
        return RECIPES[name](TrainOptions(**options), start=teacher, walk=2, batch_size=30)

    whole = list(run())
    saved = {"checkpoint": tmp_path / "state.safetensors", "save_every": 3}
    stopped = run(**saved)
    for step in stopped:
        if step.step == 5:  # two steps beyond the last save
            break
    del stopped
    rest = list(run(**saved))
    assert [step.step for step in rest] == [4, 5, 6, 7, 8]
    assert [step.loss for step in rest] == [step.loss for step in whole[3:]]
    ends = (steps[-1].model.state_dict().values() for steps in (whole, rest))
    assert all(torch.equal(one, other) for one, other in zip(*ends, strict=True))


@pytest.mark.parametrize("name", STUDENTS)
def test_a_teacher_must_be_a_diffusion_model(name: str) -> None:
    with pytest.raises((TypeError, ValueError), match="start must be a DiffusionModel"):
        RECIPES[name](TrainOptions(steps=1), start=UNet(size=8, channels=8, blocks=1))


def test_reflow_learns_the_straight_line_between_the_two(teacher: DiffusionModel) -> None:
    """The first loss, before any update, is that of the teacher's answer as a velocity."""
    options = TrainOptions(steps=1, compute=CPU, seed=4)
    step = final(RECIPES["digits-reflow"](options, start=teacher, walk=2, batch_size=30))
    picture, noise, label = Pairs(teacher, DrawSettings(2), 30, 4, CPU)(0)
    schedule = step.model.schedule
    with torch.no_grad():
        lines = []
        for t in range(20, 1001, 20):
            x_t = (1 - t / 1000) * picture + t / 1000 * noise
            answer = teacher.network(x_t, torch.full((30,), t), label)
            lines.append((answer - (noise - picture)).square().mean())
    assert schedule.T == 1000
    assert float(step.loss) == pytest.approx(float(torch.stack(lines).mean()), rel=0.1)
