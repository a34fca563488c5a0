"""The samplers: order of convergence on the exact mixture, equality with diffusers, calls."""

import math
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch

from diffusion_lessons import (
    SAMPLERS,
    GaussianMixture,
    NoiseSchedule,
    ddim_step,
    ddpm_step,
    dpm_solver_2m,
    euler_step,
    from_noise_model,
    heun,
    linear_schedule,
    sample,
    straight_schedule,
    zero_terminal,
)
from diffusion_lessons.math.sampling import consistency_step
from diffusion_lessons.math.schedule import cosine_schedule, vp_schedule
from diffusion_lessons.networks.unet import UNet

D = torch.float64
MIXTURE = GaussianMixture(
    torch.tensor([[-1.0, 0.3], [0.8, -0.5]], dtype=D),
    torch.tensor([0.5, 0.7], dtype=D),
    torch.tensor([0.4, 0.6], dtype=D),
)
START = torch.randn(100, 2, generator=torch.Generator().manual_seed(0), dtype=D)
FINE = 4096


def slope(steps, errors):
    """Of the error against the number of steps, on log axes; minus it, the order."""
    return -np.polyfit(np.log(steps), np.log(errors), 1)[0]


# Order of convergence
#
# The equation is solved in sigma / alpha, which here rises by equal factors from 0.1 to 5, so that
# times even in t are even in its logarithm. All walks share the last step, from 0.1 to 0.


def geometric(variance_preserving):
    ratio = 0.1 * 50 ** (torch.arange(FINE + 1, dtype=D) / FINE)
    ratio = torch.cat([torch.zeros(1, dtype=D), ratio])
    if variance_preserving:
        return NoiseSchedule(1 / (1 + ratio**2))
    return NoiseSchedule(alpha=torch.ones_like(ratio), sigma=ratio)


