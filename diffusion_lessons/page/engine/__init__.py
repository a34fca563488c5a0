"""What the page needs to compute with networks itself: ONNX Runtime Web, graphs and weights.

It comes in parts, each a few files, and only when a widget first asks: from the kernel
(`kit.Explorer` answers the page), or from scripts beside a published page (`as_script`). A graph
(`graphs/`, made by ``python -m diffusion_lessons.page.engine``) holds no weights: those come out of
the same file from which Python loads the network.
"""

import base64
import gzip
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ...data import digits
from ...networks import cards
from ...networks.checkpoints import load_pretrained

HERE = Path(__file__).parent
NETWORKS = ("digits-ddpm", "digits-ddgan", "digits-vae")
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
    - a network's name: what it is (JSON), its graph and its weights (safetensors).
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
        "graph.onnx": _packed((HERE / "graphs" / f"{name}.onnx").read_bytes()),
        "weights": _packed(cards.pretrained_path(name).read_bytes()),
    }


def about(name: str) -> dict[str, Any]:
    """What the page must know of a network, and says of it."""
    model: Any = load_pretrained(name)
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
