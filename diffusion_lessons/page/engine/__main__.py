"""Make the graphs of the page's networks anew: python -m diffusion_lessons.page.engine"""

from ...files import aside
from ...networks import cards, export
from ...networks.checkpoints import load_pretrained
from . import GRAPHS, NETWORKS, graph_path

for name in NETWORKS:
    model = load_pretrained(name)
    weights = cards.pretrained_path(name).read_bytes()
    if GRAPHS[name] == name:
        graph = export.without_weights(export.graph(model), weights)
        with aside(graph_path(name)) as unfinished:
            unfinished.write_bytes(graph)
    graph = graph_path(name).read_bytes()
    difference = export.compare(model, graph, weights)
    print(f"{name}: {len(graph):,} bytes, off by {difference:.1e}")
