"""Numbers of any kind are taken for what they are, or refused in words: NumPy's, halves, NaN.

Driven by the table of `test_refusals`: a function that is listed there is tried here as well.
"""

import dataclasses
import json
import math
import warnings
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_refusals import CASES, FEATURES, LABELS, PICTURES, SCHEDULE, UNET, T, X, moved
from torch import Tensor, nn

import diffusion_lessons as d
from diffusion_lessons.math.editing import keeping
from diffusion_lessons.math.losses import vae_loss
from diffusion_lessons.measuring.drawing import draw
from diffusion_lessons.measuring.judge import features
from diffusion_lessons.networks.classifier import Classifier, NoisyClassifier
from diffusion_lessons.networks.compute import Compute
from diffusion_lessons.networks.drawing import noisy_classifier
from diffusion_lessons.networks.embedding import TimeEmbedding
from diffusion_lessons.networks.gan import (
    Discriminator,
    Gan,
    Generator,
    PointDiscriminator,
    PointGenerator,
)
from diffusion_lessons.networks.mlp import MLP
from diffusion_lessons.networks.vae import VAE
from diffusion_lessons.training.gan import train_gan

ELSEWHERE = {
    "cifar10": "takes no numbers",
    "convert": "Prediction.x0_hat calls it",
    "digits": "takes no numbers",
    "dpm_solver_2m": "a sampler: sample calls it",
    "euler_step": "a sampler: sample calls it",
    "fashion": "takes no numbers",
    "final": "of steps",
    "forward_variance": "of a schedule's own numbers",
    "heun": "a sampler: sample calls it",
    "posterior_variance": "of a schedule's own numbers",
    "prediction_loss": "noise_prediction_loss calls it",
    "quadratic": "of a share",
    "pictures": "of files",
    "Pictures": "what was read of them",
    "Step": "a tuple",
    "Prediction": "a name and a function",
    "stepwise": "sample calls it",
    "uniform": "of a share",
    "watch": "of steps",
    "TrainOptions": "train",
    "TrainStep": "a tuple",
}
"""Public names that have no case of their own, and why."""


def test_every_public_function_is_in_the_table_or_says_why_not() -> None:
    public = {name for name in d.__all__ if callable(getattr(d, name))}
    listed = {name.split(",")[0].split(".")[0] for name in CASES}
    assert public - listed == set(ELSEWHERE)


# ------------------------------------------------------------------ one number


def plain(value: Any) -> Any:
    """An answer as something that == compares, number for number."""
    if isinstance(value, Tensor):
        return value.dtype, value.flatten().tolist()
    if isinstance(value, nn.Module):
        return [getattr(value, "config", None), *map(plain, value.state_dict().values())]
    if isinstance(value, d.NoiseSchedule):
        return value.config, value.alpha.tolist()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [plain(getattr(value, f.name)) for f in dataclasses.fields(value)]
    if isinstance(value, d.TrainStep):
        return plain(list(value._replace(seconds=0.0)))
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, Mapping):
        return {key: plain(part) for key, part in value.items() if "second" not in key}
    return repr(value) if isinstance(value, int | float | str | None) else type(value).__name__


def answer(function: Callable[..., Any], given: Mapping[str, Any]) -> Any:
    torch.manual_seed(0)
    return plain(function(**given))


NUMBERS = [
    (name, argument)
    for name, case in CASES.items()
    for argument, value in case.good.items()
    if isinstance(value, int | float) and not isinstance(value, bool)
    if not argument.startswith("seconds")
]


@pytest.mark.parametrize(("name", "argument"), NUMBERS, ids=map("-".join, NUMBERS))
def test_numbers_of_numpy_and_torch_are_numbers(name: str, argument: str) -> None:
    case = CASES[name]
    value = case.good[argument]
    kinds: list[Any] = [torch.tensor(value, dtype=torch.float64), np.array(value)]
    if isinstance(value, int):
        kinds = [np.int64(value), np.uint8(value), torch.tensor(value), np.array(value)]
    else:
        kinds += [np.float64(value), Fraction(value)]
    expected = answer(case.function, case.good)
    for kind in kinds:
        assert answer(case.function, case.good | {argument: kind}) == expected, repr(kind)


