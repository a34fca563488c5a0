"""Make the graphs of the page's networks anew: python -m diffusion_lessons.page.engine"""

from ...files import aside
from ...networks import cards, export
from ...networks.checkpoints import load_pretrained
from . import HERE, NETWORKS

for name in NETWORKS:
    model = load_pretrained(name)
    weights = cards.pretrained_path(name).read_bytes()
    graph = export.without_weights(export.graph(model), weights)
    difference = export.compare(model, graph, weights)
    with aside(HERE / "graphs" / f"{name}.onnx") as unfinished:
        unfinished.write_bytes(graph)
    print(f"{name}: {len(graph):,} bytes, off by {difference:.1e}")
