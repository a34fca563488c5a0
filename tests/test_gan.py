"""Denoising diffusion GANs: pairs and losses in closed form, and a sampler that is exact."""

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from diffusion_lessons import (
    GaussianMixture,
    TrainOptions,
    forward,
    grid_mixture,
    mode_counts,
    sample,
    shuffled,
    vp_schedule,
)
from diffusion_lessons.networks.checkpoints import load, save
from diffusion_lessons.networks.compute import Compute
from diffusion_lessons.networks.gan import (
    Discriminator,
    Gan,
    Generator,
    Mapping,
    PointDiscriminator,
    PointGenerator,
    as_denoiser,
    spread,
)
from diffusion_lessons.training import gan
from diffusion_lessons.training.gan import (
    adams,
    discriminator_loss,
    generator_loss,
    muons,
    noisy_pairs,
    r1_penalty,
    train_gan,
)
from diffusion_lessons.training.optimizers import Optimizers, inner_weights

SCHEDULE = vp_schedule(4)
CPU = Compute(torch.device("cpu"))


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Exact(nn.Module):
    """The generator that DDGAN hopes for: draws x_0 from the true q(x_0 | x_t) of a mixture."""

    latent = 0

    def __init__(self, mixture: GaussianMixture, generator: torch.Generator) -> None:
        super().__init__()
        self.mixture, self.generator = mixture, generator

    def forward(self, x_t: Tensor, z: None, t: Tensor, label: None = None) -> Tensor:
        mixture, time = self.mixture, int(t[0])
        a = float(SCHEDULE.alpha_bar[time])
        which = mixture.class_posterior(x_t, time, SCHEDULE)
        k = torch.multinomial(which.double(), 1, generator=self.generator)[:, 0]
        mean, variance = mixture.means[k], mixture.stds[k][:, None] ** 2
        # A Gaussian seen through noise: precisions add up.
        left = 1 / (1 / variance + a / (1 - a))
        middle = left * (mean / variance + a**0.5 * x_t / (1 - a))
        return middle + left.sqrt() * torch.randn(x_t.shape, generator=self.generator)


def test_with_an_exact_generator_four_steps_draw_the_data() -> None:
    """Where DDPM's mean loses the width (tests/test_sampling.py), a draw of x_0 keeps it."""
    mixture = GaussianMixture(
        torch.tensor([[-1.0, 0.0], [1.0, 0.5], [0.0, -1.2]]),
        torch.tensor([0.1, 0.3, 0.2]),
        torch.tensor([0.5, 0.3, 0.2]),
    )
    g, n = rng(), 20_000
    denoiser = as_denoiser(Exact(mixture, g), generator=g)
    # Start where the chain does: at x_T of the data, for alpha_bar_T is not quite 0.
    x_0, _ = mixture.sample(n, g)
    x_T = forward(x_0.float(), 0, 4, SCHEDULE).sample(g)
    *_, last = sample(denoiser, x_T, SCHEDULE, generator=g)
    shares = mode_counts(last.x, mixture.means) / n
    torch.testing.assert_close(shares, torch.tensor([0.5, 0.3, 0.2]), atol=0.015, rtol=0)
    nearest = torch.cdist(last.x, mixture.means).argmin(1)
    for k, std in enumerate([0.1, 0.3, 0.2]):
        mine = last.x[nearest == k]
        torch.testing.assert_close(mine.mean(0), mixture.means[k], atol=0.02, rtol=0)
        torch.testing.assert_close(mine.std(0), torch.full((2,), std), atol=0.015, rtol=0)


class Truth(nn.Module):
    """A generator that is told the answer."""

    latent = 0

    def __init__(self, x_0: Tensor) -> None:
        super().__init__()
        self.x_0 = x_0

    def forward(self, x_t: Tensor, z: None, t: Tensor, label: None = None) -> Tensor:
        return self.x_0


