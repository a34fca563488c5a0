"""Named training runs, one function each: what `diffusion-lessons train NAME` does.

Every function takes `TrainOptions` and returns the steps of `training.loop.train`, whose last one
holds the finished network. What the options leave open is the recipe's own choice.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import checks
from ..data import Images, cats_and_dogs, cifar10, digits, moons, to_unit
from ..folders import Pictures
from ..math.gaussian import forward
from ..math.losses import Weight, consistency_loss, prediction_loss, random_times, vae_loss
from ..math.prediction import PREDICTIONS, VELOCITY, X0, V
from ..math.randomness import own_numbers, rand, randn_like
from ..math.schedule import SCHEDULES, straight_schedule
from ..networks.checkpoints import load_pretrained
from ..networks.classifier import Classifier, NoisyClassifier, ResidualClassifier
from ..networks.compute import Compute, best_device, chosen
from ..networks.diffusion import DiffusionModel, Usual
from ..networks.drawing import DrawSettings
from ..networks.gan import Discriminator, Gan, Generator
from ..networks.latent import LatentDiffusion
from ..networks.mlp import MLP
from ..networks.processes import processes
from ..networks.unet import UNet
from ..networks.vae import VAE
from .batches import Shuffled, shuffled
from .gan import adams, train_gan
from .loop import TrainOptions, TrainStep, train_with
from .optimizers import MuonAdamW, adamw
from .pairs import Pairs

Recipe = Callable[..., Iterator[TrainStep]]
Kind = TypeVar("Kind", bound=nn.Module)

USUAL = TrainOptions()


def digits_ddpm(
    options: TrainOptions = USUAL,
    *,
    predict: str | None = None,
    schedule: str | None = None,
    start: nn.Module | None = None,
    data: Pictures | None = None,
    flip: bool = False,
    channels: int | None = None,
    batch_size: int | None = None,
) -> Iterator[TrainStep]:
    """A class-conditional diffusion model for MNIST; 10,000 steps, its usual, are 21 passes.

    It is DDPM's unless another of `PREDICTIONS` or `SCHEDULES` is named. With ``start``, a model
    that is trained already, training goes on from its weights, under its own schedule, at half the
    learning rate; with the same seed it would see the same batches again.

    With ``data`` it is one for your own `pictures`, of their size, colours and classes, and with
    ``flip`` for their mirror images, too. It is made to be good soon, as lesson 02's is: it
    predicts x_0, weighed by `clamped_snr`, and has 32 channels (64 on a GPU) unless others are
    asked for; 3,000 steps are usual.
    """
    if data is None:
        network = partial(UNet, channels=channels or 48, blocks=1)
        model = _new(network, options.seed, predict or "noise", schedule or "linear")
    else:
        network = partial(UNet, **_sizes(data), channels=channels or _width(options), blocks=1)
        model = _new(network, options.seed, predict or "x0", schedule or "linear", data.classes)
    if start is not None:
        checks.left_open(
            "a model that training goes on from",
            predict=predict,
            schedule=schedule,
            channels=channels,
        )
        names, model = model.names, _to_go_on(start, model)
        model.names = names
        options = options.usual(optimizer=_gently)
    if data is None:
        if flip:
            raise ValueError("flip is for data of your own: a mirrored digit is none")
        return train_on_digits(
            model, options.usual(steps=10_000, ema=0.999), batch_size=batch_size or 128
        )
    weight = clamped_snr if model.prediction is X0 else None
    options = options.usual(steps=3000, ema=0.999)
    own = _own(data, flip, batch_size or 64)
    return train_on(own, model, options, batch_size or 64, weight)


def digits_adm(
    options: TrainOptions = USUAL, *, predict: str = "noise", schedule: str = "linear"
) -> Iterator[TrainStep]:
    """A smaller model for MNIST that looks around at two resolutions, 14 and 7: lesson 04's."""

    def network() -> UNet:
        return UNet(channels=32, blocks=1, attention_resolutions=(14, 7))

    model = _new(network, options.seed, predict, schedule)
    return train_on_digits(model, options.usual(steps=4000, ema=0.999))


