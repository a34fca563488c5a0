"""Networks: each constructor argument does what it says, and nothing is left untrained."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from diffusion_lessons.networks.classifier import Classifier
from diffusion_lessons.networks.embedding import TimeEmbedding
from diffusion_lessons.networks.mlp import MLP
from diffusion_lessons.networks.unet import Attention, ResBlock, UNet, look, resize

CLOSE = {"rtol": 1e-4, "atol": 1e-5}
SAME = {"rtol": 0, "atol": 0}

TINY = {"size": 8, "channels": 16, "blocks": 1, "attention_resolutions": (4,)}


def awake(model: nn.Module) -> nn.Module:
    """Random weights in the layers that start at zero and would hide the others' work."""
    g = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=g))
    return model.eval()


def tiny_unet(**options) -> UNet:
    torch.manual_seed(0)
    return awake(UNet(**TINY | options))


def batch(model: UNet, n=2):
    g = torch.Generator().manual_seed(1)
    x = torch.randn(n, model.in_channels, model.size, model.size, generator=g)
    return x, torch.arange(1, n + 1)


def attention_sides(model: UNet) -> list[int]:
    """The side lengths at which attention is at work, in order of use."""
    sides = []

    def note(module, arguments):
        sides.append(arguments[0].shape[-1])

    for module in model.modules():
        if isinstance(module, Attention):
            module.register_forward_pre_hook(note)
    with torch.no_grad():
        model(*batch(model))
    return sides


# U-Net


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"adaptive_norm": False},
        {"residual_resampling": False},
        {"adaptive_norm": False, "residual_resampling": False},
        {"heads": 1},
        {"head_channels": 8},
        {"attention_resolutions": ()},
        {"multipliers": (1,)},
        {"multipliers": (1, 2, 2), "size": 16},
        {"blocks": 2},
        {"channels": 24},
        {"unshuffle": 1},
        {"in_channels": 3, "size": 32, "attention_resolutions": (16,)},
        {"classes": 0},
        {"dropout": 0.5},
        {"rescale_residual": True},
    ],
    ids=str,
)
def test_every_choice_of_parts_gives_noise_of_the_pictures_shape(options):
    model = tiny_unet(**options)
    x, t = batch(model)
    with torch.no_grad():
        out = model(x, t)
    assert out.shape == x.shape
    assert out.dtype == x.dtype
    assert out.isfinite().all()
    # A network is its config: the same arguments build one that takes the same weights.
    assert set(model.config) == set(UNet.__init__.__annotations__) - {"return"}
    twin = UNet(**model.config).eval()
    twin.load_state_dict(model.state_dict())
    torch.testing.assert_close(twin(x, t), out, **SAME)


def test_the_default_unet_takes_mnist():
    model = UNet()
    x, t = torch.randn(2, 1, 28, 28), torch.tensor([1, 1000])
    with torch.no_grad():
        assert model(x, t, torch.tensor([3, 10])).shape == x.shape


def test_a_new_unet_predicts_that_x_t_is_all_noise():
    """Its last layer starts at zero and its gate at one."""
    model = UNet(**TINY)
    x, t = batch(model)
    torch.testing.assert_close(model(x, t), x, **CLOSE)


def test_no_label_is_the_null_label():
    model = tiny_unet()
    x, t = batch(model)
    null = torch.full((2,), model.classes)
    torch.testing.assert_close(model(x, t), model(x, t, null), **SAME)
    assert not torch.allclose(model(x, t), model(x, t, torch.tensor([3, 3])), **CLOSE)


