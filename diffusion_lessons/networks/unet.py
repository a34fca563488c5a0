"""The U-Net: pictures in, pictures of the same size out, and the time and a class beside them.

The parts are those of ADM (Dhariwal & Nichol, arXiv 2105.05233): adaptive group normalisation,
several attention heads at chosen resolutions, residual blocks that also change the resolution.
Each is an argument of `UNet`. Pictures first pass a pixel-unshuffle, which folds each 2 x 2 patch
into channels: the network works at half the resolution, where a processor has far less to move.
"""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import checks
from .embedding import TimeEmbedding


def group_norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(channels // math.gcd(channels, 16), channels)  # 16 channels a group


def zero(module: nn.Module) -> nn.Module:
    """Start a layer at zero, so that its branch first adds nothing."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


def resize(h: Tensor, scale: float) -> Tensor:
    """Halve (by averaging), keep or double (by repeating) the resolution of [B, C, H, W]."""
    if scale == 0.5:
        return F.avg_pool2d(h, 2)
    return F.interpolate(h, scale_factor=2.0) if scale == 2 else h


def join(x: Tensor, h: Tensor, rescale: bool) -> Tensor:
    """A residual connection: the old and what is new, their variance halved if ``rescale``."""
    return (x + h) * math.sqrt(0.5) if rescale else x + h


class ResBlock(nn.Module):
    """Two convolutions around the time-and-class features, added to the input.

    ``scale`` 0.5 or 2 changes the resolution inside the block (BigGAN's way, which ADM took over).
    With ``adaptive_norm`` the features scale and shift the normalised activations (AdaGN, ADM
    section 3); without, they are added before the normalisation, as in DDPM. With
    ``rescale_residual`` the sum of both ways is divided by sqrt(2) (ADM tried it and left it out).
    """

    def __init__(
        self,
        channels_in: int,
        channels: int,
        features: int,
        scale: float = 1,
        adaptive_norm: bool = True,
        dropout: float = 0.0,
        rescale_residual: bool = False,
    ) -> None:
        super().__init__()
        self.scale, self.adaptive_norm = scale, adaptive_norm
        self.rescale_residual = rescale_residual
        self.norm_1 = group_norm(channels_in)
        self.conv_1 = nn.Conv2d(channels_in, channels, 3, padding=1)
        self.features = nn.Linear(features, 2 * channels if adaptive_norm else channels)
        self.norm_2 = group_norm(channels)
        self.dropout = nn.Dropout(dropout)
        self.conv_2 = zero(nn.Conv2d(channels, channels, 3, padding=1))
        same = channels_in == channels
        self.skip = nn.Identity() if same else nn.Conv2d(channels_in, channels, 1)

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        h = self.conv_1(resize(F.silu(self.norm_1(x)), self.scale))
        f = self.features(features)[:, :, None, None]  # [B, F] -> [B, C or 2C, 1, 1]
        if self.adaptive_norm:
            gain, shift = f.chunk(2, dim=1)
            h = self.norm_2(h) * (1 + gain) + shift
        else:
            h = self.norm_2(h + f)
        h = self.conv_2(self.dropout(F.silu(h)))
        return join(self.skip(resize(x, self.scale)), h, self.rescale_residual)


def look(q: Tensor, k: Tensor) -> Tensor:
    """Attention weights of queries on keys, [..., N, D] twice -> [..., N, N]."""
    return torch.softmax(q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5, dim=-1)


class Attention(nn.Module):
    """Every position looks at every other, in several heads, and adds what it found."""

    def __init__(self, channels: int, heads: int, rescale_residual: bool = False) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"{channels} channels cannot be shared among {heads} heads")
        self.heads = heads
        self.rescale_residual = rescale_residual
        self.norm = group_norm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.project = zero(nn.Linear(channels, channels))

    def weights(self, x: Tensor) -> Tensor:
        """Where each position looks: [B, C, H, W] -> [B, heads, H*W, H*W], rows sum to 1."""
        q, k, _ = self.qkv_of(x)
        return look(q, k)

    def forward(self, x: Tensor) -> Tensor:
        B, C, H, W = x.shape
        q, k, v = self.qkv_of(x)
        # At 49 positions the plain product beats torch's fused attention, whose bf16 backward pass
        # took half of the training time on a CPU.
        h = look(q, k) @ v  # [B, heads, H*W, C/heads]
        h = self.project(h.transpose(1, 2).reshape(B, H * W, C))
        return join(x, h.transpose(1, 2).reshape(B, C, H, W), self.rescale_residual)

    def qkv_of(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each [B, heads, H*W, C/heads], of x [B, C, H, W]."""
        h = self.norm(x).flatten(2).transpose(1, 2)  # [B, C, H, W] -> [B, H*W, C]
        q, k, v = self.qkv(h).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return q, k, v


class Trace(NamedTuple):
    """One stage of a pass through a `UNet`."""

    kind: str  # "input", "down", "middle", "up" or "output"
    output: Tensor  # [B, C, H, W]
    resamples: bool  # whether it only changes the resolution
    skip: int | None  # which earlier stage's output joins its input
    queries: Tensor | None  # [B, heads, H*W, C/heads] where it looks around, as are the
    keys: Tensor | None  # keys: `look` makes the weights of the two


class UNet(nn.Module):
    """Answers to pictures x_t [B, in_channels, size, size] at times t [B] with pictures.

    What it predicts, and under which schedule, a `DiffusionModel` knows.

    ``channels * multipliers[i]`` channels at level i, each level half as large as the one before;
    ``blocks`` residual blocks a level; attention in the middle and where the side length is in
    ``attention_resolutions`` (usually the lowest), with ``heads`` heads, or as many as make each
    ``head_channels`` wide. ``classes`` labels can be asked for; ``label=None`` or a label equal to
    ``classes`` is the null label, "any class". ``residual_resampling`` and ``adaptive_norm`` switch
    two of ADM's parts off, ``rescale_residual`` one on that ADM left out (see `ResBlock`). Raises
    ValueError if size, unshuffle and levels do not divide, and for attention at a side that no
    level has.

    Called, it takes x_t of any number format and answers in the same; t and label are integers of
    any kind, or one for all rows.
    """

    kind = "UNet"

    def __init__(
        self,
        size: int = 28,
        in_channels: int = 1,
        channels: int = 64,
        multipliers: Sequence[int] = (1, 2),
        blocks: int = 2,
        unshuffle: int = 2,
        attention_resolutions: Sequence[int] | None = None,
        heads: int = 4,
        head_channels: int | None = None,
        classes: int = 10,
        adaptive_norm: bool = True,
        residual_resampling: bool = True,
        dropout: float = 0.0,
        rescale_residual: bool = False,
    ) -> None:
        arguments = {k: v for k, v in locals().items() if k not in ("self", "__class__")}
        super().__init__()
        self.config = _checked(arguments)
        size, in_channels, channels = (self.config[k] for k in ("size", "in_channels", "channels"))
        blocks, unshuffle, classes = (self.config[k] for k in ("blocks", "unshuffle", "classes"))
        self.size, self.in_channels, self.classes = size, in_channels, classes
        self.shape = (in_channels, size, size)
        self.unshuffle = unshuffle
        features = 4 * channels
        self.time = TimeEmbedding(features)
        self.label = nn.Embedding(classes + 1, features)
        widths = [channels * multiplier for multiplier in self.config["multipliers"]]
        self.input = nn.Conv2d(in_channels * unshuffle**2, widths[0], 3, padding=1)
        make = _Maker(self.config, features)
        side = size // unshuffle
        self.down, skips = make.way_down(widths, blocks, side)
        self.middle = make.middle(widths[-1])
        self.up = make.way_up(widths, blocks, side, skips)
        # At high noise x_t itself is nearly the answer, at low noise not: learn how much of it.
        self.gate = nn.Parameter(torch.zeros(features))
        self.norm = group_norm(widths[0])
        self.output = zero(nn.Conv2d(widths[0], in_channels * unshuffle**2, 3, padding=1))

    def forward(self, x_t: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        (x,) = checks.shaped(self.input.weight, self.shape, x_t=x_t)
        return self.body(x, F.silu(self.embedding(x, t, label))).to(x_t.dtype)

    def embedding(self, x_t: Tensor, t: Tensor, label: Tensor | None) -> Tensor:
        """Features [B, 4 channels] of times 1, 2, ... and classes, none being the last."""
        t = checks.times(t, x_t)
        label = checks.rows(
            "label", self.classes if label is None else label, x_t, self.classes + 1
        )
        return self.time(t) + self.label(label)

    def body(self, x_t: Tensor, features: Tensor) -> Tensor:
        """All but the embeddings: pictures and features [B, 4 channels] -> pictures."""
        gate = 1 + (self.gate * features).sum(1)[:, None, None, None]  # [B, F] -> [B, 1, 1, 1]
        h = self.input(F.pixel_unshuffle(x_t, self.unshuffle))
        saved = [h]
        for stage in self.down:
            h = stage(h, features)
            saved.append(h)
        for stage in self.middle:
            h = stage(h, features)
        for stage in self.up:
            if not stage.resamples:
                h = torch.cat([h, saved.pop()], dim=1)
            h = stage(h, features)
        h = self.output(F.silu(self.norm(h)))
        return gate * x_t + F.pixel_shuffle(h, self.unshuffle)

    @torch.no_grad()
    def trace(self, x_t: Tensor, t: Tensor, label: Tensor | None = None) -> list[Trace]:
        """A pass that tells what every stage does, in the order of use; arguments as `forward`'s.

        The first is the convolution that takes the picture in, the last the network's answer.
        """
        stages: list[tuple[str, nn.Module]] = [("input", self.input)]
        for kind, part in (("down", self.down), ("middle", self.middle), ("up", self.up)):
            stages += [(kind, stage) for stage in part]
        seen: dict[nn.Module, tuple[Tensor, Tensor]] = {}  # by module, input and output
        hooks = [
            module.register_forward_hook(lambda m, given, out: seen.update({m: (given[0], out)}))
            for _, stage in stages
            for module in (stage, getattr(stage, "attention", None))
            if module is not None
        ]
        try:
            noise = self(x_t, t, label)
        finally:
            for hook in hooks:
                hook.remove()
        waiting = list(range(len(self.down) + 1))  # outputs saved for the way up
        traces = []
        for kind, stage in stages:
            attention = getattr(stage, "attention", None)
            resamples = bool(getattr(stage, "resamples", False))
            queries = keys = None
            if isinstance(attention, Attention):
                queries, keys, _ = attention.qkv_of(seen[attention][0])
            skip = waiting.pop() if kind == "up" and not resamples else None
            traces.append(Trace(kind, seen[stage][1], resamples, skip, queries, keys))
        return [*traces, Trace("output", noise, False, None, None, None)]


class Stage(nn.Module):
    """One step through the U-Net: a residual block (or a plain resampling), then attention."""

    def __init__(self, block: nn.Module, attention: nn.Module, resamples: bool = False) -> None:
        super().__init__()
        self.block, self.attention, self.resamples = block, attention, resamples

    def forward(self, h: Tensor, features: Tensor) -> Tensor:
        h = self.block(h, features) if isinstance(self.block, ResBlock) else self.block(h)
        return self.attention(h)


def _checked(arguments: dict[str, Any]) -> dict[str, Any]:
    """A U-Net's arguments as a card keeps them. ValueError for those that make no network."""
    names = ["size", "in_channels", "channels", "blocks", "unshuffle", "heads"]
    names += ["head_channels"] * (arguments["head_channels"] is not None)
    settled = arguments | checks.sizes(**{name: arguments[name] for name in names})
    settled["classes"] = checks.some("classes", arguments["classes"])
    settled["dropout"] = checks.share("dropout", arguments["dropout"])
    settled["multipliers"] = checks.multipliers(arguments["multipliers"])
    sides = resolutions(settled["size"], settled["unshuffle"], len(settled["multipliers"]))
    looks = arguments["attention_resolutions"]
    settled["attention_resolutions"] = (
        sides[-1:] if looks is None else checks.reached("attention_resolutions", looks, sides)
    )
    return settled


def without_unreached(config: Mapping[str, Any]) -> dict[str, Any]:
    """A card's arguments without attention at sides that the network never reaches.

    A `UNet` of version 0.2 took them, and they changed nothing.
    """
    sides = resolutions(config["size"], config["unshuffle"], len(config["multipliers"]))
    looks = [side for side in config["attention_resolutions"] if side in sides]
    return {**config, "attention_resolutions": looks}


def resolutions(size: int, unshuffle: int, levels: int) -> list[int]:
    """The sides of what a `UNet` works on, one a level, each half of the one before."""
    shrink = unshuffle * 2 ** (levels - 1)
    if size % shrink:
        raise ValueError(f"size {size} cannot be divided by {shrink} (unshuffle and levels)")
    return [size // unshuffle // 2**level for level in range(levels)]


class _Maker:
    """Makes the stages of a `UNet` from what they have in common."""

    def __init__(self, config: dict[str, Any], features: int) -> None:
        self.heads, self.head_channels = config["heads"], config["head_channels"]
        self.attention_resolutions = set(config["attention_resolutions"])
        self.residual_resampling = config["residual_resampling"]
        self.rescale_residual = config["rescale_residual"]
        self.block = partial(
            ResBlock,
            features=features,
            adaptive_norm=config["adaptive_norm"],
            dropout=config["dropout"],
            rescale_residual=config["rescale_residual"],
        )

    def way_down(
        self, widths: list[int], blocks: int, side: int
    ) -> tuple[nn.ModuleList, list[int]]:
        """The stages in order of use, and the channels of every saved activation."""
        stages, width, skips = nn.ModuleList(), widths[0], [widths[0]]
        for level, wanted in enumerate(widths):
            if level:
                side //= 2
                stages.append(self.halving(width))
                skips.append(width)
            for _ in range(blocks):
                stages.append(self.stage(width, wanted, side))
                width = wanted
                skips.append(width)
        return stages, skips

    def middle(self, width: int) -> nn.ModuleList:
        """Two blocks at the lowest resolution, with attention between them."""
        first = Stage(self.block(width, width), self.attention(width))
        return nn.ModuleList([first, Stage(self.block(width, width), nn.Identity())])

    def way_up(self, widths: list[int], blocks: int, side: int, skips: list[int]) -> nn.ModuleList:
        """The stages in order of use; each takes in what the way down saved last."""
        stages, width, left = nn.ModuleList(), widths[-1], list(skips)
        for level, wanted in reversed(list(enumerate(widths))):
            for _ in range(blocks + 1):
                stages.append(self.stage(width + left.pop(), wanted, side // 2**level))
                width = wanted
            if level:
                stages.append(self.doubling(width))
        return stages

    def stage(self, c_in: int, c_out: int, side: int) -> "Stage":
        block = self.block(c_in, c_out)
        looks = side in self.attention_resolutions
        return Stage(block, self.attention(c_out) if looks else nn.Identity())

    def attention(self, channels: int) -> Attention:
        if self.head_channels is None:
            return Attention(channels, self.heads, self.rescale_residual)
        if channels % self.head_channels:
            raise ValueError(
                f"{channels} channels cannot be cut into heads of {self.head_channels}"
            )
        return Attention(channels, channels // self.head_channels, self.rescale_residual)

    def halving(self, width: int) -> "Stage":
        plain = nn.Conv2d(width, width, 3, stride=2, padding=1)
        residual = self.residual_resampling
        block = self.block(width, width, scale=0.5) if residual else plain
        return Stage(block, nn.Identity(), resamples=True)

    def doubling(self, width: int) -> "Stage":
        plain = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(width, width, 3, padding=1))
        residual = self.residual_resampling
        block = self.block(width, width, scale=2) if residual else plain
        return Stage(block, nn.Identity(), resamples=True)
