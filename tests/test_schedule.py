"""Noise schedules: closed forms, endpoints by name, and what is refused at the door."""

import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diffusion_lessons.math.gaussian import forward, posterior
from diffusion_lessons.math.schedule import (
    NoiseSchedule,
    cosine_schedule,
    even_in_log_snr,
    linear_schedule,
    quadratic,
    schedule_from,
    straight_schedule,
    uniform,
    vp_schedule,
    zero_terminal,
)

# Endpoints


def test_time_0_is_clean_data(schedule):
    assert schedule.alpha_bar[0] == 1


def test_alpha_bar_has_one_entry_for_every_time_and_falls(schedule):
    assert schedule.alpha_bar.shape == (schedule.T + 1,)
    assert schedule.alpha_bar.dtype == torch.float64
    assert (schedule.alpha_bar.diff() < 0).all()
    assert schedule.alpha_bar[-1] > 0


@pytest.mark.parametrize("make", [linear_schedule, cosine_schedule, vp_schedule])
def test_a_schedule_of_one_step_exists(make):
    assert make(T=1).times() == [1, 0]


# Closed forms


@pytest.mark.parametrize(
    ("T", "kept"), [(1000, 0.0064), (500, 0.0797), (200, 0.3636), (50, 0.7765)]
)
def test_linear_betas_destroy_the_picture_only_with_enough_steps(T, kept):
    """sqrt(alpha_bar_T), the share of the picture left at the end, for beta 1e-4..0.02."""
    alphas = [1 - (1e-4 + (0.02 - 1e-4) * i / (T - 1)) for i in range(T)]
    by_hand = math.sqrt(math.prod(alphas))
    assert linear_schedule(T).alpha_bar[T].sqrt().item() == pytest.approx(by_hand, rel=1e-12)
    assert by_hand == pytest.approx(kept, abs=5e-5)


def test_linear_beta_runs_from_beta_1_to_beta_T():
    beta = linear_schedule(1000).beta  # DDPM, section 4
    torch.testing.assert_close(
        beta[1:], torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), rtol=0, atol=1e-14
    )


def test_cosine_is_equation_17():
    """Nichol & Dhariwal eq. 17: alpha_bar_t = f(t) / f(0), except at T where beta is capped."""
    T, offset = 1000, 0.008
    f = [math.cos((t / T + offset) / (1 + offset) * math.pi / 2) ** 2 for t in range(T + 1)]
    expected = torch.tensor(f, dtype=torch.float64) / f[0]
    schedule = cosine_schedule(T)
    torch.testing.assert_close(schedule.alpha_bar[:T], expected[:T], rtol=1e-9, atol=0)
    assert schedule.beta[T] == pytest.approx(0.999, rel=1e-9)
    assert (schedule.beta <= 0.999 + 1e-9).all()


def test_vp_with_four_steps_has_the_betas_of_the_denoising_diffusion_gan():
    """About 0.48, 0.85, 0.96, 0.99.

    The DDGAN authors' code starts its time at 0.001 instead of 0, which makes its first beta
    0.4783 where the formula gives 0.4763; the other three agree to 2e-4.
    """
    beta = vp_schedule(4).beta
    released = torch.tensor([0.4783, 0.8492, 0.9564, 0.9874], dtype=torch.float64)
    torch.testing.assert_close(beta[1:], released, rtol=0, atol=2.5e-3)
    torch.testing.assert_close(beta[2:], released[1:], rtol=0, atol=3e-4)


def test_vp_solves_its_differential_equation():
    """d log alpha_bar / du = -beta(u), the VP SDE's noise rate (Song et al. eq. 32-33)."""
    T, beta_min, beta_max = 10_000, 0.1, 20.0
    rate = -vp_schedule(T, beta_min, beta_max).alpha_bar.log().diff() * T
    middle = (torch.arange(T, dtype=torch.float64) + 0.5) / T
    torch.testing.assert_close(
        rate, beta_min + (beta_max - beta_min) * middle, rtol=1e-7, atol=1e-9
    )


# Derived numbers


def test_betas_recompose_alpha_bar(schedule):
    assert schedule.beta[0] == 0
    recomposed = torch.cumprod(1 - schedule.beta, 0)
    torch.testing.assert_close(recomposed, schedule.alpha_bar, rtol=1e-10, atol=0)