def test_time_and_label_reach_every_picture_of_their_own():
    model = tiny_unet()
    x, t = batch(model, 3)
    label = torch.tensor([0, 5, 10])
    together = model(x, t, label)
    for i in range(3):
        alone = model(x[i : i + 1], t[i : i + 1], label[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone, **CLOSE)
    assert not torch.allclose(together, model(x, t + 1, label), **CLOSE)


def test_attention_is_where_it_was_asked_for_and_in_the_middle():
    options = {"size": 16, "multipliers": (1, 2, 2)}  # sides 8, 4, 2 after the unshuffle
    # One block a level: attention after it on the way down, and after both on the way up.
    assert attention_sides(tiny_unet(**options, attention_resolutions=())) == [2]
    assert attention_sides(tiny_unet(**options, attention_resolutions=(4,))) == [4, 2, 4, 4]
    assert attention_sides(tiny_unet(**options, attention_resolutions=(2,))) == [2, 2, 2, 2]
    found = attention_sides(tiny_unet(**options, attention_resolutions=(8, 4)))
    assert found == [8, 4, 2, 4, 4, 8, 8]


def test_heads_is_their_number_and_head_channels_their_width():
    def heads(**options):
        model = tiny_unet(attention_resolutions=(4, 2), **options)  # 16 and 32 channels
        return {m.qkv.in_features: m.heads for m in model.modules() if isinstance(m, Attention)}

    assert heads(heads=2) == {16: 2, 32: 2}
    assert heads(head_channels=8) == {16: 2, 32: 4}
    assert heads(head_channels=16, heads=3) == {16: 1, 32: 2}  # the width decides


def test_blocks_and_multipliers_are_what_they_say():
    model = tiny_unet(size=32, multipliers=(1, 2, 3), blocks=2)
    blocks = [m for m in model.modules() if isinstance(m, ResBlock)]
    # 3 levels of 2 blocks down and 3 up, 2 in the middle, 2 changes of resolution each way
    assert len(blocks) == 3 * 2 + 3 * 3 + 2 + 2 + 2
    assert {block.conv_1.out_channels for block in blocks} == {16, 32, 48}
    assert sorted(block.scale for block in blocks if block.scale != 1) == [0.5, 0.5, 2, 2]


def test_residual_resampling_puts_the_change_of_resolution_into_blocks():
    with_it, without = tiny_unet(), tiny_unet(residual_resampling=False)
    assert {m.scale for m in with_it.modules() if isinstance(m, ResBlock)} == {0.5, 1, 2}
    assert {m.scale for m in without.modules() if isinstance(m, ResBlock)} == {1}
    assert any(m.stride == (2, 2) for m in without.modules() if isinstance(m, nn.Conv2d))
    assert any(isinstance(m, nn.Upsample) for m in without.modules())


def test_adaptive_norm_scales_and_shifts_after_the_norm():
    """ADM section 3: AdaGN(h, y) = y_s GroupNorm(h) + y_b; DDPM adds the features before it."""
    x, features = torch.randn(2, 16, 4, 4), torch.randn(2, 8)
    for adaptive in (True, False):
        block = awake(ResBlock(16, 16, 8, adaptive_norm=adaptive))
        h = block.conv_1(F.silu(block.norm_1(x)))
        y = block.features(features)[:, :, None, None]
        assert y.shape[1] == (32 if adaptive else 16)
        normed = block.norm_2(h if adaptive else h + y)
        h = normed * (1 + y[:, :16]) + y[:, 16:] if adaptive else normed
        expected = x + block.conv_2(F.silu(h))
        torch.testing.assert_close(block(x, features), expected, **CLOSE)


def test_rescaling_halves_the_variance_of_each_sum():
    plain, rescaled = (ResBlock(16, 16, 8, rescale_residual=rescale) for rescale in (False, True))
    rescaled.load_state_dict(plain.state_dict())
    x, features = torch.randn(2, 16, 4, 4), torch.randn(2, 8)
    torch.testing.assert_close(rescaled(x, features), plain(x, features) / 2**0.5)
    looking = Attention(16, 2, rescale_residual=True)  # new: it adds nothing
    torch.testing.assert_close(looking(x), x / 2**0.5)


def test_dropout_acts_in_training_alone():
    model = tiny_unet(dropout=0.5)
    x, t = batch(model)
    torch.testing.assert_close(model(x, t), model(x, t), **SAME)
    model.train()
    assert not torch.allclose(model(x, t), model(x, t), **CLOSE)


@pytest.mark.parametrize(
    ("sizes", "lowest"),
    [
        ({}, 7),
        ({"size": 32}, 8),
        ({"size": 32, "unshuffle": 1}, 16),
        ({"size": 16, "multipliers": (1, 2, 2)}, 2),
        ({"size": 8, "multipliers": (1,)}, 4),
    ],
    ids=str,
)
def test_attention_is_at_the_lowest_resolution_unless_told(sizes: dict[str, Any], lowest: int):
    model = UNet(channels=8, blocks=1, **sizes)
    assert model.config["attention_resolutions"] == [lowest]
    assert attention_sides(model) == [lowest] * 4  # down, middle, up twice
    told = UNet(channels=8, blocks=1, **sizes, attention_resolutions=(lowest,))
    assert told.config == model.config


@pytest.mark.parametrize("looks", [(28,), (7, 28), (32,), (0,)])
def test_attention_at_a_side_that_is_never_reached_is_refused(looks: tuple[int, ...]):
    with pytest.raises(ValueError, match="attention_resolutions"):
        UNet(channels=8, blocks=1, attention_resolutions=looks)
    words = r"holds 28, which this network never reaches: it works at 14, 7 \(size / unshuffle"
    with pytest.raises(ValueError, match=words):
        UNet(attention_resolutions=(28,))


def test_unshuffle_folds_patches_into_channels():
    assert tiny_unet(unshuffle=1).input.in_channels == 1
    assert tiny_unet(unshuffle=2).input.in_channels == 4
    assert tiny_unet(unshuffle=4, attention_resolutions=()).input.in_channels == 16


@pytest.mark.parametrize(
    "options", [{}, {"adaptive_norm": False, "residual_resampling": False}], ids=str
)
def test_once_training_has_begun_the_gradient_reaches_every_parameter(options):
    """At first it does not: behind layers that start at zero nothing is felt."""
    torch.manual_seed(0)
    model = UNet(**TINY | options)
    update = torch.optim.SGD(model.parameters(), lr=0.1)
    x, t = torch.randn(11, 1, 8, 8), torch.arange(1, 12)
    label = torch.arange(11)  # each class and the null label
    for _ in range(3):
        update.zero_grad()
        (model(x, t, label) - torch.randn(11, 1, 8, 8)).square().mean().backward()
        update.step()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_channels_last_gives_the_same_answer():
    model = tiny_unet()
    x, t = batch(model)
    expected = model(x, t)
    model = model.to(memory_format=torch.channels_last)
    found = model(x.contiguous(memory_format=torch.channels_last), t)
    torch.testing.assert_close(found, expected, **CLOSE)


@pytest.mark.parametrize("scale", [0.5, 1, 2])
def test_resize_changes_the_resolution_and_keeps_the_mean(scale):
    h = torch.randn(2, 3, 4, 4)
    found = resize(h, scale)
    assert found.shape == (2, 3, 4 * scale, 4 * scale)
    torch.testing.assert_close(found.mean((2, 3)), h.mean((2, 3)), **CLOSE)


# Attention


def test_attention_weights_are_shares():
    attention = awake(Attention(16, heads=4))
    weights = attention.weights(torch.randn(2, 16, 3, 5))
    assert weights.shape == (2, 4, 15, 15)
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 4, 15), **CLOSE)


