"""From what the user wrote after ``--data`` to an `ImageSource`: folder, list, table, glob, or synthetic set."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from vqgan_cli.core.config import DataKind, MapKindName, MapsConfig
from vqgan_cli.core.data.listing import Listing, find_images, user_path
from vqgan_cli.core.data.maps import MAP_KINDS, MapKind, build_map_kind
from vqgan_cli.core.data.sources import SYNTHETIC, ComputedSource, FileSource, ImageSource, SyntheticSource
from vqgan_cli.core.data.synthetic import SYNTHETIC_SETS
from vqgan_cli.core.data.tables import has_column, is_table, read_column
from vqgan_cli.core.errors import DataError, UsageError, did_you_mean

__all__ = ["PAIRED_IMAGES", "find_maps", "open_source"]

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


def find_maps(spec: str, map_kind: MapKind) -> Listing:
    """The files of maps that ``spec`` names: in a paired folder those of the kind, in a table its column, else all.

    Raises:
        DataError: there are none.
    """
    if is_table(spec):
        return read_column(spec, map_kind.name)
    root = user_path(spec)
    folder = root
    if _is_paired(root):
        folder = root / map_kind.name
        if not folder.is_dir():
            there = ", ".join(name for name in MAP_KINDS if (root / name).is_dir())
            raise DataError(f"{spec!r} has no folder {map_kind.name!r}, only {PAIRED_IMAGES}, {there}")
    found = find_images(str(folder), map_kind.suffixes)
    keys = [key for key in found.keys if PurePosixPath(key).name not in map_kind.companions]
    if not keys:
        raise DataError(f"no {map_kind.name} maps in {spec!r}")
    return found._replace(keys=keys)


def _find(spec: str, map_kind: MapKind | None) -> tuple[Listing, bool]:
    """The files, and whether they are of the kind that is asked for, rather than pictures to compute it from."""
    if map_kind is not None and not (map_kind.computable and not _has_maps(spec, map_kind)):
        return find_maps(spec, map_kind), True
    if is_table(spec):
        return read_column(spec, PAIRED_IMAGES), map_kind is None
    root = user_path(spec)
    return find_images(str(root / PAIRED_IMAGES) if _is_paired(root) else spec), map_kind is None


def _has_maps(spec: str, map_kind: MapKind) -> bool:
    """Whether somebody gave maps of a kind that could be computed."""
    if is_table(spec):
        return has_column(spec, map_kind.name)
    root = user_path(spec)
    return (root / map_kind.name).is_dir() if _is_paired(root) else root.name == map_kind.name


def _is_paired(root: Path) -> bool:
    return (root / PAIRED_IMAGES).is_dir() and any((root / name).is_dir() for name in MAP_KINDS)


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