def test_true_pairs_are_those_of_the_forward_process() -> None:
    x_0 = 0.5 * torch.randn(100_000, 1, generator=rng()) + 0.3
    pairs = noisy_pairs(Truth(x_0), x_0, SCHEDULE, rng(1))
    assert set(pairs.t.tolist()) == {1, 2, 3, 4}
    first = pairs.t == 1
    torch.testing.assert_close(pairs.real[first], x_0[first])  # s = 0 is clean data
    for t in (1, 2, 3, 4):
        x_t, x_s = (x[pairs.t == t][:, 0].double() for x in (pairs.x_t, pairs.real))
        a_s, a_t = SCHEDULE.alpha_bar[t - 1], SCHEDULE.alpha_bar[t]
        # x_s has the marginal of its time, and x_t is x_s after one more step forward.
        variance = a_s * 0.25 + 1 - a_s
        torch.testing.assert_close(x_s.mean(), 0.3 * a_s.sqrt(), atol=0.02, rtol=0)
        torch.testing.assert_close(x_s.var(), variance, atol=0.03, rtol=0)
        both = torch.cov(torch.stack([x_s, x_t]))
        torch.testing.assert_close(both[0, 1], (a_t / a_s).sqrt() * variance, atol=0.03, rtol=0)
        torch.testing.assert_close(both[1, 1], a_t * 0.25 + 1 - a_t, atol=0.03, rtol=0)


def test_a_generator_that_knows_the_truth_makes_true_pairs() -> None:
    x_0 = torch.randn(50_000, 1, generator=rng())
    pairs = noisy_pairs(Truth(x_0), x_0, SCHEDULE, rng(1))
    assert not torch.equal(pairs.real, pairs.fake)  # fresh noise each
    for t in (2, 3, 4):
        rows = pairs.t == t
        real = torch.cov(torch.cat([pairs.real, pairs.x_t], 1)[rows].T)
        fake = torch.cov(torch.cat([pairs.fake, pairs.x_t], 1)[rows].T)
        torch.testing.assert_close(real, fake, atol=0.04, rtol=0)


def test_losses_at_a_discriminator_that_cannot_tell() -> None:
    nothing = torch.zeros(8)
    torch.testing.assert_close(generator_loss(nothing), torch.tensor(math.log(2)))
    torch.testing.assert_close(discriminator_loss(nothing, nothing), torch.tensor(2 * math.log(2)))
    # Non-saturating: the gradient is strongest where the discriminator is surest of a fake.
    logits = torch.tensor([-5.0, 0.0, 5.0], requires_grad=True)
    generator_loss(logits).backward()
    assert logits.grad is not None
    assert (logits.grad < 0).all()
    assert (logits.grad[:-1] < logits.grad[1:]).all()


def test_r1_of_a_plane_is_half_its_slope_squared() -> None:
    class Plane(nn.Module):
        def forward(self, x_s: Tensor, x_t: Tensor, t: Tensor, label: None) -> Tensor:
            return x_s @ torch.tensor([3.0, 4.0]) + x_t.sum(1)

    x_s, x_t, t = torch.randn(5, 2), torch.randn(5, 2), torch.ones(5).long()
    torch.testing.assert_close(r1_penalty(Plane(), x_s, x_t, t), torch.tensor(12.5))


def small(latent: int = 3) -> Generator:
    return Generator(latent, channels=16, blocks=1, attention_resolutions=())


def test_another_z_is_another_picture_and_without_z_there_is_one() -> None:
    torch.manual_seed(0)
    x_t, t, label = (
        torch.randn(4, 1, 28, 28),
        torch.tensor([1, 2, 3, 4]),
        torch.tensor([0, 1, 2, 3]),
    )
    net = small()
    with torch.no_grad():
        for parameter in net.parameters():
            if not parameter.any():
                parameter.normal_(0, 0.1)
        one, other = (net(x_t, torch.randn(4, 3), t, label) for _ in range(2))
    assert one.shape == x_t.shape
    assert one.abs().max() <= 1
    assert (one - other).abs().max() > 1e-3
    for z in (None, torch.randn(4, 2), torch.randn(3, 3)):
        with pytest.raises(ValueError, match=r"z must be \[4, 3\]"):
            net(x_t, z, t, label)
    certain = small(latent=0)
    assert torch.equal(certain(x_t, None, t, label), certain(x_t, None, t, label))
    denoiser = as_denoiser(net, label, rng())
    assert not torch.equal(denoiser(x_t, 2), denoiser(x_t, 2))  # a fresh z each time