def clamped_snr(snr: Tensor) -> Tensor:
    """How much a squared error of x_0 counts by its signal-to-noise ratio: as much, in 0.3..5.

    Min-SNR-5 (arXiv 2303.09556), that never falls below 0.3, so that what is decided in deep noise
    is learnt, too.
    """
    return snr.clamp(0.3, 5)


def train_on_digits(
    model: DiffusionModel,
    options: TrainOptions,
    batch_size: int = 64,
    weight: Weight | None = None,
) -> Iterator[TrainStep]:
    """Teach a model the MNIST digits and their classes, by its own loss, weighed if asked."""
    return train_on(digits(), model, options, batch_size, weight)


def train_on(
    data: Images,
    model: DiffusionModel,
    options: TrainOptions,
    batch_size: int = 64,
    weight: Weight | None = None,
) -> Iterator[TrainStep]:
    """Teach a model any pictures and, if it knows classes, theirs."""
    classes = bool(model.classes)

    def loss(model: Any, batch: tuple[Tensor, Tensor], g: torch.Generator) -> Tensor:
        images, labels = batch
        return model.loss(to_unit(images), g, labels if classes else None, weight=weight)

    batches = _batches(data, options, batch_size)
    return train_with(model, loss, batches, options.usual(ema=0.99))


def digits_classifier(options: TrainOptions = USUAL) -> Iterator[TrainStep]:
    """The classifier in whose features samples are judged; trained on slightly shifted digits."""
    with first_weights(options.seed):
        model = Classifier()

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor], g: torch.Generator) -> Tensor:
        images, labels = batch
        return F.cross_entropy(model(_shifted(images, g)).float(), labels)

    batches = _digit_batches(options, 128)
    return train_with(model, loss, batches, options.usual(steps=3000, ema=0.99))


def cifar10_classifier(
    options: TrainOptions = USUAL, *, channels: int = 32, batch_size: int = 128
) -> Iterator[TrainStep]:
    """The classifier in whose features pictures like CIFAR-10's are judged.

    Trained on the 50,000, mirrored and shifted by up to two pixels; for a CPU, so 5,000 steps, its
    usual, are 13 passes.
    """
    with first_weights(options.seed):
        model = ResidualClassifier(channels=channels)

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor], g: torch.Generator) -> Tensor:
        images, labels = batch
        return F.cross_entropy(model(_moved(images, g)).float(), labels, label_smoothing=0.1)

    with processes().one_first():
        data = cifar10()
    batches = _batches(data, options, batch_size)
    return train_with(model, loss, batches, options.usual(steps=5000, ema=0.99))


def digits_noisy_classifier(
    options: TrainOptions = USUAL, *, schedule: str = "linear"
) -> Iterator[TrainStep]:
    """The classifier that guides a sampler: digits noised at all times of its schedule.

    Training digits, slightly shifted, at times 1..1000; 6,000 steps, its usual, are 13 passes.
    """
    checks.one_of("schedule", schedule, SCHEDULES)
    with first_weights(options.seed):
        model = NoisyClassifier(schedule=SCHEDULES[schedule](T=1000))

    batches = _digit_batches(options, 128)
    return _train_noisy(model, batches, _shifted, options.usual(steps=6000, ema=0.999))


