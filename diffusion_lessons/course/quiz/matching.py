"""Matching: seven formulas, and what each of them says."""

from .item import LESSONS, Item

# formula, meaning, reason, lesson
PAIRS = [
    (
        "q(x_t | x_{t−1}) = N( √(1 − β_t) x_{t−1},  β_t I )",
        "one step forward: the picture a little fainter, a little noise added",
        "the squares of the two coefficients, 1 − β and β, sum to 1.",
        "01",
    ),
    (
        "x_t = √ᾱ_t x_0 + √(1 − ᾱ_t) ε",
        "all steps forward at once, from the clean picture to any time",
        "ᾱ is the product of all 1 − β so far: a thousand steps are one draw.",
        "01",
    ),
    (
        "p_θ(x_{t−1} | x_t) = N( μ_θ(x_t, t),  σ_t² I )",
        "one step back, as a network draws it: a Gaussian around a learnt mean",
        "for a small step the true distribution is nearly a Gaussian; its mean is learnt.",
        "02",
    ),
    (
        "μ_θ = ( x_t − β_t ∕ √(1 − ᾱ_t) · ε_θ(x_t, t) ) ∕ √α_t",
        "where the step back aims, written with the predicted noise",
        "it is the posterior's mean with the guess x̂_0 in place of x_0.",
        "02",
    ),
    (
        "L = E ‖ ε − ε_θ( √ᾱ_t x_0 + √(1 − ᾱ_t) ε,  t ) ‖²",
        "what is trained: the noise is the only thing to predict",
        "given x_t, the noise, x_0 and the mean are the same knowledge.",
        "02",
    ),
    (
        "x_s = √ᾱ_s x̂_0 + √(1 − ᾱ_s − σ²) ε_θ + σ ε",
        "a step back of any length, with more or less fresh noise",
        "predicted x_0, direction pointing to x_t, random noise: DDIM's equation 12.",
        "03",
    ),
    (
        "ε̂ = ε_θ − s √(1 − ᾱ_t) ∇ log p(y | x_t)",
        "the predicted noise, pushed so that a class becomes likelier",
        "the gradient of a classifier of noisy pictures, s times, in the noise's units.",
        "05",
    ),
]


def items() -> list[Item]:
    """One item, to be answered by matching all formulas with their meanings."""
    pairs = [
        {"formula": formula, "meaning": meaning, "reason": reason, "lesson": LESSONS[lesson]}
        for formula, meaning, reason, lesson in PAIRS
    ]
    question = "Which formula says what?"
    return [{"id": "match", "kind": "match", "question": question, "pairs": pairs}]
