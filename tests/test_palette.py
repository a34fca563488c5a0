"""Colours: one table, with one meaning each, that everyone can read and tell apart."""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from diffusion_lessons.page import palette

ROOT = Path(__file__).parents[1]
FRAME = (ROOT / "diffusion_lessons" / "page" / "kit" / "frame.css").read_text()
HEX = re.compile(r"#(?:[0-9a-fA-F]{6}|[0-9a-fA-F]{3})\b")
MEANINGS = ("signal", "noise", "result", "data", "class")

# How three kinds of colour-blind readers see (Machado, Oliveira and Fernandes 2009, severity 1).
EYES = {
    "all cones": np.eye(3),
    "no red": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "no green": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "no blue": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def css(block: str) -> dict[str, str]:
    """The colours that a block of frame.css names."""
    body, *_ = re.findall(r"^" + re.escape(block) + r" \{([^}]*)\}", FRAME, re.M)
    return dict(re.findall(r"--dl-([\w-]+): (#\w{6});", body))


THEMES = {"light": css(".dl-widget"), "dark": css('.dl-widget[data-dl-theme="dark"]')}
BLACK = {"signal-on-black", "noise-on-black", "result-on-black"}


def light(colour: str) -> np.ndarray:
    """Its red, green and blue light in 0..1."""
    values = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def contrast(a: str, b: str) -> float:
    """As WCAG 2.2 defines it, 1..21."""
    low, high = sorted(float(XYZ[1] @ light(colour)) + 0.05 for colour in (a, b))
    return high / low


def difference(a: str, b: str, eyes: str) -> float:
    """The distance in CIELAB."""

    def lab(colour: str) -> np.ndarray:
        seen = np.clip(np.array(EYES[eyes]) @ light(colour), 0, 1)
        x, y, z = np.cbrt(np.maximum(XYZ @ seen / XYZ.sum(1), 0.008856))
        return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])

    return float(np.linalg.norm(lab(a) - lab(b)))


def test_python_and_the_page_have_the_same_colours() -> None:
    ours = {name: getattr(palette, name.upper()) for name in (*MEANINGS, "ink", "soft", "line")}
    ours |= {f"class-{k}": colour for k, colour in enumerate(palette.CLASSES)}
    assert {name: THEMES["light"][name] for name in ours} == ours
    assert len(palette.CLASSES) == 10
    assert set(THEMES["light"]) - BLACK == set(THEMES["dark"])


def test_on_black_a_colour_is_the_dark_page_s() -> None:
    for name in BLACK:
        assert THEMES["light"][name] == THEMES["dark"][name.removesuffix("-on-black")]


@pytest.mark.parametrize("theme", THEMES)
def test_every_colour_can_be_read(theme: str) -> None:
    colours = THEMES[theme]
    classes = [name for name in colours if name.startswith("class-")]
    for name in (*MEANINGS, *classes, "ink", "soft"):
        for ground in ("paper", "panel"):
            assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)


@pytest.mark.parametrize("eyes", EYES)
@pytest.mark.parametrize("theme", THEMES)
def test_colours_can_be_told_apart(theme: str, eyes: str) -> None:
    """A difference of 2 is just seen side by side; these are seen at a glance."""
    colours = THEMES[theme]
    meanings = [colours[name] for name in (*MEANINGS, "ink")]
    classes = [colours[f"class-{k}"] for k in range(10)]
    for group in (meanings, classes):
        for a, b in itertools.combinations(group, 2):
            assert difference(a, b, eyes) > 10, (a, b)
    if eyes == "all cones":
        for colour in classes:
            assert difference(colour, colours["noise"], eyes) > 25, colour


def sources() -> Iterator[Path]:
    for folder in ("diffusion_lessons", "book", "notebooks", "benchmarks"):
        for path in sorted((ROOT / folder).rglob("*")):
            ours = path.suffix in (".py", ".js", ".css", ".md") and "_build" not in path.parts
            if ours and not {"vendor", "assets", "node_modules"} & set(path.parts):
                yield path


def code(path: Path) -> str:
    """Of a text, what is run."""
    text = path.read_text()
    cells = r"^```(?:\{code-cell\} ipython3|js|css|python)\n(.*?)^```"
    return "\n".join(re.findall(cells, text, re.S | re.M)) if path.suffix == ".md" else text


def test_no_colour_is_named_anywhere_else() -> None:
    tables = {"palette.py", "frame.css"}
    named = r"""colou?r\w*=["'](?!white|black|gray|0\.)\w+["']|["'](?:tab:\w+|C\d)["']"""
    for path in sources():
        if path.name in tables:
            continue
        found = set(HEX.findall(code(path))) | set(re.findall(named, code(path)))
        if path.name == "book.css":  # it is read where the widgets' frame is not
            found -= {colours["signal"] for colours in THEMES.values()}
        assert not found, f"{path.relative_to(ROOT)}: {found}"


def test_lessons_take_them_from_the_table() -> None:
    names = {name for name in vars(palette) if name.isupper()}
    for path in sorted((ROOT / "notebooks").glob("*.md")):
        for module, imported in re.findall(r"^from (\S+) import (.*)$", path.read_text(), re.M):
            colours = names & set(re.findall(r"\w+", imported))
            if module != palette.__name__ and module != "diffusion_lessons":
                assert not colours, f"{path.name}: {colours} from {module}"
