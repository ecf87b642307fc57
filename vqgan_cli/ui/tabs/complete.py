"""Complete: the painted part of a photo is drawn anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from vqgan_cli.core.data.images import write_image
from vqgan_cli.core.errors import UsageError
from vqgan_cli.core.generation.request import Request
from vqgan_cli.core.interactive.maps import painted_mask
from vqgan_cli.core.interactive.workbench import Workbench, read_photo
from vqgan_cli.ui.components import DrawPanel, help_line, photo_box, side_slider, zoomed
from vqgan_cli.ui.events import WITH_MODEL, Jobs, told

__all__ = ["complete_tab"]

_CANVAS = 512
_PAINTED = "what is painted"
_PARTS = {_PAINTED: "", "the lower half": "top:0.5", "the right half": "left:0.5"}


def complete_tab(bench: Workbench, jobs: Jobs) -> None:
    """Lay out the tab, here."""
    assert bench.transformer is not None
    panel = DrawPanel(bench, jobs, "complete")
    by_map = bench.transformer.map_encoder is not None
    state = gr.State(None)
    help_line(
        "Upload a photo and paint over what should be drawn anew. A code is drawn knowing those before it, in "
        f"{bench.transformer.prior.config.order} order: what is known further on stays, but what is drawn before it "
        "does not know of it."
    )
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            photo = photo_box("Photo", elem_id="complete-photo")
            side = side_slider(bench, "Size", min(bench.size) if by_map else None)
            part = gr.Radio(list(_PARTS), value=_PAINTED, label="Draw", elem_id="complete-part")
            blend = gr.Checkbox(True, label="Keep the known pixels themselves, with a soft seam")
            label = []
            if bench.classes:
                choices = [(f"{number}: {name}", number) for number, name in enumerate(bench.classes)]
                label.append(gr.Dropdown(choices, value=0, label="Class"))
        with gr.Column(scale=3, min_width=320):
            editor = gr.ImageEditor(
                label="Paint here",
                height=560,
                type="numpy",
                image_mode="RGBA",
                format="png",
                sources=[],
                transforms=[],
                layers=False,
                buttons=[],
                brush=gr.Brush(default_size=40, colors=["#ff00ff"], color_mode="fixed"),
                elem_id="complete-editor",
            )
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            panel.controls(images=2)
        with gr.Column(scale=3, min_width=320):
            panel.outputs()

    @told
    def begin(path: str | None, side: float) -> tuple[Any, Any]:
        if path is None:
            return None, None
        picture = read_photo(bench, path, int(side))
        shown = zoomed(picture, _CANVAS)
        return picture, {"background": shown, "layers": [], "composite": shown}

    def ask(
        folder: Path, picture: Any, painted: Any, part: str, blend: bool, *label: Any
    ) -> tuple[Request, int | None]:
        if picture is None:
            raise UsageError("there is no photo yet", hint="upload one")
        path = folder / "photo.png"
        write_image(path, picture)
        known = _PARTS[part] or str(painted_mask(_paint(painted), folder, picture.shape[:2]))
        asked = Request(complete=path, known=known, blend=blend, size=picture.shape[:2])
        if by_map:
            asked = Request(
                complete=path,
                known=known,
                blend=blend,
                size=picture.shape[:2],
                condition=str(path),
                from_images=True,
            )
        return asked, int(label[0]) if label else None

    gr.on([photo.input, side.release], begin, [photo, side], [state, editor], **WITH_MODEL)
    panel.connect(ask, [state, editor, part, blend, *label])


def _paint(painted: Any) -> Any:
    """bool [H, W], where somebody painted."""
    layers = [] if painted is None else painted["layers"]
    if not layers:
        return np.zeros((1, 1), np.bool_)
    return np.any([layer[..., 3] > 0 for layer in layers], axis=0)
