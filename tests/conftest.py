"""What all tests share: the schedules they run over, and how hypothesis behaves."""

import pytest
import torch
from hypothesis import settings

from diffusion_lessons.schedule import (
    NoiseSchedule,
    cosine_schedule,
    linear_schedule,
    vp_schedule,
)

# The tests' tensors are small: a second thread costs more than it brings.
torch.set_num_threads(1)

# The same examples every time, so that a failure on one machine is a failure on all.
settings.register_profile("lessons", deadline=None, derandomize=True, max_examples=40)
settings.load_profile("lessons")

SCHEDULES = {
    "linear": linear_schedule(1000),
    "cosine": cosine_schedule(1000),
    "vp": vp_schedule(4),
}


@pytest.fixture(params=SCHEDULES)
def schedule(request: pytest.FixtureRequest) -> NoiseSchedule:
    """Each kind of schedule in turn: two long ones and the four steps of a denoising GAN."""
    return SCHEDULES[request.param]


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)
