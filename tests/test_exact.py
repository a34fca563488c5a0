"""The Gaussian mixture: its formulas against integration, autograd and Tweedie's formula."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diffusion_lessons.math.exact import GaussianMixture, grid_mixture, ring_mixture
from diffusion_lessons.math.gaussian import forward
from diffusion_lessons.math.schedule import linear_schedule, vp_schedule

EXACT = {"rtol": 1e-8, "atol": 1e-8}


def double(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


def line():
    """Three unequal Gaussians on a line."""
    return GaussianMixture(
        double(-1.0, 0.2, 1.5)[:, None], double(0.2, 0.4, 0.1), double(0.2, 0.5, 0.3)
    )


def plane():
    """Three unequal Gaussians in the plane."""
    means = double(-1.0, 0.5, 1.0, 1.0, 0.3, -1.2).reshape(3, 2)
    return GaussianMixture(means, double(0.2, 0.4, 0.1), double(0.2, 0.5, 0.3))


def some_times(schedule):
    return [1, schedule.T // 3 + 1, schedule.T - 1]


def noised(mixture, t, schedule, generator, n=20):
    x_0, _ = mixture.sample(n, generator)
    return forward(x_0, 0, t, schedule).sample(generator)


def test_denoiser_is_the_mean_of_the_posterior_by_integration(schedule, generator):
    """E[x_0 | x_t] = int x_0 p(x_0) q(x_t | x_0) dx_0 / int p(x_0) q(x_t | x_0) dx_0."""
    mixture = line()
    x_0 = torch.linspace(-6, 6, 40_001, dtype=torch.float64)[:, None]
    log_p = mixture.log_prob(x_0, 0, schedule)
    for t in some_times(schedule):
        x_t = noised(mixture, t, schedule, generator)
        q = forward(x_0, 0, t, schedule)
        log_q = -0.5 * ((x_t - q.mean.T) / q.std) ** 2  # [20, 40001]
        weight = (log_p + log_q).softmax(1)
        expected = weight @ x_0
        torch.testing.assert_close(mixture.denoise(x_t, t, schedule), expected, **EXACT)


@pytest.mark.parametrize("mixture", [line(), plane()], ids=["line", "plane"])
def test_score_is_the_gradient_of_log_prob(mixture, schedule, generator):
    for t in [0, *some_times(schedule)]:
        x_t = mixture.sample(20, generator)[0].requires_grad_()
        (gradient,) = torch.autograd.grad(mixture.log_prob(x_t, t, schedule).sum(), x_t)
        torch.testing.assert_close(mixture.score(x_t, t, schedule), gradient, **EXACT)


@pytest.mark.parametrize("mixture", [line(), plane()], ids=["line", "plane"])
def test_denoiser_and_score_obey_tweedies_formula(mixture, schedule, generator):
    """E[x_0 | x_t] = (x_t + (1 - alpha_bar) score) / sqrt(alpha_bar) (Efron 2011)."""
    for t in some_times(schedule):
        x_t = noised(mixture, t, schedule, generator)
        a_t = schedule.alpha_bar[t]
        expected = (x_t + (1 - a_t) * mixture.score(x_t, t, schedule)) / a_t.sqrt()
        torch.testing.assert_close(mixture.denoise(x_t, t, schedule), expected, **EXACT)


def test_density_integrates_to_one(schedule):
    x = torch.linspace(-8, 8, 20_001, dtype=torch.float64)[:, None]
    for t in [0, *some_times(schedule), schedule.T]:
        density = line().log_prob(x, t, schedule).exp()
        assert torch.trapezoid(density, x[:, 0]).item() == pytest.approx(1, abs=1e-8)


def test_class_posterior_is_bayes_rule(schedule, generator):
    """p(k | x_t) = p(k) p(x_t | k) / p(x_t); what is left of no component is pure noise."""
    mixture = plane()
    for t in [0, *some_times(schedule)]:
        x_t = noised(mixture, max(t, 1), schedule, generator)
        found = mixture.class_posterior(x_t, t, schedule)
        torch.testing.assert_close(found.sum(1), torch.ones(20, dtype=torch.float64), **EXACT)
        for k in range(3):
            alone = GaussianMixture(mixture.means[k : k + 1], mixture.stds[k : k + 1], double(1))
            likelihood = alone.log_prob(x_t, t, schedule) - mixture.log_prob(x_t, t, schedule)
            torch.testing.assert_close(found[:, k], mixture.weights[k] * likelihood.exp(), **EXACT)


def test_at_the_last_time_the_class_is_anyones_guess(generator):
    mixture, schedule = plane(), linear_schedule(1000)
    x_T = torch.randn(20, 2, generator=generator, dtype=torch.float64)
    found = mixture.class_posterior(x_T, 1000, schedule)
    torch.testing.assert_close(found, mixture.weights.expand(20, 3), rtol=0, atol=0.02)


def test_samples_have_the_mixtures_weights_means_and_widths(generator):
    mixture = plane()
    x, k = mixture.sample(50_000, generator)
    assert x.dtype == torch.float64
    for i in range(3):
        mine = x[k == i]
        assert len(mine) / len(x) == pytest.approx(mixture.weights[i].item(), abs=0.01)
        torch.testing.assert_close(mine.mean(0), mixture.means[i], rtol=0, atol=0.01)
        torch.testing.assert_close(mine.std(0), mixture.stds[i].expand(2), rtol=0.03, atol=0)


def test_samples_are_repeated_by_their_generator():
    first, second = (plane().sample(5, torch.Generator().manual_seed(3)) for _ in range(2))
    torch.testing.assert_close(first, second, rtol=0, atol=0)


def test_a_batch_of_different_times_is_the_same_as_one_at_a_time(schedule, generator):
    mixture, t = plane(), torch.tensor([0, 1, 2, schedule.T])
    x_t = torch.randn(4, 2, generator=generator, dtype=torch.float64)
    for method in (mixture.denoise, mixture.score, mixture.log_prob, mixture.class_posterior):
        alone = [method(x_t[i : i + 1], t[i].item(), schedule) for i in range(4)]
        torch.testing.assert_close(method(x_t, t, schedule), torch.cat(alone), **EXACT)


def test_at_time_0_the_denoiser_changes_nothing(schedule, generator):
    x, _ = plane().sample(10, generator)
    torch.testing.assert_close(plane().denoise(x, 0, schedule), x, **EXACT)


@pytest.mark.parametrize("t", [0, 2, 4])
def test_clean_points_are_drawn_by_bayes_rule(t, generator):
    schedule = vp_schedule(4)
    mixture = GaussianMixture(
        torch.tensor([[-1.0, 0.0], [0.5, 1.0], [1.0, -0.7]], dtype=torch.float64),
        torch.tensor([0.3, 0.1, 0.5], dtype=torch.float64),
        torch.tensor([0.5, 0.2, 0.3], dtype=torch.float64),
    )
    x_t = torch.tensor([[0.4, -0.2]], dtype=torch.float64)
    drawn = mixture.sample_x0(x_t.expand(100_000, 2), t, schedule, generator)
    # Against the data themselves, each weighted by how likely it leads to x_t.
    x_0, _ = mixture.sample(400_000, generator)
    if t == 0:
        torch.testing.assert_close(drawn, x_t.expand(100_000, 2))
        return
    weight = forward(x_0, 0, t, schedule).log_prob(x_t.expand_as(x_0))
    weight = weight.reshape(len(x_0), -1).sum(1).softmax(0)
    mean = (weight[:, None] * x_0).sum(0)
    squared = (weight[:, None] * (x_0 - mean) ** 2).sum(0)
    torch.testing.assert_close(drawn.mean(0), mean, atol=0.02, rtol=0)
    torch.testing.assert_close(drawn.var(0), squared, atol=0.02, rtol=0)


def test_denoiser_is_denoise_with_the_schedule_filled_in(schedule, generator):
    x_t = torch.randn(4, 2, generator=generator, dtype=torch.float64)
    found = plane().denoiser(schedule)(x_t, 2)
    torch.testing.assert_close(found, plane().denoise(x_t, 2, schedule), rtol=0, atol=0)


@pytest.mark.parametrize("t", [1, 10, 500, 1000])
def test_float32_agrees_with_float64(t, generator):
    mixture, schedule = plane(), linear_schedule(1000)
    single = GaussianMixture(mixture.means.float(), mixture.stds.float(), mixture.weights.float())
    x_t = noised(mixture, t, schedule, generator).float()
    found = single.denoise(x_t, t, schedule)
    assert found.dtype == torch.float32
    expected = mixture.denoise(x_t.double(), t, schedule)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5)


def test_grid_and_ring_are_centred_and_evenly_spaced():
    grid, ring = grid_mixture(side=5, spacing=0.5), ring_mixture(count=8, radius=1.0)
    assert grid.means.shape == (25, 2)
    assert ring.means.shape == (8, 2)
    for mixture in (grid, ring):
        torch.testing.assert_close(mixture.means.mean(0), torch.zeros(2), rtol=0, atol=1e-6)
        assert mixture.weights.unique().numel() == 1
    nearest = torch.cdist(grid.means, grid.means).fill_diagonal_(math.inf).min(1).values
    torch.testing.assert_close(nearest, torch.full((25,), 0.5), rtol=1e-5, atol=0)
    torch.testing.assert_close(ring.means.norm(dim=1), torch.ones(8), rtol=1e-6, atol=0)
    nearest = torch.cdist(ring.means, ring.means).fill_diagonal_(math.inf).min(1).values
    chord = torch.full((8,), 2 * math.sin(math.pi / 8))
    torch.testing.assert_close(nearest, chord, rtol=1e-5, atol=0)


# Bad input


@pytest.mark.parametrize(
    ("means", "stds", "weights"),
    [((2,), (2,), (2,)), ((2, 3), (3,), (2,)), ((2, 3), (2,), (3,)), ((2, 1), (2, 1), (2,))],
)
def test_shapes_that_disagree_are_refused(means, stds, weights):
    with pytest.raises(ValueError, match=r"means must be \[K, D\]"):
        GaussianMixture(torch.zeros(means), torch.ones(stds), torch.full(weights, 0.5))


@given(st.floats(max_value=0) | st.just(math.nan))
def test_a_standard_deviation_not_above_0_is_refused(std):
    with pytest.raises(ValueError, match="standard deviation"):
        GaussianMixture(torch.zeros(2, 1), torch.tensor([1.0, std]), torch.tensor([0.5, 0.5]))


@given(st.floats().filter(lambda w: not math.isclose(w, 0.5, abs_tol=1e-5)))
def test_weights_that_do_not_sum_to_one_are_refused(weight):
    with pytest.raises(ValueError, match="positive and sum to 1"):
        GaussianMixture(torch.zeros(2, 1), torch.ones(2), torch.tensor([0.5, weight]))


def test_negative_weights_are_refused():
    with pytest.raises(ValueError, match="positive and sum to 1"):
        GaussianMixture(torch.zeros(2, 1), torch.ones(2), torch.tensor([1.5, -0.5]))
