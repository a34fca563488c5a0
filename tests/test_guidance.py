"""Guidance against worlds in which the right answer is known, and both published forms of it."""

import math
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from diffusion_lessons.math.exact import GaussianMixture
from diffusion_lessons.math.gaussian import forward_variance, x0_to_noise
from diffusion_lessons.math.guidance import (
    class_log_prob,
    classifier_free_guidance,
    classifier_guidance,
    clipped,
    log_prob_gradient,
    truncated_normal,
)
from diffusion_lessons.math.sampling import ddim_step, ddpm_step, from_noise_model, sample
from diffusion_lessons.math.schedule import NoiseSchedule, linear_schedule
from diffusion_lessons.networks.classifier import Classifier, NoisyClassifier

MIXTURE = GaussianMixture(
    torch.tensor([[-1.0, 0.2], [0.8, -0.4], [0.3, 1.0]]).double(),
    torch.tensor([0.3, 0.5, 0.2]).double(),
    torch.tensor([0.5, 0.3, 0.2]).double(),
)


def of_class(k: int, schedule: NoiseSchedule):
    """log p(class k | x_t), exactly."""
    return lambda x_t, t: MIXTURE.class_posterior(x_t, t, schedule)[:, k].log()


def alone(k: int) -> GaussianMixture:
    """The class k by itself: the true conditional."""
    return GaussianMixture(MIXTURE.means[[k]], MIXTURE.stds[[k]], torch.ones(1).double())


def some_points(count: int = 40) -> torch.Tensor:
    return torch.randn(count, 2, generator=torch.Generator().manual_seed(0)).double()


