"""The Gaussians of a diffusion process: identities in float64, for strides of every length."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Normal
from torch.distributions import kl_divergence as torch_kl

from diffusion_lessons.math.gaussian import (
    Gaussian,
    discretized_log_likelihood,
    forward,
    forward_variance,
    kl_divergence,
    noise_to_x0,
    posterior,
    posterior_variance,
    randn_like,
    x0_to_noise,
)
from diffusion_lessons.math.schedule import linear_schedule

EXACT = {"rtol": 1e-10, "atol": 1e-10}
SAME = {"rtol": 0, "atol": 0}


def strides(schedule):
    """Pairs s < t with s > 0: one step, a few, nearly all."""
    T = schedule.T
    return sorted({(1, 2), (1, T), (T - 1, T), (T // 2, T // 2 + 1), (T // 4, T // 2 + 1)})


def picture(generator, *shape, dtype=torch.float64):
    return torch.randn(*shape, generator=generator, dtype=dtype)


# The forward process


def test_forward_from_0_is_equation_4(schedule, generator):
    """DDPM eq. 4: q(x_t | x_0) = N(sqrt(alpha_bar_t) x_0, 1 - alpha_bar_t)."""
    x_0 = picture(generator, 3, 1, 4, 4)
    for t in (1, schedule.T // 2, schedule.T):
        a_t = schedule.alpha_bar[t]
        q = forward(x_0, 0, t, schedule)
        torch.testing.assert_close(q.mean, a_t.sqrt() * x_0, **EXACT)
        torch.testing.assert_close(q.std**2, 1 - a_t, **EXACT)


def test_forward_by_one_step_is_equation_2(schedule, generator):
    """DDPM eq. 2: q(x_t | x_{t-1}) = N(sqrt(1 - beta_t) x_{t-1}, beta_t)."""
    x = picture(generator, 3, 2)
    for t in (1, 2, schedule.T):
        q = forward(x, t - 1, t, schedule)
        torch.testing.assert_close(q.mean, (1 - schedule.beta[t]).sqrt() * x, **EXACT)
        torch.testing.assert_close(q.std**2, schedule.beta[t], **EXACT)


def test_two_steps_of_forward_are_one_long_step(schedule, generator):
    x_0 = picture(generator, 3, 2)
    for s, t in strides(schedule):
        q_s, q_t = forward(x_0, 0, s, schedule), forward(x_0, 0, t, schedule)
        q_ts = forward(q_s.mean, s, t, schedule)  # the mean goes through the second step
        kept = forward(torch.ones(1, 1, dtype=torch.float64), s, t, schedule).mean.squeeze()
        torch.testing.assert_close(q_ts.mean, q_t.mean, **EXACT)
        torch.testing.assert_close((kept * q_s.std) ** 2 + q_ts.std**2, q_t.std**2, **EXACT)


# The posterior


def test_posterior_is_bayes_rule(schedule, generator):
    """q(x_s | x_t, x_0) = q(x_s | x_0) q(x_t | x_s) / q(x_t | x_0), at random points."""
    x_0 = picture(generator, 5, 3)
    for s, t in strides(schedule):
        x_s = forward(x_0, 0, s, schedule).sample(generator)
        x_t = forward(x_s, s, t, schedule).sample(generator)
        expected = (
            forward(x_0, 0, s, schedule).log_prob(x_s)
            + forward(x_s, s, t, schedule).log_prob(x_t)
            - forward(x_0, 0, t, schedule).log_prob(x_t)
        )
        found = posterior(x_t, x_0, t, s, schedule).log_prob(x_s)
        torch.testing.assert_close(found, expected, **EXACT)


def test_posterior_by_one_step_is_equation_7(schedule, generator):
    """DDPM eq. 6-7, with the paper's own letters."""
    x_t, x_0 = picture(generator, 4, 2), picture(generator, 4, 2)
    beta, alpha_bar = schedule.beta, schedule.alpha_bar
    alpha = 1 - beta
    for t in (1, 2, schedule.T // 2, schedule.T):
        mean = (
            alpha_bar[t - 1].sqrt() * beta[t] / (1 - alpha_bar[t]) * x_0
            + alpha[t].sqrt() * (1 - alpha_bar[t - 1]) / (1 - alpha_bar[t]) * x_t
        )
        beta_tilde = (1 - alpha_bar[t - 1]) / (1 - alpha_bar[t]) * beta[t]
        q = posterior(x_t, x_0, t, t - 1, schedule)
        torch.testing.assert_close(q.mean, mean, **EXACT)
        torch.testing.assert_close(q.std**2, beta_tilde, **EXACT)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_posterior_at_0_is_x_0_itself(schedule, generator, dtype):
    x_t, x_0 = picture(generator, 3, 2, dtype=dtype), picture(generator, 3, 2, dtype=dtype)
    for t in (1, 2, schedule.T):
        q = posterior(x_t, x_0, t, 0, schedule)
        torch.testing.assert_close(q.mean, x_0, **SAME)
        assert q.std == 0
        torch.testing.assert_close(q.sample(generator), x_0, **SAME)


def test_the_two_variances_bracket_the_truth(schedule):
    """beta_tilde < beta (DDPM section 3.2), and beta gives no noise in the step to s = 0."""
    a = schedule.alpha_bar
    for s, t in strides(schedule):
        assert posterior_variance(a[t], a[s]) < forward_variance(a[t], a[s])
        assert forward_variance(a[t], a[s]) == 1 - a[t] / a[s]
    assert forward_variance(a[1], a[0]) == 0
    assert posterior_variance(a[1], a[0]) == 0


# Clean picture and noise


def test_noise_and_clean_picture_can_be_exchanged(schedule, generator):
    x_0, noise = picture(generator, 3, 1, 2, 2), picture(generator, 3, 1, 2, 2)
    for t in (1, schedule.T // 2, schedule.T - 1):
        q = forward(x_0, 0, t, schedule)
        x_t = q.mean + q.std * noise
        # At high noise x_0 is a small part of x_t: its error is rounding / sqrt(alpha_bar).
        tolerance = 1e-14 / schedule.alpha_bar[t].sqrt().item() + 1e-12
        found = noise_to_x0(x_t, noise, t, schedule)
        torch.testing.assert_close(found, x_0, rtol=0, atol=tolerance)
        torch.testing.assert_close(x0_to_noise(x_t, x_0, t, schedule), noise, **EXACT)
        torch.testing.assert_close(x0_to_noise(x_t, found, t, schedule), noise, **EXACT)


def test_at_time_0_the_picture_is_clean_whatever_the_noise(schedule, generator):
    x, noise = picture(generator, 2, 2), picture(generator, 2, 2)
    torch.testing.assert_close(noise_to_x0(x, noise, 0, schedule), x, **SAME)


@pytest.mark.parametrize("t", [0, torch.tensor([3, 0])], ids=["int", "tensor"])
def test_no_noise_can_be_read_off_clean_data(t):
    x = torch.zeros(2, 2)
    with pytest.raises(ValueError, match="holds no noise"):
        x0_to_noise(x, x, t, linear_schedule(10))


# Densities, against torch.distributions


def test_log_prob_is_that_of_torch(generator):
    mean, x = picture(generator, 3, 2, 4), picture(generator, 3, 2, 4)
    for std in (torch.tensor(0.3), torch.rand(3, 1, 1, generator=generator) + 0.1):
        std = std.double()
        expected = Normal(mean, std).log_prob(x).sum((1, 2))
        torch.testing.assert_close(Gaussian(mean, std).log_prob(x), expected, **EXACT)


def test_kl_divergence_is_that_of_torch(generator):
    mean_p, mean_q = picture(generator, 3, 5), picture(generator, 3, 5)
    std_p, std_q = (torch.rand(3, 1, generator=generator).double() + 0.1 for _ in range(2))
    expected = torch_kl(Normal(mean_p, std_p), Normal(mean_q, std_q)).sum(1)
    found = kl_divergence(Gaussian(mean_p, std_p), Gaussian(mean_q, std_q))
    torch.testing.assert_close(found, expected, **EXACT)


def test_kl_divergence_from_itself_is_0(generator):
    p = Gaussian(picture(generator, 3, 5), torch.tensor(0.7, dtype=torch.float64))
    torch.testing.assert_close(kl_divergence(p, p), torch.zeros(3).double(), **SAME)


def test_a_sample_has_the_mean_and_the_standard_deviation(generator):
    x = Gaussian(torch.full((1, 100_000), 3.0), torch.tensor(0.5)).sample(generator)
    assert x.mean().item() == pytest.approx(3, abs=0.01)
    assert x.std().item() == pytest.approx(0.5, abs=0.01)


def test_a_sample_is_repeated_by_its_generator():
    p = Gaussian(torch.zeros(2, 3), torch.tensor(1.0))
    first, second = (p.sample(torch.Generator().manual_seed(7)) for _ in range(2))
    torch.testing.assert_close(first, second, **SAME)
    x = torch.zeros(2, 3, dtype=torch.float64)
    assert randn_like(x).dtype == torch.float64


# Eight-bit likelihood (DDPM eq. 13)

LEVELS = torch.arange(256, dtype=torch.float64)[:, None] / 127.5 - 1  # [256, 1]


@pytest.mark.parametrize("mean", [-1.2, -1.0, 0.003, 0.98])
@pytest.mark.parametrize("std", [0.002, 0.1, 1.0])
def test_discretized_probabilities_of_all_values_sum_to_one(mean, std):
    decoder = Gaussian(torch.full_like(LEVELS, mean), torch.tensor(std, dtype=torch.float64))
    total = discretized_log_likelihood(LEVELS, decoder).exp().sum()
    assert total.item() == pytest.approx(1, abs=1e-9)  # log(0) is kept at log(1e-12)


def test_discretized_probability_is_the_mass_of_a_bin():
    mean, std = 0.1, 0.3
    p = Normal(torch.tensor(mean, dtype=torch.float64), torch.tensor(std, dtype=torch.float64))
    upper, lower = p.cdf(LEVELS + 1 / 255), p.cdf(LEVELS - 1 / 255)
    upper[-1], lower[0] = 1, 0  # the outermost bins reach to infinity
    found = discretized_log_likelihood(LEVELS, Gaussian(torch.full_like(LEVELS, mean), p.scale))
    torch.testing.assert_close(found, (upper - lower).log().squeeze(1), rtol=1e-9, atol=1e-9)


def test_discretized_log_likelihood_adds_up_over_pixels(generator):
    x_0 = LEVELS[torch.randint(256, (12,), generator=generator)].reshape(2, 1, 2, 3)
    decoder = Gaussian(x_0 + 0.01, torch.tensor(0.05, dtype=torch.float64))
    found = discretized_log_likelihood(x_0, decoder)
    pixels = [
        discretized_log_likelihood(x.reshape(1, 1), Gaussian(x.reshape(1, 1) + 0.01, decoder.std))
        for x in x_0.flatten()
    ]
    torch.testing.assert_close(found, torch.cat(pixels).reshape(2, 6).sum(1), **EXACT)


@pytest.mark.parametrize("side", [-1, 1], ids=["below the mean", "above the mean"])
@pytest.mark.parametrize("z", [3, 5, 6])
def test_discretized_log_likelihood_in_float32_is_right_in_both_tails(z, side):
    """The mass of a bin z standard deviations off is 1e-3 (z = 3) to 1e-9 (z = 6): the difference
    of two numbers near 0, or near 1 and then lost in float32, as the distribution function goes."""
    x_0, std = torch.tensor([[1 / 255]]), torch.tensor(0.02)
    mean = x_0 - side * z * std
    # The bin in units of the standard deviation, mirrored to above the mean, where erfc is small.
    gap = (x_0 - mean).abs().double()
    near, far = ((gap + edge / 255) / std.double() / math.sqrt(2) for edge in (-1, 1))
    expected = (torch.erfc(near) - torch.erfc(far)).div(2).log().squeeze(1)
    found = discretized_log_likelihood(x_0, Gaussian(mean, std))
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=0)


# Batches and number formats


def test_a_batch_of_different_times_is_the_same_as_one_at_a_time(schedule, generator):
    s, t = (torch.tensor(times) for times in zip(*strides(schedule), strict=True))
    x, x_0 = picture(generator, len(t), 1, 2, 2), picture(generator, len(t), 1, 2, 2)
    together = {
        "forward": forward(x, s, t, schedule),
        "posterior": posterior(x, x_0, t, s, schedule),
    }
    noise, clean = x0_to_noise(x, x_0, t, schedule), noise_to_x0(x, x_0, t, schedule)
    for i in range(len(t)):
        one, one_0, one_s, one_t = x[i : i + 1], x_0[i : i + 1], s[i].item(), t[i].item()
        alone = {
            "forward": forward(one, one_s, one_t, schedule),
            "posterior": posterior(one, one_0, one_t, one_s, schedule),
        }
        for name, q in together.items():
            torch.testing.assert_close(q.mean[i : i + 1], alone[name].mean, **EXACT)
            torch.testing.assert_close(q.std[i].squeeze(), alone[name].std, **EXACT)
        torch.testing.assert_close(
            noise[i : i + 1], x0_to_noise(one, one_0, one_t, schedule), **EXACT
        )
        torch.testing.assert_close(
            clean[i : i + 1], noise_to_x0(one, one_0, one_t, schedule), **EXACT
        )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("t", [2, torch.tensor([2, 3])], ids=["int", "tensor"])
def test_the_number_format_of_the_picture_is_kept(dtype, t, schedule):
    x = torch.ones(2, 3, dtype=dtype)
    for q in (forward(x, 1, t, schedule), posterior(x, x, t, 1, schedule)):
        assert q.mean.dtype == q.std.dtype == dtype
        assert q.sample().dtype == dtype
    assert noise_to_x0(x, x, t, schedule).dtype == dtype
    assert x0_to_noise(x, x, t, schedule).dtype == dtype


# Bad input


@given(st.integers(0, 10), st.integers(0, 10))
def test_times_in_the_wrong_order_are_refused(s, t):
    schedule, x = linear_schedule(10), torch.zeros(2, 1)
    s, t = max(s, t), min(s, t)
    for early, late in [(s, t), (torch.tensor([s, s]), torch.tensor([t, t]))]:
        with pytest.raises(ValueError, match="must satisfy s < t"):
            forward(x, early, late, schedule)
        with pytest.raises(ValueError, match="must satisfy s < t"):
            posterior(x, x, late, early, schedule)


def test_one_wrong_pair_in_a_batch_is_enough():
    x = torch.zeros(2, 1)
    with pytest.raises(ValueError, match="must satisfy s < t"):
        forward(x, torch.tensor([0, 5]), torch.tensor([1, 5]), linear_schedule(10))


@given(st.integers(11) | st.integers(max_value=-1) | st.just(math.pi))
def test_impossible_times_are_refused(t):
    schedule, x = linear_schedule(10), torch.zeros(2, 1)
    for call in (
        lambda: forward(x, 0, t, schedule),
        lambda: posterior(x, x, t, 0, schedule),
        lambda: noise_to_x0(x, x, t, schedule),
        lambda: x0_to_noise(x, x, t, schedule),
    ):
        with pytest.raises((ValueError, TypeError), match="t must"):
            call()