def test_attention_is_scaled_dot_product_attention():
    g = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, 2, 4, 15, 8, generator=g)
    expected = F.scaled_dot_product_attention(q, k, v)
    torch.testing.assert_close(look(q, k) @ v, expected, **CLOSE)


def test_attention_is_the_multi_head_attention_of_torch():
    attention, x = awake(Attention(16, heads=4)), torch.randn(2, 16, 3, 5)
    theirs = nn.MultiheadAttention(16, 4, batch_first=True).eval()
    theirs.in_proj_weight.data, theirs.in_proj_bias.data = (
        attention.qkv.weight.data,
        attention.qkv.bias.data,
    )
    theirs.out_proj.load_state_dict(attention.project.state_dict())
    h = attention.norm(x).flatten(2).transpose(1, 2)  # [B, C, H, W] -> [B, H*W, C]
    found, shares = theirs(h, h, h, average_attn_weights=False)
    expected = x + found.transpose(1, 2).reshape(x.shape)
    torch.testing.assert_close(attention(x), expected, **CLOSE)
    torch.testing.assert_close(attention.weights(x), shares, **CLOSE)


def test_a_new_attention_adds_nothing():
    x = torch.randn(2, 16, 3, 3)
    torch.testing.assert_close(Attention(16, heads=4)(x), x, **SAME)


# Time


@pytest.mark.parametrize(("one", "other"), [(1, 2), (999, 1000), (1, 1000), (0, 1)])
def test_the_time_embedding_tells_times_apart(one, other):
    torch.manual_seed(0)
    a, b = TimeEmbedding(64)(torch.tensor([one, other]))
    assert (a - b).norm() > 0.02 * a.norm()


def test_the_time_embedding_is_made_of_sines_and_cosines():
    """Vaswani et al. section 3.5, before the small network."""
    embedding = TimeEmbedding(8, waves=3, longest=100)
    seen = []
    embedding.mlp.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    t = torch.tensor([1, 7])
    embedding(t)
    waves = [1, 100 ** (-1 / 3), 100 ** (-2 / 3)]
    expected = [torch.sin(t * w) for w in waves] + [torch.cos(t * w) for w in waves]
    torch.testing.assert_close(seen[0], torch.stack(expected, 1), **CLOSE)


def test_the_time_embedding_takes_every_integer_dtype():
    embedding = TimeEmbedding(8)
    expected = embedding(torch.tensor([1, 100]))
    for dtype in (torch.uint8, torch.int16, torch.int32):
        torch.testing.assert_close(embedding(torch.tensor([1, 100], dtype=dtype)), expected, **SAME)


