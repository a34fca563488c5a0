"""Restoring and filling in, against closed forms."""

import pytest
import torch

from diffusion_lessons.math.editing import keeping, restore
from diffusion_lessons.math.exact import GaussianMixture
from diffusion_lessons.math.randomness import RowGenerator
from diffusion_lessons.math.sampling import ddim_step, ddpm_step, sample, stepwise
from diffusion_lessons.math.schedule import NoiseSchedule, linear_schedule

SCHEDULE = linear_schedule()


def of_unit_normal(x_t: torch.Tensor, t: int) -> torch.Tensor:
    """The exact denoiser of data from N(0, 1), under a schedule that preserves the variance."""
    return SCHEDULE.alpha[t].to(x_t.dtype) * x_t


@pytest.mark.slow
@pytest.mark.parametrize("t", [50, 300, 800])
def test_a_restored_normal_number_is_drawn_from_what_x_t_leaves_open(t: int) -> None:
    """x_t = a x_0 + s noise, and x_0 given x_t is N(a x_t, s^2): mean a^2 x_0, variance both's."""
    x_0 = torch.full((40_000, 1), 1.5, dtype=torch.float64)
    *_, last = restore(of_unit_normal, x_0, t, SCHEDULE, generator=RowGenerator(0))
    a, s = float(SCHEDULE.alpha[t]), float(SCHEDULE.sigma[t])
    assert float(last.x.mean()) == pytest.approx(a**2 * 1.5, abs=0.03)
    assert float(last.x.var()) == pytest.approx(a**2 * s**2 + s**2, rel=0.05)


def test_the_walk_begins_at_t_and_has_so_many_steps() -> None:
    x_0 = torch.zeros(2, 3)
    walk = list(restore(of_unit_normal, x_0, 300, SCHEDULE, 7, RowGenerator(0)))
    assert (walk[0].t, walk[-1].t, len(walk)) == (300, 0, 8)
    every = list(restore(of_unit_normal, x_0, 5, SCHEDULE, generator=RowGenerator(0)))
    assert [step.t for step in every] == [5, 4, 3, 2, 1, 0]
    chosen = restore(of_unit_normal, x_0, 5, SCHEDULE, 5, RowGenerator(0), stepwise(ddim_step))
    assert not torch.equal(list(chosen)[-1].x, every[-1].x)


@pytest.mark.parametrize(("t", "steps"), [(0, None), (1001, None), (10, 11), (10, 0), (2.5, None)])
def test_impossible_times_are_refused(t: int, steps: int | None) -> None:
    with pytest.raises((ValueError, TypeError)):
        next(restore(of_unit_normal, torch.zeros(1, 1), t, SCHEDULE, steps))


def test_what_is_known_is_kept_to_the_bit_and_the_rest_belongs_to_it() -> None:
    """Two clusters on a diagonal: who knows x = 2 must fill in y = 2, and who knows -2, -2."""
    mixture = GaussianMixture(
        torch.tensor([[2.0, 2.0], [-2.0, -2.0]]), torch.tensor([0.1, 0.1]), torch.tensor([0.5, 0.5])
    )
    known = torch.tensor([[2.0, 0.0], [-2.0, 0.0]]).repeat(200, 1)
    mask = torch.tensor([1.0, 0.0]).expand_as(known)
    generator = RowGenerator(1)
    x_T = generator.normal(known.shape).float()
    rule = keeping(known, mask, ddpm_step)
    denoiser = mixture.denoiser(SCHEDULE)
    *_, last = sample(denoiser, x_T, SCHEDULE, 250, step=rule, generator=generator)
    assert torch.equal(last.x[:, 0], known[:, 0])
    right = (last.x[:, 1] - known[:, 0]).abs() < 0.6  # half of them by chance
    assert float(right.float().mean()) > 0.95  # a few fall between the two, as RePaint's do


def test_with_nothing_known_it_is_the_rule_and_with_all_known_the_picture() -> None:
    generator = RowGenerator(2)
    known, x_T = generator.normal((3, 4)).float(), generator.normal((3, 4)).float()
    for mask, wanted in [(torch.zeros(3, 4), None), (torch.ones(3, 4, dtype=torch.bool), known)]:
        rule = keeping(known, mask, ddpm_step)
        *_, kept = sample(of_unit_normal, x_T, SCHEDULE, 9, rule, RowGenerator(3))
        if wanted is None:
            *_, plain = sample(of_unit_normal, x_T, SCHEDULE, 9, ddpm_step, RowGenerator(3))
            wanted = plain.x
        torch.testing.assert_close(kept.x, wanted)


def test_along_the_walk_the_known_part_is_as_noisy_as_the_rest() -> None:
    schedule = NoiseSchedule(alpha=[1.0, 0.5, 0.1], sigma=[0.0, 0.6, 1.2])
    known = torch.full((20_000, 1), 2.0)
    q = keeping(known, torch.ones_like(known), ddpm_step)(known, known, 2, 1, schedule)
    assert torch.allclose(q.mean, 0.5 * known)
    assert torch.allclose(q.std, torch.tensor(0.6))


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="mask must have known's shape"):
        keeping(torch.zeros(2, 2), torch.zeros(2, 1), ddpm_step)
    rule = keeping(torch.zeros(2, 2), torch.zeros(2, 2), ddpm_step)
    with pytest.raises(ValueError, match="known must have x_t's shape"):
        next(iter(list(sample(of_unit_normal, torch.zeros(3, 2), SCHEDULE, 2, rule))))
    with pytest.raises(TypeError):
        keeping(torch.zeros(2, 2), [[0, 0]], ddpm_step)
