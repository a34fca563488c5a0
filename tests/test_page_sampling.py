"""The page's formulas (sampling.js, schedules.js, noise.js of the kit) beside Python's, in node."""

import json
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import javascript
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from diffusion_lessons.math import gaussian
from diffusion_lessons.math.editing import keeping, restore
from diffusion_lessons.math.exact import GaussianMixture
from diffusion_lessons.math.guidance import (
    classifier_free_guidance,
    classifier_guidance,
    clipped,
    log_prob_gradient,
    truncated_normal,
)
from diffusion_lessons.math.prediction import NOISE, SCORE, VELOCITY, X0, V, combination, convert
from diffusion_lessons.math.randomness import RowGenerator, derived
from diffusion_lessons.math.sampling import (
    Step,
    consistency_step,
    ddim_invert,
    ddim_step,
    ddpm_step,
    sample,
    slerp,
    stepwise,
    thin,
)
from diffusion_lessons.math.schedule import (
    NoiseSchedule,
    cosine_schedule,
    even_in_log_snr,
    linear_schedule,
    straight_schedule,
    vp_schedule,
    zero_terminal,
)
from diffusion_lessons.math.solvers import SAMPLERS, euler_step
from diffusion_lessons.networks.drawing import SPACINGS
from diffusion_lessons.page import kit

SCHEDULES = {
    "linear": linear_schedule(),
    "cosine": cosine_schedule(),
    "vp": vp_schedule(4),
    "straight": straight_schedule(100),
    "zero terminal": zero_terminal(linear_schedule(200)),
    "given": NoiseSchedule([1.0, 0.7, 0.2]),
    "path": NoiseSchedule(alpha=[1.0, 0.5, 0.1], sigma=[0.0, 0.6, 1.2]),
}
ROWS, WIDTH = 3, 5
START = RowGenerator(11, torch.arange(ROWS)).normal((ROWS, WIDTH)).float()
OTHER = RowGenerator(12, torch.arange(ROWS)).normal((ROWS, WIDTH)).float()


def denoiser(x_t: Tensor, t: int, tilt: float = 0.4) -> Tensor:
    """Any smooth function will do."""
    return tilt * x_t + 0.2 * (x_t + t / 1000).sin()


PAGE = """
import * as kit from "kit";
const given = GIVEN;
const schedule = kit.scheduleFrom(given.schedule);
const x = Float32Array.from(given.x), y = Float32Array.from(given.y);
const each = (a, f) => Float32Array.from(a, f);
const tilted = (tilt) => async (x_t, t) =>
    each(x_t, (v) => tilt * v + 0.2 * Math.sin(Math.fround(v + t / 1000)));
const denoiser = tilted(0.4);
const numbers = [0, 1, 2];
const rows = (seed) => new kit.RowGenerator(seed, numbers);
async function last(walk) {
    let step, calls = [];
    for await (step of walk) calls.push([step.t, step.calls]);
    return { x: step.x, calls };
}
"""


def in_page(folder: Path, schedule: NoiseSchedule, expression: str, **given: Any) -> Any:
    facts = {"schedule": schedule.config, "x": START.flatten().tolist()}
    facts |= {"y": OTHER.flatten().tolist(), **given}
    module = PAGE.replace("GIVEN", json.dumps(facts)) + f"export default {expression};"
    return javascript.run(folder, module)


def tensor(values: Any) -> Tensor:
    return torch.tensor(values).reshape(ROWS, WIDTH)


