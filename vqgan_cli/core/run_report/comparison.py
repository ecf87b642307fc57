"""Several runs in one page: their curves in common charts, their figures and settings side by side."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePath

from vqgan_cli.core.run_report.chart_html import charts_html, run_page, toolbar_html
from vqgan_cli.core.run_report.configuration import differing_keys
from vqgan_cli.core.run_report.page import duration, figures_of, progress_html
from vqgan_cli.core.run_report.reading import RunRecord
from vqgan_cli.core.run_report.state import state_html
from vqgan_cli.core.run_report.tables import table_html

__all__ = ["comparison"]


def comparison(runs: Sequence[RunRecord]) -> str:
    """The whole page, as HTML."""
    runs = _told_apart(runs)
    names = [run.name for run in runs]
    charts, values = charts_html(runs)
    steps = [curve.last()[0] for run in runs for curve in run.curves.values()]
    data = {"charts": values, "last": max(steps, default=1), "runs": names, "live": False}
    body = [
        f"<header>\n<h1>{len(runs)} runs compared</h1>\n{_runs(runs)}\n</header>",
        f'<section id="figures">\n<h2>Figures</h2>\n{_figures(runs)}\n</section>',
        f'<section id="curves">\n<h2>Curves</h2>\n{toolbar_html(runs)}\n{charts}\n</section>',
        _pictures(runs),
        f'<section id="config">\n<h2>Settings that differ</h2>\n{_settings(runs)}\n</section>',
    ]
    return run_page(f"{len(runs)} runs compared: {', '.join(names)}", body, data)


def _told_apart(runs: Sequence[RunRecord]) -> list[RunRecord]:
    """Runs in folders of one name get as much of the path before it as it takes."""
    paths = [PurePath(run.folder if run.folder.name else run.folder.resolve()).parts for run in runs]
    for depth in range(1, max(map(len, paths)) + 1):
        names = ["/".join(path[-depth:]) for path in paths]
        if len(set(names)) == len(names):
            break
    return [replace(run, label=name) for run, name in zip(runs, names, strict=True)]


def _runs(runs: Sequence[RunRecord]) -> str:
    rows = []
    for number, run in enumerate(runs):
        problems = "".join(f'<p class="reason warn">{html.escape(each)}</p>' for each in run.problems)
        preset = f"preset {run.config.name}" if run.config else "its config cannot be read"
        time = f" · {duration(run.seconds)}" if run.seconds is not None else ""
        rows.append(
            f'<li><span class="swatch c{number % 10}"></span><strong>{html.escape(run.name)}</strong> '
            f'{state_html(run)} <span class="facts">vqgan {run.stage}, '
            f"{html.escape(preset)} · {progress_html(run)}{time}</span>{problems}</li>"
        )
    return f'<ul class="compared">{"".join(rows)}</ul>'


def _figures(runs: Sequence[RunRecord]) -> str:
    """Newest values, and below each the best one of its run."""
    found = [{label: f"{last} (best {best})" for label, last, best in figures_of(run)} for run in runs]
    labels = list(dict.fromkeys(label for each in found for label in each))
    rows = [(label, *(each.get(label, "") for each in found)) for label in labels]
    if not rows:
        return "<p>No run has been validated yet.</p>"
    return table_html(("newest value, and the best at its step", *(run.name for run in runs)), rows)


def _settings(runs: Sequence[RunRecord]) -> str:
    differing = differing_keys([run.config for run in runs])
    if not differing:
        return "<p>None, as far as the configs can be read.</p>"
    rows = [(key, *values) for key, values in differing.items()]
    return table_html(("key", *(run.name for run in runs)), rows)


def _pictures(runs: Sequence[RunRecord]) -> str:
    figures = []
    for number, run in enumerate(runs):
        if not run.frames:
            continue
        frame = run.frames[-1]
        figures.append(
            f'<figure><img class="frame" {frame.size_on_screen} '
            f'alt="Newest picture of {html.escape(run.name)}, step {frame.step:,}." src="{frame.source}">'
            f'<figcaption><span class="swatch c{number % 10}"></span>{html.escape(run.name)}, '
            f"step {frame.step:,}</figcaption></figure>"
        )
    if not figures:
        return ""
    note = "Reduced or stored with loss where they were large; samples/ of each run has the originals."
    return (
        f'<section id="pictures">\n<h2>Newest pictures</h2>\n<p>{note}</p>\n'
        f'<div class="side-by-side">\n{"".join(figures)}\n</div>\n</section>'
    )
