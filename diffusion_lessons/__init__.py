"""Diffusion Lessons: a course on diffusion models whose every formula runs.

``import diffusion_lessons`` loads torch and numpy only. The rooms, in the order in which they build
on each other: `math` (schedules, Gaussians, predictions, samplers, guidance), `networks`,
`training`, `measuring`; `page` draws and `course` checks what a learner answers.
"""

from .data import cifar10, digits, fashion, moons, spiral, to_bytes, to_unit
from .folders import Pictures, pictures
from .math.editing import keeping, restore
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
from .math.losses import noise_prediction_loss, prediction_loss
from .math.prediction import NOISE, PREDICTIONS, SCORE, VELOCITY, X0, Prediction, V, convert
from .math.randomness import RowGenerator
from .math.sampling import (
    Step,
    consistency_step,
    ddim_invert,
    ddim_step,
    ddpm_step,
    elbo_terms,
    final,
    from_noise_model,
    sample,
    slerp,
    stepwise,
    thin,
)
from .math.schedule import (
    SCHEDULES,
    NoiseSchedule,
    cosine_schedule,
    even_in_log_snr,
    linear_schedule,
    quadratic,
    straight_schedule,
    uniform,
    vp_schedule,
    zero_terminal,
)
from .math.solvers import SAMPLERS, dpm_solver_2m, euler_step, heun
from .measuring.metrics import (
    class_accuracy,
    density_coverage,
    frechet_distance,
    mode_counts,
    precision_recall,
)
from .networks.checkpoints import load_pretrained
from .networks.diffusion import DiffusionModel
from .networks.drawing import DrawSettings
from .training.average import EMA
from .training.batches import shuffled
from .training.loop import TrainOptions, TrainStep, train, watch

__version__ = "0.2.0"

__all__ = [
    "EMA",
    "NOISE",
    "PREDICTIONS",
    "SAMPLERS",
    "SCHEDULES",
    "SCORE",
    "VELOCITY",
    "X0",
    "DiffusionModel",
    "DrawSettings",
    "Gaussian",
    "GaussianMixture",
    "NoiseSchedule",
    "Pictures",
    "Prediction",
    "RowGenerator",
    "Step",
    "TrainOptions",
    "TrainStep",
    "V",
    "cifar10",
    "class_accuracy",
    "class_log_prob",
    "classifier_free_guidance",
    "classifier_guidance",
    "clipped",
    "consistency_step",
    "convert",
    "cosine_schedule",
    "ddim_invert",
    "ddim_step",
    "ddpm_step",
    "density_coverage",
    "digits",
    "discretized_log_likelihood",
    "dpm_solver_2m",
    "elbo_terms",
    "euler_step",
    "even_in_log_snr",
    "fashion",
    "final",
    "forward",
    "forward_variance",
    "frechet_distance",
    "from_noise_model",
    "grid_mixture",
    "heun",
    "keeping",
    "kl_divergence",
    "linear_schedule",
    "load_pretrained",
    "mode_counts",
    "moons",
    "noise_prediction_loss",
    "noise_to_x0",
    "pictures",
    "posterior",
    "posterior_variance",
    "precision_recall",
    "prediction_loss",
    "quadratic",
    "restore",
    "ring_mixture",
    "sample",
    "shuffled",
    "slerp",
    "spiral",
    "stepwise",
    "straight_schedule",
    "thin",
    "to_bytes",
    "to_unit",
    "train",
    "truncated_normal",
    "uniform",
    "vp_schedule",
    "watch",
    "x0_to_noise",
    "zero_terminal",
]
