"""The network that the page trains (`_mlp.js`) beside torch's: answer, gradient, update."""

import json
import math
from pathlib import Path
from typing import Any

import javascript
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffusion_lessons import linear_schedule
from diffusion_lessons.networks.mlp import MLP

MODULE = """
import {{ linearSchedule, uniforms }} from "kit";
import {{ Adam, MLP, noisedBatch }} from "./_mlp.js";
const given = {given};
const network = new MLP(given.config);
network.values.set(given.values);
export default (() => {{ {work} }})();
"""


def in_page(folder: Path, work: str, **given: Any) -> Any:
    return javascript.run(folder, MODULE.format(given=json.dumps(given), work=work))


def flat(network: MLP, gradient: bool = False) -> torch.Tensor:
    parts = [p.grad if gradient else p.data for p in network.parameters()]
    return torch.cat([part.flatten() for part in parts if part is not None])


def random_network(seed: int, **config: int) -> MLP:
    """Random weights everywhere, in the norms too, which begin as 1 and 0."""
    network = MLP(**config).double()
    # Rounded once: torch's float32 exp may be off by a last bit, which at t = 1000 is 3e-5.
    frequency = network.time.frequency
    power = (-math.log(10_000) * torch.arange(32) / 32).double()
    assert (power.exp() / frequency - 1).abs().max() < 2e-7
    network.time.frequency = power.exp().float().double()
    generator = torch.Generator().manual_seed(seed)
    for p in network.parameters():
        noise = torch.randn(p.shape, generator=generator, dtype=torch.float64)
        p.data = 0.3 * noise + (0.7 if p.ndim == 1 else 0)
    return network


def test_weights_lie_in_the_order_of_the_state_dict(tmp_path: Path) -> None:
    network = MLP(width=6, layers=2)
    names = in_page(
        tmp_path,
        "return [network.places.map(([name]) => name), network.values.length];",
        config=network.config,
        values=flat(network).tolist(),
    )
    wanted = [name.removesuffix(".weight") for name in network.state_dict() if "weight" in name]
    assert names == [wanted, sum(p.numel() for p in network.parameters())]
    assert list(network.state_dict()) == [name for name, _ in network.named_parameters()]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("config", [{"width": 7, "layers": 2}, {"width": 16, "layers": 3}], ids=str)
def test_answer_gradient_and_one_step_of_adam(
    tmp_path: Path, config: dict[str, int], seed: int
) -> None:
    network = random_network(seed, **config)
    generator = torch.Generator().manual_seed(seed + 100)
    x_t = torch.randn(11, 2, generator=generator).double()
    target = torch.randn(11, 2, generator=generator).double()
    t = torch.randint(1, 1001, (11,), generator=generator)
    before = flat(network)
    page = in_page(
        tmp_path,
        """const { x_t, t, target } = given;
        const answer = network.forward(x_t, t).slice();
        const alone = network.forward(x_t, given.t[0]).slice();
        const adam = new Adam(network.values, { lr: 0.01 });
        const loss = network.loss(x_t, t, target);
        const gradient = network.gradient.slice();
        adam.step(gradient);
        const once = network.values.slice();
        network.loss(x_t, t, target);
        adam.step(network.gradient);
        return { answer, alone, loss, gradient, once, twice: network.values };""",
        config=network.config,
        values=before.tolist(),
        x_t=x_t.flatten().tolist(),
        t=t.tolist(),
        target=target.flatten().tolist(),
    )

    def close(name: str, wanted: torch.Tensor) -> None:
        found = torch.tensor(page[name], dtype=torch.float64)
        torch.testing.assert_close(found, wanted.detach().flatten(), rtol=1e-5, atol=1e-5)

    adam = torch.optim.Adam(network.parameters(), lr=0.01)
    loss = (network(x_t, t) - target).square().mean()
    loss.backward()
    close("answer", network(x_t, t))
    close("alone", network(x_t, t[:1].expand(11)))
    assert page["loss"] == pytest.approx(loss.item(), rel=1e-6)
    close("gradient", flat(network, gradient=True))
    adam.step()
    close("once", flat(network))
    adam.zero_grad()
    (network(x_t, t) - target).square().mean().backward()
    adam.step()
    close("twice", flat(network))


def test_a_new_network_begins_as_torchs_does(tmp_path: Path) -> None:
    """Weights even in plus or minus 1 over the root of the inputs; norms 1 and 0."""
    network = MLP(width=64)
    page = in_page(
        tmp_path,
        "return Object.entries(new MLP(given.config, uniforms(5)).parts);",
        config=network.config,
        values=flat(network).tolist(),
    )
    for name, part in page:
        module = network.get_submodule(name)
        weight = torch.tensor(part["weight"])
        if isinstance(module, torch.nn.LayerNorm):
            assert set(weight.tolist()) == {1}
            continue
        assert isinstance(module, torch.nn.Linear)
        bound = module.in_features**-0.5
        assert weight.abs().max() <= bound
        assert float(weight.std()) == pytest.approx(bound / 3**0.5, rel=0.15)


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**31 - 1), rows=st.integers(1, 300))
def test_batches_are_noised_points_at_all_times(
    tmp_path_factory: pytest.TempPathFactory, seed: int, rows: int
) -> None:
    points = [[0.5, -1.0], [1.5, 2.0], [-0.25, 0.75]]
    page = in_page(
        tmp_path_factory.mktemp("batch"),
        """const x_0 = Float64Array.from(given.points.flat());
        return noisedBatch(x_0, 0, given.rows, linearSchedule(), uniforms(given.seed));""",
        config={"dim": 2, "width": 1, "layers": 0},
        values=[],
        points=points,
        seed=seed,
        rows=rows,
    )
    t = torch.tensor(page["t"]).long()
    x_t, noise = (torch.tensor(page[name]).double().view(rows, 2) for name in ("x_t", "noise"))
    assert 1 <= t.min() <= t.max() <= 1000
    gaps = (
        torch.cat([t, t.min()[None] + 1000]).sort().values.diff()
    )  # as even as whole numbers can be
    assert (gaps <= 1000 // rows + 2).all()
    schedule = linear_schedule()
    x_0 = (x_t - schedule.sigma[t, None] * noise) / schedule.alpha[t, None]
    off = torch.cdist(x_0, torch.tensor(points).double()).min(1).values
    assert float((off * schedule.alpha[t]).max()) < 1e-5
