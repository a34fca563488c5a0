"""A discriminator over the plane: what is stored is what the networks say."""

from typing import Any

import pytest
import torch
import traitlets
from greys import half_a_level

from diffusion_lessons import grid_mixture, posterior
from diffusion_lessons.networks.gan import Gan, PointDiscriminator, PointGenerator

pytest.importorskip("anywidget")

from diffusion_lessons.page.widgets import DiscriminatorExplorer
from diffusion_lessons.page.widgets.discriminator import REACH, SIDE

MIXTURE = grid_mixture(2, 0.1, 2)


def made(T: int = 4, **options: Any) -> Gan:
    with torch.random.fork_rng():
        torch.manual_seed(T)
        return Gan(PointGenerator(width=16), PointDiscriminator(width=16, **options), T)


class Knows(torch.nn.Module):
    """Takes for true what lies near (1, 1), where one of the Gaussians is."""

    shape = (2,)

    def forward(self, x_s: torch.Tensor, x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return 8 * (0.5 - (x_s - 1).norm(dim=1))


@pytest.fixture
def explorer() -> DiscriminatorExplorer:
    return DiscriminatorExplorer(MIXTURE, {50: made(), 0: made(sees_x_t=False)}, points=2)


@pytest.mark.parametrize(("moment", "t", "point"), [(0, 1, 0), (1, 3, 1)])
def test_its_answer_stands_at_its_place(
    explorer: DiscriminatorExplorer, moment: int, t: int, point: int
) -> None:
    explorer.moment, explorer.t, explorer.point = moment, t, point
    gan = made(sees_x_t=False) if moment == 0 else made()  # in the order of their updates
    for row, column in [(0, 0), (3, 40), (SIDE - 1, SIDE - 1)]:
        place = [REACH * (2 * column / (SIDE - 1) - 1), REACH * (1 - 2 * row / (SIDE - 1))]
        with torch.no_grad():
            logit = gan.discriminator(
                torch.tensor([place]), explorer.x_t[None], torch.tensor([t])
            ).item()
        wanted = torch.tensor(logit).sigmoid().item()
        assert explorer.answers[row, column].item() == pytest.approx(wanted, abs=half_a_level() / 2)


def test_a_discriminator_that_knows_one_place_is_shown_to_know_it(
    explorer: DiscriminatorExplorer,
) -> None:
    gan = made()
    gan.discriminator = Knows()
    with torch.no_grad():  # the generator draws (-1, -1), always
        for parameter in gan.generator_net.parameters():
            parameter.zero_()
        gan.generator_net.body.output.bias.fill_(-1.0)
    explorer = DiscriminatorExplorer(MIXTURE, {3: gan})
    highest = int(explorer.answers.argmax())
    row, column = divmod(highest, SIDE)
    assert row < SIDE / 2 < column  # above, to the right
    torch.testing.assert_close(explorer.made, torch.full((80, 2), -1.0))
    # All made ones are seen through; of the true ones a quarter lies where it takes them for true.
    assert explorer.right == pytest.approx((1 + 1 / 4) / 2, abs=0.03)


def test_true_points_are_draws_by_bayes_rule(explorer: DiscriminatorExplorer) -> None:
    schedule = explorer.schedule
    for t in range(1, 5):
        explorer.t = t
        x_t = explorer.x_t[None]
        mean = posterior(x_t, MIXTURE.denoise(x_t, t, schedule), t, t - 1, schedule).mean[0]
        spread = explorer.true.std(0) / 80**0.5
        assert ((explorer.true.mean(0) - mean).abs() < 4 * spread + 1e-3).all()


def test_what_cannot_be_shown_is_refused() -> None:
    line = type(MIXTURE)(torch.zeros(1, 1), torch.ones(1), torch.ones(1))
    with pytest.raises(ValueError, match="must be one of the plane, got 1-d"):
        DiscriminatorExplorer(line, {0: made()})
    with pytest.raises(ValueError, match="of one schedule"):
        DiscriminatorExplorer(MIXTURE, {0: made(), 1: made(T=2)})
    with pytest.raises(ValueError, match="1 to 8 Gans, got 0"):
        DiscriminatorExplorer(MIXTURE, {})


def test_values_stay_in_their_range(explorer: DiscriminatorExplorer) -> None:
    for name, value in [("moment", 2), ("t", 5), ("t", 0), ("point", 2), ("moment", -1)]:
        with pytest.raises(traitlets.TraitError):
            setattr(explorer, name, value)
    assert (explorer.moment, explorer.t, explorer.point) == (1, 1, 0)


def test_the_fallback_picture_names_the_moment(explorer: DiscriminatorExplorer) -> None:
    (axes,) = explorer.figure().axes
    assert "after 50 updates, t = 1" in {axes.get_title(), axes.get_title("left")}
    assert len(axes.collections) == 2  # true, made
