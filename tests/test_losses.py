"""Consistency distillation, on data whose walks have a closed form."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from diffusion_lessons import (
    NOISE,
    X0,
    DiffusionModel,
    NoiseSchedule,
    Prediction,
    V,
    linear_schedule,
    straight_schedule,
    zero_terminal,
)
from diffusion_lessons.math.losses import consistency_loss

D = torch.float64
MEAN, STD = 0.4, 0.5  # of each number of the data


class Lines(nn.Module):
    """Guesses x_0 along a line at each time, and says it in the words of its prediction.

    With ``slope[t]`` the guess is ``MEAN + slope[t] (x_t - alpha[t] MEAN)``, times ``factor``.
    """

    def __init__(self, slope: Tensor, schedule: NoiseSchedule, prediction: Prediction = X0) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones((), dtype=D))
        self.slope, self.schedule, self.prediction = slope, schedule, prediction
        self.seen: list[tuple[Tensor, Tensor]] = []

    shape = (2,)

    def guess(self, x_t: Tensor, t: Tensor) -> Tensor:
        alpha, _ = self.schedule.at(t, x_t)
        slope = self.slope[t].view(-1, 1)
        return self.factor * (MEAN + slope * (x_t - alpha * MEAN))

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        self.seen.append((x_t, t))
        return self.prediction.from_x0(self.guess(x_t, t), x_t, t, self.schedule)


def means(schedule: NoiseSchedule) -> Tensor:
    """Slopes of the exact denoiser, E[x_0 | x_t]."""
    alpha, sigma = schedule.alpha, schedule.sigma
    return alpha * STD**2 / (alpha**2 * STD**2 + sigma**2)


def ends(schedule: NoiseSchedule, times: list[int]) -> Tensor:
    """Slopes of the end of DDIM's walk over ``times``, from each of them; elsewhere NaN.

    A step multiplies the distance from ``alpha MEAN`` by a number: what is left of the noise, and
    what is added of the guess.
    """
    slopes = torch.full((schedule.T + 1,), math.nan, dtype=D)
    slopes[0] = 1
    for s, t in pairwise(reversed(times)):
        kept = schedule.sigma[s] / schedule.sigma[t]
        guessed = (schedule.alpha[s] - kept * schedule.alpha[t]) * means(schedule)[t]
        slopes[t] = slopes[s] * (kept + guessed)
    return slopes


def model_of(slope: Tensor, schedule: NoiseSchedule, prediction: Prediction = X0) -> DiffusionModel:
    return DiffusionModel(Lines(slope, schedule, prediction), schedule, prediction)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


X_0 = MEAN + STD * torch.randn(200, 2, generator=generator(5), dtype=D)
CASES = [
    (linear_schedule(100), NOISE, V),
    (linear_schedule(100), X0, X0),
    (straight_schedule(60), V, X0),
    (zero_terminal(linear_schedule(100)), X0, V),
]


@pytest.mark.parametrize(("schedule", "said", "learnt"), CASES)
@pytest.mark.parametrize("steps", [1, 2, 12])
def test_whose_guess_is_the_end_of_the_walk_has_nothing_to_learn(
    steps: int, schedule: NoiseSchedule, said: Prediction, learnt: Prediction
) -> None:
    times = schedule.times(steps)
    teacher = model_of(means(schedule), schedule, said)
    student = model_of(ends(schedule, times), schedule, learnt)
    assert consistency_loss(student, teacher, X_0, times, generator()).item() < 1e-12
    other = consistency_loss(teacher, teacher, X_0, times, generator())
    assert other.item() > 1e-4 or steps == 1  # in one step the guess is the end


@pytest.mark.parametrize(("schedule", "said", "learnt"), CASES)
def test_the_loss_is_the_squared_distance_of_two_guesses_on_one_walk(
    schedule: NoiseSchedule, said: Prediction, learnt: Prediction
) -> None:
    """Worked out again from where the student was asked; in v an error counts more near the end."""
    times = schedule.times(7)
    slope = torch.rand(schedule.T + 1, generator=generator(1), dtype=D)
    teacher = model_of(means(schedule), schedule, said)
    student = model_of(slope, schedule, learnt)
    loss = consistency_loss(student, teacher, X_0, times, generator())
    (x_s, s), (x_t, t) = student.network.seen
    before = dict(pairwise(times))
    assert set(t.tolist()) == set(times[:-1])  # a batch meets them all
    assert [max(before[int(now)], 1) for now in t] == s.tolist()
    steps = torch.tensor([before[int(now)] for now in t])
    slopes = ends(schedule, times)
    walked = (slopes[t] / slopes[steps]).view(-1, 1) * (
        x_t - schedule.alpha[t].view(-1, 1) * MEAN
    ) + schedule.alpha[steps].view(-1, 1) * MEAN
    torch.testing.assert_close(x_s, walked, rtol=1e-8, atol=1e-8)
    with torch.no_grad():
        here, ahead = student.network.guess(x_t, t), student.network.guess(walked, s)
    end = torch.where(steps.view(-1, 1) == 0, walked, ahead)
    alpha, sigma = schedule.alpha[t].view(-1, 1), schedule.sigma[t].view(-1, 1)
    weight = ((alpha**2 + sigma**2) / sigma) ** 2 if learnt is V else torch.ones_like(sigma)
    by_hand = (weight * (here - end).square()).mean()
    assert loss.item() == pytest.approx(by_hand.item(), rel=1e-6)


def test_x_t_is_the_picture_noised() -> None:
    schedule, point = linear_schedule(100), torch.full((20_000, 2), 0.7, dtype=D)
    student = model_of(means(schedule), schedule)
    consistency_loss(student, student, point, [100, 50, 0], generator())
    x_t, t = student.network.seen[-1]
    for time in (50, 100):
        noised = x_t[t == time]
        wanted = 0.7 * float(schedule.alpha[time]), float(schedule.sigma[time])
        assert (float(noised.mean()), float(noised.std())) == pytest.approx(wanted, abs=0.02)


def test_the_gradient_flows_through_the_guess_at_t_alone() -> None:
    schedule = linear_schedule(100)
    times = schedule.times(5)
    teacher = model_of(means(schedule), schedule)
    student = model_of(0.5 * means(schedule), schedule)
    consistency_loss(student, teacher, X_0, times, generator()).backward()
    assert teacher.network.factor.grad is None
    (x_s, s), (x_t, t) = student.network.seen[-2:]
    step = torch.tensor([dict(pairwise(times))[int(now)] for now in t])
    with torch.no_grad():
        here, ahead = student.network.guess(x_t, t), student.network.guess(x_s, s)
        gap = here - torch.where(step.view(-1, 1) == 0, x_s, ahead)
        by_hand = (2 * gap * here).mean()
    assert float(student.network.factor.grad) == pytest.approx(float(by_hand), rel=1e-4)
    assert abs(by_hand) > 0.01


class Answers(nn.Module):
    """Ten classes; guesses that every number of x_0 is the same; remembers the labels."""

    shape, classes = (1, 2, 2), 10

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value, self.heard = value, []

    def forward(self, x_t: Tensor, t: Tensor, label: Tensor) -> Tensor:
        self.heard.append(label)
        return torch.full_like(x_t, self.value)


def test_pictures_are_limited_where_the_student_is_not_taught() -> None:
    """One step to 0: the teacher's guess is 3, its step ends at 1, and the student guesses 0."""
    schedule = straight_schedule(10)
    teacher, student = (DiffusionModel(Answers(value), schedule, X0) for value in (3.0, 0.0))
    x_0, label = torch.zeros(6, 1, 2, 2), torch.zeros(6, dtype=torch.int64)
    loss = consistency_loss(student, teacher, x_0, [10, 0], generator(), label)
    assert loss.item() == pytest.approx(1)


@pytest.mark.parametrize("share", [0, 0.3, 1])
def test_teacher_and_student_are_given_the_same_labels_and_none_alike(share: float) -> None:
    schedule = straight_schedule(10)
    teacher, student = (DiffusionModel(Answers(0.0), schedule, X0) for _ in range(2))
    x_0, label = torch.zeros(5000, 1, 2, 2), torch.arange(5000) % 10
    consistency_loss(student, teacher, x_0, [10, 5, 0], generator(), label, share)
    (heard,), others = teacher.network.heard, student.network.heard
    assert len(others) == 2
    assert all(torch.equal(heard, other) for other in others)
    dropped = heard == 10
    assert float(dropped.double().mean()) == pytest.approx(share, abs=0.03 * (0 < share < 1))
    assert torch.equal(heard[~dropped], label[~dropped])


@pytest.mark.parametrize("times", [[], [100], [100, 50], [50, 100, 0], [101, 0], [100, 100, 0]])
def test_times_that_are_no_walk_are_refused(times: list[int]) -> None:
    schedule = linear_schedule(100)
    model = model_of(means(schedule), schedule)
    with pytest.raises(ValueError, match="times"):
        consistency_loss(model, model, X_0, times, generator())
