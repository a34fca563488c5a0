"""The stepper's boxes hold what the formulas and the two networks make."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
import traitlets
from greys import half_a_level

pytest.importorskip("anywidget")

from diffusion_lessons.math.gaussian import posterior
from diffusion_lessons.math.schedule import vp_schedule
from diffusion_lessons.networks.gan import Discriminator, Gan, Generator
from diffusion_lessons.page.kit import ring
from diffusion_lessons.page.widgets import DDGANStepper

LABEL = torch.tensor([3, 7])
GREY, COARSE = half_a_level(), half_a_level(24)


def small(latent: int = 5) -> Gan:
    torch.manual_seed(0)
    net = Generator(latent, channels=16, blocks=1, attention_resolutions=())
    with torch.no_grad():
        for parameter in net.parameters():
            if not parameter.any():
                parameter.normal_(0, 0.1)
    return Gan(net, Discriminator(channels=8))


@pytest.fixture(scope="module")
def gan() -> Gan:
    return small()


@pytest.fixture
def stepper(gan: Gan) -> DDGANStepper:
    return DDGANStepper(gan, torch.stack([ring(), ring().transpose(1, 2)]), LABEL, latents=3)


def exact(stepper: DDGANStepper, x_t: torch.Tensor) -> dict[str, torch.Tensor]:
    """All boxes of one step, from an exact x_t [2, 1, 28, 28]."""
    t, schedule = stepper.t, vp_schedule(4)
    time = torch.full((2,), t)
    clean, noise = torch.stack([ring(), ring().transpose(1, 2)]), stepper._noise(2)
    with torch.no_grad():
        drawn = [stepper.gan.generator_net(x_t, z.expand(2, -1), time, LABEL) for z in stepper._z]
        true, *made = (
            q.mean + q.std * noise
            for q in (posterior(x_t, x_0, t, t - 1, schedule) for x_0 in (clean, *drawn))
        )
        # All pairs in one batch, with others beside them.
        here = (torch.cat([true, *made]), x_t.repeat(4, 1, 1, 1), time.repeat(4), LABEL.repeat(4))
        batch = [torch.cat(both) for both in zip(here, stepper._others(), strict=True)]
        logits = stepper.gan.discriminator(*batch)[:8].view(4, 2)
    return {
        "x_t": x_t,
        "x0_drawn": drawn[stepper.z],
        "x_s_made": made[stepper.z],
        "x_s_true": true,
        "logits": logits[[0, 1 + stepper.z]],
    }


@pytest.mark.parametrize(("t", "z", "picture"), [(1, 0, 0), (2, 2, 1), (4, 1, 1)])
def test_a_step_of_training(stepper: DDGANStepper, t: int, z: int, picture: int) -> None:
    stepper.t, stepper.z, stepper.picture = t, z, picture
    a = float(vp_schedule(4).alpha_bar[t])
    clean = torch.stack([ring(), ring().transpose(1, 2)])
    wanted = exact(stepper, a**0.5 * clean + (1 - a) ** 0.5 * stepper._noise(1))
    for name in ("x_t", "x0_drawn", "x_s_made", "x_s_true"):
        level = GREY if name == "x0_drawn" else COARSE
        shown = wanted[name][picture, 0].clamp(-1, 1)
        torch.testing.assert_close(getattr(stepper, name), shown, rtol=0, atol=level)
    true, made = wanted["logits"][:, picture]
    assert stepper.judged == pytest.approx((float(true.sigmoid()), float(made.sigmoid())), abs=1e-4)
    losses = (float(F.softplus(-true) + F.softplus(made)), float(F.softplus(-made)))
    assert stepper.losses == pytest.approx(losses, abs=1e-4)
    if t == 1:  # at s = 0 the posterior is the clean picture itself
        torch.testing.assert_close(stepper.x_s_true, stepper.x_0, rtol=0, atol=COARSE + GREY)


class OfTheBatch(torch.nn.Module):
    """Says nothing of a pair, only how much the pairs of its batch differ."""

    def forward(self, x_s: torch.Tensor, x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return x_s.std(0).mean().expand(len(x_s))


def test_true_and_made_pairs_are_judged_in_one_batch(gan: Gan) -> None:
    pictures = torch.stack([ring(), ring().transpose(1, 2)])
    stepper = DDGANStepper(Gan(gan.generator_net, OfTheBatch()), pictures, latents=2)
    for stepper.t in (1, 2, 3, 4):
        true, made = stepper.judged
        assert true == made


def test_beside_them_are_true_pairs_of_all_times(stepper: DDGANStepper) -> None:
    x_s, x_t, t, label = stepper._others()
    assert [int((t == time).sum()) for time in (1, 2, 3, 4)] == [16] * 4
    for time in (1, 2, 3, 4):  # each picture as often, with its own label
        assert sorted(label[t == time].tolist()) == [3] * 8 + [7] * 8
    clean = torch.stack([ring(), ring().transpose(1, 2)])[(label == 7).long()]
    torch.testing.assert_close(x_s[t == 1], clean[t == 1])  # at s = 0
    rest = t > 1
    schedule = vp_schedule(4)
    p = posterior(x_t[rest], clean[rest], t[rest], t[rest] - 1, schedule)
    noise = (x_s[rest] - p.mean) / p.std
    assert float(noise.mean()) == pytest.approx(0, abs=0.03)
    assert float(noise.std()) == pytest.approx(1, abs=0.03)


def test_sampling_goes_on_from_the_first_latent(stepper: DDGANStepper) -> None:
    stepper.mode, x_t = "sampling", stepper._noise(3)
    for t in (4, 3, 2, 1):
        stepper.t, stepper.z = t, 0
        first = exact(stepper, x_t)
        for z in (0, 2):
            stepper.z = z
            wanted = exact(stepper, x_t)
            for name, level in [("x_t", COARSE), ("x0_drawn", GREY), ("x_s_made", COARSE)]:
                shown = wanted[name][0, 0].clamp(-1, 1)
                torch.testing.assert_close(getattr(stepper, name), shown, rtol=0, atol=level)
        x_t = first["x_s_made"]


def test_only_what_is_there_can_be_chosen(stepper: DDGANStepper) -> None:
    assert (stepper.mode, stepper.t, stepper.z) == ("training", 3, 0)
    for name, value, message in [
        ("t", 5, "t must be at most 4"),
        ("z", 3, "z must be at most 2"),
        ("picture", 2, "picture must be at most 1"),
        ("box", 8, "box must lie in 0..7"),
        ("t", 0, "."),
        ("mode", "sleeping", "."),
    ]:
        with pytest.raises(traitlets.TraitError, match=message):
            setattr(stepper, name, value)
    stepper.box = 7
    stepper.mode = "sampling"  # which has four boxes
    assert stepper.box == 3


def test_the_fallback_picture_shows_the_boxes(stepper: DDGANStepper) -> None:
    titles = [axes.get_title() for axes in stepper.figure().axes]
    true, made = stepper.judged
    assert titles == [
        "$x_0$",
        "$x_3$",
        "$x_0'$, drawn",
        f"$x_2'$: {made:.0%} real",
        f"$x_2$: {true:.0%} real",
    ]
    stepper.mode = "sampling"
    assert len(stepper.figure().axes) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gan": None}, "a Gan whose generator takes a z"),
        ({"gan": small(0)}, "a Gan whose generator takes a z"),
        ({"images": torch.zeros(7, 1, 28, 28)}, "images must be 1 to 6 pictures"),
        ({"label": torch.zeros(3).long()}, r"label must be \[2\]"),
        ({"latents": 1}, "latents must lie in 2..12"),
        ({"seed": -1}, "seed must lie in"),
    ],
)
def test_what_cannot_be_stepped_through_is_refused(
    gan: Gan, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        DDGANStepper(**{"gan": gan, "images": torch.zeros(2, 1, 28, 28)} | change)
