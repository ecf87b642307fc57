"""Generate: new images, by class or of nothing but noise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from vqgan_cli.core.generation.request import Request
from vqgan_cli.core.interactive.commands import generate_command
from vqgan_cli.core.interactive.workbench import Workbench
from vqgan_cli.ui.components import DrawPanel, help_line
from vqgan_cli.ui.events import Jobs

__all__ = ["generate_tab"]

_ALL = -1


def generate_tab(bench: Workbench, jobs: Jobs) -> None:
    """Lay out the tab, here."""
    assert bench.transformer is not None
    f, (height, width) = bench.downsampling, bench.size
    inputs: list[Any] = []
    panel = DrawPanel(bench, jobs, "generate")
    help_line(
        "The transformer draws the codes of new images, one after the other, and the tokenizer makes pictures of them. "
        "The same seed draws the same images."
    )
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            if bench.classes:
                choices = [("all in turn", _ALL)]
                choices += [(f"{number}: {name}", number) for number, name in enumerate(bench.classes)]
                inputs.append(gr.Dropdown(choices, value=_ALL, label="Class", elem_id="generate-class"))
            whole = bench.transformer.prior.config.order != "row"
            most = [side if whole else max(4 * side, 1024 // f * f) for side in (height, width)]
            with gr.Row():
                for name, own, limit in zip(("Height", "Width"), (height, width), most, strict=True):
                    slider = gr.Slider(f, limit, own, step=f, label=name, elem_id=f"generate-{name.lower()}")
                    inputs.append(slider)
            if not whole:
                gr.Markdown(f"Beyond {height}x{width} (height x width) a window slides over the image.")
            panel.controls()
        with gr.Column(scale=3, min_width=320):
            panel.outputs()
            command = gr.Code(
                "",
                language="shell",
                label="The same images on the command line",
                interactive=False,
                wrap_lines=True,
                lines=1,
                max_lines=4,
            )

    def ask(_: Path, *values: Any) -> tuple[Request, int | None]:
        *label, height, width = (int(value) for value in values)
        asked = Request(size=(height, width))
        return asked, label[0] if label and label[0] != _ALL else None

    panel.connect(ask, inputs, command, lambda asked, label: generate_command(bench, asked, label))
