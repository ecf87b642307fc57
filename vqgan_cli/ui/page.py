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
.vqgan-box img, .vqgan-pixels .thumbnail-item img { object-fit: contain !important; width: 100%; }
.vqgan-pixels .grid-container { grid-template-columns: repeat(auto-fill, minmax(min(150px, 45%), 1fr)); }
#reconstruct-near .grid-container { grid-template-columns: repeat(auto-fit, minmax(64px, 1fr)); }
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
        with gr.Tabs():
            for tool, layout in tabs.items():
                if tool not in missing:
                    with gr.Tab(tool.capitalize(), id=tool):
                        layout()
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