def ends(sampler, schedule, steps):
    times = [1 + FINE * i // steps for i in range(steps, -1, -1)] + [0]
    x_T = START * schedule.sigma[-1]
    *_, last = sample(MIXTURE.denoiser(schedule), x_T, schedule, times=times, sampler=sampler)
    return last.x


@pytest.mark.slow
@pytest.mark.parametrize("variance_preserving", [True, False])
@pytest.mark.parametrize(("name", "order"), [("ddim", 1), ("euler", 1), ("heun", 2), ("dpm++", 2)])
def test_the_error_falls_with_the_steps_as_the_method_promises(name, order, variance_preserving):
    schedule = geometric(variance_preserving)
    truth = ends(heun, schedule, FINE)
    steps = [16, 32, 64, 128]
    errors = [
        (ends(SAMPLERS[name], schedule, n) - truth).square().mean().sqrt().item() for n in steps
    ]
    assert slope(steps, errors) == pytest.approx(order, abs=0.2)


def test_ddpm_is_of_first_order_in_the_distribution():
    """One round Gaussian: its width after a walk, worked out without a sample."""
    schedule = straight_schedule(FINE)
    one = GaussianMixture(*(torch.tensor(v, dtype=D) for v in ([[0.0]], [0.5], [1.0])))
    unit = torch.ones(1, 1, dtype=D)

    def width(steps):
        variance = torch.ones((), dtype=D)
        for t, s in pairwise(schedule.times(steps)):
            q = ddpm_step(unit, one.denoise(unit, t, schedule), t, s, schedule)
            variance = q.mean.squeeze() ** 2 * variance + q.std**2
        return variance.sqrt().item()

    steps = [64, 128, 256, 512]
    assert slope(steps, [abs(width(n) - 0.5) for n in steps]) == pytest.approx(1, abs=0.2)


# The sampler that noises anew


ONE = GaussianMixture(*(torch.tensor(v, dtype=D) for v in ([[0.4]], [0.5], [1.0])))


def moments(guess, schedule, steps):
    """Mean and deviation after a walk of `consistency`, worked out without a sample.

    ``guess(t)`` is how much of x_t - alpha_t mean is in x0_hat - mean, for one round Gaussian.
    """
    mean, variance = torch.zeros(1, 1, dtype=D), torch.ones((), dtype=D)  # of x_T
    for t, s in pairwise(schedule.times(steps)):
        slope = guess(t)
        x0_hat = 0.4 + slope * (mean - schedule.alpha[t] * 0.4)
        q = consistency_step(mean, x0_hat, t, s, schedule)
        mean, variance = q.mean, schedule.alpha[s] ** 2 * slope**2 * variance + q.std**2
    return float(mean), float(variance.sqrt())


@pytest.mark.parametrize("schedule", [straight_schedule(), zero_terminal(cosine_schedule())])
def test_consistency_with_the_ends_of_walks_draws_a_gaussian_in_any_number_of_steps(schedule):
    """The end of the walk from x_t is as many deviations from the mean as x_t itself."""

    def end(t):
        return 0.5 / (0.25 * schedule.alpha[t] ** 2 + schedule.sigma[t] ** 2).sqrt()

    for steps in (1, 2, 7, 100):
        assert moments(end, schedule, steps) == pytest.approx((0.4, 0.5), abs=1e-9)


@pytest.mark.parametrize("schedule", [straight_schedule(), zero_terminal(cosine_schedule())])
def test_consistency_with_a_denoiser_draws_too_narrow(schedule):
    """The mean of all pictures that x_t may come from is none of them."""

    def mean_of_all(t):
        slope = ONE.denoise(torch.ones(1, 1, dtype=D), t, schedule) - ONE.denoise(
            torch.zeros(1, 1, dtype=D), t, schedule
        )
        return slope.squeeze()

    for steps in (1, 2, 7, 100):
        mean, std = moments(mean_of_all, schedule, steps)
        assert mean == pytest.approx(0.4)
        assert std < 0.35
    assert moments(mean_of_all, schedule, 1)[1] == pytest.approx(0, abs=1e-9)


def test_consistency_finds_a_point_in_any_number_of_steps():
    """Then every denoiser's guess is the end of the walk."""
    schedule, point = linear_schedule(100), torch.tensor([[0.7, -2.0]], dtype=D)
    for steps in (1, 3, 100):
        walk = sample(
            lambda x, t: point.expand_as(x), START, schedule, steps, sampler=SAMPLERS["consistency"]
        )
        *_, last = walk
        torch.testing.assert_close(last.x, point.expand_as(START), rtol=0, atol=0)


# One method by another name


@pytest.mark.parametrize("schedule", [linear_schedule(), straight_schedule(), cosine_schedule()])
def test_euler_on_the_flow_is_ddim_without_noise(schedule):
    x_t, x0_hat = START, START.flip(0) / 2
    for t, s in [(1000, 700), (500, 499), (300, 0), (1, 0)]:
        ours, ddim = (step(x_t, x0_hat, t, s, schedule).mean for step in (euler_step, ddim_step))
        torch.testing.assert_close(ours, ddim, rtol=1e-11, atol=1e-11)


def test_euler_goes_along_the_velocity():
    schedule = straight_schedule(10)
    x_0, noise = START, START.flip(0)
    x_t = 0.2 * x_0 + 0.8 * noise
    by_hand = x_t + (5 - 8) / 10 * (noise - x_0)
    torch.testing.assert_close(euler_step(x_t, x_0, 8, 5, schedule).mean, by_hand)


# Equality with diffusers, on a random network


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    model = UNet(size=8, channels=16, blocks=1, attention_resolutions=(4,)).double().eval()
    with torch.no_grad():  # the layers that start at zero would hide most of the network
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return model


PICTURES = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(1), dtype=D)
BETAS = {"beta_start": 1e-4, "beta_end": 0.02}


def ours(network, sampler, times):
    denoiser = from_noise_model(network, linear_schedule())
    steps = sample(denoiser, PICTURES, linear_schedule(), times=times, sampler=sampler)
    return [step.x for step in steps]


