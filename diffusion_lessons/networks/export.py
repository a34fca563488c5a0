"""Networks as ONNX graphs, for whatever runs those: a browser, a phone, another language.

`export` writes one file that stands alone; `without_weights` makes one that reads them from the
network's own safetensors file, so that a page that has both stores nothing twice. Needs
``pip install 'diffusion-lessons[page]'``.
"""

import json
import logging
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .. import checks
from ..files import aside, expanded, outlet
from .classifier import Classifier, NoisyClassifier
from .diffusion import DiffusionModel
from .gan import Gan
from .latent import LatentDiffusion
from .vae import VAE

WEIGHTS = "weights"
"""Under this name a graph without weights asks for the `numbers` of the safetensors file."""

OPSET = 20

REMEDY = "pip install 'diffusion-lessons[page]'"


class Exported(NamedTuple):
    """What of a network becomes a graph: a module, examples of its inputs by name, its answer."""

    module: nn.Module
    inputs: dict[str, Tensor]
    answer: str


def exported(model: nn.Module) -> Exported:
    """The part of a network that draws or judges, as a function of tensors [B, ...] alone.

    - A `DiffusionModel`: x_t, t int64 [B] and label int64 [B], if it knows classes -> answer, what
      it predicts.
    - A `Gan`: x_t, z [B, latent] (if it takes one), t, label -> x0_drawn.
    - A `VAE`: z, label -> x, the expected picture.
    - A classifier: x, or x_t and t -> logits [B, classes].

    TypeError for anything else, and for a `LatentDiffusion`, which is two of these.
    """
    B = 2  # any number: 1 would be taken for a constant

    def noise(*shape: int) -> Tensor:
        return torch.zeros(B, *shape)

    def conditions(classes: int, **others: Tensor) -> dict[str, Tensor]:
        return others | ({"label": torch.zeros(B, dtype=torch.int64)} if classes else {})

    t = torch.ones(B, dtype=torch.int64)
    match model:
        case DiffusionModel():
            inputs = conditions(model.classes, x_t=noise(*model.shape), t=t)
            return Exported(model.network, inputs, "answer")
        case Gan():
            latent = int(getattr(model.generator_net, "latent", 0))
            inputs = conditions(model.classes, x_t=noise(*model.shape), z=noise(latent), t=t)
            if not latent:
                del inputs["z"]
            return Exported(Generated(model.generator_net), inputs, "x0_drawn")
        case VAE():
            return Exported(Decoded(model), conditions(model.classes, z=noise(model.latent)), "x")
        case NoisyClassifier():
            size = model.config["size"]
            return Exported(
                model, {"x_t": noise(model.config["in_channels"], size, size), "t": t}, "logits"
            )
        case Classifier():
            return Exported(model, {"x": noise(model.config["in_channels"], 28, 28)}, "logits")
        case LatentDiffusion():
            raise TypeError(
                "a LatentDiffusion is two networks, and a graph is of one: export its VAE, "
                f"{model.name}, and in Python its model"
            )
    raise TypeError(f"a {type(model).__name__} is no network that can be exported")


class Generated(nn.Module):
    """A generator as a function of tensors by name."""

    def __init__(self, generator_net: nn.Module) -> None:
        super().__init__()
        self.generator_net = generator_net

    def forward(
        self, x_t: Tensor, t: Tensor, z: Tensor | None = None, label: Tensor | None = None
    ) -> Tensor:
        return self.generator_net(x_t, z, t, label)


class Decoded(nn.Module):
    """A VAE's way from the latent to the picture."""

    prefix = "vae."

    def __init__(self, vae: VAE) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        return self.vae.decode(z, label)


def graph(model: nn.Module) -> Any:
    """The network as an ``onnx.ModelProto`` with its weights inside, for batches of any size."""
    with needs_onnx():
        import onnxscript  # noqa: F401  # torch's exporter needs it
    module, inputs, answer = exported(model)
    dynamic = {name: {0: torch.export.Dim.DYNAMIC} for name in inputs}
    training = model.training
    model.eval()
    try:
        with torch.no_grad(), quiet():
            program = torch.onnx.export(
                module,
                kwargs=inputs,
                dynamo=True,
                input_names=list(inputs),
                output_names=[answer],
                dynamic_shapes=dynamic,
                opset_version=OPSET,
                optimize=False,  # whoever runs it does that, and weights keep their names
                verbose=False,
            )
    finally:
        model.train(training)
    assert program is not None
    proto = program.model_proto
    for node in proto.graph.node:  # where in the source it comes from
        del node.metadata_props[:]
    return proto


