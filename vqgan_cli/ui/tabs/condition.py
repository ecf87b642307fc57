"""Condition: images by a map that somebody paints, uploads, or has computed from a photo."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import numpy.typing as npt

from vqgan_cli.core.errors import UsageError
from vqgan_cli.core.generation.request import Request
from vqgan_cli.core.interactive.maps import (
    Prepared,
    given_map,
    label_palette,
    map_kind,
    painted_map,
    read_labels,
)
from vqgan_cli.core.interactive.workbench import Workbench
from vqgan_cli.ui.components import DrawPanel, photo_box, picture_box, side_slider, zoomed
from vqgan_cli.ui.events import WITH_MODEL, Jobs, scratch, told

__all__ = ["condition_tab"]

_CANVAS = 512
_WHAT = {
    "edges": ("a photo, whose edges are computed", "an edge map, white on black"),
    "lowres": ("a photo, which is made small", "a small picture"),
}


def condition_tab(bench: Workbench, jobs: Jobs) -> None:
    """Lay out the tab, here."""
    panel = DrawPanel(bench, jobs, "condition")
    kind = map_kind(bench)
    with gr.Row():
        with gr.Column(scale=1, min_width=300):
            if kind.name == "segmentation":
                inputs = _painting(bench)
            elif kind.computable:
                photo = photo_box("Photo or map", elem_id="condition-photo")
                how = gr.Radio(list(_WHAT[kind.name]), value=_WHAT[kind.name][0], label="It is")
                inputs = [photo, how]
            else:
                shown = ", ".join(kind.suffixes)
                inputs = [
                    gr.File(label=f"Map of {kind.name} ({shown})", file_types=list(kind.suffixes), height=140)
                ]
            inputs.append(side_slider(bench, "Size of the images", min(bench.size)))
            panel.controls()
        with gr.Column(scale=2, min_width=320):
            seen = picture_box("The map, as the model is given it", height=280, elem_id="condition-map")
            panel.outputs()

    def ask(folder: Path, *values: Any) -> tuple[Request, int | None]:
        prepared = _prepared(bench, folder, *values)
        return (
            Request(condition=str(prepared.path), from_images=prepared.of_photo, size=prepared.size),
            None,
        )

    @told
    def look(*values: Any) -> Any:
        with scratch() as folder:
            return _prepared(bench, Path(folder), *values).picture

    panel.connect(ask, inputs)
    panel.drawn(look, inputs, seen)
    if kind.name != "segmentation":
        changes = [inputs[0].upload, *(each.input for each in inputs[1:-1]), inputs[-1].release]
        gr.on(changes, look, inputs, seen, **WITH_MODEL)


def _prepared(bench: Workbench, folder: Path, given: Any, *more: Any) -> Prepared:
    side = int(more[-1])
    kind = map_kind(bench)
    if kind.name == "segmentation":
        if given is None or given["composite"] is None:
            raise UsageError("there is no map yet", hint="paint one, or upload one")
        return painted_map(bench, np.ascontiguousarray(given["composite"][..., :3]), folder, side)
    if given is None:
        raise UsageError(f"there is no {kind.name} map yet", hint="upload one")
    of_photo = kind.computable and more[0] == _WHAT[kind.name][0]
    return given_map(bench, Path(given), folder, side, of_photo=of_photo)


def _painting(bench: Workbench) -> list[Any]:
    """A canvas with the model's own labels as colours, and an upload that fills it."""
    names = bench.label_names
    palette = label_palette(len(names))
    colours = [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in palette]
    editor = gr.ImageEditor(
        _canvas(_blank(bench, palette)),
        label="Label map",
        type="numpy",
        image_mode="RGB",
        format="png",
        sources=[],
        transforms=[],
        layers=False,
        buttons=[],
        brush=gr.Brush(
            default_size=24,
            colors=list(colours),
            default_color=colours[min(1, len(colours) - 1)],
            color_mode="fixed",
        ),
        elem_id="condition-editor",
    )
    chips = "".join(
        f'<span class="vqgan-label"><i style="background:{colour}"></i>{html.escape(name)}</span>'
        for colour, name in zip(colours, names, strict=True)
    )
    gr.HTML(f'<div class="vqgan-legend">{chips}</div>')
    with gr.Row():
        upload = gr.UploadButton(
            "Upload a label map", size="sm", file_types=["image"], elem_id="condition-upload"
        )
        clear = gr.Button("Clear", size="sm")

    @told
    def fill(file: str) -> Any:
        return _canvas(zoomed(np.array(palette, np.uint8)[read_labels(bench, Path(file))], _CANVAS))

    upload.upload(fill, upload, editor, **WITH_MODEL)
    clear.click(lambda: _canvas(_blank(bench, palette)), None, editor, **WITH_MODEL)
    return [editor]


def _blank(bench: Workbench, palette: list[tuple[int, int, int]]) -> npt.NDArray[np.uint8]:
    height, width = bench.size
    return zoomed(np.full((height, width, 3), palette[0], np.uint8), _CANVAS)


def _canvas(picture: npt.NDArray[np.uint8]) -> Any:
    return {"background": picture, "layers": [], "composite": picture}
