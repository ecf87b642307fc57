"""The report of one run."""

from __future__ import annotations

import html
from datetime import UTC, datetime

from vqgan_cli.core.evaluation.figures import shown
from vqgan_cli.core.run_report.chart_html import charts_html, run_page, toolbar_html
from vqgan_cli.core.run_report.codebook import codebook_html
from vqgan_cli.core.run_report.commands import next_commands
from vqgan_cli.core.run_report.configuration import config_html
from vqgan_cli.core.run_report.reading import RunRecord
from vqgan_cli.core.run_report.state import reason_html, state_html
from vqgan_cli.core.run_report.tables import table_html

__all__ = ["duration", "figures_of", "page", "progress_html"]

_SHARES = ("validation/accuracy", "validation/codebook_usage")
"""Figures from 0 to 1 that people read in percent."""

_FIGURES = {
    "validation/psnr": ("PSNR", "dB", True),
    "validation/ssim": ("SSIM", "", True),
    "validation/l1": ("L1", "", False),
    "validation/cross_entropy": ("cross-entropy", "nats per pixel", False),
    "validation/perceptual": ("perceptual distance", "", False),
    "validation/loss": ("validation loss", "", False),
    "validation/bits_per_pixel": ("bits per pixel", "", False),
    "validation/accuracy": ("accuracy", "%", True),
    "validation/codebook_usage": ("codebook usage", "%", True),
    "validation/perplexity": ("perplexity", "codes", True),
    "loss/total": ("training loss", "", False),
    "loss": ("training loss", "nats per code", False),
}
"""The figures by which a run is judged: name in the log, name for people, unit, whether more is better."""


def page(run: RunRecord) -> str:
    """The whole page, as HTML."""
    charts, values = charts_html([run])
    live = run.state in ("starting", "running")
    data: dict[str, object] = {"charts": values, "last": _last_step(run), "runs": [run.name], "live": live}
    body = [_header(run), _figures(run), _pictures(run)]
    body.append(
        f'<section id="curves">\n<h2>Curves</h2>\n{toolbar_html([run], live=live)}\n{charts}\n</section>'
    )
    if run.counts is not None:
        codebook, data["codebook"] = codebook_html(run.counts)
        body.append(codebook)
    body += [_next(run), _config(run), _environment(run), _all_figures(run)]
    kind = "transformer" if run.stage == "train-transformer" else "tokenizer"
    return run_page(f"{run.name}: a {kind} in training" if live else f"{run.name}: a {kind}", body, data)


def duration(seconds: float) -> str:
    """``2 d 3 h``, ``1 h 5 min``, ``3 min 20 s`` or ``12 s``."""
    total = max(0, round(seconds))
    for size, unit, smaller, small_unit in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if total >= size:
            rest = total % size // smaller
            return f"{total // size} {unit}" + (f" {rest} {small_unit}" if rest else "")
    return f"{total} s"


def figures_of(run: RunRecord) -> list[tuple[str, str, str]]:
    """The figures that a run is judged by: name with its unit, newest value, and the best one with its step."""
    found = []
    for key, (name, unit, greatest) in _FIGURES.items():
        curve = run.curves.get(key)
        if curve is None:
            continue
        curve = curve.times(100) if key in _SHARES else curve
        best = curve.extreme(greatest=greatest)
        if best is None:
            continue
        if key == "validation/loss" and "loss" in run.curves:
            unit = "nats per code"  # a likelihood, unlike that of a tokenizer
        label = f"{name} ({unit})" if unit else name
        found.append((label, shown(curve.last()[1]), f"{shown(best[1])} at {best[0]:,}"))
    return found


def progress_html(run: RunRecord) -> str:
    """How far a run is, as a bar with words."""
    steps = run.steps or run.step
    return (
        f'<progress max="{max(1, steps)}" value="{min(run.step, max(1, steps))}" aria-label="Steps done"></progress> '
        f"step {run.step:,}" + (f" of {run.steps:,}" if run.steps else "")
    )


def _last_step(run: RunRecord) -> int:
    return max((curve.last()[0] for curve in run.curves.values()), default=1)


def _header(run: RunRecord) -> str:
    facts = [progress_html(run)]
    if run.seconds is not None:
        facts.append(f"{duration(run.seconds)} of training")
    live = run.state in ("starting", "running")
    if live and run.seconds_per_step and run.steps and run.steps > run.step:
        facts.append(f"about {duration((run.steps - run.step) * run.seconds_per_step)} left")
    now = datetime.now(UTC)
    facts.append(
        f'written <time datetime="{now.isoformat(timespec="seconds")}">{now:%Y-%m-%d %H:%M} UTC</time>'
        '<span id="age"></span>'
    )
    lines = [f"<header>\n<h1>{html.escape(run.name)} {state_html(run)}</h1>"]
    lines.append(f"<p>{html.escape(_what(run))}</p>")
    lines.append(f'<p class="facts">{" · ".join(facts)}</p>')
    lines += [reason] if (reason := reason_html(run)) else []
    lines += [f'<p class="reason warn">{html.escape(problem)}</p>' for problem in run.problems]
    return "\n".join([*lines, "</header>"])


