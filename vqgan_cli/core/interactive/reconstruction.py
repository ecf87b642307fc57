"""A photo, its codes, and what is made of them; with single codes replaced."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from vqgan_cli.core.data.codes_format import CodesMetadata
from vqgan_cli.core.data.codes_writer import CodesWriter
from vqgan_cli.core.data.maps.segmentation import label_colors
from vqgan_cli.core.data.tensors import to_arrays, to_input, to_tensor
from vqgan_cli.core.device import autocast_for
from vqgan_cli.core.errors import UsageError
from vqgan_cli.core.interactive.workbench import Workbench
from vqgan_cli.core.models.tiled_decoding import decode_tiled
from vqgan_cli.core.tiled_encoding import encode_tiled

__all__ = [
    "Reconstruction",
    "cell_at",
    "cell_box",
    "code_picture",
    "difference",
    "nearest_codes",
    "patches",
    "reconstruct",
    "save_codes",
    "with_code",
]

_SEEN = 3  # cells around a cell that its patch is decoded with
_CONTEXT = 1  # cells around it that a patch shows

Picture = npt.NDArray[np.uint8]
Codes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Reconstruction:
    """A photo as the tokenizer sees it.

    Attributes:
        original: uint8 [H, W, 3].
        own: int64 [h, w], its codes.
        codes: the same with those that somebody replaced.
        own_picture: uint8 [H, W, 3], what its own codes decode to.
        picture: uint8 [H, W, 3], what the codes decode to.
    """

    original: Picture
    own: Codes
    codes: Codes
    own_picture: Picture
    picture: Picture


def reconstruct(bench: Workbench, photo: Picture) -> Reconstruction:
    """Encode and decode.

    Args:
        bench: the model.
        photo: uint8 [H, W, 3], sides multiples of f.
    """

    def encode(tile: Picture) -> Codes:
        inputs = to_input(to_tensor(tile)[None], bench.tokenizer, bench.device)
        return bench.tokenizer.encode(inputs)[0].cpu().numpy()

    with autocast_for(bench.device, bench.precision):
        codes = encode_tiled(photo, bench.downsampling, encode)
    picture = _decoded(bench, codes[None])[0]
    return Reconstruction(photo, codes, codes, picture, picture)


def with_code(bench: Workbench, made: Reconstruction, cell: tuple[int, int], code: int) -> Reconstruction:
    """The same with another code in one cell.

    Args:
        bench: the model.
        made: what was there.
        cell: (row, column).
        code: 0 to K - 1.

    Raises:
        UsageError: there is no such code.
    """
    if not 0 <= code < bench.tokenizer.codebook_size:
        raise UsageError(f"code {code}: this codebook has codes 0 to {bench.tokenizer.codebook_size - 1}")
    codes = made.codes.copy()
    codes[cell] = code
    return replace(made, codes=codes, picture=_decoded(bench, codes[None])[0])


@torch.inference_mode()
def nearest_codes(bench: Workbench, code: int, count: int) -> list[int]:
    """The codes whose vectors are nearest to that of a code, by Euclidean distance, the code itself first."""
    everything = torch.arange(bench.tokenizer.codebook_size, device=bench.device)
    vectors = bench.tokenizer.quantizer.decode(everything[None, None])[0, :, 0].T  # [K, D]
    distances = (vectors - vectors[code]).square().sum(1)
    distances[code] = -1  # a codebook may hold a vector twice
    return distances.argsort(stable=True)[:count].tolist()


def patches(bench: Workbench, codes: Codes, cell: tuple[int, int], candidates: list[int]) -> list[Picture]:
    """What a cell and its neighbours would look like with other codes; decoded with a few cells around alone, for
    speed, so that the picture as a whole may differ a little.

    Args:
        bench: the model.
        codes: int64 [h, w].
        cell: (row, column).
        candidates: codes to try in it.
    """
    (top, left), (row, column) = (max(0, place - _SEEN) for place in cell), cell
    around = codes[top : row + _SEEN + 1, left : column + _SEEN + 1]
    grids = np.repeat(around[None], len(candidates), axis=0)
    grids[:, row - top, column - left] = candidates
    box = cell_box((row - top, column - left), bench.downsampling, around.shape, _CONTEXT)
    return [picture[box] for picture in _decoded(bench, grids)]


def cell_box(cell: tuple[int, int], f: int, grid: tuple[int, ...], around: int = 0) -> tuple[slice, slice]:
    """The pixels of a cell (row, column), and of some cells around it."""
    first, last = ([max(0, place - around) for place in cell], [place + around + 1 for place in cell])
    rows, columns = (
        slice(f * begin, f * min(end, side)) for begin, end, side in zip(first, last, grid, strict=True)
    )
    return rows, columns


def cell_at(point: tuple[float, float], shape: tuple[int, ...], grid: tuple[int, ...]) -> tuple[int, int]:
    """The cell (row, column) under a point (x, y) of a picture [H, W, 3] that shows a grid."""
    row, column = (
        int(min(max(place * cells // side, 0), cells - 1))
        for place, side, cells in zip(reversed(point), shape[:2], grid, strict=True)
    )
    return row, column


def difference(original: Picture, picture: Picture, gain: float) -> Picture:
    """How much two pictures differ, times ``gain``; black where they are equal."""
    apart = np.abs(original.astype(np.int16) - picture.astype(np.int16)) * gain
    return np.rint(apart).clip(0, 255).astype(np.uint8)


def code_picture(codes: Codes, side: int, marked: tuple[int, int] | None = None) -> Picture:
    """Codes [h, w] as a picture, one colour per code, the lines between cells white.

    Args:
        codes: int64.
        side: pixels of the longer side, about.
        marked: cell with a dark frame.
    """
    scale = max(4, side // max(codes.shape))
    picture = label_colors(codes).repeat(scale, 0).repeat(scale, 1)
    if scale >= 8:
        picture[::scale] = 255
        picture[:, ::scale] = 255
    if marked is not None:
        rows, columns = cell_box(marked, scale, codes.shape)
        frame = picture[rows, columns]
        width = max(1, scale // 8)
        inner = frame[width:-width, width:-width].copy()
        frame[:] = 0
        frame[width:-width, width:-width] = inner
    return picture


def save_codes(bench: Workbench, made: Reconstruction, folder: Path, name: str) -> list[Path]:
    """Write the codes as ``vqgan encode`` does: ``codes.npy`` and the description beside it.

    Args:
        bench: the model.
        made: whose codes.
        folder: where to; the files must not exist.
        name: of the photo.

    Returns:
        The two files, which ``vqgan decode`` takes.
    """
    target = folder / "codes.npy"
    metadata = CodesMetadata(
        codebook_size=bench.tokenizer.codebook_size,
        downsampling=bench.downsampling,
        fingerprint=bench.tokenizer_fingerprint,
        tokenizer=str(bench.info.path),
        source=name,
        sizing="native",
        precision=bench.precision,
    )
    size = made.original.shape[:2]
    with CodesWriter(target, metadata, count=1, source_fingerprint=name) as writer:
        writer.add(0, made.codes, name=name, size=size, resized=size)
        writer.finalise()
    return [target, target.with_suffix(".json")]


def _decoded(bench: Workbench, codes: Codes) -> list[Picture]:
    with autocast_for(bench.device, bench.precision):
        return to_arrays(decode_tiled(bench.tokenizer, torch.from_numpy(codes).to(bench.device)))
