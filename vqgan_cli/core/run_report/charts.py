"""Which curves belong into one chart, and what they mean."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vqgan_cli.core.run_report.curves import Curve

__all__ = ["GROUPS", "Chart", "Line", "chart_lines", "charts_of", "derived_curves"]

GROUPS = ("Quality", "Codebook", "Discriminator", "Optimisation and machine", "Other")
"""Headings, in order."""

_MAX_OTHERS = 24
"""Charts of curves that this module does not know."""


@dataclass(frozen=True)
class Line:
    """One curve of a chart.

    Attributes:
        name: in the log; a ``/`` at its end: all that begin so.
        label: in the legend.
        validation: measured on held-out images, so drawn with its points.
    """

    name: str
    label: str
    validation: bool = False


@dataclass(frozen=True)
class Chart:
    """Curves that are read together.

    Attributes:
        key: of its element in the page.
        group: of `GROUPS`.
        title: short.
        note: what it shows and how to read it.
        lines: those that are not in the log are left out, and so is a chart without any.
        unit: of the values.
        factor: by which logged values are multiplied, such as 100 for percent.
        log: whether it begins with a logarithmic axis; None: it has no switch for one.
    """

    key: str
    group: str
    title: str
    note: str
    lines: tuple[Line, ...]
    unit: str = ""
    factor: float = 1.0
    log: bool | None = False


def _pair(training: str, validation: str) -> tuple[Line, Line]:
    return Line(training, "training"), Line(validation, "validation", validation=True)


_WHILE = "While steps are made; validation, pictures and checkpoints are not counted."

_CHARTS = (
    Chart(
        "loss",
        "Quality",
        "Loss",
        "Training: all that is minimised, GAN and codebook included, so it may jump where the discriminator starts. "
        "Validation: reconstruction and perceptual distance only; its minimum is best.safetensors.",
        _pair("loss/total", "validation/loss"),
    ),
    Chart(
        "nll",
        "Quality",
        "Negative log-likelihood",
        "How surprising the next code is. Validation that rises while training falls is overfitting; its minimum is "
        "best.safetensors.",
        _pair("loss", "validation/loss"),
        "nats per code",
    ),
    Chart(
        "bits",
        "Quality",
        "Bits per pixel",
        "The same likelihood as bits for each pixel of the image: what the codes would take with ideal entropy coding. "
        "What the tokenizer loses is not counted.",
        _pair("bits_per_pixel", "validation/bits_per_pixel"),
    ),
    Chart(
        "accuracy",
        "Quality",
        "Accuracy",
        "How often the likeliest class, or the likeliest next code, is the right one.",
        _pair("accuracy", "validation/accuracy"),
        "%",
        100,
        None,
    ),
    Chart(
        "pixels",
        "Quality",
        "Reconstruction",
        "Distance of pixels between images and reconstructions, by the loss of the config in training, by L1 or the "
        "cross-entropy of label maps in validation. Lower is better.",
        (
            Line("loss/reconstruction", "training"),
            Line("validation/l1", "validation, L1", validation=True),
            Line("validation/cross_entropy", "validation, cross-entropy", validation=True),
        ),
    ),
    Chart(
        "perceptual",
        "Quality",
        "Perceptual distance",
        "Distance in the features of a pretrained network: blur costs more than in pixels. Lower is better.",
        _pair("loss/perceptual", "validation/perceptual"),
    ),
    Chart(
        "psnr",
        "Quality",
        "PSNR",
        "Peak signal-to-noise ratio of the reconstructions. Higher is better; 3 dB are half the squared error.",
        (Line("validation/psnr", "validation", validation=True),),
        "dB",
        log=None,
    ),
    Chart(
        "ssim",
        "Quality",
        "SSIM",
        "Structural similarity of the reconstructions, at most 1. Higher is better.",
        (Line("validation/ssim", "validation", validation=True),),
        log=None,
    ),
    Chart(
        "usage",
        "Codebook",
        "Codebook usage",
        "Codes used at all: in training since the last line of the log, in validation by all its images. A usage that "
        "falls is a codebook that collapses.",
        _pair("codebook/usage", "validation/codebook_usage"),
        "% of codes",
        100,
        None,
    ),
    Chart(
        "perplexity",
        "Codebook",
        "Perplexity",
        "How many codes are in effective use: the number of equally frequent ones with the same entropy.",
        _pair("codebook/perplexity", "validation/perplexity"),
        "codes",
    ),
    Chart(
        "codebook",
        "Codebook",
        "Codebook loss",
        "How far the encoder's vectors are from their codes, by parts. It rises at first, as the encoder spreads out, "
        "and should then stay level.",
        (Line("loss/codebook", "codebook loss"), Line("quantizer/", "")),
    ),
    Chart(
        "never",
        "Codebook",
        "Codes never used",
        "Codes that no validation image uses.",
        (Line("validation/codes_never_used", "validation", validation=True),),
        "codes",
        log=None,
    ),
    Chart(
        "gan",
        "Discriminator",
        "GAN losses",
        "Generator: the better it deceives, the lower. Discriminator: with the hinge loss 2 at chance, 0 where it "
        "tells all apart, and then the generator learns little.",
        (
            Line("loss/generator", "generator"),
            Line("loss/discriminator", "discriminator"),
            Line("loss/lecam", "LeCAM penalty"),
        ),
        log=None,
    ),
    Chart(
        "logits",
        "Discriminator",
        "Logits",
        "What the discriminator says of real images and of reconstructions. Two curves that part for good mean that it "
        "wins.",
        (Line("gan/logits_real", "real"), Line("gan/logits_fake", "fake")),
        log=None,
    ),
    Chart(
        "lambda",
        "Discriminator",
        "Adaptive weight λ",
        "By what the generator's loss is multiplied, so that its gradient at the last layer is as large as that of the "
        "reconstruction.",
        (Line("gan/lambda", "λ"),),
        log=True,
    ),
    Chart(
        "rate",
        "Optimisation and machine",
        "Learning rate",
        "Of the tokenizer or the transformer, with warm-up and schedule.",
        (Line("learning_rate", "learning rate"),),
    ),
    Chart(
        "gradient",
        "Optimisation and machine",
        "Gradient norm",
        "Before clipping. Spikes that return are a learning rate that is too high.",
        (Line("gradient_norm", "gradient norm"),),
    ),
    Chart(
        "skipped",
        "Optimisation and machine",
        "Updates refused",
        "In a row, because loss or gradient was not finite. Ten end the run.",
        (Line("skipped_in_a_row", "refused"),),
        "steps",
        log=None,
    ),
    Chart(
        "speed",
        "Optimisation and machine",
        "Speed",
        _WHILE,
        (Line("images_per_second", "images"),),
        "images per second",
        log=None,
    ),
    Chart(
        "code-speed",
        "Optimisation and machine",
        "Speed",
        _WHILE,
        (Line("codes_per_second", "codes"),),
        "codes per second",
        log=None,
    ),
    Chart(
        "memory",
        "Optimisation and machine",
        "Memory",
        "The most that was taken so far: on the GPU where one trains, else in RAM.",
        (Line("memory_gb", "peak"),),
        "GB",
        log=None,
    ),
)

_LOSS_OF_PRIOR = "loss"


def derived_curves(curves: Mapping[str, Curve], downsampling: int | None) -> dict[str, Curve]:
    """The curves with those that follow from them.

    Args:
        curves: of the log.
        downsampling: f of the tokenizer, pixels of image side per code; None where it is not known.
    """
    if downsampling is None or _LOSS_OF_PRIOR not in curves:
        return dict(curves)
    bits = curves[_LOSS_OF_PRIOR].times(1 / math.log(2) / downsampling**2)
    return {**curves, "bits_per_pixel": bits}


def charts_of(runs: Sequence[Mapping[str, Curve]]) -> list[Chart]:
    """The charts for what any of the runs has logged; what is not known here has one of its own, a bounded number."""
    names = list(dict.fromkeys(name for curves in runs for name in curves))
    charts = [chart for chart in _CHARTS if any(chart_lines(chart, curves) for curves in runs)]
    shown = {line.name for chart in charts for curves in runs for line in chart_lines(chart, curves)}
    others = [name for name in names if name not in shown][:_MAX_OTHERS]
    charts += [
        Chart(
            f"other-{number}",
            "Other",
            name,
            "",
            (Line(name, name, validation=name.startswith("validation/")),),
        )
        for number, name in enumerate(others)
    ]
    return sorted(charts, key=lambda chart: GROUPS.index(chart.group))


def chart_lines(chart: Chart, curves: Mapping[str, Curve]) -> list[Line]:
    """The lines of a chart that a run has."""
    # A tokenizer's validation loss is no likelihood, and the other way round.
    own = {"loss": "loss/total", "nll": _LOSS_OF_PRIOR}.get(chart.key)
    if own is not None and own not in curves:
        return []
    found = []
    for line in chart.lines:
        if line.name.endswith("/") and not chart.key.startswith("other"):
            rest = [name for name in curves if name.startswith(line.name)]
            found += [Line(name, name.removeprefix(line.name)) for name in rest[:8]]
        elif line.name in curves:
            found.append(line)
    return found