@pytest.mark.parametrize("k", [0, 1, 2])
def test_at_scale_1_the_exact_posterior_gives_the_exact_conditional(
    schedule: NoiseSchedule, k: int
):
    guided = classifier_guidance(MIXTURE.denoiser(schedule), of_class(k, schedule), schedule)
    for t in {1, schedule.T // 2, schedule.T}:
        x_t = some_points()
        wanted = alone(k).denoise(x_t, t, schedule)
        # The factor (1 - a) / sqrt(a) enlarges rounding at the noisy end.
        torch.testing.assert_close(guided(x_t, t), wanted, atol=1e-9, rtol=1e-9)


@pytest.mark.slow
def test_guided_samples_have_the_moments_of_their_class():
    schedule = linear_schedule()
    guided = classifier_guidance(MIXTURE.denoiser(schedule), of_class(1, schedule), schedule)
    generator = torch.Generator().manual_seed(1)
    start = torch.randn(4000, 2, generator=generator).double()
    *_, last = sample(guided, start, schedule, 250, generator=generator)
    n = len(start)
    error = 0.5 / math.sqrt(n)  # of a mean of numbers with standard deviation 0.5
    assert (last.x.mean(0) - MIXTURE.means[1]).abs().max() < 5 * error
    # Strides of 4 lose a little width (lesson 03); 5 errors of a deviation are 0.028.
    assert (last.x.std(0) - 0.5).abs().max() < 0.028
    posterior = MIXTURE.class_posterior(last.x, 0, schedule).mean(0)
    own, _ = alone(1).sample(20_000, generator)
    expected = MIXTURE.class_posterior(own, 0, schedule).mean(0)
    assert (posterior - expected).abs().max() < 0.03  # where the classes overlap, as in the data


@pytest.mark.slow
def test_a_larger_scale_is_a_sharper_class():
    """More scale: surer of the class (fidelity), and narrower (diversity)."""
    schedule = linear_schedule()
    start = torch.randn(1500, 2, generator=torch.Generator().manual_seed(2)).double()
    sure, wide = [], []
    for scale in (0.0, 1.0, 4.0, 10.0):
        guided = classifier_guidance(
            MIXTURE.denoiser(schedule), of_class(1, schedule), schedule, scale
        )
        *_, last = sample(guided, start, schedule, 100, ddim_step)
        sure.append(MIXTURE.class_posterior(last.x, 0, schedule)[:, 1].mean())
        wide.append(last.x.std(0).mean())
    assert sure == sorted(sure)
    assert wide == sorted(wide, reverse=True)


def test_scale_0_is_the_denoiser_itself_and_nobody_else_is_asked(schedule: NoiseSchedule):
    def asked(x_t: torch.Tensor, t: int) -> torch.Tensor:
        raise AssertionError("its answer would not count")

    denoiser, x_t = MIXTURE.denoiser(schedule), some_points()
    for guided in (
        classifier_guidance(denoiser, asked, schedule, 0),
        classifier_free_guidance(asked, denoiser, 0),
    ):
        torch.testing.assert_close(guided(x_t, 1), denoiser(x_t, 1))


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_it_is_the_published_shift_of_the_noise(schedule: NoiseSchedule, scale: float):
    """ADM section 4.2: eps - scale sqrt(1 - alpha_bar) grad log p(y | x_t)."""
    denoiser, log_prob = MIXTURE.denoiser(schedule), of_class(2, schedule)
    guided = classifier_guidance(denoiser, log_prob, schedule, scale)
    x_t = some_points()
    for t in {1, schedule.T // 2, schedule.T}:
        gradient = log_prob_gradient(log_prob, x_t, t)
        eps = x0_to_noise(x_t, denoiser(x_t, t), t, schedule)
        shifted = eps - scale * (1 - schedule.alpha_bar[t]).sqrt() * gradient
        found = x0_to_noise(x_t, guided(x_t, t), t, schedule)
        torch.testing.assert_close(found, shifted, atol=1e-9, rtol=1e-9)


def test_it_is_the_published_shift_of_the_mean_to_first_order():
    """ADM Algorithm 1, mean + scale Sigma grad, with Sigma = beta; ours is 1 / sqrt(alpha) more."""
    schedule, scale = linear_schedule(), 2.0
    denoiser, log_prob = MIXTURE.denoiser(schedule), of_class(2, schedule)
    guided = classifier_guidance(denoiser, log_prob, schedule, scale)
    x_t = some_points()
    for t in (2, 300, 1000):
        gradient = log_prob_gradient(log_prob, x_t, t)
        plain = ddpm_step(x_t, denoiser(x_t, t), t, t - 1, schedule).mean
        shift = ddpm_step(x_t, guided(x_t, t), t, t - 1, schedule).mean - plain
        sigma = forward_variance(schedule.alpha_bar[t], schedule.alpha_bar[t - 1])  # beta
        exact = scale * sigma * gradient / (1 - sigma).sqrt()
        torch.testing.assert_close(shift, exact, atol=1e-10, rtol=1e-7)
        off = (shift - scale * sigma * gradient).norm() / shift.norm()
        assert off < sigma  # first order in beta


def test_the_gradient_is_that_of_the_formula_and_rows_are_apart():
    schedule = linear_schedule()
    x_t, t = some_points(), 400
    wanted = alone(0).score(x_t, t, schedule) - MIXTURE.score(x_t, t, schedule)
    with torch.no_grad():  # as in a sampler
        found = log_prob_gradient(of_class(0, schedule), x_t, t)
        one = log_prob_gradient(of_class(0, schedule), x_t[:1], t)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(one, wanted[:1])
    assert not found.requires_grad


def test_classifier_free_guidance_equals_classifier_guidance_where_both_are_exact(
    schedule: NoiseSchedule,
):
    """Bayes: grad log p(y | x_t) is the difference of the two scores."""
    denoiser, scale = MIXTURE.denoiser(schedule), 3.0
    free = classifier_free_guidance(alone(1).denoiser(schedule), denoiser, scale)
    with_classifier = classifier_guidance(denoiser, of_class(1, schedule), schedule, scale)
    for t in {1, schedule.T // 2}:
        x_t = some_points()
        torch.testing.assert_close(free(x_t, t), with_classifier(x_t, t), atol=1e-8, rtol=1e-8)


def test_classifier_free_guidance_is_the_paper_s_in_the_noise(schedule: NoiseSchedule):
    """Ho & Salimans eq. 6: (1 + w) eps(x, y) - w eps(x), with w = scale - 1."""
    w, t, x_t = 1.5, schedule.T // 2, some_points()
    conditional, unconditional = alone(0).denoiser(schedule), MIXTURE.denoiser(schedule)
    free = classifier_free_guidance(conditional, unconditional, 1 + w)
    eps = [x0_to_noise(x_t, f(x_t, t), t, schedule) for f in (conditional, unconditional, free)]
    torch.testing.assert_close(eps[2], (1 + w) * eps[0] - w * eps[1])
    same = classifier_free_guidance(conditional, unconditional, 1)(x_t, t)
    torch.testing.assert_close(same, conditional(x_t, t))


def test_clipped_limits_what_is_believed():
    denoiser = clipped(lambda x_t, t: 3 * x_t, 1)
    found = denoiser(torch.tensor([[-1.0, 0.2, 0.5]]), 7)
    torch.testing.assert_close(found, torch.tensor([[-1.0, 0.6, 1.0]]))
    with pytest.raises(ValueError, match="limit must be above 0, got 0"):
        clipped(denoiser, 0)


def test_a_network_guides_digits_and_sampling_stays_free_of_gradients():
    torch.manual_seed(0)
    schedule, label = linear_schedule(), torch.tensor([3, 1])
    network = NoisyClassifier(channels=8)
    denoiser = from_noise_model(lambda x_t, t: x_t, schedule)
    guide = class_log_prob(network, label)
    guided = clipped(classifier_guidance(denoiser, guide, schedule, 2.0))
    start = torch.randn(2, 1, 28, 28)
    *_, last = sample(guided, start, schedule, 4, partial(ddim_step, eta=1.0))
    assert last.x.shape == start.shape
    assert not last.x.requires_grad
    assert all(parameter.grad is None for parameter in network.parameters())
    x, t = start.double(), torch.tensor([500, 500])
    network = network.double()
    step = 1e-5 * torch.randn_like(x)
    guide = class_log_prob(network, label)
    rise = (guide(x + step, 500) - guide(x - step, 500)).sum() / 2
    torch.testing.assert_close(
        (log_prob_gradient(guide, x, 500) * step).sum(), rise, rtol=1e-5, atol=0
    )
    assert network(x, t).shape == (2, 10)


@pytest.mark.parametrize("scale", [math.nan, math.inf, -math.inf])
def test_a_scale_that_is_not_finite_is_refused(scale: float):
    schedule = linear_schedule()
    denoiser = MIXTURE.denoiser(schedule)
    with pytest.raises(ValueError, match="scale must be finite"):
        classifier_guidance(denoiser, of_class(0, schedule), schedule, scale)
    with pytest.raises(ValueError, match="scale must be finite"):
        classifier_free_guidance(denoiser, denoiser, scale)


@pytest.mark.parametrize(
    ("log_prob", "message"),
    [
        (lambda x, t: x.sum(), r"one number a row, \[4\], got \[\]"),
        (lambda x, t: x, r"one number a row, \[4\], got \[4, 2\]"),
        (lambda x, t: torch.zeros(4, requires_grad=True) * 2, "does not depend on x_t"),
        (lambda x, t: x.detach().sum(1), "must be differentiable"),
    ],
)
def test_a_wrong_log_prob_is_refused(log_prob, message: str):
    with pytest.raises(ValueError, match=message):
        log_prob_gradient(log_prob, torch.randn(4, 2), 5)


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (torch.tensor([[1, 2]]), r"label must have shape \[\] or \[2\], got \[1, 2\]"),
        (torch.tensor([1.0, 2.0]), "label must hold integers"),
        (torch.tensor([True, False]), "label must hold integers"),
        (torch.tensor([1, 2, 3]), r"label must have shape \[\] or \[2\], got \[3\]"),
        (torch.tensor([1, 10]), r"label must lie in 0\.\.9"),
        (torch.tensor([-1, 1]), r"label must lie in 0\.\.9"),
    ],
)
def test_a_wrong_label_is_refused(label: torch.Tensor, message: str):
    with pytest.raises((TypeError, ValueError), match=message):
        class_log_prob(NoisyClassifier(channels=8), label)(torch.randn(2, 1, 28, 28), 5)


def test_a_classifier_that_takes_no_time_is_refused():
    label = torch.tensor([1, 2])
    for clean in (Classifier(channels=4), nn.Linear(2, 10), lambda x_t: x_t):
        with pytest.raises(ValueError, match="takes no time, so it was made for clean pictures"):
            class_log_prob(clean, label)
    on_purpose = class_log_prob(lambda x_t, t: Classifier(channels=4)(x_t), label)
    assert on_purpose(torch.randn(2, 1, 28, 28), 5).shape == (2,)
    with pytest.raises(ValueError, match="must give logits"):
        class_log_prob(lambda x_t, t: x_t, label)(torch.randn(2, 1, 28, 28), 5)


@pytest.mark.parametrize("threshold", [0.1, 0.5, 1.0, 2.0, math.inf])
def test_truncated_noise_has_the_moments_of_a_truncated_normal(threshold: float):
    generator = torch.Generator().manual_seed(0)
    z = truncated_normal([200, 1000], threshold, generator)
    assert z.dtype == torch.float32
    assert z.abs().max() <= threshold
    density = math.exp(-(threshold**2) / 2) / math.sqrt(2 * math.pi)
    inside = math.erf(threshold / math.sqrt(2))
    edge = 2 * threshold * density / inside if math.isfinite(threshold) else 0.0
    variance = 1 - edge
    assert abs(z.mean()) < 5 * math.sqrt(variance / z.numel())
    torch.testing.assert_close(z.var().item(), variance, rtol=0.01, atol=0)


def test_truncated_noise_is_that_of_rejection():
    """The definition: draw again whatever lies beyond."""
    from scipy.stats import kstest

    generator = torch.Generator().manual_seed(3)
    drawn = torch.randn(20_000, generator=generator)
    kept = drawn[drawn.abs() <= 0.8]
    assert kstest(kept.numpy(), truncated_normal([len(kept)], 0.8, generator).numpy()).pvalue > 0.01


@given(st.one_of(st.floats(max_value=0), st.just(math.nan)))
def test_a_threshold_that_leaves_nothing_is_refused(threshold: float):
    with pytest.raises(ValueError, match="threshold must be above 0"):
        truncated_normal([2], threshold)