def test_snr_is_infinite_for_clean_data_and_falls(schedule):
    assert schedule.snr[0] == math.inf
    assert (schedule.snr[1:].diff() < 0).all()
    # alpha_bar = snr / (1 + snr)
    snr = schedule.snr[1:]
    torch.testing.assert_close(snr / (1 + snr), schedule.alpha_bar[1:], rtol=1e-10, atol=0)


def test_float32_pictures_get_coefficients_that_are_right_at_time_1():
    """1 - alpha_bar computed in float32 would be off by 3e-4 of itself at t = 1."""
    schedule = linear_schedule(1000)
    x = torch.ones(1, 1)
    std = forward(x, 0, 1, schedule).std
    assert std.dtype == torch.float32
    assert std.item() == pytest.approx(math.sqrt(1e-4), rel=1e-7)
    a_1, a_2 = schedule.alpha_bar[1:3].tolist()
    expected = math.sqrt((1 - a_1) / (1 - a_2) * (1 - a_2 / a_1))
    assert posterior(x, x, 2, 1, schedule).std.item() == pytest.approx(expected, rel=1e-7)


# alpha and sigma at a time


@pytest.mark.parametrize("shape", [(3, 2), (3, 1, 4, 4)])
def test_at_shapes_its_answer_to_multiply_the_batch(shape, schedule):
    x = torch.zeros(shape)
    one = schedule.at(2, x)
    many = schedule.at(torch.tensor([0, 1, 2]), x)
    tables = {"alpha": schedule.alpha_bar.sqrt(), "sigma": (1 - schedule.alpha_bar).sqrt()}
    for name, table in tables.items():
        assert getattr(one, name).shape == ()
        assert getattr(one, name).dtype == torch.float64
        assert getattr(many, name).shape == (3, *[1] * (len(shape) - 1))
        assert getattr(many, name).dtype == torch.float64
        assert getattr(many, name).flatten().tolist() == table[:3].tolist()


def test_at_gives_the_same_for_an_int_and_a_tensor(schedule):
    x = torch.zeros(2, 3)
    for t in (0, 1, schedule.T):
        number = schedule.at(t, x).alpha.item()
        assert schedule.at(torch.tensor(t), x).alpha.tolist() == [[number]]
        assert schedule.at(torch.tensor([t, t]), x).alpha.tolist() == [[number], [number]]


@pytest.mark.parametrize(
    "dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64], ids=str
)
def test_at_reads_every_integer_dtype_as_a_time(dtype):
    schedule = linear_schedule(3)
    t = torch.tensor([3, 0, 1, 1], dtype=dtype)  # as long as the table: no mask of it either
    expected = schedule.alpha[t.long()]
    assert schedule.at(t, torch.zeros(4, 1)).alpha.flatten().tolist() == expected.tolist()


# The times a sampler visits


@pytest.mark.parametrize("spacing", [None, uniform, quadratic, even_in_log_snr])
@pytest.mark.parametrize("T", [1, 2, 7, 300])
def test_times_start_at_T_and_end_at_0_and_fall_for_every_number_of_steps(T, spacing):
    schedule = linear_schedule(T)
    spacing = spacing(schedule) if spacing is even_in_log_snr else spacing
    for steps in range(1, T + 1):
        times = schedule.times(steps, spacing)
        assert len(times) == steps + 1
        assert times[0] == T
        assert times[-1] == 0
        assert times == sorted(set(times), reverse=True)


def test_times_visits_every_time_unless_told_otherwise(schedule):
    assert schedule.times() == list(range(schedule.T, -1, -1))
    assert schedule.times(schedule.T, quadratic) == schedule.times()


def test_uniform_times_are_evenly_spaced_and_quadratic_times_crowd_near_the_data():
    schedule = linear_schedule(1000)
    assert schedule.times(4) == [1000, 750, 500, 250, 0]
    assert schedule.times(4, quadratic) == [1000, 562, 250, 62, 0]


@given(st.floats(0.05, 20), st.integers(1, 60))
def test_times_never_meet_however_the_spacing_is_bent(power, steps):
    times = linear_schedule(60).times(steps, lambda u: u**power)
    assert (len(times), times[0], times[-1]) == (steps + 1, 60, 0)
    assert times == sorted(set(times), reverse=True)