def export(model: nn.Module, path: Path | str) -> float:
    """Write a network as ONNX; returns the largest difference from torch on a batch of noise.

    ValueError for a path that does not end in .onnx, and if the difference is above 1e-3: then
    nothing is written. OSError, in words, where nothing can be written, before the work.
    """
    path = expanded(path)
    checks.ending("an ONNX file", path, ".onnx")
    outlet(path)
    proto = graph(model)
    difference = compare(model, proto.SerializeToString())
    if difference > 1e-3:
        raise ValueError(f"the exported graph is off by {difference:.1e}; nothing is written")
    with aside(path) as unfinished:
        unfinished.write_bytes(proto.SerializeToString())
    return difference


def compare(model: nn.Module, content: bytes, weights: bytes | None = None) -> float:
    """The largest difference of a graph's answers from the network's, on five rows of noise."""
    with needs_onnx():
        import onnxruntime
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if weights is not None:
        given = numbers(weights)
        options.add_external_initializers_from_files_in_memory([WEIGHTS], [given], [len(given)])
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    module, inputs, _ = exported(model)
    g = torch.Generator().manual_seed(0)
    for name, example in inputs.items():
        shape = (5, *example.shape[1:])
        last = {
            "t": getattr(getattr(model, "schedule", None), "T", 1),
            "label": getattr(model, "classes", 1) - 1,
        }
        inputs[name] = (
            torch.randn(shape, generator=g)
            if example.is_floating_point()
            else torch.tensor([1, last[name], 0, 1, last[name]]).clamp(min=int(name == "t"))
        )
    with torch.no_grad():
        wanted = module.eval()(**inputs)
    (got,) = session.run(None, {name: value.numpy() for name, value in inputs.items()})
    return float((torch.from_numpy(got) - wanted).abs().max())


def without_weights(proto: Any, weights: bytes) -> bytes:
    """The graph, its weights replaced by their places in the `numbers` of a safetensors file.

    ``weights`` is that file. Those that it holds in half precision are widened in the graph. What
    it does not hold stays inside: constants, such as the frequencies of the time's waves. Any other
    file of the same tensors has them in the same places, so the graph serves it, too.
    """
    from onnx import TensorProto, helper

    places = _places(weights)
    initializers, widened = [], []
    for initializer in proto.graph.initializer:
        place = places.get(initializer.name.removeprefix(Decoded.prefix))
        if place is None or place["shape"] != list(initializer.dims):
            initializers.append(initializer)
            continue
        half = place["dtype"] == "F16"
        outside = TensorProto(
            name=f"{initializer.name}.half" if half else initializer.name,
            dims=initializer.dims,
            data_type=TensorProto.FLOAT16 if half else initializer.data_type,
            data_location=TensorProto.EXTERNAL,
        )
        where = {"location": WEIGHTS, "offset": place["offset"], "length": place["length"]}
        for key, value in where.items():
            outside.external_data.add(key=key, value=str(value))
        initializers.append(outside)
        if half:
            cast = helper.make_node("Cast", [outside.name], [initializer.name])
            cast.attribute.append(helper.make_attribute("to", TensorProto.FLOAT))
            widened.append(cast)
    nodes = [*widened, *proto.graph.node]
    del proto.graph.initializer[:], proto.graph.node[:]
    proto.graph.initializer.extend(initializers)
    proto.graph.node.extend(nodes)
    return proto.SerializeToString()


def numbers(weights: bytes) -> bytes:
    """What a safetensors file holds behind its header, whose length depends on more than shapes."""
    return weights[_header_end(weights) :]


def _places(weights: bytes) -> dict[str, dict[str, Any]]:
    """Where in its `numbers` each tensor lies: its format, shape, offset and length in bytes."""
    header = json.loads(weights[8 : _header_end(weights)])
    header.pop("__metadata__", None)
    for place in header.values():
        start, end = place.pop("data_offsets")
        place |= {"offset": start, "length": end - start}
    return header


def _header_end(weights: bytes) -> int:
    """A safetensors file is the length of a header in 8 bytes, the header as JSON, the numbers."""
    (size,) = struct.unpack("<Q", weights[:8])
    return 8 + int(size)


def check_installed() -> None:
    """ImportError, in words, if a package is missing that exports; none is imported for that."""
    for name in ("onnx", "onnxscript", "onnxruntime"):
        if find_spec(name) is None:
            raise ImportError(f"{name} is not installed: {REMEDY}")


@contextmanager
def needs_onnx() -> Iterator[None]:
    """Say which packages are missing, if they are."""
    try:
        yield
    except ImportError as error:
        raise ImportError(f"{error.name} is not installed: {REMEDY}") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Without the exporter's remarks, thousands of them for who keeps a log."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