def test_z_speaks_as_loudly_as_time_and_class_from_the_start() -> None:
    torch.manual_seed(0)
    net = Generator(64, channels=32, blocks=1)
    t, label = torch.randint(1, 5, (500,)), torch.randint(0, 10, (500,))
    of_time_and_class = net.unet.embedding(t, t, label).std(0).mean()
    of_z = net.mapping(torch.randn(500, 64)).std(0).mean()
    assert 0.5 * of_time_and_class < of_z < 2 * of_time_and_class


def test_z_is_brought_to_length() -> None:
    mapping, z = Mapping(6, 12), torch.randn(3, 6)
    torch.testing.assert_close(mapping(z), mapping(10 * z))
    assert not torch.allclose(mapping(z), mapping(-z))


@pytest.mark.parametrize("kind", ["pictures", "points"])
def test_the_discriminator_sees_both_of_a_pair_and_the_time(kind: str) -> None:
    torch.manual_seed(0)
    shape = (4, 1, 28, 28) if kind == "pictures" else (4, 2)
    judge: Any = Discriminator(channels=8) if kind == "pictures" else PointDiscriminator()
    x_s, x_t, t = torch.randn(shape), torch.randn(shape), torch.tensor([1, 2, 3, 4])
    logits = judge(x_s, x_t, t)
    assert logits.shape == (4,)
    changes = [judge(x_s + 1, x_t, t), judge(x_s, x_t + 1, t), judge(x_s, x_t, 5 - t)]
    if kind == "pictures":
        changes.append(judge(x_s, x_t, t, torch.arange(4)))
    for changed in changes:
        assert not torch.allclose(logits, changed)


def test_a_batch_of_one_kind_has_no_spread() -> None:
    h = torch.randn(1, 3, 4, 4, generator=rng()).expand(5, -1, -1, -1)
    assert spread(h).max() < 1e-3
    two = torch.cat([torch.zeros(2, 1, 1, 1), torch.full((2, 1, 1, 1), 2.0)])
    torch.testing.assert_close(spread(two), torch.ones(4, 1, 1, 1))