def logistic(T, top, bottom):
    """log(alpha^2 / sigma^2) falls in a straight line from top at t = 1 to bottom at T."""
    log_snr = torch.linspace(top, bottom, T, dtype=torch.float64)
    return NoiseSchedule(torch.cat([torch.ones(1, dtype=torch.float64), log_snr.sigmoid()]))


def test_even_in_log_snr_is_even_in_time_where_it_is_a_straight_line():
    spacing = even_in_log_snr(logistic(101, 9.0, -9.0))
    for u in (0.1, 0.25, 0.5, 0.875):
        assert spacing(u) * 101 == pytest.approx(1 + 100 * u)
    assert (spacing(0), spacing(1)) == (0, 1)
    assert logistic(101, 9.0, -9.0).times(4, spacing) == [101, 76, 51, 26, 0]


@pytest.mark.parametrize("start", [1000, 400])
def test_times_even_in_log_snr_under_the_straight_schedule(start):
    """There alpha / sigma = T / t - 1, so that each time has a formula."""
    schedule = straight_schedule(1000)
    bottom = max(-10.2, 2 * math.log(1000 / start - 1)) if start < 1000 else -10.2
    top = 2 * math.log(999)
    times = [
        round(1000 / (1 + math.exp((top + share * (bottom - top)) / 2)))
        for share in (5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6)
    ]
    found = schedule.times(6, even_in_log_snr(schedule, start), start)
    assert found == [start, *times, 0]


@pytest.mark.parametrize(
    "schedule",
    [linear_schedule(), cosine_schedule(), straight_schedule(), zero_terminal(linear_schedule())],
    ids=str,
)
def test_between_times_even_in_log_snr_it_grows_by_equal_amounts(schedule):
    """But for the first step, from what counts as pure noise, and for what rounding does."""
    times = schedule.times(8, even_in_log_snr(schedule))
    log_snr = schedule.snr.log()
    start = max(float(log_snr[-1]), -10.2)
    wanted = start + (log_snr[1] - start) * torch.arange(1, 8) / 8
    for t, value in zip(times[1:-1], wanted, strict=True):
        assert log_snr[t + 1] - 1e-9 <= value <= log_snr[t - 1] + 1e-9


def test_a_picture_hardly_noised_has_no_times_between():
    """Where one time lies above all the others' ratio, or all are pure noise, times still fall."""
    for schedule in (NoiseSchedule([1, 1e-6]), NoiseSchedule([1, 1e-6, 1e-7, 1e-8, 0])):
        for start in range(1, schedule.T + 1):
            times = schedule.times(start, even_in_log_snr(schedule, start), start)
            assert times == list(range(start, -1, -1))


# A schedule is a value


def test_schedules_can_be_compared_and_put_in_a_set():
    a, b = linear_schedule(10), cosine_schedule(10)
    assert a != b
    assert a in [b, a]
    assert len({a, b}) == 2


def test_a_schedule_does_not_change_with_the_tensor_it_was_made_from():
    alpha_bar = torch.tensor([1, 0.5, 0.1], dtype=torch.float64)
    schedule = NoiseSchedule(alpha_bar)
    alpha_bar[1] = 0.9
    assert schedule.alpha_bar[1] == 0.5


def test_a_schedule_can_be_made_from_a_plain_list():
    assert NoiseSchedule([1.0, 0.5]).T == 1


# Bad input

fractions = st.floats(0.01, 0.99)


@given(st.lists(fractions, min_size=1, max_size=8), st.data())
def test_a_nan_anywhere_is_refused(betas, data):
    alpha_bar = torch.tensor([1.0, *torch.tensor(betas).cumprod(0).tolist()])
    alpha_bar[data.draw(st.integers(0, len(betas)))] = math.nan
    with pytest.raises(ValueError, match="alpha_bar"):
        NoiseSchedule(alpha_bar)


@given(st.lists(fractions, min_size=2, max_size=8), st.data())
def test_a_sequence_that_does_not_fall_is_refused(betas, data):
    alpha_bar = [1.0, *torch.tensor(betas, dtype=torch.float64).cumprod(0).tolist()]
    i = data.draw(st.integers(1, len(betas)))
    alpha_bar[i] = alpha_bar[i - 1]
    with pytest.raises(ValueError, match="fall strictly"):
        NoiseSchedule(alpha_bar)


