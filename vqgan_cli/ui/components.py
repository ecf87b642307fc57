"""What several tabs have: uploads, controls of sampling, and the images that come out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import numpy.typing as npt

from vqgan_cli.core.errors import StoppedError
from vqgan_cli.core.generation.request import Request
from vqgan_cli.core.interactive.drawing import View, draw
from vqgan_cli.core.interactive.workbench import Workbench
from vqgan_cli.ui.events import AT_ONCE, WITH_MODEL, Jobs, scratch, told

__all__ = [
    "DrawPanel",
    "help_line",
    "in_box",
    "photo_box",
    "picture_box",
    "side_slider",
    "temperature_slider",
    "top_k_slider",
    "zoomed",
]

MAX_IMAGES = 16
_ENLARGED = 300
"""Pixels of the longer side up to which a picture is shown with each pixel as a square; larger are made smaller."""

_BOX = ["vqgan-box"]
_DRAWN = ["vqgan-gallery", "vqgan-drawn"]

Picture = npt.NDArray[np.uint8]
Ask = Callable[..., tuple[Request, int | None]]


def help_line(text: str) -> None:
    """What a tab is for, and what to do first, at its top."""
    gr.Markdown(text, elem_classes=["vqgan-help"])


def photo_box(label: str, **options: Any) -> gr.Image:
    """Where a photo is uploaded or pasted. It is passed on as the file that it is: reading it, and saying why that is
    impossible, is ours.
    """
    box = gr.Image(
        label=label,
        type="filepath",
        sources=["upload", "clipboard"],
        buttons=[],
        height=220,
        elem_classes=_BOX,
        **options,
    )
    # Not in a subclass: gradio would write a file of types beside the module.
    box.preprocess = lambda payload: None if payload is None else payload.path  # type: ignore[method-assign]
    return box


def picture_box(label: str, *, height: int = 300, **options: Any) -> gr.Image:
    """A picture that is shown, without loss, as large as the box; see `in_box`."""
    return gr.Image(
        label=label,
        height=height,
        format="png",
        interactive=False,
        buttons=["download", "fullscreen"],
        elem_classes=_BOX,
        **options,
    )


def in_box(picture: Picture | None) -> Any:
    """What shows a picture in a `picture_box`: a small one with each pixel as a square."""
    return None if picture is None else gr.Image(picture, elem_classes=[*_BOX, *_as_squares(picture)])


def _as_squares(picture: Picture) -> list[str]:
    return ["vqgan-pixels"] if max(picture.shape[:2]) <= _ENLARGED else []


def side_slider(bench: Workbench, label: str, least: int | None = None) -> gr.Slider:
    """Pixels of the shorter side, from the training's to several times as many."""
    f, own = bench.downsampling, min(bench.size)
    return gr.Slider(
        least or f, max(4 * own, 512 // f * f), own, step=f, label=label, info="Shorter side, in pixels"
    )


def temperature_slider(own: float) -> gr.Slider:
    """By how much the likelier codes are preferred."""
    return gr.Slider(0, 2, own, step=0.05, label="Temperature", info="0: the likeliest")


def top_k_slider(own: int, codes: int) -> gr.Slider:
    """Of how many codes one is drawn."""
    return gr.Slider(0, codes, min(own, codes), step=1, label="Top-k", info="0: all codes")


def zoomed(picture: Picture, side: int) -> Picture:
    """A small picture with each pixel as a square, its longer side at most ``side`` pixels."""
    scale = max(1, side // max(picture.shape[:2]))
    return picture.repeat(scale, 0).repeat(scale, 1)


class DrawPanel:
    """Controls of sampling on one side, images while they are drawn on the other.

    Args:
        bench: with a transformer.
        jobs: whose stop buttons it uses.
        tool: of ``TOOLS``.
    """

    def __init__(self, bench: Workbench, jobs: Jobs, tool: str) -> None:
        self._bench, self._jobs, self._tool = bench, jobs, tool
        self._controls: dict[str, Any] = {}

    def controls(self, *, images: int = 4) -> None:
        """Lay out the controls, here."""
        assert self._bench.transformer is not None
        prior = self._bench.transformer.prior
        own = self._bench.info.config.sampling
        self._add("images", gr.Slider(1, MAX_IMAGES, images, step=1, label="Images"))
        with gr.Row():
            self._add("seed", gr.Number(0, precision=0, minimum=0, label="Seed", min_width=100))
            another = gr.Button("Another seed", size="md", min_width=140, elem_classes=["vqgan-beside"])
        another.click(
            None, outputs=self._controls["seed"], js="() => Math.floor(Math.random() * 2 ** 31)", **AT_ONCE
        )
        with gr.Row():
            self._draw = gr.Button("Draw", variant="primary", elem_id=f"{self._tool}-draw")
            self._stop = gr.Button("Stop", elem_id=f"{self._tool}-stop")
        with gr.Accordion("Sampling", open=True):
            with gr.Row():
                self._add("temperature", temperature_slider(own.temperature))
                self._add("top_k", top_k_slider(own.top_k, prior.spec.codebook_size))
            with gr.Row():
                self._add(
                    "top_p", gr.Slider(0.01, 1, own.top_p, step=0.01, label="Top-p", info="1: all codes")
                )
                if prior.spec.null_condition:
                    self._add(
                        "guidance",
                        gr.Slider(0, 10, own.guidance, step=0.1, label="Guidance", info="1: none"),
                    )
            if prior.config.order == "row":
                widest = prior.spec.grid[1] - prior.spec.grid[1] // 2
                self._add(
                    "stride",
                    gr.Slider(
                        1,
                        max(2, widest),
                        1,
                        step=1,
                        label="Stride",
                        info="Beyond the training size: cells that the window moves at a time; 1 is exact",
                    ),
                )

    def outputs(self) -> None:
        """Lay out what comes out, here."""
        self._status = gr.Markdown("", elem_id=f"{self._tool}-status")
        self._gallery = gr.Gallery(
            label="Images",
            format="png",
            interactive=False,
            buttons=["download", "fullscreen"],
            elem_id=f"{self._tool}-images",
            elem_classes=_DRAWN,
        )
        self._clicked = self._draw.click(self._asked, None, self._status, **AT_ONCE)
        self._stop.click(self._stopped, None, None, **AT_ONCE)

    def connect(
        self,
        ask: Ask,
        inputs: list[Any],
        more: Any | None = None,
        after: Callable[[Request, int | None], Any] | None = None,
    ) -> None:
        """Draw where the button is clicked.

        Args:
            ask: given a folder for files and the values of ``inputs``; says what to draw, and of which class.
            inputs: components of the tab.
            more: one more component that shows what ``after`` makes.
            after: given what was drawn and the class.
        """
        names = list(self._controls)

        @told
        def work(request: gr.Request, *values: Any) -> Iterator[tuple[Any, ...]]:
            stop = self._jobs.begin(request, self._tool)
            own, controls = values[: len(inputs)], dict(zip(names, values[len(inputs) :], strict=True))
            with scratch() as folder:
                asked, label = ask(Path(folder), *own)
                asked = replace(asked, max_batch=self._bench.max_batch, **_numbers(controls))
                last = (after(asked, label),) if after is not None else ()
                try:
                    for view in draw(self._bench, asked, label, stop):
                        yield (_status(view), _shown(view), *last)
                except StoppedError:
                    yield ("Stopped.", gr.skip(), *(gr.skip() for _ in last))

        outputs = [self._status, self._gallery, *([more] if more is not None else [])]
        drawing = self._clicked.then(work, [*inputs, *self._controls.values()], outputs, **WITH_MODEL)
        drawing.failure(lambda: "Nothing was drawn.", None, self._status, **AT_ONCE)

    def drawn(self, look: Callable[..., Any], inputs: list[Any], output: Any) -> None:
        """Show something of the inputs as well, whenever something is drawn."""
        self._clicked.then(look, inputs, output, **WITH_MODEL)

    def _asked(self, request: gr.Request) -> str:
        self._jobs.asked(request, self._tool)
        return "Waiting for the model."

    def _stopped(self, request: gr.Request) -> None:
        self._jobs.stop(request, self._tool)

    def _add(self, name: str, component: Any) -> None:
        self._controls[name] = component


def _numbers(controls: dict[str, Any]) -> dict[str, Any]:
    whole = {
        name: int(controls[name] or 0) for name in ("images", "seed", "top_k", "stride") if name in controls
    }
    rest: dict[str, Any] = {name: float(value) for name, value in controls.items() if name not in whole}
    return rest | whole


def _status(view: View) -> str:
    if view.finished:
        count = len(view.pictures)
        height, width = view.pictures[0].shape[:2]
        return f"{count} image{'s' if count > 1 else ''} of {height}x{width} (height x width)."
    return f"{view.done} of {view.total} codes ({view.done / view.total:.0%})"


def _shown(view: View) -> gr.Gallery:
    named = any(view.names)
    images = list(zip(view.pictures, view.names, strict=True)) if named else list(view.pictures)
    return gr.Gallery(images, elem_classes=[*_DRAWN, *_as_squares(view.pictures[0])])
