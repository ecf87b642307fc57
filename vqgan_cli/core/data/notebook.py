"""Files to tensors, and tensors to pictures that a notebook shows."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor

from vqgan_cli.core.data.images import contact_sheet, to_uint8
from vqgan_cli.core.data.maps.segmentation import label_colors
from vqgan_cli.core.data.opening import open_source
from vqgan_cli.core.data.tensors import signed, to_arrays, to_batch
from vqgan_cli.core.errors import ImageError, UsageError
from vqgan_cli.core.tokenizer_inputs import TokenizerInputs

__all__ = ["Images", "read_images", "to_images"]

PathLike = str | os.PathLike[str]


class Images(Sequence[Image.Image]):
    """Pictures, which a notebook shows side by side.

    Examples:
        >>> from vqgan_cli import load_tokenizer, read_images, to_images
        >>> tokenizer = load_tokenizer("runs/my-ae")
        >>> originals = read_images("photos", size=16, limit=4)
        >>> again = tokenizer.decode(tokenizer.encode(originals))
        >>> shown = to_images(originals) + to_images(again)
        >>> shown  # in a notebook the pictures themselves
        Images(8 of 16x16)
        >>> shown.grid(columns=4).save("reconstructions.png")
        >>> shown[0].size
        (16, 16)
    """

    def __init__(self, images: Iterable[Image.Image]) -> None:
        self._images = list(images)

    def __len__(self) -> int:
        return len(self._images)

    @overload
    def __getitem__(self, index: int) -> Image.Image: ...
    @overload
    def __getitem__(self, index: slice) -> Images: ...
    def __getitem__(self, index: int | slice) -> Image.Image | Images:
        return Images(self._images[index]) if isinstance(index, slice) else self._images[index]

    def __iter__(self) -> Iterator[Image.Image]:
        return iter(self._images)

    def __add__(self, others: Iterable[Image.Image]) -> Images:
        return Images([*self._images, *others])

    def grid(self, columns: int | None = None) -> Image.Image:
        """All of them as one picture.

        Args:
            columns: pictures in a row; None: about as many as there are rows.

        Raises:
            UsageError: there are no pictures, or no columns.
        """
        if not self._images or (columns is not None and columns < 1):
            raise UsageError(
                f"no grid of {len(self)} pictures{'' if columns is None else f' in {columns} columns'}"
            )
        arrays = [np.asarray(image.convert("RGB")) for image in self._images]
        return Image.fromarray(contact_sheet(arrays, columns or math.ceil(math.sqrt(len(arrays)))))

    def _repr_png_(self) -> bytes | None:
        """What Jupyter shows."""
        if not self._images:
            return None
        data = io.BytesIO()
        self.grid().save(data, "PNG")
        return data.getvalue()

    def __repr__(self) -> str:
        sizes = {f"{image.height}x{image.width}" for image in self._images}
        of = f" of {sizes.pop()}" if len(sizes) == 1 else ""
        return f"{type(self).__name__}({len(self)}{of})"


def to_images(pixels: Tensor) -> Images:
    """What a tokenizer decodes, or `read_images` reads, as pictures.

    Args:
        pixels: pictures, float [B, 3, H, W] in [-1, 1] or one of them, [3, H, W]; label maps, int64 [B, H, W], in
            colours; or values in [-1, 1] such as depth, float [B, 1, H, W], in gray.

    Raises:
        UsageError: the shape is none of these.

    Examples:
        >>> import torch
        >>> from vqgan_cli import to_images
        >>> to_images(torch.zeros(2, 3, 16, 24))  # height x width
        Images(2 of 16x24)
        >>> to_images(torch.zeros(3, 8, 8))[0].getpixel((0, 0))
        (128, 128, 128)
    """
    if pixels.ndim == 3 and pixels.is_floating_point():
        pixels = pixels[None]
    labels = pixels.ndim == 3 and not pixels.is_floating_point()
    if not labels and not (pixels.ndim == 4 and pixels.shape[1] in (1, 3) and pixels.is_floating_point()):
        raise UsageError(
            f"expected pictures, float [B, 3, H, W] in [-1, 1], got {pixels.dtype} {list(pixels.shape)}"
        )
    return Images(
        Image.fromarray(_picture(array))
        for array in to_arrays(pixels.detach().float() if not labels else pixels)
    )


def _picture(array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    if array.ndim == 3:
        return array
    return to_uint8(array) if array.dtype == np.float32 else label_colors(array)


def read_images(
    source: PathLike | Sequence[PathLike], size: int | tuple[int, int], *, limit: int | None = None
) -> Tensor:
    """Read pictures as `vqgan encode` reads them: upright RGB, resized to cover the size, the centre cut out.

    All of them are held in memory; `vqgan encode` turns any number of files into codes.

    Args:
        source: a folder, a file, a glob, a list of paths in a text file, or ``synthetic:faces``, as ``--data`` takes
            it; or a sequence of such.
        size: side, or (height, width), in pixels.
        limit: read only the first so many; None: all.

    Returns:
        float32 [N, 3, H, W] in [-1, 1].

    Raises:
        DataError: there are none.
        ImageError: one of them cannot be read.

    Examples:
        >>> from vqgan_cli import read_images
        >>> read_images("photos", size=32).shape
        torch.Size([48, 3, 32, 32])
        >>> read_images(["photos/blue/0.png", "photos/red"], size=(16, 24), limit=3).shape
        torch.Size([3, 3, 16, 24])
    """
    shape = (size, size) if isinstance(size, int) else size
    if min(shape) < 1 or (limit is not None and limit < 1):
        raise UsageError(
            f"no images of {shape[0]}x{shape[1]} pixels" if min(shape) < 1 else f"limit {limit} is below 1"
        )
    specs = [source] if isinstance(source, str | os.PathLike) else list(source)
    arrays: list[npt.NDArray[Any]] = []
    for spec in specs:
        rest = None if limit is None else limit - len(arrays)
        if rest != 0:
            arrays += _read(os.fspath(spec), shape, rest)
    if not arrays:
        raise UsageError("no images are named")
    return signed(to_batch(np.stack(arrays))).contiguous()


def _read(spec: str, shape: tuple[int, int], limit: int | None) -> Iterator[npt.NDArray[Any]]:
    opened = open_source(spec, synthetic_size=shape)
    inputs = TokenizerInputs(opened, shape, downsampling=1, labels=0)
    for item in inputs.read(range(min(len(opened), limit or len(opened))), batch=16):
        if item.pixels is None:
            raise ImageError(Path(opened.key(item.position)), item.reason)
        yield item.pixels