def test_numpys_numbers_do_not_get_into_cards_and_rows() -> None:
    eight, half = np.int64(8), np.float32(0.5)
    nets = [
        MLP(eight, eight, eight, eight),
        d.DiffusionModel(type(UNET)(eight, channels=eight, blocks=np.int8(1), dropout=half)),
        VAE(eight, latent=eight, width=eight),
        Classifier(channels=eight),
        NoisyClassifier(eight, channels=eight),
        Gan({"latent": eight, "size": eight, "channels": eight}, {"channels": eight}, np.int64(4)),
    ]
    for net in nets:
        json.dumps(getattr(net, "about", None) or net.config)
    json.dumps([d.linear_schedule(eight, half).config, d.cosine_schedule(eight, half).config])
    json.dumps(d.vp_schedule(np.int16(4), half, np.float32(20)).config)
    settings = d.DrawSettings(eight, half, "ddim", scale=np.float64(1))
    assert json.loads(json.dumps(settings.as_row()))["eta"] == 0.5
    assert settings.as_arguments() == "--steps 8 --eta 0.5 --spacing uniform"
    assert type(d.TrainOptions(steps=np.int64(3), ema=np.float32(0.5)).steps) is int


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("StepsExplorer", {"steps": (1, 2), "etas": (0, 0.5)}),
        ("UNetExplorer", {"times": (1, 5)}),
        ("TruncationExplorer", {"thresholds": (0.5, 1), "classes": (0, 1)}),
    ],
)
def test_widgets_take_rows_of_numpys_numbers(name: str, rows: dict[str, Any]) -> None:
    case = CASES[name]
    for kind in (np.array, torch.tensor):
        widget = case.function(**case.good | {key: kind(row) for key, row in rows.items()})
        plainly = case.function(**case.good | rows)
        for key in rows:
            assert json.dumps(getattr(widget, key, None)) == json.dumps(getattr(plainly, key, None))


@pytest.mark.parametrize("value", [10**400, Fraction(10**400), np.array([1.0]), 1j, np.bool_(True)])
def test_what_is_no_single_number_is_refused_by_name(value: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="beta_T"):
        d.linear_schedule(10, 1e-4, value)
    with pytest.raises((TypeError, ValueError), match="scale"):
        d.DrawSettings(guidance="classifier", scale=value)


@given(st.integers(-5, 15), st.sampled_from([np.int16, np.uint8, torch.tensor, int]))
def test_a_time_of_any_kind_is_the_time_it_says(t: int, kind: Callable[[int], Any]) -> None:
    if kind is np.uint8:
        t = abs(t)
    if not 0 <= t <= 10:
        with pytest.raises(ValueError, match=r"t must lie in 0\.\.10"):
            SCHEDULE.at(kind(t), X)
    else:
        assert float(SCHEDULE.at(kind(t), X).alpha) == float(SCHEDULE.alpha[t])


@pytest.mark.parametrize("kind", [list, np.array, lambda row: torch.tensor(row).to(torch.uint8)])
def test_rows_of_integers_of_any_kind_are_times_and_labels(kind: Callable[[Any], Any]) -> None:
    t, label = kind(T.tolist()), kind(LABELS.tolist())
    assert torch.equal(UNET(PICTURES, t, label), UNET(PICTURES, T, LABELS))
    assert torch.equal(d.forward(X, 0, t, SCHEDULE).mean, d.forward(X, 0, T, SCHEDULE).mean)
    assert d.class_accuracy(torch.eye(10)[LABELS], label) == 1
    model, settings = d.DiffusionModel(UNET, d.vp_schedule(4)), d.DrawSettings(1)
    assert torch.equal(draw(model, label, settings), draw(model, LABELS, settings))
    noises = [d.RowGenerator(1, row).normal((4, 2)) for row in (label, LABELS)]
    assert torch.equal(*noises)
    losses = [
        d.noise_prediction_loss(UNET, PICTURES, SCHEDULE, torch.Generator().manual_seed(0), row)
        for row in (label, LABELS)
    ]
    assert losses[0] == losses[1]
    guides = [d.class_log_prob(lambda x, t: x, kind([0, 1, 2, 0])), LABELS]
    assert torch.equal(guides[0](X, 1), X.log_softmax(1)[range(4), [0, 1, 2, 0]])


