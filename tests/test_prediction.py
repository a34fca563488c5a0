"""One network by every name: each prediction against the exact mixture, and against each other."""

import math
from itertools import permutations

import pytest
import torch

from diffusion_lessons import (
    NOISE,
    PREDICTIONS,
    SCORE,
    VELOCITY,
    X0,
    GaussianMixture,
    V,
    convert,
    forward,
    noise_to_x0,
    prediction_loss,
    x0_to_noise,
)
from diffusion_lessons.math.schedule import (
    cosine_schedule,
    linear_schedule,
    straight_schedule,
    vp_schedule,
    zero_terminal,
)

D = torch.float64
SCHEDULES = {
    "linear": linear_schedule(),
    "cosine": cosine_schedule(),
    "vp": vp_schedule(4),
    "straight": straight_schedule(),
}
ALL = [*PREDICTIONS.values(), SCORE]
MIXTURE = GaussianMixture(
    torch.tensor([[-1.0, 0.3], [0.8, -0.5], [0.1, 1.2]], dtype=D),
    torch.tensor([0.5, 0.7, 0.2], dtype=D),
    torch.tensor([0.4, 0.35, 0.25], dtype=D),
)
CLOSE = {"rtol": 1e-10, "atol": 1e-10}


def exact(t, schedule):
    """x_t, and what the perfect network of each kind answers there, by name."""
    x_t = 2 * torch.randn(50, 2, generator=torch.Generator().manual_seed(0), dtype=D)
    score = MIXTURE.score(x_t, t, schedule)
    alpha, sigma = float(schedule.alpha[t]), float(schedule.sigma[t])
    noise = -sigma * score  # by Tweedie's formula
    x_0 = MIXTURE.denoise(x_t, t, schedule)
    return x_t, {
        "noise": noise,
        "x0": x_0,
        "v": alpha * noise - sigma * x_0,
        "velocity": noise - x_0,
        "score": score,
    }