def cats_dogs_noisy_classifier(
    options: TrainOptions = USUAL,
    *,
    schedule: str = "cosine",
    channels: int = 20,
    batch_size: int = 128,
) -> Iterator[TrainStep]:
    """The classifier that guides `cats_dogs_ddpm`: cats (0) and dogs (1) of CIFAR-10, noised.

    The 10,000 to train on, mirrored and shifted by up to two pixels, at times 1..1000; 3,000 steps,
    its usual, are 38 passes.
    """
    checks.one_of("schedule", schedule, SCHEDULES)
    with first_weights(options.seed):
        model = NoisyClassifier(
            size=32,
            in_channels=3,
            channels=channels,
            classes=2,
            schedule=SCHEDULES[schedule](T=1000),
        )
    with processes().one_first():
        data = cats_and_dogs()
    batches = _batches(data, options, batch_size)
    return _train_noisy(model, batches, _moved, options.usual(steps=3000, ema=0.995))


def _train_noisy(
    model: NoisyClassifier,
    batches: Shuffled,
    moved: Callable[[Tensor, torch.Generator], Tensor],
    options: TrainOptions,
) -> Iterator[TrainStep]:
    """Teach it the classes of bytes that were moved into -1..1, then noised at any time."""

    def loss(network: Any, batch: tuple[Tensor, Tensor], g: torch.Generator) -> Tensor:
        images, labels = batch
        x_0 = moved(images, g)
        t = random_times(len(images), model.schedule.T, g).to(images.device)
        x_t = forward(x_0, 0, t, model.schedule).sample(g)
        return F.cross_entropy(network(x_t, t).float(), labels)

    return train_with(model, loss, batches, options)


def digits_vae(options: TrainOptions = USUAL) -> Iterator[TrainStep]:
    """A class-conditional VAE for MNIST with a latent of 16 numbers.

    8,000 steps, its usual, are 34 passes.
    """
    with first_weights(options.seed):
        model = VAE()

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor], g: torch.Generator) -> Tensor:
        images, labels = batch
        return vae_loss(model, to_unit(images), g, labels)

    batches = _digit_batches(options, 256)
    return train_with(model, loss, batches, options.usual(steps=8000, ema=0.999))


def digits_latent(
    options: TrainOptions = USUAL,
    *,
    predict: str = "velocity",
    schedule: str = "straight",
    batch_size: int = 256,
) -> Iterator[TrainStep]:
    """A class-conditional diffusion model of the latents that `digits-vae` makes of MNIST.

    Every digit is encoded once; each batch draws its latents anew from q(z | x). The network is
    an `MLP`. 12,000 steps, its usual, are 51 passes.
    """
    name = "digits-vae"
    vae = cast(VAE, load_pretrained(name))
    with torch.no_grad():
        parts = zip(*(part.split(1000) for part in digits()), strict=True)
        pairs = [(*vae.encode(to_unit(images), label), label) for images, label in parts]
    mean, std, labels = (torch.cat(part) for part in zip(*pairs, strict=True))
    variance = mean.var(0).mean() + std.square().mean()
    network = partial(MLP, dim=vae.latent, width=256, classes=vae.classes)
    model = LatentDiffusion(
        _new(network, options.seed, predict, schedule),
        name,
        round(float(variance) ** -0.5, 4),  # the last bits are the machine's
    )

    def loss(model: Any, batch: tuple[Tensor, Tensor, Tensor], g: torch.Generator) -> Tensor:
        mean, std, label = batch
        z = model.scale * (mean + std * randn_like(mean, g))
        return model.model.loss(z, g, label)

    batches = shuffled(mean, std, labels, batch_size=batch_size, seed=options.seed)
    # Tiny layers: see `moons_ddpm`.
    options = options.usual(
        steps=12_000, optimizer=adamw(2e-3), ema=0.999, compute=Compute(torch.device("cpu"))
    )
    return train_with(model, loss, batches, options)


