"""The page's networks answer as Python's: one call and whole walks, over http and from a folder."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from pages import served

pytest.importorskip("anywidget")

from diffusion_lessons.data import digits, to_unit
from diffusion_lessons.math.prediction import NOISE
from diffusion_lessons.math.randomness import RowGenerator
from diffusion_lessons.measuring.drawing import draw
from diffusion_lessons.networks.checkpoints import load_pretrained
from diffusion_lessons.networks.compute import Compute
from diffusion_lessons.networks.drawing import DrawSettings
from diffusion_lessons.page import engine, kit

pytestmark = pytest.mark.usefixtures("quiet")

CPU = Compute(torch.device("cpu"))
LABELS, NUMBERS = [3, 8, 8, 0], [3000, 8000, 8001, 12]

# A page that brings the kit as a widget would, in one module each, and nothing else.
PAGE = """<!doctype html><meta charset="utf-8"><title>engine</title>
<script>document.documentElement.dataset.dlEngine = "engine/";</script>
<script>
const texts = TEXTS;
const addresses = {};
for (const [name, text] of texts) {
    const linked = text.replace(/^((?:import|export|\\}).* from )"(.+)";$/gm,
        (_, start, other) => `${start}"${addresses[other]}";`);
    addresses[`./${name}`] = URL.createObjectURL(new Blob([linked], { type: "text/javascript" }));
}
globalThis.kit = import(addresses["./kit.js"]);
</script>"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("engine")
    (folder / "engine").mkdir()
    for name in engine.PARTS:
        (folder / "engine" / f"{name}.js").write_text(engine.as_script(name), "utf-8")
    files = kit.unpack_files(kit.Kit._files.default())
    texts = [pair for pair in files[1:] if pair[0].endswith(".js")]  # the first brings the others
    content = json.dumps(texts).replace("</", "<\\/")
    (folder / "index.html").write_text(PAGE.replace("TEXTS", content), "utf-8")
    (folder / "favicon.ico").write_bytes(b"")
    return folder


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    with served(folder) as address:
        yield f"{address}/index.html"


@pytest.fixture(scope="module")
def page(watched: tuple[Any, Any], address: str) -> Any:
    page, _ = watched
    page.goto(address)
    return page


WALK = """async ([name, settings]) => {
    const { pretrained } = await kit;
    const network = await pretrained(name);
    let last;
    for await (last of network.walk(settings));
    return { x: [...last.x], calls: network.calls };
}"""


def walked(page: Any, name: str, **settings: Any) -> torch.Tensor:
    settings = {"labels": LABELS, "numbers": NUMBERS, "seed": 7, **settings}
    drawn = page.evaluate(WALK, [name, settings])
    shape: Any = load_pretrained(name).shape
    return torch.tensor(drawn["x"]).reshape(-1, *shape)


def drawn(name: str, labels: list[int] = LABELS, **settings: Any) -> torch.Tensor:
    chosen = DrawSettings(**settings)
    numbers = torch.tensor(NUMBERS)
    return draw(load_pretrained(name), torch.tensor(labels), chosen, 7, numbers, CPU)


@pytest.mark.parametrize("name", ["digits-ddpm", "cats-dogs-ddpm"])
def test_one_answer(page: Any, name: str) -> None:
    model: Any = load_pretrained(name)
    none, last = model.classes, model.classes - 1
    x_t = RowGenerator(1).normal((5, *model.shape)).float()
    answers = page.evaluate(
        """async ([name, last, x]) => {
            const { pretrained } = await kit;
            const network = await pretrained(name);
            const labels = [0, last, null, 1, 1];
            const x_t = Float32Array.from(x);
            return Promise.all([1, 500, 1000].map(async (t) => {
                const x0Hat = await network.denoiser(labels)(x_t, t);
                return [...x0Hat];
            }));
        }""",
        [name, last, x_t.flatten().tolist()],
    )
    for t, answer in zip([1, 500, 1000], answers, strict=True):
        with torch.no_grad():
            wanted = model.denoiser(torch.tensor([0, last, none, 1, 1]))(x_t, t)
        # In the noise that a network predicts, the error is alpha / sigma of that in x_0.
        noise = model.prediction is NOISE
        scale = float(model.schedule.alpha[t] / model.schedule.sigma[t]) if noise else 1
        difference = (torch.tensor(answer).reshape(x_t.shape) - wanted).abs().max()
        assert float(difference) * scale < 1e-3