@pytest.mark.slow
@pytest.mark.parametrize("steps", [5, 10, 20])
def test_2m_walks_as_in_diffusers(network, steps):
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.DPMSolverMultistepScheduler(
        1000, **BETAS, algorithm_type="dpmsolver++", solver_order=2, final_sigmas_type="zero"
    )
    scheduler.set_timesteps(steps)
    x, walk = PICTURES, [PICTURES]
    with torch.no_grad():
        for i in scheduler.timesteps:
            noise = network(x, torch.full((2,), int(i) + 1))  # our times are one more
            x = scheduler.step(noise, i, x).prev_sample
            walk.append(x)
    times = [int(i) + 1 for i in scheduler.timesteps] + [0]
    scale = max(float(x.abs().max()) for x in walk)
    for mine, theirs in zip(ours(network, dpm_solver_2m, times), walk, strict=True):
        torch.testing.assert_close(mine, theirs.to(D), rtol=0, atol=1e-4 * scale)


@pytest.mark.parametrize("steps", [4, 9, 20])
def test_heun_walks_as_in_diffusers(network, steps):
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.HeunDiscreteScheduler(1000, **BETAS, timestep_spacing="linspace")
    scheduler.set_timesteps(steps)
    # It wants whole times: ours are its rounded ones, and its sigmas those of the rounded.
    times = [*sorted({round(float(t)) + 1 for t in scheduler.timesteps}, reverse=True), 0]
    alpha_bar = linear_schedule().alpha_bar
    ratio = ((1 - alpha_bar) / alpha_bar).sqrt()
    twice = [times[0], *(t for t in times[1:-1] for _ in range(2))]
    scheduler.timesteps = torch.tensor([t - 1 for t in twice])
    scheduler.sigmas = torch.cat([ratio[twice], ratio[:1]])
    x = PICTURES * ratio[times[0]]  # x / alpha, as it is there but for the scale of the start
    start = x / (1 + ratio[times[0]] ** 2).sqrt()
    with torch.no_grad():
        for i in scheduler.timesteps:
            model_input = scheduler.scale_model_input(x, i)
            noise = network(model_input, torch.full((2,), int(i) + 1))
            x = scheduler.step(noise, i, x).prev_sample
    denoiser = from_noise_model(network, linear_schedule())
    *_, last = sample(denoiser, start, linear_schedule(), times=times, sampler=heun)
    torch.testing.assert_close(last.x, x.to(D), rtol=1e-4, atol=1e-4 * float(x.abs().max()))


def test_2m_is_the_papers_algorithm_in_numpy():
    """Lu et al., Algorithm 2, letter by letter, on a denoiser that is a formula."""
    schedule = vp_schedule(100)
    times = schedule.times(8)
    alpha, sigma = schedule.alpha.numpy(), schedule.sigma.numpy()
    with np.errstate(divide="ignore"):
        lam = np.log(alpha / sigma)

    def x_theta(x, t):
        return np.tanh(x) * alpha[t] + 0.1

    x = START.numpy()
    before = None
    for i in range(1, len(times) - 1):
        now, then = times[i], times[i - 1]
        h, denoised = lam[now] - lam[then], x_theta(x, then)
        drawn_out = denoised
        if before is not None:
            r = (lam[then] - lam[times[i - 2]]) / h
            drawn_out = (1 + 1 / (2 * r)) * denoised - 1 / (2 * r) * before
        x = sigma[now] / sigma[then] * x - alpha[now] * (np.exp(-h) - 1) * drawn_out
        before = denoised
    walk = list(
        sample(
            lambda x, t: torch.tensor(x_theta(x.numpy(), t)),
            START,
            schedule,
            times=times,
            sampler=dpm_solver_2m,
        )
    )
    torch.testing.assert_close(walk[-2].x, torch.tensor(x), rtol=1e-10, atol=1e-10)


# What all of them do


