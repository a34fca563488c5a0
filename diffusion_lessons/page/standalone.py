"""A widget as a page of its own, which another site can show in a frame."""

import base64
import html
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ipywidgets import Widget

from . import kit

HOST = Path(__file__).with_name("host.js")  # brings stored widgets to life

STATE = "application/vnd.jupyter.widget-state+json"
VIEW = "application/vnd.jupyter.widget-view+json"

PAGE = """<!doctype html>
<html lang="en"{engine}>
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ max-width: 920px; margin: 0 auto; font: 14px/1.5 system-ui, sans-serif; }}
h1 {{ position: absolute; width: 1px; height: 1px; overflow: hidden; }}
.dl-place:has(.dl-widget) .dl-stored, .dl-place:not(:has(.dl-widget)) .dl-alive {{ display: none; }}
.dl-stored img {{ max-width: 100%; height: auto; }}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
<div class="dl-place">
<div class="dl-stored"><img src="{picture}" alt="Stored picture of {title}">
<p>A stored picture, since the widget has not started<span class="dl-why"><noscript>: JavaScript is
switched off</noscript>.</span></p></div>
<script type="{view_type}">{view}</script>
</div>
</main>
<script type="{state_type}">{state}</script>
<script>{host}</script>
</body>
</html>
"""


def standalone(widget: kit.Explorer, title: str, engine: str | None = None) -> str:
    """The widget in its present state as HTML: one file that needs no kernel and no other script.

    ``engine`` is the address of the folder with the engine's parts (`engine.as_script`), for a
    widget that computes with networks; it may be relative to the page. Until the widget is alive,
    and where no script runs, the page shows the widget's stored picture and says so.
    """
    stored = Widget.get_manager_state(drop_defaults=False, widgets=[widget, widget._kit])
    png = io.BytesIO()
    widget.figure().savefig(png, format="png", dpi=80)
    return page_of(stored["state"], widget.model_id, title, png.getvalue(), engine)


def page_of(
    models: Mapping[str, Any], shown: str, title: str, png: bytes, engine: str | None = None
) -> str:
    """The same of stored state: models by id, as a notebook keeps them, and which one is shown.

    Only that one and its kit come into the page.
    """
    kit_of = models[shown]["state"]["_kit"].removeprefix("IPY_MODEL_")
    needed = {model: models[model] for model in (shown, kit_of)}

    def script(content: Any) -> str:
        return json.dumps(content).replace("</", "<\\/")  # else a text could end the element

    return PAGE.format(
        title=html.escape(title),
        engine=f' data-dl-engine="{html.escape(engine)}"' if engine else "",
        picture=f"data:image/png;base64,{base64.b64encode(png).decode()}",
        view_type=VIEW,
        view=script({"model_id": shown}),
        state_type=STATE,
        state=script({"state": needed}),
        host=HOST.read_text("utf-8").replace("</", "<\\/"),
    )
