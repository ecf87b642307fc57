"""Reconstruct: a photo, its codes, and what becomes of it when single codes are replaced."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import numpy.typing as npt

from vqgan_cli.core.data.images import contact_sheet
from vqgan_cli.core.errors import UsageError
from vqgan_cli.core.interactive.reconstruction import (
    Reconstruction,
    cell_at,
    cell_box,
    code_picture,
    difference,
    nearest_codes,
    patches,
    reconstruct,
    save_codes,
    with_code,
)
from vqgan_cli.core.interactive.workbench import Workbench, read_photo
from vqgan_cli.ui.components import help_line, in_box, photo_box, picture_box, side_slider, zoomed
from vqgan_cli.ui.events import WITH_MODEL, told

__all__ = ["reconstruct_tab"]

_NEAREST = 8
_CLICKED_SIDE = 1000
"""Pixels, at least: gradio tells where a picture was clicked only where it is not shown enlarged."""
_PATCH_SIDE = 96

Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class _Session:
    """What somebody has before them.

    Attributes:
        made: the photo and its codes.
        name: of the photo's file.
        cell: (row, column) that was clicked; None before the first click.
        near: codes to choose from for it.
    """

    made: Reconstruction
    name: str
    cell: tuple[int, int] | None = None
    near: list[int] = field(default_factory=list)


def reconstruct_tab(bench: Workbench) -> None:
    """Lay out the tab, here."""
    state = gr.State(None)
    last = bench.tokenizer.codebook_size - 1
    f = bench.downsampling
    help_line(
        f"The tokenizer makes one code of each {f}x{f} pixels of a photo, and a picture of the codes. Upload a photo "
        "to see what they keep of it; then click a cell of the codes or of the reconstruction to change its code."
    )
    with gr.Row():
        with gr.Column(scale=1, min_width=260):
            photo = photo_box("Photo", elem_id="reconstruct-photo")
        with gr.Column(scale=2, min_width=320):
            side = side_slider(bench, "Size")
            gain = gr.Slider(1, 20, 4, step=1, label="Difference, times")
            facts = gr.Markdown("")
    with gr.Row():
        original = picture_box("Original", min_width=150)
        rebuilt = picture_box("Reconstruction", min_width=150, elem_id="reconstruct-picture")
        apart = picture_box("Difference", min_width=150)
        grid = picture_box("Codes", min_width=150, elem_id="reconstruct-codes")
    with gr.Row():
        with gr.Column(scale=1, min_width=260):
            chosen = gr.Markdown("", elem_id="reconstruct-cell")
            code = gr.Number(None, precision=0, minimum=0, maximum=last, label=f"Code, 0 to {last}")
            with gr.Row():
                put = gr.Button("Put this code", variant="primary", elem_id="reconstruct-put")
                reset = gr.Button("Reset", elem_id="reconstruct-reset")
            keep = gr.Button("Save the codes", elem_id="reconstruct-save")
            files = gr.File(
                label="As of vqgan encode", interactive=False, file_count="multiple", visible=False
            )
        with gr.Column(scale=1, min_width=300):
            near = gr.Gallery(
                label="Nearest codes: what the cell would look like",
                format="png",
                allow_preview=False,
                interactive=False,
                buttons=[],
                elem_id="reconstruct-near",
                elem_classes=["vqgan-gallery", "vqgan-pixels"],
            )
        with gr.Column(scale=1, min_width=300):
            pair = picture_box("The cell: photo, its own codes, now", height=200, elem_id="reconstruct-pair")

    everything = [state, original, rebuilt, apart, grid, facts, chosen, code, near, pair, files]

    def show(session: _Session | None, gain: float) -> tuple[Any, ...]:
        if session is None:
            return (None,) * 5 + ("", "", None, None, None, gr.File(None, visible=False))
        made = session.made
        text, number, shown, row = "Click a cell to see its code.", None, None, None
        if session.cell is not None:
            number = int(made.codes[session.cell])
            text = _about_cell(session, session.cell)
            pictures = patches(bench, made.codes, session.cell, session.near)
            shown = [
                (zoomed(each, _PATCH_SIDE), str(n)) for each, n in zip(pictures, session.near, strict=True)
            ]
            row = _pair(bench, made, session.cell)
        return (
            session,
            in_box(made.original),
            _clickable(made.picture),
            in_box(difference(made.original, made.picture, gain)),
            code_picture(made.codes, _CLICKED_SIDE, session.cell),
            _facts(bench, made),
            text,
            number,
            shown,
            row,
            gr.File(None, visible=False),
        )

    @told
    def begin(path: str | None, side: float, gain: float) -> tuple[Any, ...]:
        if path is None:
            return show(None, gain)
        with bench.turn:
            made = reconstruct(bench, read_photo(bench, path, int(side)))
            return show(_Session(made, Path(path).name), gain)

    @told
    def click(session: _Session | None, gain: float, event: gr.SelectData) -> tuple[Any, ...]:
        if session is None:
            return show(None, gain)
        made = session.made
        shown = code_picture(made.codes, _CLICKED_SIDE) if event.target is grid else _clickable(made.picture)
        cell = cell_at((event.index[0], event.index[1]), shown.shape, made.codes.shape)
        with bench.turn:
            near = nearest_codes(bench, int(made.codes[cell]), _NEAREST)
            return show(replace(session, cell=cell, near=near), gain)

    def changed(session: _Session | None, code: int, gain: float) -> tuple[Any, ...]:
        if session is None or session.cell is None:
            raise UsageError("no cell is chosen", hint="click one of the codes")
        with bench.turn:
            return show(
                replace(session, made=with_code(bench, session.made, session.cell, code)),
                gain,
            )

    @told
    def by_number(session: _Session | None, code: float | None, gain: float) -> tuple[Any, ...]:
        if code is None:
            raise UsageError("no code is given", hint=f"type one from 0 to {last}")
        return changed(session, int(code), gain)

    @told
    def by_patch(session: _Session | None, gain: float, event: gr.SelectData) -> tuple[Any, ...]:
        return changed(session, session.near[event.index] if session else 0, gain)

    @told
    def undo(session: _Session | None, gain: float) -> tuple[Any, ...]:
        if session is None:
            return show(None, gain)
        with bench.turn:
            own = replace(session.made, codes=session.made.own, picture=session.made.own_picture)
            return show(replace(session, made=own), gain)

    @told
    def write(session: _Session | None) -> Any:
        if session is None:
            raise UsageError("there are no codes yet", hint="upload a photo")
        folder = Path(
            tempfile.mkdtemp(dir=os.environ.get("GRADIO_TEMP_DIR"))
        )  # which vanishes with the server
        return gr.File(
            [str(path) for path in save_codes(bench, session.made, folder, session.name)], visible=True
        )

    @told
    def amplify(session: _Session | None, gain: float) -> Any:
        return in_box(difference(session.made.original, session.made.picture, gain) if session else None)

    gr.on([photo.input, side.release], begin, [photo, side, gain], everything, **WITH_MODEL)
    for shown_grid in (grid, rebuilt):
        shown_grid.select(click, [state, gain], everything, **WITH_MODEL)
    gr.on([put.click, code.submit], by_number, [state, code, gain], everything, **WITH_MODEL)
    near.select(by_patch, [state, gain], everything, **WITH_MODEL)
    reset.click(undo, [state, gain], everything, **WITH_MODEL)
    gain.release(amplify, [state, gain], apart, **WITH_MODEL)
    keep.click(write, state, files, **WITH_MODEL)


def _clickable(picture: Picture) -> Picture:
    scale = -(-_CLICKED_SIDE // max(picture.shape[:2]))
    return picture.repeat(scale, 0).repeat(scale, 1)


def _about_cell(session: _Session, cell: tuple[int, int]) -> str:
    own, now = int(session.made.own[cell]), int(session.made.codes[cell])
    text = f"**Row {cell[0]}, column {cell[1]}: code {now}.**"
    return text if own == now else f"{text} Its own is {own}."


def _facts(bench: Workbench, made: Reconstruction) -> str:
    height, width = made.original.shape[:2]
    rows, columns = made.codes.shape
    error = float(np.square(made.original.astype(np.float64) - made.picture).mean())
    psnr = "no difference" if error == 0 else f"PSNR {10 * np.log10(255**2 / error):.1f} dB"
    replaced = int((made.codes != made.own).sum())
    return (
        f"{height}x{width} pixels, {rows}x{columns} codes (height x width), {len(np.unique(made.codes))} different "
        f"ones of {bench.tokenizer.codebook_size}. {psnr}." + (f" {replaced} replaced." if replaced else "")
    )


def _pair(bench: Workbench, made: Reconstruction, cell: tuple[int, int]) -> Picture:
    """A cell with those around it: in the photo, with the photo's own codes, and now."""
    box = cell_box(cell, bench.downsampling, made.codes.shape, 1)
    (own,) = patches(bench, made.codes, cell, [int(made.own[cell])])
    return contact_sheet(
        [zoomed(each, 192) for each in (made.original[box], own, made.picture[box])], 3, gap=8
    )
