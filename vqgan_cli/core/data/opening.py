"""From what the user wrote after ``--data`` to an `ImageSource`: folder, list, table, glob, or synthetic set."""

from __future__ import annotations

from pathlib import Path

from vqgan_cli.core.config import DataKind, MapKindName, MapsConfig
from vqgan_cli.core.data.images import IMAGE_SUFFIXES
from vqgan_cli.core.data.listing import Listing, find_images
from vqgan_cli.core.data.maps import MAP_KINDS, MapKind, build_map_kind
from vqgan_cli.core.data.sources import SYNTHETIC, ComputedSource, FileSource, ImageSource, SyntheticSource
from vqgan_cli.core.data.synthetic import SYNTHETIC_SETS
from vqgan_cli.core.data.tables import has_column, is_table, read_column
from vqgan_cli.core.errors import DataError, UsageError, did_you_mean

__all__ = ["PAIRED_IMAGES", "open_source"]

PAIRED_IMAGES = "image"
"""Folder of the pictures beside folders of maps, which are named as their kinds."""


def open_source(
    spec: str,
    *,
    kind: DataKind | MapKindName = "image",
    maps: MapsConfig | None = None,
    background: tuple[int, int, int] = (255, 255, 255),
    max_megapixels: float = 200.0,
    seed: int = 0,
    synthetic_size: int | tuple[int, int] = 64,
    synthetic_length: int = 20_000,
) -> ImageSource:
    """Find the images that a user asked for.

    Args:
        spec: one of

            - a folder: all images below it in natural order. Hidden files and ``__MACOSX`` are left out, each real
              folder is read once, links to folders that contain the link are not followed. If every image lies in
              a subfolder, the first level of folders are the classes. In a folder with ``image/`` and folders of
              maps (``segmentation/``, ``depth/``, ...) beside it, it is the folder of ``kind`` that counts.
            - a ``.csv`` or ``.jsonl`` of pairs: the column of ``kind``, see `vqgan_cli.core.data.tables`.
            - a text file: one path per line, relative to that file; empty lines and lines that start with ``#``
              do not count. The order is kept.
            - a pattern with ``*``, ``?``, ``[...]`` or ``**`` (any depth; links to folders are not followed).
            - one image file.
            - ``synthetic:faces`` or ``synthetic:scenes``.
        kind: pictures, or maps of a kind; those that can be computed are, unless the folder has the kind's name, or one
            of that name in it.
        maps: how maps are read; None: the defaults.
        background: red, green, blue (0-255) behind transparent pixels.
        max_megapixels: larger files fail as decompression bombs when they are read.
        seed: of a synthetic set.
        synthetic_size: side or (height, width) in pixels of synthetic images.
        synthetic_length: number of synthetic images.

    Raises:
        DataError: nothing is there, or nothing that counts as an image.
        UsageError: there is no such synthetic set.
    """
    map_kind = None if kind == "image" else build_map_kind(kind, maps or MapsConfig())
    if spec.startswith(SYNTHETIC) or spec == SYNTHETIC.removesuffix(":"):
        return _open_synthetic(spec, map_kind, seed, synthetic_size, synthetic_length)
    listing, of_kind = _find(spec, map_kind)
    source = FileSource(
        spec,
        listing.root,
        listing.keys,
        by_class=listing.by_class,
        map_kind=map_kind if of_kind else None,
        background=background,
        max_megapixels=max_megapixels,
    )
    return source if of_kind or map_kind is None else ComputedSource(source, map_kind)


def _find(spec: str, map_kind: MapKind | None) -> tuple[Listing, bool]:
    """The files, and whether they are of the kind that is asked for, rather than pictures to compute it from."""
    root = Path(spec)
    folder = map_kind.name if map_kind else PAIRED_IMAGES
    if is_table(spec):
        computed = map_kind is not None and map_kind.computable and not has_column(spec, folder)
        return read_column(spec, PAIRED_IMAGES if computed else folder), not computed
    paired = (root / PAIRED_IMAGES).is_dir() and any((root / name).is_dir() for name in MAP_KINDS)
    suffixes = map_kind.suffixes if map_kind else IMAGE_SUFFIXES
    if paired and (root / folder).is_dir():
        listing = find_images(str(root / folder), suffixes)
        return listing, True
    if map_kind is not None and map_kind.computable and root.name != map_kind.name:
        return find_images(str(root / PAIRED_IMAGES) if paired else spec), False
    if paired:
        there = ", ".join(name for name in MAP_KINDS if (root / name).is_dir())
        raise DataError(f"{spec!r} has no folder {folder!r}, only {PAIRED_IMAGES}, {there}")
    return find_images(spec, suffixes), True


def _open_synthetic(
    spec: str, map_kind: MapKind | None, seed: int, size: int | tuple[int, int], length: int
) -> ImageSource:
    name = spec.removeprefix(SYNTHETIC)
    if name not in SYNTHETIC_SETS:
        known = ", ".join(SYNTHETIC + name for name in SYNTHETIC_SETS)
        raise UsageError(
            f"no synthetic set {spec!r}{did_you_mean(name, SYNTHETIC_SETS)}", hint=f"there are {known}"
        )
    height, width = (size, size) if isinstance(size, int) else size
    if map_kind is not None and map_kind.name == "lowres":
        # Nothing drawn is exact here, and what is computed is computed at the size at which it is used.
        return ComputedSource(SyntheticSource(name, height, width, length, seed=seed), map_kind)
    return SyntheticSource(name, height, width, length, seed=seed, map_kind=map_kind)
