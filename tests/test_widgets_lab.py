"""DigitLab without a page: its settings, and a drawing brought to MNIST's form."""

import gzip
import json
from pathlib import Path
from typing import Any

import javascript
import pytest
import torch
import traitlets
from greys import half_a_level

pytest.importorskip("anywidget")

from diffusion_lessons.data import digits, to_unit
from diffusion_lessons.math.prediction import SCORE
from diffusion_lessons.measuring.drawing import draw
from diffusion_lessons.networks import export
from diffusion_lessons.networks.checkpoints import load_pretrained
from diffusion_lessons.networks.compute import Compute
from diffusion_lessons.networks.diffusion import DiffusionModel, Usual
from diffusion_lessons.networks.drawing import DrawSettings
from diffusion_lessons.networks.mlp import MLP
from diffusion_lessons.networks.unet import UNet
from diffusion_lessons.page import engine
from diffusion_lessons.page.kit.explorer import bring_part
from diffusion_lessons.page.standalone import standalone
from diffusion_lessons.page.widgets import DigitLab
from diffusion_lessons.page.widgets.digit_lab import NETWORKS


@pytest.fixture(scope="module")
def lab() -> DigitLab:
    return DigitLab(task="draw", label=4)


def test_it_begins_with_a_three_and_stored_pictures(lab: DigitLab) -> None:
    test = digits(train=False)
    three = to_unit(test.images[test.labels == 3][:1])
    torch.testing.assert_close(lab.drawing(), three[0, 0], rtol=0, atol=1e-6)
    assert lab.pictures().shape == (6, 1, 28, 28)
    assert 0.05 < (lab.pictures() > 0).float().mean() < 0.3  # ink on paper
    assert lab.figure().axes


def test_what_the_page_sends_is_what_python_reads(lab: DigitLab) -> None:
    greys = torch.randint(0, 256, (3, 28, 28), generator=torch.Generator().manual_seed(0))
    lab._drawing = bytes(greys[0].flatten().tolist())
    lab._pictures = bytes(greys.flatten().tolist())
    torch.testing.assert_close(lab.drawing(), greys[0] / 127.5 - 1)
    torch.testing.assert_close(lab.pictures()[:, 0], greys / 127.5 - 1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("task", "paint"),
        ("network", "moons-ddpm"),
        ("label", 10),
        ("scale", -1.0),
        ("t", 0),
        ("t", 1001),
        ("steps", 0),
        ("sampler", "adam"),
        ("eta", 1.5),
        ("seed", -1),
        ("calls", 3),
    ],
)
def test_settings_outside_their_range_are_refused(lab: DigitLab, name: str, value: object) -> None:
    with pytest.raises(traitlets.TraitError):
        setattr(lab, name, value)


def test_the_page_has_every_network_that_the_lab_offers() -> None:
    assert set(NETWORKS) <= set(engine.NETWORKS)


def test_it_knows_how_each_network_is_usually_drawn_from(lab: DigitLab) -> None:
    for name in NETWORKS:
        usual = getattr(load_pretrained(name), "usual", Usual())
        told = lab._usual.get(name, Usual()._asdict())
        assert told == usual._asdict()
    for name, sampler in [("digits-consistency", "consistency"), ("digits-reflow", "euler")]:
        few = DigitLab(task="draw", network=name)
        assert (few.sampler, few.steps) == (sampler, 2)
        assert DigitLab(task="draw", network=name, steps=4).steps == 4


def test_alone_in_a_page_it_holds_no_end_of_a_script(lab: DigitLab) -> None:
    page = standalone(lab, "A <digit> lab", "engine/")
    assert page.count("</script>") == 3
    assert "<title>A &lt;digit&gt; lab</title>" in page
    assert 'data-dl-engine="engine/"' in page
    assert len(page) < 400_000  # a page that is only read stays small


# ------------------------------------------------------------------ the JavaScript, under node


def as_mnist(folder: Path, ink: torch.Tensor) -> torch.Tensor:
    """A drawing [H, W] in 0..1 as MNIST's digits are, in the page: [28, 28] in -1..1."""
    values = [round(value, 4) for value in ink.flatten().tolist()]
    module = f"""import {{ asMnist }} from "./_drawing.js";
        export default asMnist(Float32Array.from({values}), {ink.shape[1]}).picture;"""
    return torch.tensor(javascript.run(folder, module)).view(28, 28)