def test_one_time_and_one_label_are_for_all_rows() -> None:
    expected = UNET(PICTURES, torch.full((4,), 5), torch.full((4,), 3))
    for t, label in ((5, 3), (np.int64(5), torch.tensor(3))):
        assert torch.equal(UNET(PICTURES, t, label), expected)


@pytest.mark.parametrize("t", [0.5, torch.full((4,), 0.5), -1, torch.tensor([1]), 10**7, True])
@pytest.mark.parametrize("label", [None, LABELS])
def test_a_bad_time_is_told_as_one_by_every_network(t: Any, label: Tensor | None) -> None:
    for network in (UNET, Generator(0, size=8, channels=8), Discriminator(channels=4)):
        inputs = {Generator: (PICTURES, None), Discriminator: (PICTURES,) * 2}
        with pytest.raises((TypeError, ValueError), match=r"^t must"):
            network(*inputs.get(type(network), (PICTURES,)), t, label)
    for network in (MLP(3, 8, 1), PointGenerator(3, 8, 1, 0), PointDiscriminator(3, 8, 1)):
        inputs = {PointGenerator: (X, None), PointDiscriminator: (X, X)}
        with pytest.raises((TypeError, ValueError), match=r"^t must"):
            network(*inputs.get(type(network), (X,)), t)


# ------------------------------------------------------------------ number formats

FORMATS = [torch.float64, torch.bfloat16, torch.float16]


def recast(value: Any, dtype: torch.dtype) -> Any:
    """Tensors of floats, alone or in a Gaussian, in another format."""
    if isinstance(value, Tensor) and value.is_floating_point():
        return value.to(dtype)
    if isinstance(value, d.Gaussian):
        return d.Gaussian(value.mean.to(dtype), value.std.to(dtype))
    return value


def numbers_in(value: Any) -> list[Tensor]:
    """All numbers of an answer, in float64."""
    if isinstance(value, d.Gaussian):
        return [value.mean.double(), value.std.double()]
    if isinstance(value, d.Step):
        return [value.x.double(), value.x0_hat.double()]
    if isinstance(value, Tensor | int | float):
        return [torch.as_tensor(value).double()]
    if isinstance(value, list | tuple):
        return [number for part in value for number in numbers_in(part)]
    return []


RANDOM = {"noise_prediction_loss", "vae_loss", "DiffusionModel.loss", "noisy_pairs"}
"""Other noise is drawn in another format."""

# Sixteen bits of the points in a bin, or of the weights that sum to 1, are other points.
WITH_FLOATS = [
    name
    for name, case in CASES.items()
    if any(recast(value, torch.float64) is not value for value in case.good.values())
    and not name.endswith(("Explorer", "Player"))
    and not name.startswith("show_")
]