def digits_ddgan(
    options: TrainOptions = USUAL,
    *,
    T: int | None = None,
    latent: int | None = None,
    discriminator_updates: int = 2,
    lr: float | None = None,
    discriminator_lr: float | None = None,
    start: nn.Module | None = None,
    data: Pictures | None = None,
    flip: bool = False,
    channels: int = 32,
    batch_size: int = 64,
) -> Iterator[TrainStep]:
    """A class-conditional denoising diffusion GAN for MNIST that draws in ``T`` steps.

    ``T`` is 4 and ``latent`` 64 unless given: ``T`` = 1 is a plain GAN that is given noise of the
    picture's size, ``latent`` = 0 has no z.
    The discriminator learns ``discriminator_updates`` times an update: it must be ahead, for the
    generator can only mend what it has seen. With ``start``, a `Gan` that is trained already, both
    its networks are trained on: the generator more slowly, the discriminator at a rate that does
    not fall, and the average looks back over thousands of updates, for the two circle around the
    point that both would stay at. The rates are 2e-4 and 5e-4, then 1e-4 and 6e-4, or those given.
    6,000 steps are usual. With ``data`` it is one for your own `pictures`, of their size, colours
    and classes and, with ``flip``, for their mirror images, too.
    """
    rates = (2e-4, 5e-4)
    sizes = {} if data is None else _sizes(data)
    if data is None and flip:
        raise ValueError("flip is for data of your own: a mirrored digit is none")
    with first_weights(options.seed):
        generator_net = Generator(
            64 if latent is None else latent, **sizes, channels=channels, blocks=1
        )
        seen = {name: value for name, value in sizes.items() if name != "size"}
        discriminator = Discriminator(**seen, channels=channels)
        model = Gan(generator_net, discriminator, 4 if T is None else T)
    if start is not None:
        checks.left_open("a Gan that training goes on from", T=T, latent=latent)
        model, rates = _to_go_on(start, model), (1e-4, 6e-4)
        options = options.usual(ema=0.9997, ema_warmup=False)
    lr = rates[0] if lr is None else lr
    discriminator_lr = rates[1] if discriminator_lr is None else discriminator_lr
    lr = checks.within("lr", lr, 0, 1)
    discriminator_lr = checks.within("discriminator_lr", discriminator_lr, 0, 1)

    classes = bool(model.classes)

    def prepare(batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor | None]:
        images, labels = batch
        return to_unit(images), labels if classes else None

    images = digits() if data is None else _own(data, flip, batch_size)
    return train_gan(
        model.generator_net,
        model.discriminator,
        _batches(images, options, batch_size),
        model.schedule,
        options.usual(steps=6000, ema=0.999, optimizer=adams(lr, discriminator_lr)),
        prepare=prepare,
        discriminator_updates=discriminator_updates,
        discriminator_slows=start is None,
    )


def digits_gan(options: TrainOptions = USUAL) -> Iterator[TrainStep]:
    """`digits_ddgan` with one step, from pure noise to the digit: a plain GAN; 2,000 steps."""
    return digits_ddgan(options.usual(steps=2000), T=1, discriminator_updates=1)


def digits_consistency(
    options: TrainOptions = USUAL,
    *,
    start: nn.Module | None = None,
    walk: int = 12,
    batch_size: int = 64,
) -> Iterator[TrainStep]:
    """`digits-ddpm`, or the model ``start``, distilled into one that draws in 1, 2 or 4 calls.

    See `consistency_loss`; ``walk`` is the number of DDIM's steps whose end it learns to tell from
    anywhere. It begins with the teacher's weights, and predicts v, for a predicted noise says
    hardly anything of x_0 where the walk begins. 3,000 steps are usual.
    """
    teacher = _teacher(start, options)
    network = copy.deepcopy(teacher.network).requires_grad_()
    model = DiffusionModel(network, teacher.schedule, V, Usual("consistency", 2))
    times = teacher.schedule.times(walk)
    classes = bool(model.classes)

    def loss(model: Any, batch: tuple[Tensor, Tensor], g: torch.Generator) -> Tensor:
        images, labels = batch
        label = labels if classes else None
        return consistency_loss(model, teacher, to_unit(images), times, g, label)

    batches = _digit_batches(options, batch_size)
    usual = options.usual(steps=3000, ema=0.999, optimizer=_gently)
    return train_with(model, loss, batches, usual)