def _what(run: RunRecord) -> str:
    """What is trained on what, in a sentence."""
    config = run.config
    if config is None:
        return f"A run of vqgan {run.stage}; its config cannot be read."
    side, f = config.data.size, config.tokenizer.downsampling
    grid = f"{side // f} x {side // f} codes of {config.tokenizer.codebook_size:,}"
    data = config.data.source or config.train_transformer.codes or "images"
    if run.stage == "train-transformer":
        condition = {"none": "unconditional", "class": "by class"}.get(
            config.condition.kind, f"by {config.condition.kind}"
        )
        prior = config.transformer
        return (
            f"A {prior.kind} transformer, {prior.layers} layers of width {prior.width}, {condition}, over {grid} "
            f"for each {side} x {side} image. Preset {config.name}, data {data}."
        )
    kind = "" if config.data.kind == "image" else f" of {config.data.kind} maps"
    return (
        f"A tokenizer{kind}: {side} x {side} pixels become {grid} (f = {f}, {config.tokenizer.quantizer.kind}). "
        f"Preset {config.name}, data {data}."
    )


def _figures(run: RunRecord) -> str:
    tiles = [
        f"<div><dt>{html.escape(label)}</dt><dd>{html.escape(last)}</dd>"
        f'<dd class="best">best {html.escape(best)}</dd></div>'
        for label, last, best in figures_of(run)
    ]
    return f'<dl class="tiles" aria-label="Newest figures">\n{"".join(tiles)}\n</dl>' if tiles else ""


def _pictures(run: RunRecord) -> str:
    if not run.frames:
        return ""
    what = (
        "Drawn by the model, from the same random numbers each time."
        if run.stage == "train-transformer"
        else "Validation images above their reconstructions."
    )
    notes = [what]
    if run.pictures > len(run.frames):
        notes.append(f"{len(run.frames)} of {run.pictures} pictures, spread over the run.")
    if any(frame.reduced for frame in run.frames):
        notes.append("Reduced or stored with loss to keep this page small; samples/ has the originals.")
    last = len(run.frames) - 1
    frames = "\n".join(
        f'<img class="frame" data-step="{frame.step}" {frame.size_on_screen} '
        f'alt="{html.escape(what)} Step {frame.step:,}." src="{frame.source}"{"" if index == last else " hidden"}>'
        for index, frame in enumerate(run.frames)
    )
    return (
        f'<section id="pictures">\n<h2>Pictures over time</h2>\n<p>{html.escape(" ".join(notes))}</p>\n'
        '<div class="toolbar"><button type="button" id="play" aria-pressed="false">play</button>'
        f'<input type="range" id="frame" min="0" max="{last}" value="{last}" step="1" aria-label="Picture">'
        f'<output id="frame-step" for="frame">step {run.frames[-1].step:,}</output></div>\n'
        f'<div id="frames" tabindex="0" role="group" aria-label="Pictures over time, arrow keys go back and on">\n'
        f"{frames}\n</div>\n</section>"
    )


def _next(run: RunRecord) -> str:
    rows = "".join(
        f"<dt>{html.escape(what)}</dt><dd><code>{html.escape(command)}</code>"
        '<button type="button" class="copy">copy</button></dd>'
        for what, command in next_commands(run.folder, run.stage, run.state, run.config, run.steps)
    )
    return (
        '<section id="next">\n<h2>How to go on</h2>\n'
        f'<p>From the folder where the run was started.</p>\n<dl class="commands">{rows}</dl>\n</section>'
    )


def _config(run: RunRecord) -> str:
    content = config_html(run.config) if run.config is not None else "<p>It cannot be read.</p>"
    return f'<section id="config">\n<h2>Config</h2>\n{content}\n</section>'


def _environment(run: RunRecord) -> str:
    if not run.sessions:
        return '<section id="environment">\n<h2>Environment</h2>\n<p>Not recorded.</p>\n</section>'
    newest = run.sessions[-1]
    versions = [(name, version or "not installed") for name, version in newest.versions.items()]
    rows = [("commit", newest.commit)] if newest.commit else []
    sessions = table_html(
        ("began (UTC)", "from step", "device", "processes", "precision", "vqgan"),
        [
            (
                each.time[:16].replace("T", " "),
                f"{each.start:,}",
                each.device,
                str(each.processes),
                each.precision,
                str(each.versions.get("vqgan")),
            )
            for each in run.sessions
        ],
    )
    return (
        f'<section id="environment">\n<h2>Environment</h2>\n{sessions}\n<details><summary>versions</summary>\n'
        f"{table_html(('package', 'version'), [*rows, *versions])}\n</details>\n</section>"
    )


def _all_figures(run: RunRecord) -> str:
    rows = []
    for name, curve in run.curves.items():
        least, greatest = curve.extreme(greatest=False), curve.extreme(greatest=True)
        step, value = curve.last()
        cells = [f"{shown(each[1])} at {each[0]:,}" if each else "none" for each in (least, greatest)]
        rows.append((name, shown(value), f"{step:,}", *cells))
    if not rows:
        return ""
    table = table_html(("name in log.jsonl", "newest", "at step", "least", "greatest"), rows)
    return (
        '<section id="figures">\n<h2>All figures</h2>\n<details><summary>newest, least and greatest values'
        f"</summary>\n{table}\n</details>\n</section>"
    )