def end_of_walk(x, t, schedule):
    walk = dpm_solver_2m(MIXTURE.denoiser(schedule), x, schedule, range(t, -1, -1), None)
    *_, last = walk
    return last.x


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize(
    "schedule",
    [linear_schedule(100), straight_schedule(100), zero_terminal(cosine_schedule(100))],
    ids=str,
)
def test_each_draws_the_mixture_from_noise(name, schedule):
    """`consistency` with guesses that are ends of walks, all others with the means."""
    x_T = torch.randn(4000, 2, generator=torch.Generator().manual_seed(2), dtype=D)
    g = torch.Generator().manual_seed(3)
    data, _ = MIXTURE.sample(4000, torch.Generator().manual_seed(4))
    denoiser, steps = MIXTURE.denoiser(schedule), None
    if name == "consistency":
        denoiser, steps = partial(end_of_walk, schedule=schedule), 4
    *_, last = sample(denoiser, x_T, schedule, steps, generator=g, sampler=SAMPLERS[name])
    start = float(schedule.alpha[-1])  # linear in 100 steps does not quite start from noise
    torch.testing.assert_close(last.x.mean(0), data.mean(0), rtol=0, atol=0.08 + start / 2)
    torch.testing.assert_close(last.x.std(0), data.std(0), rtol=0.1, atol=0.05 + start / 2)


@pytest.mark.parametrize(
    ("name", "calls"), [("heun", 13), *((n, 7) for n in SAMPLERS if n != "heun")]
)
def test_a_walk_says_how_often_it_called_the_network(name, calls):
    schedule, asked = linear_schedule(100), []

    def denoiser(x, t):
        asked.append(t)
        return MIXTURE.denoise(x, t, schedule)

    counted = [
        (step.calls, len(asked))
        for step in sample(denoiser, START, schedule, 7, sampler=SAMPLERS[name])
    ]
    assert all(said == made for said, made in counted)
    assert counted[-1][0] == calls


@pytest.mark.parametrize("name", SAMPLERS)
def test_one_step_is_the_guess_itself(name):
    schedule = straight_schedule(50)
    x0_hat = START / 3
    *_, last = sample(lambda x, t: x0_hat, START, schedule, 1, sampler=SAMPLERS[name])
    torch.testing.assert_close(last.x, x0_hat, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_number_format_is_kept_and_no_gradient_is_taken(name):
    schedule = linear_schedule(20)
    weight = torch.ones(1, requires_grad=True)
    walk = list(
        sample(lambda x, t: weight * x / 2, START.float(), schedule, 4, sampler=SAMPLERS[name])
    )
    assert all(step.x.dtype == torch.float32 and not step.x.requires_grad for step in walk)
    assert [step.t for step in walk] == schedule.times(4)


def test_heun_refines_what_ddim_guesses():
    """From where nothing of the picture is left, the first step is DDIM's."""
    schedule = straight_schedule(10)
    denoiser = MIXTURE.denoiser(schedule)
    steps = [
        list(sample(denoiser, START, schedule, 5, sampler=s)) for s in (heun, SAMPLERS["ddim"])
    ]
    torch.testing.assert_close(steps[0][1].x, steps[1][1].x)
    assert not torch.allclose(steps[0][2].x, steps[1][2].x)


@pytest.mark.parametrize("schedule", [linear_schedule(), straight_schedule()], ids=str)
@pytest.mark.parametrize(("t", "s"), [(900, 899), (800, 400), (600, 20), (30, 1)])
def test_heun_is_ddim_with_its_guess_moved_on_towards_the_second(t, s, schedule):
    """By half of how many times the noise in proportion to the picture is more at t than at s."""
    walk = heun(MIXTURE.denoiser(schedule), START, schedule, [t, s, 0], None)
    _, at_s, _ = walk
    first = MIXTURE.denoise(START, t, schedule)
    second = MIXTURE.denoise(ddim_step(START, first, t, s, schedule).mean, s, schedule)
    ratio = schedule.sigma / schedule.alpha
    moved = first + ratio[t] / ratio[s] / 2 * (second - first)
    wanted = ddim_step(START, moved, t, s, schedule).mean
    torch.testing.assert_close(at_s.x, wanted, rtol=1e-9, atol=1e-9)


def test_an_eta_goes_in_with_partial():
    schedule, g = linear_schedule(50), torch.Generator().manual_seed(0)
    step = partial(ddim_step, eta=1.0)
    *_, last = sample(MIXTURE.denoiser(schedule), START, schedule, 10, step, g)
    assert math.isfinite(float(last.x.sum()))