def times(schedule):
    T = schedule.T
    last = T - (schedule.alpha[-1] == 0).item()  # at T of the straight path noise says nothing
    return sorted({1, T // 3 + 1, T // 2, last})


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize(("source", "target"), list(permutations(ALL, 2)), ids=lambda p: p.name)
def test_each_becomes_each_other_on_the_exact_mixture(source, target, name):
    schedule = SCHEDULES[name]
    for t in times(schedule):
        x_t, answers = exact(t, schedule)
        converted = convert(answers[source.name], x_t, t, schedule, source, target)
        # What the answers are rounded to is enlarged as their errors are.
        weights = [p.loss_weight(t, x_t, schedule).sqrt() for p in (target, source)]
        size = answers[source.name].abs().max()
        enlarged = float(1e-15 * size * weights[0] / weights[1])
        assert enlarged < 1e-8
        torch.testing.assert_close(
            converted, answers[target.name], rtol=1e-10, atol=max(1e-10, enlarged)
        )


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("prediction", ALL, ids=lambda p: p.name)
def test_the_target_of_a_noised_picture_gives_it_back(prediction, name):
    schedule = SCHEDULES[name]
    g = torch.Generator().manual_seed(1)
    x_0, noise = (torch.randn(4, 1, 3, 3, generator=g, dtype=D) for _ in range(2))
    t = torch.tensor([1, schedule.T // 3 + 1, schedule.T // 2, schedule.T - 1])
    q = forward(x_0, 0, t, schedule)
    x_t = q.mean + q.std * noise
    target = prediction.target(x_0, noise, t, schedule)
    torch.testing.assert_close(
        prediction.x0_hat(target, x_t, t, schedule), x_0, rtol=1e-9, atol=1e-9
    )
    torch.testing.assert_close(
        prediction.from_x0(x_0, x_t, t, schedule), target, rtol=1e-9, atol=1e-9
    )


def test_noise_is_ddpms_equation_4_solved():
    schedule, x_t, noise = linear_schedule(), torch.randn(5, 2), torch.randn(5, 2)
    for t in (1, 500, 1000):
        by_prediction = NOISE.x0_hat(noise, x_t, t, schedule)
        torch.testing.assert_close(by_prediction, noise_to_x0(x_t, noise, t, schedule))
        torch.testing.assert_close(
            NOISE.from_x0(x_t / 2, x_t, t, schedule), x0_to_noise(x_t, x_t / 2, t, schedule)
        )


def test_v_is_that_of_salimans_and_ho():
    """v = alpha noise - sigma x_0, and x_0 = alpha x_t - sigma v (their appendix D)."""
    schedule, t = cosine_schedule(), 300
    x_t, answers = exact(t, schedule)
    alpha, sigma = schedule.alpha[t], schedule.sigma[t]
    by_hand = alpha * x_t - sigma * answers["v"]
    torch.testing.assert_close(V.x0_hat(answers["v"], x_t, t, schedule), by_hand, **CLOSE)


def test_the_velocity_is_the_slope_of_the_straight_path():
    schedule = straight_schedule(1000)
    x_0, noise = torch.randn(3, 2, dtype=D), torch.randn(3, 2, dtype=D)
    path = [schedule.alpha[t] * x_0 + schedule.sigma[t] * noise for t in (399, 401)]
    slope = (path[1] - path[0]) / 0.002
    torch.testing.assert_close(VELOCITY.target(x_0, noise, 400, schedule), slope, **CLOSE)


@pytest.mark.parametrize("prediction", ALL, ids=lambda p: p.name)
@pytest.mark.parametrize("name", SCHEDULES)
def test_the_loss_weight_is_the_ratio_of_the_two_errors(prediction, name):
    schedule = SCHEDULES[name]
    for t in times(schedule):
        x_t, answers = exact(t, schedule)
        moved = answers["x0"] + 0.01
        error = prediction.from_x0(moved, x_t, t, schedule) - answers[prediction.name]
        ratio = error.square().mean() / 0.01**2
        weight = prediction.loss_weight(t, x_t, schedule)
        torch.testing.assert_close(ratio, weight, rtol=1e-6, atol=1e-9)


def test_the_loss_weights_are_those_of_the_papers():
    schedule, like = cosine_schedule(), torch.zeros(1, 1)
    for t in (1, 400, 999):
        snr = schedule.snr[t]
        ratio = schedule.alpha[t] / schedule.sigma[t]
        wanted = {"noise": snr, "x0": torch.tensor(1.0, dtype=D), "v": 1 + snr}
        wanted |= {"velocity": (1 + ratio) ** 2}
        for name, weight in wanted.items():
            torch.testing.assert_close(PREDICTIONS[name].loss_weight(t, like, schedule), weight)


@pytest.mark.parametrize("schedule", [straight_schedule(10), zero_terminal(linear_schedule(10))])
def test_at_pure_noise_x0_v_and_velocity_still_say_x_0_and_noise_does_not(schedule):
    T, x_0, noise = schedule.T, torch.ones(2, 3), torch.full((2, 3), 0.5)
    for prediction in (X0, V, VELOCITY):
        target = prediction.target(x_0, noise, T, schedule)
        torch.testing.assert_close(prediction.x0_hat(target, noise, T, schedule), x_0)
    for prediction in (NOISE, SCORE):
        with pytest.raises(ValueError, match=f"a predicted {prediction.name} there"):
            prediction.x0_hat(noise, noise, T, schedule)


def test_a_multiple_of_what_is_predicted_is_known_even_there():
    schedule, noise = straight_schedule(10), torch.full((2, 3), 0.5)
    score = convert(noise, noise, 10, schedule, NOISE, SCORE)
    torch.testing.assert_close(score, -noise)
    torch.testing.assert_close(convert(score, noise, 10, schedule, SCORE, NOISE), noise)
    for kind, t in [(NOISE, 10), (X0, 0)]:
        torch.testing.assert_close(convert(noise, noise, t, schedule, kind, kind), noise)


def test_an_error_in_noise_is_enlarged_near_T_and_one_in_v_is_not():
    schedule, x_t = cosine_schedule(), torch.zeros(1, 1, dtype=D)
    error = torch.full((1, 1), 0.01, dtype=D)
    by_noise, by_v = (p.x0_hat(error, x_t, 1000, schedule).abs().item() for p in (NOISE, V))
    assert by_noise == pytest.approx(203, rel=0.01)
    assert by_v <= 0.01


def test_the_perfect_network_of_each_kind_has_the_smallest_loss():
    """The mean of the target given x_t is what a network that errs least answers."""
    schedule = linear_schedule()
    x_0, _ = MIXTURE.sample(4000, torch.Generator().manual_seed(0))
    for prediction in PREDICTIONS.values():

        def perfect(x_t, t, kind=prediction, shift=0.0):
            x0_hat = MIXTURE.denoise(x_t, t, schedule)
            return kind.from_x0(x0_hat, x_t, t, schedule) + shift

        def loss(network, kind=prediction):
            return prediction_loss(network, x_0, schedule, kind, torch.Generator().manual_seed(1))

        best = loss(perfect)
        for shift in (-0.1, 0.1):
            worse = loss(lambda x_t, t, f=perfect, s=shift: f(x_t, t, shift=s))
            assert worse - best == pytest.approx(shift**2, rel=0.5)
        assert math.isfinite(best)


@pytest.mark.parametrize("schedule", [linear_schedule(), cosine_schedule()], ids=str)
def test_x0_weighed_by_the_signal_to_noise_ratio_is_learnt_as_noise_is(schedule):
    """|noise - noise_hat|^2 = alpha^2 / sigma^2 |x_0 - x0_hat|^2: one loss in two words."""
    x_0, _ = MIXTURE.sample(500, torch.Generator().manual_seed(0))

    def network(x_t, t):
        return x_t * 0.3 + 0.01 * t[:, None] / 1000  # some guess of x_0

    def as_noise(x_t, t):
        return NOISE.from_x0(network(x_t, t), x_t, t, schedule)

    def loss(network, kind, **options):
        generator = torch.Generator().manual_seed(1)
        return prediction_loss(network, x_0, schedule, kind, generator, **options)

    torch.testing.assert_close(loss(network, X0, weight=lambda snr: snr), loss(as_noise, NOISE))
    assert loss(network, X0, weight=torch.zeros_like) == 0
    torch.testing.assert_close(loss(network, X0, weight=torch.ones_like), loss(network, X0))
