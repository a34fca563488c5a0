"""What UNetExplorer and AttentionExplorer share: passes of a network through noised pictures."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
import traitlets
from torch import Tensor

from ... import checks
from ...math.gaussian import forward
from ...math.prediction import NOISE
from ...math.schedule import NoiseSchedule
from .. import kit


class Traced(Protocol):
    """A network that can tell what its stages do, as `UNet` can."""

    def trace(self, x_t: Tensor, t: Tensor, label: Tensor | None = None) -> list[Any]: ...


class Pass(NamedTuple):
    """One pass of all pictures at one time."""

    x_t: Tensor  # [N, C, H, W]
    x0_hat: Tensor  # [N, C, H, W]
    stages: list[Any]  # `Trace`s


class NetworkExplorer(kit.Explorer):
    """Pictures [N, 1 or 3, H, W] noised up to chosen times, and what a network makes of them.

    A network is a `DiffusionModel` around a U-Net, or the U-Net of one that predicts noise.
    """

    picture = traitlets.Int(0, min=0).tag(sync=True)
    t = traitlets.Int(0, min=0).tag(sync=True)

    _prediction = traitlets.Unicode("noise").tag(sync=True)  # its name
    _times = traitlets.List(traitlets.Int()).tag(sync=True)
    _shape = traitlets.List(traitlets.Int()).tag(sync=True)  # [N, H, W] or [N, 3, H, W]
    _x_0 = kit.as_bytes()  # of _shape, greys or colours
    _x_t = kit.as_bytes()  # [times, ...], likewise
    _x0_hat = kit.as_bytes()

    def __init__(
        self,
        model: Traced,
        images: Tensor,
        schedule: NoiseSchedule,
        label: Tensor | None,
        times: Sequence[int],
        seed: int,
    ) -> None:
        x_0 = kit.check_pictures(images, most=6)
        times = [checks.whole("each of times", t, 0) for t in times]
        if not times or times != sorted(set(times)) or times[0] < 1:
            raise ValueError(f"times must rise, from 1 on, got {times}")
        if times[-1] > schedule.T:
            raise ValueError(f"times must lie in 1..{schedule.T}, got {times[-1]}")
        prediction = getattr(model, "prediction", NOISE)  # of layers alone nobody knows it
        model = getattr(model, "network", model)
        if not hasattr(model, "trace"):
            raise ValueError(
                f"model must be a U-Net that can trace its stages, got {type(model).__name__} "
                "(give the network itself, not `fast` of it)"
            )
        kit.check_seed(seed)
        generator = torch.Generator().manual_seed(seed)
        clean = x_0.view(len(x_0), *kit.with_channel(x_0.shape[1:]))
        noise = torch.randn(clean.shape, generator=generator)
        self.passes: list[Pass] = []
        for t in times:
            q = forward(clean, 0, t, schedule)
            x_t = q.mean + q.std * noise
            stages = model.trace(x_t, torch.full((len(x_t),), t), label)
            answer = stages[-1].output
            x0_hat = prediction.x0_hat(answer, x_t, t, schedule).clamp(-1, 1)
            self.passes.append(Pass(x_t, x0_hat, stages))
        super().__init__(
            _prediction=prediction.name,
            _times=times,
            _shape=list(x_0.shape),
            _x_0=kit.pack_greys(x_0, 256),
            _x_t=kit.pack_greys(torch.stack([p.x_t for p in self.passes])),
            _x0_hat=kit.pack_greys(torch.stack([p.x0_hat for p in self.passes])),
        )
        self.t = times[len(times) // 2]

    @traitlets.validate("picture", "t")
    def _check_pass(self, proposal: Any) -> int:
        name, value = proposal.trait.name, proposal.value
        allowed = self._times if name == "t" else range((self._shape or [0])[0])
        if allowed and value not in allowed:
            given = ", ".join(map(str, allowed))
            raise traitlets.TraitError(f"{name} must be one of {given}, got {value}")
        return int(value)

    def _shown(self, content: bytes) -> Tensor:
        """The picture at the chosen time, of those of all times and pictures."""
        every = kit.unpack_greys(content, [len(self._times), *self._shape])
        return every[self._times.index(self.t), self.picture]

    @property
    def x_t(self) -> Tensor:
        """The noisy picture shown, clipped to -1..1, float32 [H, W], or [3, H, W] in colour."""
        return self._shown(self._x_t)

    @property
    def x0_hat(self) -> Tensor:
        """What the network makes of it, clipped to -1..1, likewise."""
        return self._shown(self._x0_hat)
