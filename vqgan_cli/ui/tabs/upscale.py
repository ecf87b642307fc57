"""Upscale: a small picture, enlarged, beside what enlarging alone makes of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import gradio as gr

from vqgan_cli.core.errors import StoppedError, UsageError
from vqgan_cli.core.generation.request import Request
from vqgan_cli.core.interactive.enlarging import enlarge_by_model, made_small
from vqgan_cli.core.interactive.maps import map_kind
from vqgan_cli.core.interactive.workbench import Workbench, read_photo
from vqgan_cli.ui.components import help_line, photo_box, temperature_slider, top_k_slider
from vqgan_cli.ui.events import AT_ONCE, WITH_MODEL, Jobs, told

__all__ = ["upscale_tab"]

_AS_IT_IS, _MADE_SMALL = "as it is", "made small first"


def upscale_tab(bench: Workbench, jobs: Jobs) -> None:
    """Lay out the tab, here."""
    own = bench.info.config.sampling
    factor = map_kind(bench).config.lowres_factor
    help_line(
        f"A small picture becomes {factor} times as wide and high: the model draws the detail that it lacks. To try it "
        "with a large photo, have that made small first."
    )
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            photo = photo_box("Small picture", elem_id="upscale-photo")
            how = gr.Radio([_AS_IT_IS, _MADE_SMALL], value=_AS_IT_IS, label="Take it")
            consistent = gr.Checkbox(True, label="Consistent: made small again, it is the picture given")
            temperature = temperature_slider(own.temperature)
            top_k = top_k_slider(own.top_k, bench.tokenizer.codebook_size)
            seed = gr.Number(0, precision=0, minimum=0, label="Seed")
            with gr.Row():
                enlarge = gr.Button(f"Enlarge {factor} times", variant="primary", elem_id="upscale-draw")
                halt = gr.Button("Stop")
        with gr.Column(scale=3, min_width=320):
            status = gr.Markdown("", elem_id="upscale-status")
            slider = gr.ImageSlider(
                label="Bicubic on the left, the model on the right",
                format="png",
                interactive=False,
                buttons=["download", "fullscreen"],
                elem_id="upscale-slider",
                elem_classes=["vqgan-pixels"],
            )

    @told
    def work(request: gr.Request, *values: Any) -> Iterator[tuple[Any, Any]]:
        path, how, consistent, temperature, top_k, seed = values
        stop = jobs.begin(request, "upscale")
        if path is None:
            raise UsageError("there is no picture yet", hint="upload one")
        small = read_photo(bench, path)
        if how == _MADE_SMALL:
            small = made_small(bench, small)
        asked = Request(
            temperature=float(temperature), top_k=int(top_k), seed=int(seed or 0), max_batch=bench.max_batch
        )
        try:
            for view in enlarge_by_model(bench, small, asked, stop, consistent=consistent):
                if view.picture is None:
                    yield f"{view.done} of {view.total} codes ({view.done / view.total:.0%})", gr.skip()
                else:
                    height, width = view.picture.shape[:2]
                    given = f"{small.shape[0]}x{small.shape[1]}"
                    faithful = (
                        "exactly" if math.isinf(view.consistency) else f"up to {view.consistency:.1f} dB"
                    )
                    text = f"{given} to {height}x{width} (height x width); made small again, it is the picture given"
                    yield f"{text} {faithful}.", (view.bicubic, view.picture)
        except StoppedError:
            yield "Stopped.", gr.skip()

    def asked(request: gr.Request) -> str:
        jobs.asked(request, "upscale")
        return "Waiting for the model."

    def stopped(request: gr.Request) -> None:
        jobs.stop(request, "upscale")

    enlarging = enlarge.click(asked, None, status, **AT_ONCE).then(
        work, [photo, how, consistent, temperature, top_k, seed], [status, slider], **WITH_MODEL
    )
    enlarging.failure(lambda: "Nothing was drawn.", None, status, **AT_ONCE)
    halt.click(stopped, None, None, **AT_ONCE)