@pytest.mark.parametrize("dtype", FORMATS, ids=str)
@pytest.mark.parametrize("name", WITH_FLOATS)
def test_every_function_is_right_in_every_format(name: str, dtype: torch.dtype) -> None:
    case = CASES[name]
    other = {key: recast(value, dtype) for key, value in case.good.items()}
    # The same numbers, which have lost what the format does not keep, in float32.
    same = {key: recast(value, torch.float32) for key, value in other.items()}
    torch.manual_seed(0)
    expected = numbers_in(case.function(**same))
    torch.manual_seed(0)
    found = numbers_in(case.function(**other))
    assert len(found) == len(expected)
    rounding = max(torch.finfo(dtype).eps, torch.finfo(torch.float32).eps)
    for a, b in zip(found, expected, strict=True):
        assert a.isfinite().all()
        if name not in RANDOM:
            torch.testing.assert_close(a, b, rtol=8 * rounding, atol=16 * rounding)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[Any, ...]]] = {
    "UNet": (lambda: type(UNET)(8, 1, 8, (1, 2), 1, heads=2), (PICTURES, 100 * T, LABELS)),
    "MLP": (lambda: MLP(3, 8, 1), (X, 100 * T)),
    "MLP of classes": (lambda: MLP(3, 8, 1, 10), (X, 100 * T, LABELS)),
    "VAE": (lambda: VAE(8, 1, 3, 8), (PICTURES, X, LABELS)),
    "Classifier": (lambda: Classifier(channels=4).eval(), (PICTURES,)),
    "NoisyClassifier": (lambda: NoisyClassifier(8, channels=4), (PICTURES, 100 * T)),
    "Generator": (lambda: Generator(3, size=8, channels=8), (PICTURES, X, T, LABELS)),
    "Discriminator": (lambda: Discriminator(channels=4), (PICTURES, PICTURES, T, LABELS)),
    "PointGenerator": (lambda: PointGenerator(3, 8, 2, 3), (X, X, T)),
    "PointDiscriminator": (lambda: PointDiscriminator(3, 8, 2), (X, X, T)),
}


@pytest.mark.parametrize("inner", [torch.float32, *FORMATS], ids=str)
@pytest.mark.parametrize("outer", [torch.float32, *FORMATS], ids=str)
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_take_and_give_every_format_whatever_their_own(
    name: str, outer: torch.dtype, inner: torch.dtype
) -> None:
    torch.manual_seed(0)
    make, inputs = NETWORKS[name]
    net = make()
    with torch.no_grad():
        for parameter in net.parameters():  # some begin at zero
            parameter.add_(0.1 * torch.randn_like(parameter))
        expected = numbers_in(net(*inputs))
        found = net.to(inner)(*(recast(value, outer) for value in inputs))
    assert {x.dtype for x in (found if isinstance(found, tuple) else (found,))} == {outer}
    rounding = max(torch.finfo(outer).eps, torch.finfo(inner).eps, 1e-6)
    for a, b in zip(numbers_in(found), expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=30 * rounding * (1 + float(b.abs().max())))


def test_late_times_are_told_apart_by_networks_in_sixteen_bits() -> None:
    torch.manual_seed(0)
    embedding, t = TimeEmbedding(64), torch.tensor([997, 998, 999, 1000])
    expected = embedding(t)
    found = embedding.bfloat16()(t)
    torch.testing.assert_close(found.float(), expected, rtol=0, atol=0.02)
    assert embedding.frequency.dtype == torch.float32


@pytest.mark.parametrize("name", NETWORKS)
def test_an_empty_batch_and_one_elsewhere_are_refused_in_words(name: str) -> None:
    make, inputs = NETWORKS[name]
    with pytest.raises(ValueError, match="must be a batch of at least one"):
        make()(*(value[:0] for value in inputs))
    with pytest.raises(ValueError, match="must be where the network is, on cpu, not on meta"):
        make()(*(value.to("meta") for value in inputs))