def digits_reflow(
    options: TrainOptions = USUAL,
    *,
    start: nn.Module | None = None,
    walk: int = 10,
    batch_size: int = 64,
) -> Iterator[TrainStep]:
    """`digits-ddpm`, or the model ``start``, made straight, so that 1, 2 or 4 steps of Euler do.

    Reflow (Liu et al., arXiv 2209.03003): a new model learns the velocity of the straight line from
    each noise to the picture that the teacher's ``walk`` steps of DDIM make of that very noise
    (`Pairs`). It begins with the teacher's weights. 3,000 steps are usual.
    """
    teacher = _teacher(start, options)
    network = copy.deepcopy(teacher.network).requires_grad_()
    model = DiffusionModel(network, straight_schedule(), VELOCITY, Usual("euler", 2))
    classes = bool(model.classes)

    def loss(model: Any, batch: tuple[Tensor, ...], g: torch.Generator) -> Tensor:
        x_0, noise, label = batch
        return prediction_loss(
            model, x_0, model.schedule, VELOCITY, g, label if classes else None, noise=noise
        )

    batches = Pairs(teacher, DrawSettings(walk), batch_size, options.seed, chosen(options.compute))
    usual = options.usual(steps=3000, ema=0.999, optimizer=_gently)
    return train_with(model, loss, batches, usual)


def _gently(model: nn.Module) -> MuonAdamW:
    """For weights that are trained already: half the usual rates."""
    return MuonAdamW(model, lr=0.01, adamw_lr=1e-3)


def _teacher(start: nn.Module | None, options: TrainOptions) -> DiffusionModel:
    """The model to learn from, `digits-ddpm` unless another is given, where it will be asked."""
    teacher = load_pretrained("digits-ddpm") if start is None else copy.deepcopy(start)
    checks.instance("start", teacher, DiffusionModel)
    chosen(options.compute).place(teacher)
    return cast(DiffusionModel, teacher.eval().requires_grad_(False))


def cifar10_adm(
    options: TrainOptions = USUAL,
    *,
    predict: str = "x0",
    schedule: str = "cosine",
    channels: int = 64,
    unshuffle: int = 2,
    batch_size: int = 512,
) -> Iterator[TrainStep]:
    """A class-conditional diffusion model for CIFAR-10 with ADM's parts.

    For some minutes of a large GPU: 7.7 million weights, on 16 x 16 positions at most, and what is
    predicted is learnt soonest: x_0, weighed by `clamped_snr`. 28,000 steps, its usual, are 287
    passes, half of the pictures mirrored, and 3.7e16 operations (2.6e9 for a picture there and
    back). AdaGN, heads of half the channels and BigGAN's resampling are ADM's. Labels are dropped,
    so that it can be guided. With ``unshuffle`` 1 it works on all 32 x 32 positions, one level
    more, and with 128 ``channels`` it is then of the size of DDPM's own (appendix B), 44 million
    weights and 16 times as many operations.
    """

    def network() -> UNet:
        return UNet(
            size=32,
            in_channels=3,
            channels=channels,
            multipliers=(1, 2, 2, 2) if unshuffle == 1 else (1, 2, 2),
            blocks=2,
            unshuffle=unshuffle,
            attention_resolutions=(16, 8) if unshuffle == 1 else (8,),
            head_channels=channels // 2,
        )

    checks.whole("unshuffle", unshuffle, 1, 2)
    model = _new(network, options.seed, predict, schedule)
    with processes().one_first():  # downloads it
        data = cifar10()
    options = options.usual(steps=28_000, warmup=100, ema=0.9995)
    return _train_mirrored(data, model, options, batch_size)


