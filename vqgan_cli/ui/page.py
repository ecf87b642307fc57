"""The page: what the model is, a tab per tool that it has, and why it has no others."""

from __future__ import annotations

import html
from collections.abc import Callable

import gradio as gr

from vqgan_cli.core.interactive.workbench import TOOLS, Workbench
from vqgan_cli.ui.events import Jobs
from vqgan_cli.ui.tabs.complete import complete_tab
from vqgan_cli.ui.tabs.condition import condition_tab
from vqgan_cli.ui.tabs.generate import generate_tab
from vqgan_cli.ui.tabs.reconstruct import reconstruct_tab
from vqgan_cli.ui.tabs.upscale import upscale_tab

__all__ = ["CSS", "THEME", "build_page"]

THEME = gr.themes.Default(
    primary_hue="blue",
    neutral_hue="slate",
    font=("system-ui", "sans-serif"),
    font_mono=("ui-monospace", "monospace"),
)

CSS = """
.vqgan-pixels img { image-rendering: pixelated; }
.vqgan-box .image-frame, .vqgan-box .image-frame img { width: 100% !important; height: 100% !important; }
.vqgan-box img { object-fit: contain !important; }
/* Below their labels. */
.vqgan-box .image-container:not(:fullscreen), .vqgan-gallery .grid-wrap { box-sizing: border-box; padding-top: 32px; }
/* As high as its pictures, and they as wide as they can be; room to look at one of them. */
.vqgan-gallery .grid-wrap { min-height: 0 !important; max-height: none !important; }
.vqgan-gallery:has(.preview) .grid-wrap { min-height: 480px !important; }
.vqgan-gallery .grid-container { grid-auto-rows: auto; grid-template: none / repeat(4, minmax(0, 1fr)); }
.vqgan-gallery .thumbnail-item { aspect-ratio: auto; }
.vqgan-gallery .thumbnail-item > img { height: auto; max-height: 60vh; object-fit: contain; }
.vqgan-drawn .grid-container { grid-template-columns: repeat(2, minmax(0, 1fr)); }
@media (width >= 640px) {
  .vqgan-drawn .grid-container:has(> :nth-child(5)) { grid-template-columns: repeat(3, minmax(0, 1fr)); }
  .vqgan-drawn .grid-container:has(> :nth-child(10)) { grid-template-columns: repeat(4, minmax(0, 1fr)); }
}
.vqgan-drawn .grid-container:not(:has(> :nth-child(2))) { grid-template-columns: minmax(0, 1fr); }
.vqgan-beside { align-self: end; flex-grow: 0; }
@media (width < 640px) {
  .vqgan-box { height: 210px !important; }
  #complete-editor { height: 440px !important; }
}
.vqgan-legend { display: flex; flex-wrap: wrap; gap: 4px 12px; max-height: 9em; overflow-y: auto; }
.vqgan-label { display: inline-flex; align-items: center; gap: 5px; font-size: 0.85em; }
.vqgan-label i { width: 1em; height: 1em; border-radius: 3px; border: 1px solid #8888; }
"""


def build_page(bench: Workbench, jobs: Jobs) -> gr.Blocks:
    """The page of a model.

    Args:
        bench: the model.
        jobs: whose stop buttons the page uses.
    """
    tabs: dict[str, Callable[[], None]] = {
        "reconstruct": lambda: reconstruct_tab(bench),
        "generate": lambda: generate_tab(bench, jobs),
        "condition": lambda: condition_tab(bench, jobs),
        "complete": lambda: complete_tab(bench, jobs),
        "upscale": lambda: upscale_tab(bench, jobs),
    }
    missing = {tool: reason for tool in TOOLS if (reason := bench.missing(tool))}
    with gr.Blocks(analytics_enabled=False, title="vqgan", fill_width=True) as page:
        gr.HTML(_head(bench))
        with gr.Tabs(overflow_behavior="wrap"):
            for tool in TOOLS:
                if tool not in missing:
                    with gr.Tab(tool.capitalize(), id=tool):
                        tabs[tool]()
        if bench.transformer is None:
            gr.Markdown(
                "This model is a tokenizer alone. Generate, Condition, Complete and Upscale take a transformer, which "
                "draws its codes: `vqgan train-transformer --ae MODEL` trains one.",
                elem_id="missing",
            )
        elif missing:
            lines = [f"- **{tool.capitalize()}**: {reason}" for tool, reason in missing.items()]
            gr.Markdown("\n".join(["Not with this model:", "", *lines]), elem_id="missing")
        page.unload(jobs.leave)
    return page


def _head(bench: Workbench) -> str:
    height, width = bench.size
    facts = [
        f"{height}x{width} pixels",
        f"f {bench.downsampling}",
        f"{bench.tokenizer.codebook_size:,} codes",
        f"on {bench.device}, {bench.precision}",
    ]
    if bench.transformer is None:
        facts.insert(0, "tokenizer")
    elif bench.kind == "class":
        facts.insert(0, f"by class ({len(bench.classes)})")
    else:
        facts.insert(0, "without condition" if bench.kind == "none" else f"by {bench.kind}")
    name = html.escape(str(bench.info.path))
    return f"<h2>vqgan</h2><p><code>{name}</code><br>{html.escape(', '.join(facts))}</p>"
