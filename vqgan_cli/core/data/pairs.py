"""Pictures with a map each: from two folders, a table, a synthetic set, or computed."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import PurePosixPath
from typing import Any

import numpy.typing as npt

from vqgan_cli.core.config import DataConfig, MapKindName
from vqgan_cli.core.data.listing import Listing, find_images, user_path
from vqgan_cli.core.data.maps import MapKind, build_map_kind
from vqgan_cli.core.data.opening import PAIRED_IMAGES, find_maps, open_source
from vqgan_cli.core.data.sources import SYNTHETIC, ComputedSource, FileSource, ImageSource
from vqgan_cli.core.data.tables import has_column, is_table, read_column
from vqgan_cli.core.errors import DataError

__all__ = ["Pairs", "open_pairs"]


class Pairs(ImageSource):
    """Pictures, as a source of their own, and their maps.

    Attributes:
        maps: the map of each picture at the same index.
        map_kind: of the maps.
        unmatched: files on either side without a partner; they are left out.
    """

    def __init__(
        self, images: ImageSource, maps: ImageSource, map_kind: MapKind, unmatched: tuple[str, ...] = ()
    ) -> None:
        self.name = images.name
        self.classes = images.classes
        self.images = images
        self.maps = maps
        self.map_kind = map_kind
        self.unmatched = unmatched

    @property
    def fingerprint(self) -> str:
        """Digest of both sides."""
        return hashlib.blake2b(
            f"{self.images.fingerprint} {self.maps.fingerprint}".encode(), digest_size=16
        ).hexdigest()

    def __len__(self) -> int:
        return len(self.images)

    def key(self, index: int) -> str:
        """That of the picture."""
        return self.images.key(index)

    def label(self, index: int) -> int:
        """That of the picture."""
        return self.images.label(index)

    def size(self, index: int) -> tuple[int, int]:
        """That of the picture."""
        return self.images.size(index)

    def read(self, index: int, min_side: int | None = None) -> npt.NDArray[Any]:
        """The picture."""
        return self.images.read(index, min_side)

    def whole_map(self, index: int, image: npt.NDArray[Any]) -> npt.NDArray[Any] | None:
        """The map of all of a picture that was read; None where each of its squares has a map of its own computed."""
        if not isinstance(self.maps, ComputedSource):
            return self.maps.read(index)
        return self.map_kind.compute(image) if self.map_kind.of_whole_image else None

    def held_out(self, length: int) -> ImageSource | None:
        """Validation pairs of an endless set."""
        images, maps = self.images.held_out(length), self.maps.held_out(length)
        return None if images is None or maps is None else Pairs(images, maps, self.map_kind)


def open_pairs(spec: str, config: DataConfig, kind: MapKindName, *, seed: int = 0) -> Pairs:
    """Find pictures and their maps.

    Args:
        spec: a folder with ``image/`` and one named as the kind, matched by path without suffix; a ``.csv`` with the
            columns ``image`` and kind, or ``.jsonl`` with objects of these keys, paths relative to the file; a
            synthetic set; for kinds that can be computed, pictures in any form that `open_source` takes.
        config: how files are read, and the size of synthetic pictures.
        kind: of the maps.
        seed: of a synthetic set.

    Raises:
        DataError: nothing is there, or nothing has a partner.
    """
    size = config.resize or config.size
    root = user_path(spec)
    map_kind = build_map_kind(kind, config.maps)
    in_folders = (root / PAIRED_IMAGES).is_dir() and (root / kind).is_dir()
    in_table = is_table(spec) and (has_column(spec, kind) or not map_kind.computable)
    if not in_folders and not in_table:
        if not map_kind.computable and not spec.startswith(SYNTHETIC):
            raise DataError(
                f"{spec!r} has no {kind} maps for its pictures: there is no {str(root / kind)!r}"
                + ("" if (root / PAIRED_IMAGES).is_dir() else f" and no {str(root / PAIRED_IMAGES)!r}"),
                hint=f"put pictures into {PAIRED_IMAGES}/ and maps of their names into {kind}/, or name a csv of pairs",
            )
        images, maps = (
            open_source(
                spec,
                kind=each,
                maps=config.maps,
                background=config.background,
                max_megapixels=config.max_megapixels,
                seed=seed,
                synthetic_size=size,
            )
            for each in ("image", kind)
        )
        return Pairs(images, maps, map_kind)

    if in_folders:
        pictures = find_images(str(root / PAIRED_IMAGES))
        partners = find_maps(spec, map_kind)
        unmatched = _match(pictures, partners)
    else:
        pictures, partners = read_column(spec, PAIRED_IMAGES), read_column(spec, kind)
        unmatched = ()
    if not pictures.keys:
        raise DataError(
            f"no picture in {spec!r} has a {kind} map of its name, such as {unmatched[0]!r}",
            hint="partners have the same path below their folders, but for the suffix",
        )
    return Pairs(
        FileSource(
            spec,
            pictures.root,
            pictures.keys,
            by_class=pictures.by_class,
            background=config.background,
            max_megapixels=config.max_megapixels,
        ),
        FileSource(
            spec, partners.root, partners.keys, map_kind=map_kind, max_megapixels=config.max_megapixels
        ),
        map_kind,
        unmatched,
    )


def _match(pictures: Listing, partners: Listing) -> tuple[str, ...]:
    """Reduce both listings to their pairs, in the order of the pictures; returns what has no partner."""
    by_stem: dict[str, str] = {}
    for key in partners.keys:
        by_stem.setdefault(_stem(key), key)
    stems = Counter(map(_stem, pictures.keys))
    twice = next((stem for stem, count in stems.items() if count > 1), None)
    if twice is not None:
        raise DataError(
            f"two pictures in {str(pictures.root)!r} share the name {twice!r}, so their map is unclear"
        )
    alone = [f"{PAIRED_IMAGES}/{key}" for key in pictures.keys if _stem(key) not in by_stem]
    alone += [f"{partners.root.name}/{key}" for key in partners.keys if _stem(key) not in stems]
    pictures.keys[:] = [key for key in pictures.keys if _stem(key) in by_stem]
    partners.keys[:] = [by_stem[_stem(key)] for key in pictures.keys]
    return tuple(alone)


def _stem(key: str) -> str:
    return str(PurePosixPath(key).with_suffix(""))