def cats_dogs_ddpm(
    options: TrainOptions = USUAL,
    *,
    predict: str = "x0",
    schedule: str = "cosine",
    channels: int = 32,
    batch_size: int = 64,
) -> Iterator[TrainStep]:
    """A class-conditional diffusion model for the cats (0) and dogs (1) of CIFAR-10.

    For two CPU cores, so it is small (1.9 million weights), works on 16 x 16 positions at most and
    predicts what is learnt soonest: x_0, weighed by `clamped_snr`. 11,000 steps, its usual, are 70
    passes through the 10,000 pictures, half of them mirrored.
    """

    def network() -> UNet:
        return UNet(
            size=32,
            in_channels=3,
            channels=channels,
            multipliers=(1, 2, 2),
            blocks=2,
            attention_resolutions=(8,),
            classes=2,
        )

    model = _new(network, options.seed, predict, schedule, ("cat", "dog"))
    with processes().one_first():
        data = cats_and_dogs()
    options = options.usual(steps=11_000, ema=0.999)
    return _train_mirrored(data, model, options, batch_size)


def _train_mirrored(
    data: Images, model: DiffusionModel, options: TrainOptions, batch_size: int
) -> Iterator[TrainStep]:
    """Teach a model pictures, half of them mirrored, and their classes; x_0 is weighed."""
    weight = clamped_snr if model.prediction is X0 else None

    def loss(model: Any, batch: tuple[Tensor, Tensor], g: torch.Generator) -> Tensor:
        images, labels = batch
        return model.loss(to_unit(_flipped(images, g)), g, labels, weight=weight)

    return train_with(model, loss, _batches(data, options, batch_size), options)


def moons_ddpm(
    options: TrainOptions = USUAL, *, predict: str = "noise", schedule: str = "linear"
) -> Iterator[TrainStep]:
    """A diffusion model for the two moons, in the plane; 3,000 steps are usual."""
    model = _new(MLP, options.seed, predict, schedule)
    if predict == "noise":
        checks.readable(float(model.schedule.sigma[-1] / model.schedule.alpha[-1]))
    points, _ = moons(100_000, torch.Generator().manual_seed(options.seed))

    def loss(model: Any, batch: tuple[Tensor], g: torch.Generator) -> Tensor:
        return model.loss(batch[0], g)

    batches = shuffled(points, batch_size=512, seed=options.seed)
    # Tiny layers gain nothing from a GPU or from bfloat16, so this one stays where it is.
    options = options.usual(steps=3000, ema=0.99, compute=Compute(torch.device("cpu")))
    return train_with(model, loss, batches, options)


def first_weights(seed: int) -> AbstractContextManager[None]:
    """Networks made in here have the weights that the seed gives; the caller's numbers stay his."""
    return own_numbers(seed)


def _new(
    network: Callable[[], nn.Module],
    seed: int,
    predict: str,
    schedule: str,
    names: Sequence[str] = (),
) -> DiffusionModel:
    """A model with first weights of the seed's own, and the names of its classes."""
    checks.one_of("predict", predict, PREDICTIONS)
    checks.one_of("schedule", schedule, SCHEDULES)
    with first_weights(seed):
        return DiffusionModel(
            network(), SCHEDULES[schedule](T=1000), PREDICTIONS[predict], names=names
        )


def _to_go_on(start: nn.Module, usual: Kind) -> Kind:
    """A copy of a trained network of the same kind as the usual one, to be trained further."""
    kind = type(usual)
    if not isinstance(start, kind):
        raise ValueError(f"start must be a {kind.__name__}, got a {type(start).__name__}")
    if (start.shape, start.classes) != (usual.shape, usual.classes):
        raise ValueError(
            f"start must draw {usual.shape} in {usual.classes} classes, and draws {start.shape} in "
            f"{start.classes}"
        )
    return copy.deepcopy(start).requires_grad_()


def _sizes(data: Pictures) -> dict[str, Any]:
    """What a U-Net's arguments must be for these pictures."""
    C, size, _ = data.shape
    unshuffle = 4 if size > 32 and size % 8 == 0 else 2  # it works on at most 16 x 16 positions
    return {
        "size": size,
        "in_channels": C,
        "classes": len(data.classes),
        "unshuffle": unshuffle,
    }


