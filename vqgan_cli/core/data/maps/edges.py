"""Edges: white lines on black, given or found by Canny's detector."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vqgan_cli.core.data.images import IMAGE_SUFFIXES, read_image, write_image
from vqgan_cli.core.data.maps.base import Array, MapKind, UInt8
from vqgan_cli.core.data.synthetic import Drawing, SyntheticSet

__all__ = ["Edges", "canny"]

Plane = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

_LUMA = np.array([0.299, 0.587, 0.114])  # Rec. 601


class Edges(MapKind):
    """uint8 [H, W, 3], 255 on an edge and 0 elsewhere."""

    name = "edges"
    suffixes = IMAGE_SUFFIXES
    computable = True

    @property
    def signature(self) -> str:
        """See `MapKind.signature`."""
        return f"edges {self.config.edge_sigma} {self.config.edge_thresholds}"

    def read(self, path: Path, *, max_megapixels: float = 200.0) -> Array:
        """Pixels brighter than middle gray are edges."""
        image = read_image(path, max_megapixels=max_megapixels, background=(0, 0, 0))
        return _picture(image @ _LUMA > 127.5)

    def compute(self, image: UInt8) -> Array:
        """By `canny`."""
        low, high = self.config.edge_thresholds
        return _picture(canny(image, self.config.edge_sigma, low, high))

    def from_drawing(self, drawing: Drawing, drawn_by: SyntheticSet) -> Array:
        """Boundaries of the drawing's parts."""
        return _picture(drawing.edges > 0)

    def picture(self, array: Array) -> UInt8:
        """As it is."""
        return array

    def write(self, path: Path, array: Array) -> None:
        """As a picture."""
        write_image(path, array)


def canny(image: UInt8, sigma: float, low: float, high: float) -> Mask:
    """Edges one pixel wide (Canny, "A Computational Approach to Edge Detection", 1986), bool [H, W].

    Args:
        image: uint8 [H, W, 3].
        sigma: standard deviation of the Gaussian in pixels.
        low: pixels above it that are connected with one above ``high`` are edges.
        high: as a share of what a straight edge from black to white gives, whatever the sigma.
    """
    gray = _blurred(image @ _LUMA / 255.0, sigma)
    padded = np.pad(gray, 1, mode="edge")
    # Sobel: differences along one axis, weights 1 2 1 along the other.
    along_x = padded[:-2] + 2 * padded[1:-1] + padded[2:]
    along_y = padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]
    dx = along_x[:, 2:] - along_x[:, :-2]
    dy = along_y[2:] - along_y[:-2]
    # The blurred unit step rises by erf(1 / (sigma sqrt 2)) over the two pixels that Sobel compares, weighed 4 times.
    magnitude = np.hypot(dx, dy) / (4 * math.erf(1 / (sigma * math.sqrt(2))))
    thin = _thinned(magnitude, dx, dy)
    return _connected(thin & (magnitude > low), thin & (magnitude > high))


def _picture(edges: Mask) -> UInt8:
    return np.repeat(np.where(edges, np.uint8(255), np.uint8(0))[..., None], 3, axis=2)


def _blurred(gray: Plane, sigma: float) -> Plane:
    radius = math.ceil(3 * sigma)
    offsets = np.arange(-radius, radius + 1)
    kernel = np.exp(-(offsets**2) / (2 * sigma**2))
    kernel /= kernel.sum()
    for axis in (0, 1):
        widths = [(radius, radius) if each == axis else (0, 0) for each in (0, 1)]
        padded = np.pad(gray, widths, mode="symmetric")
        windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * radius + 1, axis=axis)
        gray = windows @ kernel
    return gray


def _thinned(magnitude: Plane, dx: Plane, dy: Plane) -> Mask:
    """Pixels whose gradient is the largest along its own direction, of the four that a pixel's neighbours allow."""
    height, width = magnitude.shape
    padded = np.pad(magnitude, 1)
    sector = np.rint(np.arctan2(dy, dx) / (np.pi / 4)).astype(int) % 4
    largest = np.zeros(magnitude.shape, np.bool_)
    for number, (down, right) in enumerate(((0, 1), (1, 1), (1, 0), (1, -1))):
        ahead = padded[1 + down : 1 + down + height, 1 + right : 1 + right + width]
        behind = padded[1 - down : 1 - down + height, 1 - right : 1 - right + width]
        # Strictly on one side only: of two equal neighbours exactly one stays.
        largest |= (sector == number) & (magnitude > behind) & (magnitude >= ahead)
    return largest


def _connected(weak: Mask, strong: Mask) -> Mask:
    """Weak pixels that a path of weak pixels joins to a strong one, diagonals included."""
    found = strong
    while True:
        padded = np.pad(found, 1)
        rows = padded[:-2] | padded[1:-1] | padded[2:]
        grown = (rows[:, :-2] | rows[:, 1:-1] | rows[:, 2:]) & weak
        if (grown == found).all():
            return found
        found = grown