@pytest.mark.parametrize("latent", [3, 0])
def test_both_networks_come_back_from_a_file(latent: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    judge = Discriminator(channels=8, multipliers=(1, 2))
    gan = Gan(small(latent), judge, schedule=vp_schedule(4, beta_max=15.0))
    save(tmp_path / "gan.safetensors", gan)
    back: Any = load(tmp_path / "gan.safetensors")
    assert isinstance(back, Gan)
    assert back.config == gan.config
    assert back.schedule.same_as(gan.schedule)
    x, t, z = torch.randn(3, 1, 28, 28), torch.tensor([1, 2, 4]), torch.randn(3, 3)
    for whole, half in [
        (gan.generator_net(x, z, t), back.generator_net(x, z, t)),
        (judge(x, -x, t), back.discriminator(x, -x, t)),
    ]:
        torch.testing.assert_close(whole, half, rtol=0.01, atol=0.05)  # stored in half precision


def test_networks_for_points_are_not_saved(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot save a Gan"):
        save(tmp_path / "gan.safetensors", Gan(PointGenerator(), PointDiscriminator()))


def points(count: int = 4000) -> Tensor:
    x, _ = grid_mixture(5).sample(count, rng())
    return x.float()


def test_training_that_was_cut_off_goes_on_bit_for_bit(tmp_path: Path) -> None:
    def run(steps: int, checkpoint: Path | None = None) -> Any:
        torch.manual_seed(0)
        nets = PointGenerator(width=16), PointDiscriminator(width=16)
        options = TrainOptions(steps=8, compute=CPU, checkpoint=checkpoint, save_every=4)
        batches = shuffled(points(), batch_size=64)
        for step in train_gan(*nets, batches, SCHEDULE, options, r1_every=3):
            if step.step == steps:
                return step
        raise AssertionError

    whole = run(8)
    assert isinstance(whole.model, Gan)
    run(5, tmp_path / "state")  # saved after 4
    again = run(8, tmp_path / "state")
    assert again.step == 8
    for a, b in zip(whole.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_each_update_moves_both_networks_by_their_own_rate() -> None:
    torch.manual_seed(0)
    net, judge = PointGenerator(width=16), PointDiscriminator(width=16)
    before = [p.clone() for p in (*net.parameters(), *judge.parameters())]
    optimizer = adams(lr=0.0, discriminator_lr=1e-3)
    batches = shuffled(points(), batch_size=64)
    options = TrainOptions(steps=2, compute=CPU, optimizer=optimizer)
    for _ in train_gan(net, judge, batches, SCHEDULE, options):
        pass
    n = len(list(net.parameters()))
    after = [*net.parameters(), *judge.parameters()]
    moved = [not torch.equal(a, b) for a, b in zip(before, after, strict=True)]
    assert not any(moved[:n])
    assert all(moved[n:])


@pytest.mark.parametrize("layers", [1, 3])  # with no inner weights, and with some
def test_muon_moves_the_inner_weights_of_both_and_adam_the_others(layers: int) -> None:
    torch.manual_seed(0)
    nets = PointGenerator(width=16, layers=layers), PointDiscriminator(width=16, layers=layers)
    inner = [weight for net in nets for weight in inner_weights(net)[0]]
    assert len(inner) == 2 * (layers - 1)
    weights = [weight for net in nets for weight in net.parameters()]
    before = [weight.clone() for weight in weights]
    optimizer = muons(lr=0.02, adam_lr=1e-3)
    options = TrainOptions(steps=1, compute=CPU, warmup=0, optimizer=optimizer)
    list(train_gan(*nets, shuffled(points(), batch_size=64), SCHEDULE, options))
    for then, now in zip(before, weights, strict=True):
        step = (now - then).detach()
        if any(now is weight for weight in inner):  # one pace in all directions
            values = torch.linalg.svdvals(step) / 0.02
            assert 0.6 < values[0] < 1.3
            assert values[len(values) // 4] > 0.6
        else:  # Adam's first step is its rate, but where there is next to no gradient
            assert 0 < step.abs().max() <= 1.001e-3


def test_the_discriminator_may_learn_ahead() -> None:
    """Three updates of it to one of the generator, each from noisy pairs of its own."""
    seen: list[Tensor] = []

    class Watched(PointDiscriminator):
        def forward(self, x_s: Tensor, x_t: Tensor, t: Tensor, label: None = None) -> Tensor:
            seen.append(x_t)
            return super().forward(x_s, x_t, t, label)

    net, batches = PointGenerator(width=16), shuffled(points(), batch_size=64)
    judge, options = Watched(width=16), TrainOptions(steps=1, compute=CPU)
    list(train_gan(net, judge, batches, SCHEDULE, options, r1_every=2, discriminator_updates=3))
    # Real, made and penalty at each of the three updates; the generator answers for the last.
    assert len(seen) == 3 * 3 + 1
    firsts = [float(x_t[0, 0]) for x_t in seen]
    assert len(set(firsts)) == 3
    assert firsts[-1] == firsts[-2]


@pytest.mark.parametrize("slows", [True, False])
def test_the_discriminator_may_keep_its_rate(slows: bool) -> None:
    """The generator's rate falls in a line to zero; the discriminator's with it, or not at all."""
    nets = PointGenerator(width=16), PointDiscriminator(width=16)
    rates: dict[str, list[float]] = {"generator": [], "discriminator": []}

    class Recorded(Optimizers):
        def step(self, factor: float, only: nn.Module | None = None) -> None:
            rates["generator" if only is nets[0] else "discriminator"].append(factor)

    options = TrainOptions(steps=4, warmup=0, compute=CPU, optimizer=lambda model: Recorded())
    batches = shuffled(points(), batch_size=64)
    list(train_gan(*nets, batches, SCHEDULE, options, discriminator_slows=slows))
    falling = [1.0, 0.75, 0.5, 0.25]
    assert rates["generator"] == falling
    assert rates["discriminator"] == (falling if slows else [1.0] * 4)


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, None])
def test_the_discriminator_learns_a_whole_number_of_times(wrong: Any) -> None:
    nets, options = (PointGenerator(width=16), PointDiscriminator(width=16)), TrainOptions(steps=1)
    with pytest.raises((TypeError, ValueError), match="discriminator_updates must be"):
        train_gan(*nets, lambda step: (points(),), SCHEDULE, options, discriminator_updates=wrong)


def test_an_interrupt_leaves_no_network_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(logits: Tensor) -> Tensor:
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(gan, "generator_loss", stop)
    net, judge = PointGenerator(width=16), PointDiscriminator(width=16)
    options = TrainOptions(steps=2, compute=CPU)
    run = train_gan(net, judge, shuffled(points(), batch_size=64), SCHEDULE, options)
    with pytest.raises(KeyboardInterrupt):
        list(run)
    assert all(weight.requires_grad for weight in judge.parameters())
    assert [step.step for step in run] == [1, 2]


def test_the_running_average_is_of_the_generator_alone() -> None:
    net, judge = PointGenerator(width=16), PointDiscriminator(width=16)
    options = TrainOptions(steps=5, ema=0.99, compute=CPU)
    *_, last = train_gan(net, judge, shuffled(points(), batch_size=64), SCHEDULE, options)
    kept = last.model.discriminator.state_dict()
    for name, weight in judge.state_dict().items():
        torch.testing.assert_close(kept[name], weight, rtol=0, atol=0)
    weights = zip(last.model.generator_net.parameters(), net.parameters(), strict=True)
    assert not any(torch.equal(average, now) for average, now in weights)


@pytest.mark.slow
def test_a_short_training_separates_two_lumps_and_keeps_both() -> None:
    """Four steps; the two discs below are 6 % of the square that the samples could smear over."""
    lumps = GaussianMixture(
        torch.tensor([[-1.0, 0.0], [1.0, 0.0]]), torch.tensor([0.1, 0.1]), torch.tensor([0.5, 0.5])
    )
    data, _ = lumps.sample(20_000, rng())
    torch.manual_seed(0)
    nets = PointGenerator(), PointDiscriminator()
    options = TrainOptions(steps=1200, ema=0.98, compute=CPU, optimizer=adams(1e-3, 1e-3))
    batches = shuffled(data.float(), batch_size=256)
    *_, last = train_gan(*nets, batches, SCHEDULE, options, r1=1)
    g = rng(5)
    denoiser = as_denoiser(last.model.generator_net, generator=g)
    *_, end = sample(denoiser, torch.randn(4000, 2, generator=g), SCHEDULE, generator=g)
    near = torch.cdist(end.x, lumps.means).min(1).values < 0.3
    assert near.double().mean() > 0.85
    shares = mode_counts(end.x[near], lumps.means) / near.sum()
    assert 0.3 < shares[0] < 0.7


def test_the_times_of_ddgan_are_four() -> None:
    walk = list(sample(as_denoiser(PointGenerator()), torch.randn(3, 2), SCHEDULE))
    assert [step.t for step in walk] == [4, 3, 2, 1, 0]
    betas = [1 - float(b / a) for a, b in pairwise(SCHEDULE.alpha_bar)]
    assert [round(beta, 2) for beta in betas] == [0.48, 0.85, 0.96, 0.99]