@pytest.mark.parametrize("schedule", [d.linear_schedule(), d.cosine_schedule(), d.vp_schedule(4)])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_the_way_from_noise_to_x0_holds_in_sixteen_bits(
    schedule: d.NoiseSchedule, dtype: torch.dtype
) -> None:
    """Near T it divides by almost nothing: 1 / 50,000 for the cosine, more than a half can hold."""
    generator = torch.Generator().manual_seed(0)
    x_t, noise = (torch.randn(8, 5, generator=generator).to(dtype) for _ in range(2))
    for t in (1, schedule.T // 2, schedule.T):
        for right in (d.noise_to_x0, d.x0_to_noise, d.NOISE.x0_hat, d.X0.x0_hat, d.V.x0_hat):
            args = (noise, x_t) if "x0_hat" in right.__qualname__ else (x_t, noise)
            found = right(*args, t, schedule)
            expected = right(*(x.double() for x in args), t, schedule)
            largest = torch.finfo(dtype).max
            assert found.dtype == dtype
            assert not found.isnan().any()
            torch.testing.assert_close(
                found.double().clamp(-largest, largest),
                expected.clamp(-largest, largest),
                rtol=2 * torch.finfo(dtype).eps,
                atol=1e-3,
            )


# ------------------------------------------------------------------ NaN and infinity

METRICS: dict[str, tuple[Callable[..., Any], tuple[str, str]]] = {
    "frechet_distance": (d.frechet_distance, ("a", "b")),
    "precision_recall": (d.precision_recall, ("real", "fake")),
    "density_coverage": (d.density_coverage, ("real", "fake")),
    "mode_counts": (d.mode_counts, ("points", "means")),
}


def test_every_metric_is_tried_with_nan() -> None:
    made_in = {name: getattr(getattr(d, name), "__module__", "") for name in d.__all__}
    measuring = {name for name, module in made_in.items() if module.endswith(".metrics")}
    assert measuring == {*METRICS, "class_accuracy"}


@given(
    name=st.sampled_from(sorted(METRICS)),
    which=st.integers(0, 1),
    place=st.tuples(st.integers(0, 8), st.integers(0, 1)),
    bad=st.sampled_from([math.nan, math.inf, -math.inf]),
)
def test_nan_and_infinity_are_never_counted(
    name: str, which: int, place: tuple[int, int], bad: float
) -> None:
    metric, names = METRICS[name]
    sets = [FEATURES.clone(), FEATURES.clone()]
    sets[which][place] = bad
    with pytest.raises(ValueError, match=f"{names[which]} holds numbers that are not finite"):
        metric(*sets)


@pytest.mark.parametrize("name", METRICS)
def test_numbers_whose_distances_are_infinite_are_no_hits(name: str) -> None:
    metric, names = METRICS[name]
    far = FEATURES.double() * 1e200
    for which, sets in enumerate([(far, FEATURES), (FEATURES, far)]):
        words = f"{names[which]} holds numbers above 1e.70, too large to compare"
        with pytest.raises(ValueError, match=words):
            metric(*sets)
        metric(*(x.double().clamp(-1e60, 1e60) for x in sets))


@pytest.mark.parametrize("bad", [math.nan, 0.5, 255, -1])
def test_a_mask_says_yes_or_no(bad: float) -> None:
    with pytest.raises(ValueError, match="mask must hold 1 where something is kept and 0"):
        keeping(X, torch.full_like(X, bad), d.ddpm_step)
    with pytest.raises(TypeError, match="known must hold floats"):
        keeping(X.byte(), torch.ones_like(X), d.ddpm_step)


@pytest.mark.parametrize("dtype", FORMATS, ids=str)
def test_a_picture_is_filled_in_in_the_walks_own_format(dtype: torch.dtype) -> None:
    for mask in (torch.ones_like(X), torch.ones_like(X, dtype=torch.uint8), X < 9):
        step = keeping(X, mask, d.ddpm_step)
        *_, last = d.sample(moved, X.to(dtype), SCHEDULE, step=step)
        assert last.x.dtype == dtype
        assert torch.equal(last.x, X.to(dtype))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64], ids=str)
@pytest.mark.parametrize("quick", [torch.float32, torch.bfloat16], ids=str)
def test_a_network_in_a_format_of_its_own_draws_in_it(
    dtype: torch.dtype, quick: torch.dtype
) -> None:
    """The machine's quickest format is for networks in float32."""
    compute = Compute(torch.device("cpu"), quick)
    torch.manual_seed(0)
    model = d.DiffusionModel(type(UNET)(8, channels=8, blocks=1, heads=2), d.vp_schedule(4))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    settings, exactly = d.DrawSettings(2), Compute(torch.device("cpu"))
    expected = draw(model, [3, 1], settings, compute=exactly)
    found = draw(model.to(dtype), [3, 1], settings, compute=compute)
    rounding = torch.finfo(dtype).eps
    torch.testing.assert_close(found, expected, rtol=0, atol=max(20 * rounding, 1e-5))