@pytest.mark.parametrize(
    "settings",
    [
        {"steps": 10},
        {"steps": 8, "eta": 0.5, "spacing": "quadratic"},
        {"steps": 10, "sampler": "ddpm"},
        {"steps": 6, "sampler": "heun"},
        {"steps": 8, "sampler": "dpm++", "spacing": "log-snr"},
        {"steps": 8, "guidance": "classifier-free", "scale": 2.5},
    ],
    ids=str,
)
def test_whole_walks_are_those_of_the_command(page: Any, settings: dict[str, Any]) -> None:
    in_page = {name: value for name, value in settings.items() if name != "guidance"}
    difference = walked(page, "digits-ddpm", **in_page) - drawn("digits-ddpm", **settings)
    assert float(difference.abs().max()) < 1e-2


@pytest.mark.parametrize("name", ["digits-consistency", "digits-reflow"])
@pytest.mark.parametrize(
    "settings",
    [{}, {"steps": 1}, {"steps": 4}, {"steps": 3, "sampler": "dpm++"}, {"scale": 2.5}],
    ids=str,
)
def test_networks_of_few_calls(page: Any, name: str, settings: dict[str, Any]) -> None:
    """In their usual way, unless another is asked for; they share a graph with digits-ddpm."""
    guidance = {"guidance": "classifier-free"} if "scale" in settings else {}
    difference = walked(page, name, **settings) - drawn(name, **settings, **guidance)
    assert float(difference.abs().max()) < 1e-2


@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_a_network_of_colours_and_its_guidance(page: Any, scale: float) -> None:
    """Two cats and two dogs, their colours those of torch."""
    labels = [0, 1, 1, 0]
    seen = walked(page, "cats-dogs-ddpm", steps=6, labels=labels, scale=scale)
    settings = {"steps": 6, "guidance": "classifier-free", "scale": scale}
    wanted = drawn("cats-dogs-ddpm", labels, **settings)
    assert wanted.shape == (4, 3, 32, 32)
    assert float((seen - wanted).abs().max()) < 1e-2
    assert float((wanted[:, 0] - wanted[:, 2]).abs().max()) > 0.05  # it is not grey


def test_a_gan_and_a_vae(page: Any) -> None:
    for name in ("digits-ddgan", "digits-vae"):
        assert float((walked(page, name) - drawn(name)).abs().max()) < 1e-2


def test_a_picture_is_the_same_alone_and_whatever_the_number_of_workers(page: Any) -> None:
    together = walked(page, "digits-ddpm", steps=3)
    for _ in range(6):  # one worker, then two, then whichever is faster
        again = walked(page, "digits-ddpm", steps=3)
        torch.testing.assert_close(again, together, rtol=1e-4, atol=1e-4)
    alone = walked(page, "digits-ddpm", steps=3, labels=LABELS[:1], numbers=NUMBERS[:1])
    torch.testing.assert_close(alone, together[:1], rtol=1e-4, atol=1e-4)


def test_the_examples_are_training_digits(page: Any) -> None:
    images, labels = page.evaluate(
        """async () => {
            const { part } = await kit;
            const { images, labels } = await part("examples");
            return [[...images.slice(0, 784)], [...labels]];
        }"""
    )
    assert labels == [k for k in range(10) for _ in range(engine.EXAMPLES)]
    first = torch.tensor(images, dtype=torch.uint8).reshape(1, 1, 28, 28)

    train = digits(train=True)
    assert torch.equal(first[0], train.images[train.labels == 0][0])
    assert to_unit(first).max() <= 1


def test_from_a_folder_too(watched: tuple[Any, Any], folder: Path) -> None:
    page, _ = watched
    page.goto((folder / "index.html").as_uri())
    assert float((walked(page, "digits-ddgan") - drawn("digits-ddgan")).abs().max()) < 1e-2
