"""A diffusion model is a network, what it predicts and its schedule: all three, or none."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from diffusion_lessons import (
    NOISE,
    PREDICTIONS,
    SAMPLERS,
    SCORE,
    VELOCITY,
    X0,
    DiffusionModel,
    DrawSettings,
    GaussianMixture,
    NoiseSchedule,
    Prediction,
    V,
    cosine_schedule,
    digits,
    linear_schedule,
    load_pretrained,
    prediction_loss,
    shuffled,
    straight_schedule,
    to_unit,
    train,
    vp_schedule,
    zero_terminal,
)
from diffusion_lessons.measuring.drawing import draw
from diffusion_lessons.networks.checkpoints import load, save
from diffusion_lessons.networks.compute import Compute, Fast, fast
from diffusion_lessons.networks.drawing import Drawer
from diffusion_lessons.networks.mlp import MLP
from diffusion_lessons.networks.unet import UNet

FLOAT32 = Compute(torch.device("cpu"))
MIXTURE = GaussianMixture(
    torch.tensor([[-1.0, 0.5], [0.8, -0.4]]), torch.tensor([0.2, 0.3]), torch.tensor([0.6, 0.4])
)
SCHEDULES = {
    "linear": linear_schedule(),
    "cosine": cosine_schedule(),
    "vp": vp_schedule(1000),
    "straight": straight_schedule(),
    "zero terminal": zero_terminal(linear_schedule()),
}


class Exact(nn.Module):
    """A network that knows the mixture, and answers in the words of its prediction."""

    shape = (2,)

    def __init__(self, schedule: NoiseSchedule, prediction: Prediction) -> None:
        super().__init__()
        self.schedule, self.prediction = schedule, prediction

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        x_0 = MIXTURE.denoise(x_t, t, self.schedule)
        return self.prediction.from_x0(x_0, x_t, t, self.schedule)


def small_unet(**options: Any) -> UNet:
    torch.manual_seed(0)
    sizes = {"size": 8, "channels": 8, "blocks": 1, "attention_resolutions": (), "heads": 2}
    return UNet(**sizes | options).eval()


# What it is


def test_without_more_it_is_ddpms_noise_under_the_linear_schedule():
    model = DiffusionModel(small_unet())
    assert model.prediction is NOISE
    assert model.schedule.same_as(linear_schedule())
    assert isinstance(model, Drawer)
    assert (model.shape, model.classes, model.limit) == ((1, 8, 8), 10, 1.0)
    points = DiffusionModel(MLP(width=16))
    assert (points.shape, points.classes, points.limit) == ((2,), 0, None)


def test_called_it_is_its_network():
    model = DiffusionModel(small_unet(), cosine_schedule(), V)
    x_t, t, label = torch.randn(3, 1, 8, 8), torch.tensor([1, 40, 1000]), torch.tensor([0, 9, 10])
    torch.testing.assert_close(model(x_t, t, label), model.network(x_t, t, label), rtol=0, atol=0)
    torch.testing.assert_close(model(x_t, t), model.network(x_t, t), rtol=0, atol=0)


def test_its_weights_carry_the_networks_own_names():
    model = DiffusionModel(small_unet())
    assert model.state_dict().keys() == model.network.state_dict().keys()
    twin = DiffusionModel(UNet(**model.network.config))
    twin.load_state_dict(model.state_dict())
    assert all(
        torch.equal(a, b) for a, b in zip(twin.parameters(), model.parameters(), strict=True)
    )


@pytest.mark.parametrize("prediction", [X0, V, VELOCITY], ids=lambda prediction: prediction.name)
def test_a_schedule_that_leaves_nothing_of_x_0_suits_all_predictions_but_noise(
    prediction: Prediction,
):
    for schedule in (straight_schedule(10), zero_terminal(linear_schedule(10))):
        assert DiffusionModel(MLP(width=16), schedule, prediction).schedule is schedule
        with pytest.raises(ValueError, match="predicted noise; predict x0, v or velocity"):
            DiffusionModel(MLP(width=16), schedule, NOISE)


def test_a_faster_network_changes_nothing_else():
    model = DiffusionModel(small_unet(), cosine_schedule(), V)
    faster = fast(model, FLOAT32)
    assert isinstance(faster.network, Fast)
    assert isinstance(model.network, UNet)  # the model that was given is as it was
    assert (faster.prediction, faster.schedule) == (model.prediction, model.schedule)
    x_t, t = torch.randn(2, 1, 8, 8), torch.tensor([1, 1000])
    torch.testing.assert_close(faster(x_t, t), model(x_t, t))


# Its times


@pytest.mark.parametrize("name", ["digits-ddpm", "moons-ddpm", "digits-noisy-classifier"])
@pytest.mark.parametrize(
    "t",
    [
        torch.ones(4),
        torch.ones(4).bool(),
        torch.ones(1).long(),
        torch.tensor(0),
        1001,
        1.0,
        None,
        [1, 2],
        torch.ones(4, 1).long(),
        torch.tensor([0, 1, 2, 3]),
        torch.tensor([1, 2, 3, 1001]),
        torch.tensor([1, 2, -1, 3]),
        torch.full((4,), 5000),
    ],
    ids=lambda t: str(t.tolist() if isinstance(t, Tensor) else t),
)
def test_a_time_that_is_none_of_its_schedule_is_refused(name: str, t: Any):
    model = load_pretrained(name)
    x_t = torch.zeros(4, 2) if name == "moons-ddpm" else torch.zeros(4, 1, 28, 28)
    with pytest.raises((TypeError, ValueError), match=r"t must .*1\.\.1000"):
        model(x_t, t)


@pytest.mark.parametrize(
    "t", [5, [5, 5], np.int64(5), np.array([5, 5]), torch.tensor(5), torch.tensor([5, 5]).short()]
)
def test_integers_of_any_kind_are_times(t: Any):
    model, x_t = DiffusionModel(MLP(width=16)), torch.ones(2, 2)
    torch.testing.assert_close(model(x_t, t), model(x_t, torch.tensor([5, 5])), rtol=0, atol=0)


def test_the_first_and_the_last_step_are_times():
    model = DiffusionModel(MLP(width=16), cosine_schedule(50))
    assert model(torch.zeros(2, 2), torch.tensor([1, 50])).shape == (2, 2)
    with pytest.raises(ValueError, match=r"1\.\.50, the steps of the schedule, got 1..51"):
        model(torch.zeros(2, 2), torch.tensor([1, 51]))


# What it is for


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("prediction", PREDICTIONS.values(), ids=PREDICTIONS)
def test_whatever_the_exact_network_predicts_its_denoiser_is_the_exact_one(
    prediction: Prediction, schedule: NoiseSchedule
):
    if prediction is NOISE and schedule.alpha[-1] == 0:
        return  # there is none
    model = DiffusionModel(Exact(schedule, prediction), schedule, prediction)
    x_t = torch.randn(40, 2, generator=torch.Generator().manual_seed(0)).double()
    for t in (1, 10, 500, 999, 1000):
        exact = MIXTURE.denoise(x_t, t, schedule)
        torch.testing.assert_close(model.denoiser()(x_t, t), exact, rtol=1e-6, atol=1e-6)
        clipped = model.denoiser(clip=0.5)(x_t, t)
        torch.testing.assert_close(clipped, exact.clamp(-0.5, 0.5), rtol=1e-6, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_what_is_drawn_does_not_hang_on_what_is_predicted(schedule: NoiseSchedule, sampler: str):
    # From next to nothing of x_0, as under the cosine schedule, Heun's first step must be short.
    settings = DrawSettings(200 if sampler == "heun" else 20, sampler=sampler)
    drawn = {}
    for prediction in PREDICTIONS.values():
        if prediction is not NOISE or schedule.alpha[-1] > 0:
            model = DiffusionModel(Exact(schedule, prediction), schedule, prediction)
            drawn[prediction.name] = draw(model, 50, settings, compute=FLOAT32)
    for points in drawn.values():
        torch.testing.assert_close(points, drawn["x0"], rtol=0, atol=5e-3)
    distance = torch.cdist(drawn["x0"], MIXTURE.means).amin(1)
    assert distance.mean() < 0.6  # they have arrived
    assert drawn["x0"].std() > 0.3  # and not at one place


def test_its_loss_is_that_of_its_own_prediction_under_its_own_schedule():
    x_0, label = to_unit(digits(train=False).images[:8, :, 10:18, 10:18]), torch.arange(8)
    model = DiffusionModel(small_unet(), cosine_schedule(), V)

    def generator() -> torch.Generator:
        return torch.Generator().manual_seed(3)

    loss = model.loss(x_0, generator(), label, drop_label=0.5)
    own = prediction_loss(model.network, x_0, cosine_schedule(), V, generator(), label, 0.5)
    torch.testing.assert_close(loss, own, rtol=0, atol=0)
    other = prediction_loss(model.network, x_0, linear_schedule(), NOISE, generator(), label, 0.5)
    assert abs(loss - other) > 1e-3


# What cannot be made again is not saved; what differs is not gone on with


def test_a_fast_model_is_saved_as_the_model_it_is(tmp_path):
    model = DiffusionModel(UNet(size=8, channels=8, blocks=1, attention_resolutions=()))
    save(tmp_path / "plain.safetensors", model)
    save(tmp_path / "fast.safetensors", fast(model, Compute(torch.device("cpu"))))
    one, other = (load(tmp_path / f"{name}.safetensors") for name in ("plain", "fast"))
    assert one.about == other.about
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name])


@pytest.mark.parametrize(
    ("schedule", "prediction", "message"),
    [
        (linear_schedule(), SCORE, "what the network predicts must be one of"),
        (linear_schedule(), Prediction("v", NOISE.mixture), "not in PREDICTIONS"),
        (
            NoiseSchedule([1.0, 0.5, 0.1], config={"kind": "linear", "T": 2}),
            NOISE,
            "its config describes another schedule",
        ),
    ],
)
def test_what_its_card_would_not_make_again_is_not_saved(tmp_path, schedule, prediction, message):
    path = tmp_path / "model.safetensors"
    with pytest.raises(ValueError, match=message):
        save(path, DiffusionModel(MLP(width=8), schedule, prediction))
    assert not path.exists()


class Layers(nn.Module):
    """A network of somebody else's, which has neither kind nor config."""

    shape = (2,)

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, x_t, t):
        return self.layer(x_t)