@given(st.floats(max_value=0.999) | st.floats(min_value=1.001))
def test_a_sequence_that_does_not_start_clean_is_refused(first):
    with pytest.raises(ValueError, match="clean data and must be 1"):
        NoiseSchedule([first, 1e-3])


@given(st.floats(max_value=-1e-300))
def test_a_sequence_that_falls_below_0_is_refused(last):
    with pytest.raises(ValueError, match="below 0"):
        NoiseSchedule([1.0, 0.5, last])


def test_nothing_of_the_picture_may_be_left_at_T():
    schedule = NoiseSchedule([1.0, 0.5, 0.0])
    assert (schedule.alpha[-1], schedule.sigma[-1]) == (0, 1)


# Other paths


def test_the_straight_path_is_straight():
    schedule = straight_schedule(10)
    assert schedule.T == 10
    torch.testing.assert_close(schedule.alpha, 1 - schedule.sigma)
    assert schedule.sigma.tolist() == [t / 10 for t in range(11)]
    x_0, noise = torch.ones(1, 1).double(), -torch.ones(1, 1).double()
    q = forward(x_0, 0, 3, schedule)
    torch.testing.assert_close(q.mean + q.std * noise, 0.7 * x_0 + 0.3 * noise)


def test_a_path_that_does_not_preserve_the_variance_has_no_alpha_bar():
    for name in ("alpha_bar", "beta"):
        with pytest.raises(ValueError, match="does not preserve the variance"):
            getattr(straight_schedule(10), name)


def test_alpha_bar_and_its_roots_give_the_same_schedule(schedule):
    rows = NoiseSchedule(alpha=schedule.alpha, sigma=schedule.sigma)
    assert rows.same_as(schedule)
    x = torch.linspace(-1, 1, 6, dtype=torch.float64).view(2, 3)
    for of_rows, of_alpha_bar in zip(
        posterior(x, -x, 3, 1, rows).__dict__.values(),
        posterior(x, -x, 3, 1, schedule).__dict__.values(),
        strict=True,
    ):
        torch.testing.assert_close(of_rows, of_alpha_bar, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("alpha", "sigma", "message"),
    [
        ([1.0, 0.5], [0.0, 0.5, 1.0], "differ in length"),
        ([0.9, 0.5], [0.0, 0.5], "clean data is"),
        ([1.0, 0.5], [0.1, 0.5], "clean data is"),
        ([1.0, 0.5, 0.6], [0.0, 0.5, 0.6], "must fall strictly"),
        ([1.0, 0.5, -0.1], [0.0, 0.5, 1.0], "must fall strictly"),
        ([1.0, math.nan], [0.0, 1.0], "must fall strictly"),
        ([1.0, 0.5], [0.0, 0.0], "must fall strictly"),
    ],
)
def test_rows_that_lead_nowhere_are_refused(alpha, sigma, message):
    with pytest.raises(ValueError, match=message):
        NoiseSchedule(alpha=alpha, sigma=sigma)


def test_zero_terminal_leaves_nothing_and_keeps_the_first_step():
    """Lin et al., Algorithm 1, written out with its square roots."""
    schedule = linear_schedule(1000)
    ours, root = zero_terminal(schedule).alpha_bar, schedule.alpha_bar[1:].sqrt()
    by_hand = (root - root[-1]) * root[0] / (root[0] - root[-1])
    torch.testing.assert_close(ours[1:], by_hand**2, rtol=1e-12, atol=1e-15)
    assert ours[-1] == 0
    torch.testing.assert_close(ours[1], schedule.alpha_bar[1])


# Cards


@pytest.mark.parametrize(
    "made",
    [
        linear_schedule(50, 1e-3, 0.3),
        cosine_schedule(20),
        vp_schedule(4),
        straight_schedule(7),
        zero_terminal(cosine_schedule(30)),
        NoiseSchedule([1.0, 0.7, 0.2]),
        NoiseSchedule(alpha=[1.0, 1.0, 1.0], sigma=[0.0, 1.0, 5.0]),
    ],
    ids=str,
)
def test_a_schedule_is_made_again_from_its_description(made):
    again = schedule_from(json.loads(json.dumps(made.config)))
    assert again.same_as(made)
    assert again.config == made.config


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"kind": "spiral", "T": 10},
        {"kind": "linear", "T": 10, "turns": 3},
        {"kind": "linear", "T": 0},
        {"alpha_bar": [1.0, 2.0]},
        {"alpha": [1.0, 0.5]},
        {"kind": "zero terminal", "of": {"kind": "spiral"}},
        {"kind": ["linear"]},
    ],
    ids=str,
)
def test_a_description_of_nothing_is_refused(config):
    with pytest.raises(ValueError, match=r"must|described by|describes nothing"):
        schedule_from(config)


