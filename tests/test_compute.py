"""The choice of device, format and threads changes the speed and nothing else."""

import copy
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from diffusion_lessons.files import checksum
from diffusion_lessons.math.prediction import V
from diffusion_lessons.math.schedule import cosine_schedule
from diffusion_lessons.measuring.drawing import draw
from diffusion_lessons.networks import compute as module
from diffusion_lessons.networks.compute import Compute, Fast, fast, fastest, measure
from diffusion_lessons.networks.diffusion import DiffusionModel
from diffusion_lessons.networks.drawing import Drawer
from diffusion_lessons.networks.unet import UNet
from diffusion_lessons.networks.vae import VAE

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


@pytest.fixture
def anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A machine on which nothing was chosen yet; the folder in which the choice will be kept."""
    monkeypatch.setenv("DIFFUSION_LESSONS_CACHE", str(tmp_path / "kept"))
    monkeypatch.setattr(module, "ROUNDS", 2)
    for cached in (module._kept, module._measured):
        cached.cache_clear()
    yield tmp_path / "kept"
    for cached in (module._kept, module._measured):
        cached.cache_clear()


def test_choosing_leaves_random_numbers_and_threads_alone(anew: Path):
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    assert fastest(CPU).device == CPU
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("off", [torch.no_grad, torch.inference_mode])
def test_choosing_works_where_gradients_are_switched_off(anew: Path, off):
    with off():
        assert measure(CPU)


PLAIN, PLAIN_LAST, HALF, HALF_LAST = FORMATS


def choose(monkeypatch: pytest.MonkeyPatch, seconds: dict[Compute, float]) -> Compute:
    timed = {choice: [1e-3 * value, value, value] for choice, value in seconds.items()}
    monkeypatch.setattr(module, "measure", lambda device: timed)
    return module._quickest(CPU, 1)


def test_float32_stays_unless_another_format_is_clearly_faster(monkeypatch: pytest.MonkeyPatch):
    close = {PLAIN: 1.0, PLAIN_LAST: 1.1, HALF: 0.95, HALF_LAST: 0.95}
    one = [replace(choice, threads=1) for choice in FORMATS]
    assert choose(monkeypatch, close) == one[1]  # a near tie of layouts
    assert choose(monkeypatch, close | {HALF_LAST: 0.5}) == one[3]
    assert choose(monkeypatch, close | {PLAIN: 0.8, PLAIN_LAST: 1.0}) == one[0]
    assert choose(monkeypatch, {PLAIN: 1.0, PLAIN_LAST: 1.0}) == one[1]  # there is no other format


def test_a_disturbance_of_some_rounds_does_not_decide(monkeypatch: pytest.MonkeyPatch):
    """Rounds are compared one by one: a busy one is slow for all, and one odd one is outvoted."""
    load = [1, 9, 1, 1, 30, 2, 1]
    seconds = {choice: [1.0 * each for each in load] for choice in FORMATS}
    seconds[HALF_LAST][0] = 0.01
    monkeypatch.setattr(module, "measure", lambda device: seconds)
    assert module._quickest(CPU, 1).dtype == torch.float32
    seconds[HALF_LAST] = [0.6 * each for each in load]
    assert module._quickest(CPU, 1).dtype == torch.bfloat16


def threads_chosen(monkeypatch: pytest.MonkeyPatch, seconds: dict[int, list[float]]) -> int | None:
    timed = {replace(PLAIN, threads=count): times for count, times in seconds.items()}
    monkeypatch.setattr(module, "measure_threads", lambda choice, threads: timed)
    return module._threads_for(PLAIN, 8).threads


def test_one_thread_is_not_compared_with_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "busy", lambda: False)
    assert module._threads_for(PLAIN, 1).threads == 1


def test_fewer_threads_are_taken_only_if_clearly_faster_in_every_round(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(module, "busy", lambda: False)
    assert threads_chosen(monkeypatch, {8: [1.0, 1.0], 4: [0.9, 0.9], 2: [0.9, 0.9]}) == 8
    assert threads_chosen(monkeypatch, {8: [1.0, 1.0], 4: [0.6, 0.6], 2: [0.55, 0.55]}) == 4
    assert threads_chosen(monkeypatch, {8: [1.0, 1.0], 4: [0.6, 0.9], 2: [2.0, 2.0]}) == 8
    assert threads_chosen(monkeypatch, {8: [1.0, 1.0], 4: [0.6, 0.6], 2: [0.4, 0.4]}) == 2
    monkeypatch.setattr(module, "busy", lambda: True)
    assert threads_chosen(monkeypatch, {8: [1.0, 1.0], 4: [0.1, 0.1]}) == 8


def test_the_choice_is_kept_for_every_later_process(
    anew: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    first = fastest(CPU)
    (path,) = anew.iterdir()
    assert path == module.kept_file(CPU)
    module._kept.cache_clear()  # as a new process begins
    monkeypatch.setattr(module, "measure", lambda device: pytest.fail("it was measured again"))
    assert fastest(CPU) == first
    # Another machine, another torch, other threads: another choice.
    with pytest.raises(pytest.fail.Exception):
        module._kept(CPU, torch.get_num_threads() + 1)
    monkeypatch.setattr(torch, "__version__", "99.0")
    module._kept.cache_clear()
    with pytest.raises(pytest.fail.Exception):
        fastest(CPU)


@pytest.mark.slow
def test_a_folder_that_the_user_may_not_look_into_does_no_harm(tmp_path: Path, bound: list[str]):
    """As a home of another account: nothing can be kept there."""
    secret = tmp_path / "secret"
    secret.mkdir(mode=0)
    code = (
        "from diffusion_lessons.networks import compute; compute.ROUNDS = 2; "
        "print(compute.fastest().in_words())"
    )
    env = os.environ | {"DIFFUSION_LESSONS_CACHE": str(secret / "kept")}
    done = subprocess.run(
        [*bound, sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120
    )
    secret.chmod(0o755)
    assert done.returncode == 0, done.stderr
    assert "on cpu" in done.stdout
    assert list(secret.iterdir()) == []


def other(words: dict[str, object]) -> bytes:
    """The content of a file that some version, or some machine, might have written."""
    content = {"for": module.where(CPU, torch.get_num_threads()), "compute": PLAIN.as_dict()}
    content |= words
    return json.dumps(content | {"checksum": checksum(content)}).encode() + b"\n"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\0\0",
        b"{}\n",
        b"[1, 2]\n",
        other({})[:-30],
        other({}).replace(b"float32", b"float64"),
        other({"compute": {"dtype": "float64"}}),
        other({"compute": PLAIN.as_dict() | {"dtype": "float8"}}),
        other({"compute": PLAIN.as_dict() | {"threads": "many"}}),
        other({"compute": PLAIN.as_dict() | {"threads": 10_000}}),
        other({"compute": None}),
        other({"for": {}}),
    ],
)
def test_a_damaged_or_strange_choice_does_no_harm(
    anew: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
):
    path = module.kept_file(CPU)
    assert path is not None
    anew.mkdir()
    path.write_bytes(content)
    monkeypatch.setattr(module, "_quickest", lambda device, threads: HALF)
    assert fastest(CPU) == HALF
    module._kept.cache_clear()
    monkeypatch.setattr(module, "_quickest", lambda device, threads: PLAIN)
    assert fastest(CPU) == HALF  # what was chosen then is kept now
    path.write_bytes(other({}))
    module._kept.cache_clear()
    monkeypatch.setattr(module, "_quickest", lambda device, threads: HALF_LAST)
    assert fastest(CPU) == PLAIN  # and this is what a good one looks like


@pytest.mark.parametrize("place", ["a file", "no home"])
def test_without_a_place_for_it_each_process_chooses(
    anew: Path, monkeypatch: pytest.MonkeyPatch, place: str
):
    if place == "a file":
        anew.write_text("")
    else:
        monkeypatch.setattr(module, "cache_folder", lambda: None)
    for choice in (HALF, PLAIN):
        monkeypatch.setattr(module, "_quickest", lambda device, threads, choice=choice: choice)
        module._kept.cache_clear()
        assert fastest(CPU) == choice


def test_of_two_that_choose_at_once_one_decides(anew: Path, monkeypatch: pytest.MonkeyPatch):
    def meanwhile(device: torch.device, threads: int) -> Compute:
        monkeypatch.setattr(module, "_quickest", lambda device, threads: HALF)
        assert module._choose(device, threads) == HALF
        return PLAIN

    monkeypatch.setattr(module, "_quickest", meanwhile)
    assert fastest(CPU) == HALF


def test_the_environment_may_name_the_format(anew: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_quickest", lambda device, threads: HALF_LAST)
    monkeypatch.setenv("DIFFUSION_LESSONS_FORMAT", "float32")
    assert fastest(CPU) == PLAIN_LAST
    monkeypatch.setenv("DIFFUSION_LESSONS_FORMAT", "int8")
    with pytest.raises(ValueError, match="DIFFUSION_LESSONS_FORMAT must be one of float32, bfl"):
        fastest(CPU)


def test_where_bfloat16_is_emulated_it_is_not_asked_for(
    anew: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "has_bfloat16", lambda device: False)
    assert {choice.dtype for choice in measure(CPU)} == {torch.float32}


def test_networks_run_with_the_chosen_threads_and_nothing_else_does():
    class Counts(torch.nn.Module):
        def forward(self, x):
            return x + torch.get_num_threads()

    before = torch.get_num_threads()
    choice = Compute(CPU, threads=before + 1)
    model = fast(Counts(), choice)
    assert torch.get_num_threads() == before
    assert model(torch.zeros(())).item() == before + 1
    assert torch.get_num_threads() == before
    with pytest.raises(KeyboardInterrupt), choice.autocast():
        raise KeyboardInterrupt
    assert torch.get_num_threads() == before


def test_an_interrupt_of_the_measuring_gives_the_threads_back(monkeypatch: pytest.MonkeyPatch):
    def stop(*arguments: object) -> float:
        raise KeyboardInterrupt

    monkeypatch.setattr(Compute, "place", stop)
    before = torch.get_num_threads()
    with pytest.raises(KeyboardInterrupt):
        module.measure_threads(PLAIN, 4)
    assert torch.get_num_threads() == before


def test_a_format_the_device_cannot_do_is_left_out(anew: Path, monkeypatch: pytest.MonkeyPatch):
    def passes(choice: Compute, clock: object) -> float:
        if choice.dtype == torch.bfloat16:
            raise RuntimeError("not implemented for 'BFloat16'")
        return 1.0

    monkeypatch.setattr(module, "_pass", passes)
    monkeypatch.setattr(module, "has_bfloat16", lambda device: True)
    assert {choice.dtype for choice in measure(CPU)} == {torch.float32}


def test_a_fast_network_can_do_what_the_network_can():
    """Draw, say what it is, save and load its weights under their names."""
    vae = VAE(width=16)
    faster = fast(vae, PLAIN)
    assert isinstance(faster, Drawer)
    assert draw(faster, torch.arange(3), compute=PLAIN).shape == (3, 1, 28, 28)
    assert faster.about == vae.about
    again = fast(VAE(width=16), PLAIN)
    again.load_state_dict(faster.state_dict())
    torch.testing.assert_close(again.state_dict(), vae.state_dict(), rtol=0, atol=0)
    assert repr(copy.deepcopy(faster)) == repr(faster)
    with pytest.raises(AttributeError, match="'VAE' object has no attribute 'nothing'"):
        _ = faster.nothing


def test_a_network_on_several_devices_is_refused_in_words():
    with pytest.raises(TypeError, match=r"DataParallel: give the network within, model\.module"):
        fast(torch.nn.DataParallel(torch.nn.Linear(1, 1)))


@pytest.mark.parametrize("wrong", ["cuda", CPU, 3])
def test_what_is_no_choice_is_refused_by_its_name(wrong: object):
    with pytest.raises(TypeError, match="compute must be a Compute, got"):
        fast(torch.nn.Linear(1, 1), wrong)


def test_a_device_that_is_not_there_is_refused_by_its_name():
    if torch.cuda.is_available():
        pytest.skip("it is there")
    with pytest.raises(ValueError, match="compute is to be on cuda, which is not there"):
        fast(torch.nn.Linear(1, 1), Compute(torch.device("cuda")))


def test_what_is_timed_is_said_so_that_an_old_choice_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
):
    before, seen = module.kept_file(CPU), []
    monkeypatch.setitem(module.SHAPES, "cpu", (2, 16, 4, 4))
    assert module.kept_file(CPU) != before
    assert "[2, 16, 4, 4]" in module.where(CPU, 1)["measured"]
    hook = torch.nn.modules.module.register_module_forward_hook(
        lambda _, given, __: seen.append(given[0].shape)
    )
    try:
        module._pass(Compute(CPU), time.thread_time)
    finally:
        hook.remove()
    assert set(seen) == {(2, 16, 4, 4)}
