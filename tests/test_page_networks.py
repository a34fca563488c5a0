"""A widget knows whether the page has the network behind what it was given."""

from functools import partial
from typing import Any

import pytest
import torch

pytest.importorskip("anywidget")

from diffusion_lessons.math.sampling import (
    ddim_step,
    ddpm_step,
    final,
    from_noise_model,
    sample,
)
from diffusion_lessons.math.schedule import cosine_schedule, linear_schedule
from diffusion_lessons.networks.checkpoints import load_pretrained
from diffusion_lessons.networks.compute import fast
from diffusion_lessons.networks.drawing import GUIDANCES
from diffusion_lessons.page import engine
from diffusion_lessons.page.kit import (
    decoder_behind,
    guidance_behind,
    network_behind,
    shipped_name,
)

SCHEDULE = linear_schedule()
LABEL = torch.tensor([3, 10])
X = torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def model() -> Any:
    return load_pretrained("digits-ddpm")


def changed(name: str) -> Any:
    """The network, a hair beside the shipped one."""
    model = load_pretrained(name)
    with torch.no_grad():
        next(model.parameters()).flatten()[0] += 1e-3
    return model


def test_by_its_weights_to_the_last(model: Any) -> None:
    for name in engine.NETWORKS:
        assert shipped_name(load_pretrained(name)) == name
        assert shipped_name(changed(name)) is None
    assert shipped_name(fast(model)) == "digits-ddpm"
    assert shipped_name(load_pretrained("digits-adm")) is None  # of which a page has no graph
    assert shipped_name(torch.nn.Linear(1, 1)) is None


def test_a_denoiser_however_it_is_wrapped(model: Any) -> None:
    told = {"name": "digits-ddpm", "labels": [3, 10], "clip": True}
    for denoiser in (
        from_noise_model(partial(model, label=LABEL), SCHEDULE, clip=1),
        model.denoiser(LABEL, clip=1),
        lambda x_t, t: fast(model).denoiser(LABEL)(x_t, t).clamp(-1, 1),
    ):
        assert network_behind(denoiser, X, SCHEDULE) == told
    assert network_behind(model.denoiser(), X, SCHEDULE) == {
        "name": "digits-ddpm",
        "labels": None,
        "clip": False,
    }


@pytest.mark.parametrize("name", ["digits-consistency", "digits-reflow"])
def test_a_denoiser_that_predicts_no_noise(name: str) -> None:
    """The page reads x_0 off what it predicts, under its own schedule alone."""
    student = load_pretrained(name)
    told = {"name": name, "labels": [3, 10], "clip": True}
    assert network_behind(student.denoiser(LABEL, clip=1), X, student.schedule) == told
    assert network_behind(student.denoiser(LABEL, clip=1), X, cosine_schedule()) == {}


def test_another_denoiser_is_none_of_the_pages(model: Any) -> None:
    own = model.denoiser(LABEL)
    for denoiser in (
        changed("digits-ddpm").denoiser(LABEL),
        load_pretrained("digits-adm").denoiser(LABEL),
        lambda x_t, t: 0.99 * own(x_t, t),
        lambda x_t, t: own(x_t, t).clamp(-0.9, 0.9),
        lambda x_t, t: own(x_t, t) if t > 300 else x_t,
        lambda x_t, t: (own(x_t, t) + model.denoiser()(x_t, t)) / 2,
        lambda x_t, t: x_t / 2,
    ):
        assert network_behind(denoiser, X, SCHEDULE) == {}
    assert network_behind(own, X, cosine_schedule()) == {}  # its walk would be another


@pytest.mark.parametrize("name", GUIDANCES)
def test_a_guidance(model: Any, name: str) -> None:
    told = {"name": "digits-ddpm", "guidance": name}
    wanted = told if name in ("none", "classifier-free") else {}  # no gradient in a page
    assert guidance_behind(partial(GUIDANCES[name], model), X, SCHEDULE) == wanted


def test_a_guidance_of_ones_own(model: Any) -> None:
    free = GUIDANCES["classifier-free"]
    for guided in (
        lambda label, scale: free(model, label, scale + 0.1),
        lambda label, scale: free(changed("digits-ddpm"), label, scale),
        lambda label, scale: lambda x_t, t: scale * x_t,
    ):
        assert guidance_behind(guided, X, SCHEDULE) == {}


def test_a_decoder() -> None:
    vae = load_pretrained("digits-vae")
    assert decoder_behind(vae.decode, 16) == {"name": "digits-vae"}
    assert decoder_behind(vae.logits, 16) == {}
    assert decoder_behind(changed("digits-vae").decode, 16) == {}
    assert decoder_behind(lambda z, label: vae.decode(z, label), 16) == {}


def walk(model: Any, guidance: str = "none", scale: float = 1.0, step: Any = ddim_step) -> Any:
    """A decoder of noise: three steps of a sampler."""

    def decode(z: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        denoiser = GUIDANCES[guidance](model, label, scale)
        generator = torch.Generator().manual_seed(0)
        x_T = z.view(-1, 1, 28, 28)
        return final(sample(denoiser, x_T, SCHEDULE, 3, step, generator)).x

    return decode


def test_a_decoder_that_walks_from_noise(model: Any) -> None:
    told = {"name": "digits-ddpm", "steps": 3}
    assert decoder_behind(walk(model), 784) == told
    assert decoder_behind(walk(fast(model), "classifier-free"), 784) == told  # scale 1 is the label
    for other in (
        walk(changed("digits-ddpm")),
        walk(load_pretrained("digits-adm")),
        walk(model, "classifier-free", 2.0),
        walk(model, step=ddpm_step),
        lambda z, label: 0.9 * walk(model)(z, label),
        lambda z, label: walk(model)(z, (label + 1) % 10),
        lambda z, label: z.view(-1, 1, 28, 28),
    ):
        assert decoder_behind(other, 784) == {}
