"""Networks as ONNX graphs answer as torch does, whatever their kind and the batch's size."""

import math
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

pytest.importorskip("onnxscript", reason="pip install '.[page]'")

import onnx
import onnxruntime

from diffusion_lessons.cli import main
from diffusion_lessons.math.prediction import V
from diffusion_lessons.math.schedule import linear_schedule
from diffusion_lessons.networks import cards, export
from diffusion_lessons.networks.checkpoints import load, load_pretrained, save
from diffusion_lessons.networks.classifier import Classifier, NoisyClassifier
from diffusion_lessons.networks.diffusion import DiffusionModel
from diffusion_lessons.networks.gan import Gan
from diffusion_lessons.networks.mlp import MLP
from diffusion_lessons.networks.unet import UNet
from diffusion_lessons.networks.vae import VAE
from diffusion_lessons.page import engine

SMALL = {
    "size": 4,
    "channels": 8,
    "multipliers": [1],
    "blocks": 1,
    "attention_resolutions": [],
    "heads": 2,
}
CRITIC = {"channels": 8, "multipliers": [1]}


def shaken(model: nn.Module) -> nn.Module:
    """Without the zeros that some layers start with."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


NETWORKS = {
    "moons": lambda: DiffusionModel(MLP(width=16, layers=1)),
    "unet": lambda: DiffusionModel(UNet(**SMALL), linear_schedule(20), V),
    "any class": lambda: DiffusionModel(UNet(**SMALL | {"classes": 0})),
    "gan": lambda: Gan({"latent": 4, **SMALL}, CRITIC, T=2),
    "without z": lambda: Gan({"latent": 0, **SMALL}, CRITIC, T=2),
    "vae": lambda: VAE(size=8, latent=3, width=16),
    "judge": lambda: Classifier(channels=4, features=8),
    "guide": lambda: NoisyClassifier(size=8, channels=8),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_every_kind_of_network(name: str, tmp_path: Path) -> None:
    save(tmp_path / "net.safetensors", shaken(NETWORKS[name]()))  # in half precision
    weights, model = (tmp_path / "net.safetensors").read_bytes(), load(tmp_path / "net.safetensors")
    proto = export.graph(model)
    onnx.checker.check_model(proto)
    assert export.compare(model, proto.SerializeToString()) < 1e-4
    small = export.without_weights(proto, weights)
    assert export.compare(model, small, weights) < 1e-4
    for initializer in onnx.load_from_string(small).graph.initializer:
        outside = initializer.data_location == onnx.TensorProto.EXTERNAL
        assert outside or math.prod(initializer.dims) <= 32  # the frequencies of the time's waves


def test_what_draws_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="a Linear is no network that can be exported"):
        export.export(nn.Linear(2, 2), tmp_path / "x.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_graph_that_answers_otherwise_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = shaken(NETWORKS["vae"]())
    other = export.graph(shaken(VAE(size=8, latent=3, width=12)))
    monkeypatch.setattr(export, "graph", lambda model: other)
    with pytest.raises(ValueError, match="the exported graph is off by"):
        export.export(model, tmp_path / "x.onnx")
    assert not list(tmp_path.iterdir())


def test_wrong_times_are_refused_as_before_where_nothing_is_exported() -> None:
    model = NETWORKS["unet"]()
    with pytest.raises(ValueError, match=r"1\.\.20"):
        model(torch.zeros(1, 1, 4, 4), torch.tensor([21]))


@pytest.mark.parametrize("name", engine.NETWORKS)
def test_the_pages_graphs_are_those_of_the_networks(name: str) -> None:
    graph = engine.graph_path(name).read_bytes()
    weights = cards.pretrained_path(name).read_bytes()
    assert len(graph) < len(weights) / 10  # it holds none of them
    assert export.compare(load_pretrained(name), graph, weights) < 1e-4


def test_networks_that_differ_in_weights_alone_share_a_graph() -> None:
    files = {path.stem for path in (engine.HERE / "graphs").iterdir()}
    assert files == set(engine.GRAPHS.values())
    page = (Path(__file__).parents[1] / "book" / "how-to-write-a-widget.md").read_text("utf-8")
    assert (len(engine.GRAPHS), len(files)) == (6, 4)
    assert "six of those that ship can run there (`engine.NETWORKS`), by four graphs" in page
    for name, other in engine.GRAPHS.items():
        one, two = (cards.pretrained_path(n).read_bytes() for n in (name, other))
        assert export._places(one) == export._places(two)
        assert len(export.numbers(one)) == len(export.numbers(two)) < len(one)


@pytest.mark.slow
def test_by_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "vae.onnx"
    assert main(["export", "digits-vae", "--out", str(out)]) == 0
    assert "its answers are torch's to" in capsys.readouterr().out
    session = onnxruntime.InferenceSession(out.read_bytes())
    assert [given.name for given in session.get_inputs()] == ["z", "label"]
    assert main(["export", "digits-vae", "--out", str(tmp_path / "vae.pt")]) == 2
    assert "the name of an ONNX file must end in .onnx" in capsys.readouterr().err


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ImportError, match=r"pip install 'diffusion-lessons\[page\]'"):
        export.export(NETWORKS["vae"](), tmp_path / "x.onnx")