@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 2), (1, 3)])
def test_another_rank_or_a_lone_number_is_refused(shape):
    with pytest.raises(ValueError, match="one row"):
        NoiseSchedule(torch.ones(shape))


@given(st.integers(max_value=-1) | st.integers(min_value=1001))
def test_a_time_outside_0_to_T_is_refused(t):
    schedule, x = linear_schedule(1000), torch.zeros(2, 1)
    with pytest.raises(ValueError, match=r"must lie in 0\.\.1000"):
        schedule.at(t, x)
    if abs(t) < 2**62:
        with pytest.raises(ValueError, match=r"must lie in 0\.\.1000"):
            schedule.at(torch.tensor([0, t]), x)


@given(st.floats() | st.booleans() | st.sampled_from([None, "3"]))
def test_a_time_that_is_not_an_integer_is_refused(t):
    with pytest.raises(TypeError, match="t must be an int"):
        linear_schedule(10).at(t, torch.zeros(2, 1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bool, torch.complex64])
def test_a_tensor_of_times_that_are_not_integers_is_refused(dtype):
    with pytest.raises(TypeError, match="t must hold integers"):
        linear_schedule(10).at(torch.ones(2, dtype=dtype), torch.zeros(2, 1))


@given(st.integers(2, 9))
def test_times_for_another_batch_size_are_refused(n):
    x = torch.zeros(10, 2)
    with pytest.raises(ValueError, match=r"shape \[\] or \[10\]"):
        linear_schedule(10).at(torch.ones(n, dtype=torch.long), x)
    with pytest.raises(ValueError, match=r"shape \[\] or \[10\]"):
        linear_schedule(10).at(torch.ones(10, 1, dtype=torch.long), x)


@given(st.integers(max_value=0) | st.integers(min_value=11))
def test_an_impossible_number_of_steps_is_refused(steps):
    with pytest.raises(ValueError, match=r"steps must lie in 1\.\.10"):
        linear_schedule(10).times(steps)


@pytest.mark.parametrize("steps", [1.0, True, "3"])
def test_a_number_of_steps_that_is_not_an_int_is_refused(steps):
    with pytest.raises(TypeError, match="steps must be an int"):
        linear_schedule(10).times(steps)


@pytest.mark.parametrize("make", [linear_schedule, cosine_schedule, vp_schedule])
@given(T=st.integers(max_value=0))
def test_a_schedule_without_steps_is_refused(make, T):
    with pytest.raises(ValueError, match=r"T must lie in 1\.\."):
        make(T)


@pytest.mark.parametrize("make", [linear_schedule, cosine_schedule, vp_schedule])
@pytest.mark.parametrize("T", [10.0, True, None])
def test_a_T_that_is_not_an_int_is_refused(make, T):
    with pytest.raises(TypeError, match="T must be an int"):
        make(T)


@given(st.floats(max_value=0) | st.floats(min_value=1) | st.just(math.nan))
def test_a_beta_outside_0_to_1_is_refused(beta):
    with pytest.raises(ValueError, match="beta_1 is a variance"):
        linear_schedule(10, beta_1=beta)
    with pytest.raises(ValueError, match="beta_T is a variance"):
        linear_schedule(10, beta_T=beta)
    with pytest.raises(ValueError, match="max_beta"):
        cosine_schedule(10, max_beta=beta)


@pytest.mark.parametrize("offset", [-0.1, math.nan, math.inf])
def test_a_cosine_offset_below_0_is_refused(offset):
    with pytest.raises(ValueError, match="offset must be at least 0"):
        cosine_schedule(10, offset=offset)


@pytest.mark.parametrize("betas", [(0, 1), (-1, 1), (2, 1), (0.1, math.inf), (math.nan, 1)])
def test_impossible_rates_of_the_vp_schedule_are_refused(betas):
    with pytest.raises(ValueError, match="need 0 < beta_min <= beta_max"):
        vp_schedule(4, *betas)
