"""Metrics: against scipy, closed forms, and their own symmetries."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diffusion_lessons.exact import grid_mixture
from diffusion_lessons.metrics import class_accuracy, frechet_distance, mode_counts


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
