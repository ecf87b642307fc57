"""Maps and photos that images are made from, as templates."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from vqgan_cli.core.artifacts import Transformer
from vqgan_cli.core.condition import MapEncoder
from vqgan_cli.core.data.codes import open_codes
from vqgan_cli.core.data.images import read_image
from vqgan_cli.core.data.listing import find_images
from vqgan_cli.core.data.opening import find_maps
from vqgan_cli.core.data.tensors import to_input, to_tensor
from vqgan_cli.core.data.transforms import cover_crop, resize
from vqgan_cli.core.errors import DataError, FingerprintError, ImageError, UsageError
from vqgan_cli.core.generation.completion import parse_known
from vqgan_cli.core.generation.templates import Photo, Template
from vqgan_cli.core.models.tokenizer import Tokenizer
from vqgan_cli.core.tiled_encoding import encode_tiled

__all__ = ["completion", "maps_of_codes", "maps_of_files", "variation"]

_SHOWN_SIDE = 512  # pixels of a template's picture in a contact sheet
_NAME_LENGTH = 100

Array = npt.NDArray[Any]
Picture = npt.NDArray[np.uint8]


def maps_of_files(
    spec: str,
    model: Transformer,
    size: tuple[int, int] | None,
    *,
    from_images: bool,
    skip: Callable[[str, str], None],
) -> list[Template]:
    """A template per map. Each map is read once to see that it can be used, and again when it is its turn.

    Args:
        spec: a file, a folder (alone, or with ``image/`` beside that of the kind), a glob, a list, or a table.
        model: with a map encoder.
        size: (height, width) of the images; None: that of each map, rounded to the nearest multiples of f.
        from_images: the files are pictures from which maps are computed.
        skip: told of each of several files that cannot be read or is no such map: its name, and why.

    Raises:
        UsageError: maps of the model's kind cannot be computed; a size is not fitting.
        DataError: there are no files, or none that can be used; a size would distort one.
    """
    encoder = model.map_encoder
    assert encoder is not None
    kind = encoder.map_kind
    if from_images and not kind.computable:
        raise UsageError(f"{kind.name} maps cannot be computed from pictures; give the maps themselves")
    found = find_images(spec) if from_images else find_maps(spec, kind)

    def read(key: str) -> Array:
        """The map at the size of its images."""
        path = found.root / key
        array: Array = read_image(path) if from_images else kind.read(path)
        height, width = size or _rounded(array.shape, encoder.downsampling)
        _require_window(model, height, width, str(path))
        if from_images:
            return kind.compute(cover_crop(array, height, width)[0])
        _require_aspect(array, height, width, str(path))
        return resize(array, height, width)

    templates, reason = [], ""
    for key, name in zip(found.keys, _file_names(found.keys), strict=True):
        try:
            array = read(key)
        except ImageError as error:
            if len(found.keys) == 1:
                raise
            skip(key, error.reason)
            reason = reason or str(error)
            continue
        template = Template(
            (array.shape[0] // encoder.downsampling, array.shape[1] // encoder.downsampling),
            name=name,
            condition=partial(_encoded, encoder, read, key),
            mark=_mark(array),
            shown=partial(_pictured, encoder, read, key),
        )
        templates.append(template)
    if not templates:
        raise DataError(f"none of the {len(found.keys)} maps of {spec!r} can be read; the first, {reason}")
    return templates


def _encoded(encoder: MapEncoder, read: Callable[[str], Array], key: str) -> npt.NDArray[np.int64]:
    return encoder.encode_large(read(key))


def _pictured(encoder: MapEncoder, read: Callable[[str], Array], key: str) -> Picture:
    return _small(encoder.map_kind.picture(read(key)))


def maps_of_codes(path: Path, model: Transformer) -> list[Template]:
    """A template per grid of a codes file of the maps' tokenizer.

    Raises:
        CodesError: the file is damaged, or has codes outside the codebook.
        FingerprintError: the codes are those of another tokenizer.
    """
    encoder = model.map_encoder
    assert encoder is not None
    codes = open_codes(path, require_metadata=False)
    if codes.fingerprint is not None and codes.fingerprint != encoder.fingerprint:
        raise FingerprintError(
            f"{str(path)!r} was made by another tokenizer than the one of this model's {encoder.map_kind.name} maps",
            hint="give the maps themselves, or codes of the tokenizer that the model was trained with",
        )
    codes.validate(encoder.codebook_size)
    templates = []
    f = encoder.downsampling

    def picture(index: int) -> Picture:
        grids = torch.from_numpy(codes.grid(index)[None])
        return _small(encoder.map_kind.picture(encoder.decode(grids.to(_device(model)))[0]))

    for index, name in enumerate(_file_names(codes.names)):
        grid = codes.images[index].grid
        _require_window(model, grid[0] * f, grid[1] * f, name)
        template = Template(
            grid,
            name=name,
            condition=partial(codes.grid, index),
            mark=_mark(codes.grid(index)),
            shown=partial(picture, index),
        )
        templates.append(template)
    return templates


def completion(
    photo: Path,
    known: str,
    model: Transformer,
    size: tuple[int, int] | None,
    seam: int | None,
    map_: Template | None = None,
) -> Template:
    """A template that keeps the known part of a photo, perhaps by a map; see `parse_known` for how it is named."""
    picture = _photo(photo, model, size)
    mask = parse_known(known, *picture.shape[:2])
    codes = _codes(picture, model.tokenizer)
    made = Photo(picture, codes, mask=mask, seam=seam)
    shown = np.where(mask[..., None], picture, np.uint8(128))
    return _of_photo(photo, made, shown, map_)


def variation(
    photo: Path,
    strength: float,
    model: Transformer,
    size: tuple[int, int] | None,
    map_: Template | None = None,
) -> Template:
    """A template that keeps the codes of a photo, perhaps by a map, but for a share ``strength`` of them."""
    picture = _photo(photo, model, size)
    codes = _codes(picture, model.tokenizer)
    return _of_photo(photo, Photo(picture, codes, strength=strength), picture, map_)


def _of_photo(path: Path, photo: Photo, shown: Picture, map_: Template | None) -> Template:
    small = _small(shown)
    return Template(
        photo.codes.shape,
        name=_file_name(path.stem),
        condition=map_.condition if map_ else None,
        mark=map_.mark if map_ else "",
        photo=photo,
        shown=lambda: small,
    )


def _photo(path: Path, model: Transformer, size: tuple[int, int] | None) -> Picture:
    image = read_image(path)
    height, width = size or _rounded(image.shape, model.tokenizer.downsampling)
    return np.ascontiguousarray(cover_crop(image, height, width)[0])


def _codes(picture: Array, tokenizer: Tokenizer) -> npt.NDArray[np.int64]:
    device = next(tokenizer.parameters()).device

    def encode(tile: Array) -> npt.NDArray[np.int64]:
        return tokenizer.encode(to_input(to_tensor(tile)[None], tokenizer, device))[0].cpu().numpy()

    return encode_tiled(picture, tokenizer.downsampling, encode)


def _device(model: Transformer) -> torch.device:
    return next(model.prior.parameters()).device


def _rounded(shape: Sequence[int], f: int) -> tuple[int, int]:
    return max(1, round(shape[0] / f)) * f, max(1, round(shape[1] / f)) * f


def _require_window(model: Transformer, height: int, width: int, name: str) -> None:
    f = model.tokenizer.downsampling
    least = [side * f for side in model.prior.spec.grid]
    if height < least[0] or width < least[1]:
        raise UsageError(
            f"{name!r} gives images of {height}x{width} (height x width), and this model with maps draws at least "
            f"{least[0]}x{least[1]}",
            hint=f"enlarge it, by the size {max(height, least[0])}x{max(width, least[1])}",
        )


def _require_aspect(array: Array, height: int, width: int, name: str) -> None:
    ratio = array.shape[0] * width / (array.shape[1] * height)
    if not 0.8 < ratio < 1.25:
        raise DataError(
            f"{name!r} is {array.shape[0]}x{array.shape[1]}, which {height}x{width} (height x width) would distort",
            hint="leave the size out, or give it the aspect ratio of the map",
        )


def _mark(array: Array) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()[:16]


def _small(picture: Picture) -> Picture:
    scale = min(1.0, _SHOWN_SIDE / max(picture.shape[:2]))
    return resize(picture, *(max(1, round(side * scale)) for side in picture.shape[:2]))


def _file_names(keys: Sequence[str]) -> list[str]:
    """Each key as part of a file name, no two alike: without its suffix where that is enough, else numbered."""
    stems = [key.rpartition(".")[0] or key for key in keys]
    alike = Counter(stems)
    taken: set[str] = set()
    names = []
    for stem, key in zip(stems, keys, strict=True):
        plain = _file_name(stem if alike[stem] == 1 else key)
        numbered = (f"{plain}-{number}" for number in itertools.count(2))
        name = next(each for each in itertools.chain([plain], numbered) if each not in taken)
        taken.add(name)
        names.append(name)
    return names


def _file_name(text: str) -> str:
    return re.sub(r"[^\w.-]+", "-", text).strip("-")[:_NAME_LENGTH] or "map"
