"""Jensen's inequality with one latent: a lower bound, and the gap that closes."""

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
import traitlets

from ... import checks
from ...math.gaussian import Gaussian, kl_divergence
from .. import kit
from ..palette import INK, RESULT, SIGNAL, SOFT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DRAWS = 15  # of z, at even shares of q


class BoundExplorer(kit.Explorer):
    """The ELBO of one number x with one latent z, by hand: move q(z) and watch the gap.

    The model draws z from N(0, 1) and x from N(z, noise^2), so that p(x) and the posterior p(z | x)
    are Gaussians that are known. q(z) is the reader's guess of the posterior. On the left q and the
    posterior; on the right, on the curve of the logarithm, the ratios w = p(x, z) / q(z) at 15
    places z spread evenly over q. The average of w is p(x), the average of log w is the ELBO, and
    log p(x) - ELBO = KL(q || posterior) (Kingma & Welling, arXiv 1312.6114, eq. 1).

    Synced traits: ``mean`` (-2..2) and ``std`` (0.1..2) of q. ``log_p``, ``elbo`` and ``gap`` are
    what is shown, in nats. Raises ValueError for an ``x`` outside -3..3 or a ``noise`` outside
    0.2..2, traitlets.TraitError for values outside their range.
    """

    _files = kit.files(__file__, "bound.js")

    mean = traitlets.Float(0.0, min=-2, max=2).tag(sync=True)
    std = traitlets.Float(1.0, min=0.1, max=2).tag(sync=True)

    _x = traitlets.Float().tag(sync=True)
    _noise = traitlets.Float().tag(sync=True)
    _places = traitlets.List(traitlets.Float()).tag(sync=True)  # the draws, for mean 0 and std 1

    def __init__(self, x: float = 1.5, noise: float = 0.6) -> None:
        x = checks.within("x", x, -3, 3)
        noise = checks.within("noise", noise, 0.2, 2)
        shares = (torch.arange(DRAWS, dtype=torch.float64) + 0.5) / DRAWS
        super().__init__(_x=x, _noise=noise, _places=torch.special.ndtri(shares).tolist())

    @property
    def q(self) -> Gaussian:
        """The reader's guess, float64 [1, 1]."""
        return _gaussian(self.mean, self.std)

    @property
    def posterior(self) -> Gaussian:
        """p(z | x), float64 [1, 1]."""
        total = 1 + self._noise**2
        return _gaussian(self._x / total, self._noise / math.sqrt(total))

    @property
    def log_p(self) -> float:
        """log p(x) in nats."""
        x = torch.tensor([[self._x]], dtype=torch.float64)
        return float(_gaussian(0, math.sqrt(1 + self._noise**2)).log_prob(x))

    @property
    def gap(self) -> float:
        """KL(q || posterior) in nats."""
        return float(kl_divergence(self.q, self.posterior))

    @property
    def elbo(self) -> float:
        """The average of log w under q, in nats."""
        return self.log_p - self.gap

    def log_ratios(self) -> torch.Tensor:
        """log w at the 15 places, float64 [15]."""
        z = self.mean + self.std * torch.tensor(self._places, dtype=torch.float64)[:, None]
        q, posterior = (Gaussian(g.mean.expand(len(z), 1), g.std) for g in (self.q, self.posterior))
        return self.log_p + posterior.log_prob(z) - q.log_prob(z)

    def figure(self) -> "Figure":
        """Both panels at the current values."""
        figure = kit.new_figure(9, 3.2)
        left, right = figure.subplots(1, 2)
        kit.draw_axes(left, "$z$", "a guess of the latent, and the posterior")
        z = torch.linspace(-3, 3, 601, dtype=torch.float64)
        for gaussian, colour, style, name in [
            (self.q, SIGNAL, "--", "$q(z)$"),
            (self.posterior, RESULT, "-", "$p(z | x)$"),
        ]:
            bell = torch.distributions.Normal(gaussian.mean[0, 0], gaussian.std)
            left.plot(z, bell.log_prob(z).exp(), style, color=colour, label=name)
        left.legend(frameon=False, fontsize=9)
        kit.draw_axes(right, "$w = p(x, z) / q(z)$", f"the gap is {self.gap:.3f} nats")
        p = math.exp(self.log_p)
        w = np.geomspace(p * math.exp(-4), 3 * p, 300)  # as far down as the frame goes
        right.plot(w, np.log(w), color=SOFT)
        ratios = self.log_ratios()
        right.plot(ratios.exp(), ratios, "o", color=SIGNAL, ms=4)
        right.plot([p, p], [self.elbo, self.log_p], color=INK, lw=3)
        right.plot(p, self.log_p, "o", color=RESULT)
        right.plot(p, self.elbo, "s", color=SIGNAL)
        right.set(xlim=(0, 3 * p), ylim=(self.log_p - 4, self.log_p + 1.2))
        right.set_ylabel("$\\log w$", color=INK, fontsize=9)
        return figure


def _gaussian(mean: float, std: float) -> Gaussian:
    return Gaussian(
        torch.tensor([[mean]], dtype=torch.float64), torch.tensor(std, dtype=torch.float64)
    )