@given(st.integers(0, 3), st.integers(0, 2), st.sampled_from([math.nan, math.inf]))
def test_a_row_of_logits_without_a_largest_number_is_no_hit(row: int, place: int, bad: float):
    logits = X.clone()
    logits[row, place] = bad
    for labels in ([0] * 4, [place] * 4):
        with pytest.raises(ValueError, match="logits holds numbers that are not finite"):
            d.class_accuracy(logits, labels)


def test_a_class_may_be_ruled_out_but_not_all_of_them() -> None:
    logits = torch.tensor([[1.0, -math.inf], [-math.inf, 0.0]])
    assert d.class_accuracy(logits, [0, 1]) == 1
    with pytest.raises(ValueError, match="not finite"):
        d.class_accuracy(torch.full((2, 2), -math.inf), [0, 0])


@given(
    shift=st.floats(-1e5, 1e5),
    point=st.sampled_from([torch.float32, torch.float64]),
    mean=st.sampled_from([torch.float32, torch.float64]),
)
def test_points_go_to_their_mode_wherever_the_modes_lie(
    shift: float, point: torch.dtype, mean: torch.dtype
) -> None:
    ticks = torch.arange(6.0)
    means = torch.cartesian_prod(ticks, ticks) + round(shift)
    generator = torch.Generator().manual_seed(0)
    k = torch.arange(36).repeat_interleave(3)
    points = means[k] + 0.1 * torch.rand(108, 2, generator=generator)
    assert d.mode_counts(points.to(point), means.to(mean)).tolist() == [3] * 36


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_no_grey_is_made_of_nan_or_infinity(bad: float) -> None:
    with pytest.raises(ValueError, match="x holds numbers that are not finite"):
        d.to_bytes(torch.tensor([0.0, bad]))
    with pytest.raises(ValueError, match="means holds numbers that are not finite"):
        d.GaussianMixture(torch.full((1, 2), bad), torch.ones(1), torch.ones(1))


def test_a_point_has_no_density() -> None:
    point = d.posterior(X, X, 1, 0, SCHEDULE)
    wide = d.Gaussian(X, torch.ones(()))
    with pytest.raises(ValueError, match="no density where its standard deviation is not above 0"):
        point.log_prob(X)
    for p, q, name in ((point, wide, "p"), (wide, point, "q"), (point, point, "p")):
        with pytest.raises(ValueError, match=f"{name} has no density"):
            d.kl_divergence(p, q)
    assert d.kl_divergence(wide, wide).tolist() == [0] * 4


# ------------------------------------------------------------------ ranges, sizes and places


def test_pictures_of_another_range_or_size_are_named() -> None:
    images = d.digits(train=False).images[:20]
    model = d.DiffusionModel(type(UNET)(channels=8, blocks=1))
    vae = VAE(width=8)
    uses: list[Callable[[Tensor], Any]] = [
        features,
        model.loss,
        lambda x: vae_loss(vae, x, label=3),
    ]
    for use in uses:
        with pytest.raises(ValueError, match=r"must be pictures in -1\.\.1 \(to_unit .* 0\.\.255"):
            use(images.float())
        with pytest.warns(UserWarning, match=r"lies in 0\.\.1, .* give 2 \* x(_0)? - 1"):
            use(images.float() / 255)
        with pytest.raises(ValueError, match=r"must be \[B, 1, 28, 28\], got \[2, 1, 32, 32\]"):
            use(-torch.ones(2, 1, 32, 32))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            use(d.to_unit(images))
    with pytest.raises(TypeError, match=r"Of floats in 0\.\.1, 2 \* images - 1"):
        d.to_unit(images.float() / 255)
    with pytest.raises(TypeError, match=r"must be a tensor, got ndarray \(torch.as_tensor makes"):
        d.to_unit(images.numpy())