def close(values: Any, wanted: Tensor, bound: float = 1e-6) -> None:
    torch.testing.assert_close(tensor(values), wanted, rtol=bound, atol=bound)


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules(tmp_path: Path, name: str) -> None:
    schedule = SCHEDULES[name]
    T = schedule.T
    page = in_page(
        tmp_path,
        schedule,
        "[schedule.alpha, schedule.sigma, schedule.startStd, schedule.times(), "
        "given.steps.map((n) => given.spacings.map((name) => "
        "schedule.times(n, kit.SPACINGS[name](schedule)))), "
        "schedule.times(2, kit.uniform, 2), schedule.times(1, kit.evenInLogSnr(schedule, 2), 2)]",
        steps=(counts := [1, T // 2, T]),
        spacings=list(SPACINGS),
    )
    alpha, sigma, start_std, every, chosen, short, begun = page
    torch.testing.assert_close(
        torch.tensor(alpha, dtype=torch.float64), schedule.alpha, rtol=1e-9, atol=1e-9
    )
    torch.testing.assert_close(
        torch.tensor(sigma, dtype=torch.float64), schedule.sigma, rtol=1e-9, atol=1e-9
    )
    assert start_std == pytest.approx(schedule.start_std, rel=1e-12)
    assert every == schedule.times()
    assert short == schedule.times(2, start=2) == [2, 1, 0]
    assert begun == schedule.times(1, even_in_log_snr(schedule, 2), 2) == [2, 0]
    for steps, found in zip(counts, chosen, strict=True):
        assert found == [schedule.times(steps, make(schedule)) for make in SPACINGS.values()]


@pytest.mark.parametrize("name", ["linear", "cosine", "straight", "zero terminal"])
def test_times_even_in_log_snr(tmp_path: Path, name: str) -> None:
    """For every number of steps, from T and from the middle."""
    schedule = SCHEDULES[name]
    T = schedule.T
    starts, counts = [1, T // 3, T], range(1, T // 3 + 1)
    page = in_page(
        tmp_path,
        schedule,
        "given.starts.map((start) => given.counts.filter((n) => n <= start).map((n) =>"
        " schedule.times(n, kit.evenInLogSnr(schedule, start), start)))",
        starts=starts,
        counts=list(counts),
    )
    for start, walks in zip(starts, page, strict=True):
        spacing = even_in_log_snr(schedule, start)
        assert walks == [schedule.times(n, spacing, start) for n in counts if n <= start]


@pytest.mark.parametrize("name", ["linear", "straight", "path"])
def test_every_prediction_as_every_other(tmp_path: Path, name: str) -> None:
    schedule = SCHEDULES[name]
    t = schedule.T // 2
    kinds = (NOISE, X0, V, VELOCITY, SCORE)
    expression = f"""given.kinds.map((source) => given.kinds.map((target) =>
        kit.convert(y, x, {t}, schedule, source, target)))"""
    page = in_page(tmp_path, schedule, expression, kinds=[kind.name for kind in kinds])
    for source, answers in zip(kinds, page, strict=True):
        for target, answer in zip(kinds, answers, strict=True):
            close(answer, convert(OTHER, START, t, schedule, source, target), 2e-6)


@pytest.mark.parametrize("name", ["linear", "straight", "path"])
def test_the_weights_of_every_combination(tmp_path: Path, name: str) -> None:
    """At T of the straight path some are not determined: there Python refuses."""
    schedule = SCHEDULES[name]
    kinds = (NOISE, X0, V, VELOCITY, SCORE)
    times = [1, schedule.T]
    expression = f"""{times}.map((t) => given.kinds.map((source) => given.kinds.map((target) =>
        kit.combination(schedule.alpha[t], schedule.sigma[t], source, target))))"""
    page = in_page(tmp_path, schedule, expression, kinds=[kind.name for kind in kinds])
    refused = 0
    for t, table in zip(times, page, strict=True):
        level = schedule.alpha[t], schedule.sigma[t]
        for source, row in zip(kinds, table, strict=True):
            for target, (of_x_t, of_source) in zip(kinds, row, strict=True):
                if of_source is None:  # not a finite number
                    refused += 1
                    with pytest.raises(ValueError, match=f"a predicted {source.name} there"):
                        combination(*level, source, target)
                    continue
                wanted = [float(weight) for weight in combination(*level, source, target)]
                assert [of_x_t, of_source] == pytest.approx(wanted, rel=1e-9, abs=1e-9)
    assert refused == (6 if name == "straight" else 0)


@pytest.mark.parametrize("name", ["linear", "cosine", "path"])
def test_gaussians_and_steps(tmp_path: Path, name: str) -> None:
    schedule = SCHEDULES[name]
    s, t = schedule.T // 2, schedule.T // 2 + 1
    page = in_page(
        tmp_path,
        schedule,
        f"""[kit.forward(x, {s}, {t}, schedule), kit.posterior(x, y, {t}, {s}, schedule),
        kit.ddpmStep(x, y, {t}, {s}, schedule), kit.ddimStep(0.6)(x, y, {t}, {s}, schedule),
        kit.eulerStep(x, y, {t}, {s}, schedule), kit.consistencyStep(x, y, {t}, {s}, schedule),
        kit.consistencyStep(x, y, {t}, 0, schedule)]""",
    )
    wanted = [
        gaussian.forward(START, s, t, schedule),
        gaussian.posterior(START, OTHER, t, s, schedule),
        ddpm_step(START, OTHER, t, s, schedule),
        ddim_step(START, OTHER, t, s, schedule, 0.6),
        euler_step(START, OTHER, t, s, schedule),
        consistency_step(START, OTHER, t, s, schedule),
        consistency_step(START, OTHER, t, 0, schedule),
    ]
    for got, q in zip(page, wanted, strict=True):
        close(got["mean"], q.mean)
        assert got["std"] == pytest.approx(float(q.std), rel=1e-6)


@pytest.mark.parametrize("schedule", ["linear", "cosine", "straight"])
@pytest.mark.parametrize("name", SAMPLERS)
def test_whole_walks_of_every_sampler(tmp_path: Path, name: str, schedule: str) -> None:
    """Cosine's first steps are Heun's uncorrected ones."""
    chosen = SCHEDULES[schedule]
    times = chosen.times(9)
    walk = f"kit.SAMPLERS['{name}'](denoiser, x, schedule, {times}, rows(5))"
    page = in_page(tmp_path, chosen, f"await last({walk})")
    generator = RowGenerator(5, torch.arange(ROWS))
    steps = list(
        sample(denoiser, START, chosen, times=times, generator=generator, sampler=SAMPLERS[name])
    )
    assert page["calls"] == [[step.t, step.calls] for step in steps]
    close(page["x"], steps[-1].x, 1e-5)


def test_ddim_with_noise_inversion_and_guidance(tmp_path: Path) -> None:
    schedule = SCHEDULES["linear"]
    times = schedule.times(7)
    page = in_page(
        tmp_path,
        schedule,
        f"""[
        await last(kit.stepwise(kit.ddimStep(0.7))(denoiser, x, schedule, {times}, rows(5))),
        await last(kit.ddimInvert(denoiser, x, schedule, {times}, rows(5))),
        ...(await Promise.all([0, 1, 2.5].map((scale) =>
            kit.clipped(kit.classifierFreeGuidance(denoiser, tilted(0.1), scale))(x, 300)))),
        ]""",
    )
    generator = partial(RowGenerator, 5, torch.arange(ROWS))
    *_, noisy = sample(
        denoiser,
        START,
        schedule,
        times=times,
        generator=generator(),
        sampler=stepwise(partial(ddim_step, eta=0.7)),
    )
    close(page[0]["x"], noisy.x, 1e-5)
    *_, top = ddim_invert(denoiser, START, schedule, times=times, generator=generator())
    close(page[1]["x"], top.x, 1e-4)
    for scale, guided in zip([0, 1, 2.5], page[2:], strict=True):
        wanted = clipped(classifier_free_guidance(denoiser, partial(denoiser, tilt=0.1), scale))
        close(guided, wanted(START, 300))


def test_editing(tmp_path: Path) -> None:
    schedule = SCHEDULES["linear"]
    mask = torch.zeros(ROWS, WIDTH)
    mask[:, 2:] = 1
    times = schedule.times(6)
    page = in_page(
        tmp_path,
        schedule,
        f"""[
        await last(kit.restore(denoiser, y, 400, schedule, 8, rows(3), kit.SAMPLERS.ddpm)),
        await last(kit.stepwise(kit.keeping(y, given.mask, kit.ddpmStep))(
            denoiser, x, schedule, {times}, rows(4))),
        ]""",
        mask=mask.flatten().tolist(),
    )
    numbers = torch.arange(ROWS)
    *_, restored = restore(denoiser, OTHER, 400, schedule, 8, RowGenerator(3, numbers))
    close(page[0]["x"], restored.x, 1e-5)
    rule = keeping(OTHER, mask, ddpm_step)
    *_, filled = sample(
        denoiser, START, schedule, times=times, step=rule, generator=RowGenerator(4, numbers)
    )
    close(page[1]["x"], filled.x, 1e-5)
    assert torch.equal(tensor(page[1]["x"])[:, 2:], OTHER[:, 2:])


def test_between_two_noises(tmp_path: Path) -> None:
    shares = [0, 0.25, 0.5, 1]
    expression = "given.shares.map((share) => kit.slerp(x.slice(0, 5), y.slice(0, 5), share))"
    page = in_page(tmp_path, SCHEDULES["vp"], expression, shares=shares)
    for share, mixed in zip(shares, page, strict=True):
        wanted = slerp(START[:1], OTHER[:1], share)[0]
        torch.testing.assert_close(torch.tensor(mixed), wanted, rtol=1e-5, atol=1e-6)


def test_noise_of_a_row_by_two_ways(tmp_path: Path) -> None:
    """Box and Muller's numbers, then those by the quantiles, as a VAE's latent is drawn."""
    page = in_page(
        tmp_path,
        SCHEDULES["vp"],
        "((g) => [g.normal(9 * 3), g.quantiles(400 * 3), g.quantiles(400 * 3, 0.7)])"
        "(rows(2 ** 40 + 7))",
    )
    generator = RowGenerator(2**40 + 7, torch.arange(ROWS))
    normal = generator.normal((ROWS, 9)).float()
    quantiles = truncated_normal([ROWS, 400], float("inf"), generator)
    cut = truncated_normal([ROWS, 400], 0.7, generator)
    torch.testing.assert_close(torch.tensor(page[0]).reshape(ROWS, 9), normal, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(
        torch.tensor(page[1]).reshape(ROWS, 400), quantiles, rtol=1e-4, atol=1e-5
    )
    torch.testing.assert_close(torch.tensor(page[2]).reshape(ROWS, 400), cut, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@given(seed=st.integers(0, 2**63 - 1), use=st.integers(0, 2**40), count=st.integers(2, 60))
@settings(max_examples=10, deadline=None)
def test_seeds_of_their_own_and_steps_that_are_kept(seed: int, use: int, count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        page = in_page(
            Path(folder),
            SCHEDULES["vp"],
            f"""[String(kit.derived({seed}n, {use}, 1)),
            kit.generatorFor({seed}n, {use}, 2).normal(6),
            [2, {count}, 100].map((length) => kit.thin(length, {count}))]""",
        )
    assert int(page[0]) == derived(seed, use, 1)
    wanted = kit.generator_for(seed, use).normal((2, 3)).float().flatten()
    torch.testing.assert_close(torch.tensor(page[1]), wanted, rtol=1e-5, atol=1e-6)
    steps = [[Step(i, START, START) for i in range(n)] for n in (2, count, 100)]
    assert page[2] == [[step.t for step in thin(each, count)] for each in steps]


# Mixtures, the world in which the right answer is known


MIXTURE = GaussianMixture(
    torch.tensor([[-1.0, 0.5], [0.8, -0.4], [0.3, 1.2], [0.3, -1.5]], dtype=torch.float64),
    torch.tensor([0.3, 0.5, 0.02, 0.2], dtype=torch.float64),
    torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64),
)
PLACES = RowGenerator(13, torch.arange(9)).normal((9, 2)).float()
MEMBERS = [0, 2]


def of_mixture(folder: Path, schedule: NoiseSchedule, expression: str) -> Any:
    parts = {"means": MIXTURE.means, "stds": MIXTURE.stds, "weights": MIXTURE.weights}
    given = {name: value.tolist() for name, value in parts.items()}
    module = PAGE.replace(
        "const schedule", "const mixture = new kit.GaussianMixture(given.mixture);\nconst schedule"
    )
    facts = {"schedule": schedule.config, "x": PLACES.flatten().tolist(), "y": [], "mixture": given}
    module = module.replace("GIVEN", json.dumps(facts))
    return javascript.run(folder, f"{module}export default {expression};")


def member(x_t: Tensor, t: int, schedule: NoiseSchedule) -> Tensor:
    """log p(one of the members | x_t)."""
    joint = MIXTURE.log_joint(x_t, t, schedule)
    return joint[:, MEMBERS].logsumexp(1) - joint.logsumexp(1)


@pytest.mark.parametrize("name", ["linear", "straight"])
def test_the_exact_answers_of_a_mixture(tmp_path: Path, name: str) -> None:
    schedule = SCHEDULES[name]
    times = [0, 1, schedule.T // 3, schedule.T - 1]
    answers = of_mixture(
        tmp_path,
        schedule,
        f"{times}.map((t) => [mixture.logJoint(x, t, schedule), mixture.denoise(x, t, schedule),"
        f" mixture.score(x, t, schedule), mixture.classGradient({MEMBERS}, x, t, schedule)])",
    )
    x = PLACES.double()
    for t, (joint, denoised, score, gradient) in zip(times, answers, strict=True):
        wanted = [
            MIXTURE.log_joint(x, t, schedule),
            MIXTURE.denoise(x, t, schedule),
            MIXTURE.score(x, t, schedule),
            log_prob_gradient(lambda x, t: member(x, t, schedule), x, t),
        ]
        for values, want in zip([joint, denoised, score, gradient], wanted, strict=True):
            found = torch.tensor(values, dtype=torch.float64).view_as(want)
            torch.testing.assert_close(found, want, rtol=1e-6, atol=1e-6)


def test_shares_of_numbers_that_are_far_apart(tmp_path: Path) -> None:
    page = of_mixture(
        tmp_path, SCHEDULES["linear"], "[[0, -1e9], [-1e9, -1e9], [800, 801]].map(kit.softmax)"
    )
    assert page[:2] == [[1, 0], [0.5, 0.5]]
    assert page[2] == pytest.approx(torch.tensor([0.0, 1.0]).softmax(0).tolist())


@pytest.mark.parametrize("scale", [0, 1, 2.5])
def test_a_walk_guided_by_the_exact_classifier(tmp_path: Path, scale: float) -> None:
    schedule = SCHEDULES["linear"]
    page = of_mixture(
        tmp_path,
        schedule,
        "await (async () => { const slope = (x_t, t) =>"
        f" mixture.classGradient({MEMBERS}, x_t, t, schedule);"
        f" return last(kit.stepwise(kit.ddimStep(0))(kit.classifierGuidance("
        f" mixture.denoiser(schedule), slope, schedule, {scale}), x, schedule,"
        " schedule.times(10))); })()",
    )
    guided = classifier_guidance(
        MIXTURE.denoiser(schedule), lambda x, t: member(x, t, schedule), schedule, scale
    )
    *_, last = sample(guided, PLACES.double(), schedule, 10, ddim_step)
    found = torch.tensor(page["x"], dtype=torch.float64).view(-1, 2)
    torch.testing.assert_close(found, last.x, rtol=1e-4, atol=1e-4)
