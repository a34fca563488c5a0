"""09, What came after 2022: the checks of its exercises."""

from typing import Any

import torch

from .reading import called, choice, near, normal
from .registry import Hint, exercise


@exercise("09.1")
def picture_of_a_velocity(answer: Any) -> str:
    hints = {
        "b": "so it would be at u = 1. How much of the velocity is taken off x_u to reach x_0?",
        "c": "x_0 = x_u - u times the velocity. Is its error multiplied by u, or divided?",
    }
    choice(answer, hints, "a")
    return "u of it is left in x_0 and 1 - u in the noise: neither is ever off by more."


@exercise("09.2")
def velocity_of_noise(answer: Any) -> str:
    x_u, noise = normal(2, 6)
    for value in (0.25, 0.7):
        u = torch.tensor(value).double()
        result = called(answer, x_u, noise, u, like=x_u)
        x_0 = (x_u - u * noise) / (1 - u)
        slips = [
            (noise, "this is the noise alone. The velocity is the noise without the picture."),
            (x_0, "this is x_0, the first half of the way. What is the velocity, given it?"),
            (x_0 - noise, "the other way round: from data to noise it is noise - x_0."),
            (noise - x_u, "x_u is not x_0 yet: it holds noise, too."),
            (x_u - noise, "x_u is not x_0 yet, and the velocity is noise - x_0."),
            (
                noise - (x_u - u * noise),
                "x_u without its noise is (1 - u) x_0. Bring it to the size of x_0.",
            ),
            (
                noise - (x_u - (1 - u) * noise) / u,
                "u and 1 - u have changed places: x_u holds u of the noise.",
            ),
            (
                noise - (x_u - noise) / (1 - u),
                "x_u holds u of the noise, not all of it.",
            ),
        ]
        for slip, hint in slips:
            if near(result, slip):
                raise Hint(hint)
        if not near(result, noise - x_0):
            raise Hint("two steps: which x_0 hides in x_u, beside this noise? Then noise - x_0.")
    return "(noise - x_u) / (1 - u): without bound at u = 1, where x_u is the noise itself."


@exercise("09.3")
def step_of_the_flow(answer: Any) -> str:
    x, velocity = normal(2, 6)
    for u_, w_ in [(0.5, 0.2), (1.0, 0.9)]:
        u, w = torch.tensor(u_).double(), torch.tensor(w_).double()
        result = called(answer, x, velocity, u, w, like=x)
        slips = [
            (x + (u - w) * velocity, "this is the faulty line: it walks on into the noise."),
            (x - velocity, "the whole way at once. How much of u does this step cover?"),
            (x + velocity, "the whole way at once, and towards the noise."),
            (x - w * velocity, "the step is from u to w, not from w to 0."),
            (x - u * velocity, "this leads to u = 0 at once. The step ends at w."),
            (x + w * velocity, "the velocity points to the noise; and the step is from u to w."),
        ]
        for slip, hint in slips:
            if near(result, slip):
                raise Hint(hint)
        if not near(result, x + (w - u) * velocity):
            raise Hint("x changes by the velocity times the change of u, which is w - u.")
    return "the velocity points from data to noise, and w - u is negative on the way back."


@exercise("09.4")
def known_part(answer: Any) -> str:
    drawn, known, noise = normal(3, 6)
    mask = torch.tensor([True, True, False, False, True, False])
    alpha, sigma = torch.tensor(0.8).double(), torch.tensor(0.6).double()
    result = called(answer, drawn, known, mask, noise, alpha, sigma, like=drawn)
    noised = alpha * known + sigma * noise
    slips = [
        (drawn, "nothing of the known picture is in it. Where the mask is True it shall be."),
        (noised, "now all of it is known. Where the mask is False, keep what was drawn."),
        (
            torch.where(mask, known, drawn),
            "clean pixels in a noisy picture: at time s the network expects noise there, too.",
        ),
        (
            torch.where(mask, drawn, noised),
            "exchanged: the mask is True where the picture is known.",
        ),
        (torch.where(mask, drawn, known), "exchanged, and the known part is not noised to s."),
        (
            torch.where(mask, known + sigma * noise, drawn),
            "at time s only alpha of the picture is left.",
        ),
        (
            torch.where(mask, known + noise, drawn),
            "at time s there is alpha of the picture and sigma of the noise.",
        ),
        (
            torch.where(mask, alpha * known, drawn),
            "the picture has the size that it has at s. At s there is noise as well.",
        ),
        (
            torch.where(mask, alpha * known + noise, drawn),
            "at time s there is sigma of the noise, not all of it.",
        ),
        (
            torch.where(mask, noised, 0 * drawn),
            "where the mask is False, what the network has drawn is lost.",
        ),
    ]
    for slip, hint in slips:
        if near(result, slip):
            raise Hint(hint)
    if not near(result, torch.where(mask, noised, drawn)):
        raise Hint("two parts: the known picture as it is at time s, and what was drawn.")
    return "one line, put into any sampler, and a network that never heard of holes fills them."
