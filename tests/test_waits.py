"""Where a GPU would have to wait for the program: tried on the device "meta".

It holds no numbers, so that whoever asks for one fails; and like a GPU it is far from the program.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from diffusion_lessons import DiffusionModel, TrainOptions, ddim_step, sample
from diffusion_lessons.math.guidance import classifier_free_guidance
from diffusion_lessons.math.losses import consistency_loss
from diffusion_lessons.math.prediction import PREDICTIONS
from diffusion_lessons.math.randomness import RowGenerator
from diffusion_lessons.math.schedule import vp_schedule
from diffusion_lessons.networks.compute import Compute
from diffusion_lessons.networks.gan import Discriminator, Generator, as_denoiser
from diffusion_lessons.networks.unet import UNet
from diffusion_lessons.training import gan, loop
from diffusion_lessons.training.average import EMA
from diffusion_lessons.training.batches import shuffled
from diffusion_lessons.training.optimizers import MuonAdamW
from diffusion_lessons.training.recipes import clamped_snr

META = torch.device("meta")
TINY: dict[str, Any] = {"size": 8, "channels": 8, "blocks": 1, "attention_resolutions": (2,)}


class There(RowGenerator):
    """Numbers that are drawn on the device, as a GPU's are."""

    device = META  # type: ignore[misc, assignment]


class Copies(TorchDispatchMode):
    """Notes what is copied from the program's memory to the device; a GPU waits for each."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        made = [x for x in tree_leaves(out) if isinstance(x, Tensor)]
        copies = "copy" in str(func) and any(x.device == META for x in made)
        if copies and any(x.device.type == "cpu" for x in given):
            self.seen.append(str(func))
        return out


@contextmanager
def never_waiting() -> Iterator[None]:
    with Copies() as copies:
        yield
    assert copies.seen == []


def unet() -> DiffusionModel:
    return DiffusionModel(UNet(**TINY, classes=3)).to(META)


def pictures() -> tuple[Tensor, Tensor]:
    x = torch.empty(4, 1, 8, 8, device=META).contiguous(memory_format=torch.channels_last)
    return x, torch.zeros(4, dtype=torch.long, device=META)


def test_the_test_sees_what_waits():
    x, _ = pictures()
    with pytest.raises(RuntimeError, match="meta"):
        x.sum().item()
    with pytest.raises(AssertionError), never_waiting():
        torch.ones(3).to(META)
    assert There(1).normal((2, 3)).device == META


@pytest.mark.slow
@pytest.mark.parametrize("predict", PREDICTIONS)
def test_an_update_of_a_diffusion_model_lets_a_gpu_run_on(predict: str):
    x, label = pictures()
    model = DiffusionModel(UNet(**TINY, classes=3), prediction=PREDICTIONS[predict]).to(META)
    optimizers, average, before = MuonAdamW(model), EMA(model), loop.Before()
    model.loss(x, There(0), label).backward()  # the schedule's table goes to the device once
    batches = shuffled(torch.empty(8, 1, 8, 8, device=META), torch.arange(8).to(META), batch_size=4)
    batches(0)  # the order of a pass likewise
    with never_waiting():
        for step in range(2):
            before.take(optimizers.memory() | dict(model.named_parameters()), step)
            batches(step)
            optimizers.zero_grad()
            model.loss(x, There(step), label, weight=clamped_snr).backward()
            optimizers.step(0.5)
            average.update(model, step)


def test_an_update_of_a_consistency_model_lets_a_gpu_run_on():
    x, label = pictures()
    student, teacher = unet(), unet()
    student.loss(x, There(0), label)
    consistency_loss(student, teacher, x, [1000, 500, 0], There(0), label).backward()


def test_the_losses_of_a_gan_let_a_gpu_run_on():
    x, label = pictures()
    nets = Generator(4, **TINY, classes=3).to(META), Discriminator(channels=8, classes=3).to(META)
    schedule = vp_schedule(4)
    gan.noisy_pairs(nets[0], x, schedule, There(0), label)
    with never_waiting():
        pairs = gan.noisy_pairs(nets[0], x, schedule, There(0), label)
        seen = pairs.x_t, pairs.t, label
        real, fake = nets[1](pairs.real, *seen), nets[1](pairs.fake, *seen)
        gan.discriminator_loss(real, fake).backward()
        gan.r1_penalty(nets[1], pairs.real, *seen).backward()


def guided(model: DiffusionModel, label: Tensor) -> Any:
    return classifier_free_guidance(model.denoiser(label), model.denoiser(), 2.0)


def drawn_by_gan(_: DiffusionModel, label: Tensor) -> Any:
    return as_denoiser(Generator(4, **TINY, classes=3).to(META), label, There(0))


@pytest.mark.parametrize("make", [DiffusionModel.denoiser, guided, drawn_by_gan])
@pytest.mark.parametrize("rule", [{}, {"step": ddim_step}])
def test_a_walk_lets_a_gpu_run_on(make: Callable[..., Any], rule: dict[str, Any]):
    model, (x, label) = unet(), pictures()
    denoiser, generator = make(model, label), There(0, torch.arange(4))
    with never_waiting():
        *_, last = sample(denoiser, x, model.schedule, 3, generator=generator, **rule)
    assert last.x.device == META


# torch.compile


@pytest.mark.slow
@pytest.mark.parametrize("labelled", [True, False])
def test_the_compiler_takes_a_network_in_one_piece(labelled: bool):
    """``fullgraph`` raises where the compiler would have to cut; the backend does not matter."""
    network = UNet(**TINY, classes=3).eval()
    nn.init.normal_(network.output.weight)
    x, t = torch.randn(2, 1, 8, 8), torch.tensor([1, 9])
    label = torch.tensor([0, 2]) if labelled else None
    compiled = torch.compile(network, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x, t, label), network(x, t, label))
    model = DiffusionModel(network).with_network(compiled)
    with pytest.raises(ValueError, match=r"t must lie in 1\.\.1000"):  # looked at before
        model(x, torch.tensor([1, 1001]), label)
    with pytest.raises(IndexError):
        compiled(x, t, torch.tensor([0, 9]))


# The clock


def test_the_time_that_a_gpu_lags_behind_is_training_time(monkeypatch: pytest.MonkeyPatch):
    """A device that is asked for a number answers when it has done its work, say after a second."""
    now, value = [0.0], Tensor.item

    def late(x: Tensor) -> Any:
        now[0] += 1
        return value(x)

    monkeypatch.setattr(loop.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(Tensor, "item", late)
    model = nn.Linear(1, 1)

    def loss(model: nn.Module, batch: tuple[Tensor], g: torch.Generator) -> Tensor:
        return model(batch[0]).square().mean()

    def optimizer(model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(model.parameters(), 0.1)

    cpu = Compute(torch.device("cpu"))
    options = TrainOptions(seconds=2.5, ema=0.0, optimizer=optimizer, compute=cpu)
    *_, last = loop.train_with(model, loss, shuffled(torch.ones(4, 1), batch_size=4), options)
    assert last.step == 3 * loop.LOOK
    assert last.seconds == 3
