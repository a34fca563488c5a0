"""What a network may predict: noise, x_0, v, velocity or score, and how each becomes the others.

At any time x_t = alpha x_0 + sigma noise, and whatever a network predicts is another mixture of the
same two, ``a x_0 + b noise``. Two mixtures determine x_0 and noise, so one network's answer is all
of them: what differs is the weight that an error gets at each time, and where the change from one
to another divides by (almost) nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .. import checks
from .schedule import NoiseSchedule, Time, wide

Mixture = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(alpha, sigma) -> how much of x_0 and how much of the noise is in what is predicted"""


@dataclass(frozen=True)
class Prediction:
    """One of the things that a network can predict; its ``mixture`` says all about it.

    The squared error of a prediction is that of x_0 times `loss_weight`: a network that learns by
    the plain mean of it pays attention to the times where that weight is large.
    """

    name: str
    mixture: Mixture

    def target(self, x_0: Tensor, noise: Tensor, t: Time, schedule: NoiseSchedule) -> Tensor:
        """What the network should answer to ``x_t = alpha x_0 + sigma noise``, [B, ...]."""
        checks.floats(x_0=x_0, noise=noise)
        a, b = self.mixture(*schedule.at(t, x_0))
        checks.defined(self.name, a, b)
        return a.to(x_0.dtype) * x_0 + b.to(x_0.dtype) * noise

    def x0_hat(self, answer: Tensor, x_t: Tensor, t: Time, schedule: NoiseSchedule) -> Tensor:
        """The clean picture that an answer means, [B, ...]; see `convert`."""
        return convert(answer, x_t, t, schedule, self, X0)

    def from_x0(self, x_0: Tensor, x_t: Tensor, t: Time, schedule: NoiseSchedule) -> Tensor:
        """What stands for this x_0 in x_t, [B, ...]: `x0_hat` the other way round."""
        return convert(x_0, x_t, t, schedule, X0, self)

    def loss_weight(self, t: Time, like: Tensor, schedule: NoiseSchedule) -> Tensor:
        """Squared error of the prediction over that of x_0, at t, shaped for ``like`` [B, ...].

        Of the noise it is the signal-to-noise ratio, of x_0 it is 1, of v one more than the ratio
        where the variance is preserved (Salimans & Ho, arXiv 2202.00512, section 4 and appendix D),
        of the velocity (1 + alpha / sigma)^2.
        """
        _, of_x_0 = combination(*schedule.at(t, like), X0, self)
        return of_x_0**2


def convert(
    answer: Tensor,
    x_t: Tensor,
    t: Time,
    schedule: NoiseSchedule,
    source: Prediction,
    target: Prediction,
) -> Tensor:
    """The same knowledge by another name: an answer of kind ``source`` as one of kind ``target``.

    Every kind is a straight combination of x_t and any other; all are [B, ...]. Raises ValueError
    at a time where x_t and the answer do not determine x_0 and noise: a predicted noise where
    nothing of x_0 is left, a predicted x_0 at t = 0.
    """
    checks.floats(x_t=x_t, answer=answer)
    of_x_t, of_answer = combination(*schedule.at(t, x_t), source, target)
    x, answer = wide(x_t), wide(answer)  # what is near 0 at T divides: 16 bits would overflow
    return (of_x_t.to(x.dtype) * x + of_answer.to(x.dtype) * answer).to(x_t.dtype)


def combination(
    alpha: Tensor, sigma: Tensor, source: Prediction, target: Prediction
) -> tuple[Tensor, Tensor]:
    """How much of x_t, and how much of the source, is in the target: the weights of `convert`.

    The second is also how often an error of the source is in the target. Raises ValueError where
    the two do not determine it.
    """
    (a, b), (wanted_a, wanted_b) = source.mixture(alpha, sigma), target.mixture(alpha, sigma)
    both = alpha * b - sigma * a  # 0 where x_t and the answer are one and the same
    multiple = wanted_a * b == a * wanted_b  # of the source: x_t need not be known
    why = f"x_0 and noise cannot be read off a predicted {source.name} there"
    checks.above_zero("what to divide by", torch.where(multiple, 1, both), why)
    of_x_t, of_source = (wanted_a * b - a * wanted_b) / both, alpha * wanted_b - sigma * wanted_a
    factor = torch.where(b == 0, wanted_a / a, wanted_b / b)
    return torch.where(multiple, 0, of_x_t), torch.where(multiple, factor, of_source / both)


def _one(alpha: Tensor) -> Tensor:
    return torch.ones_like(alpha)


NOISE = Prediction("noise", lambda alpha, sigma: (0 * alpha, _one(alpha)))
"""What DDPM's network predicts (eq. 14). Errors weigh as the signal-to-noise ratio: hardly at all
near T, where the outline of the picture is decided."""

X0 = Prediction("x0", lambda alpha, sigma: (_one(alpha), 0 * alpha))
"""The clean picture itself. All times weigh alike in x_0; read as noise, errors grow near t = 0."""

V = Prediction("v", lambda alpha, sigma: (-sigma, alpha))
"""``alpha noise - sigma x_0`` (arXiv 2202.00512): the weight of x_0 and that of noise together."""

VELOCITY = Prediction("velocity", lambda alpha, sigma: (-_one(alpha), _one(alpha)))
"""``noise - x_0``, the direction of the straight path (arXiv 2209.03003, eq. 1)."""

SCORE = Prediction("score", lambda alpha, sigma: (0 * alpha, -1 / sigma))
"""``-noise / sigma``, the gradient of log p(x_t | x_0); its mean given x_t is that of log p(x_t)
(arXiv 2011.13456)."""

PREDICTIONS = {prediction.name: prediction for prediction in (NOISE, X0, V, VELOCITY)}
"""What a network can be trained to predict, by name."""