def test_the_waves_run_from_2_pi_to_2_pi_times_longest():
    frequency = TimeEmbedding(8, waves=32, longest=10_000).frequency
    assert frequency[0] == 1
    torch.testing.assert_close(frequency.log().diff(), torch.full((31,), -0.287823), **CLOSE)
    assert 1 / 10_000 < frequency[-1] < 2 / 10_000


# MLP and classifier


@pytest.mark.parametrize(("dim", "width", "layers"), [(2, 128, 3), (1, 16, 1), (5, 8, 0)])
def test_the_mlp_gives_noise_of_the_points_shape(dim, width, layers):
    model = MLP(dim, width, layers)
    assert model(torch.randn(4, dim), torch.arange(4)).shape == (4, dim)
    assert model.config == {"dim": dim, "width": width, "layers": layers}


def test_the_mlp_is_told_the_time():
    model, x = MLP(), torch.randn(4, 2)
    with torch.no_grad():
        early, late = model(x, torch.ones(4).long()), model(x, 1000)
    assert not torch.allclose(early, late, **CLOSE)


def test_an_mlp_hears_its_label_and_no_label_is_the_null_label():
    model, x, t = MLP(3, 16, 1, classes=4), torch.randn(4, 3), torch.arange(1, 5)
    anyone = model(x, t)
    torch.testing.assert_close(model(x, t, torch.full((4,), 4)), anyone)
    torch.testing.assert_close(model(x, t, 4), anyone)
    for label in range(4):
        assert (model(x, t, label) - anyone).abs().max() > 1e-3
    with pytest.raises(ValueError, match=r"label must lie in 0\.\.4"):
        model(x, t, 5)


def test_an_mlp_without_classes_is_the_one_it_always_was():
    """Its card, the names of its weights and their first values; and it is given no label."""
    torch.manual_seed(0)
    plain = MLP(width=16, layers=1)
    torch.manual_seed(0)
    told = MLP(width=16, layers=1, classes=2)
    assert plain.config == {"dim": 2, "width": 16, "layers": 1}
    weights = told.state_dict()
    assert weights.pop("label.weight").shape == (3, 16)
    torch.testing.assert_close(plain.state_dict(), weights, rtol=0, atol=0)
    with pytest.raises(ValueError, match="this MLP knows no classes, and was given a label"):
        plain(torch.randn(2, 2), torch.tensor(1), torch.tensor([0, 1]))


@pytest.mark.parametrize(
    "model", [MLP(width=16), Classifier(channels=4)], ids=["mlp", "classifier"]
)
def test_the_gradient_reaches_every_parameter(model):
    inputs = (
        (torch.randn(4, 2), torch.arange(4))
        if isinstance(model, MLP)
        else (torch.randn(4, 1, 28, 28),)
    )
    model(*inputs).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


def test_the_classifier_gives_logits_and_features():
    model = Classifier(in_channels=3, channels=4, features=7, classes=5).eval()
    x = torch.randn(2, 3, 28, 28)
    assert model(x).shape == (2, 5)
    assert model.features(x).shape == (2, 7)
    torch.testing.assert_close(model(x), model.output(model.features(x)), **SAME)
    twin = Classifier(**model.config).eval()
    twin.load_state_dict(model.state_dict())
    torch.testing.assert_close(twin(x), model(x), **SAME)


# Bad input


@pytest.mark.parametrize("shape", [(2, 1, 8, 7), (2, 3, 8, 8), (1, 8, 8), (2, 1, 16, 16)], ids=str)
def test_pictures_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"x_t must be \[B, 1, 8, 8\]"):
        tiny_unet()(torch.zeros(shape), torch.tensor([1, 1]))


@given(st.integers(1, 40).filter(lambda size: size % 8))
def test_a_size_that_the_levels_cannot_halve_is_refused(size):
    with pytest.raises(ValueError, match=f"size {size} cannot be divided by 8"):
        UNet(size=size, multipliers=(1, 1, 1))


def test_channels_that_the_heads_cannot_share_are_refused():
    with pytest.raises(ValueError, match="16 channels cannot be shared among 3 heads"):
        Attention(16, 3)
    with pytest.raises(ValueError, match="cannot be shared"):
        tiny_unet(heads=3)


@pytest.mark.parametrize("head_channels", [12, 64])
def test_heads_of_a_width_that_does_not_divide_the_channels_are_refused(head_channels):
    with pytest.raises(ValueError, match="head"):
        tiny_unet(head_channels=head_channels)
