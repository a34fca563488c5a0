"""Diffusion Lessons: a course on diffusion models whose every formula runs.

``import diffusion_lessons`` loads torch and numpy only. The modules, in the order in which they
build on each other: `schedule`, `gaussian`, `sampling`, `guidance`, `exact`, `training`, `metrics`,
`data`, `checkpoints`, `recipes`; `viz` and `widgets` draw.
"""

from .data import cifar10, digits, fashion, moons, spiral, to_bytes, to_unit
from .math.exact import GaussianMixture, grid_mixture, ring_mixture
from .math.gaussian import (
    Gaussian,
    discretized_log_likelihood,
    forward,
    forward_variance,
    kl_divergence,
    noise_to_x0,
    posterior,
    posterior_variance,
    x0_to_noise,
)
from .math.guidance import (
    class_log_prob,
    classifier_free_guidance,
    classifier_guidance,
    clipped,
    truncated_normal,
)
from .math.sampling import (
    Step,
    ddim_invert,
    ddim_step,
    ddpm_step,
    elbo_terms,
    from_noise_model,
    sample,
    slerp,
    thin,
)
from .math.schedule import (
    NoiseSchedule,
    cosine_schedule,
    linear_schedule,
    quadratic,
    uniform,
    vp_schedule,
)
from .measuring.metrics import (
    class_accuracy,
    density_coverage,
    frechet_distance,
    mode_counts,
    precision_recall,
)
from .networks.checkpoints import load_pretrained
from .training.average import EMA
from .training.batches import shuffled
from .training.loop import TrainStep, train, watch
from .training.losses import noise_prediction_loss

__version__ = "0.1.0"

__all__ = [
    "EMA",
    "Gaussian",
    "GaussianMixture",
    "NoiseSchedule",
    "Step",
    "TrainStep",
    "cifar10",
    "class_accuracy",
    "class_log_prob",
    "classifier_free_guidance",
    "classifier_guidance",
    "clipped",
    "cosine_schedule",
    "ddim_invert",
    "ddim_step",
    "ddpm_step",
    "density_coverage",
    "digits",
    "discretized_log_likelihood",
    "elbo_terms",
    "fashion",
    "forward",
    "forward_variance",
    "frechet_distance",
    "from_noise_model",
    "grid_mixture",
    "kl_divergence",
    "linear_schedule",
    "load_pretrained",
    "mode_counts",
    "moons",
    "noise_prediction_loss",
    "noise_to_x0",
    "posterior",
    "posterior_variance",
    "precision_recall",
    "quadratic",
    "ring_mixture",
    "sample",
    "shuffled",
    "slerp",
    "spiral",
    "thin",
    "to_bytes",
    "to_unit",
    "train",
    "truncated_normal",
    "uniform",
    "vp_schedule",
    "watch",
    "x0_to_noise",
]
