"""Depth maps: the distance of each pixel, scaled to [-1, 1]."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from vqgan_cli.core.data.images import IMAGE_SUFFIXES, check_shape, opened, write_image
from vqgan_cli.core.data.maps.base import Array, MapKind, UInt8
from vqgan_cli.core.data.pixels import orientation, upright
from vqgan_cli.core.data.synthetic import Drawing, SyntheticSet
from vqgan_cli.core.errors import ImageError

__all__ = ["Depth"]

Metres = npt.NDArray[np.float64]  # NaN where unknown

UNKNOWN = -1.0
NEAREST = -0.9
"""Known depth begins here, so that what is unknown keeps a value of its own."""

_FARTHEST = 1e12
"""In metres or steps; what is beyond is no depth."""


class Depth(MapKind):
    """Known depth is linear from the nearest point (-0.9) to the farthest (1); what is unknown is -1.

    Nearest and farthest are those of ``depth_range`` in metres, or without it those of each map. With
    ``depth_unknown: null`` everything is known, and the nearest point is -1.
    """

    name = "depth"
    suffixes = (*IMAGE_SUFFIXES, ".npy")

    @property
    def signature(self) -> str:
        """See `MapKind.signature`."""
        config = self.config
        return f"depth {config.depth_unit} {config.depth_unknown} {config.depth_range}"

    def read(self, path: Path, *, max_megapixels: float = 200.0) -> Array:
        """Scaled depth, float32 [H, W], of a gray image (integers times ``depth_unit``) or an ``.npy`` in metres."""
        read = _read_npy if path.suffix.lower() == ".npy" else _read_gray
        raw = read(path, max_megapixels)
        unit = 1.0 if path.suffix.lower() == ".npy" else self.config.depth_unit
        known = np.abs(raw) <= _FARTHEST  # not so for what is no number
        if self.config.depth_unknown is not None:
            known &= raw != self.config.depth_unknown
        if not known.any():
            raise ImageError(path, "has no pixel of known depth")
        if self.config.depth_unknown is None and not known.all():
            raise ImageError(
                path, "has undefined depth, and data.maps.depth_unknown says that everything is known"
            )
        return self._scaled(np.where(known, raw * unit, np.nan))

    def from_drawing(self, drawing: Drawing, drawn_by: SyntheticSet) -> Array:
        """The drawing's depth, all known."""
        return self._scaled(drawing.depth.astype(np.float64))

    def picture(self, array: Array) -> UInt8:
        """Near is bright, far is dark, unknown is blue."""
        low = self._nearest
        gray = np.rint(255 - 215 * ((array.clip(low, 1) - low) / (1 - low))).astype(np.uint8)
        picture = np.repeat(gray[..., None], 3, axis=2)
        picture[self._unknown(array)] = (40, 60, 160)
        return picture

    def known(self, array: Array) -> npt.NDArray[np.bool_]:
        """Which pixels of a map have a known depth."""
        return ~self._unknown(array)

    def share(self, array: Array) -> npt.NDArray[np.float64]:
        """The depth of each pixel from the nearest point, 0, to the farthest, 1."""
        low = self._nearest
        return (array.astype(np.float64).clip(low, 1) - low) / (1 - low)

    def write(self, path: Path, array: Array) -> None:
        """A 16-bit PNG: steps of ``depth_unit`` with a ``depth_range``; else 1 to 65535 from near to far, unitless.

        Unknown pixels get ``depth_unknown``, or 0 where that is no integer.
        """
        share = self.share(array)
        if self.config.depth_range is None:
            values = 1 + share * 65534
        else:
            near, far = self.config.depth_range
            values = (near + share * (far - near)) / self.config.depth_unit
        steps = np.rint(values).clip(0, 65535).astype(np.uint16)
        unknown = self.config.depth_unknown
        if unknown is not None:
            steps[self._unknown(array)] = (
                int(unknown) if 0 <= unknown <= 65535 and unknown == int(unknown) else 0
            )
        write_image(path, steps)

    @property
    def _nearest(self) -> float:
        return UNKNOWN if self.config.depth_unknown is None else NEAREST

    def _unknown(self, array: Array) -> npt.NDArray[np.bool_]:
        """Values nearer to unknown than to the nearest known depth."""
        if self.config.depth_unknown is None:
            return np.zeros(array.shape, np.bool_)
        return array < (UNKNOWN + NEAREST) / 2

    def _scaled(self, metres: Metres) -> Array:
        near, far = self.config.depth_range or (float(np.nanmin(metres)), float(np.nanmax(metres)))
        share = (metres - near) / (far - near) if far > near else np.where(np.isnan(metres), np.nan, 0.5)
        low = self._nearest
        scaled = low + (1 - low) * share.clip(0, 1)
        return np.where(np.isnan(scaled), UNKNOWN, scaled).astype(np.float32)


def _read_gray(path: Path, max_megapixels: float) -> Metres:
    with opened(path, max_megapixels) as image:
        if image.format in ("JPEG", "MPO", "WEBP"):
            raise ImageError(
                path, f"is {image.format}, which does not keep exact depth; it must be PNG or TIFF"
            )
        if image.mode not in ("L", "F") and not image.mode.startswith("I"):
            raise ImageError(path, f"is {image.mode}: a depth map has one channel")
        return upright(np.asarray(image), orientation(image)).astype(np.float64)


def _read_npy(path: Path, max_megapixels: float) -> Metres:
    try:
        # Mapped: a header can ask for any amount of memory. No archive is opened and no pickle read.
        array = np.lib.format.open_memmap(path, mode="r")
    # The header is a text of Python, whose parser meets damage with anything from SyntaxError to OverflowError.
    except Exception as error:
        raise ImageError(path, f"is no plain .npy array: {error}") from None
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        what = f"{array.dtype} {list(array.shape)}"
        raise ImageError(path, f"holds {what}: depth is one number per pixel, [height, width]")
    check_shape(path, array.shape[1], array.shape[0], max_megapixels)
    with np.errstate(invalid="ignore"):  # a NaN that signals
        return array.astype(np.float64)
