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
from vqgan_cli.ui.components import DrawPanel, help_line, in_box, photo_box, picture_box, side_slider, zoomed
from vqgan_cli.ui.events import WITH_MODEL, Jobs, scratch, told

__all__ = ["condition_tab"]

_CANVAS = 512
_HELP = {
    "segmentation": "Paint a label map, with a colour for each part, or upload one; the images follow it.",
    "edges": "Upload a photo, whose edges are computed, or a map of edges; the images follow them.",
    "lowres": "Upload a photo, which is made small, or a small picture; the images look like it from afar.",
    "depth": "Upload a depth map; the images follow it. Near is shown bright, far dark, unknown blue.",
    "keypoints": "Upload the key points of people or things, as JSON (with its skeleton.json, where it holds none) or "
    "drawn as limbs; the images follow them.",
}
_WHAT = {
    "edges": ("a photo, whose edges are computed", "an edge map, white on black"),
    "lowres": ("a photo, which is made small", "a small picture"),
}


def condition_tab(bench: Workbench, jobs: Jobs) -> None:
    """Lay out the tab, here."""
    panel = DrawPanel(bench, jobs, "condition")
    kind = map_kind(bench)
    help_line(_HELP[kind.name])
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            if kind.name == "segmentation":
                inputs = _painting(bench)
            elif kind.computable:
                photo = photo_box("Photo or map", elem_id="condition-photo")
                how = gr.Radio(list(_WHAT[kind.name]), value=_WHAT[kind.name][0], label="It is")
                inputs = [photo, how]
            else:
                inputs = [
                    gr.File(
                        label=f"Map of {kind.name}",
                        file_count="multiple" if kind.companions else "single",
                        file_types=list(kind.suffixes),
                        height=140,
                        elem_id="condition-file",
                    )
                ]
            inputs.append(side_slider(bench, "Size", min(bench.size)))
            panel.controls()
        with gr.Column(scale=3, min_width=320):
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
        if not values[0]:
            return None
        with scratch() as folder:
            return in_box(_prepared(bench, Path(folder), *values).picture)

    panel.connect(ask, inputs)
    panel.drawn(look, inputs, seen)
    if kind.name != "segmentation":
        changes = [inputs[0].change, *(each.input for each in inputs[1:-1]), inputs[-1].release]
        gr.on(changes, look, inputs, seen, **WITH_MODEL)


def _prepared(bench: Workbench, folder: Path, given: Any, *more: Any) -> Prepared:
    side = int(more[-1])
    kind = map_kind(bench)
    if kind.name == "segmentation":
        if given is None or given["composite"] is None:
            raise UsageError("there is no map yet", hint="paint one, or upload one")
        return painted_map(bench, np.ascontiguousarray(given["composite"][..., :3]), folder, side)
    files = [Path(each) for each in (given if isinstance(given, list) else [given]) if each is not None]
    beside = [each for each in files if each.name in kind.companions]
    maps = [each for each in files if each not in beside]
    if len(maps) != 1:
        raise UsageError(
            f"there are {len(maps)} maps of {kind.name}, and one is drawn by at a time"
            if maps
            else f"there is no map of {kind.name} yet",
            hint="upload one",
        )
    of_photo = kind.computable and more[0] == _WHAT[kind.name][0]
    return given_map(bench, maps[0], folder, side, of_photo=of_photo, beside=beside)


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
