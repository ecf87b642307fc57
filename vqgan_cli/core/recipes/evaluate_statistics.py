"""``vqgan evaluate statistics``: what a comparison needs to know of a reference set, in a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vqgan_cli.core.device import resolve_device
from vqgan_cli.core.errors import DataError, OutputError, UsageError
from vqgan_cli.core.evaluation.collecting import collect_features
from vqgan_cli.core.evaluation.features import FID, load_features
from vqgan_cli.core.evaluation.image_sets import describe_size, open_image_set
from vqgan_cli.core.evaluation.statistics import SUFFIX, StatisticsDescription, write_statistics
from vqgan_cli.core.evaluation.stopping import all_or_nothing
from vqgan_cli.core.files import require_writable_folder, reserved
from vqgan_cli.core.memory import memory_errors
from vqgan_cli.core.metrics.frechet import fit_gaussian
from vqgan_cli.core.processes import in_one_process
from vqgan_cli.core.reporting import Reporter

__all__ = ["EvaluateStatisticsOptions", "StatisticsResult", "evaluate_statistics"]


@dataclass(frozen=True)
class EvaluateStatisticsOptions:
    """What to describe, and how.

    Attributes:
        data: images, as `open_image_set` takes them.
        out: the file, ``.npz``.
        features: network, see `load_features`.
        weights: its file; None: cached or downloaded.
        size: (height, width) in pixels that every image is brought to; None: all have one size already.
        limit: at most so many images, spread evenly over the data.
        keep_features: write the features too.
        batch_size: images at a time.
        device: see `resolve_device`.
        force: replace an existing file.
    """

    data: str
    out: Path
    features: str = FID
    weights: Path | None = None
    size: tuple[int, int] | None = None
    limit: int | None = None
    keep_features: bool = False
    batch_size: int = 32
    device: str = "auto"
    force: bool = False


@dataclass(frozen=True)
class StatisticsResult:
    """What was written, as plain values of JSON, and name and reason of images that could not be read."""

    facts: dict[str, Any]
    failed: list[tuple[str, str]]


@in_one_process
def evaluate_statistics(options: EvaluateStatisticsOptions, reporter: Reporter) -> StatisticsResult:
    """Write the statistics of a reference set.

    Raises:
        VqganError: see `vqgan_cli.core.errors`.
    """
    out = options.out
    if out.suffix != SUFFIX:
        raise UsageError(f"{str(out)!r} does not end in {SUFFIX}", hint=f"-o {out.with_suffix(SUFFIX)}")
    require_writable_folder(out.parent)
    with (
        reserved(out, is_folder=False),
        all_or_nothing(reporter),
    ):
        if out.exists() and not options.force:
            raise OutputError(f"{str(out)!r} exists", hint="overwrite with --force, or name another with -o")
        device = resolve_device(options.device)
        images = open_image_set(options.data, options.size, limit=options.limit, unseen=True)
        size = options.size or images.size()
        network = load_features(options.features, options.weights).to(device)
        reporter.info(
            f"{len(images)} images of {images.name}, {describe_size(size)}; features {network.name}, "
            f"{network.preparation}"
        )
        with memory_errors(f"with --batch-size {options.batch_size}", "lower --batch-size"):
            found = collect_features(
                network,
                images,
                size,
                as_it_is=options.size is None,
                batch_size=options.batch_size,
                device=device,
                reporter=reporter,
                what=images.name,
            )
            if len(found.features) < 2:
                raise DataError(f"statistics need two images, and {images.name!r} has one that can be read")
            gaussian = fit_gaussian(found.features, device=device)
        description = StatisticsDescription(
            features=network.name,
            fingerprint=network.fingerprint,
            source=images.name,
            size=size,
            preparation=describe_size(size),
            images=len(found.features),
            classes=dict(images.classes),
            names=list(found.names) if options.keep_features else [],
        )
        write_statistics(out, description, gaussian, found if options.keep_features else None)
    facts = description.model_dump(mode="json", exclude={"format", "names", "classes"})
    failed = [{"name": name, "reason": reason} for name, reason in found.failed]
    return StatisticsResult(
        {
            "statistics": str(out),
            **facts,
            "keeps_features": options.keep_features,
            "classes": len(images.classes),
            "failed": failed,
        },
        list(found.failed),
    )
