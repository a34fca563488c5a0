"""What the page needs to compute with networks itself: ONNX Runtime Web, graphs and weights.

It comes in parts, each a few files, and only when a widget first asks: from the kernel
(`kit.Explorer` answers the page), or from scripts beside a published page (`as_script`). A graph
(`graphs/`, made by ``python -m diffusion_lessons.page.engine``) holds no weights: those come out of
the same file from which Python loads the network. So networks that differ in their weights alone
share one. An `OwnNetwork` does the same for a learner's.
"""

import base64
import gzip
import hashlib
import json
from functools import cached_property, lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from torch import nn

from ...data import digits
from ...networks import cards, export
from ...networks.checkpoints import load, load_pretrained, save
from ...networks.compute import plain

HERE = Path(__file__).parent
GRAPHS = {
    "digits-ddpm": "digits-ddpm",
    "digits-ddgan": "digits-ddgan",
    "digits-vae": "digits-vae",
    "digits-consistency": "digits-ddpm",
    "digits-reflow": "digits-ddpm",
    "cats-dogs-ddpm": "cats-dogs-ddpm",
}
"""The graph of each network that a page can run, by name."""

NETWORKS = tuple(GRAPHS)
"""The networks that a page can run."""

PARTS = ("runtime", "webgpu", "examples", *NETWORKS)
"""All that can be asked for."""

EXAMPLES = 200
"""Training digits of each class, beside which a page lays what it has drawn."""


@lru_cache
def part(name: str) -> dict[str, bytes]:
    """The files of one part by name, each compressed with gzip. KeyError for an unknown part.

    - ``runtime``: the scripts and the WebAssembly that run graphs;
    - ``webgpu``: the same for a graphics processor, which WebGPU and JSPI lead to;
    - ``examples``: 2,000 training digits, bytes [N, 28, 28], and their labels, bytes [N];
    - a network's name: what it is (JSON), its graph and its weights (`export.numbers`).
    """
    if name not in PARTS:
        raise KeyError(name)
    if name in ("runtime", "webgpu"):
        packed = (HERE / "vendor").glob("*.gz")
        files = [path for path in packed if ("jspi" in path.name) == (name == "webgpu")]
        vendor = {path.stem: path.read_bytes() for path in files}
        return vendor | {"worker.js": _packed((HERE / "worker.js").read_bytes())}
    if name == "examples":
        images, labels = _examples()
        return {"images": _packed(images.tobytes()), "labels": _packed(labels.tobytes())}
    return {
        "about.json": _packed(json.dumps(about(name)).encode()),
        "graph.onnx": _packed(graph_path(name).read_bytes()),
        "weights": _packed(export.numbers(cards.pretrained_path(name).read_bytes())),
    }


def graph_path(name: str) -> Path:
    """Where the graph of a network lies, by the network's name."""
    return HERE / "graphs" / f"{GRAPHS[name]}.onnx"


class OwnNetwork:
    """A network that does not ship, as it is now, on its way to a page: `files` make a part.

    It is rounded to half precision as `save` would; ``name`` is what a page calls it, ``part`` the
    name of its part, which no other network has. Raises what `save` raises of a network that could
    not be saved, and ImportError, in words, if what exports it is not installed.
    """

    def __init__(self, model: nn.Module, name: str) -> None:
        export.check_installed()
        with TemporaryDirectory() as folder:
            path = Path(folder) / "own.safetensors"
            save(path, plain(model))
            self._weights = path.read_bytes()
            self.model: Any = load(path)
        self.about = _about(self.model, name)
        content = self._weights + json.dumps(self.about).encode()
        self.part = f"own-{hashlib.sha256(content).hexdigest()[:16]}"

    @cached_property
    def files(self) -> dict[str, bytes]:
        """What `part` gives of a network that ships. ValueError if the graph is not the network.

        It is exported when first asked for, which takes a while.
        """
        graph = export.without_weights(export.graph(self.model), self._weights)
        difference = export.compare(self.model, graph, self._weights)
        if difference > 1e-3:
            raise ValueError(f"the exported graph is off by {difference:.1e}")
        return {
            "about.json": _packed(json.dumps(self.about).encode()),
            "graph.onnx": _packed(graph),
            "weights": _packed(export.numbers(self._weights)),
        }


def about(name: str) -> dict[str, Any]:
    """What the page must know of a network, and says of it."""
    return _about(load_pretrained(name), name)


def _about(model: Any, name: str) -> dict[str, Any]:
    latent = getattr(model, "latent", getattr(getattr(model, "generator_net", None), "latent", 0))
    facts: dict[str, Any] = model.about | {
        "name": name,
        "shape": list(model.shape),
        "classes": model.classes,
        "latent": latent,
        "parameters": sum(p.numel() for p in model.parameters()),
    }
    return facts


def as_script(name: str) -> str:
    """The part as a script for a published page, which works from a folder, too."""
    files = {file: base64.b64encode(content).decode() for file, content in part(name).items()}
    return (
        f'globalThis[Symbol.for("diffusion-lessons parts")].arrived({json.dumps([name, files])});\n'
    )


def _examples() -> tuple[np.ndarray, np.ndarray]:
    """The first training digits of each class, as many of each."""
    train = digits(train=True)
    images, labels = train.images.numpy(), train.labels.numpy()
    first = np.concatenate([np.flatnonzero(labels == k)[:EXAMPLES] for k in range(10)])
    return images[first].reshape(-1, 28, 28).astype(np.uint8), labels[first].astype(np.uint8)


def _packed(content: bytes) -> bytes:
    return gzip.compress(content, 6, mtime=0)
