"""A widget as a page of its own, which another site can show in a frame."""

import base64
import html
import io
import json
from pathlib import Path

from ipywidgets import Widget

from . import kit

SCRIPT = Path(__file__).with_name("standalone.js")

PAGE = """<!doctype html>
<html lang="en"{engine}>
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ margin: 0; }}
main {{ max-width: 920px; margin: 0 auto; }}
h1 {{ position: absolute; width: 1px; height: 1px; overflow: hidden; }}
#stored {{ max-width: 920px; margin: 12px auto; font: 14px/1.5 system-ui, sans-serif; }}
#stored img {{ max-width: 100%; }}
</style>
</head>
<body>
<main><h1>{title}</h1></main>
<div id="stored"><p id="why">{words}</p><img alt="{title}, as it was stored" src="{picture}"></div>
<script type="application/json" id="models">{models}</script>
<script>{script}</script>
</body>
</html>
"""


def standalone(widget: kit.Explorer, title: str, engine: str | None = None) -> str:
    """The widget in its present state as HTML: one file that needs no kernel and no other script.

    ``engine`` is the address of the folder with the engine's parts (`engine.as_script`), for a
    widget that computes with networks; it may be relative to the page. Until the widget is alive,
    and where no script runs, the page shows the widget's stored picture and says so.
    """
    state = Widget.get_manager_state(drop_defaults=False, widgets=[widget, widget._kit])["state"]
    models = {}
    for model_id, model in state.items():
        models[model_id] = model["state"]
        for buffer in model.get("buffers", []):
            (name,) = buffer["path"]
            models[model_id][name] = buffer["data"]
    png = io.BytesIO()
    widget.figure().savefig(png, format="png", dpi=80)
    facts = {"shown": widget.model_id, "models": models}
    return PAGE.format(
        title=html.escape(title),
        engine=f' data-dl-engine="{html.escape(engine)}"' if engine else "",
        words="This is a stored picture: no script has run here yet.",
        picture=f"data:image/png;base64,{base64.b64encode(png.getvalue()).decode()}",
        # "</script>" in a text would end the element.
        models=json.dumps(facts).replace("</", "<\\/"),
        script=SCRIPT.read_text("utf-8").replace("</", "<\\/"),
    )
