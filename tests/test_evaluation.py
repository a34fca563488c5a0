"""The shipped networks do what their cards say, and the judge judges."""

import pytest
import torch

from diffusion_lessons import checkpoints, digits, linear_schedule, load_pretrained, to_unit
from diffusion_lessons.evaluation import (
    accuracy,
    evaluate,
    evaluate_classifier,
    features,
    generate,
    judge,
    reference,
)


def test_the_judge_knows_real_digits():
    assert evaluate_classifier(judge())["accuracy"] >= 0.985


def test_the_judge_does_not_know_noise():
    noise = torch.randn(500, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    assert accuracy(features(noise), torch.arange(500) % 10) < 0.3


def test_features_do_not_depend_on_the_batch():
    x = to_unit(digits(train=False).images[:7])
    torch.testing.assert_close(features(x, batch_size=2), features(x), rtol=1e-4, atol=1e-4)


def test_the_floor_falls_with_more_pictures():
    _, labels, few = reference(200)
    _, _, many = reference(2000)
    assert len(labels) == 200
    assert 0 < many < few


@pytest.mark.parametrize("count", [0, 1, 10_001])
def test_more_samples_than_test_digits_are_refused(count: int):
    with pytest.raises(ValueError, match="count must lie in"):
        reference(count)


def test_the_shipped_ddpm_draws_what_it_is_asked_for():
    found = evaluate(load_pretrained("digits-ddpm"), linear_schedule(), 300, 20, progress=False)
    assert found["class_accuracy"] > 0.9
    assert found["frechet_distance"] < 4 * found["frechet_floor"]  # of 300 digits


def test_samples_depend_on_the_seed_alone():
    model, labels = load_pretrained("digits-ddpm"), torch.arange(4)
    a, b, c = (
        torch.cat(list(generate(model, labels, linear_schedule(), 3, seed=seed)))
        for seed in [1, 1, 2]
    )
    torch.testing.assert_close(a, b, rtol=0, atol=0)
    assert (a - c).abs().mean() > 0.05


def full_measurement() -> dict:
    """Full-size measurements are too long for a test; the card holds them, with their command."""
    card = checkpoints.read_card(checkpoints.pretrained_path("digits-ddpm"))
    return next(m for m in card["measured"] if m["samples"] == 10_000 and m["steps"] >= 50)


def test_the_shipped_ddpm_was_measured_to_draw_the_right_digit():
    assert full_measurement()["class_accuracy"] >= 0.97


@pytest.mark.xfail(strict=True, reason="5.9 floors after an hour on two cores")
def test_the_shipped_ddpm_was_measured_within_3_floors():
    found = full_measurement()
    assert found["frechet_distance"] <= 3 * found["frechet_floor"]