def test_a_run_of_anybodys_network_knows_its_schedule_and_prediction(tmp_path):
    def run(schedule, prediction):
        model = DiffusionModel(Layers(), schedule, prediction)
        data = shuffled(torch.randn(64, 2), batch_size=8)
        return list(
            train(
                model,
                lambda model, batch, g: model.loss(batch[0], g),
                data,
                steps=2,
                compute=Compute(torch.device("cpu")),
                checkpoint=tmp_path / "own.training",
            )
        )

    run(straight_schedule(), V)
    run(straight_schedule(), V)
    with pytest.raises(ValueError, match="another schedule"):
        run(cosine_schedule(), V)
    with pytest.raises(ValueError, match="another prediction"):
        run(straight_schedule(), X0)


def test_a_walk_starts_as_wide_as_its_schedule_ends():
    """Under a path without scaling x_T is 20 times as wide as noise."""
    u = torch.arange(101, dtype=torch.float64) / 100
    schedule = NoiseSchedule(alpha=torch.ones_like(u), sigma=20 * u)
    assert schedule.start_std == pytest.approx(401**0.5)
    assert linear_schedule().start_std == pytest.approx(1, abs=1e-12)
    starts = []

    class Seen(Layers):
        def forward(self, x_t, t):
            starts.append(x_t)
            return super().forward(x_t, t)

    draw(DiffusionModel(Seen(), schedule, X0), 2000, DrawSettings(steps=2))
    assert starts[0].std() == pytest.approx(20, rel=0.05)


