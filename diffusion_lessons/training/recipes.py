"""Named training runs, one function each: what `diffusion-lessons train NAME` does.

Every function returns the steps of `training.train`, whose last one holds the finished network.
Extra arguments (``steps``, ``seed``, ``checkpoint``, ``compute``, ...) go to `train`.
"""

import copy
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import checks
from ..data import cifar10, digits, moons, to_unit
from ..math.gaussian import forward, own_rows
from ..math.schedule import linear_schedule, vp_schedule
from ..networks.classifier import Classifier, NoisyClassifier
from ..networks.compute import Compute, best_device
from ..networks.gan import Discriminator, Gan, Generator
from ..networks.mlp import MLP
from ..networks.processes import processes
from ..networks.unet import UNet
from ..networks.vae import VAE
from .batches import shuffled
from .gan import adams, train_gan
from .loop import TrainStep, train
from .losses import noise_prediction_loss, random_times, vae_loss
from .optimizers import MuonAdamW, adamw

Recipe = Callable[..., Iterator[TrainStep]]
Kind = TypeVar("Kind", bound=nn.Module)


def digits_ddpm(
    seed: int = 0, steps: int = 10_000, start: nn.Module | None = None, **options: Any
) -> Iterator[TrainStep]:
    """A class-conditional DDPM for MNIST under the linear schedule; 10,000 steps are 21 passes.

    With ``start``, a network that is trained already, training goes on from its weights at half
    the learning rate; with the same seed it would see the same batches again.
    """
    torch.manual_seed(seed)  # the first weights
    model = UNet(channels=48, blocks=1)
    if start is not None:
        model = _to_go_on(start, UNet)
        options.setdefault("optimizer", partial(MuonAdamW, lr=0.01, adamw_lr=1e-3))
    return train_on_digits(model, seed=seed, steps=steps, batch_size=128, ema=0.999, **options)


def digits_adm(seed: int = 0, steps: int = 4000, **options: Any) -> Iterator[TrainStep]:
    """A smaller DDPM for MNIST that looks around at two resolutions, 14 and 7: lesson 04's."""
    torch.manual_seed(seed)
    model = UNet(channels=32, blocks=1, attention_resolutions=(14, 7))
    return train_on_digits(model, seed=seed, steps=steps, ema=0.999, **options)


def train_on_digits(
    model: nn.Module, seed: int = 0, batch_size: int = 64, ema: float = 0.99, **options: Any
) -> Iterator[TrainStep]:
    """Teach a network to predict the noise in MNIST digits under the linear schedule of DDPM."""
    schedule = linear_schedule()
    batches = _digit_batches(options, batch_size, seed)

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor], g: torch.Generator) -> Tensor:
        images, labels = batch
        return noise_prediction_loss(model, to_unit(images), schedule, g, labels)

    return train(model, loss, batches, seed=seed, ema=ema, **options)


def digits_classifier(seed: int = 0, steps: int = 3000, **options: Any) -> Iterator[TrainStep]:
    """The classifier in whose features samples are judged; trained on slightly shifted digits."""
    torch.manual_seed(seed)
    batches = _digit_batches(options, 128, seed)

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor], g: torch.Generator) -> Tensor:
        images, labels = batch
        return F.cross_entropy(model(_shifted(images, g)).float(), labels)

    return train(Classifier(), loss, batches, seed=seed, ema=0.99, steps=steps, **options)


def digits_noisy_classifier(
    seed: int = 0, steps: int = 6000, **options: Any
) -> Iterator[TrainStep]:
    """The classifier that guides a sampler: digits noised under the linear schedule, all times.

    Training digits, slightly shifted, at times 1..1000; 6,000 steps are 13 passes.
    """
    torch.manual_seed(seed)
    schedule = linear_schedule()
    batches = _digit_batches(options, 128, seed)

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor], g: torch.Generator) -> Tensor:
        images, labels = batch
        x_0 = _shifted(images, g)
        t = random_times(len(images), schedule.T, g).to(images.device)
        x_t = forward(x_0, 0, t, schedule).sample(g)
        return F.cross_entropy(model(x_t, t).float(), labels)

    return train(NoisyClassifier(), loss, batches, seed=seed, ema=0.999, steps=steps, **options)


def digits_vae(seed: int = 0, steps: int = 8000, **options: Any) -> Iterator[TrainStep]:
    """A class-conditional VAE for MNIST with a latent of 16 numbers; 8,000 steps are 34 passes."""
    torch.manual_seed(seed)
    batches = _digit_batches(options, 256, seed)

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor], g: torch.Generator) -> Tensor:
        images, labels = batch
        return vae_loss(model, to_unit(images), g, labels)

    return train(VAE(), loss, batches, seed=seed, ema=0.999, steps=steps, **options)