@pytest.mark.parametrize("number", [0, 1, 2, 7])
def test_an_enlarged_digit_of_mnist_comes_back_as_it_was(tmp_path: Path, number: int) -> None:
    digit = to_unit(digits(train=False).images[number : number + 1])[0, 0]
    large = ((digit + 1) / 2).repeat_interleave(10, 0).repeat_interleave(10, 1)
    again = as_mnist(tmp_path, large)
    # MNIST's own rounding may have put it a pixel aside, or cut a faint edge.
    shifted = [
        (again.roll((y, x), (0, 1)) - digit).abs().mean() for y in (-1, 0, 1) for x in (-1, 0, 1)
    ]
    assert min(shifted) < 0.08


def test_where_and_how_large_it_is_drawn_does_not_matter(tmp_path: Path) -> None:
    digit = (to_unit(digits(train=False).images[:1])[0, 0] + 1) / 2
    pictures = []
    for index, (scale, top, left) in enumerate([(10, 0, 0), (5, 130, 20), (8, 30, 50)]):
        pad = torch.zeros(280, 280)
        large = digit.repeat_interleave(scale, 0).repeat_interleave(scale, 1)
        pad[top : top + 28 * scale, left : left + 28 * scale] = large
        (tmp_path / str(index)).mkdir()
        pictures.append(as_mnist(tmp_path / str(index), pad))
    for other in pictures[1:]:
        assert (other - pictures[0]).abs().mean() < 0.03


def test_its_centre_of_mass_is_in_the_middle_and_it_fills_twenty_pixels(tmp_path: Path) -> None:
    pad = torch.zeros(280, 280)
    pad[40:240, 200:220] = 1  # an upright stroke at the right edge
    picture = (as_mnist(tmp_path, pad) + 1) / 2
    rows, columns = picture.sum(1).nonzero()[:, 0], picture.sum(0).nonzero()[:, 0]
    assert (len(rows), len(columns)) == (20, 2)
    places = torch.arange(28) + 0.5
    assert float((picture.sum(1) * places).sum() / picture.sum()) == pytest.approx(14, abs=0.51)
    assert float((picture.sum(0) * places).sum() / picture.sum()) == pytest.approx(14, abs=0.51)


def test_nothing_drawn_is_black(tmp_path: Path) -> None:
    assert torch.equal(as_mnist(tmp_path, torch.zeros(280, 280)), torch.full((28, 28), -1.0))


# ------------------------------------------------------------------ a network of one's own


def own(**unet: Any) -> DiffusionModel:
    torch.manual_seed(0)
    return DiffusionModel(UNet(**{"channels": 8, "multipliers": (1,), "heads": 2} | unet))


def test_a_lab_with_a_network_of_ones_own_begins_with_it() -> None:
    lab = DigitLab(own(classes=4), name="mine", task="blend")
    assert (lab.network, lab.task) == ("mine", "blend")
    assert {"name": "mine", "classes": 4, "T": 1000}.items() <= lab._own.items()
    lab.network = "digits-vae"
    with pytest.raises(traitlets.TraitError, match=r"must be one of digits-ddpm, .*, mine, got"):
        lab.network = "yours"
    # As it is now: what is trained later is another one.
    model = own()
    before = DigitLab(model)._own["part"]
    assert DigitLab(model)._own["part"] == before
    with torch.no_grad():
        next(model.parameters()).add_(1)
    assert DigitLab(model)._own["part"] != before
    assert DigitLab(model, "other")._own["part"] != DigitLab(model)._own["part"]


def test_one_that_has_a_usual_way_of_its_own_begins_with_it() -> None:
    usual = Usual("heun", 3)
    lab = DigitLab(DiffusionModel(own().network, usual=usual), "mine", steps=5)
    assert (lab.network, lab.sampler, lab.steps) == ("mine", "heun", 5)
    assert lab._usual["mine"] == {"sampler": "heun", "steps": 3}


@pytest.mark.parametrize("usual", [None, {"sampler": "heun", "steps": 3}])
def test_beside_others_it_is_drawn_from_in_its_usual_way(tmp_path: Path, usual: Any) -> None:
    """What the comparison asks of each network, told by one that draws nothing."""
    mine = {"name": "mine", "part": "own-1", "classes": 2, "T": 6}
    given = {"label": 5, "steps": 10, "calls": 4, "seed": 3}
    given["own"] = mine | ({} if usual is None else {"usual": usual})
    module = f"""import {{ TASKS }} from "./_lab_tasks.js";
        const lanes = TASKS.compare.lanes({json.dumps(given)});
        const network = {{ walk: (settings) => settings }};
        export default lanes.map(({{ name, by, walk }}) => [name, by, walk(network)]);
    """
    *shipped, (name, by, asked) = javascript.run(tmp_path, module)
    assert (name, by) == ("DDIM with mine" if usual is None else "mine", "mine")
    assert asked["labels"] == [None] * 3  # it knows no 5
    assert {"seed": 3, "numbers": [5000, 5001, 5002]}.items() <= asked.items()
    assert asked.items() >= (usual or {"steps": 6}).items()
    ways = [(by, asked.get("steps"), asked.get("sampler")) for _, by, asked in shipped]
    assert ways == [
        ("digits-vae", None, None),
        ("digits-consistency", 4, None),
        ("digits-reflow", 4, None),
        ("digits-ddgan", None, None),
        ("digits-ddpm", 10, None),
        ("digits-ddpm", 100, "ddpm"),
    ]


