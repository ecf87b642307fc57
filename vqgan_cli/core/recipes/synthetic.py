"""``vqgan synthetic``: pictures of a built-in set as files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from vqgan_cli.core.batching import prefetch
from vqgan_cli.core.data.images import write_image
from vqgan_cli.core.data.sources import SyntheticSource, open_source
from vqgan_cli.core.errors import OutputError
from vqgan_cli.core.files import require_writable_folder
from vqgan_cli.core.reporting import Reporter

__all__ = ["SyntheticOptions", "synthetic"]


@dataclass(frozen=True)
class SyntheticOptions:
    """What to draw.

    Attributes:
        set_name: ``faces`` or ``scenes``.
        out: folder; each class gets a subfolder.
        count: pictures.
        size: (height, width) in pixels.
        seed: another seed gives other pictures.
        force: overwrite files.
    """

    set_name: str
    out: Path
    count: int = 100
    size: tuple[int, int] = (256, 256)
    seed: int = 0
    force: bool = False


def synthetic(options: SyntheticOptions, reporter: Reporter) -> list[Path]:
    """Draw pictures of a set and write them as PNG files, one folder per class.

    Raises:
        UsageError: there is no such set.
        OutputError: a file exists, or cannot be written.
    """
    source = open_source(
        f"synthetic:{options.set_name}",
        seed=options.seed,
        synthetic_size=options.size,
        synthetic_length=options.count,
    )
    assert isinstance(source, SyntheticSource)
    targets = [
        options.out / source.classes[source.label(index)] / f"{source.key(index)}.png"
        for index in range(len(source))
    ]
    existing = next((target for target in targets if target.exists()), None)
    if existing is not None and not options.force:
        raise OutputError(
            f"{str(existing)!r} exists", hint="overwrite with --force, or name another folder with -o"
        )
    for folder in sorted({target.parent for target in targets}):
        require_writable_folder(folder)

    def draw(index: int) -> None:
        write_image(targets[index], source.read(index))

    with reporter.progress("drawing", len(targets), "pictures") as progress:
        for done, _ in enumerate(
            prefetch(draw, range(len(targets)), threads=os.cpu_count() or 1, ahead=32), start=1
        ):
            progress.update(done)
    return targets
