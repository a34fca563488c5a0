"""The choice of device, format and threads changes the speed and nothing else."""

import pytest
import torch

from diffusion_lessons.math.prediction import V
from diffusion_lessons.math.schedule import cosine_schedule
from diffusion_lessons.networks import compute as module
from diffusion_lessons.networks.compute import Compute, Fast, fast, fastest, measure
from diffusion_lessons.networks.diffusion import DiffusionModel
from diffusion_lessons.networks.unet import UNet

CPU = torch.device("cpu")
FORMATS = [
    Compute(CPU, dtype, layout)
    for dtype in (torch.float32, torch.bfloat16)
    for layout in (torch.contiguous_format, torch.channels_last)
]


@pytest.mark.parametrize("choice", FORMATS, ids=lambda c: "-".join(map(str, c.as_dict().values())))
def test_a_fast_network_gives_the_same_answer(choice: Compute):
    torch.manual_seed(0)
    model = UNet(size=8, channels=16, blocks=1, heads=2, attention_resolutions=())
    torch.nn.init.normal_(model.output.weight, std=0.05)  # it starts at zero
    x, t, label = torch.randn(3, 1, 8, 8), torch.tensor([1, 500, 1000]), torch.tensor([0, 5, 10])
    plain = model(x, t, label)
    answer = fast(model, choice)(x, t, label=label)
    assert answer.dtype == x.dtype
    assert answer.shape == x.shape
    tolerance = 1e-4 if choice.dtype == torch.float32 else 0.05  # bfloat16 keeps 8 bits
    torch.testing.assert_close(answer, plain, atol=tolerance, rtol=tolerance)


def test_a_fast_diffusion_model_keeps_its_schedule_and_its_prediction():
    network = UNet(size=8, channels=16, blocks=1, heads=2, attention_resolutions=())
    model = DiffusionModel(network, cosine_schedule(100), V)
    faster = fast(model, FORMATS[0])
    assert isinstance(faster, DiffusionModel)
    assert isinstance(faster.network, Fast)
    assert model.network is network
    assert faster.about == model.about
    x, label = torch.randn(2, *model.shape), torch.tensor([3, 10])
    torch.testing.assert_close(faster.denoiser(label)(x, 7), model.denoiser(label)(x, 7))


def test_tensors_are_moved_wherever_they_are():
    choice = Compute(CPU, memory_format=torch.channels_last)
    x, t, word = choice.move((torch.zeros(2, 3, 4, 4), torch.arange(2), "unchanged"))
    assert x.is_contiguous(memory_format=torch.channels_last)
    assert t.tolist() == [0, 1]
    assert word == "unchanged"


def test_choosing_leaves_random_numbers_and_threads_alone():
    measure.cache_clear()
    fastest.cache_clear()
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    assert fastest(CPU).device == CPU
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("off", [torch.no_grad, torch.inference_mode])
def test_choosing_works_where_gradients_are_switched_off(off):
    with off():
        assert measure.__wrapped__(CPU)


def choose(monkeypatch: pytest.MonkeyPatch, seconds: dict[Compute, float]) -> Compute:
    monkeypatch.setattr(module, "measure", lambda device: seconds)
    return fastest.__wrapped__(CPU)


def test_float32_stays_unless_another_format_is_clearly_faster(monkeypatch: pytest.MonkeyPatch):
    plain, plain_last, half, half_last = FORMATS
    close = {plain: 1.0, plain_last: 1.1, half: 0.95, half_last: 0.95}
    assert choose(monkeypatch, close) == plain_last  # a near tie of layouts
    assert choose(monkeypatch, close | {half_last: 0.5}) == half_last
    assert choose(monkeypatch, close | {plain: 0.8}) == plain


def test_fewer_threads_are_taken_only_if_clearly_faster(monkeypatch: pytest.MonkeyPatch):
    all_cores, half = (Compute(CPU, torch.float32, torch.channels_last, n) for n in (8, 4))
    assert choose(monkeypatch, {all_cores: 1.0, half: 0.9}) == all_cores
    assert choose(monkeypatch, {all_cores: 1.0, half: 0.6}) == half


def test_placing_a_network_sets_the_threads():
    before = torch.get_num_threads()
    try:
        Compute(CPU, threads=before + 1).place(torch.nn.Linear(1, 1))
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)


def test_an_interrupt_gives_the_threads_back(monkeypatch: pytest.MonkeyPatch):
    def stop(choice: Compute) -> list[float]:
        choice.place(torch.nn.Linear(1, 1))
        if choice.threads == 2:
            raise KeyboardInterrupt
        return [1.0]

    monkeypatch.setattr(module, "_passes", stop)
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        with pytest.raises(KeyboardInterrupt):
            measure.__wrapped__(torch.device("cpu"))
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)


def test_a_format_the_device_cannot_do_is_left_out(monkeypatch: pytest.MonkeyPatch):
    def passes(choice: Compute, repeats: int = 4):
        if choice.dtype == torch.bfloat16:
            raise RuntimeError("not implemented for 'BFloat16'")
        return [1.0]

    monkeypatch.setattr(module, "_passes", passes)
    assert {choice.dtype for choice in measure.__wrapped__(CPU)} == {torch.float32}


def test_a_format_that_is_hopelessly_slow_is_timed_once(monkeypatch: pytest.MonkeyPatch):
    timed: list[Compute] = []

    def passes(choice: Compute) -> list[float]:
        timed.append(choice)
        return [1.0 if choice.dtype == torch.float32 else 10.0]

    monkeypatch.setattr(module, "_passes", passes)
    seconds = measure.__wrapped__(CPU)
    for choice in seconds:
        once = choice.dtype == torch.bfloat16
        assert timed.count(choice) == (1 if once else module.ROUNDS)
    assert {choice.dtype for choice in seconds} == {torch.float32, torch.bfloat16}