def test_what_a_network_draws_may_lie_a_little_outside() -> None:
    assert features(torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))).any()


def test_losses_of_no_pictures_are_refused() -> None:
    for loss in (d.DiffusionModel(UNET, SCHEDULE).loss, lambda x: vae_loss(VAE(8), x, label=3)):
        with pytest.raises(ValueError, match="must be a batch of at least one"):
            loss(PICTURES[:0])
    with pytest.raises(ValueError, match="x_0 must be a batch of at least one"):
        d.noise_prediction_loss(lambda x, t: x, X[:0], SCHEDULE)


def test_guidance_is_the_same_under_inference_mode() -> None:
    x = torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    guided = [
        d.classifier_guidance(moved, d.class_log_prob(noisy_classifier(), label), SCHEDULE, 2.0)
        for label in ([1, 2], torch.tensor([1, 2]))
    ]
    expected = guided[0](x, 5)
    with torch.inference_mode():
        inside = d.class_log_prob(noisy_classifier(), torch.tensor([1, 2]))
        guided.append(d.classifier_guidance(moved, inside, SCHEDULE, 2.0))
        for denoiser in guided:
            assert torch.equal(denoiser(x.clone(), 5), expected)


def test_a_network_loaded_under_inference_mode_can_be_trained() -> None:
    with torch.inference_mode():
        model = d.load_pretrained("moons-ddpm")
    model.loss(torch.zeros(3, 2)).backward()


# ------------------------------------------------------------------ schedules and runs


@pytest.mark.parametrize("T", [5, 50, 200])
def test_few_steps_that_end_far_from_noise_are_told(T: int) -> None:
    schedule = d.linear_schedule(T)
    words = rf"T={T}, .* ends far from noise: x_T holds 0\.\d+ of x_0.*vp_schedule"
    with pytest.warns(UserWarning, match=words):
        next(d.sample(moved, X, schedule))
    with pytest.warns(UserWarning, match=words):
        d.DiffusionModel(MLP(2, 8, 1), schedule)


@pytest.mark.slow
def test_schedules_that_end_in_noise_say_nothing_and_give_the_mean_that_is_asked() -> None:
    """Points around (2, 2): a walk from far away in the schedule's own sense finds their mean."""
    mixture = d.GaussianMixture(torch.full((1, 2), 2.0), torch.tensor([0.5]), torch.ones(1))
    x_T = torch.randn(4000, 2, generator=torch.Generator().manual_seed(0))
    good = [d.vp_schedule(50), d.linear_schedule(50, 2e-3, 0.4), d.linear_schedule()]
    good += [d.vp_schedule(4), d.cosine_schedule(), d.straight_schedule(50)]
    for schedule in [*good, d.zero_terminal(d.linear_schedule(50))]:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            walk = d.sample(mixture.denoiser(schedule), x_T, schedule, step=d.ddim_step)
            *_, last = walk
        assert abs(float(last.x.mean()) - 2) < 0.03, schedule


def test_a_schedule_that_has_nothing_left_before_T_says_where() -> None:
    with pytest.raises(ValueError, match=r"nothing is left .* from t = \d+ on, before .* 100000"):
        d.linear_schedule(100_000)


@pytest.mark.parametrize(
    "bad", [{"r1_every": 0}, {"r1_every": 1.5}, {"r1": -1}, {"r1": math.nan}, {"r1": "x"}]
)
def test_the_penaltys_numbers_are_refused_by_name(bad: dict[str, Any]) -> None:
    nets = PointGenerator(3, 8, 1), PointDiscriminator(3, 8, 1)
    with pytest.raises((TypeError, ValueError), match=f"^{next(iter(bad))} must"):
        next(train_gan(*nets, lambda i: (X,), SCHEDULE, d.TrainOptions(steps=1), **bad))