def digits_ddgan(
    seed: int = 0,
    steps: int = 6_000,
    T: int = 4,
    latent: int = 64,
    discriminator_updates: int = 2,
    lr: float | None = None,
    discriminator_lr: float | None = None,
    start: nn.Module | None = None,
    **options: Any,
) -> Iterator[TrainStep]:
    """A class-conditional denoising diffusion GAN for MNIST that draws in ``T`` steps.

    ``T`` = 1 is a plain GAN that is given noise of the picture's size; ``latent`` = 0 has no z.
    The discriminator learns ``discriminator_updates`` times an update: it must be ahead, for the
    generator can only mend what it has seen. With ``start``, a `Gan` that is trained already, both
    its networks are trained on: the generator more slowly, the discriminator at a rate that does
    not fall, and the average looks back over thousands of updates, for the two circle around the
    point that both would stay at. The rates are 2e-4 and 5e-4, then 1e-4 and 6e-4, or those given.
    """
    torch.manual_seed(seed)
    usual = (2e-4, 5e-4)
    model = Gan(Generator(latent, channels=32, blocks=1), Discriminator(channels=32), T)
    how: dict[str, Any] = {"ema": 0.999}
    if start is not None:
        model, usual = _to_go_on(start, Gan), (1e-4, 6e-4)
        how = {"ema": 0.9997, "ema_warmup": False, "discriminator_slows": False}
    lr = usual[0] if lr is None else lr
    discriminator_lr = usual[1] if discriminator_lr is None else discriminator_lr
    checks.within("lr", lr, 0, 1)
    checks.within("discriminator_lr", discriminator_lr, 0, 1)
    batches = _digit_batches(options, 64, seed)

    def prepare(batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        images, labels = batch
        return to_unit(images), labels

    return train_gan(
        model.generator_net,
        model.discriminator,
        batches,
        vp_schedule(model.T),
        prepare=prepare,
        r1=0.05,
        discriminator_updates=discriminator_updates,
        optimizer=adams(lr, discriminator_lr),
        seed=seed,
        steps=steps,
        **how,
        **options,
    )


def digits_gan(seed: int = 0, steps: int = 2000, **options: Any) -> Iterator[TrainStep]:
    """`digits_ddgan` with one step, from pure noise to the digit: a plain GAN."""
    return digits_ddgan(seed, steps, T=1, discriminator_updates=1, **options)


def cifar10_adm(
    seed: int = 0,
    steps: int = 200_000,
    channels: int = 128,
    batch_size: int = 128,
    **options: Any,
) -> Iterator[TrainStep]:
    """A class-conditional DDPM for CIFAR-10 with ADM's parts; 200,000 steps are 513 passes.

    For a GPU. Network, rates, warm-up, dropout, flips and averaging are of the size of DDPM's own
    run (appendix B, which takes 800,000 steps); AdaGN, attention at 16 and 8 with heads of 64
    channels and BigGAN's resampling are ADM's. Labels are dropped, so that it can be guided.
    """
    torch.manual_seed(seed)
    schedule = linear_schedule()
    model = UNet(
        size=32,
        in_channels=3,
        channels=channels,
        multipliers=(1, 2, 2, 2),
        blocks=2,
        unshuffle=1,
        attention_resolutions=(16, 8),
        head_channels=channels // 2,
        dropout=0.1,
    )
    with processes().one_first():  # downloads it
        images, labels = cifar10()
    device = _device(options)
    batches = shuffled(images.to(device), labels.to(device), batch_size=batch_size, seed=seed)

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor], g: torch.Generator) -> Tensor:
        images, labels = batch
        return noise_prediction_loss(model, to_unit(_flipped(images, g)), schedule, g, labels)

    how: dict[str, Any] = {"optimizer": adamw(2e-4), "warmup": 5000, "ema": 0.9999}
    return train(model, loss, batches, seed=seed, steps=steps, **(how | options))


def moons_ddpm(seed: int = 0, steps: int = 3000, **options: Any) -> Iterator[TrainStep]:
    """A DDPM for the two moons, in the plane."""
    torch.manual_seed(seed)
    schedule = linear_schedule()
    # Tiny layers gain nothing from a GPU or from bfloat16, so this one stays where it is.
    options.setdefault("compute", Compute(torch.device("cpu")))
    points, _ = moons(100_000, torch.Generator().manual_seed(seed))

    def loss(model: nn.Module, batch: tuple[Tensor], g: torch.Generator) -> Tensor:
        return noise_prediction_loss(model, batch[0], schedule, g)

    batches = shuffled(points, batch_size=512, seed=seed)
    return train(MLP(), loss, batches, seed=seed, ema=0.99, steps=steps, **options)


def _to_go_on(start: nn.Module, kind: type[Kind]) -> Kind:
    """A copy of a trained network, to be trained further."""
    if not isinstance(start, kind):
        raise ValueError(f"start must be a {kind.__name__}, got a {type(start).__name__}")
    return copy.deepcopy(start).requires_grad_()


def _digit_batches(options: dict[str, Any], batch_size: int, seed: int) -> Callable[[int], Any]:
    """Endless batches of (bytes [B, 1, 28, 28], labels [B]), on the run's device."""
    images, labels = (tensor.to(_device(options)) for tensor in digits())
    return shuffled(images, labels, batch_size=batch_size, seed=seed)


def _shifted(images: Tensor, generator: torch.Generator) -> Tensor:
    """A batch of bytes -> pictures in -1..1, moved together by up to two pixels either way."""
    shift = torch.randint(-2, 3, (2,), generator=generator, device=generator.device).tolist()
    return to_unit(images).roll(shift, (2, 3))


def _flipped(images: Tensor, generator: torch.Generator) -> Tensor:
    """Pictures [B, C, H, W], about half of them mirrored, left to right."""
    draw = partial(torch.rand, generator=generator, device=generator.device)
    flip = own_rows(draw, (len(images), 1, 1, 1), generator).to(images.device) < 0.5
    return torch.where(flip, images.flip(3), images)


def _device(options: dict[str, Any]) -> torch.device:
    compute: Compute | None = options.get("compute")
    return compute.device if compute else best_device()


RECIPES: dict[str, Recipe] = {
    "digits-ddpm": digits_ddpm,
    "digits-adm": digits_adm,
    "digits-classifier": digits_classifier,
    "digits-noisy-classifier": digits_noisy_classifier,
    "digits-vae": digits_vae,
    "digits-ddgan": digits_ddgan,
    "digits-gan": digits_gan,
    "cifar10-adm": cifar10_adm,
    "moons-ddpm": moons_ddpm,
}
