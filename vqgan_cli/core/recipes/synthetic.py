"""``vqgan synthetic``: pictures of a built-in set as files, alone or with their maps."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vqgan_cli.core.batching import prefetch
from vqgan_cli.core.config import MapsConfig
from vqgan_cli.core.data.images import write_image
from vqgan_cli.core.data.maps import MAP_KINDS, build_map_kind
from vqgan_cli.core.data.maps.keypoints import keypoints_json
from vqgan_cli.core.data.opening import PAIRED_IMAGES, open_source
from vqgan_cli.core.data.sources import SyntheticSource
from vqgan_cli.core.data.synthetic import SYNTHETIC_SETS, Drawing, SyntheticSet
from vqgan_cli.core.errors import OutputError, UsageError, did_you_mean
from vqgan_cli.core.files import require_writable_folder, staged_file, write_text
from vqgan_cli.core.reporting import Reporter

__all__ = ["SyntheticOptions", "synthetic"]


@dataclass(frozen=True)
class SyntheticOptions:
    """What to draw.

    Attributes:
        set_name: ``faces`` or ``scenes``.
        out: folder; each class gets a subfolder, or with maps the pictures and each kind do.
        count: pictures.
        size: (height, width) in pixels.
        maps: kinds of maps to write too, with commas between them, or ``all``; None: pictures only.
        seed: another seed gives other pictures.
        force: overwrite files.
    """

    set_name: str
    out: Path
    count: int = 100
    size: tuple[int, int] = (256, 256)
    maps: str | None = None
    seed: int = 0
    force: bool = False


def synthetic(options: SyntheticOptions, reporter: Reporter) -> list[Path]:
    """Draw pictures of a set and write them as PNG files: one folder per class, or with maps one per kind.

    Returns:
        The pictures.

    Raises:
        UsageError: there is no such set or kind.
        OutputError: a file exists, or cannot be written.
    """
    source = open_source(
        f"synthetic:{options.set_name}",
        seed=options.seed,
        synthetic_size=options.size,
        synthetic_length=options.count,
    )
    assert isinstance(source, SyntheticSource)
    kinds = _kinds(options.maps)
    stems = [source.key(index) for index in range(len(source))]
    if kinds:
        pictures = [options.out / PAIRED_IMAGES / f"{stem}.png" for stem in stems]
    else:
        folders = [options.out / source.classes[source.label(index)] for index in range(len(source))]
        pictures = [folder / f"{stem}.png" for folder, stem in zip(folders, stems, strict=True)]
    maps = {kind: [options.out / kind / f"{stem}{_suffix(kind)}" for stem in stems] for kind in kinds}
    targets = [*pictures, *(path for paths in maps.values() for path in paths)]
    existing = next((target for target in targets if target.exists()), None)
    if existing is not None and not options.force:
        raise OutputError(
            f"{str(existing)!r} exists", hint="overwrite with --force, or name another folder with -o"
        )
    for folder in sorted({target.parent for target in targets}):
        require_writable_folder(folder)
    drawn_by = SYNTHETIC_SETS[options.set_name]

    def draw(index: int) -> None:
        drawing = drawn_by.draw(options.seed, index, *options.size)
        write_image(pictures[index], drawing.image)
        for kind, paths in maps.items():
            _write_map(kind, paths[index], drawing, drawn_by)

    with reporter.progress("drawing", len(pictures), "pictures") as progress:
        for done, _ in enumerate(
            prefetch(draw, range(len(pictures)), threads=os.cpu_count() or 1, ahead=32), start=1
        ):
            progress.update(done)
    return pictures


def _kinds(maps: str | None) -> list[str]:
    """The kinds in a text with commas."""
    known = [name for name, kind in MAP_KINDS.items() if kind.suffixes and name != "lowres"]
    wanted = known if maps == "all" else [name.strip() for name in (maps or "").split(",") if name.strip()]
    for name in wanted:
        if name == "lowres":
            raise UsageError("--maps lowres: low resolution is computed from the pictures, it needs no files")
        if name not in known:
            raise UsageError(
                f"--maps {name}: no such kind of maps{did_you_mean(name, known)}",
                hint=f"all, or with commas: {', '.join(known)}",
            )
    return wanted


def _suffix(kind: str) -> str:
    return {"keypoints": ".json", "depth": ".npy"}.get(kind, ".png")


def _write_map(kind: str, path: Path, drawing: Drawing, drawn_by: SyntheticSet) -> None:
    if kind == "keypoints":
        write_text(path, json.dumps(keypoints_json(drawing, drawn_by)) + "\n")
    elif kind == "depth":
        with staged_file(path) as staging, staging.open("wb") as file:
            np.save(file, drawing.depth)  # metres, exact; 16 bits would not reach the horizon
    else:
        map_kind = build_map_kind(kind, MapsConfig())
        map_kind.write(path, map_kind.from_drawing(drawing, drawn_by))
