"""An input drawn from a normal with its tails cut off: typical pictures, and ever fewer of them."""

from collections.abc import Generator, Mapping, Sequence

import torch
from torch import Tensor

from ... import checks
from ...math.guidance import truncated_normal
from .. import kit
from ._trade import Curve, TradeExplorer, check_classes, check_rising


class TruncationExplorer(TradeExplorer):
    """Pictures of one class from a truncated input, the same draws under every threshold.

    ``decode`` makes pictures of latents z [N, ``latent``] and labels [N], as `VAE.decode` does, or
    a walk of DDIM's of which z is the starting noise.
    ``count`` latents (at most 16) are drawn for every one of ``thresholds`` by `truncated_normal`,
    from the same uniform numbers, so that a lower threshold draws each of them in. ``curves`` are
    measured points (threshold, recall, precision): under the name "truncation" its own, which the
    chosen threshold moves along, and others, by their names, to compare with.

    The first choice is computed at once, the others when they are wanted: by the page itself if
    ``decode`` is that of the VAE that ships with the package, or draws with its `DiffusionModel`
    and `ddim_step` (then at any threshold in between), otherwise by the kernel.

    Synced traits: ``label`` and ``scale`` (the threshold), ``seed`` (another
    one is another draw). ``latents()`` and ``pictures()`` are what is shown. Raises ValueError for
    values outside these ranges, traitlets.TraitError for a choice that was not given.
    """

    _files = kit.files(__file__, "_trade.js", "truncation.js")
    _scale_name = "threshold"

    def __init__(
        self,
        decode: kit.Decode,
        latent: int,
        thresholds: Sequence[float] = (0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3),
        classes: Sequence[int] = tuple(range(10)),
        count: int = 16,
        curves: Mapping[str, Curve] | None = None,
        seed: int = 0,
    ) -> None:
        thresholds = check_rising("thresholds", thresholds)
        if thresholds[0] <= 0:
            raise ValueError(f"thresholds must be above 0, got {thresholds[0]}")
        classes = check_classes(classes)
        count = checks.whole("count", count, 1, 16)
        latent = checks.whole("latent", latent, 1, 4096)
        self.decode, self.latent = decode, latent
        with torch.no_grad(), kit.calls_heard() as calls:
            example = decode(torch.zeros(count, latent), torch.full((count,), classes[0]))
        example = kit.as_float(example, "what decode makes")
        if not kit.are_pictures(example.shape) or len(example) != count:
            raise ValueError(
                f"decode must make pictures [{count}, 1 or 3, H, W] of at most 64 x 64 pixels, "
                f"got shape {list(example.shape)}"
            )
        super().__init__(
            ["truncation"],
            classes,
            thresholds,
            list(kit.as_kept(example).shape),
            curves,
            seed,
            _network=kit.decoder_behind(decode, latent),
            _names=kit.labels_behind(calls)[1],
        )

    def latents(self, threshold: float | None = None) -> Tensor:
        """The numbers decoded, float32 [count, latent]: those shown unless a threshold is named."""
        threshold = self.scale if threshold is None else threshold
        generator = kit.generator_for(self.seed, use=0)
        return truncated_normal([self._shape[0], self.latent], threshold, generator)

    def _calls(self, part: int) -> int:
        return int(self._network.get("steps", 1))

    def _drawn(self, method: str, label: int, scale: float) -> Generator[None, None, Tensor]:
        z = self.latents(scale)
        with torch.no_grad():
            pictures = self.decode(z, torch.full((len(z),), label))
        for _ in range(self._calls(0)):  # decode has made them all at once
            yield
        return pictures
