"""Samplers: identities between the steps, the exact mixture as oracle, and diffusers."""

import weakref
from functools import partial
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diffusion_lessons.math.exact import GaussianMixture, ring_mixture
from diffusion_lessons.math.gaussian import forward, forward_variance, noise_to_x0, posterior
from diffusion_lessons.math.sampling import (
    Step,
    consistency_step,
    ddim_invert,
    ddim_step,
    ddpm_step,
    final,
    from_noise_model,
    sample,
    slerp,
)
from diffusion_lessons.math.schedule import (
    NoiseSchedule,
    cosine_schedule,
    linear_schedule,
    quadratic,
    vp_schedule,
)
from diffusion_lessons.networks.checkpoints import load_pretrained
from diffusion_lessons.networks.unet import UNet

EXACT = {"rtol": 1e-10, "atol": 1e-10}
SAME = {"rtol": 0, "atol": 0}


def double(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


def strides(schedule):
    """Pairs s < t, s = 0 among them: one step, a few, all."""
    T = schedule.T
    return sorted({(0, 1), (1, 2), (0, T), (1, T), (T - 1, T), (T // 4, T // 2 + 1)})


def pictures(generator, *shape):
    return torch.randn(2, *shape, generator=generator, dtype=torch.float64)  # x_t and x0_hat


# One step


def test_ddpm_step_is_the_posterior_with_the_guess_for_x_0(schedule, generator):
    x_t, x0_hat = pictures(generator, 3, 2)
    for s, t in strides(schedule):
        p, q = ddpm_step(x_t, x0_hat, t, s, schedule), posterior(x_t, x0_hat, t, s, schedule)
        torch.testing.assert_close((p.mean, p.std), (q.mean, q.std), **EXACT)


def test_ddim_with_eta_1_is_ddpm_for_any_stride(schedule, generator):
    """DDIM section 4.1, there for strides of one."""
    x_t, x0_hat = pictures(generator, 3, 2)
    for s, t in strides(schedule):
        ddpm = ddpm_step(x_t, x0_hat, t, s, schedule)
        ddim = ddim_step(x_t, x0_hat, t, s, schedule, eta=1)
        torch.testing.assert_close(ddim.mean, ddpm.mean, **EXACT)
        torch.testing.assert_close(ddim.std, ddpm.std, **EXACT)


def test_consistency_step_keeps_the_guess_alone_and_noises_it_anew(schedule, generator):
    x_t, x0_hat = pictures(generator, 3, 2)
    for s, t in strides(schedule):
        p = consistency_step(x_t, x0_hat, t, s, schedule)
        torch.testing.assert_close(p.mean, schedule.alpha[s] * x0_hat, **EXACT)
        assert float(p.std) == pytest.approx(float(schedule.sigma[s]), abs=1e-12)
        other = consistency_step(3 * x_t + 1, x0_hat, t, s, schedule)
        torch.testing.assert_close((other.mean, other.std), (p.mean, p.std), **SAME)
        if s == 0:
            assert torch.equal(p.mean, x0_hat)
            assert p.std == 0


def test_consistency_step_goes_down_and_from_guesses_of_the_pictures_shape(schedule):
    x = torch.ones(2, 3)
    with pytest.raises(ValueError, match="must have the shape of x_t"):
        consistency_step(x, x[:, :2], schedule.T, 1, schedule)
    for t, s in [(2, 2), (2, 3)]:
        with pytest.raises(ValueError, match="s < t"):
            consistency_step(x, x, t, s, schedule)


@pytest.mark.parametrize("eta", [0, 0.3, 1])
def test_ddim_keeps_the_marginals_whatever_eta(eta, schedule, generator):
    """DDIM lemma 1: x_t ~ q(x_t | x_0), sent through a step that knows x_0, is ~ q(x_s | x_0)."""
    x_0 = pictures(generator, 3, 2)[0]
    for s, t in strides(schedule):
        q_t, q_s = forward(x_0, 0, t, schedule), forward(x_0, 0, max(s, 1), schedule)
        step = ddim_step(q_t.mean, x_0, t, s, schedule, eta=eta)
        # The step is linear in x_t; its slope carries x_t's variance over.
        slope = ddim_step(q_t.mean + 1, x_0, t, s, schedule, eta=eta).mean - step.mean
        variance = slope**2 * q_t.std**2 + step.std**2
        expected_mean = q_s.mean if s else x_0
        expected_variance = q_s.std**2 if s else double(0)
        torch.testing.assert_close(step.mean, expected_mean, **EXACT)
        torch.testing.assert_close(variance, expected_variance.expand(3, 2), **EXACT)


def test_ddim_with_eta_0_keeps_the_noise(schedule, generator):
    """DDIM eq. 12 with sigma = 0: x_s has the noise that was seen in x_t, less of it."""
    noise, x_0 = pictures(generator, 3, 2)
    for s, t in strides(schedule):
        a_s, a_t = schedule.alpha_bar[s], schedule.alpha_bar[t]
        x_t = a_t.sqrt() * x_0 + (1 - a_t).sqrt() * noise
        q = ddim_step(x_t, x_0, t, s, schedule)
        torch.testing.assert_close(q.mean, a_s.sqrt() * x_0 + (1 - a_s).sqrt() * noise, **EXACT)
        assert q.std == 0


def test_every_step_to_0_is_the_guess_itself(schedule, generator):
    x_t, x0_hat = pictures(generator, 3, 2)
    large = partial(ddpm_step, variance=forward_variance)
    for step in (ddpm_step, large, ddim_step, partial(ddim_step, eta=0.5)):
        for t in (1, schedule.T):
            x_0 = step(x_t, x0_hat, t, 0, schedule).sample(generator)
            torch.testing.assert_close(x_0, x0_hat, **EXACT)


def test_forward_variance_is_beta_for_single_steps(schedule, generator):
    """DDPM section 3.2: sigma_t^2 = beta_t, the other choice, with the same mean."""
    x_t, x0_hat = pictures(generator, 3, 2)
    for t in (2, schedule.T // 2 + 1, schedule.T):
        p = ddpm_step(x_t, x0_hat, t, t - 1, schedule, variance=forward_variance)
        torch.testing.assert_close(p.std**2, schedule.beta[t], **EXACT)
        mean = ddpm_step(x_t, x0_hat, t, t - 1, schedule).mean
        torch.testing.assert_close(p.mean, mean, **SAME)


@pytest.mark.parametrize("step", [ddpm_step, ddim_step, partial(ddim_step, eta=0.5)])
def test_a_step_keeps_float32(step, schedule):
    x = torch.ones(2, 3)
    p = step(x, x, 3, 1, schedule)
    assert p.mean.dtype == p.std.dtype == torch.float32


@given(st.floats(max_value=-1e-9) | st.floats(min_value=1 + 1e-9) | st.just(float("nan")))
def test_an_eta_outside_0_to_1_is_refused(eta):
    x = torch.zeros(2, 1)
    with pytest.raises(ValueError, match=r"eta must lie in 0\.\.1"):
        ddim_step(x, x, 2, 1, linear_schedule(10), eta=eta)


@given(st.integers(0, 10), st.integers(0, 10))
def test_a_step_that_does_not_go_down_is_refused(s, t):
    x, s, t = torch.zeros(2, 1), max(s, t), min(s, t)
    for step in (ddpm_step, ddim_step):
        with pytest.raises(ValueError, match="must satisfy s < t"):
            step(x, x, t, s, linear_schedule(10))


# A noise-predicting network as a denoiser


def test_the_denoiser_of_a_noise_model_inverts_equation_4(generator):
    schedule = cosine_schedule(1000)
    noise, x_0 = pictures(generator, 3, 1, 2, 2)
    seen = []

    def model(x_t, t):
        seen.append(t)
        return noise

    q = forward(x_0, 0, 700, schedule)
    found = from_noise_model(model, schedule)(q.mean + q.std * noise, 700)
    torch.testing.assert_close(found, x_0, rtol=0, atol=1e-12)
    assert seen[0].tolist() == [700, 700, 700]  # one integer time for each picture
    assert seen[0].dtype == torch.int64


def test_clip_limits_the_guess(generator):
    schedule, x_T = cosine_schedule(1000), torch.randn(4, 1, 2, 2, generator=generator)

    def wrong(x_t, t):  # an error of 0.01 in the noise, 200 times as large in x0_hat
        return x_t + 0.01

    assert from_noise_model(wrong, schedule)(x_T, 1000).abs().max() > 100
    for clip in (1, 2.5):
        assert from_noise_model(wrong, schedule, clip=clip)(x_T, 1000).abs().max() == clip


@given(st.floats(max_value=0) | st.just(float("nan")))
def test_a_clip_not_above_0_is_refused(clip):
    with pytest.raises(ValueError, match="clip must be above 0"):
        from_noise_model(lambda x_t, t: x_t, linear_schedule(10), clip=clip)


# The loop


def shrink(x_t, t):
    return x_t / 2


def test_sample_yields_every_time_and_calls_the_network_once_a_step(generator):
    schedule, x_T = linear_schedule(1000), torch.randn(2, 3, generator=generator)
    asked = []

    def denoiser(x_t, t):
        asked.append(t)
        return x_t / 2

    steps = list(sample(denoiser, x_T, schedule, steps=8))
    assert asked == [1000, 875, 750, 625, 500, 375, 250, 125]  # T down to the first above 0
    assert [step.t for step in steps] == [*asked, 0]
    assert all(isinstance(step, Step) for step in steps)
    for step in steps[:-1]:
        torch.testing.assert_close(step.x0_hat, step.x / 2, **SAME)


def test_sample_starts_at_x_T_itself_and_ends_with_the_last_guess(schedule, generator):
    x_T = torch.randn(2, 3, generator=generator)
    first, *_, before, last = sample(shrink, x_T, schedule, steps=3)
    assert first.t == schedule.T
    assert first.x is x_T
    assert last.t == 0
    torch.testing.assert_close(last.x, before.x0_hat, **SAME)
    torch.testing.assert_close(last.x0_hat, last.x, **SAME)


def test_sample_visits_every_time_unless_told_otherwise():
    schedule = linear_schedule(30)
    found = [step.t for step in sample(shrink, torch.ones(1, 1), schedule)]
    assert found == list(range(30, -1, -1))


def test_sample_follows_the_times_it_is_given(schedule):
    times = schedule.times(4, quadratic)
    found = [step.t for step in sample(shrink, torch.ones(1, 1), schedule, times=times)]
    assert found == times
    # A walk may begin below T, at a picture that is noised only half way.
    assert [step.t for step in sample(shrink, torch.ones(1, 1), schedule, times=[2, 0])] == [2, 0]


def test_the_generator_makes_a_walk_repeatable():
    schedule, x_T = linear_schedule(100), torch.ones(2, 3)
    walks = [
        [
            step.x
            for step in sample(
                shrink, x_T, schedule, 10, generator=torch.Generator().manual_seed(seed)
            )
        ]
        for seed in (1, 1, 2)
    ]
    torch.testing.assert_close(walks[0], walks[1], **SAME)
    assert not torch.equal(walks[0][5], walks[2][5])


def test_ddim_with_eta_0_needs_no_luck():
    schedule, x_T = linear_schedule(100), torch.ones(2, 3)
    first, second = (list(sample(shrink, x_T, schedule, 10, step=ddim_step)) for _ in range(2))
    torch.testing.assert_close(first[-1].x, second[-1].x, **SAME)


def test_the_callers_gradients_stay_on_while_a_walk_is_under_way():
    weight = torch.ones(3, requires_grad=True)
    for step in sample(lambda x_t, t: weight * x_t, torch.ones(2, 3), linear_schedule(10), 3):
        assert torch.is_grad_enabled()
        assert not step.x.requires_grad
        assert not step.x0_hat.requires_grad
    with torch.no_grad():
        list(sample(shrink, torch.ones(2, 3), linear_schedule(10), 3))
        assert not torch.is_grad_enabled()


@pytest.mark.parametrize(
    "times",
    [[], [0], [10], [10, 5], [5, 10, 0], [10, 10, 0], [10, 5, 0, 0], [10, 0, -1], [11, 5, 0]],
    ids=str,
)
def test_impossible_times_are_refused_before_the_first_step(times):
    walk = sample(shrink, torch.ones(2, 3), linear_schedule(10), times=times)
    with pytest.raises(ValueError, match="times must"):
        next(walk)


def test_steps_and_times_together_are_refused():
    walk = sample(shrink, torch.ones(2, 3), linear_schedule(10), steps=2, times=[10, 5, 0])
    with pytest.raises(ValueError, match="steps or times, not both"):
        next(walk)


@given(st.integers(max_value=0) | st.integers(min_value=11))
def test_an_impossible_number_of_steps_is_refused(steps):
    with pytest.raises(ValueError, match=r"steps must lie in 1\.\.10"):
        next(sample(shrink, torch.ones(2, 3), linear_schedule(10), steps=steps))


# With the perfect denoiser


@pytest.mark.parametrize(
    ("step", "steps"),
    [(ddpm_step, 500), (partial(ddpm_step, variance=forward_variance), 500), (ddim_step, 200)],
    ids=["DDPM", "DDPM with beta", "DDIM"],
)
def test_the_exact_denoiser_gives_the_mixture_back(step, steps, generator):
    """Mode weights, means and widths within sampling error and a few percent of discretisation."""
    means = double(-1.0, -0.8, 1.0, -0.8, 0.0, 1.0).reshape(3, 2)
    mixture = GaussianMixture(means, double(0.2, 0.1, 0.15), double(0.2, 0.5, 0.3))
    schedule = linear_schedule(1000)
    x_T = torch.randn(3000, 2, generator=generator, dtype=torch.float64)
    *_, last = sample(mixture.denoiser(schedule), x_T, schedule, steps, step, generator)
    mode = torch.cdist(last.x, means).argmin(1)
    share = mode.bincount(minlength=3) / 3000
    # Three standard errors of a share, 3 sqrt(0.25 / 3000), are 0.027.
    torch.testing.assert_close(share.double(), mixture.weights, rtol=0, atol=0.03)
    for k in range(3):
        mine = last.x[mode == k]
        torch.testing.assert_close(mine.mean(0), means[k], rtol=0, atol=0.03)
        torch.testing.assert_close(mine.std(0), mixture.stds[k].expand(2), rtol=0.1, atol=0)


def sampled_std(std: float, schedule: NoiseSchedule, steps: int, step=ddpm_step) -> float:
    """The width that the exact denoiser of N(0, std^2) arrives at, without drawing a sample.

    For one Gaussian a step is linear: its slope squared carries the variance, its noise adds.
    """
    data = GaussianMixture(torch.zeros(1, 1).double(), double(std), double(1))
    one, variance = torch.ones(1, 1, dtype=torch.float64), 1.0
    times = schedule.times(steps)
    for t, s in pairwise(times):
        p = step(one, data.denoise(one, t, schedule), t, s, schedule)
        variance = (p.mean**2 * variance + p.std**2).item()
    return variance**0.5


@pytest.mark.parametrize(
    ("schedule", "steps", "width"),
    [
        (linear_schedule(1000), 1000, 0.496),
        (cosine_schedule(1000), 1000, 0.498),
        (linear_schedule(1000), 100, 0.468),
        (linear_schedule(1000), 4, 0.210),
        (cosine_schedule(1000), 4, 0.304),
        (vp_schedule(4), 4, 0.210),
    ],
    ids=["linear-1000", "cosine-1000", "linear-100", "linear-4", "cosine-4", "vp-4"],
)
def test_few_ddpm_steps_make_a_gaussian_too_narrow(schedule, steps, width):
    """Data of width 0.5 and a perfect denoiser: the Gaussian shape of p(x_s | x_t) is right only
    for small steps, and with the posterior's variance (beta_tilde) it is too narrow for large
    ones. That is why denoising diffusion GANs learn another shape."""
    assert sampled_std(0.5, schedule, steps) == pytest.approx(width, abs=5e-4)


@pytest.mark.parametrize(("steps", "width"), [(1000, 0.4985), (4, 0.218), (1, 0.0016)])
def test_few_ddim_steps_do_so_too(steps, width):
    found = sampled_std(0.5, linear_schedule(1000), steps, ddim_step)
    assert found == pytest.approx(width, abs=5e-4)


def test_the_width_without_a_sample_is_the_width_of_samples(generator):
    schedule = linear_schedule(1000)
    data = GaussianMixture(torch.zeros(1, 1), torch.tensor([0.5]), torch.ones(1))
    x_T = torch.randn(50_000, 1, generator=generator)
    *_, last = sample(data.denoiser(schedule), x_T, schedule, 4, generator=generator)
    assert last.x.std().item() == pytest.approx(sampled_std(0.5, schedule, 4), rel=0.02)


# The way up


def test_the_code_of_a_gaussian_is_the_gaussian_stretched(generator):
    """For data N(0, c^2) the ODE keeps every point at the same quantile: x_T = x_0 / c."""
    schedule = linear_schedule(1000)
    data = GaussianMixture(double(0.0, 0.0).reshape(1, 2), double(0.5), double(1))
    x_0, _ = data.sample(500, generator)
    *_, top = ddim_invert(data.denoiser(schedule), x_0, schedule, 1000, generator)
    assert top.t == 1000
    # Of the error, 0.02 is the noise of standard deviation 0.01 in x_1, stretched.
    torch.testing.assert_close(top.x, x_0 / 0.5, rtol=0.01, atol=0.08)
    assert (top.x - x_0 / 0.5).std() < 0.025


def test_up_and_down_again_errs_less_the_more_steps(generator):
    schedule, mixture = linear_schedule(1000), ring_mixture(5, std=0.2)
    denoiser = mixture.denoiser(schedule)
    x_0 = mixture.sample(200, generator)[0].double()
    errors = []
    for steps in (10, 40, 160, 640):
        *_, top = ddim_invert(denoiser, x_0, schedule, steps, generator)
        *_, again = sample(denoiser, top.x, schedule, steps, ddim_step)
        errors.append((again.x - x_0).square().mean().sqrt().item())
    assert all(more > 1.6 * fewer for more, fewer in pairwise(errors[:3]))
    assert errors[3] < 0.02  # of which the first step's own noise is 0.01


def test_the_way_up_stops_where_the_way_down_does(generator):
    schedule, calls = linear_schedule(1000), []

    def denoiser(x, t):
        calls.append(t)
        return 0.5 * x

    x_0 = torch.randn(3, 1, 4, 4, generator=generator)
    steps = list(ddim_invert(denoiser, x_0, schedule, times=[900, 500, 20, 0]))
    assert [step.t for step in steps] == [0, 1, 20, 500, 900]
    assert calls == [1, 20, 500]
    assert steps[0].x is x_0
    assert (steps[1].x - x_0).abs().max() < 0.05
    assert all(torch.equal(step.x0_hat, 0.5 * step.x) for step in steps[1:-1])


def test_a_step_up_undoes_the_step_down_if_the_noise_is_the_same(generator):
    """A denoiser that knows the noise is asked the same at both ends, so nothing is lost."""
    schedule = linear_schedule(1000)
    noise = torch.randn(4, 6, generator=generator, dtype=torch.float64)
    x_1 = torch.randn(4, 6, generator=generator, dtype=torch.float64)

    def denoiser(x_t, t):
        return noise_to_x0(x_t, noise, t, schedule)

    steps = list(ddim_invert(denoiser, x_1, schedule, 7, generator))
    down = list(sample(denoiser, steps[-1].x, schedule, 7, ddim_step))
    for up, there in zip(steps[2:], down[::-1][1:], strict=True):
        assert up.t == there.t
        torch.testing.assert_close(up.x, there.x, rtol=0, atol=1e-10)


def test_slerp_ends_at_its_ends_and_keeps_the_length(generator):
    a, b = torch.randn(2, 5, 1, 8, 8, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(slerp(a, b, 0), a)
    torch.testing.assert_close(slerp(a, b, 1), b)
    b = b * (a.flatten(1).norm(dim=1) / b.flatten(1).norm(dim=1)).view(-1, 1, 1, 1)
    for share in (0.1, 0.5, 0.8):
        between = slerp(a, b, share).flatten(1)
        torch.testing.assert_close(between.norm(dim=1), a.flatten(1).norm(dim=1))
        # It divides the angle in proportion.
        cosine = torch.cosine_similarity(between, a.flatten(1))
        whole = torch.cosine_similarity(b.flatten(1), a.flatten(1)).acos()
        torch.testing.assert_close(cosine.acos(), share * whole)


def test_slerp_of_a_right_angle_and_of_no_angle():
    a, b = double(1.0, 0.0)[None], double(0.0, 1.0)[None]
    torch.testing.assert_close(slerp(a, b, 1 / 3), double(3**0.5 / 2, 0.5)[None])
    torch.testing.assert_close(slerp(a, 3 * a, 0.5), 2 * a)
    shares = double(0.0, 0.5).view(2, 1)  # a share for each
    torch.testing.assert_close(slerp(a.expand(2, 2), b.expand(2, 2), shares)[0], a[0])


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (torch.ones(2, 3), torch.ones(2, 4), "b must have the shape of a"),
        (torch.ones(3), torch.ones(3), "a must be a batch"),
        (torch.ones(1, 3), -2 * torch.ones(1, 3), "opposite"),
    ],
)
def test_slerp_refuses_what_has_no_way_between(a, b, message):
    with pytest.raises(ValueError, match=message):
        slerp(a, b, 0.5)


# Equivalence with diffusers
#
# diffusers counts its timesteps 0..T-1: its index i is the paper's t = i + 1, and what comes
# "before 0" has alpha_bar 1. So a walk T = t_0 > ... > t_n = 0 of ours has the timesteps
# t_0 - 1, ..., t_{n-1} - 1 there. Its coefficients are float32; here they are replaced by its own
# betas' in float64, so that a full trajectory of a random network can be compared closely.

T = 1000


def random_unet():
    torch.manual_seed(0)
    model = UNet(size=8, channels=16, blocks=1, attention_resolutions=(4,)).double().eval()
    with torch.no_grad():  # the layers that start at zero would hide most of the network
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return model


def in_float64(scheduler):
    beta = torch.linspace(1e-4, 0.02, T, dtype=torch.float64)
    torch.testing.assert_close(scheduler.betas.double(), beta, rtol=1e-5, atol=0)
    scheduler.alphas_cumprod = (1 - beta).cumprod(0)
    return scheduler


@torch.no_grad()
def walk_of_diffusers(scheduler, model, x, timesteps, **options):
    xs = [x]
    for i in timesteps:
        noise = model(x, torch.full((len(x),), i + 1))  # our networks are told the paper's t
        x = scheduler.step(noise, i, x, **options).prev_sample
        xs.append(x)
    return xs


@pytest.mark.slow
def test_schedules_of_diffusers_are_ours_shifted_by_one():
    diffusers = pytest.importorskip("diffusers")
    linear = diffusers.DDPMScheduler(T, beta_start=1e-4, beta_end=0.02).alphas_cumprod
    ours = linear_schedule(T).alpha_bar[1:]
    torch.testing.assert_close(linear.double(), ours, rtol=1e-4, atol=0)
    cosine = diffusers.DDPMScheduler(T, beta_schedule="squaredcos_cap_v2").alphas_cumprod
    ours = cosine_schedule(T).alpha_bar[1:]
    torch.testing.assert_close(cosine.double(), ours, rtol=1e-3, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize("clip", [None, 1], ids=["no clip", "clip"])
@pytest.mark.parametrize("large", [False, True], ids=["beta_tilde", "beta"])
@pytest.mark.parametrize("steps", [3, 10, 25])
def test_ddpm_walks_as_in_diffusers(steps, large, clip):
    diffusers = pytest.importorskip("diffusers")
    scheduler = in_float64(
        diffusers.DDPMScheduler(
            T,
            beta_start=1e-4,
            beta_end=0.02,
            variance_type="fixed_large" if large else "fixed_small",
            clip_sample=clip is not None,
        )
    )
    schedule, model = linear_schedule(T), random_unet()
    times = [*range(T, 0, -T // steps), 0]  # a list that neither library would choose by itself
    timesteps = [t - 1 for t in times[:-1]]
    scheduler.set_timesteps(timesteps=timesteps)
    x_T = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    # Both draw one picture of noise a step, so generators of one seed give them the same noises.
    first, second = (torch.Generator().manual_seed(2) for _ in range(2))
    theirs = walk_of_diffusers(scheduler, model, x_T, timesteps, generator=first)
    step = partial(ddpm_step, variance=forward_variance) if large else ddpm_step
    denoiser = from_noise_model(model, schedule, clip)
    ours = [s.x for s in sample(denoiser, x_T, schedule, None, step, second, times)]
    if large and timesteps[-1] > 0:
        # With beta, diffusers adds noise to the finished picture when the last timestep is not
        # its 0. DDPM's algorithm 2 adds none, nor do we: leave that one out.
        ours, theirs = ours[:-1], theirs[:-1]
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("clip", [None, 1], ids=["no clip", "clip"])
@pytest.mark.parametrize("eta", [0, 0.5, 1])
@pytest.mark.parametrize("steps", [4, 10, 25])
def test_ddim_walks_as_in_diffusers(steps, eta, clip):
    diffusers = pytest.importorskip("diffusers")
    scheduler = in_float64(
        diffusers.DDIMScheduler(
            T,
            beta_start=1e-4,
            beta_end=0.02,
            timestep_spacing="trailing",  # T-1 first, as DDIM's "previous" is i - T // steps
            clip_sample=clip is not None,
        )
    )
    schedule, model = linear_schedule(T), random_unet()
    scheduler.set_timesteps(steps)
    timesteps = scheduler.timesteps.tolist()
    times = schedule.times(steps)
    assert [i + 1 for i in timesteps] == times[:-1]  # one of diffusers' spacings is ours
    x_T = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    first, second = (torch.Generator().manual_seed(2) for _ in range(2))
    # Where x0_hat is clipped, ours reads the noise off the clipped one; diffusers has a switch.
    options = {"eta": eta, "use_clipped_model_output": True, "generator": first}
    theirs = walk_of_diffusers(scheduler, model, x_T, timesteps, **options)
    denoiser = from_noise_model(model, schedule, clip)
    step = partial(ddim_step, eta=eta)
    ours = [s.x for s in sample(denoiser, x_T, schedule, steps, step, second)]
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("steps", [10, 50, 1000])
def test_the_trained_network_draws_the_digits_that_diffusers_draws(steps):
    """In float32, as people use it: diffusers with its own float32 coefficients, ours with ours."""
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.DDIMScheduler(
        T,
        beta_start=1e-4,
        beta_end=0.02,
        timestep_spacing="trailing",
        # "trailing" are T-1, T-1 - T/steps, ...: our T, T - T/steps, ... less one. "leading", its
        # default, starts at T - T/steps: from less than pure noise. And what comes before its
        # last timestep is clean, alpha_bar = 1, as our time 0.
        set_alpha_to_one=True,
        clip_sample=True,
    )
    scheduler.set_timesteps(steps)
    schedule, label = linear_schedule(T), torch.tensor([3, 8])
    network = partial(load_pretrained("digits-ddpm"), label=label)
    x_T = torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    options = {"use_clipped_model_output": True}
    theirs = walk_of_diffusers(scheduler, network, x_T, scheduler.timesteps.tolist(), **options)
    denoiser = from_noise_model(network, schedule, clip=1)
    *_, last = sample(denoiser, x_T, schedule, steps, ddim_step)
    assert last.x.std() > 0.3  # digits, not an empty page
    torch.testing.assert_close(last.x, theirs[-1], rtol=0, atol=1e-4)


# The last step alone


def test_final_keeps_the_last_step_and_forgets_the_others_as_they_come():
    alive: list[weakref.ref[torch.Tensor]] = []
    most = 0

    def denoiser(x_t, t):
        nonlocal most
        most = max(most, sum(reference() is not None for reference in alive))
        guess = 0.5 * x_t
        alive.append(weakref.ref(guess))
        return guess

    x_T, schedule = torch.ones(2, 3), linear_schedule(50)
    last = final(sample(denoiser, x_T, schedule, step=ddim_step))
    every = list(sample(lambda x_t, t: 0.5 * x_t, x_T, schedule, step=ddim_step))
    assert last.t == 0
    torch.testing.assert_close(last.x, every[-1].x, rtol=0, atol=0)
    assert len(alive) == 50
    assert most <= 2


def test_final_says_that_there_is_no_last_step():
    with pytest.raises(ValueError, match="there is no last step"):
        final(iter([]))
