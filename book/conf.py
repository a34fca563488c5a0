"""Sphinx's settings for the book; book/build.py calls it."""

import base64
import hashlib
import html
import json
import os
import re
import struct
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

from sphinx.util import inspect

project = "Diffusion Lessons"
author = "The Diffusion Lessons authors"
project_copyright = author
release = version_of("diffusion-lessons")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.viewcode",
    "sphinx_codeautolink",  # names in the lessons' code lead to the package's pages
    "sphinx_copybutton",
    "sphinxcontrib.bibtex",
]

# ------------------------------------------------------------------ lessons and their sliders

nb_execution_mode = "off"  # what is committed was executed
nb_merge_streams = True  # as JupyterLab shows them
nb_code_prompt_show = "Show the code"
nb_code_prompt_hide = "Hide the code"
myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3

nb_ipywidgets_js: dict[str, dict[str, str]] = {"widgets/host.js": {}}  # instead of ipywidgets' own
mathjax_path = "mathjax/tex-svg.js"

# ------------------------------------------------------------------ the package

default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_inherit_docstrings = False  # torch's words on `forward` are not ours
autodoc_default_options = {"members": True}
python_use_unqualified_type_names = True
add_module_names = False
codeautolink_concat_default = True

bibtex_bibfiles = ["refs.bib"]

# ------------------------------------------------------------------ looks

html_theme = "sphinx_book_theme"
html_title = "Diffusion Lessons"
html_static_path: list[str] = []  # build.py lays the folder out and names it
html_css_files = ["book.css"]
html_js_files = ["print.js", "embed.js"]
html_favicon = "static/favicon.svg"
html_domain_indices = False
html_sourcelink_suffix = ""

# Where the course is published, "https://github.com/OWNER/NAME"; then pages get launch buttons.
repository = os.environ.get("BOOK_REPOSITORY", "").removesuffix("/")
html_theme_options: dict[str, Any] = {
    "use_download_button": True,
    "use_fullscreen_button": False,
    "logo": {
        "text": "Diffusion Lessons",
        "image_light": "static/favicon.svg",
        "image_dark": "static/favicon.svg",
        "alt_text": "",
    },
    "footer_content_items": ["extra-footer"],
    "extra_footer": "The course is under the MIT licence, the digits of MNIST under CC BY-SA 3.0.",
    "show_toc_level": 2,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
if repository:
    html_theme_options |= {
        "repository_url": repository,
        "repository_branch": "main",
        "use_repository_button": True,
        "launch_buttons": {
            "colab_url": "https://colab.research.google.com",
            "binderhub_url": "https://mybinder.org",
            "notebook_interface": "jupyterlab",
        },
    }


def only_lessons_launch(app: Any, page: str, template: str, context: Any, doctree: Any) -> None:
    """The first page has a widget too, but nothing to run. Colab has a branch of its own."""
    buttons = context.get("header_buttons", [])
    if not page.startswith("notebooks/"):
        context["header_buttons"] = [b for b in buttons if b["label"] != "launch-buttons"]
        return
    launch = [link for b in buttons if b["label"] == "launch-buttons" for link in b["buttons"]]
    for link in launch:
        if link["text"] == "Colab":
            link["url"] = link["url"].replace("/blob/main/notebooks/", "/blob/colab/")


STATE = "application/vnd.jupyter.widget-state+json"
VIEW = "application/vnd.jupyter.widget-view+json"
PLACE = re.compile(rf'<script type="{re.escape(VIEW)}">(.*?)</script>', re.DOTALL)


def stored_pictures(app: Any, page: str, template: str, context: Any, doctree: Any) -> None:
    """In each widget's place the picture that its notebook keeps, and a line that says why.

    The style sheet hides both once the widget is there, and `host.js` knows more of the reason.
    Below stands how to show the widget in a page of one's own.
    """
    source = Path(app.srcdir, f"{page}.ipynb")
    if "body" not in context or not source.exists():
        return
    notebook = json.loads(source.read_text("utf-8"))
    models = notebook["metadata"].get("widgets", {}).get(STATE, {"state": {}})["state"]
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    shown = {
        output["data"][VIEW]["model_id"]: output
        for output in outputs
        if VIEW in output.get("data", {})
    }

    def place(match: re.Match[str]) -> str:
        model = json.loads(match[1])["model_id"]
        data = shown[model]["data"]
        figure = ""
        if "image/png" in data:
            png = base64.b64decode("".join(data["image/png"]))
            name = f"_images/{hashlib.sha256(png).hexdigest()[:32]}.png"
            Path(app.outdir, "_images").mkdir(exist_ok=True)
            Path(app.outdir, name).write_bytes(png)
            words = html.escape("".join(data.get("text/plain", "a widget")).removesuffix("()"))
            address = context["pathto"](name, 1)
            width, height = struct.unpack(">II", png[16:24])
            size = f'width="{width}" height="{height}" loading="lazy"'
            figure = f'<img src="{address}" alt="Stored picture of {words}" {size}>'
        why, known, script = ": the widget itself was not saved with this notebook.", "dl-known", ""
        if model in models:
            off = "<noscript>: JavaScript is switched off</noscript>"
            why, known = f', since the widget has not started<span class="dl-why">{off}.</span>', ""
            script = match[0]
        line = f'<p class="{known}">A stored picture{why}</p>'
        embed = ""
        if name := shown[model].get("metadata", {}).get("embed"):
            address = context["pathto"](f"embed/{name}.html", 1)
            button = '<button type="button">copy the embed code</button>'
            embed = f'<p class="dl-embed"><a href="{address}">alone in a page</a> · {button}</p>'
        stored = f'<div class="dl-stored">{figure}{line}</div>'
        return f'<div class="dl-place">{stored}{script}{embed}</div>'

    context["body"] = PLACE.sub(place, context["body"])


def own_signature(
    app: Any, what: str, name: str, obj: Any, options: Any, signature: str | None, returns: str
) -> tuple[str, str] | None:
    """Widgets inherit a ``__new__`` that takes anything; what counts is their ``__init__``.

    The base classes inherit that one too: they are there to be derived from, and show none.
    """
    if what != "class" or not (signature or "").startswith("(*args"):
        return None
    text = inspect.stringify_signature(
        inspect.signature(obj.__init__, bound_method=True),
        show_return_annotation=False,
        unqualified_typehints=True,
    )
    return "" if text.startswith("(*args") else text, returns


def without_field_numbers(
    app: Any, what: str, name: str, obj: Any, skip: bool, options: Any
) -> bool | None:
    """A named tuple's docstring tells its fields; Python's own words say only their number."""
    return True if (getattr(obj, "__doc__", None) or "").startswith("Alias for field") else None


def setup(app: Any) -> None:
    """Sphinx calls this."""
    app.connect("autodoc-skip-member", without_field_numbers)
    app.connect("autodoc-process-signature", own_signature)
    app.connect("html-page-context", only_lessons_launch, priority=600)  # after the theme's 501
    app.connect("html-page-context", stored_pictures)
