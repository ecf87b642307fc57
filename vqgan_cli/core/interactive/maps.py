"""Maps that somebody painted or brought, as files that a request names."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vqgan_cli.core.data.images import write_image
from vqgan_cli.core.data.maps import MapKind
from vqgan_cli.core.data.maps.segmentation import label_colors
from vqgan_cli.core.data.transforms import resize
from vqgan_cli.core.errors import ImageError, UsageError
from vqgan_cli.core.interactive.workbench import Workbench, read_photo, require_size

__all__ = [
    "Prepared",
    "given_map",
    "label_palette",
    "labels_of",
    "map_kind",
    "painted_map",
    "painted_mask",
    "read_labels",
]

_SURE = 24  # a colour so near to one of the palette, in 255ths, is no mixture at the edge of a stroke

Picture = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]


class Prepared:
    """A map as a file, as a request names it.

    Attributes:
        path: the file.
        size: (height, width) of the images that go with it, in pixels.
        picture: the map for people, uint8 [H, W, 3].
        of_photo: whether the file is a photo, whose map is computed.
    """

    def __init__(self, path: Path, size: tuple[int, int], picture: Picture, *, of_photo: bool) -> None:
        self.path, self.size, self.picture, self.of_photo = path, size, picture, of_photo


def map_kind(bench: Workbench) -> MapKind:
    """What the model's maps are; the model has some."""
    assert bench.transformer is not None
    assert bench.transformer.map_encoder is not None
    return bench.transformer.map_encoder.map_kind


def label_palette(count: int) -> list[tuple[int, int, int]]:
    """A colour for each label, no two alike."""
    palette: list[tuple[int, int, int]] = []
    for colour in label_colors(np.arange(count)).tolist():
        while tuple(colour) in palette:  # hues return after a hundred labels
            colour[2] = (colour[2] + 29) % 256
        palette.append((colour[0], colour[1], colour[2]))
    return palette


def labels_of(painted: Picture, palette: list[tuple[int, int, int]]) -> Labels:
    """The label of each pixel of a painted picture; mixed colours, as strokes have at their edges, take the label of
    a neighbour.

    Args:
        painted: uint8 [H, W, 3].
        palette: colour of each label.
    """
    colours, inverse = np.unique(painted.reshape(-1, 3), axis=0, return_inverse=True)
    table = np.array(palette, np.int64)
    nearest = np.empty(len(colours), np.int64)
    apart = np.empty(len(colours), np.int64)
    for start in range(0, len(colours), 4096):
        part = slice(start, start + 4096)
        distances = np.abs(colours[part, None].astype(np.int64) - table).max(-1)
        nearest[part], apart[part] = distances.argmin(1), distances.min(1)
    labels = nearest[inverse].reshape(painted.shape[:2])
    sure = (apart <= _SURE)[inverse].reshape(painted.shape[:2])
    if sure.any():
        labels = _spread(labels, sure)
    return labels.astype(np.uint8) if len(palette) <= 256 else labels.astype(np.uint16)