def _width(options: TrainOptions) -> int:
    """Channels of a network for your own pictures, so that minutes are enough on the machine."""
    return 32 if _device(options).type == "cpu" else 64


def _own(data: Pictures, flip: bool, batch_size: int) -> Images:
    """The pictures to train on, and their mirror images. ValueError if they do not fill a batch."""
    images, labels = data.train
    if flip:
        images, labels = torch.cat([images, images.flip(3)]), labels.repeat(2)
    count = len(labels)
    if count < batch_size:
        raise ValueError(
            f"{data.folder} has {count} pictures to train on, fewer than a batch of {batch_size}: "
            f"add some, or take smaller batches (batch_size={max(1, count // 2)}; of the command, "
            f"--set batch_size={max(1, count // 2)})"
        )
    return Images(images, labels)


def _digit_batches(options: TrainOptions, batch_size: int) -> Shuffled:
    return _batches(digits(), options, batch_size)


def _batches(data: Images, options: TrainOptions, batch_size: int) -> Shuffled:
    """Endless batches of (bytes [B, C, H, W], labels [B]), on the run's device."""
    images, labels = (tensor.to(_device(options)) for tensor in data)
    return shuffled(images, labels, batch_size=batch_size, seed=options.seed)


def _shifted(images: Tensor, generator: torch.Generator) -> Tensor:
    """A batch of bytes -> pictures in -1..1, moved together by up to two pixels either way."""
    shift = torch.randint(-2, 3, (2,), generator=generator, device=generator.device).tolist()
    return to_unit(images).roll(shift, (2, 3))


def _flipped(images: Tensor, generator: torch.Generator) -> Tensor:
    """Pictures [B, C, H, W], about half of them mirrored, left to right."""
    flip = rand((len(images), 1, 1, 1), generator, images.device) < 0.5
    return torch.where(flip, images.flip(3), images)


def _moved(images: Tensor, generator: torch.Generator) -> Tensor:
    """A batch of bytes -> pictures in -1..1, half of them mirrored, each shifted a little."""
    return to_unit(_each_shifted(_flipped(images, generator), generator))


def _each_shifted(images: Tensor, generator: torch.Generator, most: int = 2) -> Tensor:
    """Bytes [B, C, H, W], each picture moved by up to ``most`` pixels either way.

    What comes in over an edge is the mirror image of what lies behind it.
    """
    B, _, H, W = images.shape
    wide = F.pad(images.float(), (most,) * 4, mode="reflect").to(images.dtype)
    shift = (rand((B, 2), generator, images.device) * (2 * most + 1)).long()
    rows = shift[:, :1] + torch.arange(H, device=images.device)
    columns = shift[:, 1:] + torch.arange(W, device=images.device)
    batch = torch.arange(B, device=images.device)[:, None, None]
    return wide.movedim(1, 3)[batch, rows[:, :, None], columns[:, None]].movedim(3, 1)


def _device(options: TrainOptions) -> torch.device:
    return options.compute.device if options.compute else best_device()


RECIPES: dict[str, Recipe] = {
    "digits-ddpm": digits_ddpm,
    "digits-adm": digits_adm,
    "digits-classifier": digits_classifier,
    "digits-noisy-classifier": digits_noisy_classifier,
    "cifar10-classifier": cifar10_classifier,
    "cats-dogs-noisy-classifier": cats_dogs_noisy_classifier,
    "digits-vae": digits_vae,
    "digits-latent": digits_latent,
    "digits-ddgan": digits_ddgan,
    "digits-gan": digits_gan,
    "digits-consistency": digits_consistency,
    "digits-reflow": digits_reflow,
    "cifar10-adm": cifar10_adm,
    "cats-dogs-ddpm": cats_dogs_ddpm,
    "moons-ddpm": moons_ddpm,
}