def test_drawing_leaves_dropout_out_and_the_mode_as_it_was():
    network = UNet(size=8, channels=8, blocks=1, attention_resolutions=(), classes=0, dropout=0.5)
    model = DiffusionModel(network)
    model.train()
    one, other = (draw(model, 3, DrawSettings(steps=2)) for _ in range(2))
    assert torch.equal(one, other)
    assert model.training


def test_labels_may_be_of_any_integer_format():
    model = DiffusionModel(UNet(size=8, channels=8, blocks=1, attention_resolutions=(), classes=3))
    labels = torch.tensor([0, 2, 1])
    wanted = draw(model, labels, DrawSettings(steps=2))
    for dtype in (torch.uint8, torch.int16, torch.int32):
        assert torch.equal(draw(model, labels.to(dtype), DrawSettings(steps=2)), wanted)


# How it is usually drawn from


def test_without_more_it_is_drawn_from_by_50_steps_of_ddim():
    model = DiffusionModel(MLP(width=8))
    assert model.usual == ("ddim", 50)
    assert "usual" not in model.about  # as on every card before
    assert model.settled(DrawSettings()) == DrawSettings(50, 0.0, "ddim")


@pytest.mark.parametrize(
    ("usual", "eta"), [(("consistency", 2), 0.0), (("ddpm", 9), 1.0), (("euler", 4), 0.0)]
)
def test_its_usual_sampler_and_steps_are_saved_and_loaded(usual, eta, tmp_path):
    model = DiffusionModel(MLP(width=8), straight_schedule(20), V, usual)
    save(tmp_path / "model.safetensors", model)
    again = load(tmp_path / "model.safetensors")
    assert again.usual == model.usual == usual
    sampler, steps = usual
    assert again.settled(DrawSettings()) == DrawSettings(steps, eta, sampler)
    asked = again.settled(DrawSettings(7, sampler="heun"))
    assert (asked.steps, asked.sampler) == (7, "heun")
    wanted = draw(model, 5, DrawSettings(steps, eta, sampler))
    torch.testing.assert_close(draw(again, 5), wanted, rtol=1e-2, atol=1e-2)  # saved in halves


