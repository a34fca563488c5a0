"""Metrics: against scipy, closed forms, and their own symmetries."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diffusion_lessons.math.exact import grid_mixture
from diffusion_lessons.measuring.metrics import (
    class_accuracy,
    density_coverage,
    frechet_distance,
    mode_counts,
    precision_recall,
)


def features(n, D, seed, dtype=torch.float64):
    """Correlated features [n, D] of a mean and a covariance of the seed's own."""
    g = torch.Generator().manual_seed(seed)
    mix = torch.randn(D, D, generator=g, dtype=dtype) / D**0.5
    shift = torch.randn(D, generator=g, dtype=dtype)
    return torch.randn(n, D, generator=g, dtype=dtype) @ mix + shift


@pytest.mark.parametrize("D", [1, 2, 16, 64])
def test_frechet_distance_is_the_formula_with_scipys_matrix_root(D):
    linalg = pytest.importorskip("scipy.linalg")
    a, b = features(300, D, 1), features(200, D, 2)
    C_a, C_b = torch.cov(a.T).reshape(D, D).numpy(), torch.cov(b.T).reshape(D, D).numpy()
    gap = (a.mean(0) - b.mean(0)).square().sum().item()
    root = linalg.sqrtm(C_a @ C_b).real
    expected = gap + (C_a + C_b - 2 * root).trace()
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)


def test_frechet_distance_of_two_gaussians_on_a_line():
    """(mean_a - mean_b)^2 + (std_a - std_b)^2."""
    a, b = 2 * features(50, 1, 1) + 3, features(70, 1, 2)
    expected = (a.mean() - b.mean()) ** 2 + (a.std() - b.std()) ** 2
    assert frechet_distance(a, b) == pytest.approx(expected.item(), rel=1e-10)


@pytest.mark.parametrize("n", [200, 5], ids=["many rows", "fewer rows than features"])
def test_frechet_distance_is_0_to_itself_and_symmetric(n):
    a, b = features(n, 16, 1), features(200, 16, 2)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-6)


def test_frechet_distance_of_a_shift_is_its_square():
    a = features(100, 4, 1)
    assert frechet_distance(a, a + 0.5) == pytest.approx(4 * 0.25, rel=1e-6)


def test_frechet_distance_takes_any_number_format():
    a, b = features(100, 4, 1), features(100, 4, 2)
    expected = frechet_distance(a, b)
    assert frechet_distance(a.float(), b.float()) == pytest.approx(expected, rel=1e-5)
    assert frechet_distance(a.bfloat16(), b) == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("shape", [(4,), (1, 4), (0, 4), (2, 2, 2)], ids=str)
def test_features_of_another_shape_are_refused(shape):
    good = torch.randn(5, 4)
    with pytest.raises(ValueError, match="a must be features"):
        frechet_distance(torch.zeros(shape), good)
    with pytest.raises(ValueError, match="b must be features"):
        frechet_distance(good, torch.zeros(shape))


@given(st.sampled_from([math.nan, math.inf, -math.inf]), st.integers(0, 19))
def test_numbers_that_are_not_finite_are_refused(number, i):
    good, bad = torch.zeros(5, 4), torch.zeros(5, 4)
    bad.view(-1)[i] = number
    with pytest.raises(ValueError, match="b holds numbers that are not finite"):
        frechet_distance(good, bad)


def test_features_of_different_width_are_refused():
    with pytest.raises(ValueError, match="different width: 4 and 3"):
        frechet_distance(torch.zeros(5, 4), torch.zeros(5, 3))


def test_class_accuracy_is_the_share_of_right_answers():
    logits = torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, 0.5], [0.0, 0.0, 3.0], [1.0, 0.0, 0.0]])
    assert class_accuracy(logits, torch.tensor([0, 1, 2, 2])) == 0.75
    assert class_accuracy(logits, torch.tensor([0, 1, 2, 0])) == 1


def test_mode_counts_gives_each_point_to_its_nearest_mean(generator):
    mixture = grid_mixture()
    x, k = mixture.sample(2000, generator)
    counts = mode_counts(x, mixture.means)
    assert counts.tolist() == k.bincount(minlength=25).tolist()  # modes 10 widths apart


def test_mode_counts_has_a_zero_for_a_missed_mode():
    means = torch.tensor([[0.0, 0.0], [1.0, 0.0], [9.0, 9.0]])
    counts = mode_counts(torch.tensor([[0.1, 0.0], [0.8, 0.1], [1.1, -0.1]]), means)
    assert counts.tolist() == [1, 2, 0]
    assert counts.dtype == torch.int64


