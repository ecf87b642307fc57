"""Charts as places in a page and as the values that its script draws there."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from vqgan_cli.core.evaluation.figures import shown
from vqgan_cli.core.pages.document import data_block, document, package_text
from vqgan_cli.core.run_report.charts import Chart, Line, chart_lines, charts_of
from vqgan_cli.core.run_report.curves import Curve, thin
from vqgan_cli.core.run_report.reading import RunRecord

__all__ = ["charts_html", "run_page", "toolbar_html"]


def run_page(title: str, body: Sequence[str], data: dict[str, Any]) -> str:
    """A page with charts: style, data and scripts around its body."""
    own, vendor = __package__, f"{__package__}.vendor"
    return document(
        title,
        [*body, data_block("run-data", data)],
        styles=[package_text(vendor, "uPlot.min.css"), package_text(own, "page.css")],
        scripts=[
            # Its licence asks to go with every copy.
            f"/*\n{package_text(vendor, 'LICENSE').strip()}\n*/\n{package_text(vendor, 'uPlot.iife.min.js')}",
            package_text(own, "charts.js"),
            package_text(own, "page.js"),
        ],
    )


def toolbar_html(runs: Sequence[RunRecord], *, live: bool = False) -> str:
    """What acts on all charts of a page."""
    toggles = ""
    if len(runs) > 1:
        buttons = "".join(
            f'<button type="button" class="run" data-run="{number}" aria-pressed="true">'
            f'<span class="swatch c{number % 10}"></span>{html.escape(run.name)}</button>'
            for number, run in enumerate(runs)
        )
        toggles = f'<div class="runs" role="group" aria-label="Runs shown">{buttons}</div>'
    reload = '<label><input type="checkbox" id="reload"> reload every 30 s</label>' if live else ""
    return (
        '<div class="toolbar" role="group" aria-label="All charts">\n'
        '<label>smoothing <input type="range" id="smoothing" min="0" max="0.99" step="0.01" value="0"> '
        '<output id="smoothing-value" for="smoothing">none</output></label>\n'
        f'<button type="button" id="whole">whole run</button>\n{reload}{toggles}\n'
        '<span class="hint">Drag in a chart to see a part of the run in all of them; '
        "the arrow keys move the line of a focused chart.</span>\n</div>"
    )


def charts_html(runs: Sequence[RunRecord]) -> tuple[str, list[dict[str, Any]]]:
    """The charts of one run, or of several in common, under their headings; and the values for the script."""
    parts: list[str] = []
    data = []
    group = ""
    for chart in charts_of([run.curves for run in runs]):
        if chart.group != group:
            parts += ["</div>"] if group else []
            group = chart.group
            parts.append(f'<h3>{group}</h3>\n<div class="charts">')
        curves = [
            (number, line, run.curves[line.name].times(chart.factor))
            for number, run in enumerate(runs)
            for line in chart_lines(chart, run.curves)
        ]
        parts.append(_chart(chart, curves, runs))
        data.append(_values(chart, curves, runs))
    parts += ["</div>"] if group else ["<p>Nothing is logged yet.</p>"]
    return "\n".join(parts), data


def _chart(chart: Chart, curves: list[tuple[int, Line, Curve]], runs: Sequence[RunRecord]) -> str:
    unit = f' <span class="unit">{html.escape(chart.unit)}</span>' if chart.unit else ""
    switch = ""
    if chart.log is not None:
        switch = f'<button type="button" class="log" aria-pressed="{str(chart.log).lower()}">log</button>'
    note = f'<p class="note">{html.escape(chart.note)}</p>' if chart.note else ""
    odd = [_odd(label, curve) for label, curve in _labelled(curves, runs)]
    warning = "".join(f'<p class="odd">{html.escape(text)}</p>' for text in odd if text)
    return (
        f'<section class="chart" id="chart-{chart.key}">\n<div class="head"><h4>{html.escape(chart.title)}{unit}</h4>'
        f'<span class="at"></span>{switch}</div>\n<div class="plot"></div>\n<div class="legend"></div>\n'
        f"{warning}{note}\n</section>"
    )


def _values(chart: Chart, curves: list[tuple[int, Line, Curve]], runs: Sequence[RunRecord]) -> dict[str, Any]:
    drawn = [
        {"run": number, "label": label, "validation": line.validation, **thin(curve)}
        for (number, line, curve), (label, _) in zip(curves, _labelled(curves, runs), strict=True)
    ]
    said = [f"{label}: {_said(curve)}" for label, curve in _labelled(curves, runs)]
    alternative = f"{chart.title}{', ' + chart.unit if chart.unit else ''}. {'; '.join(said)}"
    return {
        "key": chart.key,
        "log": bool(chart.log),
        "unit": chart.unit,
        "text": alternative,
        "curves": drawn,
    }


def _labelled(curves: list[tuple[int, Line, Curve]], runs: Sequence[RunRecord]) -> list[tuple[str, Curve]]:
    """Curves with what the legend calls them: by run where there are several, and by what they are where need be."""
    if len(runs) == 1:
        return [(line.label, curve) for _, line, curve in curves]
    several = len({line.label for _, line, _ in curves}) > 1
    return [
        (f"{runs[number].name}, {line.label}" if several else runs[number].name, curve)
        for number, line, curve in curves
    ]


def _odd(label: str, curve: Curve) -> str:
    """What to know where values are no numbers."""
    if not curve.odd:
        return ""
    count = "1 value is" if curve.odd == 1 else f"{curve.odd:,} values are"
    return f"{label}: {count} not a finite number, at step {curve.odd_at[0]:,}{' and later' if curve.odd > 1 else ''}."


def _said(curve: Curve) -> str:
    """A curve for who does not see it."""
    least, greatest, last = curve.extreme(greatest=False), curve.extreme(greatest=True), curve.last_finite()
    if least is None or greatest is None or last is None:
        return "no finite value"
    step, value = last
    return (
        f"{shown(value)} at step {step:,}, least {shown(least[1])} at {least[0]:,}, "
        f"greatest {shown(greatest[1])} at {greatest[0]:,}"
    )
