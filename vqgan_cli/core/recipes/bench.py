"""``vqgan bench``: this package against the straightforward way and the hardware's limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vqgan_cli.core.bench.limits import Limits, measure_limits
from vqgan_cli.core.bench.settings import BenchSettings
from vqgan_cli.core.bench.subject import Subject, subject_of_model, subject_of_preset
from vqgan_cli.core.bench.work import Result, measure
from vqgan_cli.core.bench.works import WORKS
from vqgan_cli.core.device import described, resolve_device
from vqgan_cli.core.errors import UsageError
from vqgan_cli.core.files import require_writable_folder, write_text
from vqgan_cli.core.memory import memory_errors
from vqgan_cli.core.plots import Dots, plot
from vqgan_cli.core.presets import resolve
from vqgan_cli.core.processes import in_one_process
from vqgan_cli.core.reporting import Reporter
from vqgan_cli.core.sampling.preparing import require_precision

__all__ = ["BenchOptions", "BenchResult", "bench"]


@dataclass(frozen=True)
class BenchOptions:
    """What to measure.

    Attributes:
        works: names in `WORKS`, in order.
        everything: whether they are all there are: then those that need a transformer are left out for a tokenizer.
        settings: how the works are done.
        preset: architecture with random weights; unless ``model``.
        overrides: ``section.key=value`` for the preset.
        model: a model file or run folder.
        device: see `resolve_device`.
        precision: of our side: ``fp32``, ``bf16``, ``fp16``, or for works that draw ``int8``.
        rounds: calls of each way that are timed.
        plot: an SVG file to write; None: none.
    """

    works: Sequence[str]
    everything: bool
    settings: BenchSettings
    preset: str = "demo"
    overrides: Sequence[str] = ()
    model: Path | None = None
    device: str = "auto"
    precision: str = "fp32"
    rounds: int = 5
    plot: Path | None = None


@dataclass(frozen=True)
class BenchResult:
    """What was measured.

    Attributes:
        subject: model or preset, in words.
        device: in words.
        precision: of our side.
        limits: of the device.
        results: one for each row.
    """

    subject: str
    device: str
    precision: str
    limits: Limits
    results: list[Result]

    @property
    def json(self) -> dict[str, Any]:
        """Everything as plain values."""
        rows = [asdict(result) | {"ratio": result.ratio} for result in self.results]
        facts = {"subject": self.subject, "device": self.device, "precision": self.precision}
        limits = {"flops_per_second": self.limits.flops, "bytes_per_second": self.limits.bandwidth}
        return facts | {"limits": limits, "results": rows}


@in_one_process
def bench(options: BenchOptions, reporter: Reporter) -> BenchResult:
    """Measure one work after the other.

    Raises:
        UsageError: the model has no transformer, and a work needs one.
        VqganError: see `vqgan_cli.core.errors`.
    """
    device = resolve_device(options.device)
    require_precision(device, options.precision)
    if options.plot is not None:
        require_writable_folder(options.plot.parent)
    if options.model is not None:
        subject = subject_of_model(options.model, device, options.precision)
    else:
        config = resolve(options.preset, overrides=options.overrides)
        subject = subject_of_preset(config, device, options.precision)
    _require_pictures(subject)
    kinds = []
    for name in options.works:
        draws = WORKS[name].draws
        if draws and subject.prior is None and options.everything:
            reporter.info(f"{name} is left out: {subject.name} has no transformer")
            continue
        if options.precision == "int8" and not draws:
            if not options.everything:
                raise UsageError(
                    f"precision int8 is of drawing, not of {name}", hint="measure sample or window"
                )
            reporter.info(f"{name} is left out: precision int8 is of drawing")
            continue
        if draws:
            subject.require_prior()
        WORKS[name].check(subject, options.settings)
        kinds.append(WORKS[name])
    limits = measure_limits(device, options.precision)

    def best_limits() -> Limits:
        # Measured after each work again: whatever else the machine did before may have been in the way.
        nonlocal limits
        limits = limits.best(measure_limits(device, options.precision))
        return limits

    results: list[Result] = []
    with memory_errors(f"on {device}", "a smaller --batch-size, or --precision bf16"):
        for kind in kinds:
            rows = kind.works(subject, options.settings)
            while (work := next(rows, None)) is not None:
                results.append(measure(work, options.rounds, best_limits, device, reporter))
                del work  # before the next is built, as both may be large
    done = BenchResult(subject.name, described(device), options.precision, limits, results)
    if options.plot is not None:
        write_text(options.plot, _drawn(done))
    return done


def _require_pictures(subject: Subject) -> None:
    if subject.config.data.kind != "image" or subject.config.tokenizer.in_channels != 3:
        raise UsageError(
            f"{subject.name} is of {subject.config.data.kind} maps", hint="bench measures models of pictures"
        )


def _drawn(done: BenchResult) -> str:
    ratios = {result.name: result.ratios for result in done.results if result.ratios}
    shares = {
        result.name: [100 * result.share_of_limit]
        for result in done.results
        if result.share_of_limit is not None
    }
    panels = [
        Dots("times as fast as the straightforward way", ratios),
        Dots("percent of the limit of the hardware", shares),
    ]
    return plot(f"{done.subject}, {done.device}, {done.precision}", [panel for panel in panels if panel.rows])