def _spread(labels: npt.NDArray[np.int64], sure: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Labels of sure pixels, given on step by step to those that are not."""
    labels, sure = labels.copy(), sure.copy()
    while not sure.all():
        before, known = labels.copy(), sure.copy()
        for axis, step in ((0, 1), (0, -1), (1, 1), (1, -1)):
            source, target = [slice(None)] * 2, [slice(None)] * 2
            source[axis], target[axis] = (slice(0, -1), slice(1, None))[::step]
            take = known[tuple(source)] & ~sure[tuple(target)]
            labels[tuple(target)][take] = before[tuple(source)][take]
            sure[tuple(target)] |= take
    return labels


def read_labels(bench: Workbench, file: Path) -> Labels:
    """A label map in a file, [H, W], at most `MAX_PIXELS`.

    Raises:
        ImageError: it cannot be read, or is no map of the model's labels.
        UsageError: it is too large.
    """
    labels: Labels = map_kind(bench).read(file, max_megapixels=bench.info.config.data.max_megapixels)
    require_size(*labels.shape)
    count = len(bench.label_names)
    if labels.max() >= count:
        raise ImageError(file, f"has label {labels.max()}; the model knows 0 to {count - 1}")
    return labels


def painted_map(bench: Workbench, painted: Picture, folder: Path, side: int) -> Prepared:
    """A label map from a painted picture uint8 [H, W, 3] of any size, for images with ``side`` pixels at the shorter
    side.

    Raises:
        OutputError: the folder has no room.
    """
    kind = map_kind(bench)
    labels = labels_of(painted, label_palette(len(bench.label_names)))
    labels = resize(labels, *_size_for(bench, labels.shape, side))
    path = folder / "map.png"
    kind.write(path, labels)
    return Prepared(path, labels.shape, kind.picture(labels), of_photo=False)


def given_map(
    bench: Workbench, file: Path, folder: Path, side: int, *, of_photo: bool, beside: Sequence[Path] = ()
) -> Prepared:
    """A map in a file, or a photo whose map is computed.

    Args:
        bench: the model.
        file: of any name.
        folder: where a copy under a plain name goes.
        side: pixels of the shorter side of the images that will be drawn.
        of_photo: whether the file is a photo.
        beside: files that belong to it under their own names, such as ``skeleton.json``.

    Raises:
        ImageError: it cannot be read, or is no such map.
        UsageError: it is too large to work on.
    """
    kind = map_kind(bench)
    if of_photo:
        photo = read_photo(bench, file, side)
        path = folder / "photo.png"
        write_image(path, photo)
        return Prepared(path, photo.shape[:2], kind.picture(kind.compute(photo)), of_photo=True)
    suffix = file.suffix.lower()
    if suffix not in kind.suffixes:
        raise ImageError(file, f"is no file of {kind.name} maps: {', '.join(kind.suffixes)}")
    path = folder / f"map{suffix}"
    shutil.copyfile(file, path)
    for each in beside:
        shutil.copyfile(each, folder / each.name)
    try:
        array = kind.read(path, max_megapixels=bench.info.config.data.max_megapixels)
    except ImageError as error:
        raise ImageError(file, error.reason) from None
    size = _size_for(bench, array.shape, side)
    return Prepared(path, size, kind.picture(resize(array, *size)), of_photo=False)


def _size_for(bench: Workbench, shape: tuple[int, ...], side: int) -> tuple[int, int]:
    """(height, width) of the images that go with a map [H, W, ...], no smaller than those of the training."""
    f, (height, width) = bench.downsampling, shape[:2]
    scale = max(
        side / min(height, width),
        *(least / each for least, each in zip(bench.size, (height, width), strict=True)),
    )
    rows, columns = (
        max(least, round(each * scale / f) * f)
        for least, each in zip(bench.size, (height, width), strict=True)
    )
    require_size(rows, columns)
    return rows, columns


def painted_mask(paint: npt.NDArray[np.bool_], folder: Path, size: tuple[int, int]) -> Path:
    """A mask as a file, white where a photo is known, from what somebody painted over it to have it drawn anew.

    Args:
        paint: bool [H, W], of any size.
        folder: where it goes.
        size: (height, width) of the photo; a pixel of it is known where nothing of it was painted.

    Raises:
        UsageError: nothing or everything is painted.
    """
    height, width = size
    rows = np.arange(paint.shape[0]) * height // paint.shape[0]
    columns = np.arange(paint.shape[1]) * width // paint.shape[1]
    drawn = np.zeros(size, np.bool_)
    np.logical_or.at(drawn, (rows[:, None], columns[None]), paint)
    if drawn.all() or not drawn.any():
        left = "keep" if drawn.all() else "draw"
        raise UsageError(
            f"the paint leaves nothing to {left}", hint="paint the part that should be drawn anew"
        )
    path = folder / "known.png"
    write_image(path, np.where(drawn, np.uint8(0), np.uint8(255)))
    return path