def test_the_names_of_its_classes_are_saved_and_loaded(tmp_path):
    model = DiffusionModel(MLP(width=8, classes=2), names=["cat", "dog"])
    assert model.about["data"] == {"classes": ["cat", "dog"]}
    save(tmp_path / "m.safetensors", model)
    assert load(tmp_path / "m.safetensors").names == ("cat", "dog")
    assert fast(model, FLOAT32).names == ("cat", "dog")
    # What a recipe tells of its pictures stands on the card instead.
    save(tmp_path / "m.safetensors", model, {"data": {"folder": "own", "classes": ["a", "b"]}})
    assert load(tmp_path / "m.safetensors").names == ("a", "b")
    assert "data" not in DiffusionModel(MLP(width=8, classes=2)).about


@pytest.mark.parametrize("names", [["cat"], ["cat", "dog", "fish"], "cat", ["cat", 2], [None] * 2])
def test_names_that_do_not_fit_the_classes_are_refused(names):
    with pytest.raises(ValueError, match="names must be 2 texts, one a class, got"):
        DiffusionModel(MLP(width=8, classes=2), names=names)


def test_a_schedule_that_is_shorter_than_usual_is_walked_whole():
    model = DiffusionModel(MLP(width=8), vp_schedule(4), V, ("dpm++", 9))
    assert model.settled(DrawSettings()).steps == 4


@pytest.mark.parametrize(
    ("usual", "words"),
    [
        (("magic", 2), "the usual sampler must be one of ddpm, ddim"),
        (("ddim", 0), "the usual steps must be at least 1, got 0"),
    ],
)
def test_a_usual_that_cannot_be_is_refused(usual, words):
    with pytest.raises(ValueError, match=words):
        DiffusionModel(MLP(width=8), usual=usual)


def test_a_scale_without_a_guidance_is_refused():
    with pytest.raises(ValueError, match="scale 3 belongs to a guidance"):
        DrawSettings(scale=3)


@pytest.mark.parametrize("around", [lambda m: m, lambda m: fast(m, FLOAT32)], ids=["", "fast"])
def test_a_model_that_is_a_part_of_another_module_saves_and_loads(around):
    """Its weights carry the network's own names there, too."""

    def whole(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        parts = {"model": around(DiffusionModel(MLP(width=8, layers=1))), "head": nn.Linear(2, 2)}
        return nn.ModuleDict(parts)

    first, second = whole(0), whole(1)
    state = first.state_dict()
    own = [f"model.{name}" for name in MLP(width=8, layers=1).state_dict()]
    assert list(state) == [*own, "head.weight", "head.bias"]
    given = {name: value.clone() for name, value in state.items()}
    second.load_state_dict(given)
    torch.testing.assert_close(dict(second.state_dict()), dict(state), rtol=0, atol=0)
    assert list(given) == list(state)  # what was given is as it was
    del given["model.output.weight"]
    with pytest.raises(RuntimeError, match="Missing key"):
        second.load_state_dict(given)
    with pytest.raises(RuntimeError, match="Unexpected key"):
        second.load_state_dict(dict(state) | {"model.other": torch.zeros(1)})