def test_a_network_of_other_pictures_has_the_lab_for_itself() -> None:
    model = own(size=16, in_channels=3, classes=2)
    model.names = ("cat", "dog")
    lab = DigitLab(model, "animals")
    assert (lab.task, lab.network) == ("draw", "animals")
    assert {"shape": [3, 16, 16], "names": ["cat", "dog"]}.items() <= lab._own.items()
    # What is stored is what the page draws first.
    wanted = draw(model, 6, DrawSettings(10), compute=Compute(torch.device("cpu")))
    assert lab.pictures().shape == (6, 3, 16, 16)
    torch.testing.assert_close(lab.pictures(), wanted, rtol=0, atol=half_a_level())
    assert len(lab.figure().axes) == 6  # none is given
    lab.task = "blend"
    with pytest.raises(traitlets.TraitError, match=r"draw, blend for a network that draws \[3, 16"):
        lab.task = "restore"
    with pytest.raises(traitlets.TraitError, match="network must be one of animals, got"):
        lab.network = "digits-ddpm"
    with pytest.raises(traitlets.TraitError, match="task must be one of"):
        DigitLab(model, task="fill")


@pytest.mark.parametrize(
    ("model", "name", "what"),
    [
        (
            lambda: own(size=68),
            "yours",
            r"at most 64 x 64 pixels, and this one draws \[1, 68, 68\]",
        ),
        (lambda: own(in_channels=2), "yours", r"and this one draws \[2, 28, 28\]"),
        (lambda: DiffusionModel(MLP(width=8)), "yours", r"\[1 or 3, H, W\] .*this one draws \[2\]"),
        (lambda: own(classes=26), "yours", "asks for ten classes at most, and there are 26"),
        (own, "digits-ddgan", "name must be some text, and no shipped network's"),
        (own, "", "name must be some text"),
        (
            lambda: DiffusionModel(own().network, prediction=SCORE),
            "yours",
            "must be one of noise, x0",
        ),
    ],
)
def test_networks_that_the_lab_cannot_take(model: Any, name: str, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        DigitLab(model(), name)


def test_it_takes_a_diffusion_model_alone() -> None:
    with pytest.raises(TypeError, match="must be a DiffusionModel, got VAE"):
        DigitLab(load_pretrained("digits-vae"))


def test_without_the_packages_that_export_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "find_spec", lambda name: None if name == "onnxscript" else name)
    with pytest.raises(ImportError, match=r"onnxscript is not installed: pip install 'diffusion"):
        DigitLab(own())


def test_the_page_gets_it_from_this_lab_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the kernel has said that it comes; the export itself is tested in a browser."""
    made = []
    monkeypatch.setattr(export, "graph", lambda model: made.append(model))
    monkeypatch.setattr(export, "without_weights", lambda graph, weights: b"graph")
    monkeypatch.setattr(export, "compare", lambda model, graph, weights: 0.0)
    lab, sent = DigitLab(own()), []
    monkeypatch.setattr(lab, "send", lambda content, buffers=None: sent.append((content, buffers)))
    part = lab._own["part"]
    for _ in range(2):
        bring_part(lab, {"ask": "engine", "name": part}, None)
    assert len(made) == 1
    (coming, _), (here, files), *_ = sent
    assert coming == {"engine": part, "coming": True}
    assert here == {"engine": part, "files": ["about.json", "graph.onnx", "weights"]}
    assert json.loads(gzip.decompress(files[0]))["predicts"] == "noise"
    with pytest.raises(KeyError):
        bring_part(DigitLab(), {"ask": "engine", "name": part}, None)
    monkeypatch.setattr(export, "compare", lambda model, graph, weights: 0.1)
    with pytest.raises(ValueError, match="the exported graph is off by"):
        DigitLab(own()).engine_part(part)