# Precision, recall, density, coverage


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize(("n", "m"), [(300, 300), (2300, 400), (150, 1200)])
def test_they_are_what_prdc_computes(n, m, k):
    prdc = pytest.importorskip("prdc")
    # Clustered features, so that no figure is 0 or 1.
    real, fake = features(n, 8, 1), 0.8 * features(m, 8, 1) + 0.8 * features(m, 8, 2)
    theirs = prdc.compute_prdc(real.numpy(), fake.numpy(), nearest_k=k)
    ours = {
        **precision_recall(real, fake, k)._asdict(),
        **density_coverage(real, fake, k)._asdict(),
    }
    assert ours == pytest.approx(theirs, abs=1e-9)
    assert 0 < ours["precision"] < 1


def test_a_case_to_be_counted_by_hand():
    """Real at 0, 1, 10: with k = 1 they reach 1, 1 and 9. Fake at 0.5, 8, 40 reach 7.5, 7.5, 32."""
    real, fake = (torch.tensor(x)[:, None] for x in ([0.0, 1.0, 10.0], [0.5, 8.0, 40.0]))
    assert precision_recall(real, fake, 1) == pytest.approx((2 / 3, 1.0))
    # 0.5 lies in two balls, 8 in one (that of 10: 1 reaches only to 2), 40 in none.
    assert density_coverage(real, fake, 1) == pytest.approx((3 / 3, 1.0))


def test_fakes_that_left_modes_out_lose_recall_and_those_that_are_off_precision():
    g = torch.Generator().manual_seed(0)
    mixture = grid_mixture(3, std=0.05)
    real, some = mixture.sample(900, g)[0], mixture.sample(900, g)
    left_out = some[0][some[1] < 6]  # six of nine modes
    precision, recall = precision_recall(real, left_out)
    assert precision > 0.9
    assert 0.55 < recall < 0.75
    assert 0.55 < density_coverage(real, left_out).coverage < 0.75
    off = torch.cat([some[0][:450], some[0][450:] + 0.25])  # half of them between the modes
    assert 0.4 < precision_recall(real, off).precision < 0.6
    assert precision_recall(real, off).recall > 0.9


def test_of_two_real_sets_density_is_1_and_coverage_1_less_a_half_to_the_k():
    real, fake = features(4000, 6, 1), features(8000, 6, 1)[4000:]
    assert density_coverage(real, fake, 5).density == pytest.approx(1, abs=0.05)
    assert density_coverage(real, fake, 2).coverage == pytest.approx(1 - 1 / 4, abs=0.03)


@given(seed=st.integers(0, 1000), shift=st.floats(-1e3, 1e3), scale=st.floats(1e-2, 1e2))
def test_moving_and_scaling_both_sets_changes_nothing(seed, shift, scale):
    real, fake = features(40, 3, seed), features(30, 3, seed)[:, [0, 1, 2]] + 0.1
    for metric in (precision_recall, density_coverage):
        assert metric(scale * real + shift, scale * fake + shift) == metric(real, fake)


def test_a_set_is_its_own_perfect_copy():
    x = features(60, 4, 1)
    assert precision_recall(x, x) == (1, 1)
    assert density_coverage(x, x).coverage == 1
    assert precision_recall(x, x + 1e6) == (0, 0)


@pytest.mark.parametrize("metric", [precision_recall, density_coverage])
@pytest.mark.parametrize(
    ("real", "fake", "k", "message"),
    [
        (torch.ones(4), torch.ones(4, 2), 1, "real must be features"),
        (torch.ones(4, 2), torch.ones(1, 2), 1, "fake must be features"),
        (torch.ones(4, 2), torch.ones(4, 3), 1, "different width"),
        (torch.ones(4, 2), torch.full((4, 2), math.nan), 1, "fake holds"),
        (torch.ones(4, 2), torch.ones(4, 2), 0, "k must"),
        (torch.ones(4, 2), torch.ones(4, 2), 4, "k must"),
        (torch.ones(4, 2), torch.ones(4, 2), 1.5, "k must"),
    ],
)
def test_unfit_sets_are_refused(metric, real, fake, k, message):
    with pytest.raises((TypeError, ValueError), match=message):
        metric(real, fake, k)
